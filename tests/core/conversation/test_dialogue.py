"""The talk: turns, every sign of barge-in, captions, and a transcript that holds each utterance once."""

import base64
import json
from typing import Any

import pytest

from gateway.core.conversation.actions import Action, SendEvents
from gateway.core.conversation.dialogue import Dialogue
from gateway.core.conversation.downlink import Downlink
from gateway.core.conversation.examiner import Examiner, Phase
from gateway.core.conversation.inputs import PostOutcome
from gateway.core.conversation.line import HEAR_ALL_AGAIN, HEAR_NOTHING_AGAIN, MayaLine, StreamEvent
from gateway.core.conversation.settings import ConversationSettings
from gateway.core.conversation.transcript import Transcript
from gateway.core.conversation.uplink import Frame
from gateway.core.conversation.watch import Owed
from gateway.core.exam import build_plan
from gateway.core.nova_events import (
    AudioOutput,
    ContentEnd,
    ContentKind,
    ContentStart,
    InterruptedMarker,
    Role,
    Stage,
    StopReason,
    TextOutput,
    UserSpeechEnd,
    UserSpeechStart,
)
from gateway.core.prompts import Direction

SETTINGS = ConversationSettings(plan=build_plan("tiny"))
SECOND = 48_000
PLAN = SETTINGS.plan.part(1)


class Talk:
    """A dialogue with its surroundings, and what the phone is told."""

    def __init__(self) -> None:
        self.now_ms = 0.0
        self.actions: list[Action] = []
        self.link = Downlink(SETTINGS, epoch=1)
        self.link.attach("phone")
        self.line = MayaLine(SETTINGS, self.actions.append, lambda: "prompt")
        self.transcript = Transcript()
        self.dialogue = Dialogue(self.link, self.line, self.transcript)
        stream = self.line.open(PLAN, [], 0.0)
        stream.move(StreamEvent.OPENED)
        self.line.promote(0.0, cue=None, replay_from_ms=HEAR_NOTHING_AGAIN)
        self.dialogue.examiner = Examiner(PLAN, SETTINGS, 0.0)
        self.told: list[dict[str, Any]] = []

    def hear(self, *events) -> None:
        for event in events:
            self.dialogue.handle(event, self.now_ms)

    def maya_says(self, *sentences: str, seconds: float = 1.0, end: StopReason | None = StopReason.END_TURN) -> None:
        for number, sentence in enumerate(sentences):
            last = number == len(sentences) - 1
            self.hear(
                ContentStart(f"t{number}", ContentKind.TEXT, Role.ASSISTANT, Stage.SPECULATIVE),
                TextOutput(f"t{number}", Role.ASSISTANT, sentence),
                ContentEnd(f"t{number}", ContentKind.TEXT, StopReason.PARTIAL_TURN),
                ContentStart(f"a{number}", ContentKind.AUDIO, Role.ASSISTANT, None),
                AudioOutput(
                    f"a{number}", base64.b64encode(bytes(int(SECOND * seconds))).decode(), int(SECOND * seconds)
                ),
            )
            if not last:
                self.hear(ContentEnd(f"a{number}", ContentKind.AUDIO, StopReason.PARTIAL_TURN))
            elif end is not None:
                self.hear(ContentEnd(f"a{number}", ContentKind.AUDIO, end))

    def maya_said(self, text: str) -> None:
        self.hear(
            ContentStart("f", ContentKind.TEXT, Role.ASSISTANT, Stage.FINAL), TextOutput("f", Role.ASSISTANT, text)
        )

    def learner_says(self, text: str, *, speech_events: bool = True) -> None:
        if speech_events:
            self.hear(UserSpeechStart(1_000.0), UserSpeechEnd(3_000.0, 3_400.0))
        self.hear(ContentStart("u", ContentKind.TEXT, Role.USER, Stage.FINAL), TextOutput("u", Role.USER, text))

    def phone(self) -> list[dict[str, Any]]:
        new = []
        while (post := self.link.poll(self.now_ms)) is not None:
            new.append(json.loads(post.data))
            self.link.settled(PostOutcome.DELIVERED, 0.0, self.now_ms)
        self.told += new
        return new

    def play_out(self) -> None:
        self.phone()
        self.now_ms += 60_000.0
        self.phone()
        self.now_ms += 60_000.0

    def utterances(self) -> list[tuple[str, str]]:
        return [(said.who, said.text) for said in self.transcript.utterances]


@pytest.fixture
def talk() -> Talk:
    return Talk()


def test_a_turn_is_captioned_heard_and_then_listened_for(talk):
    """Caption before sound, `speaking` and `listening` around it, in one order."""
    talk.maya_says("Hello.", seconds=0.2)
    types = [(m["type"], m.get("state")) for m in talk.phone()]
    assert types == [("transcript", None), ("status", "speaking"), ("audio", None), ("status", "listening")]
    assert talk.told[0] | {"n": 0, "epoch": 1} == talk.told[0]
    assert (talk.told[0]["text"], talk.told[0]["final"]) == ("Hello.", False)


