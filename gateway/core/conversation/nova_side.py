"""Nova Sonic's side of a conversation: whom what a stream says concerns, and what follows when it is lost."""

from dataclasses import dataclass
from typing import Protocol

from gateway.core.assessment import ASSESS_PART
from gateway.core.conversation.course import Course
from gateway.core.conversation.dialogue import Dialogue
from gateway.core.conversation.ending import Ending
from gateway.core.conversation.inputs import StreamEnded, StreamOpened, StreamSaid
from gateway.core.conversation.lag_side import LagSide
from gateway.core.conversation.line import MayaLine, Stream, StreamEvent, StreamState
from gateway.core.conversation.states import State
from gateway.core.conversation.streams import StreamKeeper
from gateway.core.nova_events import Fault, ToolUse


class NovaEvents(Protocol):
    """What the conversation wants to know of its streams."""

    def first_stream_opened(self, stream: Stream, now_ms: float) -> None:
        """The stream that the conversation waited for is open."""

    def maya_unreachable(self, now_ms: float) -> None:
        """A stream is lost, and there is no hope of another."""


@dataclass(slots=True)
class NovaSide:
    """Reads what the streams say: the current one's talk, each one's tool calls, and how each opens and ends."""

    course: Course
    line: MayaLine
    dialogue: Dialogue
    streams: StreamKeeper
    ending: Ending
    lag: LagSide
    events: NovaEvents

    def opened(self, event: StreamOpened, now_ms: float) -> None:
        """A stream is open; one that is wanted no more says nothing to anybody."""
        stream = self.line.find(event.stream_id)
        if stream is None or stream.state is not StreamState.OPENING:
            return
        stream.move(StreamEvent.OPENED)
        stream.ends_at_ms = None if event.lives_ms is None else now_ms + event.lives_ms
        if self.course.state is State.CONNECTING:
            self.events.first_stream_opened(stream, now_ms)
        else:
            self.streams.opened(stream, now_ms)

    def said(self, event: StreamSaid, now_ms: float) -> None:
        """A stream has said something."""
        stream = self.line.find(event.stream_id)
        if stream is None:
            return
        if isinstance(event.event, ToolUse):
            self._tool_used(stream, event.event, now_ms)
        elif stream is self.line.current and self.course.state is State.TALKING:
            self.dialogue.handle(event.event, now_ms)
            self.lag.stream_said(event.event, stream.heard_ms, now_ms)

    def ended(self, event: StreamEnded, now_ms: float) -> None:
        """A stream has ended, or could not be opened."""
        stream = self.line.find(event.stream_id)
        if stream is not None:
            self.lose(stream, event.fault, now_ms)

    def lose(self, stream: Stream, fault: Fault, now_ms: float) -> None:
        """Do without a stream; have another opened while there is hope."""
        state, was_current = stream.state, stream is self.line.current
        self.line.lost(stream)
        self.course.record("stream_lost", fault=fault.label, part=stream.plan.part, state=state.value)
        if state is StreamState.ASSESSING:
            self.ending.stream_failed(stream.plan.part, now_ms)
        elif self.course.state in (State.CONNECTING, State.TALKING):
            if was_current:
                self.dialogue.leave_stream(stream.heard_ms, again=True)
                self.lag.stream_lost()
            if not self.streams.lost(stream, fault, now_ms):
                self.events.maya_unreachable(now_ms)

    def _tool_used(self, stream: Stream, call: ToolUse, now_ms: float) -> None:
        """Every call is answered: an unanswered one silences the stream (SERVICE.md A6)."""
        if stream.state is StreamState.ASSESSING and call.name == ASSESS_PART:
            self.ending.tool_called(stream, call, now_ms)
            return
        refusal = {"error": "The part is not over: go on with the test."}
        self.line.send(stream, stream.prompt.tool_result(call.tool_use_id, refusal))
