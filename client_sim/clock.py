"""The clock that a phone lives by; tests hand in a faster one."""

import time
from typing import Protocol


class Clock(Protocol):
    """A monotonic clock and how long to sleep for it."""

    def now_ms(self) -> float:
        """Milliseconds since some moment."""

    def seconds(self, duration_ms: float) -> float:
        """Seconds of the machine's time that a duration of this clock takes."""


class RealClock:
    """The machine's monotonic clock."""

    def now_ms(self) -> float:
        """Milliseconds since some moment."""
        return time.monotonic() * 1000

    def seconds(self, duration_ms: float) -> float:
        """Seconds of a duration."""
        return duration_ms / 1000
