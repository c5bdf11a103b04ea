"""Virtual time: what is due next happens next."""

import heapq
import itertools
from collections.abc import Callable

_MOST_AT_ONCE = 100_000
"""More things at one moment are a timer that rings for ever."""


class Clock:
    """A heap of things to come; time jumps from one to the next."""

    def __init__(self) -> None:
        self.now_ms = 0.0
        self._count = itertools.count()
        self._heap: list[tuple[float, int, Callable[[], None]]] = []

    def at(self, moment_ms: float, work: Callable[[], None]) -> None:
        """Have something done at a moment, or now if that is past."""
        heapq.heappush(self._heap, (max(moment_ms, self.now_ms), next(self._count), work))

    def after(self, delay_ms: float, work: Callable[[], None]) -> None:
        """Have something done later."""
        self.at(self.now_ms + delay_ms, work)

    def run(self, done: Callable[[], bool], *, until_ms: float) -> bool:
        """Let time pass until `done`; return False when the time is up first."""
        at_once = 0
        while self._heap and not done():
            if self._heap[0][0] > until_ms:
                self.now_ms = until_ms
                return done()
            moment_ms, _, work = heapq.heappop(self._heap)
            at_once = at_once + 1 if moment_ms == self.now_ms else 0
            assert at_once < _MOST_AT_ONCE, f"time stands still at {self.now_ms} ms"
            self.now_ms = moment_ms
            work()
        return done()


class Timer:
    """Calls a core's `tick` when it is due, once for each moment."""

    def __init__(self, clock: Clock, next_ms: Callable[[], float | None], tick: Callable[[], None]) -> None:
        self._clock = clock
        self._next_ms = next_ms
        self._tick = tick
        self._armed_ms: float | None = None

    def arm(self) -> None:
        """Look when the core wants to be called, and see to it."""
        moment_ms = self._next_ms()
        if moment_ms is None or (self._armed_ms is not None and self._armed_ms <= moment_ms):
            return
        self._armed_ms = max(moment_ms, self._clock.now_ms)
        armed_ms = self._armed_ms
        self._clock.at(armed_ms, lambda: self._fire(armed_ms))

    def _fire(self, armed_ms: float) -> None:
        if self._armed_ms == armed_ms:
            self._armed_ms = None
            due_ms = self._next_ms()
            if due_ms is not None and due_ms <= self._clock.now_ms:
                self._tick()
            self.arm()
