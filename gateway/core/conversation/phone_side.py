"""The phone's side of a conversation: which connection counts, what it said, what it is answered."""

import math
from dataclasses import dataclass, field
from typing import Final

from gateway.core.conversation.asides import Asides
from gateway.core.conversation.downlink import Downlink
from gateway.core.conversation.inputs import PhoneSaid, PostOutcome, PostSettled
from gateway.core.conversation.phone_events import PhoneEvents, PhoneWatcher
from gateway.core.conversation.settings import ConversationSettings
from gateway.core.conversation.uplink import Uplink
from gateway.core.errors import AlreadyStarted, Busy, NotStarted, ProtocolError, SessionGone, TooFast
from gateway.core.flood import FloodGuard, Verdict
from gateway.core.messages import (
    AckDown,
    AckUp,
    AudioUp,
    Bye,
    ByeReason,
    DownMessage,
    Error,
    LagChoice,
    Limits,
    Ping,
    PingDown,
    Pong,
    PongDown,
    Ready,
    Resume,
    Start,
    Stop,
    UpMessage,
)
from gateway.core.wire import check_audio, parse_up, pcm_duration_ms

_ERROR_EVERY_MS: Final = 1_000.0

EARLY_MS: Final = 50.0
"""So much too early an acknowledgement goes with what happens anyhow."""

_ROUTINE: Final = frozenset({AudioUp, AckUp, Ping, Pong})
"""What a phone says many times a minute while all is well."""


