"""A lean HTTP/1.1 client for one kind of call: signed POSTs to API Gateway's ``@connections``, many times a second.

boto3 spends 0.6 ms of CPU on ``post_to_connection``, and as much again goes into moving it to a thread and back; while
Maya speaks that would cost more than all the rest of a relay. This costs a tenth. It is no general client: a response
that is not plain (a length and nothing else) ends its connection, and `Connections` hands all but success to boto3.

Sources: RFC 9112 (HTTP/1.1); AWS Signature Version 4, "Create a signed AWS API request".
"""

import asyncio
import functools
import re
import ssl
import time
from collections.abc import Callable
from hashlib import sha256
from typing import Final, cast
from urllib.parse import quote, urlsplit

from gateway.adapters.sigv4 import Second, Seconds

_MOST_IDLE: Final = 4
_KEPT_PATHS: Final = 16
_MOST_RESPONSE_BYTES: Final = 64 * 1024
_STATUS: Final = re.compile(rb"HTTP/1\.1 ([1-5][0-9][0-9])[ \r]")
_LENGTH: Final = re.compile(rb"\r\ncontent-length:[ \t]*([0-9]{1,7})[ \t]*\r\n", re.IGNORECASE)
_CLOSES: Final = re.compile(rb"\r\n(?:connection:[ \t]*close|transfer-encoding:)", re.IGNORECASE)
_SERVICE: Final = "execute-api"
_CLOCK_GRAIN_S: Final = 0.001
"""uvloop's clock has whole milliseconds, so that its timers ring early by a fraction of one."""


class PostFailedError(Exception):
    """No answer that can be used: no connection, a broken one, a time-out, or no HTTP."""


class StaleError(PostFailedError):
    """The connection ended before a byte of an answer came: the server had closed it while it was idle."""


type Result = int | PostFailedError
type Ended = Callable[[Result], None]


class PostSigner:
    """Signs requests without a query as Signature Version 4 asks.

    Args:
        region: of the API.
        host: value of the ``host`` header.
        clock: wall clock in Unix seconds.
    """

    def __init__(self, *, region: str, host: str, clock: Callable[[], float] = time.time) -> None:
        self._host = host
        self._clock = clock
        self._seconds = Seconds(region, _SERVICE)
        self._made_for: tuple[Second, str, str | None] | None = None
        self._canonical = self._lead = self._head = ""

    def headers(self, path: str, body: bytes, *, access_key: str, secret_key: str, token: str | None) -> str:
        """Return the header lines that authenticate a POST.

        Args:
            path: percent-encoded, as it is sent.
            body: what is posted.
            access_key: of the credentials.
            secret_key: of the credentials.
            token: of temporary credentials.
        """
        second = self._seconds.at(self._clock(), secret_key)
        if self._made_for != (second, access_key, token):
            self._make(second, access_key, token)
        request = f"POST\n{_encoded_again(path)}{self._canonical}{sha256(body).hexdigest()}"
        signature = second.mac.digest(f"{self._lead}{sha256(request.encode()).hexdigest()}").hex()
        return f"{self._head}{signature}\r\n"

    def _make(self, second: Second, access_key: str, token: str | None) -> None:
        """Make what all requests of a second share."""
        headers = {"host": self._host, "x-amz-date": second.stamp}
        if token:
            headers["x-amz-security-token"] = token
        names = ";".join(headers)
        canonical = "".join(f"{name}:{value}\n" for name, value in headers.items())
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items() if name != "host")
        self._made_for = (second, access_key, token)
        self._canonical = f"\n\n{canonical}\n{names}\n"
        self._lead = f"AWS4-HMAC-SHA256\n{second.stamp}\n{second.scope}\n"
        self._head = (
            f"{lines}authorization: AWS4-HMAC-SHA256 Credential={access_key}/{second.scope}, "
            f"SignedHeaders={names}, Signature="
        )


