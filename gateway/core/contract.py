"""The published form of maya.v1: an AsyncAPI 3.0 document and a JSON Schema for each message, made from the models.

The schemas keep to what JSON Schema draft-07 knows, the one dialect every AsyncAPI tool reads. What the gateway sends may
grow by fields within maya.v1, so its schemas allow more than they name; what the app sends may not.
"""

import json
from collections.abc import Mapping
from typing import Any, Final

from pydantic import BaseModel

from gateway.core import examples
from gateway.core.assessment import Assessment
from gateway.core.messages import (
    DOWN_MESSAGES,
    MAX_MESSAGE_BYTES,
    SUBPROTOCOL,
    UP_MESSAGES,
    AssessmentMessage,
    Message,
    Up,
)

JSON_SCHEMA: Final = "http://json-schema.org/draft-07/schema#"
ASYNCAPI_VERSION: Final = "3.0.0"
CONTRACT_VERSION: Final = "1.0.0"

APP_TO_GATEWAY: Final = "app_to_gateway"
GATEWAY_TO_APP: Final = "gateway_to_app"

Schema = dict[str, Any]


def message_name(message: type[Message]) -> str:
    """The value of ``type`` of a message."""
    return str(message.model_fields["type"].default)


def direction(message: type[Message]) -> str:
    """Who sends a message: `APP_TO_GATEWAY` or `GATEWAY_TO_APP`."""
    return APP_TO_GATEWAY if issubclass(message, Up) else GATEWAY_TO_APP


def schema(message: type[Message]) -> Schema:
    """The JSON Schema of one message."""
    from_app = direction(message) == APP_TO_GATEWAY
    node = _Plain(message, from_app=from_app).schema()
    identity = ("action", "type") if from_app else ("type",)
    for name in identity:
        del node["properties"][name]["default"]
    if message is AssessmentMessage:
        node["properties"]["assessment"] = _Plain(Assessment, keep_null=True).schema()
    return {
        "$schema": JSON_SCHEMA,
        "$id": f"urn:{SUBPROTOCOL}:{direction(message)}:{message_name(message)}",
        "title": message_name(message),
        **node,
        "required": list(dict.fromkeys([*identity, *node["required"]])),
    }


def schemas() -> dict[str, Schema]:
    """All schemas by the name of their file, such as ``schemas/app_to_gateway/start.json``."""
    messages = (*UP_MESSAGES, *DOWN_MESSAGES)
    return {f"schemas/{direction(message)}/{message_name(message)}.json": schema(message) for message in messages}


def asyncapi() -> Schema:
    """The AsyncAPI document; it describes the gateway, which receives what the app sends."""
    return {
        "asyncapi": ASYNCAPI_VERSION,
        "info": {"title": f"Maya speech gateway, {SUBPROTOCOL}", "version": CONTRACT_VERSION, "description": _ABOUT},
        "defaultContentType": "application/json",
        "servers": {"gateway": _SERVER},
        "channels": {"conversation": _channel()},
        "operations": {
            "listen": _operation("receive", UP_MESSAGES, "What the app sends."),
            "speak": _operation("send", DOWN_MESSAGES, "What the gateway sends."),
        },
        "components": {
            "messages": {_key(message): _message(message) for message in (*UP_MESSAGES, *DOWN_MESSAGES)},
            "securitySchemes": {"token": _TOKEN},
        },
    }


def documents() -> dict[str, str]:
    """Text of every generated file by its name."""
    every: dict[str, Schema] = {"asyncapi.json": asyncapi(), **schemas()}
    return {name: json.dumps(document, indent=2, ensure_ascii=False) + "\n" for name, document in every.items()}


_ABOUT: Final = (
    "A live conversation with Maya over one WebSocket: text frames, one JSON object each, "
    f"at most {MAX_MESSAGE_BYTES} bytes. The rules that go with the messages are in protocol.md."
)
_SERVER: Final[Schema] = {
    "host": "{host}",
    "pathname": "/{stage}",
    "protocol": "wss",
    "description": f"Offer the subprotocol {SUBPROTOCOL}; no other is spoken.",
    "variables": {
        "host": {"description": "host name of the deployment"},
        "stage": {"description": "stage of the deployment"},
    },
    "security": [{"$ref": "#/components/securitySchemes/token"}],
}
_TOKEN: Final[Schema] = {
    "type": "http",
    "scheme": "bearer",
    "bearerFormat": "JWT",
    "description": (
        "In the Authorization header of the upgrade, or, where an app cannot set headers, as a second offered "
        "subprotocol `bearer.<token>`."
    ),
}
_HANDSHAKE: Final[Schema] = {
    "method": "GET",
    "headers": {
        "type": "object",
        "required": ["Sec-WebSocket-Protocol"],
        "properties": {
            "Sec-WebSocket-Protocol": {
                "type": "string",
                "description": f"`{SUBPROTOCOL}`, or `{SUBPROTOCOL}, bearer.<token>`",
            },
            "Authorization": {"type": "string", "description": "`Bearer <token>`, unless offered as a subprotocol"},
        },
    },
    "bindingVersion": "0.1.0",
}


