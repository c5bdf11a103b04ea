"""The events that API Gateway passes to Lambda functions, and the frames that it sends to clients itself.

Source: `infra/local/nova/SERVICE.md` C4 and C5, from real samples: which keys each kind has, and which it lacks.
"""

from __future__ import annotations

import base64
import functools
import json
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs

_HOP_HEADERS = frozenset({"connection", "upgrade", "keep-alive", "proxy-connection", "transfer-encoding"})

DISCONNECT_REASONS = {
    1000: "Connection Closed Normally",
    1005: "Client-side close frame status not set",
    1006: "Connection Closed Abnormally",
}
"""What API Gateway says in ``$disconnect`` where the close frame had no reason."""


def new_id() -> str:
    """An id of API Gateway's shape: 16 characters, the last one ``=``."""
    return base64.urlsafe_b64encode(os.urandom(11)).decode("ascii")


@dataclass(frozen=True, slots=True)
class Upgrade:
    """The upgrade request of a client, as events show it.

    Attributes:
        headers: Name to value, the last one where there are several; names as sent.
        multi_headers: Name to all values.
        parameters: Query string, likewise.
        multi_parameters: Likewise.
    """

    headers: Mapping[str, str]
    multi_headers: Mapping[str, list[str]]
    parameters: Mapping[str, str]
    multi_parameters: Mapping[str, list[str]]

    @classmethod
    def read(cls, headers: list[tuple[str, str]], query: str, source_ip: str, forwarded_port: int) -> Upgrade:
        """Build it from raw headers and query string, with what API Gateway adds."""
        multi: dict[str, list[str]] = {}
        names: dict[str, str] = {}
        for name, value in headers:
            if name.lower() not in _HOP_HEADERS:
                multi.setdefault(names.setdefault(name.lower(), name), []).append(value)
        trace = f"Root=1-{int(time.time()):08x}-{os.urandom(12).hex()}"
        for name, value in (
            ("X-Amzn-Trace-Id", trace),
            ("X-Forwarded-For", source_ip),
            ("X-Forwarded-Port", str(forwarded_port)),
            ("X-Forwarded-Proto", "https"),
        ):
            multi.pop(names.get(name.lower(), name), None)
            multi[name] = [value]
        multi_parameters = parse_qs(query, keep_blank_values=True)
        return cls(
            headers={name: values[-1] for name, values in multi.items()},
            multi_headers=multi,
            parameters={name: values[-1] for name, values in multi_parameters.items()},
            multi_parameters=multi_parameters,
        )


@dataclass(frozen=True, slots=True)
class Connection:
    """What every event of one connection has in common."""

    connection_id: str
    connected_at_ms: int
    source_ip: str
    user_agent: str | None
    api_id: str
    stage: str
    domain_name: str
    stage_variables: Mapping[str, str] = field(default_factory=dict)

    def identity(self) -> dict[str, str]:
        """``requestContext.identity``: no userAgent where the client sent none."""
        agent = {} if self.user_agent is None else {"userAgent": self.user_agent}
        return {**agent, "sourceIp": self.source_ip}


def request_context(
    connection: Connection,
    *,
    route_key: str,
    event_type: str,
    request_id: str,
    now_ms: int,
    authorizer: Mapping[str, Any] | None,
    **extra: Any,
) -> dict[str, Any]:
    """``requestContext`` of an event; ``extra`` are the keys that only some kinds have."""
    context: dict[str, Any] = {"routeKey": route_key, **extra}
    if authorizer is not None:
        context["authorizer"] = authorizer
    context.update(
        eventType=event_type,
        extendedRequestId=request_id,
        requestTime=_request_time(now_ms // 1000),
        messageDirection="IN",
        stage=connection.stage,
        connectedAt=connection.connected_at_ms,
        requestTimeEpoch=now_ms,
        identity=connection.identity(),
        requestId=request_id,
        domainName=connection.domain_name,
        connectionId=connection.connection_id,
        apiId=connection.api_id,
    )
    return context


def connect_event(connection: Connection, upgrade: Upgrade, context: Mapping[str, Any]) -> dict[str, Any]:
    """The event of ``$connect``; query string keys are absent when there is none."""
    event: dict[str, Any] = {"headers": upgrade.headers, "multiValueHeaders": upgrade.multi_headers}
    if upgrade.parameters:
        event["queryStringParameters"] = upgrade.parameters
        event["multiValueQueryStringParameters"] = upgrade.multi_parameters
    return _with_stage_variables({**event, "requestContext": context, "isBase64Encoded": False}, connection)


def authorizer_event(
    connection: Connection, upgrade: Upgrade, context: Mapping[str, Any], method_arn: str
) -> dict[str, Any]:
    """The event of a REQUEST authorizer."""
    return {
        "type": "REQUEST",
        "methodArn": method_arn,
        "headers": upgrade.headers,
        "multiValueHeaders": upgrade.multi_headers,
        "queryStringParameters": upgrade.parameters,
        "multiValueQueryStringParameters": upgrade.multi_parameters,
        "stageVariables": connection.stage_variables,
        "requestContext": context,
    }


def message_event(connection: Connection, body: str, context: Mapping[str, Any]) -> dict[str, Any]:
    """The event of a message: no headers, no query string."""
    return _with_stage_variables({"requestContext": context, "body": body, "isBase64Encoded": False}, connection)


def disconnect_event(connection: Connection, host: str, context: Mapping[str, Any]) -> dict[str, Any]:
    """The event of ``$disconnect``."""
    headers = {"Host": host, "x-api-key": "", "X-Forwarded-For": "", "x-restapi": ""}
    event = {
        "headers": headers,
        "multiValueHeaders": {name: [value] for name, value in headers.items()},
        "requestContext": context,
        "isBase64Encoded": False,
    }
    return _with_stage_variables(event, connection)


def error_frame(message: str, connection_id: str, request_id: str) -> str:
    """A frame of API Gateway's own, in its exact spacing."""
    return f'{{"message": {json.dumps(message)}, "connectionId":"{connection_id}", "requestId":"{request_id}"}}'


def _with_stage_variables(event: dict[str, Any], connection: Connection) -> dict[str, Any]:
    if connection.stage_variables:
        event["stageVariables"] = connection.stage_variables
    return event


@functools.lru_cache(maxsize=4)
def _request_time(epoch_s: int) -> str:
    return time.strftime("%d/%b/%Y:%H:%M:%S +0000", time.gmtime(epoch_s))
