"""One conversation, whole: what happened goes in with `now`, what is to be done comes out.

The pieces have one task each: `PhoneSide` reads the phone, `Downlink` writes to it, `MayaLine` holds the Nova Sonic
streams, `NovaSide` reads them and `StreamKeeper` decides about them, `Dialogue` follows the talk, `Invigilator` the test, `AssessmentDesk`
gathers the notes, `Ending` brings everything home, `Succession` passes it all to another relay if this one is lost. This module joins them.
"""

from collections.abc import Callable, Sequence
from typing import Any, Final

from gateway.core.assessment import Assessment
from gateway.core.conversation.actions import Action, Admit, Disconnect, RefuseStarts, ReleaseLease
from gateway.core.conversation.asides import Asides
from gateway.core.conversation.course import Alarm, Course
from gateway.core.conversation.desk import AssessmentDesk
from gateway.core.conversation.dialogue import Dialogue
from gateway.core.conversation.downlink import Downlink
from gateway.core.conversation.ending import Ending
from gateway.core.conversation.inputs import (
    Admission,
    AdmissionSettled,
    Input,
    MicroAnswered,
    PhoneLeft,
    PhoneSaid,
    PostSettled,
    ProgressSettled,
    SaveSettled,
    ShutdownAsked,
    StreamEnded,
    StreamOpened,
    StreamSaid,
    TookOver,
)
from gateway.core.conversation.invigilator import Invigilator
from gateway.core.conversation.lag_side import LagSide
from gateway.core.conversation.line import MayaLine, Stream, Voice
from gateway.core.conversation.nova_side import NovaSide
from gateway.core.conversation.phone_side import PhoneSide
from gateway.core.conversation.settings import ConversationSettings
from gateway.core.conversation.states import Event, State
from gateway.core.conversation.streams import StreamKeeper
from gateway.core.conversation.succession import Succession
from gateway.core.conversation.transcript import Transcript
from gateway.core.conversation.uplink import Frame, Uplink
from gateway.core.errors import Busy, Internal, ModelUnavailable, ModuleLocked, ProtocolError
from gateway.core.messages import ByeReason, GoAway, LagChoice, Module, Start
from gateway.core.nova_events import AudioOutput, Fault

_LOOK_EVERY_MS: Final = 100.0
"""Least time between two looks that only messages of a flowing talk call for: `Conversation.handle` says what may be late."""

_BEFORE_TALK = (State.IDLE, State.ADMITTING, State.CONNECTING)
_BEFORE_END = (State.ADMITTING, State.CONNECTING, State.TALKING)


