"""Asynchronous invocation: retries, ages and failure records."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from infra.local.cloud_config import FunctionConfig, LambdaConfig
from infra.local.lambda_service.asynchronous import AsyncInvoker, failure_record
from infra.local.lambda_service.results import InvocationResult, TooManyRequests
from tests.local.lambda_service.support import MakeFunction, Meeting, StartService, idle

FAILURE = InvocationResult("id", b'{"errorType": "Runtime.ExitError", "errorMessage": "gone"}', "Unhandled")
SUCCESS = InvocationResult("id", b"null")
QUEUE = "arn:aws:sqs:us-east-1:123456789012:failures"


class ScriptedLambda:
    """Answers invocations from a list."""

    def __init__(self, *outcomes: InvocationResult | Exception) -> None:
        self.outcomes = list(outcomes)
        self.requests: list[tuple[str, bytes, str]] = []

    def submit(self, name: str, payload: bytes, *, request_id: str) -> asyncio.Future[InvocationResult]:
        self.requests.append((name, payload, request_id))
        outcome = self.outcomes.pop(0)
        if isinstance(outcome, Exception):
            raise outcome
        future: asyncio.Future[InvocationResult] = asyncio.get_running_loop().create_future()
        future.set_result(outcome)
        return future

    def arn(self, name: str, *, qualifier: str) -> str:
        return f"arn:{name}{qualifier}"


class Time:
    """Seconds that pass only by waiting, and the waits."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.waits: list[float] = []

    def now_s(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.waits.append(seconds)
        self.now += seconds


class Destination:
    """Keeps records."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, Any]] = []
        self.arrived = asyncio.Event()

    async def send(self, queue_arn: str, body: str) -> None:
        self.sent.append((queue_arn, json.loads(body)))
        self.arrived.set()


async def run(
    outcomes: list[InvocationResult | Exception], **settings: Any
) -> tuple[str, ScriptedLambda, Time, Destination]:
    """Invoke once asynchronously and wait until it is over."""
    function = FunctionConfig(name="f", handler="a.b", root="/", on_failure_queue_arn=QUEUE, **settings)
    scripted, time, destination = ScriptedLambda(*outcomes), Time(), Destination()
    invoker = AsyncInvoker(function, LambdaConfig(), scripted, destination, sleep=time.sleep, now_s=time.now_s)
    request_id = invoker.enqueue(b'{"a": 1}')
    await asyncio.gather(*invoker._tasks)
    return request_id, scripted, time, destination


async def test_a_success_is_the_end() -> None:
    """An event that succeeds is not tried again and leaves no record."""
    _, scripted, time, destination = await run([SUCCESS])
    assert len(scripted.requests) == 1
    assert (time.waits, destination.sent) == ([], [])


async def test_function_errors_are_retried_after_one_and_two_minutes_with_one_request_id() -> None:
    """The default is two retries; all tries have the id that the caller was given."""
    request_id, scripted, time, destination = await run([FAILURE, FAILURE, SUCCESS])
    assert time.waits == [60.0, 120.0]
    assert scripted.requests == [("f", b'{"a": 1}', request_id)] * 3
    assert destination.sent == []


@pytest.mark.parametrize("retries", [0, 1, 2])
async def test_the_record_after_the_last_retry(retries: int) -> None:
    """An event given up goes to the failure destination with the last error and the number of tries."""
    request_id, _, _, destination = await run([FAILURE] * (retries + 1), retries=retries)
    ((queue, record),) = destination.sent
    assert queue == QUEUE
    timestamp = record.pop("timestamp")
    assert len(timestamp) == len("2026-11-20T10:00:00.000Z")
    assert timestamp.endswith("Z")
    assert record == {
        "version": "1.0",
        "requestContext": {
            "requestId": request_id,
            "functionArn": "arn:f:$LATEST",
            "condition": "RetriesExhausted",
            "approximateInvokeCount": retries + 1,
        },
        "requestPayload": {"a": 1},
        "responseContext": {"statusCode": 200, "executedVersion": "$LATEST", "functionError": "Unhandled"},
        "responsePayload": {"errorType": "Runtime.ExitError", "errorMessage": "gone"},
    }


async def test_throttling_is_retried_with_growing_waits_and_does_not_count() -> None:
    """A throttled event waits 1 s, 2 s, 4 s and so on, and keeps its retries."""
    throttled = TooManyRequests("Rate Exceeded.")
    _, scripted, time, destination = await run([throttled, throttled, throttled, SUCCESS], retries=0)
    assert time.waits == [1.0, 2.0, 4.0]
    assert len(scripted.requests) == 4
    assert destination.sent == []


async def test_an_event_grows_too_old() -> None:
    """When the next try would come after the event's age, it is given up without a response."""
    _, _, time, destination = await run([TooManyRequests("Rate Exceeded.")] * 99, max_event_age_s=10.0)
    assert sum(time.waits) == 10.0
    ((_, record),) = destination.sent
    assert record["requestContext"]["condition"] == "EventAgeExceeded"
    assert record["requestContext"]["approximateInvokeCount"] == 0
    assert "responsePayload" not in record
    assert "responseContext" not in record


async def test_the_queue_is_bounded() -> None:
    """More events than the queue holds are refused."""
    invoker = AsyncInvoker(
        FunctionConfig(name="f", handler="a.b", root="/"),
        LambdaConfig(async_queue_events=1),
        ScriptedLambda(SUCCESS, SUCCESS),
        None,
    )
    invoker.enqueue(b"{}")
    with pytest.raises(TooManyRequests):
        invoker.enqueue(b"{}")
    await invoker.close()


async def test_a_destination_that_refuses_is_only_logged(caplog: pytest.LogCaptureFixture) -> None:
    """A failing destination changes nothing else, and the log holds no payload."""

    class Refusing:
        async def send(self, queue_arn: str, body: str) -> None:
            raise OSError(body)

    function = FunctionConfig(name="f", handler="a.b", root="/", retries=0, on_failure_queue_arn=QUEUE)
    invoker = AsyncInvoker(function, LambdaConfig(), ScriptedLambda(FAILURE), Refusing())
    invoker.enqueue(b'{"secret": "heron"}')
    await asyncio.gather(*invoker._tasks)
    assert "failure destination refused a record: OSError" in caplog.text
    assert "heron" not in caplog.text


def test_failure_record_of_a_payload_that_is_not_an_object() -> None:
    """Any JSON can be an event."""
    record = failure_record(
        condition="RetriesExhausted", function_arn="a", request_id="r", payload=b"[1]", tries=1, result=FAILURE
    )
    assert record["requestPayload"] == [1]


async def test_real_tries_of_a_real_function(
    start_service: StartService, function: MakeFunction, tmp_path: Path
) -> None:
    """A function that fails twice and then succeeds sees one request id three times."""
    service = await start_service(function("count_to_success", retries=2), retry_waits_s=(0.0,))
    log = tmp_path / "tries"
    event = json.dumps({"log": str(log), "succeed_at": 3}).encode()
    request_id = service.invoke_async("count_to_success", event)
    await idle(service, "count_to_success")
    assert log.read_text().splitlines() == [request_id] * 3


async def test_a_killed_function_is_not_run_again_without_retries(
    start_service: StartService, function: MakeFunction, meeting: Meeting
) -> None:
    """With no retries an environment that is killed leaves a record and no second run."""
    destination = Destination()
    service = await start_service(function("meet", retries=0, on_failure_queue_arn=QUEUE), destination=destination)
    request_id = service.invoke_async("meet", json.dumps({"port": meeting.port}).encode())
    await meeting.next()
    service.pools[0].source.kill(service.pools[0].source.environments[0])
    await destination.arrived.wait()
    ((_, record),) = destination.sent
    assert record["requestContext"]["requestId"] == request_id
    assert record["requestContext"]["functionArn"] == "arn:aws:lambda:us-east-1:123456789012:function:meet:$LATEST"
    assert record["responsePayload"]["errorType"] == "Runtime.ExitError"
    assert record["responsePayload"]["errorMessage"].endswith("signal: killed")
