"""When a line is dead: seeded, made as time goes on, the same again for the same seed."""

from collections import deque
from dataclasses import dataclass
from random import Random
from typing import Final, Literal

OutageKind = Literal["stall", "drop"]
"""``stall``: packets vanish for a while and TCP outlives it. ``drop``: the phone loses its address and the connection with it."""

_KEPT_MS: Final = 600_000.0
"""Past outages are remembered for so long: messages that were sent in one are not delivered before its end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OutageProfile:
    """How often a line is dead, and for how long.

    Attributes:
        kind: what it does to a connection.
        every_s: mean time between two.
        shortest_s: at least so long.
        longest_s: at most so long.
    """

    kind: OutageKind
    every_s: float
    shortest_s: float
    longest_s: float

    def __post_init__(self) -> None:
        """Check the figures.

        Raises:
            ValueError: they make no sense.
        """
        if self.every_s <= 0 or not 0 < self.shortest_s <= self.longest_s:
            raise ValueError("every_s and shortest_s are greater than 0, longest_s is not below shortest_s")


@dataclass(frozen=True, slots=True)
class Outage:
    """A stretch of time without a line."""

    kind: OutageKind
    from_ms: float
    until_ms: float


class OutagePlan:
    """The outages of one line and kind, in order.

    Args:
        profile: how often and how long.
        random: chance.
        begin_ms: nothing is dead before.
    """

    def __init__(self, profile: OutageProfile, *, random: Random, begin_ms: float) -> None:
        self._profile = profile
        self._random = random
        self._planned: deque[Outage] = deque()
        self._end_ms = begin_ms

    def around(self, now_ms: float) -> tuple[Outage, ...]:
        """The outages that are remembered, under way, or next to come."""
        while self._end_ms <= now_ms or not self._planned:
            self._plan_one()
        while self._planned[0].until_ms < now_ms - _KEPT_MS:
            self._planned.popleft()
        return tuple(self._planned)

    def next_from(self, now_ms: float) -> Outage:
        """The outage under way, or the next."""
        return next(outage for outage in self.around(now_ms) if outage.until_ms > now_ms)

    def _plan_one(self) -> None:
        profile = self._profile
        from_ms = self._end_ms + self._random.expovariate(1 / profile.every_s) * 1000
        self._end_ms = from_ms + self._random.uniform(profile.shortest_s, profile.longest_s) * 1000
        self._planned.append(Outage(profile.kind, from_ms, self._end_ms))
