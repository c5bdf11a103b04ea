"""One direction of a line: what is asked for is what is measured, and TCP's ways of being late."""

import statistics
from itertools import pairwise
from random import Random

import pytest

from client_sim.regions.lane import HEADER_BYTES, SEGMENT_BYTES, Lane, LaneProfile
from client_sim.regions.outages import Outage

EVERY_MS = 100.0
SMALL = 200


def delays(profile, *, count=20_000, size=SMALL, every_ms=EVERY_MS, seed=7, round_trip_ms=200.0):
    lane = Lane(profile, round_trip_ms=round_trip_ms, random=Random(seed))
    return lane, [lane.carry(size, i * every_ms) - i * every_ms for i in range(count)]


def test_delay_and_jitter_are_those_of_the_profile():
    """Mean and deviation of what the line does, within a twentieth."""
    _, measured = delays(LaneProfile(delay_ms=100, jitter_ms=20, jitter_memory_ms=150))
    assert statistics.mean(measured) == pytest.approx(100, rel=0.05)
    assert statistics.stdev(measured) == pytest.approx(20, rel=0.05)
    assert min(measured) >= 80


@pytest.mark.parametrize("memory_ms", [100.0, 800.0])
def test_jitter_has_a_memory(memory_ms):
    """Delays one memory apart are correlated as 1/e says, for the normal process beneath."""
    _, measured = delays(LaneProfile(delay_ms=100, jitter_ms=10, jitter_memory_ms=memory_ms), every_ms=memory_ms)
    middle = statistics.median(measured)
    above = [value > middle for value in measured]
    together = sum(a == b for a, b in pairwise(above)) / len(above)
    # Two normal variables of correlation 1/e are on the same side in 1/2 + asin(1/e)/pi of all cases.
    assert together == pytest.approx(0.62, abs=0.02)


def test_a_steady_line_is_steady():
    """No jitter, no loss: every message takes the same time."""
    _, measured = delays(LaneProfile(delay_ms=42), count=50)
    assert measured == pytest.approx([42] * 50)


def test_bandwidth_serialises():
    """A burst leaves at the rate of the narrowest link, headers included, and the line is idle afterwards."""
    lane = Lane(LaneProfile(delay_ms=10, kbit_s=800), round_trip_ms=20, random=Random(1))
    arrivals = [lane.carry(SEGMENT_BYTES, 0.0) for _ in range(10)]
    each_ms = (SEGMENT_BYTES + HEADER_BYTES) * 8 / 800
    assert arrivals == pytest.approx([10 + each_ms * (i + 1) for i in range(10)])
    assert lane.carry(SEGMENT_BYTES, 10_000.0) == pytest.approx(10_010 + each_ms)


def test_loss_is_lateness_and_holds_up_what_follows():
    """Nothing is missing, nothing overtakes; a lost segment and what follows it come together."""
    lane, measured = delays(LaneProfile(delay_ms=100, loss=0.02), count=20_000)
    assert lane.lost / lane.segments == pytest.approx(0.02, rel=0.15)
    arrivals = [i * EVERY_MS + late for i, late in enumerate(measured)]
    assert arrivals == sorted(arrivals)
    late = [value for value in measured if value > 100.001]
    assert min(late) > 100
    # A tail loss is seen through the message behind it: 100 ms, a round trip and a quarter later.
    assert max(v for v in late if v < 500) == pytest.approx(100 + 100 + 250)
    held_up = sum(1 for a, b in pairwise(arrivals) if a == b)
    assert held_up > 300


@pytest.mark.parametrize(
    ("size", "late_ms"),
    [
        # One segment each: the next message shows it, a quarter of a round trip later than three segments would.
        (SMALL, {100 + 250}),
        # Three segments: what follows in the message, with the next one, or the next one alone.
        (3 * SEGMENT_BYTES, {250, 100 + 200}),
        # Six: three segments behind the first are proof at once.
        (6 * SEGMENT_BYTES, {200, 250, 100 + 200}),
    ],
)
def test_a_loss_is_seen_by_what_comes_behind_it(size, late_ms):
    """As soon as three segments have, or a quarter of a round trip after the first."""
    _, measured = delays(LaneProfile(delay_ms=100, loss=0.002), count=20_000, size=size)
    first = {
        round(late - 100) for before, late in pairwise(measured) if late > 100.001 and before < 100.001 and late < 500
    }
    assert first == late_ms


def test_losses_come_in_bursts():
    """The mean length of a run of losses is that of the profile, and so is their share."""
    lane = Lane(LaneProfile(delay_ms=10, loss=0.05, loss_burst=4), round_trip_ms=20, random=Random(3))
    flags = []
    for i in range(60_000):
        before = lane.lost
        lane.carry(SMALL, i * EVERY_MS)
        flags.append(lane.lost > before)
    runs = sum(1 for a, b in pairwise(flags) if b and not a)
    assert sum(flags) / len(flags) == pytest.approx(0.05, rel=0.1)
    assert sum(flags) / runs == pytest.approx(4, rel=0.1)


def test_a_stall_is_outlived():
    """What is sent into a dead line comes when the timer rings after its end, and so does what follows."""
    lane = Lane(LaneProfile(delay_ms=50), round_trip_ms=100, random=Random(1))
    outages = (Outage("stall", 1_000, 2_000),)
    assert lane.carry(SMALL, 990, outages) == pytest.approx(1_040)
    # Timer 200 ms, doubled: tries at 1200, 1600, 2400.
    assert lane.carry(SMALL, 1_000, outages) == pytest.approx(2_450)
    assert lane.carry(SMALL, 2_100, outages) == pytest.approx(2_450)
    lane.clear()
    assert lane.carry(SMALL, 2_200, outages) == pytest.approx(2_250)


def test_the_same_seed_gives_the_same_line():
    """And another one another."""
    profile = LaneProfile(delay_ms=100, jitter_ms=20, loss=0.01)
    assert delays(profile, count=300)[1] == delays(profile, count=300)[1]
    assert delays(profile, count=300)[1] != delays(profile, count=300, seed=8)[1]


@pytest.mark.parametrize(
    "figures", [{"jitter_ms": 11}, {"jitter_ms": -1}, {"loss": 0.6}, {"loss_burst": 0.5}, {"kbit_s": 0}]
)
def test_impossible_lines_are_refused(figures):
    """Before anything is measured with them."""
    with pytest.raises(ValueError, match=r"jitter_ms|loss|kbit_s"):
        LaneProfile(delay_ms=10, **figures)
