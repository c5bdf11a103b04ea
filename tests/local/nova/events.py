"""Input events as the AWS sample sends them, and variations of them."""

from __future__ import annotations

import base64
import copy
import json
from typing import Any

PROMPT = "prompt-1"
LPCM = {
    "mediaType": "audio/lpcm",
    "sampleSizeBits": 16,
    "channelCount": 1,
    "audioType": "SPEECH",
    "encoding": "base64",
}
TEXT_MEDIA = {"textInputConfiguration": {"mediaType": "text/plain"}}
SCHEMA = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}

type Event = dict[str, Any]


def event(name: str, **body: Any) -> Event:
    return {"event": {name: body}}


def raw(item: Event) -> bytes:
    return json.dumps(item).encode()


def session_start(**changes: Any) -> Event:
    body = {"inferenceConfiguration": {"maxTokens": 1024, "topP": 0.9, "temperature": 0.7}}
    return event("sessionStart", **{**body, **changes})


def tool(name: str = "count", schema: Any = None) -> dict[str, Any]:
    json_schema = json.dumps(SCHEMA) if schema is None else schema
    return {"toolSpec": {"name": name, "description": "counts", "inputSchema": {"json": json_schema}}}


def prompt_start(*tools: dict[str, Any], rate: int = 24000, voice: str = "matthew", **changes: Any) -> Event:
    body: dict[str, Any] = {
        "promptName": PROMPT,
        "textOutputConfiguration": {"mediaType": "text/plain"},
        "audioOutputConfiguration": {**LPCM, "sampleRateHertz": rate, "voiceId": voice},
    }
    if tools:
        body["toolUseOutputConfiguration"] = {"mediaType": "application/json"}
        body["toolConfiguration"] = {"tools": list(tools)}
    return event("promptStart", **{**body, **changes})


def text_start(name: str, role: str, *, interactive: Any = False, **changes: Any) -> Event:
    body = {
        "promptName": PROMPT,
        "contentName": name,
        "type": "TEXT",
        "role": role,
        "interactive": interactive,
        **copy.deepcopy(TEXT_MEDIA),
    }
    return event("contentStart", **{**body, **changes})


def text_input(name: str, content: Any) -> Event:
    return event("textInput", promptName=PROMPT, contentName=name, content=content)


def content_end(name: str) -> Event:
    return event("contentEnd", promptName=PROMPT, contentName=name)


def text_block(name: str, role: str, content: str, *, interactive: bool = False) -> list[Event]:
    return [text_start(name, role, interactive=interactive), text_input(name, content), content_end(name)]


def audio_start(name: str = "audio", *, rate: int = 16000, **changes: Any) -> Event:
    body = {
        "promptName": PROMPT,
        "contentName": name,
        "type": "AUDIO",
        "role": "USER",
        "interactive": True,
        "audioInputConfiguration": {**LPCM, "sampleRateHertz": rate},
    }
    return event("contentStart", **{**body, **changes})


def audio_input(pcm: bytes = bytes(3200), name: str = "audio") -> Event:
    return event("audioInput", promptName=PROMPT, contentName=name, content=base64.b64encode(pcm).decode())


def tool_start(tool_use_id: str, name: str = "tool-result", **changes: Any) -> Event:
    body = {
        "promptName": PROMPT,
        "contentName": name,
        "type": "TOOL",
        "role": "TOOL",
        "interactive": False,
        "toolResultInputConfiguration": {"toolUseId": tool_use_id, "type": "TEXT", **copy.deepcopy(TEXT_MEDIA)},
    }
    return event("contentStart", **{**body, **changes})


def tool_result(content: Any, name: str = "tool-result", **changes: Any) -> Event:
    return event("toolResult", promptName=PROMPT, contentName=name, content=content, **changes)


def tool_block(tool_use_id: str, content: str, name: str = "tool-result") -> list[Event]:
    return [tool_start(tool_use_id, name), tool_result(content, name), content_end(name)]


def prompt_end() -> Event:
    return event("promptEnd", promptName=PROMPT)


def session_end() -> Event:
    return event("sessionEnd")


def opening(system: str = "Be kind.", *tools: dict[str, Any]) -> list[Event]:
    """sessionStart, promptStart and the SYSTEM block."""
    return [session_start(), prompt_start(*tools), *text_block("system", "SYSTEM", system)]


def live(system: str = "Be kind.", *tools: dict[str, Any]) -> list[Event]:
    """Everything up to the open audio container."""
    return [*opening(system, *tools), audio_start()]


def closing() -> list[Event]:
    return [content_end("audio"), prompt_end(), session_end()]


def aws_sample() -> list[Event]:
    """The order of `nova_sonic_with_text.py` in aws-samples/amazon-nova-samples, with an empty speech prompt and history."""
    return [
        session_start(),
        prompt_start(tool("getDateAndTimeTool", json.dumps({"type": "object", "properties": {}, "required": []}))),
        *text_block("system", "SYSTEM", "You are a friendly assistant."),
        *text_block("speech", "SYSTEM_SPEECH", ""),
        *text_block("history", "USER", "my name is osman"),
        audio_start(),
        audio_input(),
        text_start("typed", "USER", interactive=True),
        audio_input(),
        text_input("typed", "Hello"),
        audio_input(),
        content_end("typed"),
        audio_input(),
        *closing(),
    ]
