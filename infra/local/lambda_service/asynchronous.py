"""Asynchronous invocation: a queue for each function, retries, and the record of an event given up.

Source: AWS Lambda developer guide, "Retries and error handling for asynchronous invocation" and "Adding a destination".
A function error is retried ``retries`` times after one and two minutes; throttling is retried with growing waits until the
event is too old. Then the failure destination gets the record.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import json
import logging
import uuid
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from infra.local.cloud_config import FunctionConfig, LambdaConfig
from infra.local.lambda_service.results import InvocationResult, ServiceFault, TooManyRequests

_LOG = logging.getLogger(__name__)

RETRIES_EXHAUSTED = "RetriesExhausted"
EVENT_AGE_EXCEEDED = "EventAgeExceeded"


class FailureDestination(Protocol):
    """Takes the records of events given up."""

    async def send(self, queue_arn: str, body: str) -> None:
        """Put a record on a queue."""


class Invoker(Protocol):
    """What invokes functions: the Lambda service."""

    def submit(self, name: str, payload: bytes, *, request_id: str) -> asyncio.Future[InvocationResult]:
        """Start an invocation."""

    def arn(self, name: str, *, qualifier: str) -> str:
        """A function's ARN."""


class AsyncInvoker:
    """The queue of one function's asynchronous invocations.

    Args:
        function: The function.
        limits: Waits and queue size.
        invoker: Invokes it.
        destination: Gets the records; None drops them.
        sleep: Waits some seconds.
        now_s: Monotonic time in seconds.
    """

    def __init__(
        self,
        function: FunctionConfig,
        limits: LambdaConfig,
        invoker: Invoker,
        destination: FailureDestination | None,
        *,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        now_s: Callable[[], float] | None = None,
    ) -> None:
        self._function = function
        self._limits = limits
        self._invoker = invoker
        self._destination = destination
        self._sleep = sleep
        self._now_s = now_s or asyncio.get_running_loop().time
        self._tasks: set[asyncio.Task[None]] = set()

    def enqueue(self, payload: bytes) -> str:
        """Take an event and return its request id, the same for all tries.

        Raises:
            TooManyRequests: The queue is full.
        """
        if len(self._tasks) >= self._limits.async_queue_events:
            raise TooManyRequests("Rate Exceeded.", reason="CallerRateLimitExceeded")
        request_id = str(uuid.uuid4())
        task = asyncio.get_running_loop().create_task(self._run(payload, request_id))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return request_id

    async def close(self) -> None:
        """Drop what is queued or under way."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _run(self, payload: bytes, request_id: str) -> None:
        give_up_at_s = self._now_s() + self._function.max_event_age_s
        tries = throttles = 0
        while True:
            result: InvocationResult | None
            try:
                result = await self._invoker.submit(self._function.name, payload, request_id=request_id)
                tries += 1
            except (TooManyRequests, ServiceFault):
                result = None
                wait_s = _step(self._limits.throttle_waits_s, throttles)
                throttles += 1
            if result is not None:
                if result.function_error is None:
                    return
                if tries > self._function.retries:
                    await self._give_up(RETRIES_EXHAUSTED, payload, request_id, tries, result)
                    return
                wait_s = _step(self._limits.retry_waits_s, tries - 1)
            left_s = give_up_at_s - self._now_s()
            await self._sleep(max(min(wait_s, left_s), 0.0))
            if wait_s >= left_s:
                await self._give_up(EVENT_AGE_EXCEEDED, payload, request_id, tries, None)
                return

    async def _give_up(
        self, condition: str, payload: bytes, request_id: str, tries: int, result: InvocationResult | None
    ) -> None:
        queue_arn = self._function.on_failure_queue_arn
        _LOG.warning("%s: event %s given up: %s after %d tries", self._function.name, request_id, condition, tries)
        if queue_arn is None or self._destination is None:
            return
        arn = self._invoker.arn(self._function.name, qualifier=":$LATEST")
        record = failure_record(
            condition=condition, function_arn=arn, request_id=request_id, payload=payload, tries=tries, result=result
        )
        try:
            await self._destination.send(queue_arn, json.dumps(record))
        except Exception as exc:  # noqa: BLE001 # whatever the SDK raises, the service goes on
            error = type(exc).__name__  # its text may quote the record
            _LOG.error("%s: its failure destination refused a record: %s", self._function.name, error)


def failure_record(
    *,
    condition: str,
    function_arn: str,
    request_id: str,
    payload: bytes,
    tries: int,
    result: InvocationResult | None,
) -> dict[str, Any]:
    """The message that a failure destination gets, in AWS's form.

    Args:
        condition: ``RetriesExhausted`` or ``EventAgeExceeded``.
        function_arn: With its qualifier.
        request_id: Of the invocation.
        payload: The event.
        tries: How often the function was invoked.
        result: The last failure; None if there was none to tell.
    """
    now = dt.datetime.now(dt.UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    record: dict[str, Any] = {
        "version": "1.0",
        "timestamp": now,
        "requestContext": {
            "requestId": request_id,
            "functionArn": function_arn,
            "condition": condition,
            "approximateInvokeCount": tries,
        },
        "requestPayload": json.loads(payload),
    }
    if result is not None:
        record["responseContext"] = {
            "statusCode": 200,
            "executedVersion": "$LATEST",
            "functionError": result.function_error,
        }
        record["responsePayload"] = json.loads(result.payload)
    return record


def _step(waits_s: tuple[float, ...], index: int) -> float:
    return waits_s[min(index, len(waits_s) - 1)] if waits_s else 0.0
