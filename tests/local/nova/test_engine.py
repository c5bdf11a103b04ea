"""The session engine in virtual time: a turn in its order and its time, history, texts, usage (SERVICE.md A3, A5, A7, A10)."""

import dataclasses
from itertools import pairwise

import pytest

from infra.local.nova.actions import Emit, EmitAudio
from infra.local.nova.inputs import AudioOpened, PromptStarted, SessionStarted, SystemGiven, TextGiven
from infra.local.nova.interfaces import HistoryMessage, Reply
from tests.local.nova.engine_scenes import COUNT, SERVICE, STEADY
from tests.local.nova.fakes import RATE, SILENCE, SPEECH, World, speech_of, with_settings


def test_a_turn_in_the_services_order() -> None:
    """Signals, texts and audio of a turn come in the recorded order, and completionStart comes once."""
    world = World()
    world.utter("hello")
    assert world.story() == [
        "userSpeechStart",
        "completionStart",
        "userSpeechEnd",
        "USER FINAL",
        "hello",
        "ASSISTANT SPECULATIVE",
        "You said hello.",
        "audio",
        "AUDIO ends END_TURN",
        "ASSISTANT FINAL",
        "You said hello.",
    ]
    world.utter("again")
    assert world.story().count("completionStart") == 1
    assert world.said() == speech_of("You said hello.") + speech_of("You said again.")


def test_a_turn_takes_the_services_time() -> None:
    """Each step of a turn is as far from the end of speech as SERVICE.md A10 says."""
    world = World(settings=SERVICE)
    world.utter("hello", frames=3)
    world.hear(SILENCE, 100)
    times = world.times()
    ended_ms = 300 + 450
    assert times["userSpeechEnd"] == ended_ms
    assert times["USER FINAL"] == ended_ms + 150
    assert times["ASSISTANT SPECULATIVE"] == ended_ms + 620
    assert times["audio"] == ended_ms + 750
    assert 3000 <= times["ASSISTANT FINAL"] - times["AUDIO ends END_TURN"] <= 9000
    assert world.bodies("userSpeechEnd")[0]["inputAudioOffsetMs"] == 300
    assert world.bodies("userSpeechEnd")[0]["inputAudioDetectionOffsetMs"] == 400


def test_audio_leaves_faster_than_it_plays_in_pieces_of_80_ms() -> None:
    """1.2 s of speech leave in 15 pieces, one every 32 ms at two and a half times real time."""
    world = World(settings=SERVICE)
    world.talent.replies.append(Reply(("one two three four five six seven eight nine ten eleven twelve",)))
    world.utter("hello")
    world.hear(SILENCE, 30)
    pieces = [(at, action) for at, action in world.log if isinstance(action, EmitAudio)]
    assert [len(action.pcm) for _, action in pieces] == [3840] * 15
    gaps = {round(later - earlier, 6) for (earlier, _), (later, _) in pairwise(pieces)}
    assert gaps == {32}


def test_pauses_between_pieces() -> None:
    """Now and then a piece is 200 to 400 ms late, as in the field."""
    world = World(settings=with_settings(timing=dataclasses.replace(STEADY, gap_probability=0.5)))
    world.talent.replies.append(Reply((" ".join(["word"] * 40),)))
    world.utter("hello")
    world.hear(SILENCE, 300)
    times = [at for at, action in world.log if isinstance(action, EmitAudio)]
    gaps = [later - earlier for earlier, later in pairwise(times)]
    late = [gap for gap in gaps if gap > 33]
    assert 0 < len(late) < len(gaps)
    assert all(232 <= gap <= 432 + 1e-6 for gap in late)


def test_a_long_answer_comes_sentence_by_sentence() -> None:
    """Each sentence has its own text and audio, and only the last audio ends the turn."""
    world = World()
    world.talent.replies.append(Reply(("One.", "Two.")))
    world.utter("hello")
    story = world.story()
    assert story[story.index("ASSISTANT SPECULATIVE") :] == [
        "ASSISTANT SPECULATIVE",
        "One.",
        "audio",
        "AUDIO ends PARTIAL_TURN",
        "ASSISTANT SPECULATIVE",
        "Two.",
        "ASSISTANT FINAL",
        "One.",
        "audio",
        "AUDIO ends END_TURN",
        "ASSISTANT FINAL",
        "Two.",
    ]


def test_nothing_is_said_while_the_voice_is_not_ready() -> None:
    """A slow transcript or voice delays the answer and loses nothing."""
    world = World(talkative=False)
    world.utter("hello")
    world.hear(SILENCE, 10)
    assert "USER FINAL" not in world.story()
    world.deliver()
    assert world.story()[-2:] == ["ASSISTANT SPECULATIVE", "You said hello."]
    world.hear(SILENCE, 10)
    world.deliver()
    assert world.said() == speech_of("You said hello.")


