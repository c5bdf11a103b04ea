"""How one part of the test goes: its phases as a table, its clock, and what Maya is told when.

::

    OPENING --asked--> ASKING --closing said--> CLOSING --done--> OVER
       |                  ^
       briefed            | talk over
       v                  |
    PREPARING --ready--> TALKING
"""

from dataclasses import dataclass
from enum import Enum
from typing import Final

from gateway.core.conversation.settings import ConversationSettings
from gateway.core.exam import PartPlan
from gateway.core.prompts import Direction


class Phase(Enum):
    """Where a part is."""

    OPENING = "opening"
    ASKING = "asking"
    PREPARING = "preparing"
    TALKING = "talking"
    CLOSING = "closing"
    OVER = "over"


class PartEvent(Enum):
    """What moves a part on."""

    ASKED = "asked"  # Maya has finished a turn
    BRIEFED = "briefed"  # Maya has finished the turn that gives the topic of the talk
    ANSWERED = "answered"  # the learner has finished an utterance
    PREPARED = "prepared"  # the preparation time is over
    TALK_TIMED_OUT = "talk_timed_out"  # the talk has used its time
    CLOSING_SAID = "closing_said"  # Maya has begun to say the closing line
    FORCED = "forced"  # the part has long used its time


_OPENING, _ASKING, _PREPARING, _TALKING, _CLOSING, _OVER = Phase
_ALWAYS: Final = {PartEvent.CLOSING_SAID: _CLOSING, PartEvent.FORCED: _OVER}

PART_TABLE: Final[dict[Phase, dict[PartEvent, Phase]]] = {
    _OPENING: {PartEvent.ASKED: _ASKING, PartEvent.BRIEFED: _PREPARING, **_ALWAYS},
    _ASKING: {PartEvent.ASKED: _ASKING, PartEvent.ANSWERED: _ASKING, **_ALWAYS},
    _PREPARING: {PartEvent.PREPARED: _TALKING, PartEvent.ANSWERED: _TALKING, **_ALWAYS},
    _TALKING: {PartEvent.ANSWERED: _ASKING, PartEvent.TALK_TIMED_OUT: _ASKING, **_ALWAYS},
    _CLOSING: {PartEvent.ASKED: _OVER, **_ALWAYS},
    _OVER: {},
}
"""Pairs that are not in the table change nothing."""


