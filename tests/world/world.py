"""The phone, the line, the gateway and Nova Sonic, in one virtual time."""

import random
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from client_sim.events import (
    Begin,
    Captured,
    Close,
    Closed,
    Connect,
    Event,
    Opened,
    Over,
    Received,
    Show,
    StopAsked,
    Tick,
)
from client_sim.phone import Phone
from client_sim.phone_settings import PhoneSettings
from client_sim.playback import Playback
from gateway.core.assessment import Assessment
from gateway.core.conversation import Conversation, ConversationSettings, State
from gateway.core.conversation.actions import (
    Action,
    Admit,
    AskMicro,
    CloseStream,
    Disconnect,
    Finish,
    OpenStream,
    Post,
    Record,
    ReleaseLease,
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
    SaveOutcome,
    SaveSettled,
    StreamEnded,
    StreamOpened,
    StreamSaid,
)
from gateway.core.exam import build_plan
from gateway.core.messages import AssessmentMessage, DownMessage
from infra.local.nova.settings import Settings
from tests.world.clock import Clock, Timer
from tests.world.learner import Learner
from tests.world.nova import VirtualNova, micro


@dataclass(frozen=True)
class Line:
    """What the network does to messages, each way."""

    delay_ms: float = 40.0
    jitter_ms: float = 10.0
    lost: float = 0.0
    doubled: float = 0.0
    late: float = 0.0
    late_ms: float = 400.0


PERFECT = Line()
WILD = Line(jitter_ms=120.0, lost=0.04, doubled=0.06, late=0.08)


def tiny(**changes: Any) -> ConversationSettings:
    """Settings of the shortest test, with changes."""
    # The plain voice speaks four times as fast as people do.
    settings = ConversationSettings(plan=build_plan("tiny"), assess_from_s=0.25)
    return replace(settings, **changes)


_GRANTED = AdmissionSettled(Admission.GRANTED)


