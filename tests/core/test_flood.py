"""The limit of messages: what is too much for a connection, and what never is."""

from itertools import count

import pytest

from gateway.core.flood import FloodGuard, FloodLimits, Verdict, allowed

LIMITS = FloodLimits()


def until_cut(guard: FloodGuard, per_s: float, *, from_ms: float = 0.0, connection: str = "a") -> int | None:
    """Send at a rate for two minutes; return with which message the connection was cut."""
    for number in range(round(per_s * 120)):
        if guard.count(connection, 0.0, from_ms + number * 1000 / per_s) is Verdict.CUT:
            return number + 1
    return None


@pytest.mark.parametrize("per_s", [1, 12.5, 53, 60])
def test_what_an_app_sends_is_never_too_much(per_s):
    """Frames of 20 ms and all that goes with them are 53 messages a second; the limit itself is allowed."""
    assert until_cut(FloodGuard(LIMITS), per_s) is None


@pytest.mark.parametrize(("per_s", "within_s"), [(61, 61), (80, 4), (120, 2), (1_000, 0.1), (100_000, 0.01)])
def test_a_connection_that_only_floods_is_noticed_soon(per_s, within_s):
    """The faster, the sooner; at once with its sixty-first message."""
    number = until_cut(FloodGuard(LIMITS), per_s)
    assert number is not None
    assert number <= max(61, within_s * per_s + 1)


def test_a_stalled_line_may_hand_over_what_it_held_back():
    """Twelve seconds of the shortest frames in one moment are no flood, however often a train goes through a tunnel."""
    guard, at_ms = FloodGuard(LIMITS), 0.0
    for _ in range(10):
        at_ms += 12_000
        assert all(guard.count("a", 0.0, at_ms) is Verdict.TAKE for _ in range(53 * 12))


def test_a_good_past_is_not_saved_up_for_ever():
    """After an hour of silence as much may come at once as after twelve seconds."""
    guard = FloodGuard(LIMITS)
    assert guard.count("a", 0.0, 0.0) is Verdict.TAKE
    taken = next(n for n in count() if guard.count("a", 0.0, 3_600_000.0) is not Verdict.TAKE)
    assert taken == LIMITS.most_at_once


def test_connections_are_counted_each_by_itself():
    """What one does is not laid to another's charge."""
    guard = FloodGuard(LIMITS)
    assert until_cut(guard, 1_000, connection="bad") is not None
    assert until_cut(guard, 12.5, connection="good") is None


def test_a_connection_that_was_cut_stays_cut():
    """It is dropped whatever it sends, and cut again now and then, since a deletion may fail."""
    guard = FloodGuard(LIMITS)
    until_cut(guard, 1_000)
    verdicts = [guard.count("a", 0.0, 3_600_000.0) for _ in range(120)]
    assert Verdict.TAKE not in verdicts
    assert verdicts.count(Verdict.CUT) == 2


def test_what_was_asked_for_does_not_count():
    """A message that is forgiven leaves as much as before."""
    guard = FloodGuard(LIMITS)
    for _ in range(10_000):
        assert guard.count("a", 0.0, 0.0) is Verdict.TAKE
        guard.forgive("a")
    guard.forgive("never heard of")


def test_messages_in_any_order_count_alike():
    """One that is older than the one before gives nothing back."""
    guard = FloodGuard(LIMITS)
    times = [1_000.0, 0.0] * 100
    assert Verdict.CUT in [guard.count("a", 0.0, at_ms) for at_ms in times]


def test_what_is_remembered_is_bounded():
    """Ten thousand connections of one learner leave a few hundred."""
    guard = FloodGuard(LIMITS)
    for number in range(10_000):
        guard.count(f"c{number}", 0.0, 0.0)
    assert len(guard._meters) <= 256


@pytest.mark.parametrize(("age_ms", "most"), [(-5_000, 60), (0, 60), (1_000, 120), (11_000, 720), (1e9, 720)])
def test_the_front_doors_limit(age_ms, most):
    """Within its window a connection may send what its age allows, also when clocks differ."""
    assert allowed(LIMITS, age_ms) == most
