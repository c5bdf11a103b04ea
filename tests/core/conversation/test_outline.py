"""A stream was lost to a content filter: what was said stays untold, and Maya goes on in the part where she was."""

import json
from dataclasses import replace

import pytest

from gateway.core.conversation.actions import OpenStream
from gateway.core.conversation.examiner import Examiner, Phase
from gateway.core.conversation.progress import Standing
from gateway.core.conversation.resumption import within
from gateway.core.conversation.settings import ConversationSettings
from gateway.core.exam import build_plan
from gateway.core.nova_events import Fault, UserSpeechEnd, UserSpeechStart
from gateway.core.prompts import FIRST_HISTORY_LINE, Direction
from tests.core.conversation.scene import Scene
from tests.world.moments import MOMENTS, Inside, act_at
from tests.world.world import World

FULL = build_plan("full")
QUESTIONS = FULL.part(1).questions
FILTERED = Fault.CONTENT_FILTERED


def told(scene: Scene) -> tuple[str, list[str]]:
    """The system prompt of the newest stream, and the history it was given."""
    prompt, history, role = "", [], ""
    for event in scene.of(OpenStream)[-1].events:
        [(name, body)] = json.loads(event)["event"].items()
        if name == "contentStart":
            role = body["role"]
        elif name == "textInput" and role == "SYSTEM":
            prompt += body["content"]
        elif name == "textInput":
            history.append(body["content"])
    return prompt, history


@pytest.fixture
def scene() -> Scene:
    """Maya has asked the second question of part 1 of the full test."""
    scene = Scene(plan=FULL, nudge_s=1e6).begin()
    scene.wait(300, talking=True)
    scene.maya(f"Good day. {QUESTIONS[0]}")
    scene.learner("something that a policy blocks")
    scene.maya(f"Oh, really? {QUESTIONS[1]}")
    scene.wait(1_000, talking=True)
    return scene


# --- What the next stream is told -----------------------------------------------------------------------------------


def test_the_question_that_was_asked_is_known_and_no_other_word(scene):
    """The learner answers it, and Maya says nothing before."""
    scene.lose(fault=FILTERED)
    prompt, history = told(scene)
    assert history == [FIRST_HISTORY_LINE, QUESTIONS[1]]
    assert QUESTIONS[0] not in prompt
    assert QUESTIONS[2] in prompt
    assert FULL.part(1).opening not in prompt
    scene.open()
    scene.wait(1_000, talking=True)
    assert scene.directions() == []


def test_maya_who_was_to_ask_the_next_question_asks_it(scene):
    """The answers before it are taken."""
    scene.learner("another answer")
    scene.lose(fault=FILTERED)
    prompt, history = told(scene)
    assert history == []
    assert QUESTIONS[1] not in prompt
    assert QUESTIONS[2] in prompt
    scene.open()
    scene.wait(300, talking=True)
    assert scene.directions() == [Direction.BEGIN]


def test_a_follow_up_is_not_taken_for_the_next_question(scene):
    """She has said a turn, and the question is still to come."""
    scene.learner("another answer")
    scene.maya("Could you tell me more?")
    scene.lose(fault=FILTERED)
    prompt, history = told(scene)
    assert history == []
    assert QUESTIONS[2] in prompt


def test_an_answer_that_is_heard_again_is_the_answer_to_its_question(scene):
    """It had ended and its words were not known; it counts once."""
    scene.hear(UserSpeechStart(1_000.0), UserSpeechEnd(2_000.0, 2_500.0))
    scene.lose(fault=FILTERED)
    assert told(scene)[1][-1] == QUESTIONS[1]
    scene.open()
    scene.wait(100, talking=True)
    scene.learner("another answer")
    examiner = scene.conversation._dialogue.examiner
    assert examiner is not None
    assert examiner.answers == 2


def test_what_the_learner_said_is_asked_for_again_where_it_is_given_up(scene):
    """Blocked a second time, it is played to nobody; Maya is told to go on."""
    scene.hear(UserSpeechStart(1_000.0))
    for wait_ms in (0, 1_500):
        scene.lose(fault=FILTERED)
        scene.wait(wait_ms, talking=True)
        scene.open()
    scene.wait(300, talking=True)
    assert scene.directions() == [Direction.CONTINUE]


