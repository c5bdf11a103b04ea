"""A relay that takes up a session whose talk was over, or to which nobody came back in time."""

from dataclasses import replace

import pytest

from gateway.core.conversation import State
from gateway.core.conversation.actions import OpenStream, StoreProgress
from gateway.core.conversation.examiner import Phase
from gateway.core.conversation.inputs import Admission, AdmissionSettled, PostOutcome, TookOver
from gateway.core.conversation.progress import Standing
from tests.core.conversation.lost_relay import AWAY_MS, NEXT_EPOCH, pong, speak, successor, written
from tests.core.conversation.scene import START, Scene


def ended_talk() -> Scene:
    """Part 1 is assessed; the learner has stopped in part 2, and its stream is assessing."""
    lost = Scene(assess_from_s=1.0)
    lost.begin()
    lost.part_two()
    lost.learner(to_ms=30_000.0)
    lost.stop()
    assert lost.state is State.ASSESSING
    return lost


# --- The talk was over ----------------------------------------------------------------------------------------------


def test_an_assessment_under_way_is_finished_from_the_notes():
    """Told, saved under the new epoch, with the reason that the end had."""
    scene = successor(ended_talk())
    assert scene.told()[0]["type"] == "ready"
    assert [message["state"] for message in scene.told("status")] == ["assessing"]
    assert not scene.of(OpenStream)
    pong(scene, received=0)
    scene.save()
    scene.acknowledge_all()
    scene.wait(5_500)
    [saved] = scene.saved()
    assert (saved.parts_assessed, saved.epoch) == ((1,), NEXT_EPOCH)
    assert scene.told("assessment")[0]["assessment"]["parts_assessed"] == [1]
    assert [bye["reason"] for bye in scene.told("bye")] == ["finished"]


def test_an_assessment_that_was_saved_is_told_and_not_saved_again():
    """The relay was lost before it could say so."""
    lost = ended_talk()
    lost.call_tool()
    lost.save()
    [saved] = lost.saved()
    session = replace(written(ended_talk()), reason="finished")
    scene = Scene(now_ms=lost.now_ms + AWAY_MS, epoch=NEXT_EPOCH)
    scene.tell(TookOver(session, saved))
    assert scene.told()[0]["type"] == "ready"
    assert scene.told("assessment")[0]["assessment"]["epoch"] == 7
    assert not scene.saved()


def test_a_test_whose_last_part_was_over_is_finished():
    """There is nothing left to ask."""
    session = replace(written(ended_talk()), reason=None, part=3, standing=Standing(phase=Phase.CLOSING))
    scene = Scene(now_ms=60_000.0, epoch=NEXT_EPOCH)
    scene.tell(TookOver(session))
    assert not scene.of(OpenStream)
    scene.save()
    scene.wait(100)
    assert scene.saved()[0].parts_assessed == (1,)


def test_a_relay_lost_while_it_tells_the_assessment():
    """Until `bye` the phone's next message wakes another, which tells the saved assessment, unasked."""
    lost = ended_talk()
    lost.call_tool()
    lost.save()
    assert lost.state is State.DELIVERING
    assert lost.of(StoreProgress)[-1].progress["state"] == "delivering"
    scene = successor(lost, document=lost.saved()[0])
    assert [message["type"] for message in scene.told() if "n" in message] == ["ready", "assessment"]
    pong(scene, received=0)
    speak(scene, {"type": "ack", "n": 1, "queue_ms": 0}, received=5)
    assert [bye["reason"] for bye in scene.told("bye")] == ["finished"]
    assert scene.of(StoreProgress)[-1].progress["state"] == "ended"
    assert not scene.saved()


def test_a_refused_session_leaves_no_trace():
    """The assessment of the session before can still be asked for."""
    scene = Scene()
    scene.say(START)
    scene.tell(AdmissionSettled(Admission.BUSY, 7.0))
    scene.wait(3_000)
    assert scene.state is State.ENDED
    assert not scene.of(StoreProgress)


# --- Too late -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("away_s", "talks"), [(59.9, True), (64.0, True), (66.0, False)])
def test_the_window_of_a_lost_relay_is_that_of_any(away_s, talks):
    """On its last second the conversation goes on; what may not have been written any more is in the phone's favour."""
    lost = Scene().talk()
    lost.wait(600, talking=True)
    scene = successor(lost, away_ms=away_s * 1000)
    assert bool(scene.of(OpenStream)) is talks


def test_who_comes_too_late_gets_what_was_assessed():
    """Notes become the assessment."""
    lost = Scene(assess_from_s=1.0)
    lost.begin()
    lost.part_two()
    lost.wait(600, talking=True)
    scene = successor(lost, away_ms=200_000.0)
    scene.save()
    scene.wait(100)
    assert scene.told("assessment")
    assert not scene.told("error")


def test_who_comes_too_late_for_nothing_is_told_so(lost):
    """`session_gone`, and `bye`."""
    scene = successor(lost, away_ms=200_000.0)
    scene.wait(6_000)
    assert [(error["code"], error["fatal"]) for error in scene.told("error")] == [("session_gone", True)]
    assert [bye["reason"] for bye in scene.told("bye")] == ["failed"]
    assert not scene.saved()


def test_nobody_comes(lost):
    """The phone woke the relay and was never heard again: the window passes, and what is known is saved."""
    scene = successor(lost)
    scene.open()
    scene.outcome = PostOutcome.GONE
    scene.wait(61_000)
    assert scene.state is not State.TALKING
