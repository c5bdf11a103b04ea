"""From the end of the talk to the end of everything: notes, summary, save, delivery, farewell."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from gateway.core.assessment import Assessment, QuotationGuard, join_parts, micro_summary_request, parse_summary
from gateway.core.conversation.actions import AskMicro, Disconnect, Finish, Save
from gateway.core.conversation.course import Alarm, Course
from gateway.core.conversation.desk import AssessmentDesk, Source
from gateway.core.conversation.dialogue import Dialogue
from gateway.core.conversation.downlink import Downlink
from gateway.core.conversation.inputs import SaveOutcome
from gateway.core.conversation.line import MayaLine, Stream
from gateway.core.conversation.phone_side import PhoneSide
from gateway.core.conversation.states import Event, State
from gateway.core.conversation.transcript import Transcript
from gateway.core.errors import BadToolInput, ProtocolError
from gateway.core.messages import AssessmentMessage, ByeReason
from gateway.core.nova_events import ToolUse


@dataclass(slots=True)
class Ending:
    """Brings a conversation to its end, whatever the way there.

    Attributes:
        wall_offset_ms: wall clock minus the clock of `now_ms`.
        reason: what `bye` says.
        failure: the error that ended the conversation, told before `bye`.
        document: the assessment as the phone is told, None until there is one.
        saved: whether it is in the learner's profile.
        lost: neither tables nor queue have taken it yet.
        spoken_before_ms: how long the learner had spoken in each part when a lost relay's session was taken up.
    """

    course: Course
    line: MayaLine
    dialogue: Dialogue
    transcript: Transcript
    phone: PhoneSide
    downlink: Downlink
    desk: AssessmentDesk
    wall_offset_ms: float
    reason: ByeReason = "finished"
    failure: ProtocolError | None = None
    document: dict[str, Any] | None = None
    saved: bool = False
    lost: bool = False
    spoken_before_ms: dict[int, float] = field(default_factory=dict)

    def begin(
        self, reason: ByeReason, now_ms: float, *, ask_stream: bool = True, failure: ProtocolError | None = None
    ) -> None:
        """End the talk and have its last part assessed.

        Args:
            reason: what `bye` will say.
            now_ms: the time.
            ask_stream: whether the part's stream can be asked, or has been without sound for too long.
            failure: the error that ends the conversation.
        """
        course = self.course
        was_open = course.state is State.TALKING or self.phone.open
        self.reason, self.failure = reason, failure
        course.go(Event.TEST_OVER)
        course.alarms.only(Alarm.FINISH, now_ms + course.settings.finish_within_s * 1000)
        turns = sum(utterance.who == "learner" for utterance in self.transcript.utterances)
        course.record("test_over", reason=reason, count=turns)
        current = self.line.current
        self.dialogue.leave_stream(0.0 if current is None else current.heard_ms, again=False)
        self.dialogue.settle()
        if was_open:
            self.dialogue.status("assessing")
        if self.line.successor is not None:
            self.line.close(self.line.successor)
        as_it_is = reason == "skipped" and not self._owes_an_assessment()
        if current is not None and ask_stream and not as_it_is:
            self.assess(current, now_ms)
        elif current is not None:
            self.line.close(current)
        if not as_it_is:
            self._assess_the_rest(now_ms)
        course.store_progress(now_ms)

    def hurry(self, now_ms: float) -> None:
        """The relay must end: save what is there soon."""
        self.course.alarms.bring_forward(Alarm.FINISH, now_ms + self.course.settings.hurry_s * 1000)

    def recall(self, assessment: Assessment, now_ms: float) -> None:
        """Tell the assessment of a session that has ended to a phone that came back for it."""
        self.course.go(Event.RECALLED)
        self.document, self.saved = assessment.model_dump(mode="json"), True
        self.course.record("assessment_recalled")
        self.tell_assessment()
        self.course.alarms.only(Alarm.DELIVER, now_ms + self.course.settings.deliver_within_ms)

    def refuse(self, failure: ProtocolError, now_ms: float) -> None:
        """Part with a phone that never began."""
        self.reason, self.failure = "failed", failure
        self.course.go(Event.REFUSED)
        self.course.alarms.only(Alarm.DELIVER, now_ms)

    # Notes

    def assess(self, stream: Stream, now_ms: float) -> None:
        """Ask a stream to assess the part that it heard; a part without speech is not assessed."""
        part = stream.plan.part
        if self._spoke_in(part):
            self.line.retire(stream)
            self.desk.asked_stream(part, self._assess_by(now_ms))
        else:
            self.line.close(stream)

    def _assess_the_rest(self, now_ms: float) -> None:
        """Have those parts assessed from their words whose streams were lost."""
        for part in self.dialogue.spoken_ms:
            self.assess_from_words(part, now_ms)

    def assess_from_words(self, part: int, now_ms: float) -> None:
        """Have a part assessed whose stream is lost, unless it has been or is being assessed."""
        is_seen_to = part in self.desk.notes or part in self.desk.pending
        if self._spoke_in(part) and not is_seen_to:
            self.desk.ask_micro(part, self._assess_by(now_ms))

    def tool_called(self, stream: Stream, call: ToolUse, now_ms: float) -> None:
        """A stream has called the tool; a wrong call gets one correction."""
        part = stream.plan.part
        result, again = self.desk.tool_called(part, call.arguments)
        self.line.send(stream, stream.prompt.tool_result(call.tool_use_id, result))
        if again:
            self.course.record("assessment_corrected", part=part)
            return
        self.line.close(stream)
        if part not in self.desk.notes:
            self.desk.ask_micro(part, self._assess_by(now_ms))
        self.course.record("part_assessed", part=part)
        self.course.store_progress(now_ms)

    def stream_failed(self, part: int, now_ms: float) -> None:
        """The stream that was assessing a part is lost."""
        if part in self.desk.pending:
            self.desk.ask_micro(part, self._assess_by(now_ms))

    def micro_answered(self, part: int, arguments: Mapping[str, Any] | None, now_ms: float) -> None:
        """Nova Micro has assessed a part or written the summary, or failed to; after the save it is too late."""
        if part and self.document is None:
            self.desk.micro_answered(part, arguments)
            self.course.store_progress(now_ms)
        elif not part and self.course.state is State.SUMMARISING:
            self._save(arguments, now_ms)

    def follow(self, now_ms: float) -> None:
        """Go on where what was waited for is there."""
        for part, source in self.desk.overdue(now_ms):
            self._overdue(part, source, now_ms)
        if self.course.state is State.ASSESSING and self.desk.complete:
            self._notes_complete(now_ms)
        delivered = self.downlink.idle and self.downlink.connection_id is not None
        if self.course.state is State.DELIVERING and delivered:
            self.part(now_ms)

    def _overdue(self, part: int, source: Source, now_ms: float) -> None:
        for stream in list(self.line.retired.values()):
            if stream.plan.part == part:
                self.line.close(stream)
        if source is Source.STREAM:
            self.desk.ask_micro(part, self._assess_by(now_ms))
        else:
            self.desk.give_up(part)

    def _notes_complete(self, now_ms: float) -> None:
        settings = self.course.settings
        least_s = settings.assess_skipped_from_s if self.reason == "skipped" else settings.assess_from_s
        if not self.desk.notes and self._spoken_ms < least_s * 1000:
            self.line.close_all()
            self.course.go(Event.NOTHING_TO_SAVE)
            self._deliver(now_ms)
            return
        self.course.go(Event.NOTES_COMPLETE)
        if self.desk.notes and self.course.alarms.is_set(Alarm.FINISH):
            self.course.act(AskMicro(0, micro_summary_request(self._notes())))
        else:
            self._save(None, now_ms)

    def finish_with_what_is_there(self, now_ms: float) -> None:
        """The time for notes and summary is over."""
        for part in list(self.desk.pending):
            self.desk.give_up(part)
        self.follow(now_ms)
        if self.course.state is State.SUMMARISING:
            self._save(None, now_ms)

    # Save

    def _save(self, arguments: Mapping[str, Any] | None, now_ms: float) -> None:
        self.line.close_all()
        assessment = self._join(arguments, now_ms)
        self.document = assessment.model_dump(mode="json")
        self.course.alarms.cancel(Alarm.FINISH)
        self.course.go(Event.SUMMARISED)
        self.course.act(Save(assessment))

    def _join(self, arguments: Mapping[str, Any] | None, now_ms: float) -> Assessment:
        start = self.phone.start
        assert start is not None
        summary = None
        if arguments is not None:
            try:
                summary = parse_summary(arguments)
            except BadToolInput:
                self.course.record("summary_refused")
        moment = datetime.fromtimestamp((now_ms + self.wall_offset_ms) / 1000, UTC)
        assessment = join_parts(
            self._notes(),
            spoken_ms_by_part=self.dialogue.spoken_ms,
            session_id=start.session_id,
            module=start.module,
            epoch=self.course.epoch,
            created_at=moment.isoformat(timespec="milliseconds"),
            planned_parts=[plan.part for plan in self.course.settings.plan.parts],
            summary=summary,
        )
        return QuotationGuard(self.transcript.texts()).clean_assessment(assessment)

    def _notes(self) -> list[Any]:
        return [self.desk.notes[part] for part in sorted(self.desk.notes)]

    def save_settled(self, outcome: SaveOutcome, now_ms: float) -> None:
        """The assessment is saved, or will be."""
        if self.course.state is not State.SAVING:
            return
        self.course.go(Event.SAVE_SETTLED)
        self.saved = outcome is SaveOutcome.SAVED
        self.lost = outcome is SaveOutcome.LOST
        self.course.record("assessment_settled", outcome=outcome.value)
        self.tell_assessment()
        self._deliver(now_ms)

    # Farewell

    def tell_assessment(self) -> None:
        """Tell the phone its assessment, if there is one."""
        if self.document is not None and self.course.state in (State.DELIVERING, State.PARTING):
            self.downlink.tell_now(AssessmentMessage, assessment=self.document, saved=self.saved)

    def _deliver(self, now_ms: float) -> None:
        self.course.store_progress(now_ms)
        wait_ms = 0.0
        if self.phone.open and self.downlink.connection_id is not None:
            # Maya's last words are still being played, and no faster than that is the rest of them sent.
            within_ms = self.course.settings.deliver_within_ms
            wait_ms = within_ms + min(self.downlink.unplayed_ms(now_ms), 2 * within_ms)
        self.course.alarms.only(Alarm.DELIVER, now_ms + wait_ms)

    def part(self, now_ms: float) -> None:
        """Say the last word, and leave the app time to close."""
        self.course.go(Event.DELIVERED)
        self.phone.bye(self.reason, self.failure)
        self.course.store_progress(now_ms)
        reachable = self.downlink.connection_id is not None
        wait_ms = self.course.settings.part_with_ms if reachable else 0.0
        self.course.alarms.only(Alarm.PART, now_ms + wait_ms)

    def phone_returned(self, now_ms: float) -> None:
        """The phone came by another connection after `bye`: it may have missed what went before, too."""
        self.course.go(Event.RETURNED)
        self.course.alarms.only(Alarm.DELIVER, now_ms + self.course.settings.deliver_within_ms)

    def end(self, _now_ms: float) -> None:
        """The app had its time to close."""
        self._finish(Event.PARTED)

    def cut_off(self) -> None:
        """Another relay has the learner: leave, and leave the phone alone."""
        self.downlink.detach()
        self._finish(Event.CUT_OFF)

    def _finish(self, event: Event) -> None:
        """Leave nothing open."""
        self.course.go(event)
        self.course.alarms.clear()
        for aside in self.phone.asides.take_all():
            self.course.act(aside)
        connection_id = self.downlink.connection_id
        if connection_id is not None:
            for post in self.downlink.leave():
                self.course.act(post)
            self.course.act(Disconnect(connection_id))
        self.line.close_all()
        self.course.act(Finish())

    # Small things

    def _spoke_in(self, part: int) -> bool:
        spoken_ms = self.dialogue.spoken_ms.get(part, 0.0) - self.spoken_before_ms.get(part, 0.0)
        return spoken_ms >= self.course.settings.assess_from_s * 1000

    @property
    def _spoken_ms(self) -> float:
        return sum(self.dialogue.spoken_ms.values())

    def _owes_an_assessment(self) -> bool:
        """Whether a test that is skipped must be assessed all the same: much was said, and no part has been assessed."""
        seen_to = bool(self.desk.notes or self.desk.pending)
        return not seen_to and self._spoken_ms >= self.course.settings.assess_skipped_from_s * 1000

    def _assess_by(self, now_ms: float) -> float:
        return now_ms + self.course.settings.assess_within_s * 1000
