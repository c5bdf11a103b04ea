"""The phone's connections as a relay holds them: what is said on each, one thing after the other."""

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any

from gateway.core.conversation.actions import Disconnect, Post
from gateway.core.conversation.inputs import Input, PostOutcome, PostSettled
from gateway.core.errors import PhoneGone, PhoneRefused, PhoneSlow
from gateway.ports import Services


class PhoneLine:
    """Posts and disconnects, in order on each connection; the core is told how each post ended.

    Args:
        services: the world.
        feed: tells the core what happened.
        spawn: runs something beside the conversation.
    """

    def __init__(
        self, services: Services, feed: Callable[[Input], None], spawn: Callable[[Coroutine[Any, Any, None]], object]
    ) -> None:
        self._services = services
        self._feed = feed
        self._spawn = spawn
        self._loop = asyncio.get_running_loop()
        # What waits, by connection; a connection is here while something is under way on it.
        self._waiting: dict[str, deque[Post | Disconnect]] = {}
        self._quiet: asyncio.Future[None] | None = None

    @property
    def busy(self) -> bool:
        """Whether anything is under way."""
        return bool(self._waiting)

    def do(self, action: Post | Disconnect) -> None:
        """Do this after what was to be done before on its connection; at once, if it says so."""
        if isinstance(action, Disconnect) and action.at_once:
            self._spawn(self._disconnect_now(action.connection_id))
            return
        waiting = self._waiting.get(action.connection_id)
        if waiting is None:
            self._waiting[action.connection_id] = deque()
            self._begin(action)
        else:
            waiting.append(action)

    async def quiet(self) -> None:
        """Wait until nothing is under way."""
        while self._waiting:
            self._quiet = self._loop.create_future()
            await self._quiet

    def _begin(self, action: Post | Disconnect) -> None:
        if isinstance(action, Disconnect):
            self._spawn(self._disconnect(action))
            return
        try:
            self._services.post(action.connection_id, action.data, partial(self._posted, action))
        except Exception as error:  # noqa: BLE001 - whatever it is, the core must not wait for ever
            # Not at once: the core is in the middle of asking for something.
            self._loop.call_soon(self._posted, action, error)

    def _posted(self, action: Post, error: Exception | None) -> None:
        outcome, retry_after_ms = PostOutcome.DELIVERED, 0.0
        if isinstance(error, PhoneGone):
            outcome = PostOutcome.GONE
        elif isinstance(error, PhoneSlow):
            outcome, retry_after_ms = PostOutcome.SLOW, error.retry_after_ms
        elif error is not None:
            outcome = PostOutcome.REFUSED if isinstance(error, PhoneRefused) else PostOutcome.SLOW
            self._services.failure("post_failed", error, {})
        self._go_on(action.connection_id)
        self._feed(PostSettled(action.connection_id, outcome, retry_after_ms))

    async def _disconnect(self, action: Disconnect) -> None:
        try:
            await self._disconnect_now(action.connection_id)
        finally:
            self._go_on(action.connection_id)

    async def _disconnect_now(self, connection_id: str) -> None:
        try:
            await self._services.disconnect(connection_id)
        except Exception as error:  # noqa: BLE001 - the connection ends without us, too
            self._services.failure("disconnect_failed", error, {})

    def _go_on(self, connection_id: str) -> None:
        waiting = self._waiting[connection_id]
        if waiting:
            self._begin(waiting.popleft())
            return
        del self._waiting[connection_id]
        if self._quiet is not None and not self._waiting and not self._quiet.done():
            self._quiet.set_result(None)
