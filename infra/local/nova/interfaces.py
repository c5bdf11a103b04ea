"""What the stand-in asks of its ears, its voice and its mind.

The transport and the session engine know only these protocols; `infra.local.nova.voices` and `infra.local.nova.minds`
make the objects behind them through these factories:

    voices.make_ears(kind, *, rate: int, endpointing: Endpointing,
                     tempo: float = 1.0) -> Ears                               one for each session
    voices.make_voice(kind) -> Voice                                           one for the process
    minds.make_mind(*, system_prompt: str, history: Sequence[HistoryMessage],
                    tools: Sequence[ToolSpec]) -> Mind                          one for each session or Converse call

`kind` is `"plain"` or `"human"`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

type VoiceKind = Literal["plain", "human"]
type Endpointing = Literal["HIGH", "MEDIUM", "LOW"]
type Modality = Literal["speech", "text"]


@dataclass(frozen=True, slots=True)
class SpeechStart:
    """The learner began to speak.

    Attributes:
        offset_ms: where the speech begins, in ms of audio from the start of the audio container.
    """

    offset_ms: float


@dataclass(frozen=True, slots=True)
class SpeechEnd:
    """The learner has finished an utterance.

    Attributes:
        offset_ms: where the speech ended, in ms of audio from the start of the audio container.
        detection_offset_ms: where the ears became sure of it, on the same scale.
        text_request: what to hand to `Ears.transcribe` for the words of this utterance; opaque to the engine.
    """

    offset_ms: float
    detection_offset_ms: float
    text_request: object


type HeardEvent = SpeechStart | SpeechEnd


class Ears(Protocol):
    """Turn detection and recognition for one session; made with the session's sample rate and endpointing."""

    def feed(self, pcm: bytes, offset_ms: float) -> list[HeardEvent]:
        """Take the next piece of speech and say what it revealed.

        Called for every audioInput, in order, on the event loop: it must cost microseconds, not milliseconds.

        Args:
            pcm: 16-bit little-endian mono at the session's rate; any length, also an odd count of bytes.
            offset_ms: where its first sample lies, in ms from the start of the audio container.
        """
        ...

    async def transcribe(self, text_request: object) -> str:
        """Return the words of one utterance; may take long, never blocks the event loop. Empty when nothing was understood."""
        ...


class Voice(Protocol):
    """Text to speech, shared by all sessions of the process."""

    async def speak(self, text: str, rate: int, voice_id: str) -> bytes:
        """Return `text` spoken, as 16-bit little-endian mono at `rate` Hz; never blocks the event loop."""
        ...


@dataclass(frozen=True, slots=True)
class HistoryMessage:
    """One message of seeded conversation history.

    Attributes:
        role: `"USER"` or `"ASSISTANT"`.
        text: all textInputs of the block, joined.
    """

    role: Literal["USER", "ASSISTANT"]
    text: str


@dataclass(frozen=True, slots=True)
class ToolSpec:
    """One tool of promptStart or of a Converse request.

    Attributes:
        name: the tool's name.
        description: what it is for; may be empty.
        schema: its JSON Schema, parsed.
    """

    name: str
    description: str
    schema: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class ToolCall:
    """The mind wants a tool to be run.

    Attributes:
        tool_use_id: unique within the session, chosen by the mind; short (the service corrupts very long ones).
        name: the tool's name.
        arguments: a JSON object.
    """

    tool_use_id: str
    name: str
    arguments: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Reply:
    """What the mind answers: tool calls first, then sentences to speak. Both empty: it stays silent.

    Attributes:
        sentences: spoken one after the other, each with its own text and audio.
        tool_calls: run before any sentence; the mind goes on when `Mind.tool_result` brings their results.
    """

    sentences: tuple[str, ...] = ()
    tool_calls: tuple[ToolCall, ...] = ()


class Mind(Protocol):
    """Decides what is said; made with the session's system prompt, history and tools. Deterministic and quick."""

    def reply(self, user_text: str, kind: Modality, *, speech_ms: float | None = None) -> Reply:
        """Answer an utterance or an interactive text block.

        Args:
            user_text: its words; of an utterance that was not understood, none.
            kind: `"speech"` or `"text"`.
            speech_ms: how long the learner spoke.
        """
        ...

    def interrupted(self, sentences_begun: int) -> None:
        """Take note that the last reply was cut off after so many of its sentences had begun to be played."""
        ...

    def tool_result(self, tool_use_id: str, document: Any) -> Reply:
        """Go on after the result of one of its tool calls; `document` is the parsed JSON document."""
        ...

    def reply_converse(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Answer a validated Converse request body with `{"output": {"message": ...}, "stopReason": ...}`.

        The caller adds `usage` and `metrics`. With a forced tool the message holds one `toolUse` block whose `input`
        satisfies the tool's schema.
        """
        ...


class EarsFactory(Protocol):
    """Signature of `voices.make_ears`."""

    def __call__(self, kind: VoiceKind, *, rate: int, endpointing: Endpointing, tempo: float = 1.0) -> Ears:
        """Return new ears for one session; a `tempo` of 2.0 halves the pauses that end a turn."""
        ...


class MindFactory(Protocol):
    """Signature of `minds.make_mind`."""

    def __call__(self, *, system_prompt: str, history: Sequence[HistoryMessage], tools: Sequence[ToolSpec]) -> Mind:
        """Return a new mind for one session or one Converse call."""
        ...


class Faculties(Protocol):
    """Makes the ears and the mind of a session, as soon as what they depend on is known."""

    def ears(self, rate: int, endpointing: Endpointing) -> Ears:
        """Return new ears."""
        ...

    def mind(self, system_prompt: str, history: Sequence[HistoryMessage], tools: Sequence[ToolSpec]) -> Mind:
        """Return a new mind."""
        ...
