"""Handlers that do one thing each, for the tests of the Lambda service."""

import ctypes
import decimal
import itertools
import json
import logging
import os
import socket
import sys
from pathlib import Path
from typing import Any

IMPORTED_BY = os.getpid()
COUNT = itertools.count(1)


def echo(event: Any, context: Any) -> Any:
    return event


def count(event: Any, context: Any) -> Any:
    return {"pid": os.getpid(), "count": next(COUNT)}


def describe(event: Any, context: Any) -> Any:
    attributes = (
        "aws_request_id",
        "function_name",
        "function_version",
        "invoked_function_arn",
        "memory_limit_in_mb",
        "log_group_name",
        "log_stream_name",
        "client_context",
    )
    return {
        "pid": os.getpid(),
        "imported_by": IMPORTED_BY,
        "remaining_ms": context.get_remaining_time_in_millis(),
        "context": {name: getattr(context, name) for name in attributes},
        "cognito": [context.identity.cognito_identity_id, context.identity.cognito_identity_pool_id],
        "environ": dict(os.environ),
        "cwd": str(Path.cwd()),
        "path": sys.path,
        "modules": sorted(sys.modules),
    }


def misbehave(event: Any, context: Any) -> Any:
    """Fail as the event says."""
    match event["how"]:
        case "raise":
            raise KeyError("no such thing")
        case "exit":
            os._exit(event["code"])
        case "sys.exit":
            sys.exit(event["code"])
        case "kill":
            os.kill(os.getpid(), event["signal"])
        case "segfault":
            ctypes.string_at(0)
        case "unserialisable":
            return {"set": {1}}
        case "huge":
            return "x" * (7 * 1024 * 1024)
        case "decimal":
            return {"number": decimal.Decimal("1.5")}
    return {"pid": os.getpid()}


def meet(event: Any, context: Any) -> Any:
    """Tell the test that this runs, then wait for its word."""
    with socket.create_connection(("127.0.0.1", event["port"])) as line:
        line.sendall(b"%d\n" % os.getpid())
        line.recv(100)
    return {"pid": os.getpid(), "event": event}


def talk(event: Any, context: Any) -> Any:
    print("printed", event["word"])  # noqa: T201 # as functions do
    sys.stderr.write("to stderr\n")
    logging.getLogger("somebody").warning("logged %s", event["word"])
    context.log("by context\n")
    return {"pid": os.getpid()}


def count_to_success(event: Any, context: Any) -> Any:
    """Fail until the file has as many lines as wanted; each try adds one with its request id."""
    log = Path(event["log"])
    tries = log.read_text().splitlines() if log.exists() else []
    log.write_text("\n".join([*tries, context.aws_request_id]) + "\n")
    if len(tries) + 1 < event["succeed_at"]:
        raise RuntimeError("not yet")


def take_batch(event: Any, context: Any) -> Any:
    """Write the event down, and report the messages whose body is ``fail``."""
    with Path(os.environ["NOTES"]).open("a") as notes:
        notes.write(json.dumps(event) + "\n")
    bodies = [record["body"] for record in event["Records"]]
    if "crash" in bodies:
        raise RuntimeError("crash")
    return {
        "batchItemFailures": [
            {"itemIdentifier": record["messageId"]} for record in event["Records"] if record["body"] == "fail"
        ]
    }
