"""The service's side of execution environments: their channels, and the template process that makes them."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol, cast

from infra.local.lambda_service import wire
from infra.local.lambda_service.runtime import Settings

_BOOTSTRAP = Path(__file__).with_name("bootstrap.py")
_END_S = 2.0


class StartError(Exception):
    """A template or an environment did not start.

    Attributes:
        document: Lambda's error JSON when the function's own code failed; empty otherwise.
        exit_code: Of the process that ended, minus the signal; None when none did.
    """

    def __init__(self, text: str, *, document: bytes = b"", exit_code: int | None = None) -> None:
        super().__init__(text)
        self.document = document
        self.exit_code = exit_code


@dataclass(frozen=True, slots=True)
class Ended:
    """How an environment's process ended: exit code (minus the signal), CPU seconds and peak memory."""

    code: int | None
    cpu_s: float
    max_rss_bytes: int


class Owner(Protocol):
    """Who is told what an environment does once it has started."""

    def answered(self, environment: Environment, payload: bytes, *, failed: bool) -> None:
        """An invocation has come to its end."""

    def gone(self, environment: Environment) -> None:
        """The process has ended (``environment.ended``) and all that it sent has been received."""


class Environment(asyncio.Protocol):
    """The channel to one environment process, and what is noted about it.

    Attributes:
        number: Names it to its template process.
        handler_s: CPU seconds that its handler has taken, in invocations that have been answered.
        log_file: Where its output goes.
        started: Done when the handler can be called; StartError when it cannot.
        dying: It gets no more invocations.
        call: The pool's note of the invocation under way.
    """

    def __init__(self, owner: Owner, number: int, log_file: Path) -> None:
        self.number = number
        self.log_file = log_file
        self.pid = 0
        self.invocations = 0
        self.handler_s = 0.0
        self.started: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.dying = False
        self.ended: Ended | None = None
        self.idle_since_s = 0.0
        self.call: Any = None
        self.on_lost: Callable[[Environment], None] | None = None
        self._owner = owner
        self._lost = False
        self._transport: asyncio.Transport | None = None
        self._received = bytearray()

    def invoke(self, request_id: str, deadline_ms: int, payload: bytes) -> None:
        """Hand over an invocation; its answer comes as a frame."""
        assert self._transport is not None
        self.invocations += 1
        header = wire.INVOCATION.pack(len(payload), deadline_ms, request_id.encode("ascii"))
        self._transport.write(header + payload)

    def close(self) -> None:
        """End the channel: an environment that waits for an invocation ends itself."""
        self.dying = True
        if self._transport is not None:
            self._transport.abort()

    def process_ended(self, ended: Ended) -> None:
        """Note that the process is gone; what it sent before may still be on its way."""
        self.dying = True
        self.ended = ended
        if self._transport is None:
            self._lost = True
        self._check_gone()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by asyncio."""
        # uvloop's transports are not subclasses of asyncio's.
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Called by asyncio with a piece of the environment's frames."""
        received = self._received
        received += data
        while len(received) >= wire.FRAME.size:
            size, kind, handler_ns = wire.FRAME.unpack_from(received)
            end = wire.FRAME.size + size
            if len(received) < end:
                return
            payload = bytes(received[wire.FRAME.size : end])
            del received[:end]
            self.handler_s += handler_ns / 1e9
            if self.started.done():
                self._owner.answered(self, payload, failed=kind == wire.FUNCTION_ERROR)
            elif kind == wire.READY:
                self.started.set_result(None)
            else:
                self._fail_start(StartError("the handler could not be loaded", document=payload))

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 # the end is the same for every reason
        """Called by asyncio when the process has closed its end."""
        self._lost = True
        self.dying = True
        if self.ended is None and self.on_lost is not None:
            self.on_lost(self)
        self._check_gone()

    def _check_gone(self) -> None:
        if self.ended is None or not self._lost:
            return
        if self.started.done():
            self._owner.gone(self)
        else:
            self._fail_start(StartError("the environment ended at its start", exit_code=self.ended.code))

    def _fail_start(self, error: StartError) -> None:
        _fail(self.started, error)


