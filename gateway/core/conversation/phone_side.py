"""The phone's side of a conversation: which connection counts, what it said, what it is answered."""

from dataclasses import dataclass, field
from typing import Final, Protocol

from gateway.core.conversation.actions import Disconnect, Post
from gateway.core.conversation.downlink import Downlink
from gateway.core.conversation.inputs import PhoneSaid, PostOutcome, PostSettled
from gateway.core.conversation.settings import ConversationSettings
from gateway.core.conversation.uplink import Frame, Uplink
from gateway.core.errors import AlreadyStarted, NotStarted, ProtocolError, SessionGone, TooFast
from gateway.core.messages import (
    AckDown,
    AckUp,
    AudioUp,
    Bye,
    ByeReason,
    Error,
    LagChoice,
    Limits,
    Module,
    Ping,
    PongDown,
    Ready,
    Resume,
    Start,
    Stop,
    UpMessage,
)
from gateway.core.wire import check_audio, encode, parse_up

_ERROR_EVERY_MS: Final = 1_000.0


class PhoneEvents(Protocol):
    """What the conversation wants to know of its phone."""

    def session_begins(self, start: Start, now_ms: float) -> None:
        """The first `start` has come."""

    def phone_is_back(self, now_ms: float, *, forgot: bool) -> None:
        """The phone came back to its session; `forgot` when the app was killed meanwhile."""

    def ended_module(self, session_id: str) -> Module | None:
        """The module of a session that has ended and whose assessment can be told; None for any other."""

    def session_recalled(self, now_ms: float) -> None:
        """The phone has come back to the session that has ended."""

    def another_session(self, same_connection: bool, now_ms: float) -> None:  # noqa: FBT001 - a fact, not a switch
        """The learner has begun another conversation."""

    def frames_heard(self, frames: list[Frame], now_ms: float) -> None:
        """Speech of the learner, in order."""

    def turn_heard(self, turn: int, heard_ms: float) -> None:
        """How much of an interrupted turn was played."""

    def stop_asked(self, seq: int, now_ms: float) -> None:
        """The learner ends the test after frame `seq`."""

    def lag_answered(self, choice: LagChoice, now_ms: float) -> None:
        """The learner has answered a lag prompt."""

    def phone_failed(self, error: ProtocolError, now_ms: float) -> None:
        """An error that ends the conversation; the phone has been told."""


