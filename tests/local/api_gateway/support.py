"""What the tests of the API Gateway stand-in share."""

import asyncio
import json
from collections.abc import Callable
from typing import Any, Protocol

from websockets.asyncio.client import connect

from infra.local.api_gateway.gateway import WebSocketApi
from infra.local.api_gateway.sessions import Session
from infra.local.lambda_service.results import InvocationResult, LambdaError

Function = Callable[[Any], Any]
CLOSE_FRAME = b"\x88\x80\x00\x00\x00\x00"
"""A client's close frame without a code."""


class FakeClock:
    """Time that passes when a test says so."""

    def __init__(self) -> None:
        self.now_s = 5000.0

    def monotonic_s(self) -> float:
        """Seconds since any time."""
        return self.now_s

    def epoch_ms(self) -> int:
        """Milliseconds since 1970."""
        return 1_700_000_000_000 + int((self.now_s - 5000.0) * 1000)


class FakeLambda:
    """Functions as callables of an event: they answer at once, raise, or return a future of their answer."""

    def __init__(self, functions: dict[str, Function]) -> None:
        self.functions = functions
        self.events: dict[str, list[Any]] = {}
        self._arrivals: asyncio.Queue[tuple[str, Any]] = asyncio.Queue()

    def submit(self, name: str, payload: bytes) -> asyncio.Future[InvocationResult]:
        """Invoke a function."""
        event = json.loads(payload)
        self.events.setdefault(name, []).append(event)
        self._arrivals.put_nowait((name, event))
        future: asyncio.Future[InvocationResult] = asyncio.get_running_loop().create_future()
        try:
            answer = self.functions[name](event)
        except LambdaError:
            raise
        except Exception as exc:  # noqa: BLE001 # a function's failure is its answer
            document = {"errorMessage": str(exc), "errorType": type(exc).__name__}
            future.set_result(InvocationResult("r", json.dumps(document).encode(), "Unhandled"))
            return future
        if isinstance(answer, asyncio.Future):
            return answer
        future.set_result(result(answer))
        return future

    async def next(self, name: str) -> Any:
        """The next event for a function; others are passed over."""
        while True:
            called, event = await self._arrivals.get()
            if called == name:
                return event


class Held:
    """A function that answers when the test says so."""

    def __init__(self) -> None:
        self.answers: list[asyncio.Future[InvocationResult]] = []

    def __call__(self, event: Any) -> asyncio.Future[InvocationResult]:
        self.answers.append(asyncio.get_running_loop().create_future())
        return self.answers[-1]


def result(answer: Any) -> InvocationResult:
    """A function's answer."""
    return InvocationResult("r", json.dumps(answer).encode())


def allow(event: Any) -> Any:
    """An authorizer that lets everybody in."""
    statement = {"Action": "execute-api:Invoke", "Effect": "Allow", "Resource": event["methodArn"]}
    return {
        "principalId": "learner-1",
        "policyDocument": {"Version": "2012-10-17", "Statement": [statement]},
        "context": {"learner": "learner-1", "count": 3, "paid": True},
    }


def ok(event: Any) -> Any:
    """A function that is content."""
    return {"statusCode": 200}


def crash(event: Any) -> Any:
    """A function that raises."""
    raise RuntimeError("secret")


class Gateway:
    """The API under test, its functions, its clock and its clients."""

    def __init__(self, api: WebSocketApi, functions: FakeLambda, clock: FakeClock, port: int) -> None:
        self.api = api
        self.functions = functions
        self.clock = clock
        self.port = port
        self.url = f"ws://127.0.0.1:{port}/{api.config.stage}"
        self.connections_root = ""
        self.client: Any = None

    def connect(self, path: str = "", **options: Any) -> connect:
        """Connect a client, by default without compression and with Python's own pings off."""
        return connect(self.url + path, **{"compression": None, "ping_interval": None, **options})

    def only_session(self) -> Session:
        """The one connection."""
        (session,) = self.api.sessions.all()
        return session

    def connection_id(self) -> str:
        """The id of the one connection."""
        return self.only_session().info.connection_id

    async def call(self, operation: str, **parameters: Any) -> Any:
        """Call the @connections API through boto3, in a thread."""
        return await asyncio.to_thread(getattr(self.client, operation), **parameters)

    async def post(self, data: bytes, connection_id: str | None = None) -> Any:
        """Post to a connection, by default the one there is."""
        return await self.call("post_to_connection", ConnectionId=connection_id or self.connection_id(), Data=data)

    async def raw(self, request: bytes, then: bytes = b"") -> tuple[int, dict[str, str], bytes]:
        """Send an HTTP request as it is, and more after its answer's headers; the answer's status, headers, rest."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        writer.write(request)
        head = await reader.readuntil(b"\r\n\r\n")
        writer.write(then)
        rest = await reader.read()
        writer.close()
        await writer.wait_closed()
        status_line, *lines = head.decode().strip().split("\r\n")
        headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
        return int(status_line.split()[1]), headers, rest


class StartGateway(Protocol):
    """Starts an API whose functions are fakes; it is closed after the test."""

    async def __call__(
        self,
        *,
        functions: dict[str, Function] | None = None,
        authorized: bool = False,
        identity_sources: tuple[str, ...] = (),
        limits: dict[str, Any] | None = None,
        **config: Any,
    ) -> Gateway: ...