class PostPool:
    """Keeps connections to one endpoint open and posts on them, one request at a time on each.

    Belongs to one event loop.

    Args:
        endpoint: URL with the API's stage or base path.
        ca_bundle: path of a PEM file with the authorities to trust.
        region: of the API.
        connect_timeout_s: limit for a new connection.
        answer_timeout_s: limit for each answer.
    """

    def __init__(
        self, endpoint: str, *, ca_bundle: str, region: str, connect_timeout_s: float, answer_timeout_s: float
    ) -> None:
        parts = urlsplit(endpoint)
        self._host = parts.hostname or ""
        self._tls = ssl.create_default_context(cafile=ca_bundle) if parts.scheme == "https" else None
        self._port = parts.port or (443 if self._tls else 80)
        self._netloc = parts.netloc
        self._base = parts.path.rstrip("/")
        self._connect_timeout_s = connect_timeout_s
        self._answer_timeout_s = answer_timeout_s
        self._signer = PostSigner(region=region, host=parts.netloc)
        self._idle: list[_Connection] = []

    def post(
        self, connection_id: str, body: bytes, *, access_key: str, secret_key: str, token: str | None, ended: Ended
    ) -> bool:
        """Post to the phone behind a WebSocket connection; return False if no open connection to API Gateway is idle.

        Args:
            connection_id: of the phone.
            body: what is posted.
            access_key: of the credentials.
            secret_key: of the credentials.
            token: of temporary credentials.
            ended: called once, after this has returned, with the status, or with why there is none: a
                `StaleError`, or a `PostFailedError` after which the message may have arrived.
        """
        connection = self._take_idle()
        if connection is None:
            return False
        path = self._base + _path(connection_id)
        signed = self._signer.headers(path, body, access_key=access_key, secret_key=secret_key, token=token)
        request = (
            f"POST {path} HTTP/1.1\r\nhost: {self._netloc}\r\ncontent-length: {len(body)}\r\n{signed}\r\n".encode()
            + body
        )

        def finished(result: Result) -> None:
            self._put_back(connection)
            ended(result)

        connection.exchange(request, self._answer_timeout_s, finished)
        return True

    async def open(self) -> None:
        """Open one more connection, which is idle then.

        Raises:
            PostFailedError: there is nobody, or nobody to be trusted.
        """
        self._idle.append(await self._connect())

    def close(self) -> None:
        """Close the idle connections."""
        while self._idle:
            self._idle.pop().close()

    def _take_idle(self) -> "_Connection | None":
        while self._idle:
            connection = self._idle.pop()
            if connection.usable:
                return connection
            connection.close()
        return None

    def _put_back(self, connection: "_Connection") -> None:
        if connection.usable and len(self._idle) < _MOST_IDLE:
            self._idle.append(connection)
        else:
            connection.close()

    async def _connect(self) -> "_Connection":
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(self._connect_timeout_s):
                _transport, connection = await loop.create_connection(
                    _Connection,
                    self._host,
                    self._port,
                    ssl=self._tls,
                    server_hostname=self._host if self._tls else None,
                )
        except (OSError, TimeoutError) as error:  # ssl.SSLError is an OSError
            raise PostFailedError(type(error).__name__) from None
        return connection


@functools.lru_cache(maxsize=_KEPT_PATHS)
def _path(connection_id: str) -> str:
    return f"/@connections/{quote(connection_id, safe='-_.~')}"


@functools.lru_cache(maxsize=_KEPT_PATHS)
def _encoded_again(path: str) -> str:
    """A path is encoded once more for the signature, everywhere but in S3."""
    return quote(path, safe="/-_.~")


class _Connection(asyncio.Protocol):
    """One connection, for one request after the other."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._open = False
        self._transport: asyncio.Transport | None = None
        self._ended: Ended | None = None
        self._received = b""
        self._deadline_s = 0.0
        self._watch: asyncio.TimerHandle | None = None

    @property
    def usable(self) -> bool:
        """Whether it is open and between requests."""
        return self._open and self._transport is not None and not self._transport.is_closing()

    def exchange(self, request: bytes, within_s: float, ended: Ended) -> None:
        """Send a request on a usable connection; `ended` is called when its response is whole, or why there is none."""
        assert self._transport is not None
        self._open = False
        self._ended = ended
        self._deadline_s = self._loop.time() + within_s
        # One timer watches over many requests: it is wound up again when it rings too early.
        if self._watch is None:
            self._watch = self._loop.call_at(self._deadline_s, self._look)
        self._transport.write(request)

    def close(self) -> None:
        """Close it at once."""
        self._open = False
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by the event loop."""
        # uvloop's transports do not derive from asyncio's.
        self._transport = cast("asyncio.Transport", transport)
        self._open = True

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        """Called by the event loop."""
        if self._watch is not None:
            self._watch.cancel()
        self._fail(PostFailedError("the connection broke within an answer") if self._received else StaleError())

    def data_received(self, data: bytes) -> None:
        """Called by the event loop."""
        if self._ended is None:
            # Nobody asked: the server speaks out of turn, or has more to say than it announced.
            self.close()
            return
        self._received = received = self._received + data
        head_end = received.find(b"\r\n\r\n")
        if head_end < 0:
            if len(received) > _MOST_RESPONSE_BYTES:
                self._fail(PostFailedError("no end of the headers"))
            return
        self._read_response(received, head_end + 4)

    def _read_response(self, received: bytes, body_at: int) -> None:
        status, length = _STATUS.match(received), _LENGTH.search(received, 0, body_at)
        if status is None:
            self._fail(PostFailedError("no HTTP"))
        elif length is None or int(length[1]) > _MOST_RESPONSE_BYTES or _CLOSES.search(received, 0, body_at):
            # Where the body ends is not worth knowing.
            self._finish(int(status[1]), keep=False)
        elif len(received) >= (whole := body_at + int(length[1])):
            self._finish(int(status[1]), keep=len(received) == whole)

    def _look(self) -> None:
        self._watch = None
        if self._ended is None:
            return
        if self._loop.time() >= self._deadline_s - _CLOCK_GRAIN_S:
            self._fail(PostFailedError("no answer in time"))
        else:
            self._watch = self._loop.call_at(self._deadline_s, self._look)

    def _finish(self, status: int, *, keep: bool) -> None:
        self._received = b""
        self._open = keep
        self._tell(status)

    def _fail(self, error: PostFailedError) -> None:
        self._open = False
        self._tell(error)

    def _tell(self, result: Result) -> None:
        ended, self._ended = self._ended, None
        if ended is not None:
            ended(result)
