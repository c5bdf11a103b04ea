"""A whole line between a phone and its gateway: two lanes and the times when there is none. A model, without clock."""

from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Final

from client_sim.regions.lane import Lane, LaneProfile
from client_sim.regions.outages import Outage, OutagePlan, OutageProfile

_TCP_AND_UPGRADE: Final = 2
_TLS_1_3: Final = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Region:
    """A place as seen from the gateway's.

    Attributes:
        name: of the profile.
        says: what it stands for, for people.
        up: from the phone.
        down: to the phone.
        outages: when the line is dead.
        source: where the figures come from, with their date.
    """

    name: str
    says: str
    up: LaneProfile
    down: LaneProfile
    outages: tuple[OutageProfile, ...] = ()
    source: str = ""

    @property
    def round_trip_ms(self) -> float:
        """Mean round trip of a small packet."""
        return self.up.delay_ms + self.down.delay_ms


class Path:
    """One phone's line.

    Args:
        region: where the phone is.
        seed: decides all chance, together with `phone`.
        phone: its number.
        begin_ms: the moment of the clock at which it comes to life.
    """

    def __init__(self, region: Region, *, seed: int, phone: int, begin_ms: float) -> None:
        def chance(of: str) -> Random:
            return Random(f"{seed}/{phone}/{region.name}/{of}")  # noqa: S311 - reproducible, not secret

        self.region = region
        self.up = Lane(region.up, round_trip_ms=region.round_trip_ms, random=chance("up"))
        self.down = Lane(region.down, round_trip_ms=region.round_trip_ms, random=chance("down"))
        self._stalls = [self._plan(each, chance, begin_ms) for each in region.outages if each.kind == "stall"]
        self._drops = [self._plan(each, chance, begin_ms) for each in region.outages if each.kind == "drop"]

    def carry_up(self, size_bytes: int, now_ms: float) -> float:
        """When a message of the phone has reached the gateway."""
        return self.up.carry(size_bytes, now_ms, self._dead(now_ms))

    def carry_down(self, size_bytes: int, now_ms: float) -> float:
        """When a message of the gateway has reached the phone."""
        return self.down.carry(size_bytes, now_ms, self._dead(now_ms))

    def connecting_ms(self, now_ms: float, *, encrypted: bool) -> float:
        """How long a new connection takes by distance: TCP, TLS 1.3 where there is TLS, and the upgrade, a round trip each."""
        rounds = _TCP_AND_UPGRADE + (_TLS_1_3 if encrypted else 0)
        self.up.clear()
        self.down.clear()
        return rounds * self.round_trip_ms(now_ms)

    def round_trip_ms(self, now_ms: float) -> float:
        """Round trip of a small packet now: the truth against which lag prompts are judged."""
        return self.up.delay_ms(now_ms) + self.down.delay_ms(now_ms)

    def drop(self, now_ms: float) -> Outage | None:
        """The outage under way in which no connection lives, or the next; None where there are none."""
        return min((plan.next_from(now_ms) for plan in self._drops), key=lambda outage: outage.from_ms, default=None)

    def _dead(self, now_ms: float) -> tuple[Outage, ...]:
        outages = [outage for plan in self._stalls for outage in plan.around(now_ms)]
        return tuple(sorted(outages, key=lambda outage: outage.from_ms))

    @staticmethod
    def _plan(profile: OutageProfile, chance: Callable[[str], Random], begin_ms: float) -> OutagePlan:
        return OutagePlan(profile, random=chance(f"{profile.kind}/{profile.every_s:g}"), begin_ms=begin_ms)
