"""Functions of a small API that answers through @connections, as deployed code would."""

import json
import os
import signal
from typing import Any

import boto3


def connect(event: Any, context: Any) -> Any:
    return {"statusCode": 200, "headers": {"Sec-WebSocket-Protocol": "demo.v1"}}


def disconnect(event: Any, context: Any) -> Any:
    print("gone", event["requestContext"]["disconnectStatusCode"])  # noqa: T201 # as functions do


def authorize(event: Any, context: Any) -> Any:
    if "bearer.good" not in event["headers"]["Sec-WebSocket-Protocol"]:
        raise PermissionError("Unauthorized")
    statement = {"Action": "execute-api:Invoke", "Effect": "Allow", "Resource": event["methodArn"]}
    return {
        "principalId": "p",
        "policyDocument": {"Version": "2012-10-17", "Statement": [statement]},
        "context": {"learner": "p"},
    }


def message(event: Any, context: Any) -> Any:
    """Do as the message says."""
    connection_id = event["requestContext"]["connectionId"]
    match json.loads(event["body"])["action"]:
        case "echo":
            answer = {"body": event["body"], "learner": event["requestContext"]["authorizer"]["learner"]}
            boto3.client("apigatewaymanagementapi").post_to_connection(
                ConnectionId=connection_id, Data=json.dumps(answer).encode()
            )
        case "relay":
            payload = json.dumps({"connection": connection_id}).encode()
            boto3.client("lambda").invoke(FunctionName="relay", InvocationType="Event", Payload=payload)
        case "crash":
            os.kill(os.getpid(), signal.SIGSEGV)


def relay(event: Any, context: Any) -> Any:
    """Say where it runs, then never end."""
    boto3.client("apigatewaymanagementapi").post_to_connection(
        ConnectionId=event["connection"], Data=str(os.getpid()).encode()
    )
    signal.pause()
