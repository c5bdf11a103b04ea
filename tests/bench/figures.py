"""From moments to figures: delays matched by byte positions, percentiles, ratios. Pure."""

import math
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Final

PERCENTILES: Final = (0.50, 0.95, 0.99)

type Moment = tuple[int, int]
"""When (monotonic ns) a position (bytes since the beginning, at the end of a piece) was passed."""

type Window = tuple[int, int]
"""From and to, monotonic ns; what began within it is measured, wherever it ended."""

_NS_PER_MS: Final = 1_000_000


class UnmatchedError(Exception):
    """Something arrived before it left; the text says where."""


@dataclass(frozen=True, slots=True)
class Spread:
    """Percentiles of a sample, in its own unit; None where there are too few values to carry one.

    Attributes:
        n: how many values there are.
        p50: half of the values are at most this.
        p95: as above, of 19 in 20.
        p99: as above, of 99 in 100.
        most: the largest value.
    """

    n: int
    p50: float | None
    p95: float | None
    p99: float | None
    most: float | None

    @classmethod
    def of(cls, values: Sequence[float]) -> "Spread":
        """Sum up a sample."""
        ordered = sorted(values)
        p50, p95, p99 = (percentile(ordered, share) for share in PERCENTILES)
        return cls(len(ordered), p50, p95, p99, ordered[-1] if ordered else None)

    def minus(self, other: "Spread") -> dict[str, float | None]:
        """Percentile by percentile, how much larger this is; None where one of the two is missing."""
        return {name: difference(getattr(self, name), getattr(other, name)) for name in _NAMES}

    def over(self, other: "Spread") -> dict[str, float | None]:
        """Percentile by percentile, how many times larger this is; None where one of the two is missing."""
        return {name: ratio(getattr(self, name), getattr(other, name)) for name in _NAMES}


_NAMES: Final = tuple(f"p{round(share * 100)}" for share in PERCENTILES)


def needed(share: float) -> int:
    """How many values a percentile needs: ten beyond it."""
    return math.ceil(round(10 / (1 - share), 6))


def percentile(ordered: Sequence[float], share: float) -> float | None:
    """The smallest value that at least `share` of the sample does not exceed (nearest rank); None of too few values."""
    if len(ordered) < needed(share):
        return None
    return ordered[math.ceil(round(share * len(ordered), 6)) - 1]


def delays_ms(left: Sequence[Moment], arrived: Sequence[Moment], window: Window) -> tuple[list[float], int]:
    """How long each piece that left within the window was on its way, until its last byte was there.

    Args:
        left: when which position left; ascending.
        arrived: when which position had arrived; ascending. Pieces may be cut and joined on the way.
        window: what is measured.

    Returns:
        The delays, and how many pieces had not arrived when the last one did; of these, the delays are the least that
        they can be.

    Raises:
        UnmatchedError: a piece arrived before it left: the two do not belong together.
    """
    delays: list[float] = []
    missing = 0
    for at_ns, position in left:
        if not window[0] <= at_ns < window[1]:
            continue
        index = bisect_left(arrived, position, key=itemgetter(1))
        if index == len(arrived):
            missing += 1
            delays.append(max(0, (arrived[-1][0] if arrived else window[1]) - at_ns) / _NS_PER_MS)
            continue
        delay_ns = arrived[index][0] - at_ns
        if delay_ns < 0:
            raise UnmatchedError(f"byte {position} arrived {-delay_ns / _NS_PER_MS:.3f} ms before it left")
        delays.append(delay_ns / _NS_PER_MS)
    return delays, missing


def passed(moments: Sequence[Moment], window: Window) -> int:
    """How many bytes passed within the window."""
    before = [position for at_ns, position in moments if at_ns < window[0]]
    until = [position for at_ns, position in moments if at_ns < window[1]]
    return (until[-1] if until else 0) - (before[-1] if before else 0)


def ratio(value: float | None, base: float | None) -> float | None:
    """`value` as a multiple of `base`; None where there is no base to compare with."""
    return None if value is None or not base else value / base


def difference(value: float | None, base: float | None) -> float | None:
    """`value` less `base`; None where one is missing."""
    return None if value is None or base is None else value - base
