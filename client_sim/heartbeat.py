"""Acknowledgements, pings and pongs of one connection."""

from collections import deque
from dataclasses import dataclass
from typing import Final

from gateway.core.messages import ACK_EVERY_MS, RESEND_AFTER_MS, AckUp, Message, Ping, PingDown, Pong

_PONGS: Final = 8
"""Pongs that may wait; the oldest goes first when the gateway asks faster than the line answers."""

_PINGS: Final = 16
"""Pings whose answers are awaited."""

_CUTS: Final = 8
"""Turns cut by barge-in that may wait to be reported."""


@dataclass(frozen=True, slots=True)
class Cut:
    """A turn that barge-in cut, and how much of it was heard."""

    turn: int
    heard_ms: float


class Heartbeat:
    """What is said regularly, or in answer, on a live connection; every message is made when it is taken.

    Args:
        ping_every_ms: how often the round trip is measured.
    """

    def __init__(self, *, ping_every_ms: float) -> None:
        self._ping_every_ms = ping_every_ms
        self._pongs: deque[Pong] = deque(maxlen=_PONGS)
        self._cuts: deque[Cut] = deque(maxlen=_CUTS)
        self._pings: dict[int, float] = {}
        self._next_ping_id = 0
        self._ack_at_ms = 0.0
        self._ping_at_ms = 0.0
        self.round_trip_ms: float | None = None

    def connected(self) -> None:
        """A connection is live: what belonged to the last one is void."""
        self._pongs.clear()
        self._pings.clear()
        self._ack_at_ms = 0.0
        self._ping_at_ms = 0.0

    def asked(self, ping: PingDown) -> None:
        """The gateway wants a pong."""
        self._pongs.append(Pong(id=ping.id, at=ping.at))

    def answered(self, ping_id: int, now_ms: float) -> float | None:
        """The gateway has answered a ping; returns the round trip, None for one that was not awaited."""
        sent_ms = self._pings.get(ping_id)
        if sent_ms is None:
            return None
        # Answers come in order, so older pings will not be answered any more.
        self._pings = {later: at_ms for later, at_ms in self._pings.items() if later > ping_id}
        self.round_trip_ms = now_ms - sent_ms
        return self.round_trip_ms

    def cut(self, turn: int, heard_ms: float) -> None:
        """Barge-in has cut a turn: say at once, and once, how much of it was heard."""
        self._cuts.append(Cut(turn, heard_ms))
        self._ack_at_ms = 0.0

    def forget_cuts(self) -> None:
        """The turns that were cut were a lost relay's."""
        self._cuts.clear()

    @property
    def patience_ms(self) -> float:
        """How long an acknowledgement may take before the frame counts as lost.

        Two seconds, and more on a line on which every answer takes long: sending again there would make it worse.
        """
        return max(RESEND_AFTER_MS, (self.round_trip_ms or 0.0) + 2 * ACK_EVERY_MS)

    def take_pong(self) -> Pong | None:
        """The next answer that waits."""
        return self._pongs.popleft() if self._pongs else None

    def take(self, now_ms: float, *, acknowledged: int, queue_ms: float) -> Message | None:
        """The acknowledgement or ping that is due."""
        if now_ms >= self._ack_at_ms:
            cut = self._cuts.popleft() if self._cuts else None
            self._ack_at_ms = 0.0 if self._cuts else now_ms + ACK_EVERY_MS
            if cut is None:
                return AckUp(n=acknowledged, queue_ms=queue_ms)
            return AckUp(n=acknowledged, queue_ms=queue_ms, turn=cut.turn, heard_ms=cut.heard_ms)
        if now_ms >= self._ping_at_ms:
            return self._ping(now_ms)
        return None

    def next_ms(self, *, live: bool) -> float | None:
        """When something is due: pongs at any time, the rest only on a live connection."""
        if self._pongs:
            return 0.0
        return min(self._ack_at_ms, self._ping_at_ms) if live else None

    def _ping(self, now_ms: float) -> Ping:
        ping = Ping(id=self._next_ping_id, at=now_ms)
        self._next_ping_id += 1
        self._ping_at_ms = now_ms + self._ping_every_ms
        self._pings[ping.id] = now_ms
        if len(self._pings) > _PINGS:
            del self._pings[next(iter(self._pings))]
        return ping
