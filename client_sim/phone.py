"""The app's side of maya.v1 without input, output or clock.

Whatever happens is told to `Phone.handle`, with the time; what the shell has to do comes from `Phone.take_actions`; what
is to be written on the open connection is pulled by `Phone.take_message`, one message whenever the line takes one more.
Pulling bounds everything: speech waits in one buffer, acknowledgements are made when they are sent, and a slow line gets
fewer of them.
"""

import binascii
from typing import Final, assert_never

from client_sim.downlink import Downlink, Passing
from client_sim.events import (
    Action,
    Begin,
    Captured,
    Chosen,
    Close,
    Closed,
    Connect,
    Dropped,
    Event,
    Measured,
    Opened,
    Over,
    Received,
    RefreshToken,
    Refused,
    Resumed,
    Show,
    StopAsked,
    Suspended,
    Tick,
)
from client_sim.frame_length import FrameLength
from client_sim.heartbeat import Heartbeat
from client_sim.lag_question import LagQuestion
from client_sim.phone_settings import PhoneFigures, PhoneSettings
from client_sim.playback import Playback
from client_sim.repeats import Repeats, Request
from client_sim.states import CONNECTED, State, Step, after
from client_sim.uplink import Uplink
from gateway.core import messages as maya
from gateway.core.messages import Message
from gateway.core.wire import encode

_OPENING: Final = frozenset({Request.OPEN})
_LIVE: Final = frozenset({Request.STOP, Request.LAG_CHOICE})
_UNAUTHORIZED: Final = 401
_FORBIDDEN: Final = 403