class Conversation:
    """One learner's conversation with Maya, from `start` to `bye`.

    Args:
        settings: its numbers.
        epoch: of its relay; the phone ignores lower ones.
        support_code: told to the phone, to quote when asking for help.
        new_prompt_name: makes a UUID for each stream.
        jitter: gives a number from 0 to 1 for back-off.
        wall_offset_ms: wall clock minus the clock of `now_ms`.
        now_ms: the clock at the beginning.
        ended: the assessment of the learner's last session, for a phone that comes back for it.
    """

    def __init__(
        self,
        settings: ConversationSettings,
        *,
        epoch: int,
        support_code: str,
        new_prompt_name: Callable[[], str],
        jitter: Callable[[], float],
        wall_offset_ms: float,
        now_ms: float,
        ended: Assessment | None = None,
    ) -> None:
        self._settings = settings
        self._ended = ended
        self._course = Course(settings, epoch, support_code, store_progress=self.store_progress)
        self._alarms = self._course.alarms
        self._alarms.set(Alarm.NOBODY, now_ms + settings.start_within_s * 1000)
        self.transcript = Transcript()
        self._downlink = Downlink(settings, epoch=epoch)
        self._uplink = Uplink(settings)
        asides = Asides(epoch, settings.part_with_ms)
        self._phone = PhoneSide(settings, epoch, support_code, self._downlink, self._uplink, self, asides)
        self._line = MayaLine(settings, self._course.act, new_prompt_name)
        self._dialogue = Dialogue(self._downlink, self._line, self.transcript)
        self._lag = self._phone.watcher = LagSide(self._course, self._downlink, self._line, self._dialogue)
        self._streams = StreamKeeper(self._course, self._line, self._dialogue, jitter)
        self._desk = AssessmentDesk(self.transcript, self._course.act)
        self._ending = Ending(
            self._course,
            self._line,
            self._dialogue,
            self.transcript,
            self._phone,
            self._downlink,
            self._desk,
            wall_offset_ms,
        )
        self._invigilator = Invigilator(
            self._course, self._phone, self._downlink, self._line, self._dialogue, self._streams, self._ending
        )
        self._succession = Succession(
            self._course,
            self._phone,
            self._uplink,
            self._downlink,
            self._line,
            self._dialogue,
            self._streams,
            self._desk,
            self._ending,
            self._invigilator,
            self._lag,
            wall_offset_ms,
            now_ms,
        )
        self._nova = NovaSide(self._course, self._line, self._dialogue, self._streams, self._ending, self._lag, self)
        self._stop_after_seq: int | None = None
        self._look_at_ms = now_ms
        self._steady_ms: float | None = None
        self._has_steady = False
        self._handlers = self._event_handlers()
        self._alarm_handlers = self._moment_handlers()

    def _event_handlers(self) -> dict[type[Any], Callable[[Any, float], None]]:
        """Whose each thing that happens is."""
        return {
            TookOver: self._succession.take_up,
            PhoneSaid: self._on_phone_said,
            PhoneLeft: self._on_phone_left,
            PostSettled: self._phone.settled,
            AdmissionSettled: self._on_admission_settled,
            StreamOpened: self._nova.opened,
            StreamSaid: self._nova.said,
            StreamEnded: self._nova.ended,
            MicroAnswered: self._on_micro_answered,
            SaveSettled: self._on_save_settled,
            ProgressSettled: lambda event, _now_ms: self._phone.stored(event.seq),
            ShutdownAsked: self._on_shutdown_asked,
        }

    def _moment_handlers(self) -> dict[Alarm, Callable[[float], None]]:
        """Whose each alarm is."""
        return {
            Alarm.NOBODY: self._ending.end,
            Alarm.AWAY: self._phone_stayed_away,
            Alarm.GO_AWAY: self._announce_end,
            Alarm.TIME_LIMIT: self._time_is_up,
            Alarm.STOP: self._stop_now,
            Alarm.REOPEN: self._streams.open_wanted,
            Alarm.TELL_RECONNECTING: self._streams.tell_reconnecting,
            Alarm.RENEW: self._streams.renew,
            Alarm.FINISH: self._ending.finish_with_what_is_there,
            Alarm.DELIVER: self._ending.part,
            Alarm.PART: self._ending.end,
        }

    # For the shell

    @property
    def state(self) -> State:
        """Where the conversation is."""
        return self._course.state

    def handle(self, event: Input, now_ms: float) -> None:
        """Take what happened, as `handle_all` does."""
        self.handle_all((event,), now_ms)

    def handle_all(self, events: Sequence[Input], now_ms: float) -> None:
        """Take what happened at once, in order.

        Speech is passed on, and the next post made, at once. While a talk flows, a `tick` follows only from `_LOOK_EVERY_MS`
        after the last one on. What a message of the phone, a post's end or a piece of Maya's speech brings about beside
        that may so be late: what is told or asked about the lag, what the watch thinks of a stream, and the clock of the
        part, which goes on when a phone that was away is heard. Late by 100 ms at most, and the time until the next event
        or moment: a frame's length while the phone speaks, `ack_every_ms` while it does not. Whatever has a moment of its
        own is done at it.
        """
        flows = now_ms < self._look_at_ms
        for event in events:
            if self._course.state is State.ENDED:
                return
            self._handlers[type(event)](event, now_ms)
            flows = flows and self._flows(event)
        if flows:
            self._post(now_ms)
        else:
            self.tick(now_ms)

    def _flows(self, event: Input) -> bool:
        """Whether an event is one of the thirty a second of a talk that goes on, after each of which only a post is due.

        None of them sets an alarm or another moment to come, but for those that may be late.
        """
        if self._course.state is not State.TALKING:
            return False
        kind = type(event)
        if kind is PhoneSaid:
            return self._phone.said_nothing_new
        if kind is StreamSaid:
            return type(event.event) is AudioOutput  # type: ignore[union-attr]
        return kind is PostSettled or kind is ProgressSettled

    def tick(self, now_ms: float) -> None:
        """Let time pass."""
        while (alarm := self._alarms.take_due(now_ms)) is not None:
            self._alarm_handlers[alarm](now_ms)
        self._phone.tick(now_ms)
        if self.state is State.TALKING:
            self._follow_the_test(now_ms)
            self._lag.tick(now_ms)
        elif self.state not in _BEFORE_TALK:
            self._lag.end()
        self._ending.follow(now_ms)
        self._look_at_ms = now_ms + _LOOK_EVERY_MS
        self._has_steady = False
        for aside in self._phone.asides.take(now_ms):
            self._course.act(aside)
        self._post(now_ms)

    def _post(self, now_ms: float) -> None:
        post = self._downlink.poll(now_ms)
        if post is not None:
            self._course.act(post)

    def take_actions(self) -> list[Action]:
        """Return what is to be done, in order, once."""
        actions, self._course.actions = self._course.actions, []
        return actions

    def next_timer_ms(self, now_ms: float) -> float | None:
        """When `tick` is due though nothing happens; None when the conversation has ended."""
        if self._course.state is State.ENDED:
            return None
        if not self._has_steady:
            self._steady_ms, self._has_steady = self._next_steady_ms(now_ms), True
        steady_ms, post_ms = self._steady_ms, self._downlink.next_timer_ms(now_ms)
        if steady_ms is None or post_ms is None:
            return steady_ms if post_ms is None else post_ms
        return min(steady_ms, post_ms)

    def _next_steady_ms(self, now_ms: float) -> float | None:
        """The next of the moments that a talk which flows does not bring forward: they stand from one `tick` to the next."""
        talking = self.state is State.TALKING
        moments = (
            self._alarms.next_ms(),
            self._phone.next_timer_ms(),
            self._phone.asides.next_timer_ms(),
            self._lag.next_timer_ms(now_ms),
            self._invigilator.next_timer_ms() if talking else None,
            self._streams.next_timer_ms() if talking else None,
            self._desk.next_timer_ms(),
        )
        return min([moment for moment in moments if moment is not None], default=None)

    def fail(self, now_ms: float) -> None:
        """Something of ours broke: bring the conversation to an orderly end while that may still be done."""
        self._fail(Internal(f"please quote {self._course.support_code}"), now_ms)
        self.tick(now_ms)

    # The phone (PhoneEvents)

    def session_begins(self, start: Start, _now_ms: float) -> None:
        """Admit the learner."""
        self._alarms.cancel(Alarm.NOBODY)
        self._line.voice = Voice(start.voice, start.language, start.rate, start.out_rate)
        self._course.go(Event.STARTED)
        self._course.act(Admit(start.module))
        self._dialogue.status("connecting")

    def ended_module(self, session_id: str) -> Module | None:
        """The module of the learner's last session, if it is this one and its assessment is known."""
        return self._ended.module if self._ended is not None and self._ended.session_id == session_id else None

    def session_recalled(self, now_ms: float) -> None:
        """Tell the assessment once more, and part."""
        assert self._ended is not None
        self._ending.recall(self._ended, now_ms)

    def phone_is_back(self, now_ms: float, *, forgot: bool) -> None:
        """Go on with the phone where it left; tell it what it forgot."""
        if self.state in _BEFORE_TALK and not self._phone.open:
            return
        if self.state is State.PARTING:
            self._ending.phone_returned(now_ms)
        self._phone.ready(now_ms)
        self._lag.phone_is_back(now_ms, forgot=forgot)
        self.store_progress(now_ms)
        if forgot:
            self._invigilator.tell_part()
            self._dialogue.repeat_status()
            self._ending.tell_assessment()

    def another_session(self, now_ms: float) -> None:
        """End this conversation unheard, and let another relay have the learner."""
        self._succession.leave(now_ms)
        self._course.act(ReleaseLease())
        self._end_test("replaced", now_ms)

    def store_progress(self, now_ms: float) -> None:
        """Have what another relay would need written down."""
        self._succession.store(now_ms)

    def frames_heard(self, frames: list[Frame], now_ms: float) -> None:
        """Pass the learner's speech on."""
        if self.state in (State.CONNECTING, State.TALKING):
            for frame in frames:
                self._line.hear(frame, now_ms)
        if self._stop_after_seq is not None and self._uplink.acknowledged >= self._stop_after_seq:
            self._stop_now(now_ms)

    def turn_heard(self, turn: int, heard_ms: float) -> None:
        """Note how much of an interrupted turn was played."""
        self._dialogue.heard(turn, heard_ms)

    def stop_asked(self, seq: int, now_ms: float) -> None:
        """End the test when every frame up to `seq` is in, or soon."""
        if self._stop_after_seq is None and self.state in (State.CONNECTING, State.TALKING):
            self._stop_after_seq = seq
            self._alarms.set(Alarm.STOP, now_ms + self._settings.stop_within_ms)
            self.frames_heard([], now_ms)

    def lag_answered(self, choice: LagChoice, now_ms: float) -> None:
        """Skip ends the test; what was assessed is kept. An answer that is repeated, or comes late, says nothing."""
        if self._lag.answered(choice, now_ms):
            self._end_test("skipped", now_ms)

    def phone_flooded(self, connection_id: str, _now_ms: float) -> None:
        """Have the connection deleted, and its learner refused for a while; the conversation waits, as after any drop."""
        self._course.record("flood", connection_id=connection_id)
        self._course.act(RefuseStarts(self._settings.flood.flood_refuse_s))
        self._course.act(Disconnect(connection_id, at_once=True))

    def phone_failed(self, error: ProtocolError, now_ms: float) -> None:
        """End what can't go on."""
        self._fail(error, now_ms)

    def _on_phone_said(self, event: PhoneSaid, now_ms: float) -> None:
        self._phone.said(event, now_ms)
        if self._phone.start is not None and self.state in _BEFORE_END:
            self._alarms.set(Alarm.AWAY, self._phone.last_heard_ms + self._settings.resume_within_s * 1000)

    def _on_phone_left(self, event: PhoneLeft, _now_ms: float) -> None:
        self._phone.left(event.connection_id)
        self._lag.phone_left()

    # The beginning

    def _on_admission_settled(self, event: AdmissionSettled, now_ms: float) -> None:
        if self.state is not State.ADMITTING:
            return
        match event.admission:
            case Admission.GRANTED:
                self._course.go(Event.ADMITTED)
                self._streams.open_wanted(now_ms)
            case Admission.LOCKED:
                self._fail(ModuleLocked("this module is not unlocked", ref="module"), now_ms)
            case Admission.BUSY:
                self._fail(Busy(retry_after_s=event.retry_after_s or 1.0), now_ms)
            case Admission.UNKNOWN:
                self._fail(Internal(f"please quote {self._course.support_code}"), now_ms)

    # Nova Sonic (NovaEvents)

    def first_stream_opened(self, stream: Stream, now_ms: float) -> None:
        """Begin the test, or go on with one that was taken up."""
        taken_up = self._dialogue.examiner is not None
        self._streams.begin(now_ms, taken_up=taken_up)
        self._course.go(Event.LINE_OPEN)
        if taken_up:
            self._succession.line_is_back(now_ms)
            return
        self._succession.began_ms = now_ms
        self._succession.set_time_limits(now_ms)
        self._phone.ready(now_ms)
        assert self._phone.start is not None
        self._lag.begin(self._phone.start, now_ms)
        self._invigilator.begin_part(stream.plan, now_ms)

    def maya_unreachable(self, now_ms: float) -> None:
        """End the test with what was said."""
        self._fail(ModelUnavailable("Maya could not be reached; what was said is assessed"), now_ms)

    # The test

    def _follow_the_test(self, now_ms: float) -> None:
        dead = self._streams.watch(now_ms)
        if dead is not None:
            self._nova.lose(dead, Fault.STREAM_LOST, now_ms)
        elif self._invigilator.follow(now_ms):
            self._end_test("finished", now_ms)

    def _announce_end(self, _now_ms: float) -> None:
        self._downlink.tell_now(GoAway, time_left_s=self._settings.time_limit_s - self._settings.go_away_s)

    def _time_is_up(self, now_ms: float) -> None:
        self._end_test("time_limit", now_ms)

    def _stop_now(self, now_ms: float) -> None:
        self._alarms.cancel(Alarm.STOP)
        self._stop_after_seq = None
        self._end_test("finished", now_ms)

    def _phone_stayed_away(self, now_ms: float) -> None:
        self._downlink.detach()
        self._end_test("failed", now_ms, ask_stream=False)

    def _end_test(self, reason: ByeReason, now_ms: float, *, ask_stream: bool = True) -> None:
        if self.state in _BEFORE_END:
            self._ending.begin(reason, now_ms, ask_stream=ask_stream)

    def _fail(self, error: ProtocolError, now_ms: float) -> None:
        """End what can't go on; the phone is told why before `bye`."""
        if self.state in _BEFORE_END:
            self._course.record("conversation_failed", code=error.code)
        if self.state is State.ADMITTING:
            self._ending.refuse(error, now_ms)
        elif self.state in _BEFORE_END:
            self._ending.begin("failed", now_ms, failure=error)

    # The end

    def _on_micro_answered(self, event: MicroAnswered, now_ms: float) -> None:
        self._ending.micro_answered(event.part, event.arguments, now_ms)

    def _on_save_settled(self, event: SaveSettled, now_ms: float) -> None:
        self._ending.save_settled(event.outcome, now_ms)

    def _on_shutdown_asked(self, event: ShutdownAsked, now_ms: float) -> None:
        if event.replaced:
            self._ending.cut_off()
        elif self.state is State.IDLE:
            self._ending.end(now_ms)
        else:
            self._end_test("maintenance", now_ms)
            self._ending.hurry(now_ms)
