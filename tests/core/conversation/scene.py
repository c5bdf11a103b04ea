"""One conversation's core on a stage: messages as a phone writes them, streams that open and speak when the test says so."""

import base64
import itertools
import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from gateway.core.assessment import Assessment
from gateway.core.conversation import Conversation, ConversationSettings, State
from gateway.core.conversation.actions import (
    Action,
    AskMicro,
    Disconnect,
    OpenStream,
    Post,
    Record,
    Save,
    SendEvents,
    StoreProgress,
)
from gateway.core.conversation.inputs import (
    Admission,
    AdmissionSettled,
    Input,
    MicroAnswered,
    PhoneLeft,
    PhoneSaid,
    PostOutcome,
    PostSettled,
    ProgressSettled,
    SaveOutcome,
    SaveSettled,
    StreamEnded,
    StreamOpened,
    StreamSaid,
)
from gateway.core.exam import build_plan
from gateway.core.nova_events import (
    AudioOutput,
    ContentEnd,
    ContentKind,
    ContentStart,
    Fault,
    Role,
    Stage,
    StopReason,
    TextOutput,
    ToolUse,
    UserSpeechEnd,
    UserSpeechStart,
)

SESSION = "00000000-0000-4000-8000-000000000001"
OTHER_SESSION = "00000000-0000-4000-8000-000000000002"
START = {"type": "start", "session_id": SESSION, "module": "academic_speaking"}
EPOCH = 7
GOOD_CALL: dict[str, object] = {
    name: {"band": 6, "comment": "Clear."}
    for name in ("fluency_coherence", "lexical_resource", "grammatical_range_accuracy", "pronunciation")
} | {"strengths": ["Good pace."], "next_steps": ["Link your ideas."]}

_FRAME = base64.b64encode(bytes(3_200)).decode()
_LOUD_FRAME = base64.b64encode(b"\x00\x10\x00\xf0" * 800).decode()
_MOST_AT_ONCE = 1_000


def settings(**changes: Any) -> ConversationSettings:
    return replace(ConversationSettings(plan=build_plan("tiny")), **changes)


