"""Input events of Nova Sonic's bidirectional stream, as the JSON bytes that the SDK's input chunk carries.

Order of events in a stream: ``session_start``, ``prompt_start``, the SYSTEM text block, history text blocks,
``audio_start``, then audio in real time, interleaved with interactive USER text and tool results; at the end
``audio_end``, ``prompt_end``, ``session_end``. The service ends the stream on any other order; nothing here checks it.

Source: Amazon Nova user guide, "Input events" (nova2-userguide/sonic-input-events.html).
"""

import json
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

SAMPLE_RATES: Final = (8_000, 16_000, 24_000)
"""Sample rates in Hz that the service takes and gives."""

MAX_TEXT_CHUNK_BYTES: Final = 4_096
"""Most UTF-8 bytes of text in one ``textInput``; longer ones of a system prompt have been refused by the service."""

MAX_AUDIO_CHARS: Final = 5_328
"""Most base64 characters in one ``audioInput``: 3,996 bytes of PCM.

A multiple of 4 characters holds whole bytes, and 3,996 bytes hold whole 16-bit samples, so base64 is cut here without
being decoded. A larger event leaves the machine in two TCP segments and costs tens of milliseconds.
"""

_JSON_BASE64_LPCM: Final = {
    "mediaType": "audio/lpcm",
    "sampleSizeBits": 16,
    "channelCount": 1,
    "audioType": "SPEECH",
    "encoding": "base64",
}
_PLAIN_TEXT: Final = {"mediaType": "text/plain"}
_ENCODER: Final = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False)


class Role(StrEnum):
    """Who a piece of content belongs to."""

    SYSTEM = "SYSTEM"
    SYSTEM_SPEECH = "SYSTEM_SPEECH"
    USER = "USER"
    ASSISTANT = "ASSISTANT"
    TOOL = "TOOL"


class Endpointing(StrEnum):
    """How soon silence counts as the end of a turn: about 1.5 s, 1.75 s and 2.0 s (sonic-turn-taking.html)."""

    HIGH = "HIGH"
    MEDIUM = "MEDIUM"
    LOW = "LOW"


@dataclass(frozen=True, slots=True)
class ToolSpec:
    """A tool that the model may call.

    Attributes:
        name: The tool's name, unique in a prompt.
        description: One short sentence; long ones make the model call it at the wrong time.
        schema: JSON Schema of the arguments, without references. Nova Sonic takes it as a string, Converse as an object.
    """

    name: str
    description: str
    schema: Mapping[str, Any]

    def as_sonic(self) -> dict[str, Any]:
        """Return the tool as ``promptStart`` wants it, with the schema as a JSON string."""
        return {
            "toolSpec": {
                "name": self.name,
                "description": self.description,
                "inputSchema": {"json": _ENCODER.encode(self.schema)},
            }
        }

    def as_converse(self) -> dict[str, Any]:
        """Return the tool as the Converse API wants it, with the schema as an object."""
        return {
            "toolSpec": {
                "name": self.name,
                "description": self.description,
                "inputSchema": {"json": dict(self.schema)},
            }
        }


def encode_event(name: str, fields: Mapping[str, object]) -> bytes:
    """Return ``{"event": {name: fields}}`` as compact UTF-8 JSON."""
    return utf8(_ENCODER.encode({"event": {name: fields}}))


def session_start(
    *,
    max_tokens: int = 4_096,
    top_p: float = 0.9,
    temperature: float = 0.7,
    endpointing: Endpointing | None = Endpointing.MEDIUM,
) -> bytes:
    """Return the first event of a stream.

    Args:
        max_tokens: Most tokens of one answer, 1 to 10,000.
        top_p: Nucleus sampling, 0 to 1.
        temperature: Randomness, 0 to 1.
        endpointing: Turn detection; None leaves it to the service (the first Nova Sonic has no such setting).

    Raises:
        ValueError: A value is outside its range.
    """
    if not 1 <= max_tokens <= 10_000:
        raise ValueError(f"max_tokens must be 1 to 10000, not {max_tokens}")
    if not 0 <= top_p <= 1:
        raise ValueError(f"top_p must be 0 to 1, not {top_p}")
    if not 0 <= temperature <= 1:
        raise ValueError(f"temperature must be 0 to 1, not {temperature}")
    fields: dict[str, object] = {
        "inferenceConfiguration": {"maxTokens": max_tokens, "topP": top_p, "temperature": temperature}
    }
    if endpointing is not None:
        fields["turnDetectionConfiguration"] = {"endpointingSensitivity": endpointing.value}
    return encode_event("sessionStart", fields)


def session_end() -> bytes:
    """Return the last event of a stream, after ``prompt_end``."""
    return encode_event("sessionEnd", {})


def split_utf8(text: str, max_bytes: int) -> list[str]:
    """Cut text into pieces of at most ``max_bytes`` UTF-8 bytes, never inside a character.

    Lone surrogates, which no UTF-8 can carry, become U+FFFD.

    Raises:
        ValueError: ``max_bytes`` is under 4, the length of the longest character.
    """
    if max_bytes < 4:
        raise ValueError("max_bytes must be at least 4")
    data = utf8(text)
    pieces = []
    start = 0
    while start < len(data):
        end = min(start + max_bytes, len(data))
        while end < len(data) and data[end] & 0xC0 == 0x80:
            end -= 1
        pieces.append(data[start:end].decode())
        start = end
    return pieces


def utf8(text: str) -> bytes:
    """Encode text, with U+FFFD for lone surrogates (a JSON escape can produce them)."""
    try:
        return text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace").encode()