@dataclass(slots=True)
class PhoneSide:
    """Reads the phone's messages, keeps to its newest connection, answers what needs no thought.

    Attributes:
        open: the conversation takes and acknowledges audio.
    """

    settings: ConversationSettings
    epoch: int
    support_code: str
    downlink: Downlink
    uplink: Uplink
    events: PhoneEvents
    start: Start | None = None
    open: bool = False
    last_heard_ms: float = 0.0
    _connected_at_ms: int = -1
    _connection_id: str = ""
    _error_at_ms: float | None = None
    _ack_at_ms: float = 0.0
    _farewells: list[Post | Disconnect] = field(default_factory=list)

    # What the phone says

    def said(self, message: PhoneSaid, now_ms: float) -> None:
        """Take a message from any connection of the learner."""
        try:
            self._take(message, parse_up(message.body), now_ms)
        except ProtocolError as error:
            self.complain(error, message, now_ms)

    def left(self, connection_id: str) -> None:
        """A connection is gone. That of an older connection says nothing about the phone."""
        if connection_id == self._connection_id:
            self.downlink.detach()

    def settled(self, event: PostSettled, now_ms: float) -> None:
        """A post has ended."""
        if event.connection_id != self.downlink.connection_id:
            return
        self.downlink.settled(event.outcome, event.retry_after_ms, now_ms)
        if event.outcome is PostOutcome.GONE:
            self.downlink.detach()

    def complain(self, error: ProtocolError, message: PhoneSaid | None, now_ms: float) -> None:
        """Tell the phone of an error, at most once a second unless it is fatal."""
        if (
            message is not None
            and self.downlink.connection_id is None
            and message.connected_at_ms >= self._connected_at_ms
        ):
            self._attach(message)
        limited = self._error_at_ms is not None and now_ms - self._error_at_ms < _ERROR_EVERY_MS
        if limited and not error.fatal:
            return
        self._error_at_ms = now_ms
        self.downlink.mention(Error.of(error, epoch=self.epoch))
        if error.fatal:
            self.events.phone_failed(error, now_ms)

    def _take(self, envelope: PhoneSaid, message: UpMessage, now_ms: float) -> None:
        self.last_heard_ms = now_ms
        if isinstance(message, Start):
            self._take_start(envelope, message, now_ms)
        elif isinstance(message, Resume):
            self._take_resume(envelope, message, now_ms)
        elif self.start is None:
            raise NotStarted(f"{message.type} came before start", ref=message.type)
        else:
            self._take_within_session(envelope, message, now_ms)

    def _take_within_session(self, envelope: PhoneSaid, message: UpMessage, now_ms: float) -> None:
        match message:
            case AudioUp():
                self._take_audio(message, now_ms)
            case AckUp():
                self._take_ack(message, now_ms)
            case Ping() if envelope.connection_id == self.downlink.connection_id:
                self.downlink.mention(PongDown(epoch=self.epoch, id=message.id, at=message.at))
            case Stop():
                self.events.stop_asked(message.seq, now_ms)
            case LagChoice():
                self.events.lag_answered(message, now_ms)
            case _:
                pass

    def _take_start(self, envelope: PhoneSaid, start: Start, now_ms: float) -> None:
        if self.start is None and self._recalled(envelope, start.session_id, self.uplink.next_seq, now_ms):
            return
        if self.start is None:
            self.start = start
            self.uplink.speak_at(start.rate)
            self.downlink.speak_at(start.out_rate)
            self._attach(envelope)
            self.events.session_begins(start, now_ms)
        elif start.session_id != self.start.session_id:
            if envelope.connected_at_ms >= self._connected_at_ms:
                same_connection = envelope.connection_id == self._connection_id
                self.events.another_session(same_connection, now_ms)
        elif start != self.start:
            raise AlreadyStarted("start differs from that of the open session", ref="start")
        elif self._is_newer(envelope):
            self._replace_connection(envelope)
            self.downlink.forget()
            self.events.phone_is_back(now_ms, forgot=True)

    def _take_resume(self, envelope: PhoneSaid, resume: Resume, now_ms: float) -> None:
        if self.start is None and self._recalled(envelope, resume.session_id, resume.seq, now_ms):
            return
        if self.start is None or resume.session_id != self.start.session_id:
            gone = SessionGone("there is no such session to come back to", ref="resume")
            if self.start is None or envelope.connection_id == self._connection_id:
                raise gone
            self._turn_away(envelope.connection_id, gone)
        elif self._is_newer(envelope):
            self._replace_connection(envelope)
            self.uplink.resume(resume.seq, now_ms)
            self.downlink.resume(resume.n)
            self.events.phone_is_back(now_ms, forgot=False)

    def _recalled(self, envelope: PhoneSaid, session_id: str, next_seq: int, now_ms: float) -> bool:
        """Open the line once more for a phone that lacks its assessment."""
        module = self.events.ended_module(session_id)
        if module is None:
            return False
        self.start = Start(session_id=session_id, module=module)
        self._attach(envelope)
        self.uplink.resume(next_seq, now_ms)
        self.ready(now_ms)
        self.events.session_recalled(now_ms)
        return True

    def _take_audio(self, audio: AudioUp, now_ms: float) -> None:
        assert self.start is not None
        check_audio(audio, self.start.rate)
        try:
            frames = self.uplink.receive(audio, now_ms)
        except TooFast as error:
            raise TooFast(error.message, ref=audio.seq, fatal=error.fatal) from None
        if frames:
            self.events.frames_heard(frames, now_ms)

    def _take_ack(self, ack: AckUp, now_ms: float) -> None:
        self.downlink.acknowledged(ack.n, ack.queue_ms, now_ms)
        if ack.turn is not None and ack.heard_ms is not None:
            self.events.turn_heard(ack.turn, ack.heard_ms)

    # Connections

    def _is_newer(self, envelope: PhoneSaid) -> bool:
        """Whether a connection takes over: the one opened last wins, in whatever order messages arrive."""
        if envelope.connection_id == self._connection_id:
            return self.downlink.connection_id is None
        return envelope.connected_at_ms > self._connected_at_ms

    def _attach(self, envelope: PhoneSaid) -> None:
        self._connection_id = envelope.connection_id
        self._connected_at_ms = envelope.connected_at_ms
        self.downlink.attach(envelope.connection_id)

    def _replace_connection(self, envelope: PhoneSaid) -> None:
        old = self.downlink.connection_id
        if old is not None and old != envelope.connection_id:
            bye = encode(Bye(epoch=self.epoch, reason="replaced"))
            self._farewells += [Post(old, bye), Disconnect(old)]
        self._attach(envelope)

    def _turn_away(self, connection_id: str, error: ProtocolError) -> None:
        """Part with a connection that wants another session; the open one goes on."""
        told = (Error.of(error, epoch=self.epoch), Bye(epoch=self.epoch, reason="failed"))
        self._farewells += [Post(connection_id, encode(message)) for message in told]
        self._farewells.append(Disconnect(connection_id))

    def farewells(self) -> list[Post | Disconnect]:
        """What older connections are still to be told."""
        farewells, self._farewells = self._farewells, []
        return farewells

    # What the phone is told

    def ready(self, now_ms: float) -> None:
        """Tell the phone to send audio; acknowledgements begin."""
        assert self.start is not None
        self.open = True
        self.uplink.ready(now_ms)
        self._ack_at_ms = now_ms + self.settings.ack_every_ms
        self.downlink.tell_now(
            Ready,
            session_id=self.start.session_id,
            resume_within_s=self.settings.resume_within_s,
            next_seq=self.uplink.next_seq,
            limits=Limits(buffer_s=self.settings.phone_buffer_s, conversation_s=self.settings.time_limit_s),
            support_code=self.support_code,
        )

    def tick(self, now_ms: float) -> None:
        """Acknowledge what has come."""
        if self.open and self.downlink.connection_id is not None and now_ms >= self._ack_at_ms:
            self._ack_at_ms = now_ms + self.settings.ack_every_ms
            self.downlink.mention(AckDown(epoch=self.epoch, seq=self.uplink.acknowledged))

    def next_timer_ms(self) -> float | None:
        """When `tick` is due."""
        return self._ack_at_ms if self.open and self.downlink.connection_id is not None else None

    def bye(self, reason: ByeReason) -> None:
        """Say the last word; no acknowledgements follow."""
        self.open = False
        self.downlink.mention(Bye(epoch=self.epoch, reason=reason))
