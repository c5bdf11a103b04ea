"""A relay that takes up the session of a lost one: Maya, the phone's numbers, the learner's speech."""

from dataclasses import replace

import pytest

from gateway.core.conversation import State
from gateway.core.conversation.actions import OpenStream, SendEvents, StoreProgress
from gateway.core.conversation.examiner import Phase
from gateway.core.conversation.inputs import PostOutcome, ShutdownAsked, TookOver
from gateway.core.conversation.progress import Standing
from tests.core.conversation.lost_relay import AWAY_MS, NEXT_EPOCH, RESUME, pong, prompt_of, speak, successor, written
from tests.core.conversation.scene import OTHER_SESSION, SESSION, START, Scene

# --- Taking up ------------------------------------------------------------------------------------------------------


def test_ready_comes_unasked_with_a_higher_epoch_and_its_own_numbers(lost):
    """On the phone's last connection, first of all, from the frame after the last one written down."""
    scene = successor(lost)
    ready = scene.told()[0]
    assert (ready["type"], ready["n"], ready["epoch"], ready["session_id"]) == ("ready", 0, NEXT_EPOCH, SESSION)
    assert ready["next_seq"] == written(lost).seq + 1 > 5
    assert [message["state"] for message in scene.told("status")] == ["reconnecting"]
    assert [message["part"] for message in scene.told("part")] == [1]
    assert {connection for _, connection, _ in scene.posts} == {"a"}


def test_maya_picks_up_at_the_part_reached(lost):
    """By a new stream, with an apology and the question that was not answered; speech since then is heard by it."""
    scene = successor(lost)
    scene.audio()
    scene.open()
    assert scene.state is State.TALKING
    assert "I am sorry, the line was lost" in prompt_of(scene)
    scene.wait(600, talking=True)
    assert scene.directions() == ["[The candidate is ready: begin the part.]"]
    assert scene.frames() == 7
    assert [message["state"] for message in scene.told("status")] == ["reconnecting", "thinking"]


def test_a_stream_that_fails_at_once_is_followed_by_one_for_the_same_part(lost):
    """Not by the beginning of the test."""
    lost.part_two()
    lost.wait(300, talking=True)
    lost.maya()
    lost.wait(600, talking=True)
    assert written(lost).standing.phase is Phase.PREPARING
    scene = successor(lost)
    scene.lose(scene.newest_stream)
    scene.wait(1)
    assert len(scene.of(OpenStream)) == 2
    assert "Part: 2\n" in prompt_of(scene)
    scene.open()
    scene.wait(1_500, talking=True)
    assert scene.directions() == ["[The preparation time is over: ask the candidate to start speaking.]"]


def test_a_second_relay_may_be_lost_before_it_has_a_stream(lost):
    """The part, its clock and the phone's place go on to a third."""
    first = written(lost)
    second = successor(lost)
    second.wait(3_000)
    then = written(second)
    assert (then.part, then.seq, then.standing.phase) == (first.part, first.seq, Phase.OPENING)
    assert then.standing.elapsed_ms == first.standing.elapsed_ms
    assert then.elapsed_ms == pytest.approx(first.elapsed_ms + (second.now_ms - 3_000 - lost.now_ms) + 0, abs=600)


def test_a_talk_is_no_longer_for_being_gone_on_with_twice():
    """What a second relay and a third leave of it is reckoned from its whole length."""
    talk = Scene().begin()
    talk.part_two()
    talk.wait(300, talking=True)
    talk.maya()
    talk.wait(1_200, talking=True)
    session = written(talk)
    lost = Scene(now_ms=talk.now_ms)
    lost.tell(
        TookOver(replace(session, standing=Standing(phase=Phase.TALKING, elapsed_ms=9_000, phase_elapsed_ms=4_000)))
    )
    lost._seq = session.seq + 1
    lost.open()
    lost.wait(3_000, talking=True)
    assert written(lost).standing.phase is Phase.TALKING
    assert written(lost).standing.phase_elapsed_ms == pytest.approx(7_000, abs=600)
    scene = successor(lost)
    examiner = scene.conversation._dialogue.examiner
    assert examiner is not None
    assert examiner.plan.speak_s == pytest.approx(3, abs=1)


def test_the_clock_of_the_part_stands_still_while_nobody_is_there(lost):
    """The time between two relays is nobody's; the time limit of the whole goes on."""
    scene = successor(lost, away_ms=20_000.0)
    scene.open()
    scene.wait(500, talking=True)
    examiner = scene.conversation._dialogue.examiner
    assert examiner is not None
    assert scene.now_ms - examiner.started_ms < 2_500
    assert scene.now_ms - scene.conversation._succession.began_ms > 21_000


def test_time_limits_are_reckoned_from_the_beginning():
    """What was announced is not announced again, and the end comes when it was to come."""
    lost = Scene(go_away_s=4.0, time_limit_s=12.0).talk()
    lost.wait(5_000, talking=True)
    assert lost.told("go_away")
    scene = successor(lost, away_ms=1_000.0, go_away_s=4.0, time_limit_s=12.0)
    scene.open()
    scene.wait(12_000 - scene.now_ms + scene.conversation._succession.began_ms - 100, talking=True)
    assert scene.state is State.TALKING
    assert not scene.told("go_away")
    scene.wait(200, talking=True)
    assert scene.state is not State.TALKING


