"""The queue of unsaved assessments, against moto."""

import json
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from moto import mock_aws

from gateway.adapters import aws_calls
from gateway.adapters.finish_queue import FinishQueue
from gateway.core.assessment import Assessment
from gateway.core.errors import AccessRefused
from tests.adapters.written import LEARNER, assessment


@pytest.fixture
def sqs() -> Iterator[Any]:
    """Serve SQS."""
    aws_calls._session.cache_clear()
    with mock_aws():
        yield boto3.client("sqs")
    aws_calls._session.cache_clear()


def test_a_message_is_the_written_document(sqs: Any) -> None:
    """What is received is what was written, and whose it is."""
    url = sqs.create_queue(QueueName="maya-finish")["QueueUrl"]
    written = assessment()
    FinishQueue(url).send(LEARNER, written)
    (message,) = sqs.receive_message(QueueUrl=url)["Messages"]
    document = json.loads(message["Body"])
    assert document.keys() == {"version", "learner", "assessment"}
    assert (document["version"], document["learner"]) == (1, LEARNER)
    assert Assessment.model_validate(document["assessment"]) == written


def test_no_such_queue(sqs: Any) -> None:
    """An error of ours that names SQS's code."""
    url = sqs.create_queue(QueueName="maya-finish")["QueueUrl"]
    with pytest.raises(AccessRefused, match=r"^sqs answered 400"):
        FinishQueue(url.replace("maya-finish", "other")).send(LEARNER, assessment())
