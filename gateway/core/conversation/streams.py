"""Keeps Maya on the line: the first stream, the change at a part's end, recovery, renewal."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

from gateway.core.conversation.course import Alarm, Course
from gateway.core.conversation.dialogue import Dialogue
from gateway.core.conversation.examiner import Phase
from gateway.core.conversation.line import HEAR_ALL_AGAIN, HEAR_NOTHING_AGAIN, MayaLine, Stream, StreamState
from gateway.core.conversation.progress import Standing
from gateway.core.conversation.resumption import Resumption, within
from gateway.core.conversation.states import State
from gateway.core.conversation.watch import Owed, Verdict
from gateway.core.exam import PartPlan
from gateway.core.nova_events import Fault
from gateway.core.prompts import Direction, says

_HEALTHY_MS: Final = 30_000.0
"""A stream that lived this long was no failed attempt."""

_SPOKE_WELL_MS: Final = 10_000.0
"""Nor was one that spoke and lived this long."""

_RENEW_AGAIN_MS: Final = 1_000.0

_RENEW_AFTER_FAILURE_MS: Final = 10_000.0
"""Renewal is not urgent: the stream that is to be renewed still serves."""

_OPENING_REFUSED: Final = frozenset({Fault.INPUT_REJECTED, Fault.MISCONFIGURED})
"""What the service says, in words that no source has, of a voice that it does not know."""


@dataclass(slots=True)
class StreamKeeper:
    """Decides when a stream is opened and when it takes over.

    A lost stream is followed at once, then after 1 s, 2 s, 4 s with jitter. The same way of opening a successor
    serves the change between parts, which waits for its moment, and the renewal of a stream that nears its end or is
    suspected to be dead: its successor takes over in a pause, or, when there is no time for one, at once.
    """

    course: Course
    line: MayaLine
    dialogue: Dialogue
    jitter: Callable[[], float]
    _attempts: int = 0
    _with_history: bool = True
    _with_outline: bool = True
    _with_replay: bool = True
    _has_served: bool = False
    _unanswered: Direction | None = None
    _suspected: Stream | None = None
    _taken_up: bool = False

    # Opening

    def open_wanted(self, now_ms: float) -> None:
        """Open the stream that is wanted: of this part, or of the next when this one is at its end."""
        examiner = self.dialogue.examiner
        if examiner is None:
            self._open(self.course.settings.plan.part(1), now_ms)
            return
        following = self.following(examiner.plan)
        if self.line.current is None and (examiner.phase is not Phase.OVER or following is None):
            self._open(examiner.plan, now_ms)
        elif following is not None:
            self._open(following, now_ms)

    def prepare(self, following: PartPlan, now_ms: float) -> None:
        """Open the stream of the part that follows, beside the current one."""
        successor = self.line.successor
        is_coming = self.course.alarms.is_set(Alarm.REOPEN) or (successor is not None and successor.plan is following)
        if not is_coming:
            self._open(following, now_ms)

    def is_prepared(self, following: PartPlan) -> bool:
        """Whether the stream of the part that follows may take over."""
        successor = self.line.successor
        return successor is not None and successor.plan is following and successor.state is StreamState.WAITING

    def following(self, plan: PartPlan) -> PartPlan | None:
        """The part after this one, None after the last."""
        parts = self.course.settings.plan.parts
        return parts[plan.part] if plan.part < len(parts) else None

    def opened(self, stream: Stream, now_ms: float) -> None:
        """A stream is open that follows a lost one, or an ageing one. That of the next part waits for its moment."""
        if stream.plan.part != self.dialogue.part:
            return
        if self.line.current is None:
            self._recovered(now_ms)
        else:
            self._renewed(self.line.current, stream, now_ms)

    # Taking over

    def begin(self, now_ms: float, *, taken_up: bool) -> None:
        """Let the first stream be the current one: it begins the test, or goes on with one that is taken up."""
        self._taken_up = taken_up
        self._take_over(now_ms, self._cue() if taken_up else Direction.BEGIN, HEAR_ALL_AGAIN)

    def begin_part(self, now_ms: float) -> Stream | None:
        """Let the stream of a new part take over; return the one it follows.

        It hears again what the learner is still saying, or has said without the last one telling of it; from one that was
        lost, whatever has no final transcript.
        """
        is_lost = self.line.current is None
        unfinished = is_lost or self.dialogue.speech_pending or self.line.watch.hears_speech
        if self.line.current is not None:
            self.dialogue.leave_stream(self.line.current.heard_ms, again=unfinished)
        self._unanswered = None
        return self._take_over(now_ms, Direction.BEGIN, HEAR_ALL_AGAIN if unfinished else HEAR_NOTHING_AGAIN)

    def part_began(self) -> None:
        """A part has its stream: earlier failures count no more."""
        self._attempts = 0
        self._with_history = self._with_replay = True

    def _recovered(self, now_ms: float) -> None:
        cue = None
        if not self._with_replay and self.dialogue.speech_pending:
            self.dialogue.give_up_speech()
            cue = Direction.CONTINUE  # nobody answers what they said
        self._take_over(now_ms, self._cue() or cue, HEAR_ALL_AGAIN if self._with_replay else HEAR_NOTHING_AGAIN)
        self.dialogue.status("thinking" if self.dialogue.answer_is_due else "listening")
        self.course.record("stream_recovered", attempt=self._attempts)

    def _renewed(self, current: Stream, stream: Stream, now_ms: float) -> None:
        """Change from a stream that still serves, or may do so, to a fresh one."""
        urgent = self._suspected is current or self._must_change(current, now_ms)
        if self.dialogue.said != stream.said_before or not (urgent or self._in_a_pause(current)):
            # Something was said meanwhile that it does not know; a stream that was only suspected lives, then.
            again_ms = now_ms + _RENEW_AGAIN_MS
            if self._suspected is current:
                again_ms = max(again_ms, self._renew_at_ms(current, now_ms))
            self._suspected = None
            self.line.close(stream)
            self.course.alarms.set(Alarm.RENEW, again_ms)
            return
        in_a_pause = self._in_a_pause(current) and self._suspected is not current
        cue, from_ms = None, HEAR_ALL_AGAIN
        if in_a_pause:
            # The service may not have told yet of speech that has just begun.
            from_ms = current.heard_ms - self.course.settings.renew_overlap_ms
        self.dialogue.leave_stream(current.heard_ms, again=not in_a_pause)
        if not in_a_pause:
            self._unanswered = current.cue or current.unanswered
            cue = self._cue()
        self._take_over(now_ms, cue, from_ms)
        self.line.close(current)
        self.course.record("stream_renewed", duration_ms=round(now_ms - current.opened_at_ms))

    def _take_over(self, now_ms: float, cue: Direction | None, replay_from_ms: float) -> Stream | None:
        # What the learner said to a relay that was lost, and since, may be known to nobody yet.
        yields = self._taken_up and not self.dialogue.maya_has_begun
        predecessor = self.line.promote(now_ms, cue=cue, replay_from_ms=replay_from_ms, cue_yields=yields)
        self._note_service(predecessor)
        self._suspected = self._unanswered = None
        current = self.line.current
        assert current is not None
        self.course.alarms.set(Alarm.RENEW, self._renew_at_ms(current, now_ms))
        self.course.alarms.cancel(Alarm.TELL_RECONNECTING)
        return predecessor

    def _cue(self) -> Direction | None:
        """What the successor of a lost stream is told: what the lost one left undone."""
        dialogue = self.dialogue
        # What has no history cannot be continued: the phase says what comes next.
        if self._unanswered is not None and (self._with_history or self._unanswered is not Direction.CONTINUE):
            return self._unanswered
        if not dialogue.maya_has_begun and dialogue.examiner is not None:
            return dialogue.examiner.opening_cue
        if dialogue.speech_pending or not dialogue.maya_owes:
            return None
        examiner = dialogue.examiner
        if examiner is not None and examiner.phase is Phase.CLOSING:
            return Direction.WRAP_UP
        return Direction.CONTINUE if self._with_history or examiner is None else examiner.opening_cue

    # Losing

    def lost(self, stream: Stream, fault: Fault, now_ms: float) -> bool:
        """A stream is lost; try again. Return whether there is hope."""
        self._note_service(stream)
        self._note_service(self.line.current)
        lived_ms = now_ms - stream.opened_at_ms
        # A stream that ended for want of sound did nothing wrong: the phone is away.
        if lived_ms > _HEALTHY_MS or (stream.has_spoken and lived_ms > _SPOKE_WELL_MS) or fault is Fault.IDLE:
            self._attempts = 0
        if self.line.current is not None and self.line.current.plan is stream.plan:
            self.course.alarms.set(Alarm.RENEW, now_ms + _RENEW_AFTER_FAILURE_MS)
            return True
        if stream.plan.part == self.dialogue.part:
            self._unanswered = stream.cue or stream.unanswered or self._unanswered
        return self._try_again(fault, now_ms)

    def _note_service(self, stream: Stream | None) -> None:
        """A stream that has spoken shows that the service takes what we open it with."""
        self._has_served |= stream is not None and stream.has_spoken

    def _try_again(self, fault: Fault, now_ms: float) -> bool:
        settings, alarms = self.course.settings, self.course.alarms
        # Of all that a stream is opened with, the voice alone is the app's choice, which the service may not have.
        another_voice = fault in _OPENING_REFUSED and not self._has_served and self.line.speak_as_usual()
        # What was accepted a moment ago will be so again: credentials change, a refusal was for another reason.
        hopeless = not (fault.retryable or self._has_served or another_voice)
        if hopeless or self._attempts >= settings.retries:
            return False
        # Once more with what was being said when a policy blocked something; it may have been another thing.
        self._with_replay = fault is not Fault.CONTENT_FILTERED or not self._attempts
        # The outline of a part has the plan's words only; where it was refused, too, nothing is told at all.
        self._with_outline = self._with_history or fault is not Fault.HISTORY_REJECTED
        self._with_history = fault.with_history
        delay_ms = 0.0
        if self._attempts:
            delay_ms = settings.retry_after_ms * 2.0 ** (self._attempts - 1) * (0.5 + self.jitter())
        self._attempts += 1
        if not self._is_being_followed():
            alarms.set(Alarm.REOPEN, now_ms + delay_ms)
        if self.dialogue.reconnecting:
            self.tell_reconnecting(now_ms)
        elif not alarms.is_set(Alarm.TELL_RECONNECTING):
            alarms.set(Alarm.TELL_RECONNECTING, now_ms + settings.reconnecting_after_ms)
        return True

    def _is_being_followed(self) -> bool:
        """Whether a successor is on its way that serves as well as a new one."""
        successor, examiner = self.line.successor, self.dialogue.examiner
        if successor is None or examiner is None or not self._with_history:
            return False
        if examiner.phase is Phase.OVER:
            return successor.plan is self.following(examiner.plan)
        return successor.plan is examiner.plan and successor.said_before == self.dialogue.said

    def tell_reconnecting(self, now_ms: float) -> None:
        """A recovery takes long enough for the learner to wonder."""
        examiner, alarms = self.dialogue.examiner, self.course.alarms
        waits = self.line.current is None or (examiner is not None and examiner.phase is Phase.OVER)
        if waits and self.course.state is State.TALKING:
            at_ms = alarms.at_ms(Alarm.REOPEN)
            retry_in_ms = 0.0 if at_ms is None else max(0.0, at_ms - now_ms)
            self.dialogue.status("reconnecting", attempt=self._attempts, retry_in_ms=round(retry_in_ms))

    # Watching

    def watch(self, now_ms: float) -> Stream | None:
        """Look after the current stream; return it when it must be taken for dead.

        It is looked at whenever anything happens, and each second while it owes something.
        """
        current = self.line.current
        if current is None:
            return None
        if current.cue is not None and current.cue_yields and self.dialogue.examiner is not None:
            current.cue = self.dialogue.examiner.opening_cue
        self.line.play_on(now_ms)
        match self.line.watch.look(now_ms):
            case Verdict.DEAD:
                return current
            case Verdict.ASK:
                self.line.direct(Direction.CONTINUE, now_ms)
            case Verdict.SUSPECT if self.line.successor is None:
                self._suspected = current
                self._open(current.plan, now_ms)
            case _:
                pass
        return None

    def next_timer_ms(self) -> float | None:
        """When `watch` is due though nothing happens."""
        if self.line.current is None:
            return None
        moments = (self.line.next_timer_ms(), self.line.watch.next_timer_ms())
        return min((moment for moment in moments if moment is not None), default=None)

    # Renewal

    def renew(self, now_ms: float) -> None:
        """Open a fresh stream for an ageing one, in a pause while there is time."""
        current = self.line.current
        if self.course.state is not State.TALKING or current is None:
            return
        may_change = self._in_a_pause(current) or (self._must_change(current, now_ms) and not self.dialogue.maya_speaks)
        if self.line.successor is None and may_change:
            self._open(current.plan, now_ms)
        else:
            self.course.alarms.set(Alarm.RENEW, now_ms + _RENEW_AGAIN_MS)

    def _in_a_pause(self, current: Stream) -> bool:
        """Whether nothing goes on, and Maya owes nothing."""
        return self.dialogue.quiet and current.cue is None and self.line.watch.owed is Owed.NOTHING

    def _renew_at_ms(self, stream: Stream, now_ms: float) -> float:
        """When to look for a pause; credentials that end soon already will not be better at once."""
        settings = self.course.settings
        at_ms = stream.opened_at_ms + settings.renew_s * 1000
        if stream.ends_at_ms is not None:
            margin_ms = settings.credentials_margin_s * 1000
            at_ms = min(at_ms, max(stream.ends_at_ms - margin_ms, now_ms + margin_ms / 4))
        return at_ms

    def _must_change(self, stream: Stream, now_ms: float) -> bool:
        """Whether the stream ends before another pause is sure to come."""
        settings = self.course.settings
        ends_ms = stream.ends_at_ms
        is_old = now_ms >= stream.opened_at_ms + settings.renew_by_s * 1000
        return is_old or (ends_ms is not None and now_ms >= ends_ms - settings.credentials_margin_s * 1000 / 4)

    def _open(self, plan: PartPlan, now_ms: float) -> None:
        if self._with_history:
            self.line.open(plan, self.dialogue.history(), now_ms, said_before=self.dialogue.said)
            return
        resumed = self._outline(plan, now_ms)
        self.line.open(plan, resumed.history, now_ms, said_before=self.dialogue.said, told=resumed.plan)

    def _outline(self, plan: PartPlan, now_ms: float) -> Resumption:
        """What a stream is told of a part under way that may not be told what was said in it."""
        examiner = self.dialogue.examiner
        if examiner is None or examiner.plan is not plan or not self.dialogue.maya_has_begun:
            return Resumption(plan, Standing())
        phase, answers, asked = examiner.phase, examiner.answers, examiner.asked
        if self.dialogue.answer_comes_again:
            phase, answers, asked = examiner.before_answer
        standing = Standing(
            phase=phase,
            answers=answers,
            elapsed_ms=now_ms - examiner.started_ms,
            phase_elapsed_ms=max(0.0, now_ms - examiner.phase_since_ms),
        )
        # The examiner's plan may be what another relay left of the part; its answers are those of all of it.
        whole = self.course.settings.plan.part(plan.part)
        question = whole.questions[answers : answers + 1]
        asked = asked and phase is Phase.ASKING and all(says(line, self.dialogue.maya_last_said) for line in question)
        resumed = within(whole, standing, asked=asked)
        return resumed if self._with_outline else replace(resumed, history=())
