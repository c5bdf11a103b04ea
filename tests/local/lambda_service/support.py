"""What the tests of the Lambda service share."""

import asyncio
import contextlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import psutil

from infra.local.cloud_config import FunctionConfig
from infra.local.lambda_service.results import InvocationResult
from infra.local.lambda_service.service import LambdaService

FUNCTIONS = Path(__file__).parent / "functions"


class MakeFunction(Protocol):
    """Makes a function, by default the handler of that name in ``functions/sample.py``."""

    def __call__(self, name: str, **settings: Any) -> FunctionConfig: ...


class StartService(Protocol):
    """Starts a service with some functions; it is closed after the test."""

    async def __call__(self, *functions: FunctionConfig, **settings: Any) -> LambdaService: ...


@dataclass
class Visitor:
    """A handler that waits."""

    pid: int
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    def let_go(self) -> None:
        """Have the handler return."""
        self.writer.write(b"go\n")

    async def left(self) -> None:
        """Wait until its end of the line is closed: it returned, or its process is gone."""
        with contextlib.suppress(ConnectionResetError):
            await self.reader.read()


class Meeting:
    """Where a handler says that it runs, and waits to be let go."""

    def __init__(self) -> None:
        self.port = 0
        self._arrivals: asyncio.Queue[Visitor] = asyncio.Queue()
        self._server: asyncio.Server | None = None
        self._writers: list[asyncio.StreamWriter] = []

    async def open(self) -> None:
        """Wait for handlers on a free port."""
        self._server = await asyncio.start_server(self._arrived, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def next(self) -> Visitor:
        """The next handler that has arrived."""
        return await self._arrivals.get()

    async def close(self) -> None:
        """Send every handler away."""
        assert self._server is not None
        self._server.close()
        for writer in self._writers:
            writer.close()
        await self._server.wait_closed()

    async def _arrived(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.append(writer)
        self._arrivals.put_nowait(Visitor(int(await reader.readline()), reader, writer))


def submit(service: LambdaService, name: str, event: Any) -> asyncio.Future[InvocationResult]:
    """Start an invocation."""
    return service.submit(name, json.dumps(event).encode())


async def answer(invocation: asyncio.Future[InvocationResult]) -> Any:
    """Decode the answer of an invocation under way."""
    return json.loads((await invocation).payload)


async def idle(service: LambdaService, name: str) -> None:
    """Wait until no asynchronous invocation of a function is queued or under way."""
    await asyncio.gather(*service._invokers[name]._tasks)


async def until(condition: Callable[[], bool]) -> None:
    """Let the event loop run until something holds."""
    while not condition():  # noqa: ASYNC110 # what the service notes about processes has no event
        await asyncio.sleep(0)


def lives(pid: int) -> bool:
    """Whether a process runs; one that only waits to be reaped does not."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
