"""The course of a whole conversation as a table.

::

    IDLE -> ADMITTING -> CONNECTING -> TALKING -> ASSESSING -> SUMMARISING -> SAVING -> DELIVERING -> PARTING -> ENDED
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
    PARTED = "parted"


TABLE: Final[dict[State, dict[Event, State]]] = {
    State.IDLE: {
        Event.STARTED: State.ADMITTING,
        Event.RECALLED: State.DELIVERING,
        Event.REFUSED: State.DELIVERING,
        Event.PARTED: State.ENDED,
    },
    State.ADMITTING: {
        Event.ADMITTED: State.CONNECTING,
        Event.REFUSED: State.DELIVERING,
        Event.TEST_OVER: State.ASSESSING,
    },
    State.CONNECTING: {Event.LINE_OPEN: State.TALKING, Event.TEST_OVER: State.ASSESSING},
    State.TALKING: {Event.TEST_OVER: State.ASSESSING},
    State.ASSESSING: {Event.NOTES_COMPLETE: State.SUMMARISING, Event.NOTHING_TO_SAVE: State.DELIVERING},
    State.SUMMARISING: {Event.SUMMARISED: State.SAVING},
    State.SAVING: {Event.SAVE_SETTLED: State.DELIVERING},
    State.DELIVERING: {Event.DELIVERED: State.PARTING},
    State.PARTING: {Event.PARTED: State.ENDED},
    State.ENDED: {},
}


def next_state(state: State, event: Event) -> State:
    """Return where the table leads.

    Raises:
        LookupError: the table has no such way; a fault of the caller.
    """
    try:
        return TABLE[state][event]
    except KeyError:
        raise LookupError(f"{event.name} cannot happen in {state.name}") from None
