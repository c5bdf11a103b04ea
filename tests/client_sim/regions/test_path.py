"""Whole lines: profiles, outages, chance."""

import statistics
from itertools import pairwise
from random import Random

import pytest

from client_sim.regions.lane import LaneProfile
from client_sim.regions.outages import OutagePlan, OutageProfile
from client_sim.regions.path import Path, Region
from client_sim.regions.profiles import REGIONS, region

ASKED = ("near", "eu-west-1", "ap-southeast-1", "ap-south-1", "sa-east-1", "af-south-1", "bad-mobile")


def line(where, phone=0, seed=1):
    return Path(region(where), seed=seed, phone=phone, begin_ms=0.0)


def test_the_regions_that_there_must_be():
    """Each says where its figures are from, and with a date; nearest first."""
    assert set(ASKED) <= set(REGIONS)
    for each in REGIONS.values():
        assert each.says
        assert "20" in each.source
    trips = [each.round_trip_ms for each in REGIONS.values()]
    assert trips == sorted(trips)
    with pytest.raises(ValueError, match="no region 'mars'; there are near"):
        region("mars")


@pytest.mark.parametrize("where", ASKED)
def test_the_round_trip_is_that_of_the_profile(where):
    """Of small packets on a line without losses; the mean over many phones."""
    measured = [line(where, phone).round_trip_ms(1_000.0 * step) for phone in range(400) for step in range(3)]
    assert statistics.mean(measured) == pytest.approx(region(where).round_trip_ms, rel=0.05)


def test_connecting_takes_round_trips():
    """Two for TCP and the upgrade, one more for TLS."""
    steady = Region(name="x", says="x", up=LaneProfile(delay_ms=40), down=LaneProfile(delay_ms=60))
    path = Path(steady, seed=1, phone=0, begin_ms=0)
    assert path.connecting_ms(0, encrypted=False) == 200
    assert path.connecting_ms(0, encrypted=True) == 300


def test_phones_and_seeds_differ():
    """Each phone has its own line, the same one each time."""

    def trace(*given):
        path = line("bad-mobile", *given)
        return [path.carry_up(4_000, 100.0 * i) for i in range(100)]

    assert trace(1, 5) == trace(1, 5)
    assert trace(1, 5) != trace(2, 5)
    assert trace(1, 5) != trace(1, 6)


def test_drops_come_as_often_as_said():
    """Every 150 s in the mean, 2 to 8 s long, and asking does not change them."""
    path, other = line("bad-mobile"), line("bad-mobile")
    drops = []
    now_ms = 0.0
    while len(drops) < 400:
        drop = path.drop(now_ms)
        drops.append(drop)
        now_ms = drop.until_ms + 1
    gaps = [b.from_ms - a.until_ms for a, b in pairwise(drops)]
    assert statistics.mean(gaps) == pytest.approx(150_000, rel=0.15)
    assert all(2_000 <= drop.until_ms - drop.from_ms <= 8_000 for drop in drops)
    for step in range(1_000):
        other.drop(step * 97.0)
    assert other.drop(drops[9].from_ms) == drops[9]
    assert line("near").drop(0) is None


def test_stalls_make_messages_late():
    """On the bad line some message waits for longer than a second, and none is lost."""
    path = line("bad-mobile")
    late = [path.carry_up(500, 100.0 * i) - 100.0 * i for i in range(6_000)]
    assert max(late) > 1_000
    assert statistics.median(late) < 300


@pytest.mark.parametrize("figures", [(0, 1, 2), (1, 0, 2), (1, 3, 2)])
def test_impossible_outages_are_refused(figures):
    """Nothing happens never, or lasts for less than nothing."""
    with pytest.raises(ValueError, match="every_s"):
        OutageProfile(kind="stall", every_s=figures[0], shortest_s=figures[1], longest_s=figures[2])


def test_memory_of_outages_is_bounded():
    """Old ones are forgotten."""
    plan = OutagePlan(
        OutageProfile(kind="stall", every_s=1, shortest_s=0.1, longest_s=0.2), random=Random(1), begin_ms=0
    )
    for minute in range(200):
        kept = plan.around(minute * 60_000.0)
    assert len(kept) < 900
