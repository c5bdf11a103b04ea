"""Checks a session's input events as strictly as the service: order by a table, fields by `fields`, then the rest.

Pure: bytes of one event in, a checked event (or nothing yet) out, or `ServiceError` with the service's own text.
Source: SERVICE.md A2 (order and fields), A6 (tools), A7 (history), A9 (texts).
"""

from __future__ import annotations

import binascii
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum, auto
from types import MappingProxyType
from typing import Any, cast

from infra.local.nova import fields
from infra.local.nova.inputs import (
    AudioClosed,
    AudioOpened,
    AudioReceived,
    InputEvent,
    PromptEnded,
    PromptStarted,
    SessionEnded,
    SessionStarted,
    SystemGiven,
    TextGiven,
    ToolResultReceived,
)
from infra.local.nova.interfaces import Endpointing, ToolSpec
from infra.local.nova.service_errors import ServiceError, Text
from infra.local.nova.settings import Limits, Profile


class Phase(Enum):
    """How far a session has come."""

    OPENED = auto()
    STARTED = auto()
    PROMPTED = auto()
    PREPARED = auto()  # SYSTEM given
    SEEDING = auto()  # history has begun
    LIVE = auto()  # the audio container has been opened
    PROMPT_ENDED = auto()
    SESSION_ENDED = auto()


class Step(Enum):
    """What an input event means for the order of a session."""

    SESSION_START = auto()
    PROMPT_START = auto()
    SYSTEM = auto()
    SYSTEM_SPEECH = auto()
    USER = auto()
    ASSISTANT = auto()
    INTERACTIVE = auto()  # USER text that wants an answer
    AUDIO = auto()
    TOOL = auto()
    DATA = auto()
    CONTENT_END = auto()
    PROMPT_END = auto()
    SESSION_END = auto()


_ANYWHERE_IN_PROMPT = {Step.DATA, Step.CONTENT_END}

_MOVES: dict[Phase, dict[Step, Phase | Text]] = {
    Phase.OPENED: {Step.SESSION_START: Phase.STARTED},
    Phase.STARTED: {Step.PROMPT_START: Phase.PROMPTED},
    Phase.PROMPTED: {
        Step.SYSTEM: Phase.PREPARED,
        Step.SYSTEM_SPEECH: Phase.PROMPTED,
        Step.USER: Phase.SEEDING,
        Step.ASSISTANT: Text.ASSISTANT_FIRST,
        Step.INTERACTIVE: Phase.SEEDING,
        Step.AUDIO: Phase.LIVE,
        Step.PROMPT_END: Text.NO_AUDIO,
    },
    Phase.PREPARED: {
        Step.SYSTEM: Text.DUPLICATE_SYSTEM,
        Step.SYSTEM_SPEECH: Phase.PREPARED,
        Step.USER: Phase.SEEDING,
        Step.ASSISTANT: Text.ASSISTANT_FIRST,
        Step.INTERACTIVE: Phase.SEEDING,
        Step.AUDIO: Phase.LIVE,
        Step.PROMPT_END: Text.NO_AUDIO,
    },
    Phase.SEEDING: {
        Step.SYSTEM: Text.DUPLICATE_SYSTEM,
        Step.USER: Phase.SEEDING,
        Step.ASSISTANT: Phase.SEEDING,
        Step.INTERACTIVE: Phase.SEEDING,
        Step.AUDIO: Phase.LIVE,
        Step.PROMPT_END: Text.NO_AUDIO,
    },
    Phase.LIVE: {
        Step.SYSTEM: Text.DUPLICATE_SYSTEM,
        Step.USER: Text.HISTORY_INCOMPLETE,
        Step.ASSISTANT: Phase.LIVE,
        Step.INTERACTIVE: Phase.LIVE,
        Step.TOOL: Phase.LIVE,
        Step.PROMPT_END: Phase.PROMPT_ENDED,
    },
    Phase.PROMPT_ENDED: {Step.SESSION_END: Phase.SESSION_ENDED},
    Phase.SESSION_ENDED: {},
}


def _whole_table() -> Mapping[tuple[Phase, Step], Phase | Text]:
    in_prompt = {Phase.PROMPTED, Phase.PREPARED, Phase.SEEDING, Phase.LIVE}
    return MappingProxyType(
        {
            (phase, step): phase
            if phase in in_prompt and step in _ANYWHERE_IN_PROMPT
            else moves.get(step, Text.INVALID)
            for phase, moves in _MOVES.items()
            for step in Step
        }
    )


ORDER: Mapping[tuple[Phase, Step], Phase | Text] = _whole_table()
"""Every phase x step: the phase that follows, or the text it is refused with."""

