"""How long the phone's frames are: short near the gateway, longer far from it."""

import statistics
from collections import deque
from typing import Final

from gateway.core.lag import USUAL, frame_ms_within, next_pace
from gateway.core.messages import MAX_FRAME_MS, MIN_FRAME_MS

_ROUND_TRIPS: Final = 5


class FrameLength:
    """Follows the round trip, within what the gateway takes.

    Attributes:
        frame_ms: of the next frame to be captured, whole milliseconds.
    """

    def __init__(self) -> None:
        self.frame_ms = USUAL.frame_ms
        self._pace = USUAL
        self._limits = (MIN_FRAME_MS, MAX_FRAME_MS)
        self._round_trips: deque[float] = deque(maxlen=_ROUND_TRIPS)

    def limit(self, limits: tuple[int, int]) -> None:
        """The gateway has told the shortest and the longest frame that it takes."""
        # What is beyond maya.v1 can't be captured, whatever a gateway says.
        self._limits = (max(MIN_FRAME_MS, min(limits)), min(MAX_FRAME_MS, max(limits)))
        self._choose()

    def measured(self, round_trip_ms: float) -> None:
        """A ping was answered; one that stands out changes nothing."""
        self._round_trips.append(round_trip_ms)
        samples = sorted(self._round_trips)
        spread_ms = samples[-2] - samples[0] if len(samples) > 2 else 0.0
        self._pace = next_pace(self._pace, statistics.median(samples), spread_ms)
        self._choose()

    def _choose(self) -> None:
        self.frame_ms = frame_ms_within(self._pace.frame_ms, self._limits)
