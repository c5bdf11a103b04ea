"""Time for the local API Gateway, so that tests can make two hours pass."""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """Two clocks: one that only goes forward, and the calendar."""

    def monotonic_s(self) -> float:
        """Seconds from any origin, never going back."""

    def epoch_ms(self) -> int:
        """Milliseconds since 1970."""


class SystemClock:
    """The machine's clocks."""

    def monotonic_s(self) -> float:
        """Seconds from any origin, never going back."""
        return time.monotonic()

    def epoch_ms(self) -> int:
        """Milliseconds since 1970."""
        return int(time.time() * 1000)
