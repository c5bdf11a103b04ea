"""The events' exact shapes."""

import base64
import json
from typing import Any

from infra.local.api_gateway import events

CONNECTION = events.Connection(
    connection_id="R1kmxc2VNjMCFIA=",
    connected_at_ms=1_700_000_000_000,
    source_ip="192.0.2.1",
    user_agent="phone/1",
    api_id="abc",
    stage="local",
    domain_name="d.example",
)


def context(**changes: Any) -> dict[str, Any]:
    """A requestContext."""
    settings: dict[str, Any] = {
        "route_key": "stream",
        "event_type": "MESSAGE",
        "request_id": "id",
        "now_ms": 1_700_000_000_123,
        "authorizer": None,
        **changes,
    }
    return events.request_context(CONNECTION, **settings)


def test_ids_have_16_characters_and_end_with_an_equals_sign() -> None:
    """Connection ids must be URL-encoded by whoever uses them in a path."""
    ids = {events.new_id() for _ in range(200)}
    assert len(ids) == 200
    for one in ids:
        assert len(one) == 16
        assert one.endswith("=")
        assert len(base64.urlsafe_b64decode(one)) == 11


def test_request_context_has_every_key() -> None:
    """requestId and extendedRequestId are equal; the time is there twice; authorizer only when there is one."""
    assert context(authorizer={"principalId": "p"}, messageId="m") == {
        "routeKey": "stream",
        "messageId": "m",
        "authorizer": {"principalId": "p"},
        "eventType": "MESSAGE",
        "extendedRequestId": "id",
        "requestTime": "14/Nov/2023:22:13:20 +0000",
        "messageDirection": "IN",
        "stage": "local",
        "connectedAt": 1_700_000_000_000,
        "requestTimeEpoch": 1_700_000_000_123,
        "identity": {"userAgent": "phone/1", "sourceIp": "192.0.2.1"},
        "requestId": "id",
        "domainName": "d.example",
        "connectionId": "R1kmxc2VNjMCFIA=",
        "apiId": "abc",
    }
    assert "authorizer" not in context()


def upgrade(query: str = "") -> events.Upgrade:
    """An upgrade with a header that is there twice."""
    headers = [
        ("Host", "d.example"),
        ("Connection", "Upgrade"),
        ("Upgrade", "websocket"),
        ("sec-websocket-protocol", "a"),
        ("Sec-WebSocket-Protocol", "b"),
        ("X-Forwarded-For", "10.9.8.7"),
    ]
    return events.Upgrade.read(headers, query, "192.0.2.1", 443)


def test_headers_of_an_upgrade() -> None:
    """Names stay as sent, hop-by-hop headers go, several values are all kept, the gateway's own are added."""
    read = upgrade()
    assert read.headers["Host"] == "d.example"
    assert read.headers["sec-websocket-protocol"] == "b"
    assert read.multi_headers["sec-websocket-protocol"] == ["a", "b"]
    assert read.headers["X-Forwarded-For"] == "192.0.2.1"
    assert (read.headers["X-Forwarded-Port"], read.headers["X-Forwarded-Proto"]) == ("443", "https")
    assert read.headers["X-Amzn-Trace-Id"].startswith("Root=1-")
    assert "Connection" not in read.headers
    assert "Upgrade" not in read.headers


def test_connect_event_has_query_string_only_when_there_is_one() -> None:
    """Without a query string its keys are absent."""
    event = events.connect_event(CONNECTION, upgrade(), context())
    assert set(event) == {"headers", "multiValueHeaders", "requestContext", "isBase64Encoded"}
    event = events.connect_event(CONNECTION, upgrade("a=1&a=2&b="), context())
    assert event["queryStringParameters"] == {"a": "2", "b": ""}
    assert event["multiValueQueryStringParameters"] == {"a": ["1", "2"], "b": [""]}


def test_authorizer_event() -> None:
    """A REQUEST authorizer sees type, method ARN and empty objects where there is nothing."""
    event = events.authorizer_event(CONNECTION, upgrade(), context(), "arn")
    assert event["type"] == "REQUEST"
    assert event["methodArn"] == "arn"
    assert event["queryStringParameters"] == event["multiValueQueryStringParameters"] == event["stageVariables"] == {}
    assert set(event) == {
        "type",
        "methodArn",
        "headers",
        "multiValueHeaders",
        "queryStringParameters",
        "multiValueQueryStringParameters",
        "stageVariables",
        "requestContext",
    }


def test_message_event_has_neither_headers_nor_query_string() -> None:
    """A message is context and body."""
    event = events.message_event(CONNECTION, "text", context())
    assert event == {"requestContext": context(), "body": "text", "isBase64Encoded": False}


def test_disconnect_event() -> None:
    """The end has its own few headers."""
    event = events.disconnect_event(CONNECTION, "d.example", context())
    assert event["headers"] == {"Host": "d.example", "x-api-key": "", "X-Forwarded-For": "", "x-restapi": ""}
    assert event["multiValueHeaders"]["Host"] == ["d.example"]
    assert event["isBase64Encoded"] is False


def test_error_frames_have_aws_s_spacing() -> None:
    """A blank after the first colon and after the commas, none after the other colons."""
    frame = events.error_frame("Forbidden", "XDmENcnwIE0CFEQ=", "XDmGEE2RoE0FRdQ=")
    assert frame == '{"message": "Forbidden", "connectionId":"XDmENcnwIE0CFEQ=", "requestId":"XDmGEE2RoE0FRdQ="}'
    assert json.loads(frame)["message"] == "Forbidden"
