"""asyncio in virtual time: whenever nothing can run, the clock jumps to the next timer. Nothing sleeps."""

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any


class _Selector(selectors.DefaultSelector):
    """Turns the time that would be waited into time that has passed."""

    def __init__(self) -> None:
        super().__init__()
        self.passed_s = 0.0

    def select(self, timeout: float | None = None) -> Any:
        """Look without waiting."""
        ready = super().select(0)
        if not ready:
            assert timeout is not None, "everything waits and nothing is to come"
            # A microsecond at least: below its own resolution, a loop would take a timer for due and time for standing.
            self.passed_s += max(1e-6, timeout)
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop without a clock of its own."""

    def __init__(self) -> None:
        self._virtual = _Selector()
        super().__init__(self._virtual)

    def time(self) -> float:
        """Virtual seconds."""
        return self._virtual.passed_s


class VirtualClock:
    """The phone's clock on a `VirtualLoop`."""

    def now_ms(self) -> float:
        """Virtual milliseconds."""
        return asyncio.get_running_loop().time() * 1000

    def seconds(self, duration_ms: float) -> float:
        """Seconds of a duration."""
        return duration_ms / 1000


def run[T](work: Coroutine[Any, Any, T]) -> T:
    """Run in virtual time."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(work)
