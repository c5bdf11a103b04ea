"""One sitting of the test, as a whole: what its phone, its streams, its clock and its operator mean to it.

Who may sit it, when it begins, how it goes on after a drop, and everything that ends it before its last question is
decided here; how each is done is the pieces' affair.
"""

from dataclasses import dataclass

from gateway.core.assessment import Assessment
from gateway.core.conversation.actions import Admit, Disconnect, RefuseStarts, ReleaseLease
from gateway.core.conversation.course import Alarm, Course
from gateway.core.conversation.dialogue import Dialogue
from gateway.core.conversation.downlink import Downlink
from gateway.core.conversation.ending import Ending
from gateway.core.conversation.inputs import Admission, AdmissionSettled, PhoneLeft, PhoneSaid, ShutdownAsked
from gateway.core.conversation.invigilator import Invigilator
from gateway.core.conversation.lag_side import LagSide
from gateway.core.conversation.line import MayaLine, Stream, Voice
from gateway.core.conversation.phone_side import PhoneSide
from gateway.core.conversation.states import BEFORE_END, BEFORE_TALK, Event, State
from gateway.core.conversation.streams import StreamKeeper
from gateway.core.conversation.succession import Succession
from gateway.core.conversation.uplink import Frame, Uplink
from gateway.core.errors import Busy, Internal, ModelUnavailable, ModuleLocked, ProtocolError
from gateway.core.messages import ByeReason, GoAway, LagChoice, Module, Start


