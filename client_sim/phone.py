"""The app's side of maya.v1 without input, output or clock.

Whatever happens is told to `Phone.handle`, with the time; what the shell has to do comes from `Phone.take_actions`; what
is to be written on the open connection is pulled by `Phone.take_message`, one message whenever the line takes one more.
Pulling bounds everything: speech waits in one buffer, acknowledgements are made when they are sent, and a slow line gets
fewer of them.
"""

import binascii
from typing import Final, assert_never

from client_sim.connection import Connection
from client_sim.downlink import Downlink, Passing
from client_sim.events import (
    Action,
    Begin,
    Captured,
    Chosen,
    Closed,
    Event,
    Measured,
    Opened,
    Received,
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
from client_sim.states import CONNECTED, State
from client_sim.uplink import Uplink
from gateway.core import messages as maya
from gateway.core.messages import Message
from gateway.core.wire import encode

_OPENING: Final = frozenset({Request.OPEN})
_LIVE: Final = frozenset({Request.STOP, Request.LAG_CHOICE})


class Phone:
    """One conversation as the app holds it.

    Args:
        settings: of this conversation.
        speaker: plays what Maya says; its queue paces the gateway.
    """

    def __init__(self, settings: PhoneSettings, speaker: Playback) -> None:
        self._settings = settings
        self.speaker = speaker
        self.figures = PhoneFigures()
        self.uplink = Uplink(rate=settings.rate, hold_ms=settings.hold_ms)
        self.status: maya.Status | None = None
        self._downlink = Downlink(self.figures)
        self._heartbeat = Heartbeat(ping_every_ms=settings.ping_every_ms)
        self._frames = FrameLength()
        self._repeats = Repeats()
        self._actions: list[Action] = []
        self._connection = Connection(settings, self._heartbeat, self._repeats, self._act)
        self._seen_ready_of: int | None = None
        self._question = LagQuestion(self._repeats)
        self._stopped = False

    # What the shell asks

    @property
    def state(self) -> State:
        """Where the phone stands."""
        return self._connection.state

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
                if self._connection.hears(connection, now_ms):
                    self._receive(text, now_ms)
            case Captured(pcm):
                if self.microphone_on:
                    self.uplink.capture(pcm, now_ms)
            case Begin() | Opened() | Refused() | Closed():
                self._connection.handle(event, now_ms)
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
        self._connection.check_deadlines(now_ms)

    def _act(self, action: Action) -> None:
        self._actions.append(action)

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
        return self._connection.next_timer_ms()

    # From the learner

    def _stop(self, now_ms: float) -> None:
        if self._stopped or self.state in (State.LEAVING, State.OVER):
            return
        self._stopped = True
        if self._seen_ready_of is None:
            self._connection.unwanted(now_ms)
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
            self._act(Show(taken_back))

    def _ready(self, message: maya.Ready, now_ms: float) -> None:
        again = self._seen_ready_of is not None
        new_relay = self._seen_ready_of != message.epoch
        self._seen_ready_of = message.epoch
        self._frames.limit(message.limits.frame_ms)
        if new_relay:
            self._question.forget()
        if self._connection.ready(message.resume_within_s * 1000):
            frames = self.uplink.rewind(message.next_seq)
            if again:
                self.figures.reconnects += 1
                self._act(Resumed(now_ms - self._connection.dropped_at_ms, frames))
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
        self._act(Show(message))

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
                    self._act(Measured(round_trip_ms))
            case maya.Error():
                self._error(message, now_ms)
            case maya.Bye():
                self._act(Show(message))
                self._connection.bye(message.reason, now_ms)

    def _error(self, message: maya.Error, now_ms: float) -> None:
        self.figures.errors += 1
        self._act(Show(message))
        why = f"{message.code}: {message.message}"
        if message.fatal:
            self._connection.failed(why, now_ms)
        elif self.state is State.LIVE and message.code == "not_started":
            self._connection.forgotten(now_ms)
        elif self.state is not State.LIVE and message.ref in ("start", "resume"):
            self._connection.turned_away(why, now_ms)
