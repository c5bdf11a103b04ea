"""Invocations of one function, given to its environments: one at a time each, kept warm, started on demand."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from infra.local.cloud_config import FunctionConfig, LambdaConfig
from infra.local.lambda_service import faults
from infra.local.lambda_service.environments import Environment, Owner, StartError
from infra.local.lambda_service.results import InvocationResult, ServiceFault, TooManyRequests
from infra.local.lambda_service.source import EnvironmentSource

_LOG = logging.getLogger(__name__)

_UNCROWDED = 4 * (os.cpu_count() or 1)
"""So many environments of a function may be started at once."""
_TAIL_BYTES = 4096
UNHANDLED = "Unhandled"
"""What the Lambda API calls every failure of a function."""


@dataclass(slots=True)
class Concurrency:
    """Invocations under way in the whole account, against its limit."""

    limit: int
    in_flight: int = 0
    idle: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        """Nothing is under way yet."""
        self.idle.set()

    def acquire(self) -> bool:
        """Count one more, unless the limit is reached."""
        if self.in_flight >= self.limit:
            return False
        self.in_flight += 1
        self.idle.clear()
        return True

    def release(self) -> None:
        """Count one less."""
        self.in_flight -= 1
        if not self.in_flight:
            self.idle.set()


@dataclass(slots=True, eq=False)
class _Call:
    request_id: str
    payload: bytes
    result: asyncio.Future[InvocationResult]
    tail: bool
    tail_from: int = 0
    timeout: asyncio.TimerHandle | None = None


class FunctionPool:
    """Runs invocations of one function.

    An invocation takes the environment used last, so that the others can be reaped. With none free it waits for the first
    that is ready; after ``scale_out_after_ms`` one more is started for each that waits, up to the function's limit. All share the
    cores of one machine, so they are doubled at most, and with many of them the wait grows: a crowd of new ones would keep the
    old ones from their work.

    Args:
        function: The function.
        limits: The service's limits.
        concurrency: Shared by all functions.
        make_source: Makes the source of environments; their owner is the argument.
    """

    def __init__(
        self,
        function: FunctionConfig,
        limits: LambdaConfig,
        concurrency: Concurrency,
        make_source: Callable[[Owner], EnvironmentSource],
    ) -> None:
        self.function = function
        self.source = make_source(self)
        self._concurrency = concurrency
        self._scale_out_after_s = limits.scale_out_after_ms / 1000
        self._limit = limits.account_concurrency
        if function.reserved_concurrency is not None:
            self._limit = min(self._limit, function.reserved_concurrency)
        self._loop = asyncio.get_running_loop()
        self._idle: list[Environment] = []
        self._waiting: deque[_Call] = deque()
        self._in_flight = 0
        self._starting = 0
        self._scale_timer: asyncio.TimerHandle | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def preload(self) -> None:
        """Have the handler imported and the provisioned environments started, as far as it works."""
        try:
            await self.source.load()
        except StartError as exc:
            _LOG.warning("%s: the handler could not be loaded: %s", self.function.name, exc)
            return
        self._start_environments(min(self.function.provisioned, self._limit))
        if self._tasks:
            await asyncio.wait(self._tasks)

    def submit(self, payload: bytes, request_id: str, *, tail: bool = False) -> asyncio.Future[InvocationResult]:
        """Start an invocation.

        Args:
            payload: The event as JSON.
            request_id: A UUID in its usual form of 36 characters.
            tail: Put the end of what the invocation logs into the result.

        Returns:
            Its result; ServiceFault if no environment could be started.

        Raises:
            TooManyRequests: The function's or the account's concurrency is used up.
        """
        if self._in_flight >= self._limit:
            raise TooManyRequests("Rate Exceeded.", reason="ReservedFunctionConcurrentInvocationLimitExceeded")
        if not self._concurrency.acquire():
            raise TooManyRequests("Rate Exceeded.", reason="ConcurrentInvocationLimitExceeded")
        self._in_flight += 1
        call = _Call(request_id, payload, self._loop.create_future(), tail)
        while self._idle:
            environment = self._idle.pop()
            if not environment.dying:
                self._assign(environment, call)
                return call.result
        self._waiting.append(call)
        self._plan_scale_out()
        return call.result

    def reap(self) -> None:
        """End the environments that have been idle for longer than the function's ``idle_s``."""
        oldest_s = self._loop.time() - self.function.idle_s
        spare = len(self._idle) - self.function.provisioned
        while self._idle and spare > 0 and self._idle[0].idle_since_s <= oldest_s:
            self._idle.pop(0).close()
            spare -= 1

    async def close(self) -> None:
        """End every environment; invocations under way end as if their environments had been killed."""
        self._cancel_scale_timer()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._idle.clear()
        await self.source.close()
        self._fail_waiting(StartError("the service has ended"))

    def answered(self, environment: Environment, payload: bytes, *, failed: bool) -> None:
        """An environment has answered; it is free again."""
        call = environment.call
        if call is not None:
            environment.call = None
            self._finish(call, environment, payload, failed=failed)
            self._release(environment)

    def gone(self, environment: Environment) -> None:
        """An environment's process has ended; an invocation it had under way fails."""
        call = environment.call
        if environment in self._idle:
            self._idle.remove(environment)
        if call is not None:
            environment.call = None
            assert environment.ended is not None
            self._finish(call, environment, faults.exit_error(call.request_id, environment.ended.code), failed=True)
        if self._waiting:
            self._plan_scale_out()

    # Starting environments

    def _plan_scale_out(self) -> None:
        if not self._starting and not any(not environment.dying for environment in self.source.environments):
            self._scale_out()
        elif self._scale_timer is None:
            crowd = max(1.0, len(self.source.environments) / _UNCROWDED)
            self._scale_timer = self._loop.call_later(self._scale_out_after_s * crowd, self._scale_out)

    def _cancel_scale_timer(self) -> None:
        if self._scale_timer is not None:
            self._scale_timer.cancel()
            self._scale_timer = None

    def _scale_out(self) -> None:
        self._cancel_scale_timer()
        wanted = len(self._waiting) - self._starting
        most = max(_UNCROWDED, len(self.source.environments))
        self._start_environments(min(wanted, most))
        if wanted > most:
            self._plan_scale_out()

    def _start_environments(self, count: int) -> None:
        for _ in range(count):
            self._starting += 1
            task = self._loop.create_task(self._start_environment())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _start_environment(self) -> None:
        try:
            environment = await self.source.start()
        except StartError as exc:
            self._starting -= 1
            self._fail_waiting(exc)
        else:
            self._starting -= 1
            self._release(environment)

    # Giving out invocations

    def _release(self, environment: Environment) -> None:
        if environment.dying:
            return
        if self._waiting:
            self._assign(environment, self._waiting.popleft())
        else:
            environment.idle_since_s = self._loop.time()
            self._idle.append(environment)

    def _assign(self, environment: Environment, call: _Call) -> None:
        timeout_s = self.function.timeout_s
        if call.tail:
            call.tail_from = environment.log_file.stat().st_size if environment.log_file.exists() else 0
        environment.call = call
        call.timeout = self._loop.call_later(timeout_s, self._timed_out, environment, call)
        environment.invoke(call.request_id, int((time.time() + timeout_s) * 1000), call.payload)

    def _timed_out(self, environment: Environment, call: _Call) -> None:
        environment.call = None
        self.source.kill(environment)
        timestamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        text = faults.timeout_text(self.function.timeout_s)
        with contextlib.suppress(OSError), environment.log_file.open("a", encoding="utf-8") as log:
            log.write(f"{timestamp} {call.request_id} {text}\n\n")
        self._finish(call, environment, faults.timeout_error(call.request_id, self.function.timeout_s), failed=True)

    def _finish(self, call: _Call, environment: Environment, payload: bytes, *, failed: bool) -> None:
        tail = None
        if call.tail:
            tail = _read_tail(environment.log_file, call.tail_from)
        result = InvocationResult(call.request_id, payload, UNHANDLED if failed else None, tail)
        self._conclude(call)
        if not call.result.done():
            call.result.set_result(result)

    def _conclude(self, call: _Call) -> None:
        if call.timeout is not None:
            call.timeout.cancel()
        self._in_flight -= 1
        self._concurrency.release()

    def _fail_waiting(self, error: StartError) -> None:
        while self._waiting:
            call = self._waiting.popleft()
            self._conclude(call)
            if call.result.done():
                continue
            if error.document:
                call.result.set_result(InvocationResult(call.request_id, error.document, UNHANDLED))
            elif error.exit_code is not None:
                payload = faults.exit_error(call.request_id, error.exit_code)
                call.result.set_result(InvocationResult(call.request_id, payload, UNHANDLED))
            else:
                call.result.set_exception(ServiceFault(f"No environment could be started: {error}"))


def _read_tail(log_file: Path, start: int) -> bytes:
    try:
        with log_file.open("rb") as log:
            log.seek(max(start, log_file.stat().st_size - _TAIL_BYTES))
            return log.read(_TAIL_BYTES)
    except OSError:
        return b""
