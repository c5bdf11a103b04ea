"""Percentiles that the number of samples can carry, and how sure they are.

A percentile p is told only from ``10 / (1 - p)`` samples on: 20 for the median, 200 for p95, 1000 for p99. Intervals are
order statistics: the ranks between which the percentile lies with 95 % by the binomial distribution, whatever the samples'
own distribution. Nothing is ever averaged over percentiles; samples are merged first.
"""

import math
from collections.abc import Sequence
from typing import Any, Final

SHARES: Final = {"p50": 0.5, "p75": 0.75, "p90": 0.9, "p95": 0.95, "p99": 0.99, "p99.9": 0.999}
_NEEDED: Final = 10
_CONFIDENCE: Final = 0.95


def needed(share: float) -> int:
    """How many samples a percentile takes."""
    return math.ceil(round(_NEEDED / (1 - share), 6))


def percentile(rising: Sequence[float], share: float) -> float | None:
    """The sample at or below which this share lies (nearest rank), None where there are too few samples.

    Args:
        rising: samples in rising order.
        share: 0.95 for the 95th percentile.
    """
    if len(rising) < needed(share):
        return None
    return rising[math.ceil(share * len(rising)) - 1]


def interval(rising: Sequence[float], share: float) -> tuple[float, float] | None:
    """The 95 % confidence interval of a percentile, None where there are too few samples for one."""
    count = len(rising)
    if count < needed(share):
        return None
    tail = (1 - _CONFIDENCE) / 2
    low = _rank_below(count, share, tail)
    high = _rank_below(count, share, 1 - tail) + 1
    return rising[max(0, low - 1)], rising[min(count - 1, high - 1)]


def summary(samples: Sequence[float]) -> dict[str, Any]:
    """Count, extremes, mean, and every percentile that the samples carry; p50 and p95 with their intervals."""
    rising = sorted(samples)
    told: dict[str, Any] = {"n": len(rising)}
    if not rising:
        return told
    told |= {"min": rising[0], "mean": round(math.fsum(rising) / len(rising), 2), "max": rising[-1]}
    for name, share in SHARES.items():
        told[name] = percentile(rising, share)
    for name in ("p50", "p95"):
        between = interval(rising, SHARES[name])
        told[f"{name}_interval"] = None if between is None else list(between)
    return told


def proportion(hits: int, count: int) -> dict[str, Any]:
    """A share with its 95 % interval (Wilson, 1927)."""
    if count == 0:
        return {"n": 0, "hits": hits, "share": None, "interval": None}
    z = 1.959964
    share = hits / count
    middle = share + z * z / (2 * count)
    reach = z * math.sqrt(share * (1 - share) / count + z * z / (4 * count * count))
    below = 1 + z * z / count
    limits = [max(0.0, (middle - reach) / below), min(1.0, (middle + reach) / below)]
    return {"n": count, "hits": hits, "share": share, "interval": limits}


def _rank_below(count: int, share: float, probability: float) -> int:
    """The largest k for which at most k of ``count`` samples lie below the percentile with no more than this probability."""
    # Logarithms keep the terms of large counts from vanishing.
    log_odds = math.log(share) - math.log1p(-share)
    log_term = count * math.log1p(-share)
    total = math.exp(log_term)
    rank = 0
    while total < probability and rank < count:
        log_term += math.log(count - rank) - math.log(rank + 1) + log_odds
        rank += 1
        total += math.exp(log_term)
    return rank
