"""From the end of the talk to the end of everything."""

import pytest

from gateway.core.conversation import State
from gateway.core.conversation.actions import CloseStream, Finish, Save, StoreProgress
from gateway.core.conversation.inputs import Admission, AdmissionSettled, MicroAnswered, SaveOutcome, SaveSettled
from gateway.core.nova_events import Fault, UserSpeechStart
from tests.core.conversation.scene import GOOD_CALL, START, Scene

TRANSCRIBED = {name: value for name, value in GOOD_CALL.items() if name != "pronunciation"}


@pytest.fixture
def scene() -> Scene:
    """The learner has answered once, and stops: the stream has been asked to assess."""
    scene = Scene().talk()
    scene.learner()
    scene.stop()
    assert scene.state is State.ASSESSING
    return scene


# --- Stop -----------------------------------------------------------------------------------------------------------


def test_stop_is_taken_when_its_last_frame_is_in():
    """Whatever the order of arrival."""
    scene = Scene().talk()
    scene.say({"type": "stop", "seq": 4})
    scene.audio(seq=4)
    scene.wait(100)
    assert scene.state is State.TALKING
    scene.audio(seq=3)
    assert scene.frames() == 5
    assert scene.state is not State.TALKING


def test_stop_is_taken_after_a_while_though_frames_are_missing():
    """Three seconds from the first time it was said, however often it is repeated."""
    scene = Scene().talk()
    for _ in range(3):
        scene.say({"type": "stop", "seq": 90})
        assert scene.state is State.TALKING
        scene.wait(1_000)
    assert scene.state is not State.TALKING


def test_stop_repeated_changes_nothing(scene):
    """It is said each second until `status assessing` is there."""
    told = len(scene.told())
    for _ in range(3):
        scene.stop()
    assert len(scene.told()) == told
    assert len(scene.recorded("test_over")) == 1


def test_stop_before_the_line_is_open_ends_it():
    """Nothing was said, so nothing is saved."""
    scene = Scene()
    scene.say(START)
    scene.stop()
    assert scene.state is State.ADMITTING
    scene.tell(AdmissionSettled(Admission.GRANTED))
    scene.stop()
    scene.wait(1)
    assert CloseStream(1) in scene.actions
    assert scene.told("bye")[0]["reason"] == "finished"
    assert not scene.saved()


# --- What was spoken is assessed ------------------------------------------------------------------------------------


def test_an_answer_without_an_end_is_assessed_by_the_stream_that_heard_it():
    """The learner talks for half a minute and stops the test in the middle of it (I4)."""
    scene = Scene().talk()
    scene.hear(UserSpeechStart(300.0))
    scene.wait(35_000, talking=True)
    scene.stop()
    scene.call_tool(1)
    scene.save()
    [saved] = scene.saved()
    assert saved.parts_assessed == (1,)
    assert saved.spoken_s >= 34


def test_an_answer_that_nobody_could_write_down_is_still_saved():
    """The phone is gone for good in the middle of it: no words, no bands, and an assessment that says so (I4)."""
    scene = Scene().talk()
    scene.hear(UserSpeechStart(300.0))
    scene.wait(35_000, talking=True)
    scene.leave()
    scene.wait(60_000)
    [saved] = scene.saved()
    assert (saved.status, saved.overall) == ("partial", None)
    assert saved.spoken_s >= 34


def test_a_test_in_which_nobody_spoke_is_not_saved():
    """There is nothing to tell about it."""
    scene = Scene().talk()
    scene.stop()
    scene.acknowledge_all()
    scene.wait(5_000)
    assert scene.state is State.ENDED
    assert not scene.saved()
    assert scene.told("bye")[0]["reason"] == "finished"


def test_parts_that_nobody_assessed_are_assessed_at_the_end():
    """Stream and Nova Micro failed in the middle of the test; at its end Nova Micro is asked again."""
    scene = Scene().begin()
    scene.wait(300, talking=True)
    scene.maya()
    scene.learner()
    scene.maya(scene.conversation._course.settings.plan.part(1).closing)
    scene.open()
    scene.lose(1)
    scene.tell_micro_failed(1)
    scene.wait(200, talking=True)
    assert scene.asked_micro() == [1]
    scene.stop()
    assert scene.asked_micro() == [1, 1]
    scene.tell(MicroAnswered(1, TRANSCRIBED))
    scene.save()
    assert scene.saved()[0].parts_assessed == (1,)


# --- Notes ----------------------------------------------------------------------------------------------------------


def test_a_stream_that_is_lost_while_it_assesses_leaves_the_part_to_nova_micro(scene):
    """From the words."""
    scene.lose(1, Fault.IDLE)
    assert scene.asked_micro() == [1]
    scene.tell(MicroAnswered(1, TRANSCRIBED))
    assert scene.state is State.SUMMARISING


