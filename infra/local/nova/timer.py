"""One timer of the event loop that rings at a moment, or before."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class Timer:
    """Rings once for each time it is set; the earliest moment that was asked for counts.

    Ringing too early does no harm, and is cheaper than to set a timer anew each time that it may ring later.

    Args:
        ring: is called at the moment.
    """

    def __init__(self, ring: Callable[[], None]) -> None:
        self._ring = ring
        self._handle: asyncio.TimerHandle | None = None
        self._at_s = 0.0

    def set(self, at_s: float) -> None:
        """Ring at a moment of the loop's clock, in seconds, at the latest."""
        if self._handle is not None:
            if self._at_s <= at_s:
                return
            self._handle.cancel()
        self._at_s = at_s
        self._handle = asyncio.get_running_loop().call_at(at_s, self._rings)

    def cancel(self) -> None:
        """Do not ring."""
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def _rings(self) -> None:
        self._handle = None
        self._ring()