@dataclass(slots=True)
class PhoneSide:
    """Reads the phone's messages, keeps to its newest connection, answers what needs no thought.

    Attributes:
        asides: what other connections are told.
        events: is told what messages mean; set before the first one comes.
        start: the session's first message, None before it.
        open: the conversation takes and acknowledges audio.
        last_heard_ms: when the phone last said something that could be read.
        watcher: is told what messages say about the line.
        connection_id: the newest connection, open or not.
        connected_at_ms: when API Gateway opened it, wall clock.
        said_nothing_new: the last message was one of those that a talk is full of, and set nothing else going.
    """

    settings: ConversationSettings
    epoch: int
    support_code: str
    downlink: Downlink
    uplink: Uplink
    asides: Asides
    events: PhoneEvents = field(init=False)
    start: Start | None = None
    open: bool = False
    last_heard_ms: float = 0.0
    watcher: PhoneWatcher | None = None
    connection_id: str = ""
    connected_at_ms: int = -1
    said_nothing_new: bool = False
    _error_at_ms: float | None = None
    _ack_at_ms: float = 0.0
    _stored_seq: int = -1
    _owes_ack: bool = False
    _is_elsewhere: bool = False
    _is_taken_up: bool = False
    _refused_until_ms: float = 0.0
    _known_from_ms: float = 0.0
    _heard_from_ms: int = -1
    _flood: FloodGuard = field(init=False)

    def __post_init__(self) -> None:
        """Begin to count."""
        self._flood = FloodGuard(self.settings.flood)

    # What the phone says

    def said(self, message: PhoneSaid, now_ms: float) -> None:
        """Take a message from any connection of the learner."""
        self.said_nothing_new = False
        if self._is_elsewhere or self._is_too_much(message, now_ms):
            return
        try:
            said = parse_up(message.body)
            self._take(message, said, now_ms)
            self.said_nothing_new = type(said) in _ROUTINE and not self.uplink.taking_up and self.downlink.is_known
        except (SessionGone, Busy) as error:
            self._turn_away(message.connection_id, error, now_ms)
        except ProtocolError as error:
            self._complain(message.connection_id, error, now_ms)

    def take_up(self, start: Start, connection_id: str, connected_at_ms: int, seq: int, now_ms: float) -> None:
        """Go on with the phone of a lost relay, by the last connection known; it may have another by now."""
        self.start, self._is_taken_up = start, True
        self.last_heard_ms = now_ms
        self._stored_seq = seq
        self.downlink.speak_at(start.out_rate)
        self.downlink.take_up()
        self.uplink.speak_at(start.rate)
        self.connection_id, self.connected_at_ms = connection_id, connected_at_ms
        if connection_id:
            self.downlink.attach(connection_id)

    def _is_too_much(self, message: PhoneSaid, now_ms: float) -> bool:
        """Whether a message comes by a connection that floods; one that does is deleted, which is a drop."""
        verdict = self._flood.count(message.connection_id, message.connected_at_ms, message.received_at_ms)
        if verdict is Verdict.CUT:
            self._refused_until_ms = now_ms + self.settings.flood.flood_refuse_s * 1000.0
            self.left(message.connection_id)
            self.events.phone_flooded(message.connection_id, now_ms)
        return verdict is not Verdict.TAKE

    def left(self, connection_id: str) -> None:
        """A connection is gone. That of an older connection says nothing about the phone."""
        if connection_id == self.connection_id:
            self.downlink.detach()

    def settled(self, event: PostSettled, now_ms: float) -> None:
        """A post has ended."""
        if event.connection_id != self.downlink.connection_id:
            return
        self.downlink.settled(event.outcome, event.retry_after_ms, now_ms)
        if event.outcome is PostOutcome.GONE:
            self.downlink.detach()

    def _complain(self, connection_id: str, error: ProtocolError, now_ms: float) -> None:
        """Tell a connection of its error, at most once a second; of one that ends the conversation `bye` tells."""
        if error.fatal:
            self.events.failed(error, now_ms)
        elif self._error_at_ms is None or now_ms - self._error_at_ms >= _ERROR_EVERY_MS:
            self._error_at_ms = now_ms
            told = Error.of(error, epoch=self.epoch)
            if connection_id == self.downlink.connection_id:
                self.downlink.mention(told)
            else:
                self.asides.tell(connection_id, told)

    def _turn_away(self, connection_id: str, error: SessionGone | Busy, now_ms: float) -> None:
        """Part with a connection that asks for what it cannot have; the session that is here goes on.

        Where it is the phone's own connection, the app has lost track of its session, and that ends.
        """
        if connection_id == self.downlink.connection_id:
            self.events.failed(error, now_ms)
        elif not self.asides.is_parting(connection_id):
            self.asides.tell(connection_id, Error.of(error, epoch=self.epoch))
            self.asides.part_from(connection_id, "failed", now_ms)

    def _take(self, envelope: PhoneSaid, message: UpMessage, now_ms: float) -> None:
        self.last_heard_ms = now_ms
        if self.watcher is not None:
            self.watcher.heard(now_ms)
        if isinstance(message, Start):
            self._take_start(envelope, message, now_ms)
        elif isinstance(message, Resume):
            self._take_resume(envelope, message, now_ms)
        elif self.start is not None:
            if not self.downlink.is_known and self._is_newer(envelope):
                # It came back while no relay listened that could have written it down.
                self._replace_connection(envelope, now_ms)
                self.events.phone_is_back(now_ms, forgot=False)
            self._take_within_session(envelope, message, now_ms)
        elif not isinstance(message, AckUp | Ping | Pong):  # these belong to a connection and may get lost
            raise NotStarted(f"{message.type} came before start", ref=message.type)

    def _take_within_session(self, envelope: PhoneSaid, message: UpMessage, now_ms: float) -> None:
        match message:
            case AudioUp() if envelope.connected_at_ms >= self._heard_from_ms:
                self._take_audio(envelope.connection_id, message, now_ms)
            case AckUp() if self._knows_this_relay(envelope):
                self._take_ack(message, now_ms)
            case Pong(id=self.epoch) if not self.downlink.is_known:
                self.downlink.known()
                self._known_from_ms = envelope.received_at_ms + 1
            case Ping() if envelope.connection_id == self.downlink.connection_id:
                self.downlink.mention(PongDown(epoch=self.epoch, id=message.id, at=message.at))
            case Pong() if envelope.connection_id == self.downlink.connection_id and self.watcher is not None:
                self.watcher.ping_answered(message.id, now_ms)
            case Stop():
                self.events.stop_asked(message.seq, now_ms)
            case LagChoice():
                self.events.lag_answered(message, now_ms)
            case _:
                pass

    def _take_start(self, envelope: PhoneSaid, start: Start, now_ms: float) -> None:
        if now_ms < self._refused_until_ms and envelope.connection_id != self.downlink.connection_id:
            raise Busy.too_many_messages(retry_after_s=(self._refused_until_ms - now_ms) / 1000.0)
        if self.start is None and self._recalled(envelope, start, self.uplink.next_seq, now_ms):
            return
        if self.start is None:
            self.start = start
            self.uplink.speak_at(start.rate)
            self.downlink.speak_at(start.out_rate)
            self._attach(envelope)
            self.events.session_begins(start, now_ms)
        elif start.session_id != self.start.session_id:
            if envelope.connected_at_ms >= self.connected_at_ms:
                self._leave_to_another(envelope, now_ms)
        elif start != self.start and not self._is_start_of_lost(start):
            raise AlreadyStarted("start differs from that of the open session", ref="start")
        elif self._is_newer(envelope):
            self._replace_connection(envelope, now_ms)
            self.downlink.forget()
            self.uplink.forget()
            self._heard_from_ms = envelope.connected_at_ms
            self.events.phone_is_back(now_ms, forgot=True)
        else:
            self._part_from_older(envelope, now_ms)

    def _take_resume(self, envelope: PhoneSaid, resume: Resume, now_ms: float) -> None:
        if self.start is None and self._recalled(envelope, resume, resume.seq, now_ms):
            return
        if self.start is None or resume.session_id != self.start.session_id:
            raise SessionGone("there is no such session to come back to", ref="resume")
        if self._is_newer(envelope):
            self._replace_connection(envelope, now_ms)
            self.uplink.resume(resume.seq, now_ms)
            self.downlink.resume(resume.n if self._knows_this_relay(envelope) else -1)
            self.events.phone_is_back(now_ms, forgot=False)
        elif envelope.connection_id != self.connection_id:
            self._part_from_older(envelope, now_ms)
        elif self.uplink.taking_up:
            self.uplink.resume(resume.seq, now_ms)

    def _recalled(self, envelope: PhoneSaid, message: Start | Resume, next_seq: int, now_ms: float) -> bool:
        """Open the line once more for a phone that lacks its assessment."""
        module = self.events.ended_module(message.session_id)
        if module is None:
            return False
        if isinstance(message, Resume):
            message = Start(session_id=message.session_id, module=module)
        self.start = message
        self._attach(envelope)
        # Nothing is known of when the app began, and its speech is not needed any more.
        self.uplink.take_up(next_seq - 1, 0.0, -math.inf, now_ms)
        self.ready(now_ms)
        self.events.session_recalled(now_ms)
        return True

    def _take_audio(self, connection_id: str, audio: AudioUp, now_ms: float) -> None:
        assert self.start is not None
        check_audio(audio, self.start.rate)
        try:
            frames = self.uplink.receive(audio, now_ms)
        except TooFast as error:
            raise TooFast(error.message, ref=audio.seq, fatal=error.fatal) from None
        if self.uplink.replayed:
            self._flood.forgive(connection_id)
        if self.watcher is not None:
            self.watcher.frame_came(audio.seq, audio.t + pcm_duration_ms(audio.pcm, self.start.rate), now_ms)
        if frames:
            self.events.frames_heard(frames, now_ms)

    def _take_ack(self, ack: AckUp, now_ms: float) -> None:
        self.downlink.acknowledged(ack.n, ack.queue_ms, now_ms)
        if ack.turn is not None and ack.heard_ms is not None:
            self.events.turn_heard(ack.turn, ack.heard_ms)

    # Connections

    def _is_newer(self, envelope: PhoneSaid) -> bool:
        """Whether a connection takes over: the one opened last wins, in whatever order messages arrive."""
        if envelope.connection_id == self.connection_id:
            return self.downlink.connection_id is None
        return envelope.connected_at_ms > self.connected_at_ms

    def _knows_this_relay(self, envelope: PhoneSaid) -> bool:
        """Whether the phone speaks of this relay's numbers: a connection carries them in order, whatever order they come in."""
        return self.downlink.is_known and envelope.received_at_ms >= self._known_from_ms

    def _is_start_of_lost(self, start: Start) -> bool:
        """Whether a session that was taken up began with this: its progress leaves out what may differ."""
        return (
            self._is_taken_up
            and self.start is not None
            and start.model_copy(update={"region": self.start.region, "client": None}) == self.start
        )

    def _attach(self, envelope: PhoneSaid) -> None:
        self.connection_id = envelope.connection_id
        self.connected_at_ms = envelope.connected_at_ms
        self.asides.keep(envelope.connection_id)
        self.downlink.attach(envelope.connection_id)

    def _replace_connection(self, envelope: PhoneSaid, now_ms: float) -> None:
        self._part_from_current(envelope, now_ms)
        self._attach(envelope)

    def _part_from_current(self, envelope: PhoneSaid, now_ms: float) -> None:
        current = self.downlink.connection_id
        if current is not None and current != envelope.connection_id:
            self.asides.part_from(current, "replaced", now_ms)

    def _part_from_older(self, envelope: PhoneSaid, now_ms: float) -> None:
        """A connection that was opened before the one in use wants to be it: its word has been overtaken."""
        if envelope.connection_id != self.connection_id and not self.asides.is_parting(envelope.connection_id):
            self.asides.part_from(envelope.connection_id, "replaced", now_ms)

    def _leave_to_another(self, envelope: PhoneSaid, now_ms: float) -> None:
        """Another session of the learner's begins with another relay: for that one is what the phone says from now on."""
        self._part_from_current(envelope, now_ms)
        self.downlink.detach()
        self.open = False
        self._is_elsewhere = True
        self.events.another_session(now_ms)

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
        """Acknowledge what has come, and write it down before: what the phone lets go of, another relay must not wait for."""
        frames = self.uplink.give_up_missing()
        if frames:
            self.events.frames_heard(frames, now_ms)
        if not self.open or self.downlink.connection_id is None or now_ms < self._ack_at_ms - EARLY_MS:
            return
        self._ack_at_ms = now_ms + self.settings.ack_every_ms
        if not self.downlink.is_known:
            self.downlink.mention(PingDown(epoch=self.epoch, id=self.epoch, at=now_ms))
        if self.uplink.acknowledged > self._stored_seq:
            self._owes_ack = True
            self.events.store_progress(now_ms)
        else:
            self._acknowledge()

    def stored(self, seq: int) -> None:
        """It is written down that every frame up to `seq` was taken, or could not be."""
        self._stored_seq = max(self._stored_seq, seq)
        if self.open and self._owes_ack:
            self._acknowledge()

    def _acknowledge(self) -> None:
        self._owes_ack = False
        self.downlink.mention(AckDown(epoch=self.epoch, seq=self._stored_seq))

    def next_timer_ms(self) -> float | None:
        """When `tick` is due."""
        return self._ack_at_ms if self.open and self.downlink.connection_id is not None else None

    def bye(self, reason: ByeReason, error: ProtocolError | None) -> None:
        """Say the last words, with the error that ended the conversation if one did; nothing follows."""
        self.open = False
        last: list[DownMessage] = [Bye(epoch=self.epoch, reason=reason)]
        if error is not None:
            last.insert(0, Error.of(error, epoch=self.epoch))
        self.downlink.say_farewell(*last)
