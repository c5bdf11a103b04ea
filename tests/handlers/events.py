"""Events of API Gateway, Lambda and SQS, with the keys of real ones (aws-lambda-go testdata, Lambda developer guide)."""

import json
from typing import Any

LEARNER = "a1b2c3d4-1111-2222-3333-444455556666"
CONNECTION = "R1kmxc2VNjMCFIA="
CONNECTED_AT_MS = 1_705_751_700_123
RECEIVED_AT_MS = 1_705_751_712_456
SESSION = "6f1c2a4e-3a55-4d0c-9d4f-2b7a0c1d5e6f"
METHOD_ARN = "arn:aws:execute-api:us-east-1:123456789012:abcdef1234/live/$connect"


class Context:
    """What Lambda passes as the second argument, as far as handlers use it."""

    aws_request_id = "11111111-2222-3333-4444-555555555555"

    def get_remaining_time_in_millis(self) -> int:
        """Say that there is time."""
        return 5000


def request_context(route: str, event_type: str, *, learner: str | None = LEARNER, **more: Any) -> dict[str, Any]:
    """Return ``requestContext``; without an authorizer if `learner` is None."""
    authorizer = {"learner": learner, "principalId": learner, "integrationLatency": 12}
    return {
        "routeKey": route,
        **({} if learner is None else {"authorizer": authorizer}),
        "eventType": event_type,
        "extendedRequestId": "R1kmyEFJIAMFj0g=",
        "requestTime": "20/Jan/2024:11:55:12 +0000",
        "messageDirection": "IN",
        "stage": "live",
        "connectedAt": CONNECTED_AT_MS,
        "requestTimeEpoch": RECEIVED_AT_MS,
        "identity": {"sourceIp": "192.0.2.1", "userAgent": "okhttp/4.12.0"},
        "requestId": "R1kmyEFJIAMFj0g=",
        "domainName": "abcdef1234.execute-api.us-east-1.amazonaws.com",
        "connectionId": CONNECTION,
        "apiId": "abcdef1234",
        **more,
    }


def message_event(body: Any, *, route: str = "stream", **options: Any) -> dict[str, Any]:
    """Return the event of a message; `body` is a text or becomes JSON."""
    text = body if isinstance(body, str) else json.dumps(body)
    context = request_context(route, "MESSAGE", messageId="R1kmycwiIAMCFIA=", **options)
    return {"requestContext": context, "body": text, "isBase64Encoded": False}


def disconnect_event(**options: Any) -> dict[str, Any]:
    """Return the event of ``$disconnect``."""
    headers = {
        "Host": "abcdef1234.execute-api.us-east-1.amazonaws.com",
        "x-api-key": "",
        "X-Forwarded-For": "",
        "x-restapi": "",
    }
    context = request_context(
        "$disconnect",
        "DISCONNECT",
        disconnectStatusCode=1005,
        disconnectReason="Client-side close frame status not set",
        **options,
    )
    return {
        "headers": headers,
        "multiValueHeaders": {name: [value] for name, value in headers.items()},
        "requestContext": context,
        "isBase64Encoded": False,
    }


def upgrade_headers(*lines: tuple[str, str]) -> tuple[dict[str, str], dict[str, list[str]]]:
    """Return headers and multi-value headers of an upgrade with these further (name, value) lines."""
    multi = {
        "Host": ["abcdef1234.execute-api.us-east-1.amazonaws.com"],
        "Sec-WebSocket-Extensions": ["permessage-deflate; client_max_window_bits"],
        "Sec-WebSocket-Key": ["c2VjcmV0IGtleSBvZiAxNg=="],
        "Sec-WebSocket-Version": ["13"],
        "X-Amzn-Trace-Id": ["Root=1-65abb1f4-0123456789abcdef01234567"],
        "X-Forwarded-For": ["192.0.2.1"],
        "X-Forwarded-Port": ["443"],
        "X-Forwarded-Proto": ["https"],
    }
    for name, value in lines:
        multi.setdefault(name, []).append(value)
    return {name: values[-1] for name, values in multi.items()}, multi


def connect_event(*lines: tuple[str, str], **options: Any) -> dict[str, Any]:
    """Return the event of ``$connect``."""
    headers, multi = upgrade_headers(*lines)
    return {
        "headers": headers,
        "multiValueHeaders": multi,
        "requestContext": request_context("$connect", "CONNECT", **options),
        "isBase64Encoded": False,
    }


def authorizer_event(*lines: tuple[str, str]) -> dict[str, Any]:
    """Return the event of the REQUEST authorizer."""
    headers, multi = upgrade_headers(*lines)
    return {
        "type": "REQUEST",
        "methodArn": METHOD_ARN,
        "headers": headers,
        "multiValueHeaders": multi,
        "queryStringParameters": {},
        "multiValueQueryStringParameters": {},
        "stageVariables": {},
        "requestContext": request_context("$connect", "CONNECT", learner=None),
    }


def sqs_event(*bodies: Any) -> dict[str, Any]:
    """Return an SQS batch; each body is a text or becomes JSON; message ids are ``m0``, ``m1``, ..."""
    return {
        "Records": [
            {
                "messageId": f"m{number}",
                "receiptHandle": "AQEBwJnKyrHigUMZj6rYigCgxlaS3SLy0a",
                "body": body if isinstance(body, str) else json.dumps(body),
                "attributes": {
                    "ApproximateReceiveCount": "1",
                    "SentTimestamp": "1545082649183",
                    "SenderId": "AIDAIENQZJOLO23YVJ4VO",
                    "ApproximateFirstReceiveTimestamp": "1545082649185",
                },
                "messageAttributes": {},
                "md5OfBody": "098f6bcd4621d373cade4e832627b4f6",
                "eventSource": "aws:sqs",
                "eventSourceARN": "arn:aws:sqs:us-east-1:123456789012:maya-finish",
                "awsRegion": "us-east-1",
            }
            for number, body in enumerate(bodies)
        ]
    }


def failure_record(learner: str = LEARNER) -> dict[str, Any]:
    """Return the record that Lambda makes of a relay's failed invocation."""
    return {
        "version": "1.0",
        "timestamp": "2026-11-20T11:00:00.000Z",
        "requestContext": {
            "requestId": "e4b46cbf-b738-xmpl-8880-a18cdf61200e",
            "functionArn": "arn:aws:lambda:us-east-1:123456789012:function:maya-relay:$LATEST",
            "condition": "RetriesExhausted",
            "approximateInvokeCount": 1,
        },
        "requestPayload": {"version": 1, "learner": learner},
        "responseContext": {"statusCode": 200, "executedVersion": "$LATEST", "functionError": "Unhandled"},
        "responsePayload": {"errorMessage": "internal", "errorType": "HandlerFailed", "stackTrace": []},
    }
