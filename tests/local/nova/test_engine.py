"""The session engine in virtual time: turns, barge-in, tools, limits, the end (SERVICE.md A3 to A8, A10)."""

import dataclasses
import json
from itertools import pairwise
from typing import Any

import pytest

from infra.local.nova.actions import Emit, EmitAudio, ExpectToolResult, Fail, Finish
from infra.local.nova.inputs import (
    AudioClosed,
    AudioOpened,
    AudioReceived,
    PromptEnded,
    PromptStarted,
    SessionEnded,
    SessionStarted,
    SystemGiven,
    TextGiven,
)
from infra.local.nova.interfaces import HistoryMessage, Reply, ToolCall, ToolSpec
from infra.local.nova.service_errors import ServiceError
from infra.local.nova.settings import PROFILES, SERVICE_TIMING, Limits, Settings
from tests.local.nova.fakes import FRAME_MS, RATE, SILENCE, SPEECH, World, speech_of, with_settings

MARKER = '{ "interrupted" : true }'
COUNT = ToolSpec("count", "counts", {"type": "object"})
STEADY = dataclasses.replace(SERVICE_TIMING, speed_min=2.5, speed_max=2.5, gap_probability=0)
SERVICE = Settings(timing=STEADY)


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


# Barge-in.


def _talking(**behaviour: Any) -> World:
    """A world in which Maya has begun a long answer."""
    world = World(settings=with_settings(timing=STEADY, **behaviour))
    world.talent.replies.append(Reply((" ".join(f"word{n}" for n in range(30)), "Last.")))
    world.utter("hello")
    world.hear(SILENCE, 14)
    assert world.said()
    world.advance(FRAME_MS)
    world.log.clear()
    return world


def test_barge_in_gives_all_three_signals() -> None:
    """userSpeechStart first, then the interrupted audio, what was heard as FINAL text, and the marker."""
    world = _talking()
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
    world = _talking(**switch)
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
    world = _talking()
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
    world = _talking()
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


# Tools.


def _call(world: World) -> None:
    world.talent.replies.append(Reply(("Let me see.",), (ToolCall("t1", "count", {"n": 2}),)))
    world.utter("count")


def test_a_tool_call_waits_for_its_result() -> None:
    """Maya is silent until the result is there; the words she had in mind come before what follows from it."""
    world = World(tools=(COUNT,))
    _call(world)
    assert 'call count {"n": 2}' in world.story()
    assert "TOOL ends TOOL_USE" in world.story()
    assert [action for _, action in world.log if isinstance(action, ExpectToolResult)] == [ExpectToolResult("t1")]
    world.hear(SILENCE, 100)
    assert world.said() == b""
    world.result("t1", {"total": 3})
    assert world.the_mind.results == [("t1", {"total": 3})]
    assert world.said() == speech_of("Let me see.") + speech_of("You said result of t1.")


def test_the_services_time_with_tools() -> None:
    """The call comes 290 ms after the end of speech, the first audio 525 ms after the result."""
    world = World(settings=SERVICE, tools=(COUNT,))
    _call(world)
    world.hear(SILENCE, 10)
    assert world.times()['call count {"n": 2}'] == 500 + 450 + 290
    at_ms = world.now_ms - 1_000_000
    world.result("t1", {})
    world.hear(SILENCE, 10)
    assert world.times()["audio"] == at_ms + 525


def test_two_calls_are_both_awaited() -> None:
    """With two calls, Maya speaks after the second result."""
    world = World(tools=(COUNT,))
    calls = (ToolCall("t1", "count", {"n": 1}), ToolCall("t2", "count", {"n": 2}))
    world.talent.replies += [Reply((), calls), Reply(("One.",)), Reply(("Two.",))]
    world.utter("count")
    world.result("t1", {})
    assert world.said() == b""
    world.result("t2", {})
    assert world.said() == speech_of("One.") + speech_of("Two.")


def test_a_result_while_maya_speaks_waits() -> None:
    """A late result never cuts a sentence."""
    world = _talking()
    world.result("t9", {})
    assert world.story() == []
    world.hear(SILENCE, 60)
    assert world.said().endswith(speech_of("You said result of t9."))
    assert MARKER not in world.story()


@pytest.mark.parametrize(
    ("behaviour", "expected"),
    [
        ({"double_encoded_tool": True}, json.dumps('{"n": 2}')),
        ({"bad_tool_calls": 1}, '{"unexpected": true}'),
    ],
)
def test_bad_arguments(behaviour: dict[str, Any], expected: str) -> None:
    """Arguments can be encoded twice, or wrong the first time."""
    world = World(settings=with_settings(**behaviour), tools=(COUNT,))
    _call(world)
    assert [body["content"] for body in world.bodies("toolUse")] == [expected]