class PromptEvents:
    """Builds the events of one prompt, that is of one stream, with its names in place.

    Content names are UUIDs derived from the prompt's name and a counter, so the caller's injected prompt name decides
    them all. The one audio container of the prompt has its name from the start.
    """

    def __init__(self, prompt_name: str) -> None:
        """Take the prompt's name, a UUID made by the caller."""
        self.prompt_name = prompt_name
        self._contents = 0
        self._audio_name = self._next_content_name()
        head = encode_event("audioInput", {"promptName": prompt_name, "contentName": self._audio_name, "content": ""})
        self._audio_head, self._audio_tail = head[:-4], head[-4:]

    def prompt_start(self, *, voice: str, out_rate: int, tools: Sequence[ToolSpec] = ()) -> bytes:
        """Return the event that fixes voice, output rate in Hz and tools for the whole stream.

        Raises:
            ValueError: The rate is not one of `SAMPLE_RATES`.
        """
        fields: dict[str, object] = {
            "promptName": self.prompt_name,
            "textOutputConfiguration": _PLAIN_TEXT,
            "audioOutputConfiguration": {**_lpcm(out_rate, "out_rate"), "voiceId": voice},
        }
        if tools:
            fields["toolUseOutputConfiguration"] = {"mediaType": "application/json"}
            fields["toolConfiguration"] = {"tools": [tool.as_sonic() for tool in tools], "toolChoice": {"auto": {}}}
        return encode_event("promptStart", fields)

    def text_block(self, role: Role, text: str, *, interactive: bool) -> list[bytes]:
        """Return a whole text block: its start, the text in chunks, its end.

        Args:
            role: SYSTEM (once per prompt), SYSTEM_SPEECH, USER or ASSISTANT.
            text: What is said; long text goes in chunks of `MAX_TEXT_CHUNK_BYTES`.
            interactive: True for USER text that the model shall answer, False for the system prompt and history.

        Raises:
            ValueError: The text is blank: the service ends a stream whose block holds no data.
        """
        if not text.strip():
            raise ValueError("text of a block must not be blank")
        name = self._next_content_name()
        start = self._content_start(
            name,
            {"type": "TEXT", "interactive": interactive, "role": role.value, "textInputConfiguration": _PLAIN_TEXT},
        )
        chunks = [
            encode_event("textInput", {"promptName": self.prompt_name, "contentName": name, "content": chunk})
            for chunk in split_utf8(text, MAX_TEXT_CHUNK_BYTES)
        ]
        return [start, *chunks, self._content_end(name)]

    def audio_start(self, *, rate: int) -> bytes:
        """Return the event that opens the prompt's one audio container, for PCM at ``rate`` Hz.

        Raises:
            ValueError: The rate is not one of `SAMPLE_RATES`.
        """
        return self._content_start(
            self._audio_name,
            {"type": "AUDIO", "interactive": True, "role": "USER", "audioInputConfiguration": _lpcm(rate, "rate")},
        )

    def audio_input(self, pcm_base64: str) -> list[bytes]:
        """Return the events that carry base64 PCM, none for an empty string; called for every frame.

        Args:
            pcm_base64: Checked base64 of whole 16-bit samples; it is cut at `MAX_AUDIO_CHARS`, never decoded.
        """
        head, tail = self._audio_head, self._audio_tail
        content = pcm_base64.encode("ascii")
        if 0 < len(content) <= MAX_AUDIO_CHARS:
            return [b"%b%b%b" % (head, content, tail)]
        return [
            b"%b%b%b" % (head, content[start : start + MAX_AUDIO_CHARS], tail)
            for start in range(0, len(content), MAX_AUDIO_CHARS)
        ]

    def audio_end(self) -> bytes:
        """Return the event that closes the audio container."""
        return self._content_end(self._audio_name)

    def tool_result(self, tool_use_id: str, document: Mapping[str, object]) -> list[bytes]:
        """Return the block that answers a tool use; every tool use needs one.

        Args:
            tool_use_id: The id of the `ToolUse` event.
            document: The answer. It goes as a JSON document in a string: plain words end the stream.
        """
        name = self._next_content_name()
        configuration = {"toolUseId": tool_use_id, "type": "TEXT", "textInputConfiguration": _PLAIN_TEXT}
        start = self._content_start(
            name,
            {"type": "TOOL", "interactive": False, "role": "TOOL", "toolResultInputConfiguration": configuration},
        )
        content = _ENCODER.encode(document)
        result = encode_event("toolResult", {"promptName": self.prompt_name, "contentName": name, "content": content})
        return [start, result, self._content_end(name)]

    def prompt_end(self) -> bytes:
        """Return the event that ends the prompt, once all its containers are closed."""
        return encode_event("promptEnd", {"promptName": self.prompt_name})

    def _content_start(self, name: str, fields: Mapping[str, object]) -> bytes:
        return encode_event("contentStart", {"promptName": self.prompt_name, "contentName": name, **fields})

    def _content_end(self, name: str) -> bytes:
        return encode_event("contentEnd", {"promptName": self.prompt_name, "contentName": name})

    def _next_content_name(self) -> str:
        name = uuid.uuid5(uuid.NAMESPACE_OID, f"{self.prompt_name}/{self._contents}")
        self._contents += 1
        return str(name)


def _lpcm(rate: int, field: str) -> dict[str, object]:
    if rate not in SAMPLE_RATES:
        raise ValueError(f"{field} must be one of {SAMPLE_RATES}, not {rate}")
    return {**_JSON_BASE64_LPCM, "sampleRateHertz": rate}
