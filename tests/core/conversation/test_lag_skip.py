"""Who skips for the lag: what was assessed is kept, and it is taken once."""

from gateway.core.conversation import State
from gateway.core.conversation.inputs import SaveOutcome
from tests.core.conversation.far import SLOW_MS, Far


def skip(scene: Far, spoken_s: float = 5.0) -> None:
    """Have the learner speak, be asked, and skip."""
    scene.learner(to_ms=spoken_s * 1000)
    scene.maya()
    scene.round_trip_ms = SLOW_MS
    scene.talk_for(20)
    scene.choose("skip", scene.told("lag_prompt")[0]["prompt_id"])


def test_skip_saves_the_parts_already_assessed():
    """As partial; the part under way is not assessed, however much was said in it."""
    scene = Far()
    scene.talk()
    scene.part_two()
    skip(scene, spoken_s=60.0)
    assert scene.told("lag_cleared")[-1]["why"] == "answered"
    scene.save()
    [assessment] = scene.saved()
    assert (assessment.status, assessment.parts_assessed) == ("partial", (1,))
    assert scene.asked_micro() == [0]
    scene.talk_for(1)
    assert [message["saved"] for message in scene.told("assessment")] == [True]
    assert scene.told("bye")[-1]["reason"] == "skipped"
    assert [record.fields["reason"] for record in scene.recorded("test_over")] == ["skipped"]


def test_skip_waits_for_a_part_that_is_being_assessed():
    """Its stream was asked when the part ended."""
    scene = Far()
    scene.talk()
    scene.learner()
    scene.maya(scene.conversation._course.settings.plan.part(1).closing)
    scene.open()
    scene.wait(200, talking=True)
    assert scene.conversation._desk.pending
    skip(scene)
    assert scene.state is State.ASSESSING
    scene.call_tool(1)
    scene.save()
    [assessment] = scene.saved()
    assert assessment.parts_assessed == (1,)


def test_skip_before_any_part_was_assessed_saves_nothing():
    """What was saved of an earlier test is not overwritten by an empty assessment."""
    scene = Far()
    scene.talk()
    skip(scene, spoken_s=29.0)
    scene.talk_for(1)
    assert scene.saved() == []
    assert scene.told("bye")[-1]["reason"] == "skipped"


def test_skip_after_much_was_said_is_assessed():
    """Who spoke for half a minute gets an assessment, whatever happens."""
    scene = Far()
    scene.talk()
    skip(scene, spoken_s=31.0)
    assert scene.state is State.ASSESSING
    scene.call_tool(1)
    scene.save()
    assert scene.saved()[0].parts_assessed == (1,)
    scene.talk_for(1)
    assert scene.told("bye")[-1]["reason"] == "skipped"


def test_skip_is_taken_once():
    """The app repeats it until `bye`."""
    scene = Far()
    scene.talk()
    scene.part_two()
    skip(scene)
    prompt_id = scene.told("lag_prompt")[0]["prompt_id"]
    for _ in range(3):
        scene.choose("skip", prompt_id)
    scene.save(SaveOutcome.QUEUED)
    scene.choose("skip", prompt_id)
    assert len(scene.recorded("lag_skipped")) == len(scene.recorded("test_over")) == len(scene.saved()) == 1


def test_a_question_is_taken_back_when_the_test_ends():
    """There is nothing left to skip."""
    scene = Far()
    prompt = scene.asked()
    scene.stop()
    [cleared] = scene.told("lag_cleared")
    assert (cleared["prompt_id"], cleared["why"]) == (prompt["prompt_id"], "lag_gone")
    scene.choose("skip", prompt["prompt_id"])
    assert [record.fields["reason"] for record in scene.recorded("test_over")] == ["finished"]