@pytest.mark.parametrize("speech_events", [True, False])
def test_each_utterance_stands_once_in_the_transcript(talk, speech_events):
    """With and without the newer events, whether the final text comes late, twice or never."""
    talk.maya_says("One.", "Two.")
    talk.play_out()
    talk.learner_says("mine is blue", speech_events=speech_events)
    talk.maya_said("One.")
    talk.maya_said("Two.")
    talk.maya_says("Three.")
    talk.maya_said("Three.")
    talk.maya_said("Three.")
    talk.play_out()
    talk.learner_says("yes", speech_events=speech_events)
    talk.dialogue.settle()
    assert talk.utterances() == [
        ("maya", "One. Two."),
        ("learner", "mine is blue"),
        ("maya", "Three."),
        ("learner", "yes"),
    ]


def test_final_text_is_preferred_when_it_is_whole(talk):
    """What Maya said may differ from what she meant to say."""
    talk.maya_says("It is blue.")
    talk.maya_said("It is very blue.")
    talk.dialogue.settle()
    assert talk.utterances() == [("maya", "It is very blue.")]


SIGNS = {
    "speech": [UserSpeechStart(5_000.0)],
    "marker": [InterruptedMarker("x")],
    "stop reason": [ContentEnd("a0", ContentKind.AUDIO, StopReason.INTERRUPTED)],
    "all": [
        UserSpeechStart(5_000.0),
        InterruptedMarker("x"),
        ContentEnd("a0", ContentKind.AUDIO, StopReason.INTERRUPTED),
    ],
}


@pytest.mark.parametrize("sign", SIGNS)
def test_any_sign_of_barge_in_stops_the_turn_once(talk, sign):
    """Unsent speech is dropped, the phone is told once, more of the turn is not sent."""
    talk.maya_says("A long question about many things.", seconds=10.0, end=None)
    talk.phone()
    talk.now_ms = 1_500.0
    talk.hear(*SIGNS[sign])
    told = talk.phone()
    assert [m["type"] for m in told].count("interrupted") == 1
    assert all(m["type"] != "audio" for m in told)
    assert talk.link.unplayed_ms(talk.now_ms) == 0.0


def test_late_speech_of_an_interrupted_turn_is_not_heard(talk):
    """The service goes on sending for a moment after the learner has begun to speak."""
    talk.maya_says("A long question.", seconds=2.0, end=None)
    talk.hear(UserSpeechStart(5_000.0))
    talk.phone()
    talk.hear(AudioOutput("a0", base64.b64encode(bytes(4_800)).decode(), 4_800))
    assert talk.phone() == []
    talk.hear(UserSpeechEnd(6_000.0, 6_400.0))
    talk.maya_says("The next.", seconds=0.2)
    assert any(m["type"] == "audio" and m["turn"] == 1 for m in talk.phone())


def test_the_transcript_says_what_was_heard(talk):
    """The phone's word decides: half the sound is half the words."""
    talk.maya_says("one two three four five six seven eight", seconds=8.0)
    talk.phone()
    talk.now_ms = 1_000.0
    talk.hear(UserSpeechStart(5_000.0))
    talk.dialogue.heard(0, 4_000.0)
    talk.learner_says("stop please")
    assert talk.utterances()[0] == ("maya", "one two three four")


def test_without_a_word_of_the_phone_the_clock_decides(talk):
    """What was sent and not yet played was not heard."""
    talk.maya_says("one two three four five six seven eight", seconds=8.0)
    talk.phone()
    talk.now_ms = 2_000.0
    talk.hear(UserSpeechStart(5_000.0))
    talk.learner_says("stop please")
    assert talk.utterances()[0] == ("maya", "one two")


def test_speech_in_silence_interrupts_nothing(talk):
    """The sign comes at every utterance; where nothing plays it means nothing."""
    talk.maya_says("Hello.", seconds=1.0)
    talk.phone()
    talk.now_ms = 5_000.0
    talk.hear(UserSpeechStart(9_000.0))
    assert all(m["type"] != "interrupted" for m in talk.phone())


def test_a_turn_that_has_left_the_service_can_still_be_interrupted(talk):
    """Speech runs ahead of the ear: the turn is over for the service and still sounds at the phone."""
    talk.maya_says("A long question.", seconds=2.5)
    talk.phone()
    talk.now_ms = 1_000.0
    talk.hear(UserSpeechStart(9_000.0), UserSpeechStart(9_100.0))
    assert [m["type"] for m in talk.phone()].count("interrupted") == 1