def test_speech_that_was_not_understood_is_put_to_the_mind() -> None:
    """An empty transcript is no text for the client, and the mind decides what to say."""
    world = World()
    world.utter("")
    assert "USER FINAL" not in world.story()
    assert world.the_mind.asked == [("speech", "")]


def test_a_silent_mind_leaves_the_floor_open() -> None:
    """No reply is no error; the next utterance is answered."""
    world = World()
    world.talent.replies.append(Reply())
    world.utter("hello")
    assert world.said() == b""
    world.utter("hello?")
    assert world.said() == speech_of("You said hello?.")


# History.


def test_history_reaches_the_mind() -> None:
    """Seeded messages are the mind's past; an interactive one at their end is a question."""
    world = World(live=False)
    for event in (
        SessionStarted("LOW"),
        PromptStarted("p", "amy", 24000, (COUNT,)),
        SystemGiven("Be kind."),
        TextGiven("USER", "Hello", interactive=True),
        TextGiven("ASSISTANT", "Hi", interactive=False),
        TextGiven("USER", "Go on", interactive=True),
        AudioOpened(RATE),
    ):
        world.do(event)
    assert world.talent.endpointing == ["LOW"]
    assert world.the_mind.system_prompt == "Be kind."
    assert world.the_mind.tools == (COUNT,)
    assert list(world.the_mind.history) == [HistoryMessage("USER", "Hello"), HistoryMessage("ASSISTANT", "Hi")]
    world.hear(SILENCE)
    assert world.the_mind.asked == [("text", "Go on")]


def test_seeded_history_is_not_answered() -> None:
    """History alone makes nobody speak."""
    world = World(live=False)
    for event in (
        SessionStarted("HIGH"),
        PromptStarted("p", "amy", 24000, ()),
        TextGiven("USER", "Hello", interactive=False),
        AudioOpened(RATE),
    ):
        world.do(event)
    world.hear(SILENCE, 50)
    assert world.story() == []


def test_assistant_text_in_the_conversation_is_ignored() -> None:
    """It is accepted and changes nothing."""
    world = World()
    world.do(TextGiven("ASSISTANT", "I am Maya", interactive=False))
    world.hear(SILENCE, 20)
    assert world.story() == []


# FINAL texts.


@pytest.mark.parametrize(("setting", "times"), [("never", 0), ("once", 1), ("twice", 2)])
def test_final_texts_can_be_missing_or_doubled(setting: str, times: int) -> None:
    """The same text comes as often as ordered, in blocks of different ids."""
    world = World(settings=with_settings(final_text=setting))
    world.utter("hello")
    assert world.story().count("ASSISTANT FINAL") == times
    ids = [body["contentId"] for body in world.bodies("contentStart")]
    assert len(set(ids)) == len(ids)


def test_texts_wait_for_the_end_of_an_audio_block() -> None:
    """Blocks never overlap: a FINAL text that is due while audio leaves comes after it."""
    world = World(settings=SERVICE)
    world.talent.replies.append(Reply(("Yes.", "word " * 300)))
    world.utter("hello")
    world.advance(30_000)
    story = world.story()
    assert story[story.index("AUDIO ends PARTIAL_TURN") + 3 :][:4] == [
        "audio",
        "AUDIO ends END_TURN",
        "ASSISTANT FINAL",
        "Yes.",
    ]


def test_final_texts_can_be_later_still() -> None:
    """An added delay holds them back until the next input."""
    world = World(settings=with_settings(final_extra_ms=60_000))
    world.utter("hello")
    world.hear(SILENCE, 100)
    assert "ASSISTANT FINAL" not in world.story()
    world.hear(SPEECH)
    assert "ASSISTANT FINAL" in world.story()


# Usage.


def test_usage_is_cumulative() -> None:
    """Totals of a session grow; all usage events share the completion's id."""
    world = World()
    world.utter("hello")
    world.utter("again")
    usage = world.bodies("usageEvent")
    totals = [body["totalTokens"] for body in usage]
    assert totals == sorted(totals)
    assert totals[-1] > 0
    deltas = [
        body["details"]["delta"][side][kind]
        for body in usage
        for side in ("input", "output")
        for kind in ("speechTokens", "textTokens")
    ]
    assert sum(deltas) == totals[-1]
    assert len({body["completionId"] for body in usage}) == 1


# Limits and the end.


def test_events_carry_the_sessions_ids() -> None:
    """Every output names prompt and session, and all but the first userSpeechStart the completion."""
    world = World()
    world.utter("hello")
    outputs = [action for action in world.emitted() if isinstance(action, Emit | EmitAudio)]
    assert {action.body["promptName"] for action in outputs} == {"p"}
    assert len({action.body["sessionId"] for action in outputs}) == 1
    assert "completionId" not in outputs[0].body
    assert len({action.body["completionId"] for action in outputs[1:]}) == 1
