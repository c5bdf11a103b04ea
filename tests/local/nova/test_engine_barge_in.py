"""The session engine interrupted: by speech and by typed text (SERVICE.md A5, A10)."""

import pytest

from infra.local.nova.inputs import AudioReceived
from infra.local.nova.interfaces import Reply
from tests.local.nova.engine_scenes import MARKER, SERVICE, talking
from tests.local.nova.fakes import SILENCE, SPEECH, World, speech_of

# Barge-in.


def test_barge_in_gives_all_three_signals() -> None:
    """userSpeechStart first, then the interrupted audio, what was heard as FINAL text, and the marker."""
    world = talking()
    world.do(AudioReceived(SPEECH))
    story = world.story()
    assert story[:4] == ["userSpeechStart", "CUT", "AUDIO ends INTERRUPTED", "ASSISTANT FINAL"]
    assert story[-3:] == ["ASSISTANT FINAL", MARKER, "TEXT ends INTERRUPTED"]
    heard = story[4].split()
    assert heard == [f"word{n}" for n in range(len(heard))]
    assert 0 < len(heard) < 30
    world.log.clear()
    world.hear(SPEECH, 30)
    assert world.said() == b""
    assert world.the_mind.interruptions == [1]


@pytest.mark.parametrize(
    ("switch", "gone", "left"),
    [
        ({"user_speech_events": False}, "userSpeechStart", "AUDIO ends INTERRUPTED"),
        ({"interrupted_marker": False}, MARKER, "AUDIO ends INTERRUPTED"),
        ({"interrupted_audio": False}, "AUDIO ends INTERRUPTED", "AUDIO ends PARTIAL_TURN"),
    ],
)
def test_each_signal_of_barge_in_has_a_switch(switch: dict[str, bool], gone: str, left: str) -> None:
    """Any of the signals can be missing, and speech stops all the same."""
    world = talking(**switch)
    world.do(AudioReceived(SPEECH))
    world.hear(SPEECH, 10)
    assert gone not in world.story()
    assert left in world.story()
    assert world.said() == b""


def test_barge_in_after_all_audio_has_left() -> None:
    """Until it is played, speech can be interrupted: the marker comes although the audio ended in END_TURN."""
    world = World(settings=SERVICE)
    world.talent.replies.append(Reply((" ".join(["word"] * 30),)))
    world.utter("hello")
    world.hear(SILENCE, 24)
    assert world.story()[-1] == "AUDIO ends END_TURN"
    world.log.clear()
    world.hear(SPEECH)
    story = world.story()
    assert "AUDIO ends INTERRUPTED" not in story
    assert story[-3:] == ["ASSISTANT FINAL", MARKER, "TEXT ends INTERRUPTED"]
    assert 0 < story[3].count("word") < 30


def test_speech_after_playback_is_no_barge_in() -> None:
    """Once everything has been played, the next utterance only brings the late FINAL text."""
    world = World(settings=SERVICE)
    world.utter("hello")
    world.hear(SILENCE, 16)
    world.log.clear()
    world.hear(SPEECH)
    assert world.story() == ["userSpeechStart", "ASSISTANT FINAL", "You said hello."]
    assert world.the_mind.interruptions == []


def test_the_interrupted_turn_is_followed_by_the_next() -> None:
    """What the learner said over Maya is answered."""
    world = talking()
    world.do(AudioReceived(SPEECH))
    world.talent.words += ["stop"]
    world.hear(SILENCE, 40)
    assert world.said() == speech_of("You said stop.")


def test_a_learner_who_goes_on_is_answered_once() -> None:
    """Speech that resumes before the answer is decided belongs to the same turn."""
    world = World(settings=SERVICE)
    world.utter("I think")
    world.hear(SILENCE, 3)
    world.utter("it is good")
    world.hear(SILENCE, 40)
    assert world.the_mind.asked == [("speech", "I think it is good")]
    assert [line for line in world.story() if line in {"I think", "it is good"}] == ["I think", "it is good"]


def test_an_answer_decided_but_not_begun_is_dropped_unseen() -> None:
    """Between the decision and the first text the learner can still take the floor without any marker."""
    world = World(settings=SERVICE)
    world.utter("hello")
    world.hear(SILENCE, 7)
    assert world.the_mind.asked == [("speech", "hello")]
    world.hear(SPEECH)
    assert MARKER not in world.story()
    assert "ASSISTANT SPECULATIVE" not in world.story()
    assert world.the_mind.interruptions == [0]


# Interactive text.


def test_typed_text_is_answered() -> None:
    """An interactive text needs no speech, only 68 ms of audio before anything is generated."""
    world = World()
    world.type("begin")
    world.advance(5000)
    assert world.story() == []
    world.hear(SILENCE)
    assert world.story()[:3] == ["completionStart", "ASSISTANT SPECULATIVE", "You said begin."]
    assert world.the_mind.asked == [("text", "begin")]


def test_typed_text_is_answered_in_the_services_time() -> None:
    """The first audio follows the text by 920 ms."""
    world = World(settings=SERVICE)
    world.hear(SILENCE)
    world.type("begin")
    world.hear(SILENCE, 20)
    assert world.times()["ASSISTANT SPECULATIVE"] == 100 + 790
    assert world.times()["audio"] == 100 + 920


def test_typed_text_interrupts() -> None:
    """Text while Maya speaks brings the marker and then its own answer."""
    world = talking()
    world.type("stop")
    assert world.story()[:2] == ["CUT", "AUDIO ends INTERRUPTED"]
    assert MARKER in world.story()
    world.hear(SILENCE, 40)
    assert world.said() == speech_of("You said stop.")


def test_typed_text_while_final_texts_are_due_brings_the_marker() -> None:
    """Trailing content counts as speaking."""
    world = World(settings=SERVICE)
    world.utter("hello")
    world.hear(SILENCE, 16)
    world.log.clear()
    world.type("next")
    assert world.story() == [
        "CUT",
        "ASSISTANT FINAL",
        "You said hello.",
        "ASSISTANT FINAL",
        MARKER,
        "TEXT ends INTERRUPTED",
    ]


def test_text_during_the_learners_speech_is_answered_at_once() -> None:
    """Time is up: the answer does not wait, the speech it overtook is told, not answered, and not lost for the mind."""
    world = World(settings=SERVICE)
    world.hear(SPEECH, 10)
    world.type("time is up")
    world.hear(SPEECH, 5)
    world.hear(SILENCE, 40)
    assert world.the_mind.asked == [("text", "time is up")]
    assert "utterance 1" in world.story()
    world.talent.words.append("long talk")
    world.utter("yes")
    world.hear(SILENCE, 40)
    assert world.the_mind.asked[-1][1].endswith("yes")


def test_a_learner_who_talks_on_after_a_text_gets_an_answer() -> None:
    """Speech that ends long after the text is a turn of its own."""
    world = World(settings=SERVICE)
    world.hear(SPEECH, 10)
    world.type("time is up")
    world.hear(SPEECH, 30)
    world.hear(SILENCE, 40)
    assert world.the_mind.asked == [("text", "time is up"), ("speech", "utterance 1")]