class TemplateProcess:
    """A template process of one function; see ``template.py`` for what is said on its control socket."""

    def __init__(
        self,
        settings: Settings,
        *,
        environ: Mapping[str, str],
        log_file: Path,
        on_ended: Callable[[int, Ended], None],
        on_lost: Callable[[], None],
    ) -> None:
        self._settings = settings
        self._environ = environ
        self._log_file = log_file
        self._on_ended = on_ended
        self._on_lost = on_lost
        self._loop = asyncio.get_running_loop()
        self._ready: asyncio.Future[int] = self._loop.create_future()
        self._starts: dict[int, asyncio.Future[int]] = {}
        self._one_start = asyncio.Lock()
        self._received = b""
        self._control: socket.socket | None = None
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        """Process id while it runs."""
        return None if self._process is None or self._control is None else self._process.pid

    def start(self) -> None:
        """Start the process; ``ready`` tells when it has imported the handler."""
        control, theirs = socket.socketpair()
        start = {
            "settings": asdict(self._settings),
            "parent": os.getpid(),
            "control": theirs.fileno(),
            "log": str(self._log_file),
        }
        try:
            self._process = subprocess.Popen(
                [*self._settings.interpreter, str(_BOOTSTRAP), "template", json.dumps(start)],
                env=dict(self._environ),
                stdin=subprocess.DEVNULL,
                pass_fds=(theirs.fileno(), self._settings.life_fd),
                start_new_session=True,
            )
        except OSError as exc:
            control.close()
            raise StartError(exc.strerror or type(exc).__name__) from None
        finally:
            theirs.close()
        control.setblocking(False)
        self._control = control
        self._loop.add_reader(control.fileno(), self._readable)

    async def ready(self, timeout_s: float) -> int:
        """Wait until environments can be made.

        Returns:
            The threads that the process has: forking is safe with one only.

        Raises:
            StartError: It ended.
            TimeoutError: It took longer than ``timeout_s``.
        """
        return await asyncio.wait_for(asyncio.shield(self._ready), timeout_s)

    async def start_environment(self, environment: Environment, stream: str) -> None:
        """Make an environment process and connect its channel.

        Raises:
            StartError: The process could not be made.
        """
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        try:
            async with self._one_start:
                environment.pid = await self._request_start(environment, stream, theirs)
            await self._loop.create_unix_connection(lambda: environment, sock=ours)
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()

    async def _request_start(self, environment: Environment, stream: str, channel: socket.socket) -> int:
        if self._control is None:
            raise StartError("the template process has ended")
        started: asyncio.Future[int] = self._loop.create_future()
        self._starts[environment.number] = started
        request = {"start": environment.number, "log": str(environment.log_file), "stream": stream}
        try:
            socket.send_fds(self._control, [json.dumps(request).encode() + b"\n"], [channel.fileno()])
            return await started
        except OSError as exc:
            raise StartError(exc.strerror or type(exc).__name__) from None
        finally:
            self._starts.pop(environment.number, None)

    def kill(self, number: int) -> None:
        """Kill an environment with SIGKILL, if it still runs."""
        if self._control is not None:
            with contextlib.suppress(OSError):
                self._control.send(json.dumps({"kill": number}).encode() + b"\n")

    async def close(self) -> None:
        """End the process and all its environments."""
        self._disconnect()
        if self._process is not None:
            await asyncio.to_thread(_reap, self._process)

    def _readable(self) -> None:
        assert self._control is not None
        try:
            data = self._control.recv(65536)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._disconnect()
            assert self._process is not None
            self._loop.run_in_executor(None, _reap, self._process).add_done_callback(self._report_loss)
            return
        *lines, self._received = (self._received + data).split(b"\n")
        for line in lines:
            self._told(json.loads(line))

    def _told(self, message: Mapping[str, Any]) -> None:
        if "started" in message:
            self._started(message["started"], message["pid"])
        elif "failed" in message:
            if (start := self._starts.get(message["failed"])) is not None:
                _fail(start, StartError(message["error"]))
        elif "ended" in message:
            peak_bytes = message["max_rss_kb"] * (1 if sys.platform == "darwin" else 1024)
            self._on_ended(message["ended"], Ended(message["code"], message["cpu_s"], peak_bytes))
        elif message.get("fault") is not None:
            fault = message["fault"]
            text = f"{fault['errorType']}: {fault['errorMessage']}"
            _fail(self._ready, StartError(text, document=json.dumps(fault).encode()))
        elif not self._ready.done():
            self._ready.set_result(message["threads"])

    def _started(self, number: int, pid: int) -> None:
        if (start := self._starts.get(number)) is not None and not start.done():
            start.set_result(pid)
        else:
            self.kill(number)

    def _report_loss(self, reaped: asyncio.Future[int | None]) -> None:
        error = StartError("the template process ended", exit_code=reaped.result())
        for future in (self._ready, *self._starts.values()):
            _fail(future, error)
        self._on_lost()

    def _disconnect(self) -> None:
        if self._control is not None:
            self._loop.remove_reader(self._control.fileno())
            self._control.close()
            self._control = None


def _fail(future: asyncio.Future[Any], error: StartError) -> None:
    if not future.done():
        future.set_exception(error)
        future.exception()  # marks it as seen, for nobody need wait


def _reap(process: subprocess.Popen[bytes]) -> int | None:
    try:
        return process.wait(_END_S)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait()
