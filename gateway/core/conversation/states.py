"""The course of a whole conversation as a table.

::

    IDLE -> ADMITTING -> CONNECTING -> TALKING -> ASSESSING -> SUMMARISING -> SAVING -> DELIVERING -> PARTING -> ENDED
                                                                                          ^           |
                                                                                          +-- returned
"""

from enum import Enum
from typing import Final


class State(Enum):
    """Where a conversation is."""

    IDLE = "idle"  # nobody has said `start`
    ADMITTING = "admitting"  # may this learner begin, and is a line free?
    CONNECTING = "connecting"  # the first stream is being opened
    TALKING = "talking"
    ASSESSING = "assessing"  # the parts' notes are being written
    SUMMARISING = "summarising"
    SAVING = "saving"
    DELIVERING = "delivering"  # the last numbered messages are on their way to the phone
    PARTING = "parting"  # `bye` was said; the app closes, or is closed
    ENDED = "ended"


class Event(Enum):
    """What moves a conversation on."""

    STARTED = "started"
    TOOK_UP = "took_up"  # a lost relay's conversation goes on with this one
    TOOK_UP_END = "took_up_end"  # its talk was over: what is left is to assess and save
    RECALLED = "recalled"  # the phone asks for the assessment of a session that has ended
    ADMITTED = "admitted"
    REFUSED = "refused"
    LINE_OPEN = "line_open"
    TEST_OVER = "test_over"
    NOTES_COMPLETE = "notes_complete"
    NOTHING_TO_SAVE = "nothing_to_save"
    SUMMARISED = "summarised"
    SAVE_SETTLED = "save_settled"
    DELIVERED = "delivered"
    RETURNED = "returned"  # the phone came back for what it missed
    PARTED = "parted"
    CUT_OFF = "cut_off"  # another relay has the learner


_ALWAYS: Final = {Event.CUT_OFF: State.ENDED}

TABLE: Final[dict[State, dict[Event, State]]] = {
    State.IDLE: {
        Event.STARTED: State.ADMITTING,
        Event.TOOK_UP: State.CONNECTING,
        Event.TOOK_UP_END: State.ASSESSING,
        Event.RECALLED: State.DELIVERING,
        Event.PARTED: State.ENDED,
        **_ALWAYS,
    },
    State.ADMITTING: {
        Event.ADMITTED: State.CONNECTING,
        Event.REFUSED: State.DELIVERING,
        Event.TEST_OVER: State.ASSESSING,
        **_ALWAYS,
    },
    State.CONNECTING: {Event.LINE_OPEN: State.TALKING, Event.TEST_OVER: State.ASSESSING, **_ALWAYS},
    State.TALKING: {Event.TEST_OVER: State.ASSESSING, **_ALWAYS},
    State.ASSESSING: {Event.NOTES_COMPLETE: State.SUMMARISING, Event.NOTHING_TO_SAVE: State.DELIVERING, **_ALWAYS},
    State.SUMMARISING: {Event.SUMMARISED: State.SAVING, **_ALWAYS},
    State.SAVING: {Event.SAVE_SETTLED: State.DELIVERING, **_ALWAYS},
    State.DELIVERING: {Event.DELIVERED: State.PARTING, **_ALWAYS},
    State.PARTING: {Event.RETURNED: State.DELIVERING, Event.PARTED: State.ENDED, **_ALWAYS},
    State.ENDED: {},
}

BEFORE_TALK: Final = (State.IDLE, State.ADMITTING, State.CONNECTING)
"""Maya has not been heard."""

BEFORE_END: Final = (State.ADMITTING, State.CONNECTING, State.TALKING)
"""The test has begun, and its end has not."""


def next_state(state: State, event: Event) -> State:
    """Return where the table leads.

    Raises:
        LookupError: the table has no such way; a fault of the caller.
    """
    try:
        return TABLE[state][event]
    except KeyError:
        raise LookupError(f"{event.name} cannot happen in {state.name}") from None