@dataclass(slots=True)
class Examiner:
    """The course of one part.

    Attributes:
        plan: the part.
        settings: the conversation's numbers.
        started_ms: when the part began.
        phase: see the table.
        phase_since_ms: since when.
        answers: questions that the learner has answered.
        asked: Maya has said a whole turn since the last answer: what the learner says next answers it.
        before_answer: phase, answers and asked as they were before the learner's last utterance was over.
    """

    plan: PartPlan
    settings: ConversationSettings
    started_ms: float
    phase: Phase = Phase.OPENING
    phase_since_ms: float = 0.0
    answers: int = 0
    asked: bool = False
    before_answer: tuple[Phase, int, bool] = (Phase.OPENING, 0, False)
    _quiet_since_ms: float | None = None
    _nudged: int = 0
    _maya_owes: bool = False
    _learner_speaks: bool = False
    _talk_begun: bool = False
    _invited: bool = False
    _wrapping_since_ms: float | None = None

    def __post_init__(self) -> None:
        """A part that is taken up in the middle of the talk: a relay before has had the learner begin."""
        self._invited = self.phase is Phase.TALKING

    @property
    def maya_answers(self) -> bool:
        """Whether Maya answers what the learner says now: not while the talk is being prepared, nor after the closing line.

        Who begins the talk before being asked to speaks to a Maya who is told to be silent.
        """
        unasked = self.phase is Phase.TALKING and not self._invited
        return not unasked and self.phase not in (Phase.PREPARING, Phase.CLOSING, Phase.OVER)

    def move(self, event: PartEvent, now_ms: float) -> None:
        """Go where the table says; a pair that it does not have changes nothing."""
        phase = PART_TABLE[self.phase].get(event)
        if phase is None:
            return
        if phase is not self.phase:
            self.phase_since_ms = now_ms
        self.phase = phase

    def maya_speaks(self) -> None:
        """Maya has begun a turn."""
        self._quiet_since_ms = None
        self._maya_owes = False

    def maya_finished(self, played_at_ms: float, now_ms: float, *, interrupted: bool = False) -> None:
        """Maya has finished a turn, or was interrupted; the learner will have heard it at `played_at_ms`."""
        self.asked = self.asked or not interrupted
        briefed = self.phase is Phase.OPENING and self.plan.cue_card is not None
        self.move(PartEvent.BRIEFED if briefed else PartEvent.ASKED, now_ms)
        if self.phase is Phase.PREPARING or (self.phase is Phase.TALKING and not self._talk_begun):
            self.phase_since_ms = played_at_ms
        self._quiet_since_ms = played_at_ms

    def learner_speaks(self) -> None:
        """The learner has begun an utterance."""
        self._learner_speaks = True
        self._talk_begun = self.phase is Phase.TALKING
        self._quiet_since_ms = None
        self._nudged = 0

    def learner_answered(self, now_ms: float) -> Direction | None:
        """The learner has finished an utterance; return what Maya is to be told, if anything."""
        self._learner_speaks = False
        self._maya_owes = True
        self._quiet_since_ms = now_ms
        self._nudged = 0
        self.before_answer = (self.phase, self.answers, self.asked)
        self.answers += self.phase is Phase.ASKING and self.asked
        self.asked = False
        self.move(PartEvent.ANSWERED, now_ms)
        if self._time_used(now_ms) and self._wrapping_since_ms is None and self.phase is Phase.ASKING:
            self._wrapping_since_ms = now_ms
            return Direction.WRAP_UP
        return None

    def tick(self, now_ms: float) -> Direction | None:
        """Let time pass; return what Maya is to be told, if anything."""
        if self.phase is Phase.PREPARING and now_ms >= self.phase_since_ms + self.plan.prepare_s * 1000:
            self.move(PartEvent.PREPARED, now_ms)
            self._quiet_since_ms = None
            self._talk_begun = self._learner_speaks  # who talks already is not asked to begin
            self._invited = not self._talk_begun
            return Direction.START_TALK if self._invited else None
        if self.phase is Phase.TALKING and now_ms >= self.phase_since_ms + self.plan.speak_s * 1000:
            self.move(PartEvent.TALK_TIMED_OUT, now_ms)
            return Direction.END_TALK
        if self._force_at_ms is not None and now_ms >= self._force_at_ms:
            self.move(PartEvent.FORCED, now_ms)
            return None
        return self._nudge(now_ms)

    def stand_still(self, for_ms: float) -> None:
        """Nobody was there for so long: none of it counts."""
        self.started_ms += for_ms
        self.phase_since_ms += for_ms
        if self._quiet_since_ms is not None:
            self._quiet_since_ms += for_ms
        if self._wrapping_since_ms is not None:
            self._wrapping_since_ms += for_ms

    def next_timer_ms(self) -> float | None:
        """When `tick` is due."""
        moments = (self._phase_ends_ms, self._force_at_ms, self._nudge_at_ms)
        return min((moment for moment in moments if moment is not None), default=None)

    def _nudge(self, now_ms: float) -> Direction | None:
        if self._nudge_at_ms is None or now_ms < self._nudge_at_ms:
            return None
        self._nudged += 1
        self._quiet_since_ms = None
        if self._time_used(now_ms) and self._wrapping_since_ms is None:
            self._wrapping_since_ms = now_ms
            return Direction.WRAP_UP
        return Direction.CONTINUE if self._maya_owes else Direction.NUDGE

    @property
    def opening_cue(self) -> Direction | None:
        """What Maya is told on a stream of this part while she has said nothing in it; None where she keeps silent."""
        after_talk = Direction.BEGIN if self.plan.cue_card is None else Direction.END_TALK
        cues = {Phase.PREPARING: None, Phase.TALKING: Direction.RESUME_TALK, Phase.ASKING: after_talk}
        return cues.get(self.phase, Direction.BEGIN)

    def _time_used(self, now_ms: float) -> bool:
        return now_ms - self.started_ms >= self.plan.time_limit_s * 1000

    @property
    def _phase_ends_ms(self) -> float | None:
        if self.phase is Phase.PREPARING:
            return self.phase_since_ms + self.plan.prepare_s * 1000
        if self.phase is Phase.TALKING:
            return self.phase_since_ms + self.plan.speak_s * 1000
        return None

    @property
    def _nudge_at_ms(self) -> float | None:
        waits = self.phase in (Phase.ASKING, Phase.TALKING) and self._wrapping_since_ms is None
        if not waits or self._quiet_since_ms is None or self._nudged >= self.settings.nudges:
            return None
        return self._quiet_since_ms + self.settings.nudge_s * 1000

    @property
    def _force_at_ms(self) -> float | None:
        if self.phase is Phase.OVER:
            return None
        return self.started_ms + (self.plan.time_limit_s + self.settings.wrap_up_s) * 1000
