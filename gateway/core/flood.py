"""Connections that send more messages than any app has to.

The limit is 60 messages a second for each connection, counted from the moment it was opened, over at most the last 12 s:
a line that stalls hands over at once what it held back, and no app can help that, so what a connection did not use for up to
12 s stays its own. Counted from the beginning means that one which only floods is noticed with its sixty-first message or so.

The relay counts what its phone says (`FloodGuard`). Where there is no relay the front door counts in Redis, by `allowed`.
Nothing but the standard library is imported, since the front door imports this, too.
"""

from dataclasses import dataclass
from enum import Enum
from typing import Final

_MOST_CONNECTIONS: Final = 256
"""Of which a guard knows how much they have sent; API Gateway opens far fewer for one learner within `flood_burst_s`."""


@dataclass(frozen=True, slots=True)
class FloodLimits:
    """What is too much, and what follows.

    Attributes:
        flood_messages_per_s: what a connection may send.
        flood_burst_s: what it did not use stays its own for so long.
        flood_refuse_s: for so long its learner is refused at `start`.
    """

    flood_messages_per_s: float = 60.0
    flood_burst_s: float = 12.0
    flood_refuse_s: float = 60.0

    @property
    def most_at_once(self) -> float:
        """What a connection may send at once when it has long been quiet."""
        return self.flood_messages_per_s * self.flood_burst_s


def allowed(limits: FloodLimits, age_ms: float) -> float:
    """How many messages a connection of this age may send within `flood_burst_s`."""
    return limits.flood_messages_per_s * min(limits.flood_burst_s, 1.0 + max(0.0, age_ms) / 1000.0)


class Verdict(Enum):
    """What becomes of a message."""

    TAKE = "take"
    DROP = "drop"
    CUT = "cut"
    """Drop it, and have its connection deleted."""


@dataclass(slots=True)
class _Meter:
    """One connection: how many messages it may still send, as of when.

    Attributes:
        left: below zero the connection floods.
        over: messages since; None while it does not.
    """

    left: float
    at_ms: float
    over: int | None = None


class FloodGuard:
    """Counts the messages of a learner's connections.

    A deletion may fail, so a connection that goes on is told to be cut again with every so many messages.

    Args:
        limits: what is too much.
    """

    def __init__(self, limits: FloodLimits) -> None:
        self._limits = limits
        self._meters: dict[str, _Meter] = {}

    def count(self, connection_id: str, connected_at_ms: float, received_at_ms: float) -> Verdict:
        """Count one message.

        Args:
            connection_id: by which it came.
            connected_at_ms: when that was opened; the clock of API Gateway, like the next one.
            received_at_ms: when API Gateway took the message. Messages come in any order.
        """
        limits = self._limits
        meter = self._meters.get(connection_id)
        if meter is None:
            meter = self._make(connection_id, connected_at_ms, received_at_ms)
        if meter.over is not None:
            meter.over += 1
            return Verdict.CUT if meter.over % max(1.0, limits.flood_messages_per_s) < 1.0 else Verdict.DROP
        passed_ms = received_at_ms - meter.at_ms
        if passed_ms > 0:
            meter.left = min(limits.most_at_once, meter.left + limits.flood_messages_per_s * passed_ms / 1000.0)
            meter.at_ms = received_at_ms
        meter.left -= 1
        if meter.left >= 0:
            return Verdict.TAKE
        meter.over = 0
        return Verdict.CUT

    def forgive(self, connection_id: str) -> None:
        """Count one message less: it was asked for, and comes as fast as the line carries."""
        meter = self._meters.get(connection_id)
        if meter is not None:
            meter.left += 1

    def _make(self, connection_id: str, connected_at_ms: float, received_at_ms: float) -> _Meter:
        if len(self._meters) >= _MOST_CONNECTIONS:
            del self._meters[next(iter(self._meters))]
        left = allowed(self._limits, received_at_ms - connected_at_ms)
        meter = self._meters[connection_id] = _Meter(left, received_at_ms)
        return meter
