"""The phone's table of states."""

import pytest

from client_sim.states import CONNECTED, TABLE, State, Step, after

LEGAL = {
    (State.NEW, Step.BEGIN): State.OPENING,
    (State.OPENING, Step.OPENED): State.STARTING,
    (State.OPENING, Step.REFUSED): State.OVER,
    (State.OPENING, Step.DENIED): State.OVER,
    (State.OPENING, Step.GIVE_UP): State.OVER,
    (State.STARTING, Step.READY): State.LIVE,
    (State.STARTING, Step.DROPPED): State.AWAY,
    (State.STARTING, Step.BYE): State.LEAVING,
    (State.STARTING, Step.GIVE_UP): State.OVER,
    (State.LIVE, Step.DROPPED): State.AWAY,
    (State.LIVE, Step.FORGOTTEN): State.RESUMING,
    (State.LIVE, Step.BYE): State.LEAVING,
    (State.LIVE, Step.GIVE_UP): State.OVER,
    (State.AWAY, Step.RETRY): State.REOPENING,
    (State.AWAY, Step.GIVE_UP): State.OVER,
    (State.REOPENING, Step.OPENED): State.RESUMING,
    (State.REOPENING, Step.REFUSED): State.AWAY,
    (State.REOPENING, Step.DENIED): State.OVER,
    (State.REOPENING, Step.GIVE_UP): State.OVER,
    (State.RESUMING, Step.READY): State.LIVE,
    (State.RESUMING, Step.DROPPED): State.AWAY,
    (State.RESUMING, Step.BYE): State.LEAVING,
    (State.RESUMING, Step.GIVE_UP): State.OVER,
    (State.LEAVING, Step.DROPPED): State.OVER,
    (State.LEAVING, Step.GIVE_UP): State.OVER,
}


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("step", Step)
def test_every_pair(state, step):
    """Each state meets each step; what is not named changes nothing."""
    assert after(state, step) is LEGAL.get((state, step))


def test_every_state_is_in_the_table_and_can_end():
    """From everywhere but the beginning, giving up leads to the end."""
    assert set(TABLE) == set(State)
    for state in set(State) - {State.NEW, State.OVER}:
        assert after(state, Step.GIVE_UP) is State.OVER
    assert TABLE[State.OVER] == {}


def test_messages_are_written_only_where_a_connection_is_open():
    """A state with an open connection can lose it."""
    assert {state for state in State if Step.DROPPED in TABLE[state]} == CONNECTED | {State.LEAVING}