def test_speaking_time_is_measured_by_the_service(talk):
    """By its offsets where it tells them, else by the words."""
    talk.learner_says("a b c")
    assert talk.dialogue.spoken_ms == {1: 2_000.0}
    talk.learner_says("a b c", speech_events=False)
    assert talk.dialogue.spoken_ms == {1: 3_200.0}


def test_speaking_time_without_offsets_is_counted_by_words(talk):
    """A service that tells of speech but not where it lies."""
    talk.hear(UserSpeechStart(None), UserSpeechEnd(None, None), TextOutput("u", Role.USER, "a b c"))
    assert talk.dialogue.spoken_ms == {1: 1_200.0}


def test_an_utterance_under_way_counts_when_its_stream_is_left_for_good(talk):
    """The learner is cut short by `stop` or the time limit, with no end of speech and no text."""
    talk.hear(UserSpeechStart(1_000.0))
    assert talk.dialogue.learner_speaks
    talk.dialogue.leave_stream(41_000.0, again=False)
    assert talk.dialogue.spoken_ms == {1: 40_000.0}
    assert not talk.dialogue.learner_speaks


@pytest.mark.parametrize("ended", [True, False])
def test_an_utterance_that_is_heard_again_counts_once(talk, ended):
    """Its stream is lost in the middle of it, or before its text came."""
    talk.hear(UserSpeechStart(1_000.0))
    if ended:
        talk.hear(UserSpeechEnd(3_000.0, 3_400.0))
    talk.dialogue.leave_stream(3_500.0, again=True)
    assert not talk.dialogue.learner_speaks
    talk.learner_says("a b c")
    assert talk.dialogue.spoken_ms == {1: 2_000.0}


def test_an_utterance_that_nobody_hears_again_counts(talk):
    """The stream was lost, and no other one came."""
    talk.hear(UserSpeechStart(1_000.0))
    talk.dialogue.leave_stream(41_000.0, again=True)
    talk.dialogue.leave_stream(0.0, again=False)
    assert talk.dialogue.spoken_ms == {1: 40_000.0}


def test_text_that_comes_when_the_learner_has_gone_on_is_that_of_before(talk):
    """The learner is not taken for finished, and what they are saying is kept for a successor."""
    pcm = base64.b64encode(bytes(3_200)).decode()
    for _ in range(50):
        talk.line.hear(Frame(pcm, 100.0), 0.0)
    talk.hear(UserSpeechStart(1_000.0), UserSpeechEnd(3_000.0, 3_400.0), UserSpeechStart(3_500.0))
    talk.hear(TextOutput("u", Role.USER, "the first"))
    assert talk.dialogue.learner_speaks
    assert talk.line.replay.sound_ms == 1_600.0
    talk.hear(UserSpeechEnd(4_500.0, 4_900.0), TextOutput("u", Role.USER, "the second"))
    assert talk.dialogue.spoken_ms == {1: 3_000.0}
    assert not talk.dialogue.learner_speaks
    assert talk.utterances() == [("learner", "the first"), ("learner", "the second")]


def test_a_sound_without_words_is_forgotten_at_the_next(talk):
    """A cough has a beginning and an end and no text."""
    talk.hear(UserSpeechStart(1_000.0), UserSpeechEnd(1_200.0, 1_600.0))
    talk.learner_says("yes")
    assert not talk.dialogue.learner_speaks


def test_captions_are_as_long_as_a_message_may_be(talk):
    """Longer text is cut on the screen and whole in the transcript."""
    talk.maya_says("ä" * 5_000)
    talk.phone()
    talk.now_ms = 1_500.0
    talk.learner_says("\N{GRINNING FACE}" * 5_000)
    talk.phone()
    captions = [message for message in talk.told if message["type"] == "transcript"]
    assert [len(caption["text"]) for caption in captions] == [4_000] * 3
    assert [len(text) for _, text in talk.utterances()] == [5_000, 5_000]


def test_a_direction_is_answered_by_maya_alone(talk):
    """Text that comes late is no answer; her first words are."""
    talk.line.direct(Direction.WRAP_UP, 0.0)
    talk.maya_said("text")
    talk.learner_says("text")
    assert talk.line.current.unanswered is Direction.WRAP_UP
    talk.maya_says("Thank you.")
    assert talk.line.current.unanswered is None


@pytest.mark.parametrize(
    ("direction", "kept"),
    [(Direction.NUDGE, False), (Direction.START_TALK, False), (Direction.CONTINUE, False), (Direction.END_TALK, True)],
)
def test_whoever_speaks_need_not_be_asked_to(talk, direction, kept):
    """Such a direction is not given again to a successor."""
    talk.line.direct(direction, 0.0)
    talk.hear(UserSpeechStart(0.0))
    assert (talk.line.current.unanswered is direction) is kept


