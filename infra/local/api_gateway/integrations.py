"""Calls of Lambda functions by the gateway: bounded in number, limited in time."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine
from typing import Any, Protocol

from infra.local.lambda_service.results import InvocationResult, LambdaError


class Invoker(Protocol):
    """What invokes functions: the Lambda service."""

    def submit(self, name: str, payload: bytes) -> asyncio.Future[InvocationResult]:
        """Start an invocation; raises LambdaError when it is refused."""


class IntegrationTimeoutError(Exception):
    """The function took longer than the integration timeout; it goes on, unheard."""


Failure = LambdaError | IntegrationTimeoutError
Done = Callable[[InvocationResult | Failure], None]


class Integrations:
    """Invokes functions for the gateway.

    Args:
        invoker: The Lambda service.
        timeout_s: The integration timeout.
        most: Calls for messages under way at once.
    """

    def __init__(self, invoker: Invoker, timeout_s: float, most: int) -> None:
        self._invoker = invoker
        self._timeout_s = timeout_s
        self._places = asyncio.Semaphore(most)

    async def place(self, ended: Callable[[], Coroutine[Any, Any, None]]) -> bool:
        """Wait until one more call for a message may be made; ``start`` gives the place back at its end.

        Args:
            ended: Returns when nobody wants the place any more.

        Returns:
            Whether there is a place.
        """
        if not self._places.locked():
            return await self._places.acquire()
        acquiring, ending = asyncio.ensure_future(self._places.acquire()), asyncio.ensure_future(ended())
        try:
            await asyncio.wait((acquiring, ending), return_when=asyncio.FIRST_COMPLETED)
            return acquiring.done()
        finally:
            acquiring.cancel()
            ending.cancel()

    def free_place(self) -> None:
        """Give back a place without a call."""
        self._places.release()

    async def call(self, function: str, payload: bytes) -> InvocationResult:
        """Invoke a function and wait for its result.

        Raises:
            LambdaError: The Lambda service refuses.
            IntegrationTimeoutError: It took too long.
        """
        try:
            return await asyncio.wait_for(self._invoker.submit(function, payload), self._timeout_s)
        except TimeoutError:
            raise IntegrationTimeoutError from None

    def start(self, function: str, payload: bytes, done: Done) -> None:
        """Invoke a function and have its outcome told, once; the caller holds a place."""
        try:
            future = self._invoker.submit(function, payload)
        except LambdaError as exc:
            self._places.release()
            done(exc)
            return
        loop = asyncio.get_running_loop()
        timer = loop.call_later(self._timeout_s, self._timed_out, future, done)

        def finished(future: asyncio.Future[InvocationResult]) -> None:
            self._places.release()
            timer.cancel()
            if future.cancelled():
                return
            error = future.exception()
            if error is None:
                done(future.result())
            else:
                assert isinstance(error, LambdaError)
                done(error)

        future.add_done_callback(finished)

    @staticmethod
    def _timed_out(future: asyncio.Future[InvocationResult], done: Done) -> None:
        if future.cancel():
            done(IntegrationTimeoutError())

    async def notify(self, function: str, payload: bytes) -> None:
        """Invoke a function whose outcome does not matter."""
        with contextlib.suppress(LambdaError, IntegrationTimeoutError):
            await self.call(function, payload)
