"""Output events of Nova Sonic's bidirectional stream, from JSON bytes to frozen dataclasses.

Nothing the service sends can raise here: fields that are not known are ignored, events that are not known become
`UnknownEvent`, and what cannot be read becomes `MalformedEvent`, which names the field and never quotes its content.
"""

import json
from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Final

import pydantic_core

from gateway.core.nova_events.build import Role, utf8
from gateway.core.nova_events.events import (
    AudioOutput,
    CompletionEnd,
    CompletionStart,
    ContentEnd,
    ContentKind,
    ContentStart,
    InterruptedMarker,
    MalformedEvent,
    OutputEvent,
    Stage,
    StopReason,
    TextOutput,
    ToolUse,
    UnknownEvent,
    Usage,
    UserSpeechEnd,
    UserSpeechStart,
)

_BASE64_ALPHABET: Final = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
_MAX_NAME_CHARS: Final = 64
_MAX_ID_CHARS: Final = 256
_MAX_OFFSET_MS: Final = 86_400_000.0
_MAX_TOKENS: Final = 2**53


type _Fields = Mapping[str, object]


class _WrongFieldError(ValueError):
    """A required field is missing or of a wrong type; the text names it."""


def parse_event(payload: bytes) -> OutputEvent:
    """Return the event that a chunk of the stream carries; never raises for any bytes.

    Args:
        payload: The chunk's JSON, ``{"event": {name: fields}}``.
    """
    try:
        document = _document(payload)
    except (ValueError, RecursionError):
        return MalformedEvent("not JSON")
    envelope = document.get("event") if isinstance(document, dict) else None
    if not isinstance(envelope, dict) or not envelope:
        return MalformedEvent("no event")
    name, fields = next(iter(envelope.items()))
    reader = _READERS.get(name)
    if reader is None:
        return UnknownEvent(_safe_name(name))
    if not isinstance(fields, dict):
        return MalformedEvent(f"{name} is not an object")
    try:
        return reader(fields)
    except _WrongFieldError as error:
        return MalformedEvent(f"{name}.{error}")


def _document(payload: bytes) -> object:
    """Read JSON in one pass of pydantic-core's; what it refuses may still be JSON with half a surrogate pair."""
    try:
        return pydantic_core.from_json(payload)
    except ValueError:
        return json.loads(payload)


def _completion_start(fields: _Fields) -> OutputEvent:
    return CompletionStart(_identifier(fields, "completionId", required=False))


def _user_speech_start(fields: _Fields) -> OutputEvent:
    return UserSpeechStart(_offset(fields, "inputAudioOffsetMs"))


def _user_speech_end(fields: _Fields) -> OutputEvent:
    return UserSpeechEnd(_offset(fields, "inputAudioOffsetMs"), _offset(fields, "inputAudioDetectionOffsetMs"))


def _content_start(fields: _Fields) -> OutputEvent:
    kind = _member(ContentKind, fields.get("type"))
    role = _member(Role, fields.get("role"))
    if kind is None or role is None:
        return UnknownEvent("contentStart")
    return ContentStart(_identifier(fields, "contentId"), kind, role, _stage(fields.get("additionalModelFields")))


def _text_output(fields: _Fields) -> OutputEvent:
    content_id = _identifier(fields, "contentId")
    text = _text(fields, "content")
    if _is_interrupted_marker(text):
        return InterruptedMarker(content_id)
    return TextOutput(content_id, _member(Role, fields.get("role")), utf8(text).decode())


def _audio_output(fields: _Fields) -> OutputEvent:
    content = _text(fields, "content")
    pcm_bytes = _base64_bytes(content)
    if not pcm_bytes or pcm_bytes % 2:
        raise _WrongFieldError("content holds no whole samples")
    return AudioOutput(_identifier(fields, "contentId"), content, pcm_bytes)


def _tool_use(fields: _Fields) -> OutputEvent:
    return ToolUse(
        content_id=_identifier(fields, "contentId", required=False),
        tool_use_id=_identifier(fields, "toolUseId"),
        name=_safe_name(_text(fields, "toolName")),
        arguments=_arguments(fields.get("content")),
    )


