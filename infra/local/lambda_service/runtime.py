"""The inside of an execution environment: one process that answers one invocation at a time.

It does what ``awslambdaric`` does in Lambda: calls the handler with the event and a context, turns its answer or exception
into JSON, sends Python's logging to standard output in Lambda's format. Standard output is the environment's log file.
"""

from __future__ import annotations

import json
import logging
import os
import socket
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

from infra.local.lambda_service import faults, wire
from infra.local.lambda_service.context import LambdaContext

_READ_BYTES = 32 * 1024  # a larger buffer is mapped anew for each read
_RESPONSE_LIMIT_BYTES = 6 * 1024 * 1024 + 100


@dataclass(frozen=True, slots=True)
class Settings:
    """What a runtime process is told at its start.

    Attributes:
        handler: ``package.module.function``.
        root: Folder of the function's code: first on ``sys.path``, working directory.
        arn: ``invoked_function_arn`` of the context.
        fork: The process imports the handler once and forks; else it starts a fresh interpreter for each environment.
        life_fd: Pipe that ends with the service.
        alone: No packages that are installed here can be imported.
        also_import: Modules that a process which forks imports with the handler.
    """

    handler: str
    root: str
    arn: str
    fork: bool
    life_fd: int
    alone: bool = False
    also_import: Sequence[str] = ()

    @property
    def interpreter(self) -> list[str]:
        """The interpreter to start, and its switches."""
        return [sys.executable, "-P", *(["-S"] if self.alone else [])]


class LambdaLogHandler(logging.Handler):
    """Lambda's root log handler: level, time in UTC and request id before each message."""

    def __init__(self) -> None:
        super().__init__()
        self.request_id = ""
        formatter = logging.Formatter(
            "[%(levelname)s]\t%(asctime)s.%(msecs)03dZ\t%(aws_request_id)s\t%(message)s", "%Y-%m-%dT%H:%M:%S"
        )
        formatter.converter = time.gmtime
        self.setFormatter(formatter)

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record to standard output."""
        record.aws_request_id = self.request_id
        sys.stdout.write(self.format(record) + "\n")


def enter_task_root(root: str) -> None:
    """Make the function's folder the working directory and the first place for imports."""
    os.chdir(root)
    sys.path.insert(0, root)


def redirect_output(log_file: str) -> None:
    """Append standard output and standard error to a file, line by line."""
    sys.stdout.flush()
    sys.stderr.flush()
    fd = os.open(log_file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(fd, 1)
    os.dup2(fd, 2)
    os.close(fd)
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(line_buffering=True)  # type: ignore[union-attr] # both are text files here


def read_exactly(channel: socket.socket, have: bytes, size: int) -> bytes | None:
    """Read until ``size`` bytes are there; None at the end of the stream."""
    parts = [have]
    missing = size - len(have)
    while missing > 0:
        part = channel.recv(min(missing, _READ_BYTES))
        if not part:
            return None
        parts.append(part)
        missing -= len(part)
    return b"".join(parts)


class Runtime:
    """Answers invocations on a channel until it ends."""

    def __init__(self, channel: socket.socket, settings: Settings) -> None:
        self._channel = channel
        self._settings = settings
        self._log_handler = LambdaLogHandler()
        self._handler_ns = 0

    def run(self, handler: faults.Handler | faults.LoadError) -> NoReturn:
        """Serve until the service closes the channel, then end the process; never returns."""
        if isinstance(handler, faults.LoadError):
            faults.log(handler.document)
            self._send(wire.INIT_ERROR, json.dumps(handler.document).encode())
            os._exit(0)
        root = logging.getLogger()
        if not root.handlers:
            root.addHandler(self._log_handler)
        self._send(wire.READY, b"{}")
        while (invocation := self._receive()) is not None:
            self._answer(handler, *invocation)
        os._exit(0)

    def _receive(self) -> tuple[str, int, bytes] | None:
        header_bytes = wire.INVOCATION.size
        data: bytes | None = self._channel.recv(_READ_BYTES)
        if data and len(data) < header_bytes:
            data = read_exactly(self._channel, data, header_bytes)
        if not data:
            return None
        size, deadline_ms, request_id = wire.INVOCATION.unpack_from(data)
        data = read_exactly(self._channel, data, header_bytes + size)
        return None if data is None else (request_id.decode("ascii"), deadline_ms, data[header_bytes:])

    def _answer(self, handler: faults.Handler, request_id: str, deadline_ms: int, payload: bytes) -> None:
        self._log_handler.request_id = request_id
        os.environ["_X_AMZN_TRACE_ID"] = (
            f"Root=1-{deadline_ms // 1000:08x}-{request_id.replace('-', '')[:24]};Sampled=0"
        )
        context = LambdaContext(
            request_id=request_id, deadline_ms=deadline_ms, arn=self._settings.arn, environment=os.environ
        )
        event = json.loads(payload)
        began_ns = time.process_time_ns()
        try:
            result = handler(event, context)
        except Exception as exc:  # noqa: BLE001 # whatever a handler raises is its answer
            # The first frame is this file's, which Lambda's own stack traces leave out too.
            trace = exc.__traceback__.tb_next if exc.__traceback__ else None
            self._handler_ns = time.process_time_ns() - began_ns
            self._fail(faults.error_document(exc, trace, request_id))
            return
        self._handler_ns = time.process_time_ns() - began_ns
        try:
            answer = faults.to_json(result)
        except (TypeError, ValueError) as exc:
            self._fail(faults.marshal_error(exc, request_id))
            return
        if len(answer) > _RESPONSE_LIMIT_BYTES:
            self._send(wire.FUNCTION_ERROR, faults.too_large_error())
        else:
            self._send(wire.RESULT, answer)

    def _fail(self, document: dict[str, Any]) -> None:
        faults.log(document)
        self._send(wire.FUNCTION_ERROR, json.dumps(document).encode())

    def _send(self, kind: int, payload: bytes) -> None:
        self._channel.sendall(wire.FRAME.pack(len(payload), kind, self._handler_ns) + payload)
