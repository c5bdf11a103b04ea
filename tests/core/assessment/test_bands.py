"""Bands and their rounding."""

from fractions import Fraction
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.core.assessment import WRITTEN_CRITERIA, Criterion, band_guide, describe_band, overall_band, weighted_band

BANDS = range(10)

# The published rule, by what the mean has after its whole band.
PUBLISHED = {
    Fraction(0): 0.0,
    Fraction(1, 4): 0.5,
    Fraction(1, 3): 0.5,
    Fraction(1, 2): 0.5,
    Fraction(2, 3): 0.5,
    Fraction(3, 4): 1.0,
}


def published_rounding(bands):
    """Round as the published table says."""
    whole, rest = divmod(sum(bands), len(bands))
    return whole + PUBLISHED[Fraction(rest, len(bands))]


@pytest.mark.parametrize("count", [3, 4])
def test_overall_of_every_combination(count):
    """All 10,000 combinations of four criteria, and all 1,000 without pronunciation, round as published."""
    wrong = [bands for bands in product(BANDS, repeat=count) if overall_band(bands) != published_rounding(bands)]
    assert wrong == []


@pytest.mark.parametrize(
    ("bands", "overall"),
    [((6, 6, 6, 7), 6.5), ((6, 6, 7, 7), 6.5), ((6, 7, 7, 7), 7.0), ((6, 6, 6, 6), 6.0), ((6, 6, 7), 6.5), ((9,), 9.0)],
)
def test_overall_by_example(bands, overall):
    """A quarter rounds up to the half band, three quarters up to the whole."""
    assert overall_band(bands) == overall


def test_overall_needs_a_band():
    """The mean of nothing is an error, not a zero."""
    with pytest.raises(ValueError, match="at least one"):
        overall_band([])


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 900_000)), min_size=1, max_size=4))
def test_weighted_band_is_the_nearest_whole_band(pairs):
    """The weighted mean lies at most half a band away, and an exact half goes up."""
    bands, weights = zip(*pairs, strict=True)
    used = weights if sum(weights) else (1,) * len(bands)
    mean = Fraction(sum(band * weight for band, weight in zip(bands, used, strict=True)), sum(used))
    assert -Fraction(1, 2) < weighted_band(bands, weights) - mean <= Fraction(1, 2)


@pytest.mark.parametrize(
    ("bands", "weights", "band"),
    [([6, 7], [1, 1], 7), ([6, 7], [3, 2], 6), ([0, 9], [0, 5], 9), ([4, 7], [0, 0], 6), ([5], [0], 5)],
)
def test_weighted_band_by_example(bands, weights, band):
    """Time spoken decides, a half goes up, and without any time spoken the parts weigh the same."""
    assert weighted_band(bands, weights) == band


@pytest.mark.parametrize(("bands", "weights"), [([], []), ([5], [1, 2]), ([5, 5], [1, -1])])
def test_weighted_band_refuses_nonsense(bands, weights):
    """Bands without fitting weights are a fault of the caller."""
    with pytest.raises(ValueError, match="as many weights"):
        weighted_band(bands, weights)


def test_every_band_of_every_criterion_is_described_once():
    """Ten different descriptions for each criterion, each short."""
    for criterion in Criterion:
        descriptions = [describe_band(criterion, band) for band in BANDS]
        assert len(set(descriptions)) == 10
        assert max(map(len, descriptions)) < 100


@pytest.mark.parametrize("band", [-1, 10])
def test_there_are_no_other_bands(band):
    """A band outside 0 to 9 is refused rather than counted from the end."""
    with pytest.raises(ValueError, match="0 to 9"):
        describe_band(Criterion.PRONUNCIATION, band)


def test_band_guide_holds_what_it_is_asked_for():
    """The guide names each criterion that is asked for, its bands from 9 down, and no other criterion."""
    guide = band_guide(WRITTEN_CRITERIA)
    assert "pronunciation" not in guide
    assert guide.count("\n9: ") == 3
    assert guide.index("\n9: ") < guide.index("\n0: ")
    assert len(band_guide().encode()) < 4_096