def _content_end(fields: _Fields) -> OutputEvent:
    return ContentEnd(
        _identifier(fields, "contentId"),
        _member(ContentKind, fields.get("type")),
        _member(StopReason, fields.get("stopReason")) or StopReason.OTHER,
    )


def _usage(fields: _Fields) -> OutputEvent:
    total = _object(_object(fields, "details"), "total")
    tokens_in, tokens_out = _object(total, "input"), _object(total, "output")
    return Usage(
        speech_in=_count(tokens_in, "speechTokens"),
        text_in=_count(tokens_in, "textTokens"),
        speech_out=_count(tokens_out, "speechTokens"),
        text_out=_count(tokens_out, "textTokens"),
    )


def _completion_end(fields: _Fields) -> OutputEvent:
    return CompletionEnd(_member(StopReason, fields.get("stopReason")) or StopReason.OTHER)


_READERS: Final[dict[str, Callable[[_Fields], OutputEvent]]] = {
    "audioOutput": _audio_output,
    "textOutput": _text_output,
    "contentStart": _content_start,
    "contentEnd": _content_end,
    "toolUse": _tool_use,
    "usageEvent": _usage,
    "userSpeechStart": _user_speech_start,
    "userSpeechEnd": _user_speech_end,
    "completionStart": _completion_start,
    "completionEnd": _completion_end,
}


def _identifier(fields: _Fields, name: str, *, required: bool = True) -> str:
    value = fields.get(name)
    if isinstance(value, str) and 0 < len(value) <= _MAX_ID_CHARS:
        return value
    if required:
        raise _WrongFieldError(f"{name} is no identifier")
    return ""


def _text(fields: _Fields, name: str) -> str:
    value = fields.get(name)
    if not isinstance(value, str):
        raise _WrongFieldError(f"{name} is no string")
    return value


def _base64_bytes(text: str) -> int:
    """Return how many bytes strict base64 holds.

    Looking for characters outside the alphabet costs a third of decoding, whose branches depend on the data.
    """
    rest = text.encode("ascii", "replace").translate(None, _BASE64_ALPHABET)
    if len(text) % 4 or rest not in (b"", b"=", b"==") or not text.endswith(rest.decode()):
        raise _WrongFieldError("content is not base64")
    return len(text) // 4 * 3 - len(rest)


def _offset(fields: _Fields, name: str) -> float | None:
    value = fields.get(name)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= _MAX_OFFSET_MS:
        return None
    return float(value)


def _count(fields: _Fields, name: str) -> int:
    value = fields.get(name)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= _MAX_TOKENS:
        return 0
    return value


def _object(fields: _Fields, name: str) -> _Fields:
    value = fields.get(name)
    return value if isinstance(value, dict) else {}


def _member[E: StrEnum](kind: type[E], value: object) -> E | None:
    return kind(value) if isinstance(value, str) and value in kind else None


def _stage(value: object) -> Stage | None:
    """Read ``additionalModelFields``: a JSON document in a string, or an object where a service mends that."""
    fields = _json_object(value)
    return None if fields is None else _member(Stage, fields.get("generationStage"))


def _arguments(value: object) -> dict[str, object] | None:
    """Read a tool's arguments: JSON in a string, which some models encode twice."""
    fields = _json_object(value)
    if fields is not None or not isinstance(value, str):
        return fields
    return _json_object(_json(value))


def _json_object(value: object) -> dict[str, object] | None:
    document = _json(value) if isinstance(value, str) else value
    return document if isinstance(document, dict) else None


def _json(text: str) -> object:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _is_interrupted_marker(text: str) -> bool:
    stripped = text.strip()
    return len(stripped) <= 64 and stripped.startswith("{") and _json(stripped) == {"interrupted": True}


def _safe_name(name: str) -> str:
    """Shorten a name from outside to what a log line may hold."""
    return "".join(c if c.isascii() and (c.isalnum() or c in "_-") else "?" for c in name[:_MAX_NAME_CHARS])
