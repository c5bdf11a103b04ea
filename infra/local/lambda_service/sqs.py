"""SQS for the service: failure destinations, and event source mappings that poll a queue and invoke a function.

Source: AWS Lambda developer guide, "Using Lambda with Amazon SQS" (event shape, ``batchItemFailures``). The real boto3
client is used, found by its standard variables, in threads of its own.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol

from infra.local.cloud_config import EventSourceConfig
from infra.local.lambda_service.results import InvocationResult, LambdaError

_LOG = logging.getLogger(__name__)
_CALL_TIMEOUT_S = 5
_FAILED_POLL_WAIT_S = 2.0
_THREADS = 4


class Invoker(Protocol):
    """What invokes functions: the Lambda service."""

    def submit(self, name: str, payload: bytes) -> asyncio.Future[InvocationResult]:
        """Start an invocation."""


class Sqs:
    """Asynchronous calls to SQS through boto3.

    Args:
        region: The queues' region.
        make_client: Makes a boto3 SQS client, in a thread and once.
    """

    def __init__(self, region: str, make_client: Callable[[], Any] | None = None) -> None:
        self._make_client = make_client or (lambda: _boto3_client(region))
        self._client: Any = None
        self._urls: dict[str, str] = {}
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="sqs")

    async def send(self, queue_arn: str, body: str) -> None:
        """Send a message.

        Raises:
            botocore.exceptions.BotoCoreError, ClientError: SQS cannot be reached, or refuses.
        """
        await self._call(lambda client, url: client.send_message(QueueUrl=url, MessageBody=body), queue_arn)

    async def receive(self, queue_arn: str, *, most: int, wait_s: int) -> list[dict[str, Any]]:
        """Receive up to ``most`` messages; errors as ``send``."""
        answer = await self._call(
            lambda client, url: client.receive_message(
                QueueUrl=url,
                MaxNumberOfMessages=most,
                WaitTimeSeconds=wait_s,
                AttributeNames=["All"],
                MessageAttributeNames=["All"],
            ),
            queue_arn,
        )
        messages: list[dict[str, Any]] = answer.get("Messages", [])
        return messages

    async def delete(self, queue_arn: str, messages: Iterable[Mapping[str, Any]]) -> None:
        """Delete messages that were received; errors as ``send``."""
        entries = [{"Id": str(i), "ReceiptHandle": m["ReceiptHandle"]} for i, m in enumerate(messages)]
        if entries:
            await self._call(lambda client, url: client.delete_message_batch(QueueUrl=url, Entries=entries), queue_arn)

    def close(self) -> None:
        """Start no more calls."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _call(self, use: Callable[[Any, str], Any], queue_arn: str) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._in_thread, use, queue_arn)

    def _in_thread(self, use: Callable[[Any, str], Any], queue_arn: str) -> Any:
        if self._client is None:
            self._client = self._make_client()
        url = self._urls.get(queue_arn)
        if url is None:
            name = queue_arn.rpartition(":")[2]
            url = self._urls[queue_arn] = self._client.get_queue_url(QueueName=name)["QueueUrl"]
        return use(self._client, url)


class EventSource:
    """Polls one queue and invokes a function with what it finds.

    Messages of a batch that succeeded are deleted; others come back when their visibility timeout ends.
    """

    def __init__(self, config: EventSourceConfig, sqs: Sqs, invoker: Invoker) -> None:
        self._config = config
        self._sqs = sqs
        self._invoker = invoker
        self._places = asyncio.Semaphore(config.max_concurrency)
        self._batches: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Poll until cancelled."""
        try:
            while True:
                await self._places.acquire()
                wait_s = await self._poll()
                if wait_s:
                    await asyncio.sleep(wait_s)
        finally:
            for batch in self._batches:
                batch.cancel()

    async def _poll(self) -> float:
        """Take one batch; the caller has acquired its place. Returns how long to wait before the next poll."""
        config = self._config
        try:
            messages = await self._sqs.receive(config.queue_arn, most=min(config.batch_size, 10), wait_s=config.wait_s)
        except Exception as exc:  # noqa: BLE001 # whatever the SDK raises, polling goes on
            self._places.release()
            _LOG.warning("%s: polling failed: %s", config.queue_arn, type(exc).__name__)
            return _FAILED_POLL_WAIT_S
        if not messages:
            self._places.release()
            return config.poll_every_s
        batch = asyncio.get_running_loop().create_task(self._process(messages))
        self._batches.add(batch)
        batch.add_done_callback(self._batches.discard)
        return 0.0

    async def _process(self, messages: list[dict[str, Any]]) -> None:
        config = self._config
        try:
            event = sqs_event(messages, config.queue_arn)
            result = await self._invoker.submit(config.function, json.dumps(event).encode())
            done = succeeded(messages, result, report_failures=config.report_batch_item_failures)
            await self._sqs.delete(config.queue_arn, done)
        except LambdaError as exc:
            _LOG.warning("%s: %s could not be invoked: %s", config.queue_arn, config.function, exc.code)
        except Exception as exc:  # noqa: BLE001 # whatever the SDK raises: the messages come again
            _LOG.warning("%s: a batch could not be deleted: %s", config.queue_arn, type(exc).__name__)
        finally:
            self._places.release()


def sqs_event(messages: Iterable[Mapping[str, Any]], queue_arn: str) -> dict[str, Any]:
    """Build Lambda's event from received messages."""
    region = queue_arn.split(":")[3]
    return {"Records": [_record(message, queue_arn, region) for message in messages]}


def succeeded(
    messages: list[dict[str, Any]], result: InvocationResult, *, report_failures: bool
) -> list[dict[str, Any]]:
    """The messages of a batch that may be deleted after an invocation.

    With ``report_failures`` the answer's ``batchItemFailures`` are kept; an answer that names no message of the batch, or
    has another form, fails the whole batch, as in Lambda.
    """
    if result.function_error is not None:
        return []
    failed = _reported_failures(result.payload) if report_failures else set()
    if failed is None or not failed <= {message["MessageId"] for message in messages}:
        return []
    return [message for message in messages if message["MessageId"] not in failed]


def _reported_failures(payload: bytes) -> set[Any] | None:
    """The identifiers in a partial batch response; None if it has no such form."""
    try:
        answer = json.loads(payload) or {}
        return {item["itemIdentifier"] for item in answer.get("batchItemFailures") or []}
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


def _record(message: Mapping[str, Any], queue_arn: str, region: str) -> dict[str, Any]:
    return {
        "messageId": message["MessageId"],
        "receiptHandle": message["ReceiptHandle"],
        "body": message["Body"],
        "attributes": dict(message.get("Attributes", {})),
        "messageAttributes": {
            name: _message_attribute(value) for name, value in message.get("MessageAttributes", {}).items()
        },
        "md5OfBody": message["MD5OfBody"],
        "eventSource": "aws:sqs",
        "eventSourceARN": queue_arn,
        "awsRegion": region,
    }


def _message_attribute(value: Mapping[str, Any]) -> dict[str, Any]:
    attribute: dict[str, Any] = {"stringListValues": [], "binaryListValues": [], "dataType": value["DataType"]}
    if "StringValue" in value:
        attribute["stringValue"] = value["StringValue"]
    return attribute


def _boto3_client(region: str) -> Any:
    import boto3  # noqa: PLC0415 # half a second, wanted only where there are queues
    from botocore.config import Config  # noqa: PLC0415 # as above

    config = Config(connect_timeout=_CALL_TIMEOUT_S, read_timeout=_CALL_TIMEOUT_S + 20, retries={"mode": "standard"})
    return boto3.client("sqs", region_name=region, config=config)