class Scene:
    """A conversation whose posts arrive at once, in virtual time.

    Attributes:
        now_ms: the time.
        posts: what was posted: when, to which connection, what.
        actions: everything asked for, in order.
        ticks: how often a timer rang.
        outcome: how posts end from now on.
        stores: whether a write of progress ends.
    """

    def __init__(
        self, *, ended: Assessment | None = None, now_ms: float = 0.0, epoch: int = EPOCH, **changes: Any
    ) -> None:
        self.now_ms = now_ms
        names = itertools.count()
        self.conversation = Conversation(
            settings(**changes),
            epoch=epoch,
            support_code="code",
            new_prompt_name=lambda: f"prompt-{next(names)}",
            jitter=lambda: 0.5,
            wall_offset_ms=1_790_000_000_000.0,
            now_ms=now_ms,
            ended=ended,
        )
        self.posts: list[tuple[float, str, dict[str, Any]]] = []
        self.actions: list[Action] = []
        self.ticks = 0
        self.outcome = PostOutcome.DELIVERED
        self.stores = True
        self._seq = 0

    # What happens

    def tell(self, event: Input) -> None:
        """Have something happen now."""
        self.conversation.handle(event, self.now_ms)
        self._do()

    def say(self, message: dict[str, Any] | str, connection: str = "a", opened: int = 1) -> None:
        """The phone writes on a connection, which was opened at `opened`."""
        body = message if isinstance(message, str) else json.dumps({"action": "stream", **message})
        self.tell(PhoneSaid(connection, opened, opened + round(self.now_ms), body.encode()))

    def audio(self, connection: str = "a", opened: int = 1, **fields: Any) -> None:
        """The phone sends the next frame, or one with other fields."""
        frame = {"seq": self._seq, "t": self._seq * 100.0, "pcm": _FRAME, **fields}
        self._seq = max(self._seq, frame["seq"] + 1)
        self.say({"type": "audio", **frame}, connection, opened)

    def ack(self, n: int, connection: str = "a", opened: int = 1, **fields: Any) -> None:
        """The phone acknowledges."""
        self.say({"type": "ack", "n": n, "queue_ms": 0, **fields}, connection, opened)

    def acknowledge_all(self, connection: str = "a", opened: int = 1) -> None:
        """The phone has all that was posted to it."""
        numbers = [message["n"] for _, _, message in self.posts if "n" in message]
        self.ack(max(numbers, default=-1), connection, opened)

    def leave(self, connection: str = "a") -> None:
        """API Gateway says that a connection is gone."""
        self.tell(PhoneLeft(connection))

    def wait(self, ms: float, *, talking: bool = False, loud: bool = False) -> None:
        """Let time pass; `talking` has the phone send a frame and all its acknowledgements every 100 ms.

        It is silence, or `loud`.
        """
        end_ms = self.now_ms + ms
        while talking and self.now_ms + 100 <= end_ms:
            self._let_pass(self.now_ms + 100)
            self.audio(pcm=_LOUD_FRAME if loud else _FRAME)
            self.acknowledge_all()
        self._let_pass(end_ms)

    def _let_pass(self, end_ms: float) -> None:
        at_once = 0
        while (at_ms := self.conversation.next_timer_ms(self.now_ms)) is not None and at_ms <= end_ms:
            at_once = at_once + 1 if at_ms <= self.now_ms else 0
            assert at_once < _MOST_AT_ONCE, f"a timer rings for ever at {self.now_ms} ms"
            self.now_ms = max(self.now_ms, at_ms)
            self.ticks += 1
            self.conversation.tick(self.now_ms)
            self._do()
        self.now_ms = max(self.now_ms, end_ms)

    def _do(self) -> None:
        while actions := self.conversation.take_actions():
            for action in actions:
                self.actions.append(action)
                if isinstance(action, Post):
                    self.posts.append((self.now_ms, action.connection_id, json.loads(action.data)))
                    self.conversation.handle(PostSettled(action.connection_id, self.outcome), self.now_ms)
                elif isinstance(action, StoreProgress) and self.stores:
                    self.conversation.handle(ProgressSettled(action.seq), self.now_ms)

    # The usual way

    def begin(self, **start: Any) -> "Scene":
        """Start, be admitted, have Maya's line opened, and let the phone acknowledge it."""
        self.say({**START, **start})
        self.begin_line()
        self.acknowledge_all()
        return self

    def begin_line(self) -> None:
        """The learner is admitted, and Maya's line is opened."""
        self.tell(AdmissionSettled(Admission.GRANTED))
        self.open()

    def maya(
        self, text: str = "A question?", ms: float = 200.0, *, stream: int | None = None, ends: bool = True
    ) -> None:
        """Maya says a turn of one sentence."""
        pcm = bytes(int(ms * 48))
        self.hear(
            ContentStart("t", ContentKind.TEXT, Role.ASSISTANT, Stage.SPECULATIVE),
            TextOutput("t", Role.ASSISTANT, text),
            ContentStart("a", ContentKind.AUDIO, Role.ASSISTANT, None),
            AudioOutput("a", base64.b64encode(pcm).decode(), len(pcm)),
            stream=stream,
        )
        if ends:
            self.hear(ContentEnd("a", ContentKind.AUDIO, StopReason.END_TURN), stream=stream)

    def learner(self, text: str = "an answer", *, from_ms: float = 0.0, to_ms: float = 2_000.0) -> None:
        """The service hears an utterance of the learner's."""
        self.hear(UserSpeechStart(from_ms), UserSpeechEnd(to_ms, to_ms), TextOutput("u", Role.USER, text))

    def talk(self) -> "Scene":
        """Begin, and let Maya ask her first question."""
        self.begin()
        self.wait(300, talking=True)
        self.maya()
        return self

    def hear(self, *events: Any, stream: int | None = None) -> None:
        """A stream says something, Maya's own if not told."""
        for event in events:
            self.tell(StreamSaid(stream or self.live_stream, event))

    def open(self) -> None:
        """The newest stream has opened."""
        self.tell(StreamOpened(self.newest_stream))

    def lose(self, stream: int | None = None, fault: Fault = Fault.STREAM_LOST) -> None:
        """A stream ends by itself, Maya's own if not told."""
        self.tell(StreamEnded(stream or self.live_stream, fault))

    def part_two(self) -> None:
        """Go on to part 2, with something said in part 1, which is assessed by its stream."""
        self.wait(300, talking=True)
        self.maya()
        self.learner()
        self.maya(self.conversation._course.settings.plan.part(1).closing)
        self.open()
        self.call_tool(1)
        self.wait(200, talking=True)

    def call_tool(self, stream: int | None = None, arguments: Any = None) -> None:
        """A stream assesses its part."""
        self.hear(ToolUse("c", "use", "assess_part", arguments or GOOD_CALL), stream=stream)

    def stop(self) -> None:
        """The learner ends the test."""
        self.say({"type": "stop", "seq": self._seq - 1})

    def save(self, outcome: SaveOutcome = SaveOutcome.SAVED) -> None:
        """Nova Micro writes no summary, and the assessment is saved."""
        self.tell(MicroAnswered(0, None))
        self.tell(SaveSettled(outcome))

    def tell_micro_failed(self, part: int) -> None:
        """Nova Micro could not assess a part."""
        self.tell(MicroAnswered(part, None))

    def assessed(self) -> "Scene":
        """Talk, answer, stop; the stream assesses, the assessment is saved, and the phone is about to be told."""
        self.talk()
        self.learner()
        self.stop()
        self.call_tool(1)
        self.save()
        return self

    # What came of it

    @property
    def state(self) -> State:
        return self.conversation.state

    @property
    def newest_stream(self) -> int:
        return max((action.stream_id for action in self.of(OpenStream)), default=0)

    @property
    def live_stream(self) -> int:
        """The stream that Maya speaks by, the newest if there is none."""
        current = self.conversation._line.current
        return self.newest_stream if current is None else current.stream_id

    def of[A: Action](self, kind: type[A]) -> list[A]:
        """What was asked for of one kind."""
        return [action for action in self.actions if isinstance(action, kind)]

    def told(self, kind: str | None = None, connection: str | None = None) -> list[dict[str, Any]]:
        """What was posted, of one type, to one connection."""
        return [
            message for _, to, message in self.posts if kind in (None, message["type"]) and connection in (None, to)
        ]

    def disconnected(self) -> list[str]:
        return [action.connection_id for action in self.of(Disconnect)]

    def saved(self) -> list[Assessment]:
        return [action.assessment for action in self.of(Save)]

    def asked_micro(self) -> list[int]:
        return [action.part for action in self.of(AskMicro)]

    def recorded(self, event: str) -> list[Record]:
        return [record for record in self.of(Record) if record.event == event]

    def sent(self, stream: int | None = None) -> Iterator[tuple[str, dict[str, Any]]]:
        """Events that were sent on a stream, by name."""
        for action in self.of(SendEvents):
            if action.stream_id == (stream or self.live_stream):
                for event in action.events:
                    yield from json.loads(event)["event"].items()

    def directions(self, stream: int | None = None) -> list[str]:
        """Stage directions that a stream was given."""
        texts = [body["content"] for name, body in self.sent(stream) if name == "textInput"]
        return [text for text in texts if text.startswith("[")]

    def frames(self, stream: int | None = None) -> int:
        """How many frames of speech a stream was sent."""
        return sum(name == "audioInput" for name, _ in self.sent(stream))
