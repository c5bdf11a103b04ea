"""The table of the question, pair by pair."""

import itertools

import pytest

from gateway.core.lag import LAG_TABLE, LagEvent, LagState
from gateway.core.lag.states import PROMPTING

C, R, A, E, S, W, D = LagState
WAYS = {
    (C, LagEvent.OVER): R,
    (R, LagEvent.DIPPED): C,
    (R, LagEvent.HELD): A,
    (A, LagEvent.UNDER): E,
    (A, LagEvent.CONTINUED): S,
    (A, LagEvent.SKIPPED): D,
    (A, LagEvent.EXPIRED): S,
    (E, LagEvent.OVER): A,
    (E, LagEvent.GONE): S,
    (E, LagEvent.CONTINUED): S,
    (E, LagEvent.SKIPPED): D,
    (E, LagEvent.EXPIRED): S,
    (S, LagEvent.RESTED): C,
    (S, LagEvent.WORSE): W,
    (W, LagEvent.BETTER): S,
    (W, LagEvent.HELD): A,
    (W, LagEvent.RESTED): R,
}


@pytest.mark.parametrize(("state", "event"), list(itertools.product(LagState, LagEvent)))
def test_every_pair(state, event):
    """Each state knows the events that matter in it and no other."""
    assert LAG_TABLE[state].get(event) is WAYS.get((state, event))


def test_a_question_is_open_where_it_can_be_answered():
    """The states that know answers are those that count as prompting."""
    answerable = {state for state, ways in LAG_TABLE.items() if LagEvent.CONTINUED in ways}
    assert answerable == PROMPTING


def test_every_state_can_be_reached():
    """From calm, in some way."""
    reached, left = {C}, [C]
    while left:
        following = set(LAG_TABLE[left.pop()].values()) - reached
        reached |= following
        left += following
    assert reached == set(LagState)