def test_a_history_that_was_refused_is_followed_by_the_outline_and_that_by_none(scene):
    """The outline, too, is a history."""
    scene.lose(fault=Fault.HISTORY_REJECTED)
    assert told(scene)[1] == [FIRST_HISTORY_LINE, QUESTIONS[1]]
    scene.lose(scene.newest_stream, fault=Fault.HISTORY_REJECTED)
    scene.wait(1_500, talking=True)
    assert len(scene.of(OpenStream)) == 3
    prompt, history = told(scene)
    assert history == []
    assert QUESTIONS[1] in prompt


def test_a_part_that_maya_has_not_begun_begins():
    """Nothing was said in it."""
    scene = Scene(plan=FULL).begin()
    scene.lose(fault=FILTERED)
    prompt, history = told(scene)
    assert history == []
    assert FULL.part(1).opening in prompt
    assert "the line was lost" not in prompt


def test_what_has_no_history_is_not_told_to_be_continued(scene):
    """A stream that knew what was said had been told to, and was lost before it did."""
    scene.learner("another answer")
    scene.lose()
    scene.open()
    scene.wait(300, talking=True)
    assert scene.directions() == [Direction.CONTINUE]
    scene.lose(fault=FILTERED)
    scene.wait(1_500, talking=True)
    scene.open()
    scene.wait(300, talking=True)
    assert scene.directions() == [Direction.BEGIN]


# --- What is left of a part -----------------------------------------------------------------------------------------


def test_a_second_relay_that_is_lost_before_maya_spoke_leaves_the_answers():
    """It stood at the opening that it was to say, with questions that were answered before it."""
    resumed = within(FULL.part(1), Standing(answers=4))
    assert resumed.plan.questions == QUESTIONS[4:]
    assert FULL.part(1).opening not in resumed.plan.opening


def test_a_question_that_was_asked_after_the_last_is_none():
    """All were answered."""
    standing = Standing(phase=Phase.ASKING, answers=len(QUESTIONS))
    assert within(FULL.part(1), standing, asked=True).history == ()


# --- What counts as an answer ---------------------------------------------------------------------------------------


def test_only_what_follows_a_whole_turn_of_mayas_is_an_answer():
    """Not what cut her short, nor what is said after an answer, or heard once more."""
    settings = replace(ConversationSettings(), plan=FULL)
    examiner = Examiner(FULL.part(1), settings, 0.0)
    examiner.maya_finished(0, 0, interrupted=True)
    examiner.learner_answered(1_000)
    assert (examiner.phase, examiner.answers) == (Phase.ASKING, 0)
    examiner.maya_finished(2_000, 2_000)
    examiner.learner_answered(3_000)
    examiner.learner_answered(4_000)
    assert examiner.answers == 1


def test_what_cuts_mayas_question_short_is_no_answer_to_it(scene):
    """She asks it again where she knows nothing of it."""
    scene.learner("another answer")
    scene.maya(QUESTIONS[2], ms=3_000, ends=False)
    scene.learner("and one thing more")
    examiner = scene.conversation._dialogue.examiner
    assert examiner is not None
    assert examiner.answers == 2
    scene.lose(fault=FILTERED)
    assert QUESTIONS[2] in told(scene)[0]


# --- Whole conversations --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("moment", ["learner is silent", "learner speaks", "end of speech", "maya thinks", "the talk"])
def test_nothing_is_begun_anew(moment):
    """Whatever is blocked in each part: its opening is said once, each question asked once, and nobody waits for long."""
    world = World(4, frame_ms=200)

    def block(inside: Inside) -> None:
        assert inside.target is not None
        world.nova.strike(inside.target.stream_id, "content_filter")

    parts = act_at(world, moment, block)
    world.run(until_s=600)
    assert tuple(parts) == MOMENTS[moment][1]
    maya = " ".join(said.text for said in world.conversation.transcript.utterances if said.who == "maya")
    for part in world.settings.plan.parts:
        assert [maya.count(question) for question in part.questions] == [1] * len(part.questions)
        assert maya.count(part.opening[:30]) <= 1
    assert world.clock.now_ms < 75_000