@dataclass
class World:
    """One conversation of one learner.

    Attributes:
        seed: decides everything.
        line: the network.
        settings: the conversation's numbers.
        nova_settings: how Nova Sonic behaves.
        barge_in: how likely the learner speaks over a turn.
        frame_ms: length of the phone's frames; it follows the lag where it is None.
    """

    seed: int
    line: Line = PERFECT
    settings: ConversationSettings = field(default_factory=tiny)
    nova_settings: Settings = field(default_factory=Settings)
    barge_in: float = 0.0
    frame_ms: int | None = 100
    admission: AdmissionSettled = _GRANTED
    ended_session: Assessment | None = None
    micro_fails: bool = False
    post_ms: tuple[float, float] = (4.0, 12.0)
    save_outcome: SaveOutcome = SaveOutcome.SAVED

    def __post_init__(self) -> None:
        self.rng = random.Random(self.seed)
        self.clock = Clock()
        self.captured = bytearray()
        self.frame_lengths_ms: list[int] = []
        self.captured_until: dict[str, int] = {}
        self.shown: list[DownMessage] = []
        self.shown_at_ms: list[float] = []
        self.saves: list[Assessment] = []
        self.progress: list[Mapping[str, Any]] = []
        self.records: list[Record] = []
        self.audio_posts = 0
        self.micro_parts: list[int] = []
        self.finished = False
        self.over: Over | None = None
        self.cut_off = False
        self.lease_released = False
        self.before_input: list[Callable[[Input], None]] = []
        phone_settings = PhoneSettings(session_id=str(uuid.UUID(int=self.rng.getrandbits(128))), jitter=0.5)
        self.phone = Phone(phone_settings, Playback(record=True))
        self.learner = Learner(self.phone, self.rng, phone_settings.rate, barge_in=self.barge_in)
        self.conversation = Conversation(
            self.settings,
            epoch=1_000,
            support_code="test",
            new_prompt_name=lambda: str(uuid.UUID(int=self.rng.getrandbits(128))),
            jitter=self.rng.random,
            wall_offset_ms=1_790_000_000_000.0,
            now_ms=0.0,
            ended=self.ended_session,
        )
        self.nova = VirtualNova(
            self.clock,
            self.rng,
            self.nova_settings,
            said=lambda number, event: self.feed(StreamSaid(number, event)),
            opened=lambda number: self.feed(StreamOpened(number)),
            ended=lambda number, fault: self.feed(StreamEnded(number, fault)),
        )
        self._connection = 0
        self._phone_timer = Timer(self.clock, self._phone_next_ms, lambda: self.tell_phone(Tick()))
        self._core_timer = Timer(
            self.clock, lambda: self.conversation.next_timer_ms(self.clock.now_ms), self._tick_conversation
        )

    # Running

    def run(self, *, until_s: float = 300.0, done: Callable[[], bool] | None = None) -> "World":
        """Hold the conversation until the gateway has finished and the phone has its assessment or its end."""
        self.start()
        over = done or (lambda: self.finished and (self.over is not None or self.assessment is not None))
        assert self.clock.run(over, until_ms=until_s * 1000), f"seed {self.seed}: not over after {until_s} s, {self}"
        return self

    def start(self) -> None:
        """Open the app and switch the microphone on."""
        self.tell_phone(Begin())
        self._begin_frame()

    def _begin_frame(self) -> None:
        frame_ms = self.frame_ms or self.phone.frame_ms
        self.frame_lengths_ms.append(frame_ms)
        self.clock.after(frame_ms, lambda: self._capture(frame_ms))

    def go_on(self, *, until_s: float, done: Callable[[], bool]) -> bool:
        """Let time pass."""
        return self.clock.run(done, until_ms=until_s * 1000)

    def _capture(self, frame_ms: int) -> None:
        if self.over is None:
            if self.phone.microphone_on:
                pcm = self.learner.frame(frame_ms, self.clock.now_ms)
                self.captured += pcm
                self.tell_phone(Captured(pcm))
            self._begin_frame()

    # The phone

    def tell_phone(self, event: Event) -> None:
        """Tell the phone what happened, do what it asks, send what it has."""
        self.phone.handle(event, self.clock.now_ms)
        for action in self.phone.take_actions():
            self._do_for_phone(action)
        while (text := self.phone.take_message(self.clock.now_ms)) is not None:
            self._carry_up(text)
        self._phone_timer.arm()

    def _phone_next_ms(self) -> float | None:
        moments = (self.phone.next_timer_ms(), self.phone.next_message_ms())
        return min((moment for moment in moments if moment is not None), default=None)

    def _do_for_phone(self, action: Any) -> None:
        match action:
            case Connect(connection):
                self._connection = connection
                self.clock.after(60, lambda: self.tell_phone(Opened(connection)))
            case Close(connection):
                self.clock.after(20, lambda: self.tell_phone(Closed(connection, 1000)))
                self.clock.after(30, lambda: self.feed(PhoneLeft(str(connection))))
            case Show(message):
                self.shown.append(message)
                self.shown_at_ms.append(self.clock.now_ms)
                self.learner.shown(message)
            case Over():
                self.over = action
            case _:
                pass

    def stop(self) -> None:
        """End the test at the phone."""
        self.tell_phone(StopAsked())

    def drop(self) -> None:
        """Lose the connection; the gateway hears of it a little later."""
        connection = self._connection
        self.tell_phone(Closed(connection))
        self.clock.after(500, lambda: self.feed(PhoneLeft(str(connection))))

    # The network

    def _carry(self, deliver: Callable[[], None]) -> None:
        line, rng = self.line, self.rng
        if self.cut_off or rng.random() < line.lost:
            return
        for _ in range(2 if rng.random() < line.doubled else 1):
            delay_ms = line.delay_ms + rng.uniform(0, line.jitter_ms)
            if rng.random() < line.late:
                delay_ms += rng.uniform(0, line.late_ms)
            self.clock.after(delay_ms, deliver)

    def _carry_up(self, text: str) -> None:
        connection, body = self._connection, text.encode()
        message = PhoneSaid(str(connection), connection, int(self.clock.now_ms), body)
        self._carry(lambda: self.feed(message))

    def _carry_down(self, action: Post) -> None:
        connection = int(action.connection_id)
        self.audio_posts += '"type":"audio"' in action.data
        self._carry(lambda: self.tell_phone(Received(connection, action.data)))
        self.clock.after(
            self.rng.uniform(*self.post_ms), lambda: self.feed(PostSettled(action.connection_id, PostOutcome.DELIVERED))
        )

    # The gateway

    def feed(self, event: Input) -> None:
        """Tell the gateway's core what happened, and do what it asks."""
        for look in self.before_input:
            look(event)
        self.conversation.handle(event, self.clock.now_ms)
        self._do_all()

    def _tick_conversation(self) -> None:
        self.conversation.tick(self.clock.now_ms)
        self._do_all()

    def _do_all(self) -> None:
        for action in self.conversation.take_actions():
            self._do(action)
        self._core_timer.arm()

    def _do(self, action: Action) -> None:
        match action:
            case Post():
                self._carry_down(action)
            case Disconnect(connection_id):
                self.clock.after(20, lambda: self.tell_phone(Closed(int(connection_id), 1000)))
            case Admit():
                self.clock.after(15, lambda: self.feed(self.admission))
            case OpenStream(stream_id, events):
                self.nova.open(stream_id, events)
            case SendEvents(stream_id, events):
                self.nova.send(stream_id, events)
            case CloseStream(stream_id):
                self.nova.close(stream_id)
            case AskMicro(part, request):
                self.micro_parts.append(part)
                answer = None if self.micro_fails else micro(request)
                self.clock.after(400, lambda: self.feed(MicroAnswered(part, answer)))
            case Save(assessment):
                self.saves.append(assessment)
                self.clock.after(20, lambda: self.feed(SaveSettled(self.save_outcome)))
            case StoreProgress(progress):
                self.progress.append(progress)
            case ReleaseLease():
                self.lease_released = True
            case Record():
                self.records.append(action)
            case Finish():
                self.finished = True

    # What came of it

    def messages[M: DownMessage](self, kind: type[M]) -> list[M]:
        """What the phone was shown of one kind, in order."""
        return [message for message in self.shown if isinstance(message, kind)]

    @property
    def assessment(self) -> Assessment | None:
        """The assessment as the phone got it."""
        messages = self.messages(AssessmentMessage)
        return Assessment.model_validate(messages[-1].assessment) if messages else None

    @property
    def dialogue_part(self) -> int:
        """The part under way at the gateway, 0 before the first."""
        return self.conversation._dialogue.part

    @property
    def kept_ms(self) -> float:
        """The learner's speech that the gateway holds."""
        return self.conversation._line._kept_ms

    # What must hold

    def check_heard(self) -> None:
        """Nova Sonic heard exactly what the phone captured, once and in order, to the end of the test (I2)."""
        heard = self.nova.heard()
        assert bytes(self.captured[: len(heard)]) == heard, f"seed {self.seed}: heard something else"

    def check_played(self) -> None:
        """The phone played exactly what Maya said, in order, less what was cut (I3)."""
        assert self.phone.speaker.recording is not None
        self.phone.speaker.advance(self.clock.now_ms + 60_000.0)
        said = self.nova.turns()
        position = 0
        for turn, pcm in self.phone.speaker.recording.items():
            heard = self.phone.speaker.turns[turn]
            while position < len(said) and not self._is_turn(bytes(pcm), said[position], cut=heard.cut):
                position += 1
            assert position < len(said), f"seed {self.seed}: turn {turn} was never said like this"
            position += 1

    @staticmethod
    def _is_turn(played: bytes, said: bytes, *, cut: bool) -> bool:
        return said.startswith(played) if cut else said == played

    @property
    def ended(self) -> bool:
        """Whether the gateway's side is over."""
        return self.conversation.state is State.ENDED