@pytest.mark.parametrize(
    ("phase", "owed"),
    [
        (Phase.ASKING, Owed.ANSWER),
        (Phase.TALKING, Owed.NOTHING),
        (Phase.PREPARING, Owed.NOTHING),
        (Phase.CLOSING, Owed.NOTHING),
    ],
)
def test_an_answer_is_due_only_to_an_answer(talk, phase, owed):
    """What the learner says before being asked to, or after the closing line, Maya may leave unanswered."""
    talk.dialogue.examiner.phase = phase
    talk.learner_says("well")
    assert talk.line.watch.owed is owed
    assert ("thinking" in [message.get("state") for message in talk.phone()]) is (owed is Owed.ANSWER)


def test_no_answer_is_due_to_speech_that_maya_has_answered_already(talk):
    """She was told to stop the learner, who went on for a moment."""
    talk.hear(UserSpeechStart(0.0))
    talk.maya_says("Thank you.")
    talk.hear(UserSpeechEnd(3_000.0, 3_400.0), TextOutput("u", Role.USER, "and so on"))
    assert talk.line.watch.owed is Owed.NOTHING


def test_containers_that_are_never_closed_are_few(talk):
    """A service that opens and does not close fills no memory."""
    for number in range(1_000):
        talk.hear(ContentStart(f"c{number}", ContentKind.TEXT, Role.ASSISTANT, Stage.SPECULATIVE))
    assert len(talk.dialogue._contents) <= 64


def test_turns_wait_for_their_final_text_only_until_the_next(talk):
    """Turn after turn, one at most is unsettled."""
    for number in range(50):
        talk.maya_says(f"Sentence {number}.", seconds=0.1)
        assert len(talk.dialogue._unsettled) <= 1


def test_the_closing_line_closes_the_part(talk):
    """The part is over when it has been said to its end, also when the learner speaks over it."""
    examiner = talk.dialogue.examiner
    talk.maya_says("A question?")
    assert examiner.phase is Phase.ASKING
    talk.maya_says(PLAN.closing, end=None)
    assert examiner.phase is Phase.CLOSING
    talk.hear(UserSpeechStart(9_000.0))
    assert examiner.phase is Phase.OVER


def test_a_lost_stream_leaves_what_was_heard(talk):
    """A turn that broke off stands in the history as far as it came, and Maya owes the rest."""
    talk.maya_says("one two", seconds=1.0, end=None)
    talk.dialogue.leave_stream(0.0, again=True)
    assert [(turn.role, turn.text) for turn in talk.dialogue.history()] == [(Role.ASSISTANT, "one two")]
    talk.learner_says("yes")
    assert talk.dialogue.maya_owes
    assert talk.utterances() == [("maya", "one two"), ("learner", "yes")]


def test_speech_without_a_final_transcript_is_kept_for_a_successor(talk):
    """What has its transcript is let go; what was said after it is not."""
    pcm = base64.b64encode(bytes(3_200)).decode()
    for _ in range(40):
        talk.line.hear(Frame(pcm, 100.0), 0.0)
    talk.hear(UserSpeechStart(1_000.0), UserSpeechEnd(3_000.0, 3_400.0))
    talk.hear(ContentStart("u", ContentKind.TEXT, Role.USER, Stage.FINAL), TextOutput("u", Role.USER, "words"))
    successor = talk.line.open(PLAN, [], 0.0)
    successor.move(StreamEvent.OPENED)
    talk.actions.clear()
    talk.line.promote(0.0, cue=None, replay_from_ms=HEAR_ALL_AGAIN)
    replayed = [action for action in talk.actions if isinstance(action, SendEvents)]
    assert len(replayed) == 6


def test_the_learner_whose_talk_was_stopped_is_listened_to(talk):
    """Maya has spoken already when the end of the talk is noticed: nobody waits for her."""
    talk.hear(UserSpeechStart(1_000.0))
    talk.maya_says("Thank you, I have to stop you there. Was it hard?", seconds=0.2)
    talk.phone()
    talk.hear(UserSpeechEnd(3_000.0, 3_400.0))
    talk.hear(ContentStart("u", ContentKind.TEXT, Role.USER, Stage.FINAL), TextOutput("u", Role.USER, "words"))
    talk.phone()
    assert [m["state"] for m in talk.told if m["type"] == "status"][-1] == "listening"


def test_speech_that_has_been_played_cannot_be_interrupted(talk):
    """The phone's queue is empty: what floating point leaves over is no sound."""
    talk.maya_says("One.", "Two.", "Three.", seconds=0.7)
    talk.phone()
    talk.now_ms = 3_000.0
    talk.link.acknowledged(talk.link.next_number - 1, 0.0, talk.now_ms)
    talk.phone()
    talk.hear(UserSpeechStart(9_000.0))
    assert all(m["type"] != "interrupted" for m in talk.phone())
