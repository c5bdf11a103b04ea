"""One direction of a line as TCP shows it to an application: everything arrives, once and in order, but late.

A model: sizes and `now` in, delivery times out. What it knows of TCP:

- a message travels as segments; it is there when its last segment and everything before it are there;
- the narrowest link serialises bytes one after the other, and what does not fit yet waits in front of it;
- a lost segment is never missing, it is late, and so is all that follows it (head-of-line blocking). A loss inside a
  burst is seen by what arrives behind it, a round trip and a quarter later (RFC 8985, RACK), or at once by three segments
  of the next message; one at the end of a burst is probed for after two round trips (RFC 8985, section 7.2), and a lost
  repair waits for the retransmission timer, doubled each time (RFC 6298);
- while the line is dead (`Outage` of kind ``stall``) every try is lost, until the timer rings after its end.

It does not know congestion windows. Speech takes some 350 kbit/s on its way up (16 kHz, base64), which a young window carries
over 240 ms; but after a loss a smaller one holds up some messages more, each for less, than here (`make shaper` shows by how much).
"""

import math
from dataclasses import dataclass
from random import Random
from typing import Final

from client_sim.regions.outages import Outage

SEGMENT_BYTES: Final = 1448
"""Payload of a full segment: Ethernet's 1500 less 20 of IPv4 and 32 of TCP with timestamps."""
HEADER_BYTES: Final = 52
_FASTEST_TIMER_MS: Final = 200.0
"""Linux's lower bound of the retransmission timer; RFC 6298 says 1 s, and no system keeps to it."""
_SLOWEST_TIMER_MS: Final = 120_000.0
_REORDERING: Final = 0.25
"""RACK waits this share of a round trip before it takes a segment for lost (RFC 8985, section 6.2)."""
_PROOF: Final = 3
_REPAIRS: Final = 12
"""More repairs of one segment than this are not simulated; at a loss of one in two they would be rare."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LaneProfile:
    """One direction.

    Attributes:
        delay_ms: mean one-way delay.
        jitter_ms: standard deviation of it, at most `delay_ms`. Delays lie above ``delay_ms - jitter_ms`` with an
            exponential tail, as queues make them.
        jitter_memory_ms: how long a delay is remembered: after so much time the correlation has fallen to 1/e.
        kbit_s: the narrowest link, IP packets included; None for one that is never the limit.
        loss: share of segments that are lost.
        loss_burst: mean number of segments lost in a row (Gilbert's model).
    """

    delay_ms: float
    jitter_ms: float = 0.0
    jitter_memory_ms: float = 500.0
    kbit_s: float | None = None
    loss: float = 0.0
    loss_burst: float = 1.0

    def __post_init__(self) -> None:
        """Check that such a line can exist.

        Raises:
            ValueError: it cannot.
        """
        if not 0 <= self.jitter_ms <= self.delay_ms:
            raise ValueError("jitter_ms lies between 0 and delay_ms")
        if not 0 <= self.loss <= 0.5 or self.loss_burst < 1:
            raise ValueError("loss lies between 0 and 0.5, loss_burst is at least 1")
        if self.kbit_s is not None and self.kbit_s <= 0:
            raise ValueError("kbit_s is greater than 0")


class Lane:
    """Carries messages.

    Args:
        profile: what the line is like.
        round_trip_ms: of the whole line; decides how long repairs take.
        random: chance.
    """

    def __init__(self, profile: LaneProfile, *, round_trip_ms: float, random: Random) -> None:
        self._profile = profile
        self._round_trip_ms = round_trip_ms
        self._random = random
        self._free_at_ms = 0.0
        self._last_delivery_ms = 0.0
        self._last_sent_ms: float | None = None
        self._swing = random.gauss()
        self._swing_at_ms: float | None = None
        self._losing = False
        self.segments = 0
        self.lost = 0

    def carry(self, size_bytes: int, now_ms: float, outages: tuple[Outage, ...] = ()) -> float:
        """Send a message; returns when the other end has all of it.

        Args:
            size_bytes: what TCP carries, framing and encryption included.
            now_ms: when it is handed over; never earlier than before.
            outages: stalls that may matter from now on.
        """
        gap_ms = math.inf if self._last_sent_ms is None else now_ms - self._last_sent_ms
        self._last_sent_ms = now_ms
        count = max(1, -(-size_bytes // SEGMENT_BYTES))
        left_bytes = size_bytes
        for index in range(count):
            payload = min(SEGMENT_BYTES, left_bytes)
            left_bytes -= payload
            departure_ms = self._serialise(payload + HEADER_BYTES, now_ms)
            late_ms = self._repair_ms(behind=count - 1 - index, of=count, gap_ms=gap_ms)
            departure_ms = self._outlive(departure_ms + late_ms, outages)
            self._last_delivery_ms = max(self._last_delivery_ms, departure_ms + self.delay_ms(departure_ms))
        return self._last_delivery_ms

    def clear(self) -> None:
        """A new connection: nothing of the old one is in the way."""
        self._last_delivery_ms = 0.0
        self._last_sent_ms = None

    def delay_ms(self, now_ms: float) -> float:
        """One-way delay of a small packet now, without what waits in front of the narrowest link."""
        profile = self._profile
        if profile.jitter_ms == 0:
            return profile.delay_ms
        tail = -math.log(max(1e-12, 0.5 * math.erfc(self._swing_at(now_ms) / math.sqrt(2))))
        return profile.delay_ms + profile.jitter_ms * (tail - 1)

    def _swing_at(self, now_ms: float) -> float:
        """A Gauss-Markov process of mean 0 and deviation 1, looked at now."""
        if self._swing_at_ms is None:
            self._swing_at_ms = now_ms
        elapsed_ms = now_ms - self._swing_at_ms
        if elapsed_ms > 0:
            memory = math.exp(-elapsed_ms / self._profile.jitter_memory_ms)
            self._swing = memory * self._swing + math.sqrt(1 - memory * memory) * self._random.gauss()
            self._swing_at_ms = now_ms
        return self._swing

    def _serialise(self, size_bytes: int, now_ms: float) -> float:
        if self._profile.kbit_s is None:
            return now_ms
        self._free_at_ms = max(self._free_at_ms, now_ms) + size_bytes * 8 / self._profile.kbit_s
        return self._free_at_ms

    def _repair_ms(self, *, behind: int, of: int, gap_ms: float) -> float:
        """How much later a segment arrives because it, and perhaps its repairs, were lost.

        Args:
            behind: segments of the same message that follow it.
            of: segments of the message, and as likely as not of the next one.
            gap_ms: how long ago the last message was sent, and as likely as not how soon the next one will be.
        """
        self.segments += 1
        if not self._is_lost():
            return 0.0
        self.lost += 1
        seen_ms = self._round_trip_ms * (1 + _REORDERING)
        # Three segments behind a loss make it one (RFC 5681, section 3.2); fewer could have overtaken it.
        by_next_ms = gap_ms + (self._round_trip_ms if behind + of >= _PROOF else seen_ms)
        if behind:
            late_ms = self._round_trip_ms if behind >= _PROOF else min(seen_ms, by_next_ms)
        else:
            late_ms = min(2 * self._round_trip_ms + _FASTEST_TIMER_MS, by_next_ms)
        timer_ms = max(_FASTEST_TIMER_MS, 1.5 * self._round_trip_ms)
        for _ in range(_REPAIRS):
            if self._random.random() >= self._profile.loss:
                break
            late_ms += timer_ms
            timer_ms *= 2
        return late_ms

    def _is_lost(self) -> bool:
        profile = self._profile
        if profile.loss == 0:
            return False
        if self._losing:
            self._losing = self._random.random() >= 1 / profile.loss_burst
        else:
            self._losing = self._random.random() < profile.loss / (profile.loss_burst * (1 - profile.loss))
        return self._losing

    def _outlive(self, departure_ms: float, outages: tuple[Outage, ...]) -> float:
        """When a segment leaves that no stall swallows: the retransmission timer tries again, later each time."""
        timer_ms = max(_FASTEST_TIMER_MS, 1.5 * self._round_trip_ms)
        for outage in outages:
            while outage.from_ms <= departure_ms < outage.until_ms:
                departure_ms += timer_ms
                timer_ms = min(2 * timer_ms, _SLOWEST_TIMER_MS)
        return departure_ms
