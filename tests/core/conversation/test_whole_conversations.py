"""Whole conversations in virtual time: the phone's core, the gateway's core, Nova Sonic's engine, and a bad line."""

import itertools
from dataclasses import replace

import pytest

from gateway.core.assessment import Basis
from gateway.core.conversation import State
from gateway.core.conversation.inputs import Admission, AdmissionSettled, SaveOutcome
from gateway.core.messages import AssessmentMessage, Bye, Error, GoAway, Interrupted, Part, Status, Transcript
from gateway.core.nova_events import Fault
from infra.local.nova.settings import Settings
from tests.world.checks import check_heard, check_played, check_transcript, said_by_learner, spoken
from tests.world.network import STEADY, WILD
from tests.world.world import World, tiny


def test_the_same_seed_is_the_same_conversation():
    """A failing seed replays."""
    first, second = World(7, line=WILD, barge_in=0.3).run(), World(7, line=WILD, barge_in=0.3).run()
    assert first.shown == second.shown
    assert first.shown_at_ms == second.shown_at_ms


def test_three_parts_on_three_streams():
    """Each part has its own stream, which alone assesses what it heard; all are closed in order."""
    world = World(1).run()
    assert sorted(world.nova.sessions) == [1, 2, 3]
    for number, session in world.nova.sessions.items():
        assert f"Part: {number}\n" in session.engine.system_prompt
        assert session.names[-3:] == ["contentEnd", "promptEnd", "sessionEnd"]
        assert session.over
    assert world.nova.sessions[1].engine.history == []
    assert world.nova.sessions[3].engine.history[0].role == "USER"
    assert world.micro_parts == [0]
    assert all(note.basis is Basis.HEARD for part in world.assessment.parts for _, note in part.criteria.present())
    assert world.over.bye == "finished"


def test_no_silence_longer_than_a_natural_pause_at_a_change_of_part():
    """From the end of the closing line in the learner's ear to Maya's next word it takes less than a second and a half."""
    world = World(1).run()
    turns = list(world.phone.speaker.turns.values())
    parts = {part.part: at for part, at in zip(world.shown, world.shown_at_ms, strict=True) if isinstance(part, Part)}
    for part in (2, 3):
        after = next(index for index, turn in enumerate(turns) if turn.first_piece_ms >= parts[part])
        silence_ms = turns[after].first_sound_ms - turns[after - 1].last_sound_ms
        assert silence_ms < 1_500, (part, silence_ms)


def test_barge_in_stops_the_sound_within_a_frame_of_the_signal():
    """The phone falls silent at `interrupted`, or never began; what follows of the turn is neither sent nor played."""
    world = World(11, barge_in=1.0).run()
    cut = world.messages(Interrupted)
    assert cut
    for message, at_ms in zip(world.shown, world.shown_at_ms, strict=True):
        if isinstance(message, Interrupted):
            turn = world.phone.speaker.turns[1_000, message.turn]
            assert turn.cut
            assert (turn.last_sound_ms or 0.0) <= at_ms + world.frame_ms
            heard = world.phone.speaker.recording.get((1_000, message.turn), b"")
            whole = next(said for said in world.nova.turns() if said.startswith(bytes(heard)))
            finals = [
                m.text for m in world.messages(Transcript) if m.final and m.turn == message.turn and m.who == "maya"
            ]
            planned = [m.text for m in world.messages(Transcript) if not m.final and m.turn == message.turn]
            assert len(finals) <= 1
            if finals and len(heard) < len(whole):
                assert planned[-1].startswith(finals[0]) or len(finals[0]) < len(planned[-1])
    check_played(world)


@pytest.mark.parametrize(
    "signs",
    [
        {"interrupted_marker": False, "interrupted_audio": False},
        {"user_speech_events": False},
        {"user_speech_events": False, "interrupted_audio": False},
        {"user_speech_events": False, "interrupted_marker": False},
    ],
    ids=["speech start only", "marker and stop reason", "marker only", "stop reason only"],
)
def test_any_sign_of_barge_in_serves(signs):
    """Whichever way the model tells of it, what was cut is cut and nothing else.

    A learner who speaks over Maya may do so when she has finished, so several are listened to until one was too early.
    """
    nova = Settings()
    nova = replace(nova, behaviour=replace(nova.behaviour, **signs))
    interrupted = 0
    for seed in range(16):
        world = World(seed, barge_in=1.0, nova_settings=nova).run()
        check_heard(world)
        check_played(world)
        assert world.assessment.status == "complete"
        interrupted += len(world.messages(Interrupted))
        if seed >= 3 and interrupted:
            return
    pytest.fail("nobody was interrupted")


