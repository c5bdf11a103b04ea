"""Which fields each input event must and may have, and their values: a table and the check that reads it.

Source: SERVICE.md A2 and A9. The service says no more than `Invalid input request` about a wrong field, and
`Unable to parse input chunk` where a tool schema is an object instead of a string.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from infra.local.nova.service_errors import ServiceError, Text

type Check = Callable[[object], None]
type Fields = Mapping[str, Check]

RATES_HZ = (8000, 16000, 24000)


def invalid() -> ServiceError:
    """Return the service's answer to any wrong field."""
    return ServiceError(Text.INVALID)


def _require(fact: bool) -> None:  # noqa: FBT001  # the one thing it takes
    if not fact:
        raise invalid()


def text(value: object) -> None:
    """Check for a string, which may be empty."""
    _require(isinstance(value, str))


def name(value: object) -> None:
    """Check for a string of 1 to 256 characters, as names and ids are."""
    _require(isinstance(value, str) and 0 < len(value) <= 256)


def boolean(value: object) -> None:
    """Check for true or false."""
    _require(isinstance(value, bool))


def one_of(*allowed: object) -> Check:
    """Return a check for one of these values, of the same type."""

    def check(value: object) -> None:
        _require(any(type(value) is type(choice) and value == choice for choice in allowed))

    return check


def number(low: float, high: float, *, whole: bool = False) -> Check:
    """Return a check for a number within these bounds."""

    def check(value: object) -> None:
        kind_fits = isinstance(value, int) if whole else isinstance(value, int | float)
        _require(kind_fits and not isinstance(value, bool) and low <= value <= high)  # type: ignore[operator]

    return check


def record(required: Fields, optional: Fields | None = None) -> Check:
    """Return a check for an object with all of `required`, some of `optional` and nothing else."""
    allowed = {**required, **(optional or {})}

    def check(value: object) -> None:
        if not isinstance(value, dict) or not required.keys() <= value.keys() <= allowed.keys():
            raise invalid()
        for key, item in value.items():
            allowed[key](item)

    return check


def _list_of(check: Check) -> Check:
    def check_all(value: object) -> None:
        if not isinstance(value, list):
            raise invalid()
        for item in value:
            check(item)

    return check_all


def _schema(value: object) -> None:
    """A tool's schema is a string that holds a JSON object; anything else is an input that cannot be parsed."""
    try:
        parsed = json.loads(value) if isinstance(value, str) else None
    except (ValueError, RecursionError):
        parsed = None
    if not isinstance(parsed, dict):
        raise ServiceError(Text.UNPARSABLE)


def _tool_name(value: object) -> None:
    _require(isinstance(value, str) and re.fullmatch(r"[A-Za-z0-9_-]{1,64}", value) is not None)


def _tool_choice(value: object) -> None:
    if not isinstance(value, dict) or len(value) != 1:
        raise invalid()
    kind, content = next(iter(value.items()))
    checks: Fields = {"auto": record({}), "any": record({}), "tool": record({"name": _tool_name})}
    _require(kind in checks)
    checks[kind](content)


_TEXT_MEDIA = record({"mediaType": one_of("text/plain")})
_LPCM: Fields = {
    "mediaType": one_of("audio/lpcm"),
    "sampleRateHertz": one_of(*RATES_HZ),
    "sampleSizeBits": one_of(16),
    "channelCount": one_of(1),
    "encoding": one_of("base64"),
    "audioType": one_of("SPEECH"),
}
_TOOL_SPEC = record({"name": _tool_name, "inputSchema": record({"json": _schema})}, {"description": text})
_NAMES: Fields = {"promptName": name, "contentName": name}
_INFERENCE = record({"maxTokens": number(1, 10_000, whole=True), "topP": number(0, 1), "temperature": number(0, 1)})
_TURN_DETECTION = record({"endpointingSensitivity": one_of("HIGH", "MEDIUM", "LOW")})
_DATA = record({**_NAMES, "content": text})

SESSION_START_BASIC: Check = record({"inferenceConfiguration": _INFERENCE})
"""sessionStart of a model without turn detection settings."""

EVENTS: Mapping[str, Check] = MappingProxyType(
    {
        "sessionStart": record({"inferenceConfiguration": _INFERENCE}, {"turnDetectionConfiguration": _TURN_DETECTION}),
        "promptStart": record(
            {
                "promptName": name,
                "textOutputConfiguration": _TEXT_MEDIA,
                "audioOutputConfiguration": record({**_LPCM, "voiceId": name}),
            },
            {
                "toolUseOutputConfiguration": record({"mediaType": one_of("application/json")}),
                "toolConfiguration": record(
                    {"tools": _list_of(record({"toolSpec": _TOOL_SPEC}))}, {"toolChoice": _tool_choice}
                ),
            },
        ),
        "textInput": _DATA,
        "audioInput": _DATA,
        "toolResult": record({**_NAMES, "content": text}, {"status": text}),
        "contentEnd": record(_NAMES),
        "promptEnd": record({"promptName": name}),
        "sessionEnd": record({}),
    }
)

CONTENT_STARTS: Mapping[str, Check] = MappingProxyType(
    {
        "TEXT": record(
            {
                **_NAMES,
                "type": one_of("TEXT"),
                "interactive": boolean,
                "role": one_of("SYSTEM", "SYSTEM_SPEECH", "USER", "ASSISTANT"),
                "textInputConfiguration": _TEXT_MEDIA,
            }
        ),
        "AUDIO": record(
            {
                **_NAMES,
                "type": one_of("AUDIO"),
                "interactive": one_of(True),
                "role": one_of("USER"),
                "audioInputConfiguration": record(_LPCM),
            }
        ),
        "TOOL": record(
            {
                **_NAMES,
                "type": one_of("TOOL"),
                "interactive": one_of(False),
                "role": one_of("TOOL"),
                "toolResultInputConfiguration": record(
                    {"toolUseId": name, "type": one_of("TEXT"), "textInputConfiguration": _TEXT_MEDIA}
                ),
            }
        ),
    }
)


def check_event(kind: str, body: Any) -> None:
    """Check all fields of one event.

    Raises:
        ServiceError: an unknown event, or a field that is missing, unknown or wrong.
    """
    if kind == "contentStart":
        content_type = body.get("type") if isinstance(body, dict) else None
        check = CONTENT_STARTS.get(content_type) if isinstance(content_type, str) else None
    else:
        check = EVENTS.get(kind)
    if check is None:
        raise invalid()
    check(body)
