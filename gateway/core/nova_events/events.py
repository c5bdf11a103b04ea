"""What Nova Sonic says on a stream, as frozen dataclasses.

Source: Amazon Nova user guide, "Output events" (nova2-userguide/sonic-output-events.html); ``userSpeechStart`` and
``userSpeechEnd`` have been seen on the wire since mid 2026.
"""

from dataclasses import dataclass, field
from enum import StrEnum

from gateway.core.nova_events.build import Role


class ContentKind(StrEnum):
    """What a content container of the model holds."""

    TEXT = "TEXT"
    AUDIO = "AUDIO"
    TOOL = "TOOL"


class Stage(StrEnum):
    """SPECULATIVE text is what the model is about to say, FINAL what was said or, from the USER, heard."""

    SPECULATIVE = "SPECULATIVE"
    FINAL = "FINAL"


class StopReason(StrEnum):
    """Why a container or a completion ended; OTHER is one that the service did not use to send."""

    PARTIAL_TURN = "PARTIAL_TURN"
    END_TURN = "END_TURN"
    INTERRUPTED = "INTERRUPTED"
    TOOL_USE = "TOOL_USE"
    OTHER = "OTHER"


@dataclass(frozen=True, slots=True)
class CompletionStart:
    """The model has begun to work; once per stream, not per turn."""

    completion_id: str


@dataclass(frozen=True, slots=True)
class UserSpeechStart:
    """The learner has begun to speak; the fastest sign of barge-in.

    Attributes:
        offset_ms: Where in the input audio the speech begins, None if not told.
    """

    offset_ms: float | None


@dataclass(frozen=True, slots=True)
class UserSpeechEnd:
    """The learner has finished an utterance.

    Attributes:
        offset_ms: Where in the input audio the speech ends, None if not told.
        detection_offset_ms: Where in the input audio the service noticed, None if not told.
    """

    offset_ms: float | None
    detection_offset_ms: float | None


@dataclass(frozen=True, slots=True)
class ContentStart:
    """A container of the model's opens.

    Attributes:
        content_id: Repeated by the events of the container.
        kind: What it holds.
        role: Whose words: USER for what was heard, ASSISTANT for what is said, TOOL.
        stage: Of TEXT; None for other kinds and where the service does not tell.
    """

    content_id: str
    kind: ContentKind
    role: Role
    stage: Stage | None


@dataclass(frozen=True, slots=True)
class TextOutput:
    """Words, of the container's stage.

    Attributes:
        content_id: Of the TEXT container.
        role: Whose words; None where only the container tells.
        text: The words, valid Unicode; kept out of the representation.
    """

    content_id: str
    role: Role | None
    text: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class InterruptedMarker:
    """The text ``{ "interrupted" : true }``, which is no speech: the learner spoke over the model."""

    content_id: str


@dataclass(frozen=True, slots=True)
class AudioOutput:
    """A piece of speech.

    Attributes:
        content_id: Of the AUDIO container.
        pcm_base64: 16-bit little-endian mono PCM, checked to be strict base64 of whole samples.
        pcm_bytes: Length of the PCM once decoded.
    """

    content_id: str
    pcm_base64: str = field(repr=False)
    pcm_bytes: int


@dataclass(frozen=True, slots=True)
class ToolUse:
    """The model calls a tool; it must be answered whatever the arguments are.

    Attributes:
        content_id: Of the TOOL container.
        tool_use_id: To be repeated in the answer.
        name: The tool's name.
        arguments: The arguments; None if they were no JSON object, for `parse_part_notes` to refuse.
    """

    content_id: str
    tool_use_id: str
    name: str
    arguments: dict[str, object] | None = field(repr=False)


@dataclass(frozen=True, slots=True)
class ContentEnd:
    """A container is complete. A turn has ended when AUDIO ends with END_TURN.

    Attributes:
        content_id: Of the container.
        kind: What it held; None where the service does not tell.
        stop_reason: Why it ended.
    """

    content_id: str
    kind: ContentKind | None
    stop_reason: StopReason


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of the stream so far (totals, not increments)."""

    speech_in: int
    text_in: int
    speech_out: int
    text_out: int


@dataclass(frozen=True, slots=True)
class CompletionEnd:
    """The model has finished; comes after ``promptEnd``, if at all."""

    stop_reason: StopReason


@dataclass(frozen=True, slots=True)
class UnknownEvent:
    """An event of a name not known here, or a container of an unknown kind; to be ignored."""

    name: str


@dataclass(frozen=True, slots=True)
class MalformedEvent:
    """What could not be read; to be counted and ignored.

    Attributes:
        reason: What was wrong, naming event and field; never content, so it may be logged.
    """

    reason: str


type OutputEvent = (
    CompletionStart
    | UserSpeechStart
    | UserSpeechEnd
    | ContentStart
    | TextOutput
    | InterruptedMarker
    | AudioOutput
    | ToolUse
    | ContentEnd
    | Usage
    | CompletionEnd
    | UnknownEvent
    | MalformedEvent
)
