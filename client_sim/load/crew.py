"""The processes of a load run: phones come in one after the other, into a further process when one's core is full."""

import asyncio
import json
import os
import sys
import time
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import client_sim
from client_sim.load.settings import LoadSettings
from client_sim.load.tokens import fetch_token

type Take = Callable[[dict[str, Any]], None]

FULL_CPU: Final = 0.7
"""Share of a core from which on a process gets no more phones: beyond it, event loops begin to be late."""
_LOOKED_AT_S: Final = 3
_START_WITHIN_S: Final = 30.0
_LEAVE_WITHIN_S: Final = 8.0
_LINE_BYTES: Final = 4 * 1024 * 1024
_TOKENS_AT_ONCE: Final = 2
_TELL_EVERY: Final = 10


class CrewError(Exception):
    """A process of phones failed; the text says how."""


class Process:
    """One process of phones, from outside.

    Args:
        number: of the process.
        take: is given its records.
    """

    def __init__(self, number: int, take: Take) -> None:
        self.number = number
        self._take = take
        self._cpu: deque[float] = deque(maxlen=_LOOKED_AT_S)
        self._ready = asyncio.Event()
        self._child: asyncio.subprocess.Process | None = None
        self._reading: asyncio.Task[None] | None = None

    @property
    def broken(self) -> bool:
        """Whether it has ended by itself."""
        return self._reading is not None and self._reading.done()

    def check(self) -> None:
        """Raise what went wrong in taking its records."""
        if self._reading is not None and self._reading.done() and not self._reading.cancelled():
            self._reading.result()

    @property
    def full(self) -> bool:
        """Whether its core carries no more phones."""
        return len(self._cpu) == _LOOKED_AT_S and sum(self._cpu) / _LOOKED_AT_S > FULL_CPU

    async def start(self, settings: LoadSettings) -> None:
        """Return when it is ready for `begin`.

        Raises:
            CrewError: it did not.
        """
        root = str(Path(client_sim.__file__).parent.parent)
        path = os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))
        self._child = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "client_sim.load.worker",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": path},
            limit=_LINE_BYTES,
            # Ctrl-C is for the crew alone, which ends its processes in order.
            start_new_session=sys.platform != "win32",
        )
        self._reading = asyncio.create_task(self._read())
        self.send({"settings": json.loads(settings.as_line()), "process": self.number})
        ready = asyncio.create_task(self._ready.wait())
        await asyncio.wait([ready, self._reading], timeout=_START_WITHIN_S, return_when=asyncio.FIRST_COMPLETED)
        ready.cancel()
        if not self._ready.is_set():
            raise CrewError("a process of phones did not start; what it said is above")

    def begin(self, began_at: float) -> None:
        """Let it take phones.

        Args:
            began_at: when the run began, by the wall clock.
        """
        self.send({"began_at": began_at})

    def send(self, command: dict[str, Any]) -> None:
        """Tell it something."""
        assert self._child is not None
        assert self._child.stdin is not None
        if not self._child.stdin.is_closing():
            self._child.stdin.write(json.dumps(command).encode() + b"\n")

    async def over(self) -> None:
        """Return when it is gone and all it said is taken."""
        if self._reading is not None:
            await asyncio.wait([self._reading])

    async def leave(self) -> None:
        """End it, by force if it does not go."""
        if self._child is None:
            return
        self.send({"do": "cut"})
        try:
            async with asyncio.timeout(_LEAVE_WITHIN_S):
                await self.over()
                await self._child.wait()
        except TimeoutError:
            self._child.kill()
            await self._child.wait()
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.gather(self._reading, return_exceptions=True)

    async def _read(self) -> None:
        assert self._child is not None
        assert self._child.stdout is not None
        while line := await self._child.stdout.readline():
            record = json.loads(line)
            if record["kind"] == "ready":
                self._ready.set()
                continue
            if record["kind"] == "second":
                self._cpu.append(record["cpu"])
            self._take(record)


