"""Sizes of pieces by distance."""

from itertools import pairwise

import pytest

from gateway.core.lag import PACES, ROUND_TRIP_MS, USUAL, frame_ms_within, known_region, next_pace
from gateway.core.lag.regions import ACCESS_MS, OTHER_REGION
from gateway.core.messages import MAX_FRAME_MS, MIN_FRAME_MS

NEAR, MIDDLE, FAR = PACES


def test_the_farther_the_larger():
    """And everything within what maya.v1 allows."""
    for nearer, farther in pairwise(PACES):
        assert nearer.from_round_trip_ms < farther.from_round_trip_ms
        assert nearer.frame_ms < farther.frame_ms
        assert nearer.piece_ms < farther.piece_ms
    assert all(MIN_FRAME_MS <= pace.frame_ms <= MAX_FRAME_MS for pace in PACES)
    assert PACES[-1].piece_ms <= 250


@pytest.mark.parametrize(
    ("round_trip_ms", "pace"), [(0, NEAR), (149, NEAR), (150, MIDDLE), (349, MIDDLE), (350, FAR), (9_999, FAR)]
)
def test_each_distance_has_its_pace(round_trip_ms, pace):
    """From whatever pace one comes, where no neighbour is near."""
    assert next_pace(NEAR, round_trip_ms) is pace
    assert next_pace(USUAL, round_trip_ms) in (pace, USUAL)


def test_it_does_not_flutter():
    """A line that lies on the border keeps its pace."""
    assert next_pace(FAR, 300) is FAR
    assert next_pace(FAR, 279) is MIDDLE
    assert next_pace(MIDDLE, 121) is MIDDLE
    assert next_pace(MIDDLE, 119) is NEAR
    assert next_pace(FAR, 100) is NEAR


def test_an_unsteady_line_is_treated_as_a_longer_one():
    """Its buffer has to outlast its stalls."""
    assert next_pace(NEAR, 100, 30) is NEAR
    assert next_pace(NEAR, 100, 300) is FAR


def test_a_frame_is_within_the_limits_of_the_gateway():
    """As `ready` tells them."""
    assert [frame_ms_within(frame_ms, (80, 120)) for frame_ms in (60, 100, 200)] == [80, 100, 120]


def test_regions():
    """Every region of the list is nearer than the other end of the world, and the list is closed."""
    assert all(0 < round_trip_ms <= 250 for round_trip_ms in ROUND_TRIP_MS.values())
    assert next_pace(USUAL, ROUND_TRIP_MS["us-east-1"] + ACCESS_MS) is NEAR
    assert [known_region(region) for region in ("eu-west-1", "nowhere", None)] == [
        "eu-west-1",
        OTHER_REGION,
        OTHER_REGION,
    ]
