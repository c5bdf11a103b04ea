"""The phone, the line, the gateway and Nova Sonic, in one virtual time."""

import uuid
from collections.abc import Callable
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
from gateway.core.conversation.actions import Post, Record
from gateway.core.conversation.inputs import (
    Admission,
    AdmissionSettled,
    Input,
    PhoneLeft,
    PhoneSaid,
    PostOutcome,
    SaveOutcome,
    TookOver,
)
from gateway.core.conversation.progress import open_session
from gateway.core.exam import build_plan
from gateway.core.messages import AssessmentMessage, DownMessage
from infra.local.nova.settings import Settings
from tests.world.chance import Chance
from tests.world.clock import Clock, Timer
from tests.world.learner import Learner
from tests.world.network import PERFECT, Line, Network
from tests.world.nova import VirtualNova
from tests.world.redis import VirtualRedis
from tests.world.relay import VirtualRelay


def tiny(**changes: Any) -> ConversationSettings:
    """Settings of the shortest test, with changes."""
    # The plain voice speaks four times as fast as people do.
    settings = ConversationSettings(plan=build_plan("tiny"), assess_from_s=0.25)
    return replace(settings, **changes)


_FIRST_EPOCH = 1_000
_GRANTED = AdmissionSettled(Admission.GRANTED)