def test_a_stream_that_takes_too_long_is_closed(scene):
    """Nova Micro is asked, and what the stream says later is not heard."""
    scene.wait(25_000)
    assert scene.asked_micro() == [1]
    assert CloseStream(1) in scene.actions
    scene.call_tool(1)
    assert scene.conversation._desk.notes == {}


def test_the_notes_have_an_end(scene):
    """Neither stream nor Nova Micro answers: the save comes all the same, and no summary is asked for in vain."""
    scene.wait(45_000)
    assert scene.state is State.SAVING
    assert scene.asked_micro() == [1]
    assert scene.saved()[0].overall is None


def test_late_notes_change_nothing_that_was_saved(scene):
    """Nova Micro answers after it was given up; nobody is asked again."""
    scene.wait(45_000)
    scene.tell(MicroAnswered(1, TRANSCRIBED))
    scene.tell(MicroAnswered(0, None))
    scene.lose(1)
    assert scene.conversation._desk.notes == {}
    assert scene.asked_micro() == [1]
    assert len(scene.saved()) == 1
    assert scene.conversation._desk.next_timer_ms() is None


def test_a_tool_called_too_early_is_answered_and_changes_nothing():
    """An unanswered call silences the stream (SERVICE.md A6); the part goes on."""
    scene = Scene().talk()
    scene.learner()
    scene.call_tool(1)
    results = [body["content"] for name, body in scene.sent(1) if name == "toolResult"]
    assert len(results) == 1
    assert "error" in results[0]
    assert scene.conversation._desk.notes == {}
    assert scene.state is State.TALKING


def test_streams_are_closed_when_nothing_is_to_be_saved():
    """A learner who said almost nothing."""
    scene = Scene(assess_from_s=5.0).talk()
    scene.learner()
    scene.stop()
    assert CloseStream(1) in scene.actions


# --- Save and farewell ----------------------------------------------------------------------------------------------


def test_the_save_is_settled_once(scene):
    """Settled again, nothing is told again."""
    scene.call_tool(1)
    scene.save()
    for outcome in SaveOutcome:
        scene.tell(SaveSettled(outcome))
    assert [message["saved"] for message in scene.told("assessment")] == [True]
    assert len(scene.of(Save)) == 1


@pytest.mark.parametrize("outcome", [SaveOutcome.QUEUED, SaveOutcome.LOST])
def test_what_is_not_in_the_profile_is_said_not_to_be(scene, outcome):
    """The learner sees the assessment all the same."""
    scene.call_tool(1)
    scene.save(outcome)
    assert [message["saved"] for message in scene.told("assessment")] == [False]


def test_bye_follows_the_last_acknowledgement_and_the_end_two_seconds_later(scene):
    """The app closes, or is closed."""
    scene.call_tool(1)
    scene.save()
    scene.wait(400)
    assert not scene.told("bye")
    scene.acknowledge_all()
    assert scene.told("bye")
    scene.wait(1_999)
    assert scene.state is State.PARTING
    scene.wait(1)
    assert scene.state is State.ENDED
    assert scene.disconnected() == ["a"]
    assert scene.actions[-1] == Finish()
    assert scene.conversation.next_timer_ms(scene.now_ms) is None


def test_a_phone_that_acknowledges_nothing_is_parted_with(scene):
    """After five seconds."""
    scene.call_tool(1)
    scene.save()
    scene.wait(7_100)
    assert scene.state is State.ENDED


def test_nobody_waits_for_a_phone_that_is_away(scene):
    """Its assessment is in the tables, and it is told when it comes back."""
    scene.leave()
    scene.call_tool(1)
    scene.save()
    scene.wait(1)
    assert scene.state is State.ENDED
    assert scene.of(StoreProgress)[-1].progress["state"] == "ended"


def test_a_part_without_words_or_stream_is_skipped():
    """The time limit passes while the stream is lost and nothing was said."""
    scene = Scene(go_away_s=2.0, time_limit_s=3.0).talk()
    scene.lose()
    scene.wait(5_000, talking=True)
    assert scene.conversation._ending.reason == "time_limit"
    assert scene.told("go_away")[0]["time_left_s"] == 1.0
    assert not scene.saved()


def test_the_time_limit_during_a_recovery_leaves_what_was_said_to_nova_micro():
    """There is no stream to ask, and the one that was being opened is not waited for."""
    scene = Scene(go_away_s=2.0, time_limit_s=3.0).talk()
    scene.learner()
    scene.lose()
    scene.wait(5_000, talking=True)
    assert CloseStream(2) in scene.actions
    assert scene.asked_micro() == [1]
    scene.open()
    assert scene.state is State.ASSESSING
