"""A process of phones: ``python -m client_sim.load.worker``. Commands come by standard input, records leave by standard output.

The first line is the settings, the second, once the process is ready, the wall clock at which the run began; then ``{"do": "add", "phone": 3, "token": ...}``,
``{"do": "stop"}`` for an orderly end, ``{"do": "cut"}`` for one at once. The end of the input is a cut as well: a process
whose crew is gone does not stay.
"""

import asyncio
import contextlib
import json
import os
import sys
import threading
import time
from collections.abc import Callable
from typing import Any, Final

from client_sim.clock import RealClock
from client_sim.load.caller import Bench, Caller
from client_sim.load.histogram import Histogram
from client_sim.load.settings import LoadSettings
from client_sim.load.speech import utterances_of
from client_sim.load.tokens import TokenError, fetch_token
from client_sim.network import connector

_BEAT_S: Final = 0.02
_TICK_S: Final = 1.0


class Worker:
    """Phones that share an event loop.

    Args:
        bench: what they share.
        name: of the process.
    """

    def __init__(self, bench: Bench, name: int) -> None:
        self._bench = bench
        self._name = name
        self._callers: dict[asyncio.Task[None], Caller] = {}
        self._loop_lag = Histogram()
        self._cut = asyncio.Event()
        self._cpu_s = time.process_time()
        self._ticked_ms = bench.clock.now_ms()

    def add(self, phone: int, token: str) -> None:
        """Let a phone begin."""

        async def refresh() -> str:
            try:
                return await fetch_token(self._bench.settings.token_command, phone)
            except TokenError:
                return token

        caller = Caller(self._bench, phone, token, refresh)
        task = asyncio.create_task(caller.run())
        task.add_done_callback(self._over)
        self._callers[task] = caller

    def stop(self) -> None:
        """Let every conversation come to its end, and none begin."""
        self._bench.stop.set()

    def cut(self) -> None:
        """End at once."""
        self._bench.stop.set()
        self._cut.set()

    async def run(self) -> None:
        """Hold conversations until stopped and all of them are over, or until cut."""
        beat = asyncio.create_task(self._beat())
        tick = asyncio.create_task(self._tick())
        cut = asyncio.create_task(self._cut.wait())
        try:
            await self._bench.stop.wait()
            while self._callers and not self._cut.is_set():
                done, _ = await asyncio.wait([*self._callers, cut], return_when=asyncio.FIRST_COMPLETED)
                for over in [task for task in self._callers if task in done]:
                    del self._callers[over]
                    over.result()
        finally:
            for task in (*self._callers, beat, tick, cut):
                task.cancel()
            ended = await asyncio.gather(*self._callers, return_exceptions=True)
            await asyncio.gather(beat, tick, cut, return_exceptions=True)
            self._tell()
        for fault in ended:
            if isinstance(fault, Exception):
                raise fault

    def _over(self, task: asyncio.Task[None]) -> None:
        """A fault of our own in one phone ends all, for what it would have measured is missing."""
        if not task.cancelled() and task.exception() is not None:
            self.cut()

    async def _beat(self) -> None:
        """Ask to be woken after a while, and see how late that is: a busy event loop makes everything late."""
        loop = asyncio.get_running_loop()
        while True:
            due_s = loop.time() + _BEAT_S
            await asyncio.sleep(_BEAT_S)
            self._loop_lag.add((loop.time() - due_s) * 1000)

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(_TICK_S)
            for caller in self._callers.values():
                caller.tick()
            self._tell()

    def _tell(self) -> None:
        now_ms, cpu_s = self._bench.clock.now_ms(), time.process_time()
        elapsed_s = max(1e-3, (now_ms - self._ticked_ms) / 1000)
        talking: dict[str, int] = {}
        for caller in self._callers.values():
            talking[caller.region] = talking.get(caller.region, 0) + caller.talking
        self._bench.emit(
            {
                "kind": "second",
                "at_s": round((now_ms - self._bench.began_ms) / 1000, 3),
                "process": self._name,
                "phones": talking,
                "cpu": round((cpu_s - self._cpu_s) / elapsed_s, 3),
                "slip": self._bench.slips.take().written(),
                "loop": self._loop_lag.take().written(),
            }
        )
        self._ticked_ms, self._cpu_s = now_ms, cpu_s


async def serve(lines: "asyncio.Queue[str | None]", emit: Callable[[dict[str, Any]], None]) -> None:
    """Do what the lines say until there are no more."""
    first = json.loads(await lines.get() or "{}")
    settings = LoadSettings.from_line(json.dumps(first["settings"]))
    utterances = utterances_of(settings)
    clock = RealClock()
    emit({"kind": "ready"})
    begun = json.loads(await lines.get() or "{}")
    if "began_at" not in begun:
        return  # the run is over before it has begun
    bench = Bench(
        settings=settings,
        utterances=utterances,
        connect=connector(settings.ca_path),
        clock=clock,
        began_ms=clock.now_ms() - (time.time() - begun["began_at"]) * 1000,
        slips=Histogram(),
        emit=emit,
        stop=asyncio.Event(),
    )
    worker = Worker(bench, first["process"])
    running = asyncio.create_task(worker.run())
    obeying = asyncio.create_task(_obey(worker, lines))
    await running
    obeying.cancel()


async def _obey(worker: Worker, lines: "asyncio.Queue[str | None]") -> None:
    while (line := await lines.get()) is not None:
        command = json.loads(line)
        if command["do"] == "add":
            worker.add(command["phone"], command["token"])
        elif command["do"] == "stop":
            worker.stop()
        else:
            worker.cut()
    worker.cut()


def _read(loop: asyncio.AbstractEventLoop, lines: "asyncio.Queue[str | None]") -> None:
    """Read standard input in a thread, for not every system can wait for it; unbuffered, so that no lock is held at exit."""
    rest = b""
    with contextlib.suppress(RuntimeError):  # the loop is closed
        while piece := os.read(0, 65_536):
            *whole, rest = (rest + piece).split(b"\n")
            for line in whole:
                loop.call_soon_threadsafe(lines.put_nowait, line.decode())
        loop.call_soon_threadsafe(lines.put_nowait, None)


def _emit(record: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(record, separators=(",", ":")) + "\n")
    sys.stdout.flush()


def loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """The fastest event loop there is on this system."""
    if sys.platform == "win32":
        return None
    import uvloop  # noqa: PLC0415 - not on Windows

    return uvloop.new_event_loop


def main() -> None:
    """Run as a process."""

    async def run() -> None:
        lines: asyncio.Queue[str | None] = asyncio.Queue()
        threading.Thread(target=_read, args=(asyncio.get_running_loop(), lines), daemon=True).start()
        await serve(lines, _emit)

    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        runner.run(run())


if __name__ == "__main__":
    main()
