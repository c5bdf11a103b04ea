"""Builds a session's output events. Source: SERVICE.md A3 to A6."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from infra.local.nova.actions import Emit
from infra.local.nova.interfaces import ToolCall

type StopReason = Literal["PARTIAL_TURN", "END_TURN", "INTERRUPTED", "TOOL_USE"]
type Stage = Literal["SPECULATIVE", "FINAL"]
type Role = Literal["USER", "ASSISTANT"]

INTERRUPTED_MARKER = '{ "interrupted" : true }'
_SPEECH_TOKEN_MS = 40
_TEXT_TOKEN_CHARS = 4


@dataclass(slots=True)
class _Tokens:
    """Tokens used so far by direction and kind; a rough count, for the service's own is not published."""

    speech_in: int = 0
    text_in: int = 0
    speech_out: int = 0
    text_out: int = 0


class OutputBuilder:
    """Makes events with the session's ids in them.

    Args:
        prompt_name: of the prompt that is answered.
        rate: of Maya's speech, in Hz.
        new_id: returns a fresh unique id.
    """

    def __init__(self, *, prompt_name: str, rate: int, new_id: Callable[[], str]) -> None:
        self._new_id = new_id
        self._session = {"promptName": prompt_name, "sessionId": new_id()}
        self._completion_id: str | None = None
        self._rate = rate
        self._tokens = _Tokens()

    @property
    def started(self) -> bool:
        """Whether completionStart has been built."""
        return self._completion_id is not None

    @property
    def _ids(self) -> dict[str, Any]:
        return self._session if self._completion_id is None else {**self._session, "completionId": self._completion_id}

    def completion_start(self) -> list[Emit]:
        """Return completionStart the first time and nothing later: a session has one, however many turns."""
        if self._completion_id is not None:
            return []
        self._completion_id = self._new_id()
        return [Emit("completionStart", self._ids)]

    def completion_end(self) -> Emit:
        """Return completionEnd."""
        return Emit("completionEnd", {**self._ids, "stopReason": "END_TURN"})

    def user_speech_start(self, offset_ms: float) -> Emit:
        """Return userSpeechStart; the first of a session has no completionId yet."""
        return Emit("userSpeechStart", {**self._ids, "inputAudioOffsetMs": round(offset_ms)})

    def user_speech_end(self, offset_ms: float, detection_offset_ms: float) -> Emit:
        """Return userSpeechEnd."""
        return Emit(
            "userSpeechEnd",
            {
                **self._ids,
                "inputAudioOffsetMs": round(offset_ms),
                "inputAudioDetectionOffsetMs": round(detection_offset_ms),
            },
        )

    def text_block(self, role: Role, stage: Stage, text: str, stop_reason: StopReason) -> list[Emit]:
        """Return a whole TEXT block with one textOutput."""
        content = {**self._ids, "contentId": self._new_id()}
        return [
            Emit(
                "contentStart",
                {
                    **content,
                    "type": "TEXT",
                    "role": role,
                    "additionalModelFields": json.dumps({"generationStage": stage}, separators=(",", ":")),
                    "textOutputConfiguration": {"mediaType": "text/plain"},
                },
            ),
            Emit("textOutput", {**content, "role": role, "content": text}),
            Emit("contentEnd", {**content, "type": "TEXT", "stopReason": stop_reason}),
        ]

    def audio_content(self) -> dict[str, Any]:
        """Return what all events of one new AUDIO block share."""
        return {**self._ids, "contentId": self._new_id()}

    def audio_start(self, content: dict[str, Any]) -> Emit:
        """Return contentStart of an AUDIO block."""
        return Emit(
            "contentStart",
            {
                **content,
                "type": "AUDIO",
                "role": "ASSISTANT",
                "audioOutputConfiguration": {
                    "mediaType": "audio/lpcm",
                    "sampleRateHertz": self._rate,
                    "sampleSizeBits": 16,
                    "channelCount": 1,
                    "encoding": "base64",
                    "audioType": "SPEECH",
                },
            },
        )

    def audio_end(self, content: dict[str, Any], stop_reason: StopReason) -> Emit:
        """Return contentEnd of an AUDIO block."""
        return Emit("contentEnd", {**content, "type": "AUDIO", "stopReason": stop_reason})

    def tool_block(self, call: ToolCall, arguments: str) -> list[Emit]:
        """Return a whole TOOL block; `arguments` is the JSON text of the call's arguments."""
        content = {**self._ids, "contentId": self._new_id()}
        return [
            Emit(
                "contentStart",
                {
                    **content,
                    "type": "TOOL",
                    "role": "TOOL",
                    "toolUseOutputConfiguration": {"mediaType": "application/json"},
                },
            ),
            Emit(
                "toolUse",
                {
                    **content,
                    "role": "TOOL",
                    "toolName": call.name,
                    "toolUseId": call.tool_use_id,
                    "content": arguments,
                },
            ),
            Emit("contentEnd", {**content, "type": "TOOL", "stopReason": "TOOL_USE"}),
        ]

    def usage(
        self, *, speech_in_ms: float = 0, text_in: str = "", speech_out_ms: float = 0, text_out: str = ""
    ) -> Emit:
        """Return a usageEvent for what came since the last one; its totals are those of the session."""
        delta = _Tokens(
            round(speech_in_ms / _SPEECH_TOKEN_MS),
            -(-len(text_in) // _TEXT_TOKEN_CHARS),
            round(speech_out_ms / _SPEECH_TOKEN_MS),
            -(-len(text_out) // _TEXT_TOKEN_CHARS),
        )
        total = self._tokens
        total.speech_in += delta.speech_in
        total.text_in += delta.text_in
        total.speech_out += delta.speech_out
        total.text_out += delta.text_out
        total_in, total_out = total.speech_in + total.text_in, total.speech_out + total.text_out
        return Emit(
            "usageEvent",
            {
                **self._ids,
                "details": {"delta": _token_details(delta), "total": _token_details(total)},
                "totalInputTokens": total_in,
                "totalOutputTokens": total_out,
                "totalTokens": total_in + total_out,
            },
        )


def _token_details(tokens: _Tokens) -> dict[str, dict[str, int]]:
    return {
        "input": {"speechTokens": tokens.speech_in, "textTokens": tokens.text_in},
        "output": {"speechTokens": tokens.speech_out, "textTokens": tokens.text_out},
    }
