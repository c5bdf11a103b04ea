"""When a learner is asked about the lag, as a table.

::

     +----------------------- rested -----------------------+
     |          +------------------ rested -----------------|------------+
     v          v                                           |            |
    CALM <-> RISING --held--> ASKING <-> EASING --gone--> RESTING <-> WORSENING --held--> ASKING
                                |           |               ^
                                +-----------+-- answered ---+
                                |           |    or not
                                +--skipped--+--> DONE
"""

from collections.abc import Mapping
from enum import Enum
from typing import Final


class LagState(Enum):
    """Where the question stands."""

    CALM = "calm"
    RISING = "rising"  # the lag is too large, but not for long enough
    ASKING = "asking"  # the question is on the screen
    EASING = "easing"  # the same, and the lag is small again, but not for long enough
    RESTING = "resting"  # the learner was asked, and is left in peace
    WORSENING = "worsening"  # the same, but the lag has clearly grown
    DONE = "done"  # the learner has skipped the test


class LagEvent(Enum):
    """What moves the question on."""

    OVER = "over"  # the lag is at or over the threshold
    UNDER = "under"  # the lag is at or under the lower threshold
    DIPPED = "dipped"  # it has been under the upper one for longer than a moment
    HELD = "held"  # it stayed over for long enough
    GONE = "gone"  # it stayed under for long enough
    CONTINUED = "continued"
    SKIPPED = "skipped"
    EXPIRED = "expired"  # nobody answered in time
    WORSE = "worse"  # it has clearly grown since the last question
    BETTER = "better"  # it has not, after all
    RESTED = "rested"


_CALM, _RISING, _ASKING, _EASING, _RESTING, _WORSENING, _DONE = LagState
_ANSWERS: Final = {LagEvent.CONTINUED: _RESTING, LagEvent.SKIPPED: _DONE, LagEvent.EXPIRED: _RESTING}

LAG_TABLE: Final[Mapping[LagState, Mapping[LagEvent, LagState]]] = {
    _CALM: {LagEvent.OVER: _RISING},
    _RISING: {LagEvent.DIPPED: _CALM, LagEvent.HELD: _ASKING},
    _ASKING: {**_ANSWERS, LagEvent.UNDER: _EASING},
    _EASING: {**_ANSWERS, LagEvent.OVER: _ASKING, LagEvent.GONE: _RESTING},
    _RESTING: {LagEvent.RESTED: _CALM, LagEvent.WORSE: _WORSENING},
    _WORSENING: {LagEvent.BETTER: _RESTING, LagEvent.HELD: _ASKING, LagEvent.RESTED: _RISING},
    _DONE: {},
}
"""Events that a state does not name change nothing there. Where several are true at once, the first named counts."""

PROMPTING: Final = frozenset({_ASKING, _EASING})
"""States in which a question is open."""
