"""Maya's line: what a stream is opened with, who hears the learner, what is kept for a successor, how a stream ends."""

import base64
import json
from typing import Any

import pytest

from gateway.core.conversation.actions import Action, CloseStream, OpenStream, SendEvents
from gateway.core.conversation.line import (
    HEAR_ALL_AGAIN,
    HEAR_NOTHING_AGAIN,
    MayaLine,
    Stream,
    StreamEvent,
    StreamState,
    Voice,
)
from gateway.core.conversation.settings import ConversationSettings
from gateway.core.conversation.uplink import Frame
from gateway.core.conversation.watch import Owed
from gateway.core.exam import build_plan
from gateway.core.nova_events import HistoryTurn, Role
from gateway.core.prompts import Direction

PLAN = build_plan("tiny")
PCM = base64.b64encode(bytes(3_200)).decode()
FRAME = Frame(PCM, 100.0)


class Telephone:
    """A line and what it asked for."""

    def __init__(self, **changes: Any) -> None:
        self.actions: list[Action] = []
        names = iter(f"prompt-{number}" for number in range(100))
        self.line = MayaLine(ConversationSettings(plan=PLAN, **changes), self.actions.append, lambda: next(names))

    def open(self, part: int = 1, *, history: list[HistoryTurn] | None = None) -> Stream:
        stream = self.line.open(PLAN.part(part), history or [], 0.0)
        stream.move(StreamEvent.OPENED)
        return stream

    def promote(
        self, *, cue: Direction | None = None, from_ms: float = HEAR_NOTHING_AGAIN, now_ms: float = 0.0
    ) -> None:
        self.line.promote(now_ms, cue=cue, replay_from_ms=from_ms)

    def live(self, cue: Direction | None = None) -> Stream:
        stream = self.open()
        self.promote(cue=cue)
        return stream

    def hear(self, count: int) -> None:
        for _ in range(count):
            self.line.hear(FRAME, 0.0)

    def sent(self, stream: Stream) -> list[tuple[str, dict[str, Any]]]:
        return [
            item
            for action in self.actions
            if isinstance(action, SendEvents) and action.stream_id == stream.stream_id
            for event in action.events
            for item in json.loads(event)["event"].items()
        ]

    def names(self, stream: Stream) -> list[str]:
        return [name for name, _ in self.sent(stream)]


@pytest.fixture
def phone() -> Telephone:
    return Telephone()


def test_a_stream_is_opened_in_the_order_of_the_service(phone):
    """Session, prompt, system text, history, audio; with the voice and the rates that were asked for."""
    phone.line.voice = Voice("matthew", "en-US", 8_000, 16_000)
    phone.open(history=[HistoryTurn(Role.ASSISTANT, "Hello."), HistoryTurn(Role.USER, "Hi.")])
    [opened] = [action for action in phone.actions if isinstance(action, OpenStream)]
    events = [item for event in opened.events for item in json.loads(event)["event"].items()]
    bodies = dict(events)
    assert [name for name, _ in events[:3]] == ["sessionStart", "promptStart", "contentStart"]
    roles = [body["role"] for name, body in events if name == "contentStart"]
    assert roles == ["SYSTEM", "USER", "ASSISTANT", "USER", "USER"]
    assert bodies["promptStart"]["audioOutputConfiguration"]["voiceId"] == "matthew"
    assert bodies["promptStart"]["audioOutputConfiguration"]["sampleRateHertz"] == 16_000
    assert bodies["contentStart"]["audioInputConfiguration"]["sampleRateHertz"] == 8_000
    assert "Part: 1" in next(body["content"] for name, body in events if name == "textInput")


def test_the_current_stream_alone_hears(phone):
    """Its predecessor and its successor do not."""
    first = phone.live()
    second = phone.open(2)
    phone.hear(3)
    phone.promote()
    phone.hear(2)
    assert phone.names(first) == ["audioInput"] * 3
    assert phone.names(second) == ["audioInput"] * 2
    assert (first.heard_ms, second.heard_ms) == (300.0, 200.0)


def test_the_cue_comes_when_enough_was_heard_to_speak(phone):
    """A model that has heard nothing says nothing; the answer is waited for from then on."""
    stream = phone.live(cue=Direction.BEGIN)
    phone.line.hear(Frame(PCM, 60.0), 1.0)
    assert "textInput" not in phone.names(stream)
    phone.line.hear(Frame(PCM, 60.0), 2.0)
    assert [body["content"] for name, body in phone.sent(stream) if name == "textInput"] == [Direction.BEGIN]
    assert phone.line.watch.owed is Owed.ANSWER
    assert (stream.cue, stream.unanswered) == (None, Direction.BEGIN)
    phone.line.spoke(3.0)
    assert phone.line.watch.owed is Owed.REST
    assert (stream.unanswered, stream.has_spoken) == (None, True)
    phone.hear(5)
    assert phone.names(stream).count("textInput") == 1


def test_directions_need_a_stream(phone):
    """Without one there is nobody to direct."""
    phone.line.direct(Direction.NUDGE, 0.0)
    phone.line.learner_spoke()
    phone.line.play_on(0.0)
    assert phone.actions == []


