"""SQS event sources and failure destinations, with the real boto3 client against an SQS server."""

import asyncio
import json
import threading
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto.server import ThreadedMotoServer

from infra.local.cloud_config import CloudConfig, EventSourceConfig
from infra.local.lambda_service.results import InvocationResult
from infra.local.lambda_service.service import LambdaService
from infra.local.lambda_service.sqs import EventSource, Sqs, sqs_event, succeeded
from tests.local.lambda_service.support import MakeFunction, Meeting, StartService, idle

ACCOUNT = "123456789012"


@pytest.fixture(scope="module")
def moto_url() -> Iterator[str]:
    """An SQS server."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def sqs_client(moto_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A boto3 client, found by the standard variables, as the service's own is."""
    for name, value in (
        ("AWS_ENDPOINT_URL_SQS", moto_url),
        ("AWS_ACCESS_KEY_ID", "a"),
        ("AWS_SECRET_ACCESS_KEY", "b"),
    ):
        monkeypatch.setenv(name, value)
    client = boto3.client("sqs", region_name="us-east-1")
    yield client
    client.close()


class Queue:
    """A queue of the test's own."""

    def __init__(self, client: Any, name: str) -> None:
        self.client = client
        self.url: str = client.create_queue(QueueName=name, Attributes={"VisibilityTimeout": "600"})["QueueUrl"]
        self.arn = f"arn:aws:sqs:us-east-1:{ACCOUNT}:{name}"

    def send(self, body: str, **parameters: Any) -> Any:
        """Send a message."""
        return self.client.send_message(QueueUrl=self.url, MessageBody=body, **parameters)

    def left(self) -> tuple[int, int]:
        """Messages that are visible, and that are received but not deleted."""
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        attributes = self.client.get_queue_attributes(QueueUrl=self.url, AttributeNames=names)["Attributes"]
        visible, invisible = (int(attributes[name]) for name in names)
        return visible, invisible


@pytest.fixture
def queue(sqs_client: Any, request: pytest.FixtureRequest) -> Iterator[Queue]:
    """A queue of the test's own."""
    queue = Queue(sqs_client, f"q{abs(hash(request.node.name))}")
    yield queue
    sqs_client.delete_queue(QueueUrl=queue.url)


@pytest.fixture
def sqs() -> Iterator[Sqs]:
    """The service's SQS, ended after the test."""
    client = Sqs("us-east-1")
    yield client
    client.close()
    client._threads.shutdown(wait=True)
    if client._client is not None:
        client._client.close()


class WatchedSqs(Sqs):
    """Tells when messages have been deleted, and when a poll found nothing."""

    def __init__(self) -> None:
        super().__init__("us-east-1")
        self.deleted: asyncio.Queue[list[str]] = asyncio.Queue()

    async def delete(self, queue_arn: str, messages: Iterable[Mapping[str, Any]]) -> None:
        await super().delete(queue_arn, messages)
        self.deleted.put_nowait([message["Body"] for message in messages])


async def poll(service: LambdaService, arn: str, **settings: Any) -> list[str]:
    """Poll a queue until something has been processed; returns the bodies that were deleted."""
    sqs = WatchedSqs()
    config = EventSourceConfig(queue_arn=arn, function="take_batch", poll_every_s=0.01, **settings)
    polling = asyncio.ensure_future(EventSource(config, sqs, service).run())
    deleted = await asyncio.wait_for(sqs.deleted.get(), 30)
    polling.cancel()
    await asyncio.gather(polling, return_exceptions=True)
    sqs.close()
    await asyncio.to_thread(sqs._threads.shutdown)
    sqs._client.close()
    return deleted


