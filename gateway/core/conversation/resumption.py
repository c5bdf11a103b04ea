"""How a part of the test goes on with a stream that knows nothing of what was said in it.

Questions that were answered are not asked again, and a talk that had begun is gone on with.
"""

import math
from dataclasses import dataclass, replace
from typing import Any, Final

from gateway.core.conversation.examiner import Phase
from gateway.core.conversation.progress import Standing
from gateway.core.exam import ExamPlan, PartPlan
from gateway.core.nova_events import HistoryTurn, Role
from gateway.core.prompts import Direction

_BACK: Final = "I am sorry, the line was lost for a moment. Let us go on."

_WORTH_RESUMING: Final = 0.1
"""A part of whose time less than this share is left is not taken up again."""

_AFTER_TALK: Final = (Direction.START_TALK, Direction.END_TALK)
_GIVEN_BEFORE: Final = {
    Phase.TALKING: (Direction.START_TALK,),
    Phase.ASKING: _AFTER_TALK,
    Phase.CLOSING: _AFTER_TALK,
    Phase.OVER: _AFTER_TALK,
}
"""The stage directions of a part with a talk that were followed before a phase. Without them Maya would take for the
beginning of the talk, at which she is silent, whatever she hears the learner say."""


@dataclass(frozen=True, slots=True)
class Resumption:
    """How a part goes on.

    Attributes:
        plan: what is left of the part.
        standing: where it begins again.
        history: what the plan says was said, for Maya.
    """

    plan: PartPlan
    standing: Standing
    history: tuple[HistoryTurn, ...] = ()


def resumption(plan: ExamPlan, part: int, standing: Standing) -> Resumption | None:
    """Return how a test goes on whose relay was lost in a part (0: before the first); None when its last part was over."""
    if not part:
        return Resumption(plan.part(1), Standing())
    current = plan.part(part)
    left_ms = current.time_limit_s * 1000 - standing.elapsed_ms
    if standing.phase in (Phase.CLOSING, Phase.OVER) or left_ms < current.time_limit_s * 1000 * _WORTH_RESUMING:
        return None if part == len(plan.parts) else _from_the_opening(plan.part(part + 1), Standing())
    return within(current, standing)


def within(plan: PartPlan, standing: Standing, *, asked: bool = False) -> Resumption:
    """Return how a part goes on.

    Args:
        plan: the whole part.
        standing: how far it has come.
        asked: the learner has heard the question that follows those answered, and is to answer it.
    """
    # A relay that was lost before Maya had taken up a part found the questions of it answered.
    if standing.phase is Phase.OPENING and not standing.answers:
        return _from_the_opening(plan, standing)
    said: list[HistoryTurn] = []
    if plan.cue_card is None:
        rest, left = replace(standing, phase=Phase.OPENING), _less(plan, standing, opening=_BACK)
    else:
        rest, left = replace(standing, phase_elapsed_ms=0.0), _less(plan, standing)
        said.append(HistoryTurn(Role.ASSISTANT, plan.opening))
        said += [HistoryTurn(Role.USER, direction) for direction in _GIVEN_BEFORE.get(standing.phase, ())]
    if asked and left.questions:
        said.append(HistoryTurn(Role.ASSISTANT, left.questions[0]))
    return Resumption(left, rest, tuple(said))


def _from_the_opening(plan: PartPlan, standing: Standing) -> Resumption:
    return Resumption(replace(plan, opening=f"{_BACK} {plan.opening}"), standing)


def _less(plan: PartPlan, standing: Standing, **changes: Any) -> PartPlan:
    """Return what is left of a part: the questions without an answer, and the time of the phase under way."""
    match standing.phase:
        case Phase.PREPARING:
            changes["prepare_s"] = _left_s(plan.prepare_s, standing)
        case Phase.TALKING:
            changes["speak_s"] = _left_s(plan.speak_s, standing)
    return replace(plan, questions=plan.questions[standing.answers :], **changes)


def _left_s(length_s: float, standing: Standing) -> float:
    return max(0.0, math.ceil(length_s - standing.phase_elapsed_ms / 1000))