def test_captured_time_is_no_offence_after_a_take_over(lost):
    """It counts from the beginning of the session, not of this relay."""
    lost.wait(30_000, talking=True)
    scene = successor(lost)
    scene.open()
    scene.wait(2_000, talking=True)
    assert not scene.told("error")


def test_a_part_that_this_relay_hardly_heard_is_not_assessed_by_its_stream():
    """It cannot judge what it did not hear, though the learner spoke long before."""
    lost = Scene(assess_from_s=1.0).talk()
    lost.learner(to_ms=40_000.0)
    lost.maya("Another question?")
    lost.wait(1_000, talking=True)
    scene = successor(lost)
    scene.open()
    scene.wait(300, talking=True)
    scene.stop()
    assert scene.state is State.SAVING
    [saved] = scene.saved()
    assert (saved.status, saved.parts_assessed, saved.spoken_s, saved.epoch) == ("partial", (), 40, NEXT_EPOCH)


def test_notes_of_finished_parts_are_kept():
    """They come into the assessment."""
    lost = Scene(assess_from_s=1.0)
    lost.begin()
    lost.part_two()
    lost.wait(600, talking=True)
    scene = successor(lost)
    scene.open()
    scene.stop()
    scene.tell_micro_failed(0)
    [saved] = scene.saved()
    assert saved.parts_assessed == (1,)


# --- Which numbers the phone speaks of ------------------------------------------------------------------------------


def test_numbers_of_the_lost_relay_are_not_taken_for_ones_own(lost):
    """An acknowledgement that was under way, or comes from a phone that knows nothing yet, acknowledges nothing."""
    scene = successor(lost)
    scene.ack(2)
    scene.wait(2_100)
    ready = scene.told("ready")
    assert len(ready) == 2, "sent again, for nobody has it"
    assert [message["id"] for message in scene.told("ping")][:1] == [NEXT_EPOCH]
    pong(scene, received=5_000)
    speak(scene, {"type": "ack", "n": 2, "queue_ms": 0}, received=4_990)
    scene.wait(2_100)
    assert len(scene.told("ready")) == 3
    speak(scene, {"type": "ack", "n": 2, "queue_ms": 0}, received=5_500)
    scene.wait(2_500)
    assert len(scene.told("ready")) == 3


def test_the_ping_is_repeated_until_it_is_answered(lost):
    """It has no number and may get lost."""
    scene = successor(lost)
    scene.wait(1_600)
    assert len(scene.told("ping")) == 3
    pong(scene, received=1)
    scene.wait(1_600)
    assert len(scene.told("ping")) == 3


def test_a_resume_in_the_lost_relays_numbers_gets_everything(lost):
    """The phone came back by another connection without having heard of this relay: what went the old way is sent again."""
    scene = successor(lost)
    scene.wait(100)
    speak(scene, {**RESUME, "n": 2, "seq": scene._seq}, connection="b", opened=2)
    numbers = [message["n"] for message in scene.told(connection="b") if "n" in message]
    assert set(numbers) >= {0, 1, 2}


def test_a_resume_in_ones_own_numbers_gets_the_rest(lost):
    """A phone that knows this relay is sent only what it lacks."""
    scene = successor(lost)
    pong(scene, received=1_000)
    speak(scene, {"type": "ack", "n": 1, "queue_ms": 0}, received=1_500)
    speak(scene, {**RESUME, "n": 1, "seq": scene._seq}, connection="b", opened=2, received=2_000)
    numbers = [message["n"] for message in scene.told(connection="b") if "n" in message]
    assert 1 not in numbers
    assert 2 in numbers


@pytest.mark.parametrize("message", [{"type": "ack", "n": 9, "queue_ms": 0}, {"type": "ping", "id": 1, "at": 1}])
def test_a_phone_that_came_back_unwritten_is_followed(lost, message):
    """It changed its connection just before the relay was lost: any word by a newer one shows it."""
    scene = successor(lost)
    scene.outcome = PostOutcome.DELIVERED
    speak(scene, message, connection="b", opened=2)
    assert scene.told("ready", "b")
    assert scene.told("bye", "a")[0]["reason"] == "replaced"


def test_an_older_connection_is_not_followed(lost):
    """What it said was under way."""
    lost.say({**RESUME, "n": 0, "seq": 0}, "b", 2)
    lost.wait(600, talking=True)
    scene = successor(lost)
    speak(scene, {"type": "ping", "id": 1, "at": 1}, connection="a", opened=1)
    assert {connection for _, connection, _ in scene.posts} == {"b"}


