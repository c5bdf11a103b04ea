"""The phone's connection as a table: state x step -> state."""

from collections.abc import Mapping
from enum import Enum
from typing import Final


class State(Enum):
    """Where a phone stands."""

    NEW = "new"
    OPENING = "opening"  # the first connection is being opened
    STARTING = "starting"  # `start` is repeated
    LIVE = "live"
    AWAY = "away"  # no connection: waiting to open the next
    REOPENING = "reopening"
    RESUMING = "resuming"  # `resume` is repeated
    LEAVING = "leaving"  # `bye` was said: the connection closes
    OVER = "over"


class Step(Enum):
    """What moves a phone from state to state."""

    BEGIN = "begin"
    OPENED = "opened"
    REFUSED = "refused"  # by the network or for now
    DENIED = "denied"  # for good
    DROPPED = "dropped"
    READY = "ready"
    FORGOTTEN = "forgotten"  # the gateway knows of no open conversation
    BYE = "bye"
    RETRY = "retry"
    GIVE_UP = "give_up"


TABLE: Final[Mapping[State, Mapping[Step, State]]] = {
    State.NEW: {Step.BEGIN: State.OPENING},
    State.OPENING: {
        Step.OPENED: State.STARTING,
        Step.REFUSED: State.OVER,
        Step.DENIED: State.OVER,
        Step.GIVE_UP: State.OVER,
    },
    State.STARTING: {
        Step.READY: State.LIVE,
        Step.DROPPED: State.AWAY,
        Step.BYE: State.LEAVING,
        Step.GIVE_UP: State.OVER,
    },
    State.LIVE: {
        Step.DROPPED: State.AWAY,
        Step.FORGOTTEN: State.RESUMING,
        Step.BYE: State.LEAVING,
        Step.GIVE_UP: State.OVER,
    },
    State.AWAY: {Step.RETRY: State.REOPENING, Step.GIVE_UP: State.OVER},
    State.REOPENING: {
        Step.OPENED: State.RESUMING,
        Step.REFUSED: State.AWAY,
        Step.DENIED: State.OVER,
        Step.GIVE_UP: State.OVER,
    },
    State.RESUMING: {
        Step.READY: State.LIVE,
        Step.DROPPED: State.AWAY,
        Step.BYE: State.LEAVING,
        Step.GIVE_UP: State.OVER,
    },
    State.LEAVING: {Step.DROPPED: State.OVER, Step.GIVE_UP: State.OVER},
    State.OVER: {},
}
"""A step that a state does not name changes nothing there: it is late, repeated or about something past."""

CONNECTED: Final = frozenset({State.STARTING, State.LIVE, State.RESUMING})
"""States in which messages can be sent."""


def after(state: State, step: Step) -> State | None:
    """The state that a step leads to, None when it changes nothing."""
    return TABLE[state].get(step)
