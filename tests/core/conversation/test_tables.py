"""State machines are tables, and every pair of state and event is looked at."""

import itertools

import pytest

from gateway.core.conversation.examiner import PART_TABLE, PartEvent, Phase
from gateway.core.conversation.line import STREAM_TABLE, StreamEvent, StreamState
from gateway.core.conversation.states import TABLE, Event, State, next_state

CONVERSATION_WAYS = {
    (State.IDLE, Event.STARTED, State.ADMITTING),
    (State.IDLE, Event.TOOK_UP, State.CONNECTING),
    (State.IDLE, Event.TOOK_UP_END, State.ASSESSING),
    (State.IDLE, Event.RECALLED, State.DELIVERING),
    (State.IDLE, Event.PARTED, State.ENDED),
    (State.ADMITTING, Event.ADMITTED, State.CONNECTING),
    (State.ADMITTING, Event.REFUSED, State.DELIVERING),
    (State.ADMITTING, Event.TEST_OVER, State.ASSESSING),
    (State.CONNECTING, Event.LINE_OPEN, State.TALKING),
    (State.CONNECTING, Event.TEST_OVER, State.ASSESSING),
    (State.TALKING, Event.TEST_OVER, State.ASSESSING),
    (State.ASSESSING, Event.NOTES_COMPLETE, State.SUMMARISING),
    (State.ASSESSING, Event.NOTHING_TO_SAVE, State.DELIVERING),
    (State.SUMMARISING, Event.SUMMARISED, State.SAVING),
    (State.SAVING, Event.SAVE_SETTLED, State.DELIVERING),
    (State.DELIVERING, Event.DELIVERED, State.PARTING),
    (State.PARTING, Event.RETURNED, State.DELIVERING),
    (State.PARTING, Event.PARTED, State.ENDED),
    *((state, Event.CUT_OFF, State.ENDED) for state in State if state is not State.ENDED),
}


@pytest.mark.parametrize(("state", "event"), list(itertools.product(State, Event)))
def test_conversation_goes_only_the_ways_of_the_design(state, event):
    """Every pair leads where the design says, or is refused by name."""
    ways = {(a, b): c for a, b, c in CONVERSATION_WAYS}
    if (state, event) in ways:
        assert next_state(state, event) is ways[state, event]
    else:
        with pytest.raises(LookupError, match=f"{event.name} cannot happen in {state.name}"):
            next_state(state, event)


def test_every_state_is_reached_and_left():
    """No state is a trap but the last, and none is out of reach."""
    reached = {target for ways in TABLE.values() for target in ways.values()}
    assert reached == set(State) - {State.IDLE}
    assert [state for state, ways in TABLE.items() if not ways] == [State.ENDED]


@pytest.mark.parametrize("state", list(StreamState))
def test_every_open_stream_may_end(state):
    """A stream can be lost in any state but after its end."""
    assert (StreamEvent.ENDED in STREAM_TABLE[state]) is (state is not StreamState.CLOSED)


@pytest.mark.parametrize(
    ("state", "event", "target"),
    [
        (StreamState.OPENING, StreamEvent.OPENED, StreamState.WAITING),
        (StreamState.WAITING, StreamEvent.PROMOTED, StreamState.LIVE),
        (StreamState.LIVE, StreamEvent.RETIRED, StreamState.ASSESSING),
    ],
)
def test_a_stream_lives_in_one_order(state, event, target):
    """Opened, promoted, retired: in that order and no other."""
    assert STREAM_TABLE[state][event] is target
    assert [other for other in StreamState if event in STREAM_TABLE[other]] == [state]


@pytest.mark.parametrize(("phase", "event"), list(itertools.product(Phase, PartEvent)))
def test_a_part_can_always_be_closed_and_never_reopened(phase, event):
    """The closing line and force end a part from anywhere; nothing leads out of OVER."""
    target = PART_TABLE[phase].get(event)
    if phase is Phase.OVER:
        assert target is None
    elif event is PartEvent.FORCED:
        assert target is Phase.OVER
    elif event is PartEvent.CLOSING_SAID:
        assert target is Phase.CLOSING
    elif phase is Phase.CLOSING:
        assert target is (Phase.OVER if event is PartEvent.ASKED else None)
    else:
        assert target is not Phase.OPENING


@pytest.mark.parametrize(
    ("phase", "event", "target"),
    [
        (Phase.OPENING, PartEvent.ASKED, Phase.ASKING),
        (Phase.OPENING, PartEvent.BRIEFED, Phase.PREPARING),
        (Phase.PREPARING, PartEvent.PREPARED, Phase.TALKING),
        (Phase.PREPARING, PartEvent.ANSWERED, Phase.TALKING),
        (Phase.TALKING, PartEvent.ANSWERED, Phase.ASKING),
        (Phase.TALKING, PartEvent.TALK_TIMED_OUT, Phase.ASKING),
    ],
)
def test_the_way_through_a_part(phase, event, target):
    """Interview: opening, asking. Talk: briefed, prepared, talking, then questions."""
    assert PART_TABLE[phase][event] is target