def _channel() -> Schema:
    messages = {_key(message): {"$ref": f"#/components/messages/{_key(message)}"} for message in _ALL}
    return {"address": "/", "bindings": {"ws": _HANDSHAKE}, "messages": messages}


def _operation(action: str, messages: tuple[type[Message], ...], summary: str) -> Schema:
    references = [{"$ref": f"#/channels/conversation/messages/{_key(message)}"} for message in messages]
    return {
        "action": action,
        "channel": {"$ref": "#/channels/conversation"},
        "summary": summary,
        "messages": references,
    }


def _message(message: type[Message]) -> Schema:
    example = examples.of(message).model_dump(mode="json", exclude_none=True)
    return {
        "name": message_name(message),
        "title": message_name(message),
        "summary": _words(message),
        "contentType": "application/json",
        "payload": {"schemaFormat": "application/schema+json;version=draft-07", "schema": schema(message)},
        "examples": [{"payload": example}],
    }


def _key(message: type[Message]) -> str:
    """Name of a message within the AsyncAPI document: ``ack``, ``ping`` and others exist in both directions."""
    prefix = "app" if direction(message) == APP_TO_GATEWAY else "gateway"
    return f"{prefix}_{message_name(message)}"


def _words(message: type[BaseModel]) -> str:
    return _first_line((message.__doc__ or "").strip())


def _first_line(text: str) -> str:
    return text.partition("\n\n")[0].replace("``", "`")


class _Plain:
    """Pydantic's schema of a model without its titles and references, in words of draft-07.

    Args:
        model: which model.
        from_app: whether the app writes it; then it may leave out what has a default, and add nothing.
        keep_null: whether an optional field without a value is written as null; else it is left out.
    """

    def __init__(self, model: type[BaseModel], *, from_app: bool = False, keep_null: bool = False) -> None:
        self._raw = model.model_json_schema()
        self._definitions: Mapping[str, Schema] = self._raw.get("$defs", {})
        self._from_app = from_app
        self._keep_null = keep_null

    def schema(self) -> Schema:
        """The whole schema."""
        plain: Schema = self._node(_less(self._raw, "$defs"))
        return plain

    def _node(self, node: Any) -> Any:
        if isinstance(node, list):
            return [self._node(item) for item in node]
        if not isinstance(node, dict):
            return node
        if "$ref" in node:
            definition = self._definitions[node["$ref"].rsplit("/", 1)[-1]]
            return self._node({**definition, **_less(node, "$ref")})
        node = self._object(node) if "properties" in node else self._without_null(node)
        if "prefixItems" in node:
            node = {**_less(node, "prefixItems"), "items": node["prefixItems"], "additionalItems": False}
        kept = {key: value for key, value in node.items() if key != "title" or not isinstance(value, str)}
        return {key: self._node(value) for key, value in kept.items()}

    def _object(self, node: Schema) -> Schema:
        """An object: the gateway sends all fields that have a value."""
        properties = node["properties"]
        sent = [name for name, field in properties.items() if self._keep_null or not _nullable(field)]
        return {
            "type": "object",
            "description": _first_line(node.get("description", "")),
            "required": node.get("required", []) if self._from_app else sent,
            "additionalProperties": not self._from_app,
            "properties": properties,
        }

    def _without_null(self, node: Schema) -> Schema:
        if not _nullable(node) or self._keep_null:
            return node
        kinds = [kind for kind in node["anyOf"] if kind != {"type": "null"}]
        rest = _less(node, "anyOf", "default")
        return {**kinds[0], **rest} if len(kinds) == 1 else {"anyOf": kinds, **rest}


def _nullable(node: Schema) -> bool:
    return {"type": "null"} in node.get("anyOf", [])


def _less(node: Schema, *keys: str) -> Schema:
    return {key: value for key, value in node.items() if key not in keys}


_ALL: Final = (*UP_MESSAGES, *DOWN_MESSAGES)
