"""What outlives a relay: its session's progress, and how the relay that follows a lost one goes on from there.

What was said is gone with the lost relay, so nothing of it is known here. Maya picks up at the part reached (`resumption`),
whose clock goes on where it stood.
"""

from dataclasses import dataclass, field
from typing import Final

from gateway.core.assessment import Assessment
from gateway.core.conversation.actions import StoreProgress
from gateway.core.conversation.course import Alarm, Course
from gateway.core.conversation.desk import AssessmentDesk
from gateway.core.conversation.dialogue import Dialogue
from gateway.core.conversation.downlink import Downlink
from gateway.core.conversation.ending import Ending
from gateway.core.conversation.examiner import Examiner, Phase
from gateway.core.conversation.inputs import TookOver
from gateway.core.conversation.invigilator import Invigilator
from gateway.core.conversation.lag_side import LagSide
from gateway.core.conversation.line import MayaLine, Voice
from gateway.core.conversation.phone_side import PhoneSide
from gateway.core.conversation.progress import OpenSession, Standing, session_progress
from gateway.core.conversation.resumption import Resumption, resumption
from gateway.core.conversation.states import Event, State
from gateway.core.conversation.streams import StreamKeeper
from gateway.core.conversation.uplink import Uplink
from gateway.core.errors import SessionGone
from gateway.core.messages import ByeReason

_STORED_LATE_MS: Final = 5_000.0
"""How much longer ago than progress says the phone may have been heard: a write may have failed, or been under way."""

_AT_END: Final = (State.ASSESSING, State.SUMMARISING, State.SAVING, State.DELIVERING)


