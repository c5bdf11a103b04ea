"""DynamoDB and SQS on one machine: what is there when the part says it is ready."""

import functools
import json
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from infra.local import aws
from infra.local.outside import use_queue, use_tables
from infra.local.supervisor import Part, Supervisor, file_appears

NAMES = aws.Names("IELTSUsers", "IELTSAssessments", "us-east-1")


@pytest.fixture
async def ready(tmp_path: Path) -> AsyncIterator[dict[str, Any]]:
    """What a running part's ready file says."""
    file = tmp_path / "ready.json"
    command = [
        *(sys.executable, "-m", "infra.local.aws", "--ready-file", str(file)),
        *("--users-table", NAMES.users_table, "--assessments-table", NAMES.assessments_table),
        *("--region", NAMES.region),
    ]
    part = Part(name="aws", command=command, environment=dict(os.environ), ready=functools.partial(file_appears, file))
    async with Supervisor(log_dir=tmp_path, mark=f"test-{tmp_path.name}") as supervisor:
        await supervisor.start(part)
        yield json.loads(file.read_text())
        assert (tmp_path / "aws.log").read_text() == ""


def test_tables_and_queues_are_there(ready: dict[str, Any]) -> None:
    """The keys are those of the deployed tables; unsaved assessments stay for 14 days and are given up to a second queue."""
    dynamodb = aws.client("dynamodb", ready["url"], NAMES.region)
    keys = {
        table: [(key["AttributeName"], key["KeyType"]) for key in description["KeySchema"]]
        for table in dynamodb.list_tables()["TableNames"]
        for description in [dynamodb.describe_table(TableName=table)["Table"]]
    }
    assert keys == {
        "IELTSUsers": [("user_id", "HASH")],
        "IELTSAssessments": [("user_id", "HASH"), ("assessment_id", "RANGE")],
    }
    sqs = aws.client("sqs", ready["url"], NAMES.region)
    url = ready["finish_queue_url"]
    attributes = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
    assert attributes["QueueArn"] == ready["finish_queue_arn"]
    assert attributes["MessageRetentionPeriod"] == str(14 * 86_400)
    dead = json.loads(attributes["RedrivePolicy"])["deadLetterTargetArn"]
    dead_url = sqs.get_queue_url(QueueName=dead.rpartition(":")[2])["QueueUrl"]
    retention = sqs.get_queue_attributes(QueueUrl=dead_url, AttributeNames=["MessageRetentionPeriod"])["Attributes"]
    assert retention == {"MessageRetentionPeriod": str(14 * 86_400)}


def test_a_server_of_somebody_elses_is_used_as_it_is(ready: dict[str, Any]) -> None:
    """What exists is kept, what is missing on this machine is made, and a queue that is named is taken."""
    dynamodb = aws.client("dynamodb", ready["url"], NAMES.region)
    dynamodb.put_item(TableName="IELTSUsers", Item={"user_id": {"S": "ann"}})
    use_tables(ready["url"], aws.Names("IELTSUsers", "Other", NAMES.region))
    assert dynamodb.get_item(TableName="IELTSUsers", Key={"user_id": {"S": "ann"}})["Item"]
    assert "Other" in dynamodb.list_tables()["TableNames"]
    queue = use_queue(ready["url"], NAMES, "")
    assert queue == aws.FinishQueue(ready["finish_queue_url"], ready["finish_queue_arn"])
    own = aws.client("sqs", ready["url"], NAMES.region).create_queue(QueueName="own")["QueueUrl"]
    assert use_queue(ready["url"], NAMES, own).arn.endswith(":own")
