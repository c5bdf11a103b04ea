"""The lag in a conversation: what the monitor is told, and what the learner is told of it.

The phone's messages, the model's events and the clock go to the monitor (`gateway.core.lag`); its decisions become
`lag_notice`, `lag_prompt` and `lag_cleared`, which are numbered and so survive a drop, and its round trip sets the pace
of Maya's speech. The conversation goes on meanwhile: nothing here waits for an answer.
"""

from dataclasses import dataclass
from typing import Any

from gateway.core.conversation.course import Course
from gateway.core.conversation.dialogue import Dialogue
from gateway.core.conversation.downlink import Downlink
from gateway.core.conversation.line import MayaLine
from gateway.core.lag import (
    USUAL,
    Ask,
    Clear,
    Decision,
    LagMonitor,
    Notice,
    Pace,
    known_region,
    next_pace,
    notice_text,
    prompt_text,
)
from gateway.core.messages import LagChoice, LagCleared, LagNotice, LagPrompt, PingDown, Start
from gateway.core.nova_events import AudioOutput, OutputEvent, Role, TextOutput, UserSpeechEnd, UserSpeechStart

_ENDINGS = {"expired": "lag_expired", "lag_gone": "lag_gone"}


@dataclass(slots=True)
class LagSide:
    """Watches one conversation from its first stream's opening to the end of the talk; before and after it is silent.

    Attributes:
        course: for its settings, its epoch, and what is logged.
        downlink: what is told, and how much of Maya's speech waits.
        line: whether Maya answers the learner or a stage direction.
        dialogue: whether it is Maya's turn.
        noticed: the learner has been told what lag to expect; a relay that follows another need not.
    """

    course: Course
    downlink: Downlink
    line: MayaLine
    dialogue: Dialogue
    noticed: bool = False
    _monitor: LagMonitor | None = None
    _region: str = ""
    _language: str = ""
    _pace: Pace = USUAL
    _open: LagPrompt | None = None
    _dry_since_ms: float | None = None
    _recovering: bool = False

    # What happens

    def begin(self, start: Start, now_ms: float) -> None:
        """Maya's line is open: from now on the learner feels lag."""
        self._monitor = LagMonitor(self.course.settings.lag, start.region, now_ms, noticed=self.noticed)
        self._region, self._language = known_region(start.region), start.language

    def end(self) -> None:
        """The talk is over: a question that is open is taken back."""
        monitor, self._monitor = self._monitor, None
        if monitor is not None and monitor.open_prompt is not None:
            self.downlink.tell_now(LagCleared, prompt_id=self._prompt_id(monitor.open_prompt), why="lag_gone")

    def heard(self, now_ms: float) -> None:
        """The phone is there."""
        if self._monitor is not None:
            self._monitor.heard(now_ms)

    def frame_came(self, seq: int, captured_to_ms: float, now_ms: float) -> None:
        """Measure the way up."""
        if self._monitor is not None:
            self._monitor.uplink.frame(seq, captured_to_ms, now_ms)

    def ping_answered(self, ping_id: int, now_ms: float) -> None:
        """Measure the round trip."""
        if self._monitor is not None:
            self._monitor.round_trip.pong(ping_id, now_ms)

    def phone_left(self) -> None:
        """Its connection is gone."""
        if self._monitor is not None and self.downlink.connection_id is None:
            self._monitor.left()

    def phone_is_back(self, now_ms: float, *, forgot: bool) -> None:
        """By another connection. What it missed is sent again; what it forgot is told again."""
        monitor = self._monitor
        if monitor is None:
            return
        monitor.connected(now_ms)
        self._dry_since_ms = None
        if forgot and monitor.open_prompt is not None and self._open is not None:
            fields = self._open.model_dump(include=_PROMPT_FIELDS)
            self.downlink.tell_now(LagPrompt, **{**fields, "expires_s": monitor.expires_in_s(now_ms)})

    def stream_lost(self) -> None:
        """Maya's stream is lost. A wait for her goes on: her next stream hears the same words again."""
        if self._monitor is not None and self._monitor.response.waiting:
            self._recovering = True

    def stream_said(self, event: OutputEvent, heard_ms: float, now_ms: float) -> None:
        """Follow whose turn it is, after the dialogue has.

        Args:
            event: of the current stream.
            heard_ms: how much sound that stream was sent.
            now_ms: the time.
        """
        monitor = self._monitor
        if monitor is None:
            return
        match event:
            case UserSpeechStart() if not self._recovering:
                monitor.response.void()
            case UserSpeechEnd(offset_ms=ended_ms) if self.dialogue.is_thinking:
                monitor.response.learner_finished(0.0 if ended_ms is None else heard_ms - ended_ms, now_ms)
            case TextOutput(role=Role.USER) if self.dialogue.is_thinking:
                monitor.response.learner_finished(0.0, now_ms)
            case AudioOutput():
                self._maya_sounds(monitor, now_ms)
            case _:
                pass

    def _maya_sounds(self, monitor: LagMonitor, now_ms: float) -> None:
        self._recovering = False
        response_ms = monitor.response.maya_sounds(now_ms)
        if response_ms is None:
            return
        felt = monitor.felt(now_ms)
        self.course.record(
            "lag_measured",
            region=self._region,
            lag_ms=felt.network_ms + response_ms,
            network_ms=felt.network_ms,
            uplink_ms=felt.uplink_ms,
            downlink_ms=felt.downlink_ms,
            model_ms=response_ms,
        )

    # What is done about it

    def answered(self, choice: LagChoice, now_ms: float) -> bool:
        """Take the learner's answer; return whether they skip the test. One to no open question says nothing."""
        monitor = self._monitor
        if monitor is None or monitor.open_prompt is None or choice.prompt_id != self._prompt_id(monitor.open_prompt):
            return False
        for decision in monitor.answer(monitor.open_prompt, choice.choice, now_ms):
            self._do(decision)
        skipped = choice.choice == "skip"
        self.course.record("lag_skipped" if skipped else "lag_continued", region=self._region)
        return skipped

    def tick(self, now_ms: float) -> None:
        """Measure, judge, tell."""
        monitor = self._monitor
        if monitor is None:
            return
        if self._is_directed() and not self._recovering:
            monitor.response.void()
        monitor.downlink_waits(self._dry_ms(now_ms))
        ping_id = monitor.ping(now_ms) if self.downlink.connection_id is not None else None
        if ping_id is not None:
            self.downlink.mention(PingDown(epoch=self.course.epoch, id=ping_id, at=now_ms))
            self._choose_pace(monitor)
        for decision in monitor.decide(now_ms):
            self._do(decision)

    def next_timer_ms(self, now_ms: float) -> float | None:
        """When `tick` is due though nothing happens; what is judged is judged when the phone is heard."""
        if self._monitor is None or self.downlink.connection_id is None:
            return None
        return self._monitor.next_ping_ms(now_ms)

    def _do(self, decision: Decision) -> None:
        match decision:
            case Notice(expected_ms):
                self.noticed = True
                text = notice_text(self._language, expected_ms)
                self.downlink.tell_now(LagNotice, expected_ms=round(expected_ms), text=text)
            case Ask():
                self._ask(decision)
            case Clear(prompt, why):
                self.downlink.tell_now(LagCleared, prompt_id=self._prompt_id(prompt), why=why)
                if why in _ENDINGS:
                    self.course.record(_ENDINGS[why], region=self._region)

    def _ask(self, ask: Ask) -> None:
        felt = ask.felt
        fields: dict[str, Any] = {
            "prompt_id": self._prompt_id(ask.prompt),
            "lag_ms": round(felt.lag_ms),
            "cause": felt.cause,
            "text": prompt_text(self._language, felt.cause, felt.lag_ms),
            "expires_s": ask.expires_s,
        }
        self._open = LagPrompt(epoch=self.course.epoch, n=0, **fields)
        self.downlink.tell_now(LagPrompt, **fields)
        self.course.record("lag_prompted", region=self._region, cause=felt.cause, lag_ms=felt.lag_ms)

    def _choose_pace(self, monitor: LagMonitor) -> None:
        round_trip_ms = monitor.round_trip.usual_ms()
        if round_trip_ms is None:
            return
        pace = next_pace(self._pace, round_trip_ms, monitor.round_trip.spread_ms())
        self._pace = pace
        self.downlink.send_pieces_of(min(pace.piece_ms, self.course.settings.piece_ms))

    def _is_directed(self) -> bool:
        """Whether Maya owes an answer to a stage direction: then nobody waits for her answer to the learner."""
        return self.line.watch.directed

    def _dry_ms(self, now_ms: float) -> float:
        """For how long the phone has had nothing to play while sound for it waits."""
        ahead_ms = self.downlink.ahead_ms(now_ms)
        waits = self.downlink.unplayed_ms(now_ms) > ahead_ms
        if ahead_ms > 0 or not waits or self.downlink.connection_id is None:
            self._dry_since_ms = None
            return 0.0
        if self._dry_since_ms is None:
            self._dry_since_ms = now_ms
        return now_ms - self._dry_since_ms

    def _prompt_id(self, prompt: int) -> str:
        """Name a question for the app; another relay's never has the same name."""
        return f"{self.course.epoch}-{prompt}"


_PROMPT_FIELDS = {"prompt_id", "lag_ms", "cause", "text"}
