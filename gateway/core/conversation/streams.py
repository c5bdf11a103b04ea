"""Keeps Maya on the line: the first stream, the change at a part's end, recovery, renewal."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from gateway.core.conversation.course import Alarm, Course
from gateway.core.conversation.dialogue import Dialogue
from gateway.core.conversation.examiner import Phase
from gateway.core.conversation.line import MayaLine, Stream, StreamState
from gateway.core.conversation.states import State
from gateway.core.exam import PartPlan
from gateway.core.nova_events import Fault
from gateway.core.prompts import Direction

_HEALTHY_MS: Final = 30_000.0
"""A stream that lived this long was no failed attempt."""

_RENEW_AGAIN_MS: Final = 1_000.0

_RENEW_AFTER_FAILURE_MS: Final = 10_000.0
"""Renewal is not urgent: the stream that is to be renewed still serves."""


@dataclass(slots=True)
class StreamKeeper:
    """Decides when a stream is opened and when it takes over.

    A lost stream is followed at once, then after 1 s, 2 s, 4 s with jitter. The same way of opening a successor
    serves the change between parts and the renewal of an ageing stream; these wait for a pause.
    """

    course: Course
    line: MayaLine
    dialogue: Dialogue
    jitter: Callable[[], float]
    _attempts: int = 0
    _with_history: bool = True

    def open_wanted(self, now_ms: float) -> None:
        """Open the stream that is wanted: of this part, or of the next when this one is at its end."""
        examiner = self.dialogue.examiner
        if examiner is None:
            self._open(self.course.settings.plan.part(1), Direction.BEGIN, now_ms)
        elif self.line.current is None:
            self._open(examiner.plan, self._cue_to_continue(), now_ms)
        else:
            following = self.following(examiner.plan)
            if following is not None:
                self._open(following, Direction.BEGIN, now_ms)

    def prepare(self, following: PartPlan, now_ms: float) -> None:
        """Open the stream of the part that follows, beside the current one."""
        successor = self.line.successor
        is_coming = self.course.alarms.is_set(Alarm.REOPEN) or (successor is not None and successor.plan is following)
        if not is_coming:
            self._open(following, Direction.BEGIN, now_ms)

    def is_prepared(self, following: PartPlan) -> bool:
        """Whether the stream of the part that follows may take over."""
        successor = self.line.successor
        return successor is not None and successor.plan is following and successor.state is StreamState.WAITING

    def following(self, plan: PartPlan) -> PartPlan | None:
        """The part after this one, None after the last."""
        parts = self.course.settings.plan.parts
        return parts[plan.part] if plan.part < len(parts) else None

    def take_over(self, now_ms: float, *, replay: bool) -> Stream | None:
        """Let the successor be the current stream; return the one it follows."""
        predecessor = self.line.promote(now_ms, replay=replay)
        self.course.alarms.set(Alarm.RENEW, now_ms + self.course.settings.renew_s * 1000)
        self.course.alarms.cancel(Alarm.TELL_RECONNECTING)
        return predecessor

    def opened(self, stream: Stream, now_ms: float) -> None:
        """A stream is open that follows a lost one, or an ageing one. That of the next part waits for its moment."""
        if stream.plan.part != self.dialogue.part:
            return
        if self.line.current is None:
            self.take_over(now_ms, replay=True)
            self.dialogue.status("listening")
            self.course.record("stream_recovered", attempt=self._attempts)
        else:
            self._renewed(stream, now_ms)

    def lost(self, stream: Stream, fault: Fault, now_ms: float) -> bool:
        """A stream is lost; try again. Return whether there is hope."""
        if now_ms - stream.opened_at_ms > _HEALTHY_MS:
            self._attempts = 0
        if self.line.current is not None and self.line.current.plan is stream.plan:
            self.course.alarms.set(Alarm.RENEW, now_ms + _RENEW_AFTER_FAILURE_MS)
            return True
        self._with_history = fault.with_history
        settings = self.course.settings
        if not fault.retryable or self._attempts >= settings.retries:
            return False
        delay_ms = 0.0
        if self._attempts:
            delay_ms = settings.retry_after_ms * 2.0 ** (self._attempts - 1) * (0.5 + self.jitter())
        self._attempts += 1
        self.course.alarms.set(Alarm.REOPEN, now_ms + delay_ms)
        if not self.course.alarms.is_set(Alarm.TELL_RECONNECTING):
            self.course.alarms.set(Alarm.TELL_RECONNECTING, now_ms + settings.reconnecting_after_ms)
        return True

    def silent_stream(self, now_ms: float) -> Stream | None:
        """The current stream, if it owes an answer for too long: one that fell silent looks like one that is idle.

        It is looked at whenever anything happens; acknowledgements alone happen twice a second.
        """
        current = self.line.current
        if current is None or current.asked_at_ms is None or self.dialogue.learner_speaks:
            return None
        is_late = now_ms - current.asked_at_ms > self.course.settings.answer_within_s * 1000
        return current if is_late else None

    def tell_reconnecting(self, _now_ms: float) -> None:
        """A recovery takes long enough for the learner to wonder."""
        examiner = self.dialogue.examiner
        waits = self.line.current is None or (examiner is not None and examiner.phase is Phase.OVER)
        if waits and self.course.state is State.TALKING:
            self.dialogue.status("reconnecting", attempt=self._attempts)

    def renew(self, now_ms: float) -> None:
        """Open a fresh stream for an ageing one, in a pause."""
        if self.course.state is not State.TALKING or self.line.current is None or self.line.successor is not None:
            return
        if self.dialogue.quiet:
            self._open(self.line.current.plan, None, now_ms)
        else:
            self.course.alarms.set(Alarm.RENEW, now_ms + _RENEW_AGAIN_MS)

    def part_began(self) -> None:
        """A part has its stream: earlier failures count no more."""
        self._attempts = 0
        self._with_history = True

    def _open(self, plan: PartPlan, cue: Direction | None, now_ms: float) -> None:
        history = self.dialogue.history() if self._with_history else []
        self.line.open(plan, history, cue, now_ms)

    def _cue_to_continue(self) -> Direction | None:
        if not self.dialogue.maya_has_begun and self.dialogue.examiner is not None:
            return self.dialogue.examiner.opening_cue
        return Direction.CONTINUE if self.dialogue.maya_owes else None

    def _renewed(self, stream: Stream, now_ms: float) -> None:
        current = self.line.current
        if current is not None and self.dialogue.quiet:
            self.dialogue.leave_stream(current.heard_ms, again=False)
            self.take_over(now_ms, replay=False)
            self.line.close(current)
        else:  # something was said meanwhile that it does not know
            self.line.close(stream)
            self.course.alarms.set(Alarm.RENEW, now_ms + _RENEW_AGAIN_MS)
