"""From part to part by the clock, and standing still while nobody is there."""

from dataclasses import replace

import pytest

from gateway.core.conversation import State
from gateway.core.conversation.actions import StoreProgress
from gateway.core.exam import build_plan
from gateway.core.nova_events import ContentEnd, ContentKind, StopReason
from tests.core.conversation.scene import SESSION, Scene


def test_a_part_is_told_with_its_card():
    """Title for each; card and times for the talk."""
    scene = Scene().begin()
    scene.part_two()
    first, second = scene.told("part")
    assert (first["part"], first["title"]) == (1, "Introduction and interview")
    assert "cue_card" not in first
    assert (second["part"], second["prepare_s"], second["speak_s"]) == (2, 0.5, 10)
    assert "You should say:" in second["cue_card"]


def test_a_part_that_begins_is_progress():
    """Another relay could go on there."""
    scene = Scene().begin()
    scene.part_two()
    assert [action.progress["part"] for action in scene.of(StoreProgress)][-1] == 2
    assert scene.of(StoreProgress)[-1].progress["state"] == "open"


def test_the_stream_of_a_part_assesses_it_while_the_next_runs():
    """Nobody waits for the notes."""
    scene = Scene().begin()
    scene.part_two()
    assert scene.live_stream == 2
    assert scene.conversation._desk.notes.keys() == {1}
    assert scene.asked_micro() == []


def test_the_last_part_ends_the_test():
    """There is no other to go to."""
    scene = Scene().begin()
    scene.part_two()
    plan = scene.conversation._course.settings.plan
    scene.learner()
    scene.maya(plan.part(2).closing)
    scene.open()
    scene.wait(200, talking=True)
    scene.learner()
    scene.maya(plan.part(3).closing)
    assert scene.state is State.ASSESSING
    assert scene.conversation._ending.reason == "finished"


def test_the_test_stands_still_while_the_phone_is_away():
    """A silence of Maya's nobody hears is no silence of the learner's; back again, the learner has the whole time."""
    scene = Scene().talk()
    scene.leave()
    scene.wait(50_000)
    scene.say({"type": "resume", "session_id": SESSION, "n": 0, "seq": 3}, "b", 2)
    scene.wait(1_000)
    assert [direction for direction in scene.directions() if "silent" in direction] == []
    for _ in range(150):
        scene.wait(100)
        scene.audio("b", 2)
    assert len([direction for direction in scene.directions() if "silent" in direction]) == 1


def test_a_part_over_its_time_goes_on_to_the_next():
    """Maya says neither closing line nor anything else that would end it."""
    scene = Scene(nudge_s=1e6).talk()
    scene.learner()
    scene.maya("Another question?")
    scene.wait(95_000, talking=True)
    scene.open()
    scene.wait(200, talking=True)
    assert [part["part"] for part in scene.told("part")] == [1, 2]


@pytest.mark.parametrize("last", [False, True], ids=["a part", "the last part"])
def test_maya_is_not_cut_off_when_a_part_has_used_its_time(last):
    """It is closed by force when her sentence is at its end."""
    plan = build_plan("tiny")
    quick = replace(plan.part(1), time_limit_s=1.0)
    scene = Scene(
        nudge_s=1e6, wrap_up_s=1.0, plan=replace(plan, parts=(quick,) if last else (quick, plan.part(2)))
    ).talk()
    scene.wait(500, talking=True)
    scene.maya("And now", ends=False)
    scene.wait(4_000, talking=True)
    scene.open()
    scene.wait(200, talking=True)
    assert (scene.state, len(scene.told("part"))) == (State.TALKING, 1)
    scene.hear(ContentEnd("a", ContentKind.AUDIO, StopReason.END_TURN), stream=1)
    scene.wait(200, talking=True)
    if last:
        assert scene.state is not State.TALKING
    else:
        assert len(scene.told("part")) == 2