_STEP_BY_ROLE: Mapping[str, Step] = MappingProxyType(
    {"SYSTEM": Step.SYSTEM, "SYSTEM_SPEECH": Step.SYSTEM_SPEECH, "ASSISTANT": Step.ASSISTANT}
)
_STEP_BY_EVENT: Mapping[str, Step] = MappingProxyType(
    {
        "sessionStart": Step.SESSION_START,
        "promptStart": Step.PROMPT_START,
        "textInput": Step.DATA,
        "audioInput": Step.DATA,
        "toolResult": Step.DATA,
        "contentEnd": Step.CONTENT_END,
        "promptEnd": Step.PROMPT_END,
        "sessionEnd": Step.SESSION_END,
    }
)
_DATA_OF_TYPE: Mapping[str, str] = MappingProxyType({"TEXT": "textInput", "AUDIO": "audioInput", "TOOL": "toolResult"})
_AUDIO_KEYS = {"promptName", "contentName", "content"}


@dataclass(slots=True)
class _Container:
    """An open content block."""

    step: Step
    data_event: str
    tool_use_id: str = ""
    filled: bool = False
    size_bytes: int = 0
    parts: list[str] = field(default_factory=list)


class SessionValidator:
    """Follows one session's input; after a `ServiceError` the session is over."""

    def __init__(self, profile: Profile, limits: Limits) -> None:
        self._profile = profile
        self._limits = limits
        self._phase = Phase.OPENED
        self._prompt_name = ""
        self._containers: dict[str, _Container] = {}
        self._audio_name: str | None = None
        self._history_bytes = 0
        self._open_tools: set[str] = set()

    @property
    def phase(self) -> Phase:
        """How far the session has come."""
        return self._phase

    def tool_called(self, tool_use_id: str) -> None:
        """Expect a result for this tool call from now on."""
        self._open_tools.add(tool_use_id)

    def event(self, raw: bytes) -> tuple[str, InputEvent | None]:
        """Check one event, given as the JSON bytes of a chunk.

        Returns:
            The event's name, and what is now complete; None for an event that only adds to a block.

        Raises:
            ServiceError: what the stream ends with.
        """
        name, body = _parsed(raw)
        if name == "audioInput":
            return name, self._audio_input(body)
        if name == "sessionStart" and not self._profile.turn_detection:
            fields.SESSION_START_BASIC(body)
        fields.check_event(name, body)
        if name not in {"sessionStart", "promptStart", "sessionEnd"} and self._phase not in {
            Phase.OPENED,
            Phase.STARTED,
        }:
            self._check_prompt_name(body)
        step = _step(name, body)
        following = self._following(step)
        result = self._apply(name, step, body)
        self._phase = following
        return name, result

    def _following(self, step: Step) -> Phase:
        if step is Step.PROMPT_END and self._containers:
            raise ServiceError(Text.UNCLOSED)
        if step is Step.SYSTEM_SPEECH and not self._profile.speech_system:
            raise fields.invalid()
        if step is Step.AUDIO:
            self._check_history_complete()
            if self._audio_name is not None:
                raise fields.invalid()
        following = ORDER[self._phase, step]
        if isinstance(following, Text):
            raise ServiceError(following, name=self._prompt_name)
        return following

    def _apply(self, name: str, step: Step, body: dict[str, Any]) -> InputEvent | None:
        match name:
            case "sessionStart":
                detection = body.get("turnDetectionConfiguration", {})
                return SessionStarted(cast("Endpointing", detection.get("endpointingSensitivity", "HIGH")))
            case "promptStart":
                return self._prompt_start(body)
            case "contentStart":
                return self._content_start(step, body)
            case "contentEnd":
                return self._content_end(body["contentName"])
            case "textInput" | "toolResult":
                self._text_data(name, body)
                return None
            case _:
                return PromptEnded() if step is Step.PROMPT_END else SessionEnded()

    def _prompt_start(self, body: dict[str, Any]) -> PromptStarted:
        output = body["audioOutputConfiguration"]
        if output["voiceId"] not in self._profile.voices:
            raise fields.invalid()
        configuration = body.get("toolConfiguration", {"tools": []})
        tools = tuple(
            ToolSpec(spec["name"], spec.get("description", ""), json.loads(spec["inputSchema"]["json"]))
            for spec in (tool["toolSpec"] for tool in configuration["tools"])
        )
        forced = configuration.get("toolChoice", {}).get("tool", {}).get("name")
        names = {tool.name for tool in tools}
        if len(names) != len(tools) or (forced is not None and forced not in names):
            raise fields.invalid()
        self._prompt_name = body["promptName"]
        return PromptStarted(self._prompt_name, output["voiceId"], output["sampleRateHertz"], tools)

    def _check_prompt_name(self, body: dict[str, Any]) -> None:
        if body["promptName"] != self._prompt_name:
            raise fields.invalid()

    def _content_start(self, step: Step, body: dict[str, Any]) -> InputEvent | None:
        name = body["contentName"]
        if name in self._containers:
            raise fields.invalid()
        container = _Container(step, _DATA_OF_TYPE[body["type"]])
        self._containers[name] = container
        if step is Step.AUDIO:
            self._audio_name = name
            return AudioOpened(body["audioInputConfiguration"]["sampleRateHertz"])
        if step is Step.TOOL:
            container.tool_use_id = body["toolResultInputConfiguration"]["toolUseId"]
            if container.tool_use_id not in self._open_tools:
                raise fields.invalid()
        return None

    def _audio_input(self, body: Any) -> AudioReceived:
        """Check and decode one audioInput; apart from the other events since it comes dozens of times a second."""
        if not isinstance(body, dict) or body.keys() != _AUDIO_KEYS or not isinstance(body["content"], str):
            raise fields.invalid()
        following = ORDER[self._phase, Step.DATA]
        if isinstance(following, Text):
            raise ServiceError(following)
        self._check_prompt_name(body)
        self._check_history_complete()
        if body["contentName"] != self._audio_name or self._audio_name not in self._containers:
            raise fields.invalid()
        if self._open_tools and self._profile.audio_kills_pending_tool:
            raise fields.invalid()
        try:
            pcm = binascii.a2b_base64(body["content"], strict_mode=True)
        except ValueError:
            raise fields.invalid() from None
        self._containers[self._audio_name].filled = True
        return AudioReceived(pcm)

    def _check_history_complete(self) -> None:
        """Audio may run beside an interactive text block, never beside a block of history."""
        if any(
            box.data_event == "textInput" and box.step is not Step.INTERACTIVE
            for box in (self._containers.values() if len(self._containers) > 1 or self._audio_name is None else ())
        ):
            raise ServiceError(Text.HISTORY_INCOMPLETE)

    def _text_data(self, event_name: str, body: dict[str, Any]) -> None:
        container = self._containers.get(body["contentName"])
        if container is None or container.data_event != event_name:
            raise fields.invalid()
        size_bytes = len(body["content"].encode("utf-8", "surrogatepass"))
        if container.step is Step.SYSTEM and size_bytes > self._limits.system_chunk_bytes:
            raise fields.invalid()
        container.filled = True
        container.size_bytes += size_bytes
        if container.step in {Step.USER, Step.ASSISTANT} and self._phase is not Phase.LIVE:
            self._history_bytes += size_bytes
            if (
                container.size_bytes > self._limits.history_message_bytes
                or self._history_bytes > self._limits.history_total_bytes
            ):
                raise ServiceError(Text.HISTORY_TOO_BIG)
        container.parts.append(body["content"])

    def _content_end(self, name: str) -> InputEvent | None:
        container = self._containers.get(name)
        if container is None:
            raise fields.invalid()
        if not container.filled:
            raise ServiceError(Text.EMPTY_CONTENT, name=name)
        del self._containers[name]
        content = "".join(container.parts)
        match container.step:
            case Step.AUDIO:
                return AudioClosed()
            case Step.SYSTEM:
                return SystemGiven(content)
            case Step.TOOL:
                return self._tool_result(container.tool_use_id, content)
            case Step.SYSTEM_SPEECH:
                return None
            case Step.ASSISTANT:
                return TextGiven("ASSISTANT", content, interactive=False)
            case step:
                return TextGiven("USER", content, interactive=step is Step.INTERACTIVE)

    def _tool_result(self, tool_use_id: str, content: str) -> ToolResultReceived:
        try:
            document = json.loads(content)
        except (ValueError, RecursionError):
            document = None
        if not isinstance(document, dict | list):
            raise ServiceError(Text.TOOL_RESULT)
        if tool_use_id not in self._open_tools:
            raise fields.invalid()
        self._open_tools.remove(tool_use_id)
        return ToolResultReceived(tool_use_id, document)


def _parsed(raw: bytes) -> tuple[str, Any]:
    """Return the event's name and body."""
    try:
        outer = json.loads(raw)
    except (ValueError, RecursionError):
        raise ServiceError(Text.UNPARSABLE) from None
    if not isinstance(outer, dict) or outer.keys() != {"event"}:
        raise fields.invalid()
    event = outer["event"]
    if not isinstance(event, dict) or len(event) != 1:
        raise fields.invalid()
    name, body = next(iter(event.items()))
    return name, body


def _step(name: str, body: dict[str, Any]) -> Step:
    if name != "contentStart":
        return _STEP_BY_EVENT[name]
    if body["type"] != "TEXT":
        return Step.AUDIO if body["type"] == "AUDIO" else Step.TOOL
    step = _STEP_BY_ROLE.get(body["role"])
    if step is None:
        return Step.INTERACTIVE if body["interactive"] else Step.USER
    return step