@dataclass(slots=True)
class Succession:
    """Writes a conversation's progress, and takes up one that another relay has begun.

    Attributes:
        wall_offset_ms: wall clock minus the clock of `now_ms`.
        began_ms: when the conversation began, perhaps with another relay.
    """

    course: Course
    phone: PhoneSide
    uplink: Uplink
    downlink: Downlink
    line: MayaLine
    dialogue: Dialogue
    streams: StreamKeeper
    desk: AssessmentDesk
    ending: Ending
    invigilator: Invigilator
    lag: LagSide
    wall_offset_ms: float
    began_ms: float
    _left: bool = False
    _is_taken_up: bool = False
    _phase_before: Standing = field(default_factory=Standing)
    _taken_up_ms: float | None = None
    _part_before: int = 0

    # Progress

    def store(self, now_ms: float) -> None:
        """Have the session's progress written, from its first part on: until then that of the session before stands."""
        if self.phone.start is None:
            return
        if not (self._is_taken_up or self.dialogue.part):
            self.phone.stored(self.uplink.acknowledged)
            return
        state = self.course.state
        plan = self.course.settings.plan
        progress = session_progress(
            self.phone.start,
            ended=self._left or state in (State.PARTING, State.ENDED),
            delivering=state is State.DELIVERING,
            connection_id=self.phone.connection_id,
            connected_at_ms=self.phone.connected_at_ms,
            epoch=self.course.epoch,
            seq=self.uplink.acknowledged,
            captured_ms=self.uplink.captured_ms,
            n=self.downlink.next_number - 1,
            plan=plan.name,
            choice=plan.choice,
            part=self.dialogue.part,
            standing=self._standing(now_ms),
            elapsed_ms=now_ms - self.began_ms,
            spoken_ms=self.dialogue.spoken_ms,
            notes=self.desk.notes,
            lag_noticed=self.lag.noticed,
            reason=self.ending.reason if state in _AT_END else None,
            written_at_ms=now_ms + self.wall_offset_ms,
            heard_at_ms=self.phone.last_heard_ms + self.wall_offset_ms,
            unsaved=self.ending.document if self.ending.lost else None,
        )
        self.course.act(StoreProgress(progress, self.uplink.acknowledged))

    def leave(self, now_ms: float) -> None:
        """Another relay will have the learner, for another session: this one is brought home here, and not taken up there."""
        self._left = True
        self.store(now_ms)

    def _standing(self, now_ms: float) -> Standing:
        examiner = self.dialogue.examiner
        if examiner is None:
            return Standing()
        waits_ms = 0.0 if self._taken_up_ms is None else now_ms - self._taken_up_ms
        # Of a phase that another relay began, what is left is all that this one's plan has.
        before = self._phase_before
        is_same = examiner.phase is before.phase and examiner.plan.part == self._part_before
        before_ms = before.phase_elapsed_ms if is_same else 0.0
        return Standing(
            phase=examiner.phase,
            answers=examiner.answers,
            elapsed_ms=now_ms - examiner.started_ms - waits_ms,
            phase_elapsed_ms=before_ms + max(0.0, now_ms - examiner.phase_since_ms - waits_ms),
        )

    # Taking up

    def take_up(self, event: TookOver, now_ms: float) -> None:
        """Go on with a session whose relay was lost."""
        session = event.session
        self._is_taken_up = True
        wall_ms = now_ms + self.wall_offset_ms
        away_ms = max(0.0, wall_ms - session.written_at_ms)
        self.began_ms = now_ms - session.elapsed_ms - away_ms
        self._restore(session, now_ms)
        self.course.record("session_taken_up", part=session.part, duration_ms=round(away_ms))
        window_ms = self.course.settings.resume_within_s * 1000 + _STORED_LATE_MS
        is_late = wall_ms - session.heard_at_ms > window_ms
        if event.document is not None:
            self._take_up_document(event.document, now_ms)
        elif session.reason is not None:
            self._take_up_end(session.reason, now_ms)
        elif is_late:
            if not session.notes:
                self.ending.failure = SessionGone("the session was over when the phone came back", ref="resume")
            self._take_up_end("failed", now_ms)
        else:
            self._take_up_talk(session, now_ms)

    def line_is_back(self, now_ms: float) -> None:
        """The first stream is open: the part, whose clock stood still, goes on."""
        examiner = self.dialogue.examiner
        if examiner is not None and self._taken_up_ms is not None:
            examiner.stand_still(now_ms - self._taken_up_ms)
            self._taken_up_ms = None
            current = self.line.current
            waits_for_maya = current is not None and (current.cue or current.unanswered) is not None
            self.dialogue.status("thinking" if waits_for_maya else "listening")
            assert self.phone.start is not None
            self.lag.begin(self.phone.start, now_ms)
            self.store(now_ms)

    def _restore(self, session: OpenSession, now_ms: float) -> None:
        start = session.start
        self.line.voice = Voice(start.voice, start.language, start.rate, start.out_rate)
        self.uplink.take_up(session.seq, session.captured_ms, self.began_ms, now_ms)
        self.phone.take_up(start, session.connection_id, session.connected_at_ms, session.seq, now_ms)
        self.dialogue.spoken_ms.update(session.spoken_ms)
        self.ending.spoken_before_ms.update(session.spoken_ms)
        self.desk.notes.update(session.notes)
        self.lag.noticed = session.lag_noticed

    def _take_up_talk(self, session: OpenSession, now_ms: float) -> None:
        resumed = resumption(self.course.settings.plan, session.part, session.standing)
        if resumed is None:
            self._take_up_end("finished", now_ms)
            return
        course, settings = self.course, self.course.settings
        course.go(Event.TOOK_UP)
        course.alarms.only(Alarm.AWAY, now_ms + settings.resume_within_s * 1000)
        self.set_time_limits(now_ms)
        self._taken_up_ms = now_ms
        if resumed.standing.phase in (Phase.PREPARING, Phase.TALKING):
            self._phase_before, self._part_before = session.standing, session.part
        self.dialogue.recalled = list(resumed.history)
        self.dialogue.examiner = self._examiner(resumed, now_ms)
        self.phone.ready(now_ms)
        self.invigilator.tell_part()
        self.dialogue.status("reconnecting")
        self.streams.open_wanted(now_ms)
        self.store(now_ms)

    def set_time_limits(self, now_ms: float) -> None:
        """Have the end announced and kept, reckoned from the beginning; what would have been announced already is not."""
        alarms, settings = self.course.alarms, self.course.settings
        go_away_at_ms = self.began_ms + settings.go_away_s * 1000
        if go_away_at_ms > now_ms:
            alarms.set(Alarm.GO_AWAY, go_away_at_ms)
        alarms.set(Alarm.TIME_LIMIT, self.began_ms + settings.time_limit_s * 1000)

    def _examiner(self, resumed: Resumption, now_ms: float) -> Examiner:
        standing = resumed.standing
        return Examiner(
            resumed.plan,
            self.course.settings,
            now_ms - standing.elapsed_ms,
            phase=standing.phase,
            phase_since_ms=now_ms - standing.phase_elapsed_ms,
            answers=standing.answers,
        )

    def _take_up_end(self, reason: ByeReason, now_ms: float) -> None:
        """The talk is over, by the test's course or because nobody came back in time: finish from the notes."""
        course = self.course
        self.ending.reason = reason
        course.go(Event.TOOK_UP_END)
        self.phone.ready(now_ms)
        self.dialogue.status("assessing")
        course.alarms.only(Alarm.FINISH, now_ms + course.settings.finish_within_s * 1000)
        self.store(now_ms)

    def _take_up_document(self, document: Assessment, now_ms: float) -> None:
        self.phone.ready(now_ms)
        self.ending.recall(document, now_ms)