@pytest.mark.parametrize("final_text", ["once", "twice", "never"])
def test_final_texts_may_come_once_twice_or_never(final_text):
    """The transcript is the same."""
    nova = Settings()
    nova = replace(nova, behaviour=replace(nova.behaviour, final_text=final_text))
    world = World(3, nova_settings=nova).run()
    texts = [said.text for said in world.conversation.transcript.utterances if said.who == "maya"]
    assert len(texts) == len(set(texts))
    assert texts[0].startswith("Good day.")
    assert texts[-1].endswith("That is the end of the speaking test.")


def test_a_bad_tool_call_is_corrected_by_the_stream_itself():
    """The tool's answer names the fields, and the second call is right."""
    nova = Settings()
    nova = replace(nova, behaviour=replace(nova.behaviour, bad_tool_calls=1))
    world = World(4, nova_settings=nova).run()
    corrected = [record.event for record in world.records].count("assessment_corrected")
    assert corrected == 3
    assert world.assessment.status == "complete"
    assert world.micro_parts == [0]


def test_two_bad_tool_calls_leave_the_part_to_nova_micro():
    """Assessed from the transcript, without pronunciation."""
    nova = Settings()
    nova = replace(nova, behaviour=replace(nova.behaviour, bad_tool_calls=2))
    world = World(4, nova_settings=nova).run()
    assert world.micro_parts == [1, 2, 3, 0]
    assert all(part.criteria.pronunciation is None for part in world.assessment.parts)
    assert world.assessment.criteria.pronunciation is None


def test_a_stream_that_never_calls_the_tool_is_given_up():
    """Nova Micro assesses instead, in time."""
    nova = Settings()
    nova = replace(nova, behaviour=replace(nova.behaviour, tools_called=False))
    world = World(5, nova_settings=nova).run()
    assert world.micro_parts == [1, 2, 3, 0]
    assert world.assessment.status == "complete"


def test_a_phone_that_just_leaves_is_assessed_by_nova_micro():
    """The resume window passes, then what was said is assessed and saved; nobody is told."""
    world = World(6)
    world.start()
    assert world.go_on(
        until_s=60,
        done=lambda: (
            world.dialogue_part == 2 and said_by_learner(world) == spoken(world) != "" and len(world.learner.said) == 2
        ),
    )
    world.network.cut_off = True
    assert world.go_on(until_s=300, done=lambda: world.finished)
    [saved] = world.saves
    assert saved.status == "partial"
    assert saved.parts[-1].criteria.fluency_coherence.basis is Basis.TRANSCRIPT
    assert [part.part for part in saved.parts] == [1, 2]
    assert world.ended


@pytest.mark.parametrize(("outcome", "saved"), [(SaveOutcome.SAVED, True), (SaveOutcome.QUEUED, False)])
def test_the_phone_is_told_whether_its_assessment_is_saved(outcome, saved):
    """`saved` is false while it waits in the queue."""
    world = World(8, save_outcome=outcome).run()
    assert [message.saved for message in world.messages(AssessmentMessage)] == [saved]


def test_without_nova_micro_the_parts_own_notes_are_the_assessment():
    """The summary is put together from them."""
    world = World(9, micro_fails=True).run()
    assert world.assessment.status == "complete"
    assert world.assessment.summary


def test_without_nova_micro_and_without_tool_calls_there_is_still_an_assessment():
    """It says that the test took place and has no bands."""
    nova = Settings()
    nova = replace(nova, behaviour=replace(nova.behaviour, tools_called=False))
    world = World(9, micro_fails=True, nova_settings=nova).run()
    assert world.assessment.status == "partial"
    assert world.assessment.overall is None


@pytest.mark.parametrize(
    ("admission", "code"),
    [
        (AdmissionSettled(Admission.LOCKED), "module_locked"),
        (AdmissionSettled(Admission.BUSY, 7.5), "busy"),
        (AdmissionSettled(Admission.UNKNOWN), "internal"),
    ],
)
def test_a_learner_who_cannot_begin_is_told_why(admission, code):
    """An error by its code, a farewell, no stream, nothing saved."""
    world = World(1, line=STEADY, admission=admission)
    world.start()
    assert world.go_on(until_s=30, done=lambda: world.finished and world.over is not None)
    [error] = world.messages(Error)
    assert (error.code, error.fatal) == (code, True)
    assert error.retry_after_s == admission.retry_after_s
    assert [bye.reason for bye in world.messages(Bye)] == ["failed"]
    assert not world.nova.sessions
    assert not world.saves


def test_maya_who_cannot_be_reached_is_said_to_be_unavailable():
    """After the first try and all retries; nothing was said, so nothing is assessed."""
    world = World(1, line=STEADY)
    world.nova.refuse = [Fault.OVERLOADED] * 20
    world.start()
    assert world.go_on(until_s=60, done=lambda: world.finished and world.over is not None)
    assert [error.code for error in world.messages(Error)] == ["model_unavailable"]
    assert len(world.nova.refuse) == 20 - 1 - world.settings.retries
    assert not world.saves


