"""Messages to and from the text of a WebSocket frame: strict in, compact out, cheap for audio.

pydantic-core parses JSON in one pass, with a depth limit of its own, so hostile nesting ends in an ordinary error.
"""

import re
from collections.abc import Mapping
from typing import Annotated, Final, NamedTuple

import pydantic_core
from pydantic import Field, TypeAdapter, ValidationError

from gateway.core.errors import BadAudio, BadMessage
from gateway.core.messages import (
    DOWN_MESSAGES,
    MAX_FRAME_MS,
    MAX_MESSAGE_BYTES,
    MIN_FRAME_MS,
    UP_MESSAGES,
    AudioUp,
    DownMessage,
    Message,
    UpMessage,
)

BYTES_PER_SAMPLE: Final = 2
"""16-bit mono."""

_UP: Final = TypeAdapter[UpMessage](Annotated[UpMessage, Field(discriminator="type")])
_DOWN: Final = TypeAdapter[DownMessage](Annotated[DownMessage, Field(discriminator="type")])

# Cheaper than decoding, and as strict: with a length that divides by four, exactly the padded base64 of RFC 4648.
_BASE64: Final = re.compile(r"[A-Za-z0-9+/]*={0,2}")

_FIELD_NAMES: Final = frozenset(name for cls in (*UP_MESSAGES, *DOWN_MESSAGES) for name in cls.model_fields)

_OF_CONTRACT: Final = ("expected_tags", "expected", "max_length", "min_length", "pattern", "ge", "le")
"""Of pydantic's context, what never holds anything of the input."""

_NO_TYPE: Final = frozenset({"union_tag_not_found", "union_tag_invalid"})

_UP_FIELDS: Final = {
    cls.model_fields["type"].default: ", ".join(name for name in cls.model_fields if name not in ("type", "action"))
    for cls in UP_MESSAGES
}

# By pydantic's error type. Its own texts are not used, since some of them quote the input. What stands in braces is of its context
# and comes from the contract.
_WHOLE_MESSAGE_FAULTS: Final[Mapping[str, str]] = {
    "json_invalid": "not JSON, or nested too deeply",
    "string_unicode": "not JSON: the text is not valid Unicode",
    "dict_type": "not a JSON object",
    "union_tag_not_found": "type: missing",
    "union_tag_invalid": "type: unknown; must be one of {expected_tags}",
}
_FIELD_FAULTS: Final[Mapping[str, str]] = {
    "missing": "missing",
    "extra_forbidden": "not a field of this message; it has {fields}",
    "int_type": "must be an integer",
    "float_type": "must be a number",
    "finite_number": "must be a finite number",
    "string_type": "must be a string",
    "string_unicode": "must be valid Unicode",
    "bool_type": "must be true or false",
    "dict_type": "must be an object",
    "literal_error": "must be {expected}",
    "string_too_long": "must have at most {max_length} characters",
    "string_too_short": "must have {min_length} or more characters",
    "string_pattern_mismatch": "must match {pattern}",
    "greater_than_equal": "must be {ge} or more",
    "less_than_equal": "must be {le} or less",
}


def parse_up(text: str | bytes) -> UpMessage:
    """Read a message from the app.

    Audio comes back with base64 and whole samples checked; its length is checked by `check_audio`, which knows the rate.

    Raises:
        BadMessage: it is too large, not JSON, not an object, of unknown type, or a field is wrong; names the field.
        BadAudio: the audio is not base64 or has an odd number of bytes; ``ref`` is its ``seq``.
    """
    _check_size(text)
    try:
        message = _UP.validate_json(text)
    except ValidationError as error:
        raise _bad_message(error) from None
    if isinstance(message, AudioUp):
        _check_pcm(message)
    return message


def parse_down(text: str | bytes) -> DownMessage | None:
    """Read a message from the gateway; ``None`` is one that an app ignores: without type, or of an unknown type.

    Fields that this version does not know are left out.

    Raises:
        BadMessage: it is too large, not JSON, not an object, or a field is wrong; names the field.
    """
    _check_size(text)
    try:
        return _DOWN.validate_json(text, extra="ignore")
    except ValidationError as error:
        if _first_fault(error).kind in _NO_TYPE:
            return None
        raise _bad_message(error) from None


