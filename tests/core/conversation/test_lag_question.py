"""The question whether to continue or skip, in a conversation: when it comes, what answers it, what takes it back."""

import pytest

from gateway.core.conversation import State
from gateway.core.lag import LagSettings
from gateway.core.messages import UP_MESSAGES
from tests.core.conversation.far import SLOW_MS, Far
from tests.core.conversation.scene import EPOCH, START, Scene


def test_the_question():
    """All that the app needs to show it."""
    scene = Far()
    prompt = scene.asked(language="en-GB")
    assert prompt["options"] == ["continue", "skip"]
    assert prompt["cause"] == "network"
    assert prompt["expires_s"] == 20.0
    assert prompt["lag_ms"] == pytest.approx(SLOW_MS + 1_000, abs=120)
    assert "3.6 s" in prompt["text"]
    assert "skip" in prompt["text"]
    assert [record.fields["cause"] for record in scene.recorded("lag_prompted")] == ["network"]


def test_every_threshold_is_a_setting():
    """With ten seconds of patience more, nobody is asked yet."""
    scene = Far(lag=LagSettings(sustain_ms=18_000.0))
    scene.begin()
    scene.talk_for(4)
    scene.round_trip_ms = SLOW_MS
    scene.talk_for(18)
    assert scene.told("lag_prompt") == []


def test_the_conversation_goes_on_meanwhile():
    """Maya speaks, the learner speaks, frames are heard, a part ends."""
    scene = Far()
    scene.asked()
    frames = scene.frames()
    scene.maya("A question?")
    scene.learner()
    scene.talk_for(2)
    assert scene.frames() == frames + 20
    assert [message["text"] for message in scene.told("transcript") if message["who"] == "learner"] == ["an answer"]
    assert scene.told("lag_cleared") == []


@pytest.mark.parametrize("times", [1, 3])
def test_continue(times):
    """Repeated or not, it is taken once, and the test goes on."""
    scene = Far()
    prompt = scene.asked()
    for _ in range(times):
        scene.choose("continue", prompt["prompt_id"])
        scene.talk_for(1)
    assert [(each["prompt_id"], each["why"]) for each in scene.told("lag_cleared")] == [
        (prompt["prompt_id"], "answered")
    ]
    assert scene.state is State.TALKING
    assert len(scene.recorded("lag_continued")) == 1
    scene.talk_for(60)
    assert len(scene.told("lag_prompt")) == 1


def test_nobody_answers():
    """Counts as continue."""
    scene = Far()
    prompt = scene.asked()
    scene.talk_for(24)
    [cleared] = scene.told("lag_cleared")
    assert (cleared["prompt_id"], cleared["why"]) == (prompt["prompt_id"], "expired")
    assert scene.state is State.TALKING
    assert len(scene.recorded("lag_expired")) == 1


def test_the_lag_goes_away():
    """The question is taken back."""
    scene = Far()
    scene.asked()
    scene.round_trip_ms = 60.0
    scene.talk_for(14)
    assert [each["why"] for each in scene.told("lag_cleared")] == ["lag_gone"]
    assert len(scene.recorded("lag_gone")) == 1


@pytest.mark.parametrize("prompt_id", ["7-2", "7-0", "6-1", "1", "x", "7-1x"])
def test_an_answer_to_no_open_question_is_ignored(prompt_id):
    """Be it another relay's, one to come, or nonsense: nothing is cleared, no error is told, the test goes on."""
    scene = Far()
    assert scene.asked()["prompt_id"] == f"{EPOCH}-1"
    scene.choose("skip", prompt_id)
    scene.talk_for(1)
    assert scene.state is State.TALKING
    assert scene.told("lag_cleared") == scene.told("error") == []


def test_an_answer_without_any_question_is_ignored():
    """In every state of a conversation."""
    scene = Scene()
    scene.say(START)
    choice = {"type": "lag_choice", "prompt_id": f"{EPOCH}-0", "choice": "skip"}
    scene.say(choice)
    scene.begin_line()
    scene.say(choice)
    scene.stop()
    scene.say(choice)
    assert scene.told("error") == []


def test_every_message_of_the_app_is_known():
    """`lag_choice` among them, so that none falls through in silence."""
    assert "lag_choice" in {kind.model_fields["type"].default for kind in UP_MESSAGES}
