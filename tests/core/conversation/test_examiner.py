"""The course of a part by the clock: preparation, talk, nudges, time limits."""

import pytest

from gateway.core.conversation.examiner import Examiner, Phase
from gateway.core.conversation.settings import ConversationSettings
from gateway.core.exam import build_plan
from gateway.core.prompts import Direction

SETTINGS = ConversationSettings(plan=build_plan("full"))


def examiner(part: int) -> Examiner:
    return Examiner(SETTINGS.plan.part(part), SETTINGS, started_ms=0.0)


def test_a_talk_is_prepared_from_the_moment_the_learner_has_heard_the_topic():
    """The minute begins when Maya's words were played, not when they were sent."""
    part = examiner(2)
    part.maya_finished(played_at_ms=9_000, now_ms=4_000)
    assert part.phase is Phase.PREPARING
    assert part.next_timer_ms() == 69_000
    assert part.tick(68_999) is None
    assert part.tick(69_000) is Direction.START_TALK
    assert part.phase is Phase.TALKING


def test_a_talk_ends_with_the_learner_or_with_the_clock():
    """Two minutes are the most; who stops earlier is asked the next question by Maya herself."""
    long_talk, short_talk = examiner(2), examiner(2)
    for part in (long_talk, short_talk):
        part.maya_finished(0, 0)
        part.tick(60_000)
        part.maya_finished(62_000, 61_000)
        part.learner_speaks()
    assert long_talk.tick(181_999) is None
    assert long_talk.tick(182_000) is Direction.END_TALK
    assert long_talk.phase is Phase.ASKING
    assert short_talk.learner_answered(90_000) is None
    assert short_talk.phase is Phase.ASKING


def test_a_learner_who_begins_early_is_not_asked_to_begin():
    """Speaking in the preparation time starts the talk."""
    part = examiner(2)
    part.maya_finished(0, 0)
    part.learner_speaks()
    part.learner_answered(10_000)
    assert part.phase is Phase.TALKING
    assert part.tick(60_000) is not Direction.START_TALK


def test_silence_is_nudged_twice_and_then_left_alone():
    """A silent learner hears the question again, at most twice in a row."""
    part = examiner(1)
    part.maya_finished(played_at_ms=1_000, now_ms=0)
    assert part.tick(15_999) is None
    assert part.tick(16_000) is Direction.NUDGE
    part.maya_finished(20_000, 18_000)
    assert part.tick(35_000) is Direction.NUDGE
    part.maya_finished(40_000, 38_000)
    assert part.tick(90_000) is None
    part.learner_speaks()
    part.maya_finished(100_000, 99_000)
    assert part.tick(115_000) is Direction.NUDGE


def test_maya_who_does_not_answer_is_asked_to_go_on():
    """The learner has finished and nobody says anything: a cough that was taken for an answer, or a model that stalls."""
    part = examiner(1)
    part.maya_finished(0, 0)
    part.learner_speaks()
    part.learner_answered(5_000)
    assert part.tick(19_999) is None
    assert part.next_timer_ms() == 20_000
    assert part.tick(20_000) is Direction.CONTINUE


def test_maya_in_the_middle_of_a_long_turn_is_left_alone():
    """From her first word to her last nobody is silent."""
    part = examiner(1)
    part.maya_finished(0, 0)
    part.learner_speaks()
    part.learner_answered(5_000)
    part.maya_speaks()
    assert part.tick(60_000) is None


def test_who_talks_already_is_not_asked_to_begin():
    """The preparation time ends in the middle of the learner's talk."""
    part = examiner(2)
    part.maya_finished(0, 0)
    part.learner_speaks()
    assert part.tick(60_000) is None
    assert part.phase is Phase.TALKING
    assert part.tick(179_999) is None
    assert part.tick(180_000) is Direction.END_TALK


def test_a_wrapped_up_part_is_not_nudged():
    """Maya has been asked for her closing line."""
    part = examiner(1)
    part.maya_finished(0, 0)
    part.learner_speaks()
    assert part.learner_answered(300_000) is Direction.WRAP_UP
    part.maya_finished(302_000, 301_000)
    assert part.tick(320_000) is None


def test_the_clock_stands_still_while_nobody_is_there():
    """Preparation, talk, nudge and time limit all move."""
    part = examiner(2)
    part.maya_finished(9_000, 4_000)
    part.stand_still(30_000)
    assert part.next_timer_ms() == 99_000
    other = examiner(1)
    other.maya_finished(1_000, 0)
    other.stand_still(30_000)
    assert other.next_timer_ms() == 46_000


def test_a_part_over_its_time_is_wrapped_up_at_an_answer_and_then_by_force():
    """First a closing line is asked for, once; if it never comes the part ends all the same."""
    part = examiner(1)
    part.maya_finished(0, 0)
    part.learner_speaks()
    assert part.learner_answered(299_999) is None
    part.learner_speaks()
    assert part.learner_answered(300_000) is Direction.WRAP_UP
    assert part.learner_answered(301_000) is None
    assert part.next_timer_ms() == 330_000
    assert part.tick(330_000) is None
    assert part.phase is Phase.OVER
    assert part.next_timer_ms() is None


@pytest.mark.parametrize("part_number", [1, 2, 3])
def test_nothing_happens_in_a_part_that_is_over(part_number):
    """No direction is given to a stream that is about to be left."""
    part = examiner(part_number)
    part.tick(10_000_000)
    assert part.phase in (Phase.OVER, Phase.TALKING)
    part.tick(10_000_000)
    part.tick(10_000_000)
    assert part.phase is Phase.OVER
    assert part.tick(20_000_000) is None


def test_maya_answers_a_talk_that_she_asked_for():
    """Not one that begins before: she is told to be silent until then. A part that is taken up in the talk was asked for."""
    asked = examiner(2)
    asked.maya_finished(played_at_ms=0.0, now_ms=0.0)
    assert not asked.maya_answers
    asked.tick(60_000)
    assert asked.maya_answers
    early = examiner(2)
    early.maya_finished(played_at_ms=0.0, now_ms=0.0)
    early.learner_speaks()
    assert early.tick(60_000) is None
    assert not early.maya_answers
    early.learner_answered(70_000)
    assert early.maya_answers
    assert Examiner(SETTINGS.plan.part(2), SETTINGS, 0.0, phase=Phase.TALKING).maya_answers
