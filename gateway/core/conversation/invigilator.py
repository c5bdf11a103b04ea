"""Takes the learner through the parts of the test: when each begins, what Maya is told in it, when it is left."""

from dataclasses import dataclass
from typing import Any, Final

from gateway.core.conversation.course import Course
from gateway.core.conversation.dialogue import Dialogue
from gateway.core.conversation.downlink import Downlink
from gateway.core.conversation.ending import Ending
from gateway.core.conversation.examiner import Examiner, Phase
from gateway.core.conversation.line import MayaLine
from gateway.core.conversation.phone_side import PhoneSide
from gateway.core.conversation.streams import StreamKeeper
from gateway.core.exam import PartPlan
from gateway.core.messages import Part

_SILENT_MS: Final = 5_000.0
"""A phone that said nothing for so long is away: it acknowledges twice a second."""


@dataclass(slots=True)
class Invigilator:
    """Watches the clock of each part, and whether anybody is there; without the phone or without Maya the test stands still."""

    course: Course
    phone: PhoneSide
    downlink: Downlink
    line: MayaLine
    dialogue: Dialogue
    streams: StreamKeeper
    ending: Ending
    _silent_since_ms: float | None = None

    def begin_part(self, plan: PartPlan, now_ms: float) -> None:
        """Begin a part: its stream is the current one."""
        self.dialogue.examiner = Examiner(plan, self.course.settings, now_ms)
        self.streams.part_began()
        self.tell_part()
        self.course.record("part_began", part=plan.part)
        self.course.store_progress(now_ms)

    def tell_part(self) -> None:
        """Tell the phone which part it is."""
        if self.dialogue.examiner is None:
            return
        plan = self.dialogue.examiner.plan
        talk: dict[str, Any] = {}
        if plan.cue_card is not None:
            talk = {"cue_card": plan.cue_card.text, "prepare_s": plan.prepare_s, "speak_s": plan.speak_s}
        self.downlink.tell(Part, part=plan.part, title=plan.title, **talk)

    def follow(self, now_ms: float) -> bool:
        """Do what the clock of the part asks for; return whether the test is over."""
        examiner = self.dialogue.examiner
        if examiner is None or self._nobody_is_there(examiner, now_ms):
            return False
        if self.line.current is not None:
            direction = examiner.tick(now_ms)
            if direction is not None:
                self.line.direct(direction, now_ms)
        following = self.streams.following(examiner.plan)
        if following is None:
            return examiner.phase is Phase.OVER and not self.dialogue.maya_speaks
        if self.line.current is not None and examiner.phase in (Phase.CLOSING, Phase.OVER):
            self.streams.prepare(following, now_ms)
        if examiner.phase is Phase.OVER and self.streams.is_prepared(following) and self._may_leave(examiner, now_ms):
            self._change_to(following, now_ms)
        return False

    def next_timer_ms(self) -> float | None:
        """When `follow` has something to do though nothing happens."""
        examiner = self.dialogue.examiner
        if examiner is None or self._silent_since_ms is not None or self.line.current is None:
            return None
        return examiner.next_timer_ms()

    def _may_leave(self, examiner: Examiner, now_ms: float) -> bool:
        """Whether Maya has finished, and the learner has, or had time to.

        A sign that the learner speaks may be a cough without an end; a turn of Maya's without one is the watch's affair.
        """
        if self.dialogue.maya_speaks:
            return False
        last_words_ms = self.course.settings.last_words_s * 1000
        return not self.dialogue.learner_speaks or now_ms >= examiner.phase_since_ms + last_words_ms

    def _change_to(self, following: PartPlan, now_ms: float) -> None:
        predecessor = self.streams.begin_part(now_ms)
        if predecessor is not None:
            self.ending.assess(predecessor, now_ms)
        else:
            self.ending.assess_from_words(following.part - 1, now_ms)
        self.begin_part(following, now_ms)

    def _nobody_is_there(self, examiner: Examiner, now_ms: float) -> bool:
        silent = now_ms - self.phone.last_heard_ms > _SILENT_MS
        if silent and self._silent_since_ms is None:
            self._silent_since_ms = self.phone.last_heard_ms
        elif not silent and self._silent_since_ms is not None:
            examiner.stand_still(now_ms - self._silent_since_ms)
            self._silent_since_ms = None
        return silent