@dataclass
class World:
    """One conversation of one learner.

    Attributes:
        seed: decides everything; each thing that draws has a generator of its own (`chance.py`).
        line: the network.
        settings: the conversation's numbers.
        nova_settings: how Nova Sonic behaves.
        barge_in: how likely the learner speaks over a turn.
        frame_ms: length of the phone's frames; it follows the lag where it is None.
        credentials_live_ms: streams are opened with credentials that end after so long.
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
    start_ms: tuple[float, float] = (150.0, 900.0)
    save_outcome: SaveOutcome = SaveOutcome.SAVED
    credentials_live_ms: float | None = None

    def __post_init__(self) -> None:
        self.chance = Chance(self.seed)
        self.clock = Clock()
        self.network = Network(self.line, self.clock, self.chance)
        self.captured = bytearray()
        self.frames_begin: dict[int, int] = {}
        self.frame_lengths_ms: list[int] = []
        self.shown: list[DownMessage] = []
        self.shown_at_ms: list[float] = []
        self.saves: list[Assessment] = []
        self.records: list[Record] = []
        self.audio_posts = 0
        self.micro_parts: list[int] = []
        self.over: Over | None = None
        self.before_input: list[Callable[[Input], None]] = []
        self.after_step: list[Callable[[], None]] = []
        self.recorded_at_ms: list[float] = []
        self.away: list[tuple[float, float]] = []
        self._phone_settings = phone_settings = PhoneSettings(
            session_id=str(uuid.UUID(int=self.chance.of("session").getrandbits(128))), jitter=0.5
        )
        self.connections_before = 0
        self.out_rate = phone_settings.out_rate
        self.phone = Phone(phone_settings, Playback(record=True))
        self.learner = Learner(self.phone, self.chance.of("learner"), phone_settings.rate, barge_in=self.barge_in)
        self.redis = VirtualRedis()
        self.redis.take_lease(_FIRST_EPOCH, 0.0)
        self.relays: list[VirtualRelay] = []
        self.relays.append(VirtualRelay(self, _FIRST_EPOCH, ended=self.ended_session))
        self._open: set[int] = set()
        self._connection = 0
        self._phone_timer = Timer(self.clock, self._phone_next_ms, lambda: self.tell_phone(Tick()))

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
                seq = self.phone.uplink.last_seq + 1
                # What an app that was killed had captured under this number, and the gateway had not, is lost with it.
                del self.captured[self.frames_begin.get(seq, len(self.captured)) :]
                self.frames_begin[seq] = len(self.captured)
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
            case Connect(number):
                connection = self._connection = self.connections_before + number
                self.clock.after(60, lambda: self._opened(connection))
            case Close(number):
                connection = self.connections_before + number
                self.clock.after(20, lambda: self._closed(connection))
                self.clock.after(30, lambda: self._left(connection))
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

    def drop(self, *, known_after_ms: float = 500.0, torn: bool = False) -> None:
        """Lose the connection.

        Args:
            known_after_ms: when API Gateway finds out; until then posts go nowhere.
            torn: what is under way on it is lost, too.
        """
        connection = self._connection
        if torn:
            self.network.tear(connection)
        self.tell_phone(Closed(connection - self.connections_before))
        self.clock.after(known_after_ms, lambda: self._left(connection))

    def restart_app(self, *, session_id: str = "") -> None:
        """Kill the app and open it again: all it knows is the session's id, or that of another session."""
        self._phone_settings = replace(self._phone_settings, session_id=session_id or self._phone_settings.session_id)
        connection = self._connection
        self.clock.after(500, lambda: self._left(connection))
        self.connections_before = connection
        self.phone = Phone(self._phone_settings, Playback(record=True))
        self.learner.phone = self.phone
        if self.over is not None:
            self.over = None
            self._begin_frame()
        self.tell_phone(Begin())

    def _opened(self, connection: int) -> None:
        self._open.add(connection)
        self.tell_phone(Opened(connection - self.connections_before))

    def _received(self, connection: int, text: str) -> None:
        self.tell_phone(Received(connection - self.connections_before, text))

    def _closed(self, connection: int) -> None:
        self.tell_phone(Closed(connection - self.connections_before, 1000))

    def _left(self, connection: int) -> None:
        """API Gateway finds that a connection is gone."""
        self._open.discard(connection)
        self.feed(PhoneLeft(str(connection)))

    def go_away(self, for_ms: float) -> None:
        """Lose the connection, and every other one for a while."""
        self.network.cut_off = True
        self.away.append((self.clock.now_ms, self.clock.now_ms + for_ms))
        self.drop()
        self.clock.after(for_ms, lambda: setattr(self.network, "cut_off", False))

    # The network

    def _carry_up(self, text: str) -> None:
        connection, body = self._connection, text.encode()
        message = PhoneSaid(str(connection), connection, int(self.clock.now_ms), body)
        self.network.carry("up", connection, text, lambda: self._published(message))

    def carry_down(self, action: Post, settled: Callable[[PostOutcome], None]) -> None:
        """Carry a relay's post to the phone; tell how it ended."""
        connection = int(action.connection_id)
        is_open = connection in self._open
        if is_open:
            self.audio_posts += '"type":"audio"' in action.data
            self.network.carry("down", connection, action.data, lambda: self._received(connection, action.data))
        outcome = PostOutcome.DELIVERED if is_open else PostOutcome.GONE
        self.clock.after(self.chance.of("posts").uniform(*self.post_ms), lambda: settled(outcome))

    def disconnect(self, connection: int) -> None:
        """Have API Gateway close a connection."""
        self._open.discard(connection)
        self.clock.after(20, lambda: self._closed(connection))

    # The gateway

    def feed(self, event: Input) -> None:
        """Publish something: every relay that there is hears it."""
        for relay in list(self.relays):
            if not relay.finished:
                relay.feed(event)

    def _published(self, message: PhoneSaid) -> None:
        """Do as the stream Lambda does: publish, and start a relay where no lease is."""
        self.feed(message)
        if self.redis.calls_for_relay(message.body, self.clock.now_ms):
            self.clock.after(self.chance.of("starts").uniform(*self.start_ms), lambda: self._relay_starts(message))

    def _relay_starts(self, message: PhoneSaid) -> None:
        """A relay runs: it takes the lease if that is free, reads the progress, and is told what woke it."""
        now_ms = self.clock.now_ms
        epoch = max(self.redis.epoch + 1, _FIRST_EPOCH + int(now_ms))
        if not self.redis.take_lease(epoch, now_ms):
            return
        session = open_session(self.redis.progress)
        taken_over = ended = None
        if session is None or session.reason is not None:
            ended = self._stored_assessment()
        if session is not None:
            taken_over = TookOver(session, ended)
        relay = VirtualRelay(self, epoch, ended=ended, session=taken_over)
        self.relays.append(relay)
        relay.feed(message)

    def _stored_assessment(self) -> Assessment | None:
        wanted = (self.redis.progress or {}).get("session_id")
        stored = [saved for saved in self.saves if saved.session_id == wanted]
        return stored[-1] if stored else None

    @property
    def relay(self) -> VirtualRelay:
        """The newest relay."""
        return self.relays[-1]

    @property
    def conversation(self) -> Conversation:
        """The newest relay's core."""
        return self.relay.conversation

    @property
    def nova(self) -> VirtualNova:
        """The newest relay's streams."""
        return self.relay.nova

    @property
    def finished(self) -> bool:
        """Whether the newest relay has come to its end."""
        return self.relay.finished

    @property
    def relay_is_done(self) -> bool:
        """Whether the newest relay has come to its end, or was lost after all was done."""
        return self.finished or (not self.relay.alive and bool(self.saves))

    # What came of it

    def messages[M: DownMessage](self, kind: type[M]) -> list[M]:
        """What the phone was shown of one kind, in order."""
        return [message for message in self.shown if isinstance(message, kind)]

    @property
    def assessment(self) -> Assessment | None:
        """The assessment as the phone got it."""
        messages = self.messages(AssessmentMessage)
        return Assessment.model_validate(messages[-1].assessment) if messages else None

    def outages(self) -> list[tuple[float, float]]:
        """From when to when Maya had no stream, in ms."""
        found: list[tuple[float, float]] = []
        for record, at_ms in zip(self.records, self.recorded_at_ms, strict=True):
            if record.event == "stream_lost" and (not found or found[-1][1]) and record.fields["state"] == "live":
                found.append((at_ms, 0.0))
            elif record.event in ("stream_recovered", "part_began", "test_over") and found and not found[-1][1]:
                found[-1] = (found[-1][0], at_ms)
        return found

    def was_away(self, from_ms: float, to_ms: float) -> bool:
        """Whether the phone could not be told anything for a while."""
        return any(begin < to_ms and from_ms < end + 2_000 for begin, end in self.away)

    @property
    def dialogue_part(self) -> int:
        """The part under way at the gateway, 0 before the first."""
        return self.conversation._dialogue.part

    @property
    def kept_ms(self) -> float:
        """The learner's speech that the gateway holds."""
        return self.conversation._line.replay.sound_ms

    @property
    def replay(self) -> str:
        """How a failing conversation is held again."""
        return f"seed {self.seed} (python -m pytest tests/core/conversation -k '[{self.seed}]')"

    @property
    def ended(self) -> bool:
        """Whether the gateway's side is over."""
        return self.conversation.state is State.ENDED