class Crew:
    """All phones of a run.

    Args:
        settings: of the run.
        take: is given every record.
        say: is given a sentence now and then.
    """

    def __init__(self, settings: LoadSettings, *, take: Take, say: Callable[[str], None]) -> None:
        self._settings = settings
        self._take = take
        self._say = say
        self._processes: list[Process] = []
        self._began_at = 0.0
        self.stop = asyncio.Event()
        self.cut = asyncio.Event()

    async def run(self, begun: Callable[[float], None]) -> str:
        """Hold the run to its end; returns why it ended: ``time``, ``interrupted`` or ``failed``.

        Args:
            begun: is told the wall clock when the first phone is about to begin.

        Raises:
            client_sim.load.tokens.TokenError: a learner has no token.
            CrewError: no process of phones starts.
        """
        tokens = await self._tokens()
        try:
            if not self.stop.is_set():
                await self._another()
                begun(self._began_at)
                await self._bring_in(tokens)
                await self._wait(self._left_s(), self.stop)
            why = "interrupted" if self.stop.is_set() else "time"
            if self._broken():
                why = "failed"
            await self._end()
            return why
        finally:
            await asyncio.gather(*(process.leave() for process in self._processes))

    async def _tokens(self) -> list[str]:
        gate = asyncio.Semaphore(_TOKENS_AT_ONCE)
        got = 0

        async def one(phone: int) -> str:
            nonlocal got
            async with gate:
                if self.stop.is_set():
                    return ""
                token = await fetch_token(self._settings.token_command, phone)
            got += 1
            if got in (1, self._settings.phones) or got % _TELL_EVERY == 0:
                self._say(f"tokens: {got} of {self._settings.phones}")
            return token

        tasks = [asyncio.create_task(one(phone)) for phone in range(self._settings.phones)]
        try:
            return await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _bring_in(self, tokens: Sequence[str]) -> None:
        for phone, token in enumerate(tokens):
            due_s = self._settings.ramp_s * phone / len(tokens)
            await self._wait(due_s - (time.time() - self._began_at), self.stop)
            if self.stop.is_set() or self._broken():
                return
            if self._processes[-1].full and len(self._processes) < self._settings.processes:
                await self._another()
            self._processes[-1].send({"do": "add", "phone": phone, "token": token})

    async def _another(self) -> None:
        process = Process(len(self._processes), self._take)
        self._processes.append(process)
        await process.start(self._settings)
        # The clock of the run begins when there is a process to hold phones.
        self._began_at = self._began_at or time.time()
        process.begin(self._began_at)
        if len(self._processes) > 1:
            self._say(f"a core is full: {len(self._processes)} processes now")

    async def _end(self) -> None:
        """Let conversations be assessed, and cut those that take too long."""
        for process in self._processes:
            process.send({"do": "stop"})
        gone = asyncio.create_task(self._all_over())
        cut = asyncio.create_task(self._told_to_cut())
        await asyncio.wait([gone, cut], timeout=self._settings.drain_s, return_when=asyncio.FIRST_COMPLETED)
        for task in (gone, cut):
            task.cancel()

    async def _all_over(self) -> None:
        for process in self._processes:
            await process.over()

    async def _told_to_cut(self) -> None:
        await self.cut.wait()

    def _left_s(self) -> float:
        return self._settings.minutes * 60 - (time.time() - self._began_at)

    def _broken(self) -> bool:
        for process in self._processes:
            process.check()
        return any(process.broken for process in self._processes)

    async def _wait(self, seconds: float, event: asyncio.Event) -> None:
        """Wait for a time, an event, or a process that ends by itself."""
        if seconds <= 0:
            return
        waiting = [asyncio.create_task(event.wait()), *(asyncio.create_task(p.over()) for p in self._processes)]
        await asyncio.wait(waiting, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
