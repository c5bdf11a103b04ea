"""Input events of a session, checked and ready for the engine. Source: SERVICE.md A2, A6, A7."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from infra.local.nova.interfaces import Endpointing, ToolSpec


@dataclass(frozen=True, slots=True)
class SessionStarted:
    """sessionStart; `endpointing` is HIGH unless the client chose."""

    endpointing: Endpointing


@dataclass(frozen=True, slots=True)
class PromptStarted:
    """promptStart: what Maya's answers look like; `output_rate` in Hz."""

    prompt_name: str
    voice_id: str
    output_rate: int
    tools: tuple[ToolSpec, ...]


@dataclass(frozen=True, slots=True)
class SystemGiven:
    """A whole SYSTEM block; blocks of the role SYSTEM_SPEECH are not passed on."""

    text: str


@dataclass(frozen=True, slots=True)
class TextGiven:
    """A whole text block of a role that takes part in the conversation."""

    role: Literal["USER", "ASSISTANT"]
    text: str
    interactive: bool


@dataclass(frozen=True, slots=True)
class AudioOpened:
    """The audio container; `rate` in Hz."""

    rate: int


@dataclass(frozen=True, slots=True)
class AudioReceived:
    """One audioInput, decoded: 16-bit little-endian mono, any count of bytes."""

    pcm: bytes


@dataclass(frozen=True, slots=True)
class AudioClosed:
    """contentEnd of the audio container."""


@dataclass(frozen=True, slots=True)
class ToolResultReceived:
    """A whole TOOL block; `document` is its parsed JSON document."""

    tool_use_id: str
    document: Any


@dataclass(frozen=True, slots=True)
class PromptEnded:
    """promptEnd."""


@dataclass(frozen=True, slots=True)
class SessionEnded:
    """sessionEnd."""


type InputEvent = (
    SessionStarted
    | PromptStarted
    | SystemGiven
    | TextGiven
    | AudioOpened
    | AudioReceived
    | AudioClosed
    | ToolResultReceived
    | PromptEnded
    | SessionEnded
)