@dataclass(slots=True)
class Sitting:
    """Takes a test from its admission to the end of its talk; is the `PhoneEvents` of its phone and the `NovaEvents` of its streams.

    Attributes:
        ended_before: the assessment of the learner's last session, for a phone that comes back for it.
    """

    course: Course
    phone: PhoneSide
    uplink: Uplink
    downlink: Downlink
    line: MayaLine
    dialogue: Dialogue
    streams: StreamKeeper
    ending: Ending
    invigilator: Invigilator
    lag: LagSide
    succession: Succession
    ended_before: Assessment | None
    _stop_after_seq: int | None = None

    # The phone

    def phone_said(self, event: PhoneSaid, now_ms: float) -> None:
        """A message has come: the test is given up when none comes for too long."""
        self.phone.said(event, now_ms)
        course = self.course
        if self.phone.start is not None and course.state in BEFORE_END:
            course.alarms.set(Alarm.AWAY, self.phone.last_heard_ms + course.settings.resume_within_s * 1000)

    def phone_left(self, event: PhoneLeft, _now_ms: float) -> None:
        """A connection is gone."""
        self.phone.left(event.connection_id)
        self.lag.phone_left()

    def phone_is_back(self, now_ms: float, *, forgot: bool) -> None:
        """Go on with the phone where it left; tell it what it forgot."""
        if self.course.state in BEFORE_TALK and not self.phone.open:
            return
        if self.course.state is State.PARTING:
            self.ending.phone_returned(now_ms)
        self.phone.ready(now_ms)
        self.lag.phone_is_back(now_ms, forgot=forgot)
        self.store_progress(now_ms)
        if forgot:
            self.invigilator.tell_part()
            self.dialogue.repeat_status()
            self.ending.tell_assessment()

    def phone_stayed_away(self, now_ms: float) -> None:
        """Nobody has come back in time."""
        self.downlink.detach()
        self.end("failed", now_ms, ask_stream=False)

    def phone_flooded(self, connection_id: str, _now_ms: float) -> None:
        """Have the connection deleted, and its learner refused for a while; the conversation waits, as after any drop."""
        self.course.record("flood", connection_id=connection_id)
        self.course.act(RefuseStarts(self.course.settings.flood.flood_refuse_s))
        self.course.act(Disconnect(connection_id, at_once=True))

    def another_session(self, now_ms: float) -> None:
        """End this conversation unheard, and let another relay have the learner."""
        self.succession.leave(now_ms)
        self.course.act(ReleaseLease())
        self.end("replaced", now_ms)

    def store_progress(self, now_ms: float) -> None:
        """Have what another relay would need written down."""
        self.succession.store(now_ms)

    # The beginning

    def session_begins(self, start: Start, _now_ms: float) -> None:
        """Admit the learner."""
        self.course.alarms.cancel(Alarm.NOBODY)
        self.line.voice = Voice(start.voice, start.language, start.rate, start.out_rate)
        self.course.go(Event.STARTED)
        self.course.act(Admit(start.module))
        self.dialogue.status("connecting")

    def admission_settled(self, event: AdmissionSettled, now_ms: float) -> None:
        """Open Maya's line for a learner who may sit the test; tell another why not."""
        if self.course.state is not State.ADMITTING:
            return
        match event.admission:
            case Admission.GRANTED:
                self.course.go(Event.ADMITTED)
                self.streams.open_wanted(now_ms)
            case Admission.LOCKED:
                self.failed(ModuleLocked("this module is not unlocked", ref="start"), now_ms)
            case Admission.BUSY:
                self.failed(Busy(retry_after_s=event.retry_after_s or 1.0), now_ms)
            case Admission.UNKNOWN:
                self.broke(now_ms)

    def first_stream_opened(self, stream: Stream, now_ms: float) -> None:
        """Begin the test, or go on with one that was taken up."""
        taken_up = self.dialogue.examiner is not None
        self.streams.begin(now_ms, taken_up=taken_up)
        self.course.go(Event.LINE_OPEN)
        if taken_up:
            self.succession.line_is_back(now_ms)
            return
        self.succession.began_ms = now_ms
        self.succession.set_time_limits(now_ms)
        self.phone.ready(now_ms)
        assert self.phone.start is not None
        self.lag.begin(self.phone.start, now_ms)
        self.invigilator.begin_part(stream.plan, now_ms)

    def ended_module(self, session_id: str) -> Module | None:
        """The module of the learner's last session, if it is this one and its assessment is known."""
        ended = self.ended_before
        return ended.module if ended is not None and ended.session_id == session_id else None

    def session_recalled(self, now_ms: float) -> None:
        """Tell the assessment once more, and part."""
        assert self.ended_before is not None
        self.ending.recall(self.ended_before, now_ms)

    # The talk

    def frames_heard(self, frames: list[Frame], now_ms: float) -> None:
        """Pass the learner's speech on."""
        if self.course.state in (State.CONNECTING, State.TALKING):
            for frame in frames:
                self.line.hear(frame, now_ms)
        if self._stop_after_seq is not None and self.uplink.acknowledged >= self._stop_after_seq:
            self.stop(now_ms)

    def turn_heard(self, turn: int, heard_ms: float) -> None:
        """Note how much of an interrupted turn was played."""
        self.dialogue.heard(turn, heard_ms)

    def lag_answered(self, choice: LagChoice, now_ms: float) -> None:
        """Skip ends the test; what was assessed is kept. An answer that is repeated, or comes late, says nothing."""
        if self.lag.answered(choice, now_ms):
            self.end("skipped", now_ms)

    # What ends it

    def stop_asked(self, seq: int, now_ms: float) -> None:
        """End the test when every frame up to `seq` is in, or soon."""
        if self._stop_after_seq is None and self.course.state in (State.CONNECTING, State.TALKING):
            self._stop_after_seq = seq
            self.course.alarms.set(Alarm.STOP, now_ms + self.course.settings.stop_within_ms)
            self.frames_heard([], now_ms)

    def stop(self, now_ms: float) -> None:
        """The learner ends the test, and every frame is in, or was waited for."""
        self.course.alarms.cancel(Alarm.STOP)
        self._stop_after_seq = None
        self.end("finished", now_ms)

    def announce_end(self, _now_ms: float) -> None:
        """The time limit is near."""
        settings = self.course.settings
        self.downlink.tell_now(GoAway, time_left_s=settings.time_limit_s - settings.go_away_s)

    def time_is_up(self, now_ms: float) -> None:
        """The test has lasted as long as any may."""
        self.end("time_limit", now_ms)

    def shutdown_asked(self, event: ShutdownAsked, now_ms: float) -> None:
        """The relay must end: at once where another has the learner, else after what was said is saved."""
        if event.replaced:
            self.ending.cut_off()
        elif self.course.state is State.IDLE:
            self.ending.end(now_ms)
        else:
            self.end("maintenance", now_ms)
            self.ending.hurry(now_ms)

    def maya_unreachable(self, now_ms: float) -> None:
        """End the test with what was said."""
        self.failed(ModelUnavailable("Maya could not be reached; what was said is assessed"), now_ms)

    def broke(self, now_ms: float) -> None:
        """Something of ours broke."""
        self.failed(Internal(f"please quote {self.course.support_code}"), now_ms)

    def end(self, reason: ByeReason, now_ms: float, *, ask_stream: bool = True) -> None:
        """End the test if it has not ended; arguments as of `Ending.begin`."""
        if self.course.state in BEFORE_END:
            self.ending.begin(reason, now_ms, ask_stream=ask_stream)

    def failed(self, error: ProtocolError, now_ms: float) -> None:
        """End what can't go on; the phone is told why before `bye`."""
        if self.course.state in BEFORE_END:
            self.course.record("conversation_failed", code=error.code)
        if self.course.state is State.ADMITTING:
            self.ending.refuse(error, now_ms)
        elif self.course.state in BEFORE_END:
            self.ending.begin("failed", now_ms, failure=error)