def test_arguments_are_bad_only_as_often_as_ordered() -> None:
    """The second call is right again."""
    world = World(settings=with_settings(bad_tool_calls=1), tools=(COUNT,))
    world.talent.replies += [Reply((), (ToolCall(f"t{n}", "count", {"n": n}),)) for n in (1, 2)]
    world.utter("count")
    world.result("t1", {"error": "no"})
    assert [body["content"] for body in world.bodies("toolUse")] == ['{"unexpected": true}', '{"n": 2}']


def test_a_tool_that_is_never_called() -> None:
    """Calls can be swallowed; what else the mind says is said."""
    world = World(settings=with_settings(tools_called=False), tools=(COUNT,))
    _call(world)
    assert world.bodies("toolUse") == []
    assert world.said() == speech_of("Let me see.")


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


def _failure(world: World) -> tuple[float, ServiceError]:
    return next((at - 1_000_000, action.error) for at, action in world.log if isinstance(action, Fail))


def test_a_stream_lives_for_eight_minutes() -> None:
    """Then it dies with a modelTimeoutException, whatever goes on."""
    world = World()
    world.hear(SILENCE, 4801)
    at_ms, error = _failure(world)
    assert (at_ms, error.exception_type) == (480_000, "modelTimeoutException")
    assert error.message == "Model has timed out in processing the request. Try your request again."
    assert world.engine.next_timer_ms() is None


@pytest.mark.parametrize(
    ("model", "heard", "limit_s"),
    [
        ("amazon.nova-2-sonic-v1:0", False, 55),
        ("amazon.nova-2-sonic-v1:0", True, 295),
        ("amazon.nova-2-5-sonic", True, 55),
    ],
)
def test_idle_limits(model: str, heard: bool, limit_s: int) -> None:
    """Without audio the session ends after 55 s, or 295 s once Nova 2 has heard some; the text names the limit."""
    world = World(profile=PROFILES[model])
    if heard:
        world.do(AudioReceived(SILENCE))
    world.advance(limit_s * 1000 - 1)
    assert not [action for _, action in world.log if isinstance(action, Fail)]
    world.advance(1)
    at_ms, error = _failure(world)
    assert at_ms == limit_s * 1000
    assert error.message == (
        "Timed out waiting for audio bytes or interactive content. Please ensure gaps between audio bytes and "
        f"interactive content are less than {limit_s} seconds"
    )


def test_typed_text_is_activity() -> None:
    """Interactive content puts the idle limit off."""
    world = World()
    world.advance(50_000)
    world.type("begin")
    world.advance(50_000)
    assert not [action for _, action in world.log if isinstance(action, Fail)]


def test_whether_silence_counts_is_a_switch() -> None:
    """Streamed digital silence keeps a session alive, unless it is told not to."""
    for counts in (True, False):
        world = World(settings=with_settings(limits=Limits(silence_counts=counts, idle_ms=10_000)))
        world.hear(SILENCE, 150)
        assert any(isinstance(action, Fail) for _, action in world.log) is not counts


def test_a_client_that_asks_without_end_is_stopped() -> None:
    """What waits for an answer is bounded."""
    world = World(settings=SERVICE)
    for _ in range(70):
        world.type("?")
    assert _failure(world)[1].text.name == "INVALID"


def test_prompt_end_completes_and_session_end_finishes() -> None:
    """completionEnd answers promptEnd, the end of the stream answers sessionEnd, and nothing comes after."""
    world = World(settings=SERVICE)
    world.utter("hello")
    world.hear(SILENCE, 16)
    world.log.clear()
    world.do(AudioClosed())
    world.do(PromptEnded())
    assert world.story() == ["ASSISTANT FINAL", "You said hello.", "completionEnd"]
    assert world.bodies("completionEnd")[0]["stopReason"] == "END_TURN"
    world.do(SessionEnded())
    assert isinstance(world.log[-1][1], Finish)
    world.log.clear()
    world.do(SessionEnded())
    world.advance(600_000)
    assert world.log == []


def test_prompt_end_stops_speech() -> None:
    """Speech that is under way ends with the prompt."""
    world = _talking()
    world.do(PromptEnded())
    story = world.story()
    assert story[0] == "AUDIO ends PARTIAL_TURN"
    assert story[-1] == "completionEnd"
    assert MARKER not in story
    world.log.clear()
    world.advance(20_000)
    assert world.log == []


def test_a_session_without_a_turn_has_no_completion() -> None:
    """completionEnd closes only what completionStart has opened."""
    world = World()
    world.hear(SILENCE, 5)
    world.do(AudioClosed())
    world.do(PromptEnded())
    assert world.story() == []


def test_events_carry_the_sessions_ids() -> None:
    """Every output names prompt and session, and all but the first userSpeechStart the completion."""
    world = World()
    world.utter("hello")
    outputs = [action for action in world.emitted() if isinstance(action, Emit | EmitAudio)]
    assert {action.body["promptName"] for action in outputs} == {"p"}
    assert len({action.body["sessionId"] for action in outputs}) == 1
    assert "completionId" not in outputs[0].body
    assert len({action.body["completionId"] for action in outputs[1:]}) == 1
