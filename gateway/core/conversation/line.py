"""Maya's line: the Nova Sonic streams of one conversation, one after the other.

One stream is current: it hears the learner and is heard. Its successor is opened beside it, seeded with what was said,
and takes over at a pause (a new part, an ageing stream) or at once (a lost stream). A stream whose part is over is
retired: it hears nothing more and is asked to assess what it heard.

::

    OPENING --opened--> WAITING --promoted--> LIVE --retired--> ASSESSING --assessed--> CLOSED
       |                    |                   |                   |
       +--------------------+------ended--------+-------------------+----------------> CLOSED
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Final

from gateway.core.assessment import assess_part_tool
from gateway.core.conversation.actions import Action, CloseStream, OpenStream, SendEvents
from gateway.core.conversation.replay import Replay
from gateway.core.conversation.settings import ConversationSettings
from gateway.core.conversation.uplink import Frame
from gateway.core.conversation.watch import Sign, Watch
from gateway.core.exam import PartPlan
from gateway.core.nova_events import (
    Endpointing,
    HistoryTurn,
    PromptEvents,
    Role,
    session_end,
    session_start,
    shape_history,
)
from gateway.core.prompts import FIRST_HISTORY_LINE, Direction, system_prompt

_ASKS_THE_LEARNER_TO_SPEAK: Final = (
    Direction.START_TALK,
    Direction.RESUME_TALK,
    Direction.NUDGE,
    Direction.CONTINUE,
)

HEAR_NOTHING_AGAIN: Final = math.inf
HEAR_ALL_AGAIN: Final = 0.0


class StreamState(Enum):
    """Where a stream is in its life."""

    OPENING = "opening"
    WAITING = "waiting"
    LIVE = "live"
    ASSESSING = "assessing"
    CLOSED = "closed"


class StreamEvent(Enum):
    """What moves a stream on."""

    OPENED = "opened"
    PROMOTED = "promoted"
    RETIRED = "retired"
    ENDED = "ended"


STREAM_TABLE: Final[dict[StreamState, dict[StreamEvent, StreamState]]] = {
    StreamState.OPENING: {StreamEvent.OPENED: StreamState.WAITING, StreamEvent.ENDED: StreamState.CLOSED},
    StreamState.WAITING: {StreamEvent.PROMOTED: StreamState.LIVE, StreamEvent.ENDED: StreamState.CLOSED},
    StreamState.LIVE: {StreamEvent.RETIRED: StreamState.ASSESSING, StreamEvent.ENDED: StreamState.CLOSED},
    StreamState.ASSESSING: {StreamEvent.ENDED: StreamState.CLOSED},
    StreamState.CLOSED: {},
}


@dataclass(slots=True)
class Stream:
    """One Nova Sonic stream.

    Attributes:
        stream_id: its number in this conversation.
        plan: the part it holds.
        prompt: builds its events.
        opened_at_ms: when it was opened, for its age.
        said_before: how much had been said when it was seeded with the history; it knows nothing later.
        ends_at_ms: when the service ends it since its credentials end, None where that is not known.
        cue: the stage direction that it gets once it has heard enough sound to speak, and the phone has caught up.
        cue_yields: what the learner says before the cue is given is answered in its place.
        live_since_ms: when it became the current one.
        unanswered: the stage direction that it was given and has not answered yet.
        heard_ms: how much sound it was sent.
        has_spoken: whether it has said anything.
        state: see the table.
    """

    stream_id: int
    plan: PartPlan
    prompt: PromptEvents
    opened_at_ms: float
    said_before: int = 0
    ends_at_ms: float | None = None
    cue: Direction | None = None
    cue_yields: bool = False
    live_since_ms: float = 0.0
    unanswered: Direction | None = None
    heard_ms: float = 0.0
    has_spoken: bool = False
    state: StreamState = StreamState.OPENING

    def move(self, event: StreamEvent) -> None:
        """Go where the table says.

        Raises:
            KeyError: the table has no such way; a fault of the caller.
        """
        self.state = STREAM_TABLE[self.state][event]


_USUAL_VOICE: Final = "amy"
"""maya.v1: what an app that names no voice hears."""


@dataclass(slots=True)
class Voice:
    """How Maya speaks and hears: fixed at `start` for the whole conversation."""

    voice: str = _USUAL_VOICE
    language: str = "en-GB"
    rate: int = 16_000
    out_rate: int = 24_000


@dataclass(slots=True)
class MayaLine:
    """The streams of one conversation; pure bookkeeping that asks for actions through `act`.

    Attributes:
        phone_is_behind: whether the phone is still sending what it captured while nobody took it.
    """

    settings: ConversationSettings
    act: Callable[[Action], None]
    new_prompt_name: Callable[[], str]
    voice: Voice = field(default_factory=Voice)
    current: Stream | None = None
    successor: Stream | None = None
    retired: dict[int, Stream] = field(default_factory=dict)
    watch: Watch = field(init=False)
    replay: Replay = field(init=False)
    phone_is_behind: Callable[[float], bool] = lambda _now_ms: False
    _streams: int = 0

    def __post_init__(self) -> None:
        self.watch = Watch(self.settings)
        self.replay = Replay(self.settings.replay_ms, self.settings.replay_speed)

    # Opening and changing

    def speak_as_usual(self) -> bool:
        """Give Maya the voice that she has where none is asked for; return whether she had another."""
        changes = self.voice.voice != _USUAL_VOICE
        self.voice.voice = _USUAL_VOICE
        return changes

    def open(
        self,
        plan: PartPlan,
        history: Sequence[HistoryTurn],
        now_ms: float,
        *,
        said_before: int = 0,
        told: PartPlan | None = None,
    ) -> Stream:
        """Open a stream that shall become the current one; an unfinished successor is given up for it.

        Args:
            plan: the part it holds.
            history: what it is to know of what was said.
            now_ms: the time.
            said_before: how much had been said by now.
            told: the part as its prompt has it, if not as it is.
        """
        if self.successor is not None:
            self.close(self.successor)
        self._streams += 1
        prompt = PromptEvents(self.new_prompt_name())
        stream = Stream(self._streams, plan, prompt, now_ms, said_before)
        self.successor = stream
        self.act(OpenStream(stream.stream_id, self._opening_events(told or plan, prompt, history)))
        return stream

    def promote(
        self, now_ms: float, *, cue: Direction | None, replay_from_ms: float, cue_yields: bool = False
    ) -> Stream | None:
        """Make the waiting successor current; return the stream it follows, which hears nothing more.

        Args:
            now_ms: the time.
            cue: what it is told when it has heard all that waits for it.
            replay_from_ms: it hears again what lies behind this place in the sound of its predecessor and has no final
                transcript yet; `HEAR_NOTHING_AGAIN` for nothing.
            cue_yields: what the learner says before the cue is given is answered in its place.
        """
        successor, predecessor = self.successor, self.current
        assert successor is not None
        successor.move(StreamEvent.PROMOTED)
        successor.cue, successor.cue_yields, successor.live_since_ms = cue, cue_yields, now_ms
        self.current, self.successor = successor, None
        self.watch.begin(now_ms)
        self.replay.begin_again(replay_from_ms, now_ms)
        if cue is not None and cue_yields:
            for frame in self.replay.frames():
                self.watch.hear(frame, now_ms)
        self.play_on(now_ms)
        return predecessor

    def retire(self, stream: Stream) -> None:
        """Ask a stream that has heard its part to assess it."""
        stream.move(StreamEvent.RETIRED)
        self.retired[stream.stream_id] = stream
        if self.current is stream:
            self.current = None
        self.send(stream, stream.prompt.text_block(Role.USER, Direction.ASSESS, interactive=True))

    def close(self, stream: Stream) -> None:
        """End a stream in order: its containers, its prompt, its session."""
        if stream.state is StreamState.CLOSED:
            return
        if stream.state is not StreamState.OPENING and stream.heard_ms > 0:
            self.send(stream, [stream.prompt.audio_end(), stream.prompt.prompt_end(), session_end()])
        self.act(CloseStream(stream.stream_id))
        self._forget(stream)

    def close_all(self) -> None:
        """End every stream."""
        for stream in [self.current, self.successor, *self.retired.values()]:
            if stream is not None:
                self.close(stream)

    def lost(self, stream: Stream) -> None:
        """A stream has ended by itself."""
        self.act(CloseStream(stream.stream_id))
        self._forget(stream)

    def find(self, stream_id: int) -> Stream | None:
        """Return a stream that something is still wanted from."""
        for stream in (self.current, self.successor, *self.retired.values()):
            if stream is not None and stream.stream_id == stream_id:
                return stream
        return None

    # Hearing and speaking

    def hear(self, frame: Frame, now_ms: float) -> None:
        """Give the learner's speech to the current stream, and keep it until its transcript is final."""
        self.replay.wait(frame)
        if self.current is not None:
            self.watch.hear(frame, now_ms)
            self.play_on(now_ms)

    def play_on(self, now_ms: float) -> None:
        """Send the current stream what waits for it and is due, and the cue when nothing waits any more."""
        stream = self.current
        if stream is None:
            return
        while (frame := self.replay.take_due(now_ms)) is not None:
            self.send(stream, stream.prompt.audio_input(frame.pcm))
            stream.heard_ms += frame.sound_ms
            self.replay.sent(frame, stream.heard_ms)
        primed = stream.heard_ms >= self.settings.prime_ms and not self.replay.waits
        if stream.cue is not None and primed and not self._is_held_back(stream, now_ms):
            self.direct(stream.cue, now_ms)

    def _is_held_back(self, stream: Stream, now_ms: float) -> bool:
        """Whether the current stream's cue waits: for what the phone has still to send, or for the learner.

        What Maya says to it would be cut short as barge-in by speech that was captured long before. A phone that is there is
        acknowledged twice a second: it is looked at then, though nothing comes.
        """
        may_catch_up = now_ms < stream.live_since_ms + self.settings.catch_up_within_ms
        if may_catch_up and self.phone_is_behind(now_ms):
            return True
        return stream.cue_yields and self.watch.is_with_learner(now_ms, may_be_told_yet=may_catch_up)

    def next_timer_ms(self) -> float | None:
        """When `play_on` is due though nothing happens."""
        return None if self.current is None else self.replay.next_ms

    def direct(self, direction: Direction, now_ms: float) -> None:
        """Give the current stream a stage direction, which it answers by speaking; it takes the place of a cue."""
        stream = self.current
        if stream is not None:
            stream.cue, stream.unanswered = None, direction
            self.send(stream, stream.prompt.text_block(Role.USER, direction, interactive=True))
            self.watch.note(Sign.ASKED, now_ms)

    def spoke(self, now_ms: float) -> None:
        """The current stream speaks."""
        self.watch.note(Sign.SPOKE, now_ms)
        current = self.current
        if current is not None:
            current.unanswered, current.has_spoken = None, True
            if current.cue_yields:
                current.cue = None

    def learner_spoke(self) -> None:
        """Whoever speaks need not be asked to."""
        if self.current is not None and self.current.unanswered in _ASKS_THE_LEARNER_TO_SPEAK:
            self.current.unanswered = None

    def settle(self, heard_to_ms: float | None) -> None:
        """The transcript is final up to a place in the current stream's sound (None: up to now)."""
        self.replay.settle(heard_to_ms)

    def send(self, stream: Stream, events: Sequence[bytes]) -> None:
        """Send events on a stream."""
        if events:
            self.act(SendEvents(stream.stream_id, tuple(events)))

    def _forget(self, stream: Stream) -> None:
        stream.move(StreamEvent.ENDED)
        self.retired.pop(stream.stream_id, None)
        if self.current is stream:
            self.current = None
        if self.successor is stream:
            self.successor = None

    def _opening_events(
        self, plan: PartPlan, prompt: PromptEvents, history: Sequence[HistoryTurn]
    ) -> tuple[bytes, ...]:
        settings = self.settings
        events = [
            session_start(
                max_tokens=settings.voice_tokens,
                top_p=settings.top_p,
                temperature=settings.temperature,
                endpointing=Endpointing(plan.endpointing),
            ),
            prompt.prompt_start(voice=self.voice.voice, out_rate=self.voice.out_rate, tools=[assess_part_tool()]),
            *prompt.text_block(Role.SYSTEM, system_prompt(plan, self.voice.language), interactive=False),
        ]
        for turn in shape_history(history, first_user_line=FIRST_HISTORY_LINE):
            events += prompt.text_block(turn.role, turn.text, interactive=False)
        events.append(prompt.audio_start(rate=self.voice.rate))
        return tuple(events)