def encode(message: Message) -> str:
    """Compact JSON of a message, optional fields without a value left out.

    Raises:
        ValueError: the message exceeds 24 KiB (`MAX_MESSAGE_BYTES`); only an assessment can grow that large.
    """
    data = pydantic_core.to_json(message, exclude_none=True)
    if len(data) > MAX_MESSAGE_BYTES:
        raise ValueError(f"{message.type}: message larger than {MAX_MESSAGE_BYTES} bytes")
    return data.decode()


def encode_audio_down(*, epoch: int, n: int, turn: int, rate: int, pcm: str) -> str:
    """JSON of an `AudioDown` without building one: it is sent several times a second in every conversation."""
    quoted = pydantic_core.to_json(pcm).decode()
    return f'{{"type":"audio","epoch":{epoch},"n":{n},"turn":{turn},"rate":{rate},"pcm":{quoted}}}'


def pcm_bytes_count(pcm: str) -> int:
    """Bytes that padded base64 stands for, counted without decoding it."""
    return len(pcm) // 4 * 3 - pcm.count("=", -2) if pcm else 0


def pcm_duration_ms(pcm: str, rate: int) -> float:
    """Milliseconds of sound in base64 PCM at ``rate`` samples a second."""
    return pcm_bytes_ms(pcm_bytes_count(pcm), rate)


def pcm_bytes_ms(count: int, rate: int) -> float:
    """Milliseconds of sound in ``count`` bytes of PCM at ``rate`` samples a second."""
    return count * 1000 / (rate * BYTES_PER_SAMPLE)


def check_audio(audio: AudioUp, rate: int) -> None:
    """Check that a frame from the app lasts 20 to 250 ms at the microphone's ``rate``.

    Raises:
        BadAudio: it does not; ``ref`` is its ``seq``.
    """
    if not MIN_FRAME_MS <= pcm_duration_ms(audio.pcm, rate) <= MAX_FRAME_MS:
        raise BadAudio(f"pcm: must last {MIN_FRAME_MS} to {MAX_FRAME_MS} ms", ref=audio.seq)


def _check_size(text: str | bytes) -> None:
    size = len(text) if isinstance(text, bytes) or text.isascii() else len(text.encode(errors="replace"))
    if size > MAX_MESSAGE_BYTES:
        raise BadMessage(f"larger than {MAX_MESSAGE_BYTES} bytes")


def _check_pcm(audio: AudioUp) -> None:
    if len(audio.pcm) % 4 or not _BASE64.fullmatch(audio.pcm):
        raise BadAudio("pcm: not base64", ref=audio.seq)
    if pcm_bytes_count(audio.pcm) % BYTES_PER_SAMPLE:
        raise BadAudio("pcm: odd number of bytes, samples have two", ref=audio.seq)


class _Fault(NamedTuple):
    """The first fault: pydantic's error type, where it lies, and what the contract asks for there."""

    kind: str
    where: tuple[int | str, ...]
    asked: dict[str, object]


def _first_fault(error: ValidationError) -> _Fault:
    fault = error.errors(include_url=False, include_input=False)[0]
    context = fault.get("ctx", {})
    return _Fault(fault["type"], fault["loc"], {name: context[name] for name in _OF_CONTRACT if name in context})


def _bad_message(error: ValidationError) -> BadMessage:
    kind, where, asked = _first_fault(error)
    if not where:
        return BadMessage(_WHOLE_MESSAGE_FAULTS.get(kind, "not a message of maya.v1").format(**asked))
    tag, *path = where
    says = _FIELD_FAULTS.get(kind, "is wrong").format(fields=_UP_FIELDS.get(str(tag)), **asked)
    return BadMessage(f"{_field_name(path)}: {says}", ref=str(tag))


def _field_name(path: list[int | str]) -> str:
    """Name of a field of the contract; a name made up by the sender may be content, so it is not repeated."""
    name = path[0] if path else "type"
    return name if name in _FIELD_NAMES and isinstance(name, str) else "an unknown field"
