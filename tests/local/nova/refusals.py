"""What the service refuses inside a stream, with which text: the table of SERVICE.md A9 and the rules of A2, A6, A7."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from infra.local.nova.service_errors import Text
from tests.local.nova import events as ev


@dataclass(frozen=True)
class Refusal:
    """Events that pass, one that does not, and what the service says of it.

    Attributes:
        a9: the row of SERVICE.md A9 that it is from, empty for a rule of another section.
    """

    name: str
    before: list[ev.Event]
    last: ev.Event | bytes
    text: str
    a9: str = ""

    @property
    def raw(self) -> bytes:
        return self.last if isinstance(self.last, bytes) else ev.raw(self.last)


_INVALID = str(Text.INVALID)
_UNPARSABLE = "Unable to parse input chunk"
_HISTORY_FIRST = "Chat history should be sent completely before streaming audio."
_EMPTY = "as no content data was received"
_USER_BLOCK = ev.text_block("h1", "USER", "Hello")


def _invalid(name: str, before: list[ev.Event], last: ev.Event | bytes) -> Refusal:
    return Refusal(name, before, last, _INVALID)


def _inference(**changes: Any) -> ev.Event:
    return ev.session_start(inferenceConfiguration={"maxTokens": 1024, "topP": 0.9, "temperature": 0.7, **changes})


def _audio(**changes: Any) -> ev.Event:
    return ev.audio_start(audioInputConfiguration={**ev.LPCM, "sampleRateHertz": 16000, **changes})


def _tools(*tools: dict[str, Any], **configuration: Any) -> ev.Event:
    return ev.prompt_start(toolConfiguration={"tools": list(tools), **configuration})


_RESULT_WITHOUT_MEDIA = ev.tool_start("t1", toolResultInputConfiguration={"toolUseId": "t1", "type": "TEXT"})

A9: list[Refusal] = [
    Refusal(
        "second SYSTEM block",
        ev.opening(),
        ev.text_start("again", "SYSTEM"),
        "Error(s):\nError 1 : Duplicate SYSTEM content. SYSTEM content can only be provided once per prompt.",
        a9="2nd SYSTEM block",
    ),
    Refusal(
        "second SYSTEM block in the conversation",
        [*ev.live(), ev.audio_input()],
        ev.text_start("again", "SYSTEM"),
        "Duplicate SYSTEM content.",
        a9="2nd SYSTEM block",
    ),
    Refusal(
        "audio container closed without data",
        ev.live(),
        ev.content_end("audio"),
        f"Cannot end content [audio] {_EMPTY}",
        a9="close a container with no data",
    ),
    Refusal(
        "text container closed without data",
        [*ev.live(), ev.text_start("typed", "USER", interactive=True)],
        ev.content_end("typed"),
        f"Cannot end content [typed] {_EMPTY}",
        a9="close a container with no data",
    ),
    Refusal(
        "promptEnd with the audio open",
        [*ev.live(), ev.audio_input()],
        ev.prompt_end(),
        "All contents must be closed before ending prompt",
        a9="promptEnd with open container",
    ),
    Refusal(
        "promptEnd with a text open",
        [*ev.opening(), ev.text_start("h", "USER")],
        ev.prompt_end(),
        "All contents must be closed before ending prompt",
        a9="promptEnd with open container",
    ),
    Refusal(
        "prompt without audio",
        ev.opening(),
        ev.prompt_end(),
        "must have at least one audio content",
        a9="prompt without audio container",
    ),
    Refusal(
        "history begins with ASSISTANT",
        ev.opening(),
        ev.text_start("h1", "ASSISTANT"),
        "First message in chat history should not be Assistant.",
        a9="history starts with ASSISTANT",
    ),
    Refusal(
        "history message over 50 KB",
        [*ev.opening(), ev.text_start("h1", "USER")],
        ev.text_input("h1", "a" * (50 * 1024 + 1)),
        "Chat history is over max limit. Trim chat history and try again.",
        a9="history too big",
    ),
    Refusal(
        "audio container inside history",
        [*ev.opening(), ev.text_start("h1", "USER")],
        ev.audio_start(),
        _HISTORY_FIRST,
        a9="audio inside/before end of history",
    ),
    Refusal(
        "audioInput inside history",
        [*ev.opening(), ev.text_start("h1", "USER")],
        ev.audio_input(),
        _HISTORY_FIRST,
        a9="audio inside/before end of history",
    ),
    Refusal(
        "history after the audio",
        [*ev.live(), ev.audio_input()],
        ev.text_start("h1", "USER"),
        _HISTORY_FIRST,
        a9="audio inside/before end of history",
    ),
    Refusal(
        "schema is an object",
        [ev.session_start()],
        _tools(ev.tool(schema=ev.SCHEMA)),
        _UNPARSABLE,
        a9="object instead of string schema",
    ),
    Refusal(
        "schema is no JSON object",
        [ev.session_start()],
        _tools(ev.tool(schema="[1]")),
        _UNPARSABLE,
        a9="object instead of string schema",
    ),
    Refusal(
        "flat endpointing",
        [],
        ev.session_start(endpointingSensitivity="HIGH"),
        "Invalid input request",
        a9="generic (flat endpointing, cancelled tool, audio during tool on 2.5)",
    ),
]

ORDER: list[Refusal] = [
    _invalid("promptStart first", [], ev.prompt_start()),
    _invalid("sessionStart twice", [ev.session_start()], ev.session_start()),
    _invalid("text before the prompt", [ev.session_start()], ev.text_start("s", "SYSTEM")),
    _invalid("audio before the prompt", [ev.session_start()], ev.audio_start()),
    _invalid("promptStart twice", ev.opening(), ev.prompt_start()),
    _invalid("second audio container", ev.live(), ev.audio_start("again")),
    _invalid(
        "second audio container after the first",
        [*ev.live(), ev.audio_input(), ev.content_end("audio")],
        ev.audio_start("again"),
    ),
    _invalid(
        "audioInput after the container", [*ev.live(), ev.audio_input(), ev.content_end("audio")], ev.audio_input()
    ),
    _invalid("audioInput without a container", ev.opening(), ev.audio_input()),
    _invalid("speech prompt after history", [*ev.opening(), *_USER_BLOCK], ev.text_start("speech", "SYSTEM_SPEECH")),
    _invalid("tool result that nobody asked for", ev.live(), ev.tool_start("unknown")),
    _invalid("tool result before the audio", ev.opening(), ev.tool_start("t1")),
    _invalid(
        "sessionEnd with the prompt open", [*ev.live(), ev.audio_input(), ev.content_end("audio")], ev.session_end()
    ),
    _invalid(
        "anything after promptEnd",
        [*ev.live(), ev.audio_input(), ev.content_end("audio"), ev.prompt_end()],
        ev.text_start("t", "USER", interactive=True),
    ),
    _invalid("anything after sessionEnd", [*ev.live(), ev.audio_input(), *ev.closing()], ev.session_start()),
    _invalid("data for an unknown container", ev.live(), ev.text_input("nowhere", "Hi")),
    _invalid("end of an unknown container", ev.live(), ev.content_end("nowhere")),
    _invalid("name of an open container", ev.live(), ev.text_start("audio", "USER", interactive=True)),
    _invalid("text into the audio container", ev.live(), ev.text_input("audio", "Hi")),
    _invalid(
        "audio into a text container",
        [*ev.live(), ev.text_start("t", "USER", interactive=True)],
        ev.audio_input(name="t"),
    ),
    _invalid("another prompt's name", ev.live(), ev.event("promptEnd", promptName="other")),
    _invalid(
        "another prompt's audio", ev.live(), ev.event("audioInput", promptName="other", contentName="audio", content="")
    ),
]

FIELDS: list[Refusal] = [
    _invalid("unknown event", [], ev.event("sessionPause")),
    _invalid("two events in one", [], {"event": {**ev.session_start()["event"], "sessionEnd": {}}}),
    _invalid("no event", [], {"event": {}}),
    _invalid("something beside the event", [], {**ev.session_start(), "id": 1}),
    _invalid("body is no object", [], {"event": {"sessionStart": []}}),
    _invalid("content without type", ev.opening(), ev.event("contentStart", promptName=ev.PROMPT, contentName="x")),
    _invalid("content of unknown type", ev.opening(), ev.text_start("x", "USER", type="VIDEO")),
    _invalid("unknown role", ev.opening(), ev.text_start("x", "NARRATOR")),
    _invalid("interactive is no boolean", ev.opening(), ev.text_start("x", "USER", interactive="true")),
    _invalid("maxTokens 0", [], _inference(maxTokens=0)),
    _invalid("maxTokens over 10,000", [], _inference(maxTokens=10_001)),
    _invalid("maxTokens with a fraction", [], _inference(maxTokens=10.5)),
    _invalid("maxTokens is a boolean", [], _inference(maxTokens=True)),
    _invalid("topP over 1", [], _inference(topP=1.1)),
    _invalid("temperature below 0", [], _inference(temperature=-0.1)),
    _invalid("temperature is text", [], _inference(temperature="0.7")),
    _invalid("unknown endpointing", [], ev.session_start(turnDetectionConfiguration={"endpointingSensitivity": "MAX"})),
    _invalid("unknown voice", [ev.session_start()], ev.prompt_start(voice="greta")),
    _invalid("speaker at 44.1 kHz", [ev.session_start()], ev.prompt_start(rate=44100)),
    _invalid("microphone at 48 kHz", ev.opening(), ev.audio_start(rate=48000)),
    _invalid("two channels", ev.opening(), _audio(channelCount=2)),
    _invalid("24 bits", ev.opening(), _audio(sampleSizeBits=24)),
    _invalid("opus", ev.opening(), _audio(mediaType="audio/opus")),
    _invalid("audio of the examiner", ev.opening(), ev.audio_start(role="ASSISTANT")),
    _invalid("audio that is not interactive", ev.opening(), ev.audio_start(interactive=False)),
    _invalid(
        "audio is no base64",
        ev.live(),
        ev.event("audioInput", promptName=ev.PROMPT, contentName="audio", content="@@@@"),
    ),
    _invalid(
        "base64 cut short", ev.live(), ev.event("audioInput", promptName=ev.PROMPT, contentName="audio", content="AAA")
    ),
    _invalid(
        "base64 with a line break",
        ev.live(),
        ev.event("audioInput", promptName=ev.PROMPT, contentName="audio", content="AAAA\nAAAA"),
    ),
    _invalid(
        "audio is a number", ev.live(), ev.event("audioInput", promptName=ev.PROMPT, contentName="audio", content=1)
    ),
    _invalid("audio without a name", ev.live(), ev.event("audioInput", promptName=ev.PROMPT, content="")),
    _invalid("tool name with a space", [ev.session_start()], _tools(ev.tool("a tool"))),
    _invalid("two tools of one name", [ev.session_start()], _tools(ev.tool(), ev.tool())),
    _invalid("unknown tool choice", [ev.session_start()], _tools(ev.tool(), toolChoice={"maybe": {}})),
    _invalid(
        "choice of a tool that is not there",
        [ev.session_start()],
        _tools(ev.tool(), toolChoice={"tool": {"name": "x"}}),
    ),
    _invalid("two tool choices", [ev.session_start()], _tools(ev.tool(), toolChoice={"auto": {}, "any": {}})),
    _invalid("tools are no list", [ev.session_start()], ev.prompt_start(toolConfiguration={"tools": {}})),
    _invalid("tool result without media type", ev.live(), _RESULT_WITHOUT_MEDIA),
    Refusal("no JSON", [], b"{", _UNPARSABLE),
    Refusal("no UTF-8", [], b"\xff\xfe{", _UNPARSABLE),
]

REFUSALS: list[Refusal] = A9 + ORDER + FIELDS

BAD_TOOL_RESULTS: dict[str, str] = {
    "prose": "It is sunny.",
    "text in JSON": json.dumps("sunny"),
    "number": "42",
    "empty": "",
    "cut short": '{"a":',
}
