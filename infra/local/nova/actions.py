"""What the session engine wants done; the shell around it does it, in order."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from infra.local.nova.service_errors import ServiceError


@dataclass(frozen=True, slots=True)
class Emit:
    """Send one output event that holds no audio."""

    name: str
    body: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class EmitAudio:
    """Send one audioOutput: `body` but for its `content`, which is `pcm` in base64."""

    body: Mapping[str, Any]
    pcm: bytes


@dataclass(frozen=True, slots=True)
class Cut:
    """The learner spoke over Maya: what was sent and has not been played by now is void."""


@dataclass(frozen=True, slots=True)
class ExpectToolResult:
    """A toolResult for this id is allowed from now on."""

    tool_use_id: str


@dataclass(frozen=True, slots=True)
class Transcribe:
    """Have the ears put an utterance into words, then call `transcribed` with the same number."""

    utterance: int
    text_request: object


@dataclass(frozen=True, slots=True)
class Speak:
    """Have the voice speak a sentence, then call `spoken` with the same number."""

    sentence: int
    text: str
    rate: int
    voice_id: str


@dataclass(frozen=True, slots=True)
class Fail:
    """End the stream with an in-stream exception."""

    error: ServiceError


@dataclass(frozen=True, slots=True)
class Finish:
    """End the stream; all has been said."""


type Action = Emit | EmitAudio | Cut | ExpectToolResult | Transcribe | Speak | Fail | Finish