def test_what_has_no_transcript_is_played_to_a_successor(phone):
    """From the frame that was not settled whole, once, and it stays kept."""
    phone.live()
    phone.hear(10)
    phone.line.settle(450.0)
    phone.line.lost(phone.line.current)
    phone.hear(2)
    successor = phone.open()
    phone.promote(from_ms=HEAR_ALL_AGAIN)
    assert phone.names(successor) == ["audioInput"] * 8
    assert successor.heard_ms == 800.0
    phone.line.settle(800.0)
    other = phone.open()
    phone.promote(from_ms=HEAR_ALL_AGAIN)
    assert phone.names(other) == []


def test_a_fresh_stream_hears_the_end_of_the_pause_again(phone):
    """What may be the beginning of an utterance; what was settled before is not heard again."""
    phone.live()
    phone.hear(10)
    successor = phone.open()
    phone.promote(from_ms=1_000.0 - 300.0)
    assert phone.names(successor) == ["audioInput"] * 3
    phone.hear(4)
    phone.line.settle(600.0)
    other = phone.open()
    phone.promote(from_ms=700.0 - 300.0)
    assert phone.names(other) == ["audioInput"]


def test_a_cue_waits_until_all_has_been_played():
    """Played at four times the speed of speech: a frame of 100 ms each 25 ms, what is new behind it, then the cue."""
    phone = Telephone(replay_speed=4.0)
    phone.live()
    phone.hear(3)
    phone.line.lost(phone.line.current)
    phone.line.hear(FRAME, 0.0)
    successor = phone.open()
    phone.promote(cue=Direction.CONTINUE, from_ms=HEAR_ALL_AGAIN, now_ms=1_000.0)
    assert phone.names(successor) == ["audioInput"]
    assert phone.line.next_timer_ms() == 1_025.0
    phone.line.play_on(1_025.0)
    phone.line.hear(FRAME, 1_030.0)
    assert phone.names(successor).count("audioInput") == 2
    for now_ms in (1_050.0, 1_075.0):
        phone.line.play_on(now_ms)
    assert "textInput" not in phone.names(successor)
    phone.line.play_on(1_100.0)
    assert phone.names(successor)[:6] == ["audioInput"] * 5 + ["contentStart"]
    assert phone.line.next_timer_ms() is None
    phone.line.hear(FRAME, 1_130.0)
    assert phone.names(successor).count("audioInput") == 6


def test_what_waited_for_a_stream_is_kept_when_that_one_is_lost_too():
    """Half of it was played to the lost one: the next hears all of it."""
    phone = Telephone(replay_speed=1.0)
    phone.hear(4)
    first = phone.open()
    phone.promote(from_ms=HEAR_ALL_AGAIN)
    phone.line.play_on(100.0)
    assert phone.names(first) == ["audioInput"] * 2
    phone.line.lost(first)
    assert len(phone.line.replay.frames()) == 4
    assert phone.line.replay.sound_ms == 400.0


def test_a_new_part_does_not_hear_the_last_one_again(phone):
    """What was said before belongs to the stream that heard it."""
    phone.live()
    phone.hear(4)
    following = phone.open(2)
    phone.promote()
    assert phone.names(following) == []
    assert phone.line.replay.sound_ms == 0.0


def test_what_is_kept_is_bounded():
    """A learner who talks for minutes: the oldest sound goes (I6)."""
    phone = Telephone(replay_ms=1_000.0)
    phone.live()
    phone.hear(500)
    assert phone.line.replay.sound_ms <= 1_000.0
    assert len(phone.line.replay.frames()) == 10


def test_a_part_that_is_over_is_asked_to_be_assessed(phone):
    """Its stream hears nothing more and is told to call the tool."""
    stream = phone.live()
    phone.hear(1)
    phone.line.retire(stream)
    phone.hear(1)
    texts = [body["content"] for name, body in phone.sent(stream) if name == "textInput"]
    assert texts == [Direction.ASSESS]
    assert phone.names(stream).count("audioInput") == 1
    assert phone.line.find(stream.stream_id) is stream
    assert stream.state is StreamState.ASSESSING


def test_a_stream_is_closed_in_order(phone):
    """Its audio, its prompt, its session; then nothing is wanted from it."""
    stream = phone.live()
    phone.hear(1)
    phone.line.close(stream)
    phone.line.close(stream)
    assert phone.names(stream)[-3:] == ["contentEnd", "promptEnd", "sessionEnd"]
    assert [action for action in phone.actions if isinstance(action, CloseStream)] == [CloseStream(stream.stream_id)]
    assert phone.line.find(stream.stream_id) is None


def test_a_stream_that_heard_nothing_is_just_closed(phone):
    """The service refuses to end a container without data (SERVICE.md A9)."""
    stream = phone.live()
    phone.line.close(stream)
    assert phone.names(stream) == []
    assert phone.actions[-1] == CloseStream(stream.stream_id)


def test_a_successor_gives_way_to_another(phone):
    """One at a time is opened."""
    first = phone.line.open(PLAN.part(2), [], 0.0)
    second = phone.line.open(PLAN.part(2), [], 0.0)
    assert first.state is StreamState.CLOSED
    assert phone.line.successor is second


def test_all_streams_can_be_closed_at_once(phone):
    """Whatever they do."""
    retired = phone.live()
    phone.hear(1)
    phone.line.retire(retired)
    current = phone.live()
    coming = phone.line.open(PLAN.part(2), [], 0.0)
    phone.line.close_all()
    assert {stream.state for stream in (retired, current, coming)} == {StreamState.CLOSED}
    assert phone.line.retired == {}
