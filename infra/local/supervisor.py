"""Starts the processes of a local cloud, waits until each is ready, and stops them in the right order.

Every process gets a session of its own, so that Ctrl-C in the terminal reaches the supervisor alone, which then stops
the gateway before what the gateway still needs. Three things see to it that none outlives the supervisor: each is tied
to it (``tether.py``), a watchdog holds the other end of a pipe (``watchdog.py``), and each carries the cloud's mark in
its environment, by which on Linux stray grandchildren are found.
"""

import asyncio
import contextlib
import os
import subprocess
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from signal import SIGKILL, SIGTERM
from types import TracebackType
from typing import Self

from infra.local import watchdog
from infra.local.tether import tethered

MARK_NAME = "MAYA_LOCAL_CLOUD"
_LOG_TAIL_LINES = 20
_POLL_S = 0.005
_KILL_WAIT_S = 5.0


class PartFailedError(Exception):
    """A part did not start, or ended when nobody had asked it to; carries the end of its log."""

    def __init__(self, name: str, reason: str, log_tail: str) -> None:
        super().__init__(
            f"{name} {reason}" + (f"; the end of its log:\n{log_tail}" if log_tail else "; its log is empty")
        )
        self.name = name


@dataclass(frozen=True, slots=True)
class Part:
    """One process to run.

    ``environment`` is the whole of it but for the mark; what ``stdin`` returns is written to the process and never touches
    a disk; ``ready`` returns when the part can be used. Parts of a lower ``stop_stage`` are stopped first, those of one stage
    together; one that has not ended ``grace_s`` seconds after SIGTERM is killed. A part with ``restarts`` is started
    again when it dies, at most that often.
    """

    name: str
    command: Sequence[str]
    environment: Mapping[str, str]
    ready: Callable[[], Awaitable[None]]
    stdin: Callable[[], Awaitable[bytes]] | None = None
    stop_stage: int = 1
    ready_within_s: float = 30.0
    grace_s: float = 5.0
    restarts: int = 0


@dataclass(slots=True)
class _Running:
    """A part with the process that runs it now."""

    part: Part
    process: asyncio.subprocess.Process
    keeper: asyncio.Task[None] | None = None
    stopping: bool = False