class Phone:
    """One conversation as the app holds it.

    Args:
        settings: of this conversation.
        speaker: plays what Maya says; its queue paces the gateway.
    """

    def __init__(self, settings: PhoneSettings, speaker: Playback) -> None:
        self._settings = settings
        self.speaker = speaker
        self.state = State.NEW
        self.figures = PhoneFigures()
        self.uplink = Uplink(rate=settings.rate, hold_ms=settings.hold_ms)
        self.status: maya.Status | None = None
        self._downlink = Downlink(self.figures)
        self._heartbeat = Heartbeat(ping_every_ms=settings.ping_every_ms)
        self._frames = FrameLength()
        self._repeats = Repeats()
        self._actions: list[Action] = []
        self._connection = 0
        self._seen_ready_of: int | None = None
        self._resume_within_ms = settings.resume_within_ms
        self._question = LagQuestion(self._repeats)
        self._stopped = False
        self._bye: maya.Bye | None = None
        self._failure: str | None = None
        self._fatal = False
        self._refused_status: int | None = None
        # Deadlines; None where nothing is awaited.
        self._retry_at_ms: float | None = None
        self._give_up_at_ms: float | None = None
        self._heard_at_ms = 0.0
        self._dropped_at_ms = 0.0
        self._tries = 0

    # What the shell asks

    @property
    def microphone_on(self) -> bool:
        """Whether frames are to be captured: from the first `ready` to `stop` or `bye`, over all drops."""
        return self._seen_ready_of is not None and not self._stopped and self.state not in (State.LEAVING, State.OVER)

    @property
    def frame_ms(self) -> int:
        """How long the next frame of the microphone should be: it follows the lag."""
        return self._frames.frame_ms

    @property
    def lag_prompt(self) -> maya.LagPrompt | None:
        """The question that is on the screen, None for none."""
        return self._question.prompt

    @property
    def round_trip_ms(self) -> float | None:
        """The last measured round trip."""
        return self._heartbeat.round_trip_ms

    def handle(self, event: Event, now_ms: float) -> None:
        """Take in what happened."""
        match event:
            case Received(connection, text):
                if connection == self._connection and self.state in CONNECTED:
                    self._heard_at_ms = now_ms
                    self._receive(text, now_ms)
            case Captured(pcm):
                if self.microphone_on:
                    self.uplink.capture(pcm, now_ms)
            case Begin() | Opened() | Refused() | Closed():
                self._handle_connection(event, now_ms)
            case Suspended(gap_ms):
                self.uplink.suspend(gap_ms)
            case Chosen(choice):
                self._question.choose(choice)
            case StopAsked():
                self._stop(now_ms)
            case Tick():
                pass
            case _:
                assert_never(event)
        self._check_deadlines(now_ms)

    def take_actions(self) -> list[Action]:
        """What the shell has to do now, in order; each is returned once."""
        actions, self._actions = self._actions, []
        return actions

    def take_message(self, now_ms: float) -> str | None:
        """The next text to write on the open connection, None when there is none now (see `next_message_ms`)."""
        if self.state not in CONNECTED:
            return None
        pong = self._heartbeat.take_pong()
        if pong is not None:
            return encode(pong)
        live = self.state is State.LIVE
        request = self._repeats.take(now_ms, _LIVE if live else _OPENING)
        if request is not None:
            return encode(self._request(request))
        if not live:
            return None
        queue_ms = self.speaker.queue_ms(now_ms)
        regular = self._heartbeat.take(now_ms, acknowledged=self._downlink.acknowledged, queue_ms=queue_ms)
        if regular is not None:
            return encode(regular)
        return self.uplink.take(now_ms, self._heartbeat.patience_ms)

    def next_message_ms(self) -> float | None:
        """When `take_message` has something though nothing happens; in the past for now."""
        if self.state not in CONNECTED:
            return None
        live = self.state is State.LIVE
        moments = [self._heartbeat.next_ms(live=live), self._repeats.next_ms(_LIVE if live else _OPENING)]
        if live:
            moments.append(self.uplink.next_ms(self._heartbeat.patience_ms))
        return min((moment for moment in moments if moment is not None), default=None)

    def next_timer_ms(self) -> float | None:
        """When the phone wants a `Tick` though nothing happens."""
        moments = [self._retry_at_ms, self._give_up_at_ms, self._silent_at_ms()]
        return min((moment for moment in moments if moment is not None), default=None)

    # The connection

    def _step(self, step: Step) -> bool:
        """Move along the table; returns whether the step means anything here."""
        state = after(self.state, step)
        if state is None:
            return False
        self.state = state
        if state is State.OVER:
            self._retry_at_ms = self._give_up_at_ms = None
            self._repeats.clear()
            reason = self._bye.reason if self._bye else None
            self._actions.append(Over(reason, self._failure, self._refused_status))
        return True

    def _handle_connection(self, event: Begin | Opened | Refused | Closed, now_ms: float) -> None:
        if isinstance(event, Begin):
            if self._step(Step.BEGIN) and not (self._stopped and self._step(Step.GIVE_UP)):
                self._give_up_at_ms = now_ms + self._settings.start_within_ms
                self._connect()
        elif event.connection != self._connection:
            pass  # it is about a connection that another has replaced
        elif isinstance(event, Opened):
            self._opened(now_ms)
        elif isinstance(event, Refused):
            self._refused(event, now_ms)
        else:
            self._closed(event, now_ms)

    def _connect(self) -> None:
        self._connection += 1
        self._actions.append(Connect(self._connection))

    def _opened(self, now_ms: float) -> None:
        if not self._step(Step.OPENED):
            return
        self._heard_at_ms = now_ms
        self._heartbeat.connected()
        self._repeats.open(Request.OPEN)
        if self.state is State.RESUMING:
            patience_ms = now_ms + self._settings.answer_within_ms
            self._give_up_at_ms = max(self._give_up_at_ms or 0.0, patience_ms)

    def _refused(self, event: Refused, now_ms: float) -> None:
        self._failure = event.reason
        self._refused_status = event.status
        if event.status == _FORBIDDEN:
            self._step(Step.DENIED)
        elif self._step(Step.REFUSED) and self.state is State.AWAY:
            if event.status == _UNAUTHORIZED:
                self._actions.append(RefreshToken())
            self._retry_at_ms = now_ms + self._back_off_ms()

    def _closed(self, event: Closed, now_ms: float) -> None:
        if self._fatal and self._step(Step.GIVE_UP):
            return
        if not self._step(Step.DROPPED) or self.state is State.OVER:
            return
        self._actions.append(Dropped(event.code))
        self._dropped_at_ms = now_ms
        self._tries = 0
        self._retry_at_ms = now_ms
        if self._seen_ready_of is not None:
            self._give_up_at_ms = now_ms + self._resume_within_ms

    def _back_off_ms(self) -> float:
        wait_ms = min(self._settings.retry_first_ms * 2.0**self._tries, self._settings.retry_longest_ms)
        self._tries += 1
        return wait_ms * (0.5 + 0.5 * self._settings.jitter)

    def _silent_at_ms(self) -> float | None:
        return self._heard_at_ms + self._settings.silent_line_ms if self.state is State.LIVE else None

    def _check_deadlines(self, now_ms: float) -> None:
        if self._give_up_at_ms is not None and now_ms >= self._give_up_at_ms:
            self._give_up_at_ms = None
            self._fail("the gateway did not answer in time")
        if self._retry_at_ms is not None and now_ms >= self._retry_at_ms:
            self._retry_at_ms = None
            if self._step(Step.RETRY):
                self._connect()
        silent_at_ms = self._silent_at_ms()
        if silent_at_ms is not None and now_ms >= silent_at_ms:
            self._actions.append(Close(self._connection))
            self._closed(Closed(self._connection), now_ms)

    def _fail(self, why: str) -> None:
        if self._bye is None and self._failure is None:
            self._failure = why
        connected = self.state in CONNECTED
        if self._step(Step.GIVE_UP) and connected:
            self._actions.append(Close(self._connection))

    # From the learner

    def _stop(self, now_ms: float) -> None:
        if self._stopped or self.state in (State.LEAVING, State.OVER):
            return
        self._stopped = True
        if self._seen_ready_of is None:
            self._failure = "stopped before the test had begun"
            self._give_up_at_ms = now_ms
        else:
            self._repeats.open(Request.STOP)

    def _request(self, request: Request) -> Message:
        if request is Request.STOP:
            return maya.Stop(seq=self.uplink.last_seq)
        if request is Request.LAG_CHOICE and self._question.answer is not None:
            return self._question.answer
        if self._seen_ready_of is not None:
            return maya.Resume(
                session_id=self._settings.session_id, n=self._downlink.acknowledged, seq=self.uplink.oldest_held
            )
        return self._settings.start

    # From the gateway

    def _receive(self, text: str | bytes, now_ms: float) -> None:
        arrival = self._downlink.receive(text)
        if arrival.from_another:
            self._relay_replaced(now_ms)
        if isinstance(arrival.urgent, maya.Ready):
            self._ready(arrival.urgent, now_ms)
        elif isinstance(arrival.urgent, maya.Interrupted):
            self._interrupted(arrival.urgent, now_ms)
        for message in arrival.in_order:
            self._deliver(message, now_ms)
        if arrival.passing is not None:
            self._receive_passing(arrival.passing, now_ms)

    def _relay_replaced(self, now_ms: float) -> None:
        """Another relay speaks: what the lost one said and asked is void."""
        self.speaker.silence(now_ms)
        self._heartbeat.forget_cuts()
        taken_back = self._question.taken_back()
        if taken_back is not None:
            self._actions.append(Show(taken_back))

    def _ready(self, message: maya.Ready, now_ms: float) -> None:
        again = self._seen_ready_of is not None
        new_relay = self._seen_ready_of != message.epoch
        self._seen_ready_of = message.epoch
        self._resume_within_ms = message.resume_within_s * 1000
        self._frames.limit(message.limits.frame_ms)
        if new_relay:
            self._question.forget()
        if self._step(Step.READY):
            self._repeats.answered(Request.OPEN)
            self._give_up_at_ms = None
            self._failure = self._refused_status = None
            frames = self.uplink.rewind(message.next_seq)
            if again:
                self.figures.reconnects += 1
                self._actions.append(Resumed(now_ms - self._dropped_at_ms, frames))
        elif new_relay:
            self.uplink.rewind(message.next_seq)
        else:
            self.uplink.acknowledge(message.next_seq - 1)

    def _interrupted(self, message: maya.Interrupted, now_ms: float) -> None:
        turn = (message.epoch, message.turn)
        self.speaker.drop(turn, now_ms)
        self._heartbeat.cut(message.turn, self.speaker.heard_ms(turn, now_ms))

    def _deliver(self, message: maya.NumberedMessage, now_ms: float) -> None:
        if isinstance(message, maya.AudioDown):
            self._play(message, now_ms)
            return
        if isinstance(message, maya.Status):
            self.status = message
            if message.state == "assessing":
                self._repeats.answered(Request.STOP)
        elif isinstance(message, maya.LagPrompt):
            self._question.asked(message)
        elif isinstance(message, maya.LagCleared):
            self._question.cleared(message)
        self._actions.append(Show(message))

    def _play(self, message: maya.AudioDown, now_ms: float) -> None:
        try:
            pcm = binascii.a2b_base64(message.pcm, strict_mode=True)
        except ValueError:
            self.figures.bad += 1
            return
        turn = (message.epoch, message.turn)
        if pcm:
            self.speaker.add(turn, message.rate, pcm, now_ms)
        else:
            # Cut by barge-in before it came, and sent again before `interrupted` was heard: no sound may follow the hole.
            self.speaker.drop(turn, now_ms)

    def _receive_passing(self, message: Passing, now_ms: float) -> None:
        match message:
            case maya.AckDown(seq=seq):
                self.uplink.acknowledge(seq)
            case maya.PingDown():
                self._heartbeat.asked(message)
            case maya.PongDown(id=ping_id):
                round_trip_ms = self._heartbeat.answered(ping_id, now_ms)
                if round_trip_ms is not None:
                    self._frames.measured(round_trip_ms)
                    self._actions.append(Measured(round_trip_ms))
            case maya.Error():
                self._error(message, now_ms)
            case maya.Bye():
                self._bye = message
                self._actions += [Show(message), Close(self._connection)]
                self._step(Step.BYE)
                self._give_up_at_ms = now_ms + self._settings.bye_within_ms

    def _error(self, message: maya.Error, now_ms: float) -> None:
        self.figures.errors += 1
        self._actions.append(Show(message))
        if message.fatal:
            self._fatal = True
            self._failure = f"{message.code}: {message.message}"
            self._repeats.clear()
            # A test that was under way is assessed before `bye`; who has not begun has nothing to wait for.
            wait_ms = self._settings.assess_within_ms if self.state is State.LIVE else self._settings.bye_within_ms
            self._give_up_at_ms = now_ms + wait_ms
        elif self.state is State.LIVE and message.code == "not_started":
            if self._step(Step.FORGOTTEN):
                self._repeats.open(Request.OPEN)
                self._give_up_at_ms = now_ms + self._settings.answer_within_ms
                self._dropped_at_ms = now_ms
        elif self.state is not State.LIVE and message.ref in ("start", "resume"):
            self._failure = f"{message.code}: {message.message}"
            self._give_up_at_ms = now_ms
