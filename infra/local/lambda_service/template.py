"""The process that makes a function's execution environments.

There is one for each function. With ``fork`` it has imported the handler and each environment is a fork of it, which
takes milliseconds and shares memory, as SnapStart does; without, each environment is a fresh interpreter. It reads
requests from its control socket, one JSON object a line:

    {"start": number, "log": file, "stream": log stream name}   with the environment's end of its channel as SCM_RIGHTS
    {"kill": number}

and tells what happens, one JSON object a line: ``{"ready": true, "threads": n, "fault": import error or null}``, ``{"started": number, "pid": pid}``,
``{"failed": number, "error": text}``, ``{"ended": number, "code": exit code or minus the signal, "cpu_s": x, "max_rss_kb": n}``.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import select
import signal
import socket
import sys
import threading
import traceback
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, NoReturn

from infra.local.lambda_service import faults
from infra.local.lambda_service.parent_death import die_by_signal, die_with_parent
from infra.local.lambda_service.runtime import Runtime, Settings, enter_task_root, redirect_output

_LINE_BYTES = 64 * 1024


class Template:
    """Starts environments on request and reaps them."""

    def __init__(self, control: socket.socket, settings: Settings) -> None:
        self._control = control
        self._settings = settings
        self._handler: faults.Handler | faults.LoadError | None = None
        self._numbers: dict[int, int] = {}
        self._pids: dict[int, int] = {}
        self._wakeup_reader, self._wakeup_writer = socket.socketpair()

    def run(self) -> NoReturn:
        """Serve until the control socket ends, then kill every environment and end the process."""
        if self._settings.fork:
            enter_task_root(self._settings.root)
            self._handler = _load(self._settings.handler)
            if not isinstance(self._handler, faults.LoadError):
                for name in self._settings.also_import:
                    importlib.import_module(name)
            gc.collect()
            gc.freeze()
        self._wakeup_writer.setblocking(False)
        signal.set_wakeup_fd(self._wakeup_writer.fileno())
        signal.signal(signal.SIGCHLD, lambda *_: None)
        self._tell_ready()
        pending = b""
        while True:
            readable, _, _ = select.select([self._control, self._wakeup_reader], [], [])
            if self._wakeup_reader in readable:
                self._wakeup_reader.recv(4096)
                self._reap()
            if self._control in readable:
                data, fds, _, _ = socket.recv_fds(self._control, _LINE_BYTES, 1)
                if not data:
                    self._end()
                *lines, pending = (pending + data).split(b"\n")
                for line in lines:
                    self._obey(json.loads(line), fds)

    def _tell_ready(self) -> None:
        fault = None
        if isinstance(self._handler, faults.LoadError):
            fault = self._handler.document
            faults.log(fault)
        self._tell({"ready": True, "threads": thread_count(), "fault": fault})

    def _obey(self, request: Mapping[str, Any], fds: list[int]) -> None:
        if "start" in request:
            self._start(request, fds.pop())
        elif (pid := self._pids.get(request["kill"])) is not None:
            os.kill(pid, signal.SIGKILL)

    def _start(self, request: Mapping[str, Any], channel_fd: int) -> None:
        number = request["start"]
        try:
            pid = self._fork(request, channel_fd) if self._settings.fork else self._spawn(request, channel_fd)
        except OSError as exc:
            self._tell({"failed": number, "error": exc.strerror or type(exc).__name__})
            return
        finally:
            os.close(channel_fd)
        self._numbers[pid], self._pids[number] = number, pid
        self._tell({"started": number, "pid": pid})

    def _fork(self, request: Mapping[str, Any], channel_fd: int) -> int:
        parent = os.getpid()
        pid = os.fork()
        if pid:
            return pid
        try:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            for own in (self._control, self._wakeup_reader, self._wakeup_writer):
                own.close()
            assert callable(self._handler)
            become_environment(self._settings, request, channel_fd, parent, self._handler)
        except SystemExit as exc:
            os._exit(exc.code if isinstance(exc.code, int) else int(exc.code is not None))
        except BaseException:  # noqa: BLE001 # it must not run on as a second template
            traceback.print_exc()
        os._exit(1)

    def _spawn(self, request: Mapping[str, Any], channel_fd: int) -> int:
        os.set_inheritable(channel_fd, True)
        os.set_inheritable(self._settings.life_fd, True)
        start = {"settings": asdict(self._settings), "parent": os.getpid(), "channel": channel_fd, **request}
        program = str(Path(__file__).with_name("bootstrap.py"))
        return os.posix_spawn(
            sys.executable, [*self._settings.interpreter, program, "environment", json.dumps(start)], os.environ
        )

    def _reap(self) -> None:
        while self._numbers:
            pid, status, usage = os.wait4(-1, os.WNOHANG)
            if not pid:
                return
            number = self._numbers.pop(pid, None)
            if number is None:
                continue
            del self._pids[number]
            self._tell(
                {
                    "ended": number,
                    "code": os.waitstatus_to_exitcode(status),
                    "cpu_s": usage.ru_utime + usage.ru_stime,
                    "max_rss_kb": usage.ru_maxrss,
                }
            )

    def _end(self) -> NoReturn:
        for pid in self._numbers:
            os.kill(pid, signal.SIGKILL)
        for pid in self._numbers:
            os.waitpid(pid, 0)
        os._exit(0)

    def _tell(self, message: Mapping[str, Any]) -> None:
        try:
            self._control.sendall(json.dumps(message).encode() + b"\n")
        except OSError:
            self._end()


def become_environment(
    settings: Settings,
    request: Mapping[str, Any],
    channel_fd: int,
    parent_pid: int,
    handler: faults.Handler,
) -> NoReturn:
    """Turn this process into an environment and serve until its channel ends."""
    die_with_parent(parent_pid, settings.life_fd)
    os.environ["AWS_LAMBDA_LOG_STREAM_NAME"] = request["stream"]
    redirect_output(request["log"])
    Runtime(socket.socket(fileno=channel_fd), settings).run(handler)


def environment_main(start: Mapping[str, Any]) -> NoReturn:
    """Entry of a fresh interpreter: import the handler, then serve."""
    settings = Settings(**start["settings"])
    die_with_parent(start["parent"], settings.life_fd)
    os.set_inheritable(start["channel"], False)
    os.environ["AWS_LAMBDA_LOG_STREAM_NAME"] = start["stream"]
    redirect_output(start["log"])
    enter_task_root(settings.root)
    handler = _load(settings.handler)
    Runtime(socket.socket(fileno=start["channel"]), settings).run(handler)


def template_main(start: Mapping[str, Any]) -> NoReturn:
    """Entry of a template process: import the handler once, then make environments."""
    settings = Settings(**start["settings"])
    die_by_signal(start["parent"])
    redirect_output(start["log"])
    Template(socket.socket(fileno=start["control"]), settings).run()


def thread_count() -> int:
    """Threads of this process, those of native libraries included where the system tells."""
    try:
        return sum(1 for _ in Path("/proc/self/task").iterdir())
    except OSError:
        return threading.active_count()


def _load(path: str) -> faults.Handler | faults.LoadError:
    try:
        return faults.load_handler(path)
    except faults.LoadError as exc:
        return exc