def test_maya_who_stays_down_in_mid_test_leaves_an_assessment():
    """What was said until then is assessed, then the error and the farewell."""
    world = World(10, line=STEADY)
    world.start()
    assert world.go_on(until_s=60, done=lambda: world.dialogue_part == 2)
    world.nova.refuse = [Fault.OVERLOADED] * 20
    for number in list(world.nova.sessions):
        world.nova.lose(number)
    assert world.go_on(until_s=200, done=lambda: world.finished and world.over is not None)
    assert "model_unavailable" in [error.code for error in world.messages(Error)]
    assert world.assessment == world.saves[0]
    assert any(status.state == "reconnecting" for status in world.messages(Status))


@pytest.mark.parametrize("fault", list(Fault))
def test_a_lost_stream_is_followed_by_another(fault):
    """Whatever lost it, since Maya has spoken: the test goes on, nothing said is lost, nothing is in the transcript twice."""
    world = World(12)
    world.start()
    assert world.go_on(until_s=60, done=lambda: world.dialogue_part == 2 and world.phone.status.state == "listening")
    [current] = [number for number, session in world.nova.sessions.items() if number == 2]
    world.nova.lose(current, fault)
    assert world.go_on(until_s=300, done=lambda: world.finished and world.over is not None)
    assert world.assessment.status == "complete"
    assert [part.part for part in world.messages(Part)] == [1, 2, 3]
    assert said_by_learner(world) == spoken(world)


def test_stop_ends_the_test_after_the_last_frame():
    """What was said up to `stop` is assessed by the stream that heard it."""
    world = World(13)
    world.start()
    assert world.go_on(until_s=60, done=lambda: len(world.learner.said) == 1 and world.phone.status.state == "thinking")
    world.stop()
    assert world.go_on(until_s=100, done=lambda: world.finished and world.over is not None)
    assert world.assessment.status == "partial"
    assert world.over.bye == "finished"
    check_heard(world)


def test_the_time_limit_is_announced_and_kept():
    """`go_away`, then the assessment, whatever part is reached."""
    world = World(14, settings=tiny(go_away_s=8.0, time_limit_s=12.0))
    world.run()
    assert [message.time_left_s for message in world.messages(GoAway)] == [4.0]
    assert world.over.bye == "time_limit"
    assert world.assessment.status == "partial"


def test_an_ageing_stream_is_renewed_in_a_pause_unheard():
    """The learner notices nothing: no word is lost or said twice, and what Maya hears goes on without a gap."""
    world = World(15, settings=tiny(renew_s=4.0)).run()
    assert len(world.nova.sessions) > 3
    check_heard(world)
    check_played(world)
    check_transcript(world)
    assert world.assessment.status == "complete"


def test_a_dropped_phone_comes_back_and_nothing_is_lost():
    """Frames are sent again, Maya's speech too; both are heard once."""
    world = World(16)
    world.start()
    for part in (1, 2, 3):
        assert world.go_on(
            until_s=100, done=lambda part=part: world.dialogue_part == part and world.phone.status.state == "speaking"
        )
        world.drop()
    assert world.go_on(until_s=300, done=lambda: world.finished and world.over is not None)
    check_heard(world)
    check_played(world)
    assert world.phone.figures.reconnects == 3
    assert world.assessment.status == "complete"


def test_a_slow_line_gets_fewer_and_larger_messages():
    """Posts that take long carry more speech each, never more than a quarter of a second."""
    quick = World(17).run()
    slow = World(17, post_ms=(180.0, 220.0)).run()
    assert slow.audio_posts < quick.audio_posts
    check_played(slow)


def test_memory_holds_no_sound_that_was_understood():
    """What has its final transcript is let go while the talk goes on (I6)."""
    world = World(18)
    world.start()
    most_ms = 0.0
    while not world.go_on(until_s=world.clock.now_ms / 1000 + 1, done=lambda: world.finished):
        most_ms = max(most_ms, world.kept_ms)
    assert 0 < most_ms < 15_000
    assert len(world.captured) / 32 > 30_000


def test_states_are_passed_in_their_order():
    """From the first word to the end without a step back."""
    world = World(19)
    seen = [world.conversation.state]
    world.before_input.append(lambda _event: seen.append(world.conversation.state))
    world.run()
    order = [state for state, _ in itertools.groupby(seen)]
    assert order == [state for state in State if state in order]


def test_a_phone_that_missed_its_assessment_comes_back_for_it():
    """It is told again by another relay, after `ready`, with a farewell; the test is not held again."""
    first = World(20).run()
    world = World(20, ended_session=first.saves[0])
    world.start()
    assert world.go_on(until_s=60, done=lambda: world.finished and world.over is not None)
    assert world.assessment == first.saves[0]
    assert [bye.reason for bye in world.messages(Bye)] == ["finished"]
    assert not world.nova.sessions
    assert not world.saves
