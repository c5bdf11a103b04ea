"""The Converse operation: checks the request body as the service does and has the mind answer it.

Source: API reference of Converse (Amazon Bedrock Runtime); error types and statuses of its model in botocore.
"""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import Mapping, Sequence
from itertools import pairwise
from types import MappingProxyType
from typing import Any
from urllib.parse import unquote

from infra.local.nova import fields, service_errors
from infra.local.nova.faults import Client, Effect, Fault, anybody
from infra.local.nova.fields import Check, Fields
from infra.local.nova.interfaces import ToolSpec
from infra.local.nova.service import Service, report_crash
from infra.local.nova.service_errors import HttpError, ServiceError
from infra.local.nova.settings import TEXT_MODELS

_PATH = re.compile(r"/model/([^/]+)/converse")
_CHARS_PER_TOKEN = 4
_MALFORMED = "Malformed input request, please reformat your input and try again."
_USER_FIRST = (
    "A conversation must start with a user message. Try again with a conversation that starts with a user message."
)
_ALTERNATE = (
    "A conversation must alternate between user and assistant roles. Make sure the conversation alternates between "
    "user and assistant roles and try again."
)
_EMPTY = (
    "The content field in the Message object at messages.{index} is empty. Add a ContentBlock object to the content "
    "field and try again."
)
_INTERNAL = (500, "InternalServerException", "The system encountered an unexpected error during processing.")


class ConnectionWantedGoneError(Exception):
    """A fault wants the connection dropped instead of an answer."""


def _mapping(value: object) -> None:
    if not isinstance(value, dict):
        raise fields.invalid()


def _filled_list(check: Check) -> Check:
    def check_all(value: object) -> None:
        if not isinstance(value, list) or not value:
            raise fields.invalid()
        for item in value:
            check(item)

    return check_all


def _one_key(**kinds: Check) -> Check:
    """Return a check for a union: an object with exactly one of these members."""

    def check(value: object) -> None:
        if not isinstance(value, dict) or len(value) != 1 or not value.keys() <= kinds.keys():
            raise fields.invalid()
        for key, item in value.items():
            kinds[key](item)

    return check


def _texts(value: object) -> None:
    if not isinstance(value, list):
        raise fields.invalid()
    for item in value:
        fields.text(item)


_TOOL_USE = fields.record({"toolUseId": fields.name, "name": fields.name, "input": _mapping})
_TOOL_RESULT = fields.record(
    {"toolUseId": fields.name, "content": _filled_list(_one_key(text=fields.text, json=_mapping))},
    {"status": fields.one_of("success", "error")},
)
_BLOCK = _one_key(text=fields.text, toolUse=_TOOL_USE, toolResult=_TOOL_RESULT)
_TOOL = _one_key(
    toolSpec=fields.record(
        {"name": fields.name, "inputSchema": fields.record({"json": _mapping})}, {"description": fields.text}
    )
)
_CHOICE = _one_key(auto=fields.record({}), any=fields.record({}), tool=fields.record({"name": fields.name}))
_MESSAGE: Fields = {"role": fields.one_of("user", "assistant"), "content": _filled_list(_BLOCK)}
_REQUEST = fields.record(
    {"messages": _filled_list(fields.record(_MESSAGE))},
    {
        "system": _filled_list(_one_key(text=fields.text)),
        "inferenceConfig": fields.record(
            {},
            {
                "maxTokens": fields.number(1, 10_000, whole=True),
                "temperature": fields.number(0, 1),
                "topP": fields.number(0, 1),
                "stopSequences": _texts,
            },
        ),
        "toolConfig": fields.record({"tools": _filled_list(_TOOL)}, {"toolChoice": _CHOICE}),
        "additionalModelRequestFields": _mapping,
        "requestMetadata": _mapping,
    },
)


def model_of(method: str, path: str) -> str:
    """Return the model id that a Converse request names.

    Raises:
        HttpError: it is another operation's request.
    """
    match = _PATH.fullmatch(path)
    if method != "POST" or match is None:
        raise HttpError(*service_errors.UNKNOWN_OPERATION)
    return unquote(match.group(1))


async def converse(
    service: Service, *, model_id: str, headers: Mapping[str, str], body: bytes, client: Client = anybody
) -> dict[str, Any]:
    """Return the response document of one call.

    Raises:
        HttpError: the call is refused, by the service's rules or by a fault.
        ConnectionWantedGoneError: a fault wants the connection dropped.
    """
    started_s = time.monotonic()
    await _apply(service.faults.for_operation("converse", client))
    if "authorization" not in headers:
        raise HttpError(*service_errors.NO_CREDENTIALS)
    if model_id not in TEXT_MODELS:
        raise HttpError(*service_errors.UNKNOWN_MODEL)
    request = _checked(body)
    tools = _tools(request)
    system = "\n".join(block["text"] for block in request.get("system", ()))
    try:
        mind = service.talents.make_mind(system_prompt=system, history=(), tools=tools)
        answer = mind.reply_converse(request)
    except Exception as error:  # noqa: BLE001  # one call's failure must not reach the others
        report_crash("converse", error)
        raise HttpError(*_INTERNAL) from None
    tokens_in = len(body) // _CHARS_PER_TOKEN
    tokens_out = len(json.dumps(answer)) // _CHARS_PER_TOKEN
    return {
        **answer,
        "usage": {"inputTokens": tokens_in, "outputTokens": tokens_out, "totalTokens": tokens_in + tokens_out},
        "metrics": {"latencyMs": round((time.monotonic() - started_s) * 1000)},
    }


async def _apply(faults: Sequence[Fault]) -> None:
    for fault in faults:
        if fault.effect is Effect.DELAY:
            await asyncio.sleep(fault.parameters["ms"] / 1000)
        elif fault.effect is Effect.ABORT:
            raise ConnectionWantedGoneError
        else:
            given = fault.parameters
            raise HttpError(int(given["status"]), given["type"], given["message"])


def _checked(body: bytes) -> Mapping[str, Any]:
    """Return the request document.

    Raises:
        HttpError: a field or the order of roles is wrong.
    """
    try:
        request = json.loads(body)
        _REQUEST(request)
    except (ValueError, RecursionError, ServiceError):
        raise _invalid(_empty_message(body) or _MALFORMED) from None
    roles = [message["role"] for message in request["messages"]]
    if roles[0] != "user":
        raise _invalid(_USER_FIRST)
    if any(role == following for role, following in pairwise(roles)):
        raise _invalid(_ALTERNATE)
    return MappingProxyType(request)


def _empty_message(body: bytes) -> str | None:
    """Return the service's text for a message without content, the one field it names."""
    try:
        messages = json.loads(body)["messages"]
        index = next(index for index, message in enumerate(messages) if message["content"] == [])
    except (ValueError, RecursionError, LookupError, TypeError, StopIteration):
        return None
    return _EMPTY.format(index=index)


def _tools(request: Mapping[str, Any]) -> tuple[ToolSpec, ...]:
    configuration = request.get("toolConfig", {"tools": ()})
    tools = tuple(
        ToolSpec(spec["name"], spec.get("description", ""), spec["inputSchema"]["json"])
        for spec in (tool["toolSpec"] for tool in configuration["tools"])
    )
    names = {tool.name for tool in tools}
    forced = configuration.get("toolChoice", {}).get("tool", {}).get("name")
    if len(names) != len(tools) or (forced is not None and forced not in names):
        raise _invalid(_MALFORMED)
    return tools


def _invalid(message: str) -> HttpError:
    return HttpError(400, "ValidationException", message)
