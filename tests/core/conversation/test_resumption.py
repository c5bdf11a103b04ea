"""Where a part goes on whose relay was lost."""

import pytest

from gateway.core.conversation.examiner import Phase
from gateway.core.conversation.progress import Standing
from gateway.core.conversation.resumption import resumption
from gateway.core.exam import build_plan

FULL = build_plan("full")


def test_before_the_first_part_the_test_begins():
    """As if nothing had been."""
    resumed = resumption(FULL, 0, Standing())
    assert resumed is not None
    assert (resumed.plan, resumed.standing) == (FULL.part(1), Standing())


def test_an_opening_is_said_again_after_an_apology():
    """Nobody knows how much of it was heard."""
    resumed = resumption(FULL, 3, Standing(elapsed_ms=9_000))
    assert resumed is not None
    assert resumed.plan.opening.endswith(FULL.part(3).opening)
    assert resumed.plan.opening.startswith("I am sorry")
    assert resumed.plan.questions == FULL.part(3).questions
    assert resumed.standing.elapsed_ms == 9_000


@pytest.mark.parametrize("answers", [0, 4, 9, 12])
def test_questions_that_were_answered_are_not_asked_again(answers):
    """The part is not begun anew, and its clock goes on."""
    resumed = resumption(FULL, 1, Standing(phase=Phase.ASKING, answers=answers, elapsed_ms=60_000))
    assert resumed is not None
    assert resumed.plan.questions == FULL.part(1).questions[answers:]
    assert FULL.part(1).opening not in resumed.plan.opening
    assert resumed.standing == Standing(phase=Phase.OPENING, answers=answers, elapsed_ms=60_000)


def test_a_preparation_lasts_what_is_left_of_it():
    """The card is on the screen, and Maya is silent; the history says that she has given the topic."""
    resumed = resumption(FULL, 2, Standing(phase=Phase.PREPARING, elapsed_ms=40_000, phase_elapsed_ms=20_000))
    assert resumed is not None
    assert (resumed.plan.prepare_s, resumed.plan.speak_s) == (40, 120)
    assert resumed.standing.phase is Phase.PREPARING
    assert [turn.text for turn in resumed.history] == [FULL.part(2).opening]


def test_a_talk_lasts_what_is_left_of_it():
    """And is gone on with."""
    resumed = resumption(FULL, 2, Standing(phase=Phase.TALKING, elapsed_ms=170_000, phase_elapsed_ms=90_500))
    assert resumed is not None
    assert resumed.plan.speak_s == 30
    assert resumed.standing.phase is Phase.TALKING
    assert resumed.plan.cue_card == FULL.part(2).cue_card


def test_after_the_talk_the_questions_that_are_left_are_asked():
    """The talk is not asked for again."""
    resumed = resumption(FULL, 2, Standing(phase=Phase.ASKING, answers=1, elapsed_ms=200_000))
    assert resumed is not None
    assert resumed.plan.questions == FULL.part(2).questions[1:]
    assert resumed.standing.phase is Phase.ASKING


@pytest.mark.parametrize(
    "standing",
    [
        Standing(phase=Phase.CLOSING, elapsed_ms=100_000),
        Standing(phase=Phase.OVER, elapsed_ms=100_000),
        Standing(phase=Phase.ASKING, elapsed_ms=275_000),
    ],
    ids=["closing line said", "over", "hardly any time left"],
)
def test_a_part_that_was_over_is_followed_by_the_next(standing):
    """After the last, the test is over."""
    resumed = resumption(FULL, 1, standing)
    assert resumed is not None
    assert resumed.plan.part == 2
    assert resumed.standing == Standing()
    assert resumption(FULL, 3, standing) is None
