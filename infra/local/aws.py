"""DynamoDB and SQS on one machine: moto's server, with the tables and queues that the deployed cloud has.

``python -m infra.local.aws --ready-file FILE`` serves both on one port and makes the tables and queues; FILE then appears
with the addresses. ``prepare_tables`` and ``prepare_queues`` do the latter for a server that is somebody else's. Everything is in memory.
"""

import argparse
import json
import os
import signal
import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Never

from infra.local.state import write_atomically

if TYPE_CHECKING:
    from types_boto3_dynamodb.client import DynamoDBClient
    from types_boto3_dynamodb.type_defs import AttributeDefinitionTypeDef, KeySchemaElementTypeDef
    from types_boto3_sqs.client import SQSClient
    from types_boto3_sqs.literals import QueueAttributeNameType

USERS_TABLE = "IELTSUsers"
ASSESSMENTS_TABLE = "IELTSAssessments"
REGION = "us-east-1"
FINISH_QUEUE = "maya-finish"
DEAD_QUEUE = "maya-finish-dead"
# What the local parts take for keys when the environment has none; they check no signature against them.
DUMMY_KEYS = {"AWS_ACCESS_KEY_ID": "local", "AWS_SECRET_ACCESS_KEY": "local"}
_RETENTION_S = 14 * 24 * 3600
_RECEIVES_BEFORE_DEAD = 20


@dataclass(frozen=True, slots=True)
class Names:
    """What the tables are called, and the Region they are in."""

    users_table: str
    assessments_table: str
    region: str


@dataclass(frozen=True, slots=True)
class FinishQueue:
    """The queue of assessments that could not be saved: its address and its ARN."""

    url: str
    arn: str


def client(service: str, endpoint: str, region: str) -> Any:
    """Return a boto3 client for a part of the local cloud.

    It takes the environment's keys where there are any, and never a proxy: the parts are on this machine.
    """
    # Imported here: it takes 0.4 s, which commands that call no service need not wait for.
    import boto3  # noqa: PLC0415
    from botocore.config import Config  # noqa: PLC0415

    keys = {}
    if "AWS_ACCESS_KEY_ID" not in os.environ and "AWS_PROFILE" not in os.environ:
        keys = {name.lower(): value for name, value in DUMMY_KEYS.items()}
    return boto3.client(
        service,  # type: ignore[call-overload]
        endpoint_url=endpoint,
        region_name=region,
        config=Config(proxies={}, connect_timeout=5, read_timeout=15, retries={"mode": "standard"}),
        **keys,
    )


def prepare_tables(dynamodb: "DynamoDBClient", names: Names) -> None:
    """Make the tables that are missing.

    Raises:
        botocore.exceptions.ClientError: the service refused.
        botocore.exceptions.EndpointConnectionError: the service does not answer.
    """
    _make_table(dynamodb, names.users_table, "user_id")
    _make_table(dynamodb, names.assessments_table, "user_id", "assessment_id")


def _make_table(dynamodb: "DynamoDBClient", name: str, partition: str, sort: str | None = None) -> None:
    keys = [partition] if sort is None else [partition, sort]
    schema: list[KeySchemaElementTypeDef] = [
        {"AttributeName": key, "KeyType": "HASH" if key == partition else "RANGE"} for key in keys
    ]
    attributes: list[AttributeDefinitionTypeDef] = [{"AttributeName": key, "AttributeType": "S"} for key in keys]
    try:
        dynamodb.create_table(
            TableName=name, KeySchema=schema, AttributeDefinitions=attributes, BillingMode="PAY_PER_REQUEST"
        )
    except dynamodb.exceptions.ResourceInUseException:
        return
    dynamodb.get_waiter("table_exists").wait(TableName=name, WaiterConfig={"Delay": 1, "MaxAttempts": 30})


def prepare_queues(sqs: "SQSClient") -> str:
    """Make the finish queue, and the one for messages that were received in vain too often, where they are missing.

    Returns:
        The finish queue's address.

    Raises:
        botocore.exceptions.ClientError: the service refused.
        botocore.exceptions.EndpointConnectionError: the service does not answer.
    """
    retention: Mapping[QueueAttributeNameType, str] = {"MessageRetentionPeriod": str(_RETENTION_S)}
    dead_url = sqs.create_queue(QueueName=DEAD_QUEUE, Attributes=retention)["QueueUrl"]
    redrive = json.dumps({"deadLetterTargetArn": queue_arn(sqs, dead_url), "maxReceiveCount": _RECEIVES_BEFORE_DEAD})
    return sqs.create_queue(QueueName=FINISH_QUEUE, Attributes={**retention, "RedrivePolicy": redrive})["QueueUrl"]


def queue_arn(sqs: "SQSClient", url: str) -> str:
    """Return the ARN of the queue at ``url``."""
    return sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]


def serve(*, port: int, ready: Callable[[int], None]) -> None:
    """Run moto's server on 127.0.0.1 until the process ends; ``ready`` is called with the port when it answers."""
    # Imported here: the token and demo commands use this module without it.
    from moto.moto_server.werkzeug_app import (  # noqa: PLC0415
        DomainDispatcherApplication,
        MotoRequestHandler,
        create_backend_app,
    )
    from werkzeug.serving import make_server  # noqa: PLC0415

    class QuietHandler(MotoRequestHandler):
        """Keeps connections open, as DynamoDB does, and logs errors only."""

        protocol_version = "HTTP/1.1"
        timeout = 60

        def log_request(self, *_: object) -> None:
            """Log no request that was answered."""

    application = DomainDispatcherApplication(create_backend_app)
    server = make_server("127.0.0.1", port, application, threaded=True, request_handler=QuietHandler)
    thread = threading.Thread(target=server.serve_forever, name="moto", daemon=True)
    thread.start()
    ready(server.server_port)
    thread.join()


def main() -> None:
    """Run the server, make tables and queues, and write the ready file."""
    parser = argparse.ArgumentParser(prog="python -m infra.local.aws", description="DynamoDB and SQS on one machine")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--ready-file", type=Path, required=True, help="written when tables and queues are there")
    parser.add_argument("--users-table", required=True)
    parser.add_argument("--assessments-table", required=True)
    parser.add_argument("--region", required=True)
    options = parser.parse_args()
    names = Names(options.users_table, options.assessments_table, options.region)

    def end(*_: object) -> Never:
        sys.exit(0)

    def ready(port: int) -> None:
        url = f"http://127.0.0.1:{port}"
        prepare_tables(client("dynamodb", url, names.region), names)
        sqs = client("sqs", url, names.region)
        queue_url = prepare_queues(sqs)
        document = {"url": url, "finish_queue_url": queue_url, "finish_queue_arn": queue_arn(sqs, queue_url)}
        write_atomically(options.ready_file, json.dumps(document))

    signal.signal(signal.SIGTERM, end)
    serve(port=options.port, ready=ready)


if __name__ == "__main__":
    main()