def test_a_connection_that_is_gone_is_given_up(lost):
    """Progress does not know that the phone went; the first post finds out, and what has a number waits for it."""
    session = written(lost)
    scene = Scene(now_ms=lost.now_ms + AWAY_MS, epoch=NEXT_EPOCH)
    scene.outcome = PostOutcome.GONE
    scene.tell(TookOver(session))
    assert len(scene.posts) == 1
    scene.outcome = PostOutcome.DELIVERED
    speak(scene, {**RESUME, "n": 40, "seq": session.seq + 1}, connection="b", opened=2)
    assert 0 in [message["n"] for message in scene.told(connection="b")]


# --- The learner's speech -------------------------------------------------------------------------------------------


def test_nothing_is_acknowledged_before_it_is_written_down():
    """What the phone lets go of, another relay will not wait for."""
    scene = Scene().talk()
    scene.wait(600, talking=True)
    scene.stores = False
    told = [message["seq"] for message in scene.told("ack")][-1]
    scene.wait(1_000, talking=True)
    assert scene.conversation._uplink.acknowledged > told
    assert [message["seq"] for message in scene.told("ack")][-1] == told
    scene.stores = True
    scene.wait(600, talking=True)
    assert [message["seq"] for message in scene.told("ack")][-1] == written(scene).seq > told


def test_frames_that_the_phone_holds_no_more_become_silence(lost):
    """Redis had lost the last writes: later frames keep coming and the next one does not. After five seconds it is given up."""
    scene = successor(lost)
    scene.open()
    first = scene._seq
    for seq in range(first + 3, first + 6):
        scene.audio(seq=seq, t=seq * 100.0)
    for _ in range(2):
        scene.wait(2_400)
        scene.audio(seq=first + 5, t=(first + 5) * 100.0)
    assert scene.frames() == 0
    scene.wait(200)
    scene.audio(seq=first + 6, t=(first + 6) * 100.0)
    scene.wait(600)
    assert scene.frames() == 3 + 4
    assert scene.told("ack")[-1]["seq"] == first + 6


def test_a_silence_is_never_longer_than_the_phone_could_have_been_away(lost):
    """Whatever the phone says of its capture time."""
    scene = successor(lost, replay_ms=2_000.0)
    scene.open()
    later = scene._seq + 1
    for _ in range(3):
        scene.audio(seq=later, t=9_000.0)
        scene.wait(2_500)
    assert scene.frames() == 20 + 1


def test_a_resume_says_how_far_the_buffer_goes_back(lost):
    """Then nothing is waited for, also by the connection that is known."""
    scene = successor(lost)
    scene.open()
    first = scene._seq
    speak(scene, {**RESUME, "n": 3, "seq": first + 2})
    scene.audio(seq=first + 2, t=(first + 2) * 100.0)
    assert scene.frames() == 3


def test_frames_that_come_in_time_are_not_given_up(lost):
    """One that was lost twice on the way is still waited for."""
    scene = successor(lost)
    scene.open()
    first = scene._seq
    scene.audio(seq=first + 1, t=(first + 1) * 100.0)
    scene.wait(4_500)
    scene.audio(seq=first, t=first * 100.0)
    assert scene.frames() == 2
    scene.wait(3_000)
    assert scene.frames() == 2


# --- The app was killed, too ----------------------------------------------------------------------------------------


def test_the_app_that_was_killed_comes_back_to_its_session(lost):
    """With `start` in other words about itself; it counts from `next_seq`, and is told the part."""
    scene = successor(lost)
    scene.open()
    speak(scene, {**START, "client": "the same app", "region": "us-east-1"}, connection="b", opened=2)
    assert not scene.told("error")
    [ready] = scene.told("ready", "b")
    assert ready["next_seq"] == written(lost).seq + 1
    assert [message["part"] for message in scene.told("part", "b")] == [1]


def test_a_start_that_differs_is_refused(lost):
    """As in a session of one's own."""
    scene = successor(lost)
    speak(scene, {**START, "voice": "olivia"}, connection="b", opened=2)
    assert [error["code"] for error in scene.told("error")] == ["already_started"]


def test_another_session_ends_the_one_taken_up(lost):
    """It is assessed from what is known and saved, and not taken up again."""
    scene = successor(lost)
    scene.open()
    speak(scene, {**START, "session_id": OTHER_SESSION}, connection="b", opened=2)
    assert scene.of(StoreProgress)[-1].progress["state"] == "ended"
    assert scene.state is not State.TALKING


# --- Its lease, its stream ------------------------------------------------------------------------------------------


def test_a_relay_that_lost_its_lease_again_stores_nothing(lost):
    """A third has the session."""
    scene = successor(lost)
    stored = len(scene.of(StoreProgress))
    scene.tell(ShutdownAsked(replaced=True))
    assert scene.state is State.ENDED
    assert len(scene.of(StoreProgress)) == stored
    assert not scene.told("bye")


def test_the_stream_that_is_opened_is_fed_in_order(lost):
    """Frames that came while there was no stream are played to it first."""
    scene = successor(lost)
    for _ in range(5):
        scene.audio()
    assert not scene.of(SendEvents)
    scene.open()
    assert scene.frames() == 5