class Supervisor:
    """Starts parts and stops them; an asynchronous context manager. Use it in the loop of the main thread.

    Args:
        log_dir: where each part's output goes, as ``<name>.log``.
        mark: what tells this cloud's processes from another's; ``MAYA_LOCAL_CLOUD`` in their environment.
        remove: what the watchdog removes when this process was killed; its own tidying removes nothing.
        announce: takes one line for a person, when a part has been started again.
    """

    def __init__(
        self, *, log_dir: Path, mark: str, remove: Sequence[Path] = (), announce: Callable[[str], None] = print
    ) -> None:
        self._log_dir = log_dir
        self._mark = mark
        self._remove = tuple(remove)
        self._announce = announce
        self._running: dict[str, _Running] = {}
        self._watchdog: subprocess.Popen[str] | None = None
        self._failed: asyncio.Future[PartFailedError] = asyncio.get_running_loop().create_future()

    async def __aenter__(self) -> Self:
        """Start the watchdog."""
        self._watchdog = subprocess.Popen(  # noqa: ASYNC220  # starting it takes a millisecond, its end is not awaited
            [sys.executable, "-I", "-S", watchdog.__file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            text=True,
            start_new_session=True,
            env={**os.environ, MARK_NAME: self._mark},
        )
        self._tell(f"mark {MARK_NAME}={self._mark}")
        for path in self._remove:
            self._tell(f"remove {path.absolute()}")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop everything that is left, and the watchdog."""
        try:
            await self.stop()
        finally:
            self._end_watchdog()

    @property
    def pids(self) -> dict[str, int]:
        """Process id of each running part by its name."""
        return {name: running.process.pid for name, running in self._running.items()}

    async def start(self, part: Part) -> None:
        """Start a part and wait until it is ready; it is then watched, and its death reported by ``failure``.

        Raises:
            PartFailedError: it ended before it was ready, or was not ready in time.
            Exception: whatever the part's ``stdin`` or ``ready`` raised.
        """
        running = _Running(part, await self._spawn(part))
        self._running[part.name] = running
        try:
            await self._await_ready(running)
        except Exception:
            await self._stop(running)
            del self._running[part.name]
            raise
        running.keeper = asyncio.create_task(self._keep(running), name=f"keep {part.name}")

    async def failure(self) -> PartFailedError:
        """Wait until a part dies that nobody stopped and that may not be started again."""
        return await asyncio.shield(self._failed)

    async def stop(self) -> None:
        """Stop every part, stage after stage, and whatever their groups or the mark still show. May be repeated."""
        while self._running:
            stage = min(running.part.stop_stage for running in self._running.values())
            now = [running for running in self._running.values() if running.part.stop_stage == stage]
            await asyncio.gather(*(self._stop(running) for running in now))
            for running in now:
                del self._running[running.part.name]
        if self._watchdog is not None:
            own = {self._watchdog.pid}
            watchdog.kill_marked(f"{MARK_NAME}={self._mark}", spare=own)

    def kill(self) -> None:
        """Kill every part at once, for a person who will not wait; ``stop`` then has little left to do."""
        for running in self._running.values():
            running.stopping = True
            watchdog.kill_group(running.process.pid, SIGKILL)

    async def _spawn(self, part: Part) -> asyncio.subprocess.Process:
        with (self._log_dir / f"{part.name}.log").open("ab") as log:
            process = await asyncio.create_subprocess_exec(
                *tethered(part.command),
                stdin=subprocess.DEVNULL if part.stdin is None else subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**part.environment, MARK_NAME: self._mark},
                start_new_session=True,
            )
        self._tell(f"group {process.pid}")
        return process

    async def _await_ready(self, running: _Running) -> None:
        part = running.part
        ready = asyncio.ensure_future(self._feed(running))
        ended = asyncio.ensure_future(running.process.wait())
        try:
            await asyncio.wait({ready, ended}, timeout=part.ready_within_s, return_when=asyncio.FIRST_COMPLETED)
            if ended.done():
                raise self._fault(part, f"ended with {_exit_text(ended.result())} before it was ready")
            if not ready.done():
                raise self._fault(part, f"was not ready within {part.ready_within_s:g} s")
            ready.result()
        finally:
            for task in (ready, ended):
                task.cancel()
            await asyncio.gather(ready, ended, return_exceptions=True)

    async def _feed(self, running: _Running) -> None:
        """Give the process its standard input, as soon as that is known, and wait until it is ready."""
        pipe = running.process.stdin
        if pipe is not None and running.part.stdin is not None:
            try:
                pipe.write(await running.part.stdin())
            finally:
                pipe.close()
        await running.part.ready()

    async def _keep(self, running: _Running) -> None:
        """Wait for the part's end; start it again where that is allowed, else report it."""
        part = running.part
        for left in range(part.restarts, -1, -1):
            code = await running.process.wait()
            if running.stopping:
                return
            self._bury(running.process.pid)
            fault = self._fault(part, f"ended unasked with {_exit_text(code)}")
            if not left:
                break
            try:
                running.process = await self._spawn(part)
                await self._await_ready(running)
            except PartFailedError as error:
                fault = error
                break
            self._announce(f"{part.name} ended unasked with {_exit_text(code)} and was started again")
        if not self._failed.done():
            self._failed.set_result(fault)

    async def _stop(self, running: _Running) -> None:
        running.stopping = True
        if running.keeper is not None:
            # First, or it could start the part again meanwhile.
            running.keeper.cancel()
            await asyncio.gather(running.keeper, return_exceptions=True)
        process = running.process
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(SIGTERM)
        try:
            await asyncio.wait_for(process.wait(), running.part.grace_s)
        except TimeoutError:
            watchdog.kill_group(process.pid, SIGKILL)
            await asyncio.wait_for(process.wait(), _KILL_WAIT_S)
        self._bury(process.pid)

    def _bury(self, pid: int) -> None:
        """Kill what is left of a dead part's group and forget it before its number can belong to another."""
        watchdog.kill_group(pid, SIGKILL)
        self._tell(f"forget {pid}")

    def _tell(self, line: str) -> None:
        if self._watchdog is not None and self._watchdog.stdin is not None:
            # A killed watchdog is no reason to end the cloud: the tether is still there.
            with contextlib.suppress(OSError):
                self._watchdog.stdin.write(line + "\n")
                self._watchdog.stdin.flush()

    def _end_watchdog(self) -> None:
        guard, self._watchdog = self._watchdog, None
        if guard is None or guard.stdin is None:
            return
        with contextlib.suppress(OSError):
            guard.stdin.write("end\n")
            guard.stdin.close()
        guard.wait()

    def _fault(self, part: Part, reason: str) -> PartFailedError:
        return PartFailedError(part.name, reason, log_tail(self._log_dir / f"{part.name}.log"))


def log_tail(log: Path, lines: int = _LOG_TAIL_LINES) -> str:
    """Return the last lines of a log file, or nothing when there is none."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - lines * 400))
            text = file.read().decode(errors="replace")
    except OSError:
        return ""
    return "\n".join(text.splitlines()[-lines:])


async def file_appears(path: Path) -> None:
    """Return when the file exists; a part writes it whole, under another name first, when it can be used."""
    while not path.exists():  # noqa: ASYNC110, ASYNC240  # no event tells of a file on every platform; a stat is brief
        await asyncio.sleep(_POLL_S)


def _exit_text(code: int) -> str:
    return f"signal {-code}" if code < 0 else f"exit code {code}"