async def test_the_event_and_the_deletion(
    start_service: StartService, function: MakeFunction, queue: Queue, tmp_path: Path
) -> None:
    """A batch arrives in Lambda's exact shape and is deleted when the function succeeds."""
    notes = tmp_path / "notes"
    service = await start_service(function("take_batch", env={"NOTES": str(notes)}))
    attributes = {"kind": {"DataType": "String", "StringValue": "heron"}}
    sent = queue.send("one", MessageAttributes=attributes)
    assert await poll(service, queue.arn) == ["one"]
    assert queue.left() == (0, 0)
    ((record,),) = [json.loads(line)["Records"] for line in notes.read_text().splitlines()]
    assert set(record) == {
        "messageId",
        "receiptHandle",
        "body",
        "attributes",
        "messageAttributes",
        "md5OfBody",
        "eventSource",
        "eventSourceARN",
        "awsRegion",
    }
    assert record["messageId"] == sent["MessageId"]
    assert record["md5OfBody"] == sent["MD5OfMessageBody"]
    assert (record["eventSource"], record["eventSourceARN"], record["awsRegion"]) == ("aws:sqs", queue.arn, "us-east-1")
    assert record["attributes"]["ApproximateReceiveCount"] == "1"
    assert {"SentTimestamp", "SenderId", "ApproximateFirstReceiveTimestamp"} <= set(record["attributes"])
    assert record["messageAttributes"] == {
        "kind": {"stringListValues": [], "binaryListValues": [], "dataType": "String", "stringValue": "heron"}
    }


async def test_failed_items_stay_invisible(
    start_service: StartService, function: MakeFunction, queue: Queue, tmp_path: Path
) -> None:
    """With partial failures reported, the others are deleted and the failed ones wait for their visibility timeout."""
    service = await start_service(function("take_batch", env={"NOTES": str(tmp_path / "notes")}))
    for body in ("one", "fail", "two"):
        queue.send(body)
    deleted = await poll(service, queue.arn, report_batch_item_failures=True, max_concurrency=1)
    assert sorted(deleted) == ["one", "two"]
    assert queue.left() == (0, 1)


async def test_a_function_error_deletes_nothing(
    start_service: StartService, function: MakeFunction, queue: Queue, tmp_path: Path
) -> None:
    """A batch whose function failed comes back when its visibility timeout ends."""
    service = await start_service(function("take_batch", env={"NOTES": str(tmp_path / "notes")}))
    for body in ("one", "crash"):
        queue.send(body)
    assert await poll(service, queue.arn, max_concurrency=1) == []
    assert queue.left() == (0, 2)


