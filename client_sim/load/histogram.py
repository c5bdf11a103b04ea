"""A histogram for what comes too often to be kept sample by sample: fine everywhere, small, and merged without loss.

As in HDR histograms, buckets grow with the value: each power of two is cut into 128, so a value is known to within 0.8 %.
"""

from collections.abc import Iterable, Mapping
from typing import Final

_BITS: Final = 7
_PER_OCTAVE: Final = 1 << _BITS
_UNIT: Final = 1000
"""Buckets count thousandths of the unit of what is added: microseconds for milliseconds."""


class Histogram:
    """Counts of values from 0 on.

    Args:
        counts: of buckets.
    """

    def __init__(self, counts: Mapping[int, int] | None = None) -> None:
        self._counts: dict[int, int] = dict(counts or {})

    @classmethod
    def read(cls, written: Mapping[str, int]) -> "Histogram":
        """What `written` gave."""
        return cls({int(bucket): count for bucket, count in written.items()})

    def written(self) -> dict[str, int]:
        """Count by bucket, for JSON."""
        return {str(bucket): self._counts[bucket] for bucket in sorted(self._counts)}

    @property
    def total(self) -> int:
        """How many values were added."""
        return sum(self._counts.values())

    def add(self, value: float) -> None:
        """Count one value; what lies below 0 counts as 0."""
        bucket = _bucket(max(0, round(value * _UNIT)))
        self._counts[bucket] = self._counts.get(bucket, 0) + 1

    def merge(self, other: "Histogram") -> None:
        """Count all that another one has counted."""
        for bucket, count in other._counts.items():  # noqa: SLF001 - of its own kind
            self._counts[bucket] = self._counts.get(bucket, 0) + count

    def take(self) -> "Histogram":
        """All that was counted so far, which is then forgotten."""
        taken, self._counts = Histogram(self._counts), {}
        return taken

    def quantile(self, share: float) -> float | None:
        """The value below or at which this share of all lies, as the upper edge of its bucket; None of nothing."""
        total = self.total
        seen = 0
        for bucket in sorted(self._counts):
            seen += self._counts[bucket]
            if seen >= share * total:
                return _upper_edge(bucket) / _UNIT
        return None

    @property
    def most(self) -> float | None:
        """The upper edge of the highest bucket."""
        return _upper_edge(max(self._counts)) / _UNIT if self._counts else None

    def spread(self) -> list[tuple[float, int]]:
        """Upper edges and counts, rising."""
        return [(_upper_edge(bucket) / _UNIT, self._counts[bucket]) for bucket in sorted(self._counts)]


def merged(histograms: Iterable[Histogram]) -> Histogram:
    """All of them as one."""
    whole = Histogram()
    for histogram in histograms:
        whole.merge(histogram)
    return whole


def _bucket(value: int) -> int:
    if value < 2 * _PER_OCTAVE:
        return value
    shift = value.bit_length() - _BITS - 1
    return (shift << _BITS) + (value >> shift)


def _upper_edge(bucket: int) -> int:
    if bucket < 2 * _PER_OCTAVE:
        return bucket
    shift = (bucket >> _BITS) - 1
    return ((bucket - (shift << _BITS) + 1) << shift) - 1
