"""One conversation, whole: what happened goes in with `now`, what is to be done comes out.

The pieces have one task each: `PhoneSide` reads the phone, `Downlink` writes to it, `MayaLine` holds the Nova Sonic
streams, `NovaSide` reads them and `StreamKeeper` decides about them, `Dialogue` follows the talk, `Invigilator` the parts, `Sitting` the test
from admission to its end, `AssessmentDesk` gathers the notes, `Ending` brings everything home, `Succession` passes it all to another relay if
this one is lost. This module joins them, gives each what is its own, and knows when to look at them again.
"""

from collections.abc import Callable, Sequence
from typing import Any, Final

from gateway.core.assessment import Assessment
from gateway.core.conversation.actions import Action
from gateway.core.conversation.asides import Asides
from gateway.core.conversation.course import Alarm, Course
from gateway.core.conversation.desk import AssessmentDesk
from gateway.core.conversation.dialogue import Dialogue
from gateway.core.conversation.downlink import Downlink
from gateway.core.conversation.ending import Ending
from gateway.core.conversation.inputs import (
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
from gateway.core.conversation.line import MayaLine
from gateway.core.conversation.nova_side import NovaSide
from gateway.core.conversation.phone_side import EARLY_MS, PhoneSide
from gateway.core.conversation.settings import ConversationSettings
from gateway.core.conversation.sitting import Sitting
from gateway.core.conversation.states import BEFORE_TALK, State
from gateway.core.conversation.streams import StreamKeeper
from gateway.core.conversation.succession import Succession
from gateway.core.conversation.transcript import Transcript
from gateway.core.conversation.uplink import Uplink
from gateway.core.nova_events import AudioOutput, Fault

_LOOK_EVERY_MS: Final = 200.0
"""Least time between two looks that only messages of a flowing talk call for: `Conversation.handle_all` says what may be late."""


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
        self._course = Course(settings, epoch, support_code)
        self._alarms = self._course.alarms
        self._alarms.set(Alarm.NOBODY, now_ms + settings.start_within_s * 1000)
        self.transcript = Transcript()
        self._downlink = Downlink(settings, epoch=epoch)
        self._uplink = Uplink(settings)
        asides = Asides(epoch, settings.part_with_ms)
        self._phone = PhoneSide(settings, epoch, support_code, self._downlink, self._uplink, asides)
        self._line = MayaLine(settings, self._course.act, new_prompt_name)
        self._line.phone_is_behind = self._uplink.is_behind
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
        self._course.store_progress = self._succession.store
        self._sitting = self._phone.events = Sitting(
            self._course,
            self._phone,
            self._uplink,
            self._downlink,
            self._line,
            self._dialogue,
            self._streams,
            self._ending,
            self._invigilator,
            self._lag,
            self._succession,
            ended,
        )
        self._nova = NovaSide(
            self._course, self._line, self._dialogue, self._streams, self._ending, self._lag, self._sitting
        )
        self._look_at_ms = now_ms
        self._steady_ms: float | None = None
        self._has_steady = False
        self._handlers = self._event_handlers()
        self._alarm_handlers = self._moment_handlers()

    def _event_handlers(self) -> dict[type[Any], Callable[[Any, float], None]]:
        """Whose each thing that happens is."""
        return {
            TookOver: self._succession.take_up,
            PhoneSaid: self._sitting.phone_said,
            PhoneLeft: self._sitting.phone_left,
            PostSettled: self._phone.settled,
            AdmissionSettled: self._sitting.admission_settled,
            StreamOpened: self._nova.opened,
            StreamSaid: self._nova.said,
            StreamEnded: self._nova.ended,
            MicroAnswered: lambda event, now_ms: self._ending.micro_answered(event.part, event.arguments, now_ms),
            SaveSettled: lambda event, now_ms: self._ending.save_settled(event.outcome, now_ms),
            ProgressSettled: lambda event, _now_ms: self._phone.stored(event.seq),
            ShutdownAsked: self._sitting.shutdown_asked,
        }

    def _moment_handlers(self) -> dict[Alarm, Callable[[float], None]]:
        """Whose each alarm is."""
        return {
            Alarm.NOBODY: self._ending.end,
            Alarm.AWAY: self._sitting.phone_stayed_away,
            Alarm.GO_AWAY: self._sitting.announce_end,
            Alarm.TIME_LIMIT: self._sitting.time_is_up,
            Alarm.STOP: self._sitting.stop,
            Alarm.REOPEN: self._streams.open_wanted,
            Alarm.TELL_RECONNECTING: self._streams.tell_reconnecting,
            Alarm.RENEW: self._streams.renew,
            Alarm.FINISH: self._ending.finish_with_what_is_there,
            Alarm.DELIVER: self._ending.part,
            Alarm.PART: self._ending.end,
        }

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
        part, which goes on when a phone that was away is heard. Late by 200 ms at most, and the time until the next event
        or moment: a frame's length while the phone speaks, `ack_every_ms` while it does not. Whatever has a moment of its
        own is done at it, or, where it may be early, with what happens shortly before: to be woken up costs more than it.
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
        if isinstance(event, PhoneSaid):
            return self._phone.said_nothing_new
        if isinstance(event, StreamSaid):
            return isinstance(event.event, AudioOutput)
        return isinstance(event, PostSettled | ProgressSettled)

    def tick(self, now_ms: float) -> None:
        """Let time pass."""
        while (alarm := self._alarms.take_due(now_ms)) is not None:
            self._alarm_handlers[alarm](now_ms)
        self._phone.tick(now_ms)
        if self.state is State.TALKING:
            self._follow_the_test(now_ms)
            self._lag.tick(now_ms)
        elif self.state not in BEFORE_TALK:
            self._lag.end()
        self._ending.follow(now_ms)
        self._look_at_ms = now_ms + _LOOK_EVERY_MS
        self._has_steady = False
        for aside in self._phone.asides.take(now_ms):
            self._course.act(aside)
        self._post(now_ms)

    def _follow_the_test(self, now_ms: float) -> None:
        dead = self._streams.watch(now_ms)
        if dead is not None:
            self._nova.lose(dead, Fault.STREAM_LOST, now_ms)
        elif self._invigilator.follow(now_ms):
            self._sitting.end("finished", now_ms)

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
            if self._steady_ms is not None:
                self._look_at_ms = min(self._look_at_ms, self._steady_ms - EARLY_MS)
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
        self._sitting.broke(now_ms)
        self.tick(now_ms)