async def test_polling_goes_on_when_sqs_is_away(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A poll that fails is logged without details, and followed by another."""
    monkeypatch.setattr("infra.local.lambda_service.sqs._FAILED_POLL_WAIT_S", 0.0)
    failed_twice = asyncio.Event()
    calls: list[tuple[int, int]] = []

    class AwaySqs(Sqs):
        async def receive(self, queue_arn: str, *, most: int, wait_s: int) -> list[dict[str, Any]]:
            calls.append((most, wait_s))
            if len(calls) == 2:
                failed_twice.set()
            await asyncio.sleep(0)
            raise OSError("secret")

    config = EventSourceConfig(queue_arn="arn:q", function="f", batch_size=50, wait_s=3)
    polling = asyncio.ensure_future(
        EventSource(config, AwaySqs("us-east-1"), LambdaService(CloudConfig(functions=(), log_dir=""))).run()
    )
    await failed_twice.wait()
    polling.cancel()
    await asyncio.gather(polling, return_exceptions=True)
    assert calls[0] == (10, 3)
    assert "polling failed: OSError" in caplog.text
    assert "secret" not in caplog.text


async def test_a_throttled_function_leaves_its_messages(
    start_service: StartService,
    function: MakeFunction,
    queue: Queue,
    caplog: pytest.LogCaptureFixture,
    meeting: Meeting,
) -> None:
    """When the function's concurrency is used up the batch stays in the queue."""
    service = await start_service(function("meet", reserved_concurrency=1))
    running = service.submit("meet", json.dumps({"port": meeting.port}).encode())
    visitor = await meeting.next()
    queue.send("one")
    sqs = WatchedSqs()
    source = EventSource(EventSourceConfig(queue_arn=queue.arn, function="meet"), sqs, service)
    await source._places.acquire()
    assert await source._poll() == 0.0
    await asyncio.gather(*source._batches)
    assert "meet could not be invoked: TooManyRequestsException" in caplog.text
    assert queue.left() == (0, 1)
    visitor.let_go()
    await running
    sqs.close()
    await asyncio.to_thread(sqs._threads.shutdown)
    sqs._client.close()


async def test_a_failure_record_arrives_in_the_queue(
    start_service: StartService, function: MakeFunction, queue: Queue, sqs: Sqs
) -> None:
    """The record of an asynchronous invocation given up is a message on its queue."""
    service = await start_service(function("misbehave", retries=0, on_failure_queue_arn=queue.arn), destination=sqs)
    request_id = service.invoke_async("misbehave", b'{"how": "raise"}')
    await idle(service, "misbehave")
    (message,) = (await asyncio.to_thread(queue.client.receive_message, QueueUrl=queue.url))["Messages"]
    record = json.loads(message["Body"])
    assert record["requestContext"]["requestId"] == request_id
    assert record["requestPayload"] == {"how": "raise"}
    assert record["responsePayload"]["errorType"] == "KeyError"


async def test_calls_run_outside_the_event_loop(sqs: Sqs) -> None:
    """boto3 blocks, so it runs in threads."""
    threads: list[threading.Thread] = []
    calls: list[dict[str, str]] = []

    class Client:
        def get_queue_url(self, **parameters: str) -> dict[str, str]:
            threads.append(threading.current_thread())
            return {"QueueUrl": f"http://{parameters['QueueName']}"}

        def send_message(self, **parameters: str) -> None:
            calls.append(parameters)

        def close(self) -> None:
            pass

    sqs._make_client = Client
    await sqs.send("arn:aws:sqs:us-east-1:1:name", "body")
    assert threads[0] is not threading.main_thread()
    (call,) = calls
    assert call == {"QueueUrl": "http://name", "MessageBody": "body"}


MESSAGES: list[dict[str, Any]] = [{"MessageId": "a"}, {"MessageId": "b"}]


@pytest.mark.parametrize(
    ("payload", "deleted"),
    [
        (b"null", "ab"),
        (b"{}", "ab"),
        (b'""', "ab"),
        (b'{"batchItemFailures": []}', "ab"),
        (b'{"batchItemFailures": null}', "ab"),
        (b'{"batchItemFailures": [{"itemIdentifier": "b"}]}', "a"),
        (b'{"batchItemFailures": [{"itemIdentifier": "a"}, {"itemIdentifier": "b"}]}', ""),
        (b'{"batchItemFailures": [{"itemIdentifier": ""}]}', ""),
        (b'{"batchItemFailures": [{"itemIdentifier": null}]}', ""),
        (b'{"batchItemFailures": [{"itemIdentifier": "unknown"}]}', ""),
        (b'{"batchItemFailures": [{"id": "b"}]}', ""),
        (b'{"batchItemFailures": ["b"]}', ""),
        (b'{"batchItemFailures": 3}', ""),
        (b'["b"]', ""),
        (b"not json", ""),
    ],
)
def test_partial_batch_responses(payload: bytes, deleted: str) -> None:
    """Empty answers mean success; a wrong form, or an id that is not in the batch, fails the whole batch."""
    result = succeeded(MESSAGES, InvocationResult("r", payload), report_failures=True)
    assert "".join(message["MessageId"] for message in result) == deleted


def test_answers_are_ignored_unless_failures_are_reported() -> None:
    """Without ReportBatchItemFailures only a function error fails the batch."""
    payload = b'{"batchItemFailures": [{"itemIdentifier": "b"}]}'
    assert succeeded(MESSAGES, InvocationResult("r", payload), report_failures=False) == MESSAGES
    assert succeeded(MESSAGES, InvocationResult("r", b"{}", "Unhandled"), report_failures=False) == []


def test_an_event_names_the_queue_s_region() -> None:
    """The region is that of the queue."""
    message = {"MessageId": "m", "ReceiptHandle": "r", "Body": "b", "MD5OfBody": "d"}
    (record,) = sqs_event([message], "arn:aws:sqs:eu-west-2:1:q")["Records"]
    assert record["awsRegion"] == "eu-west-2"
