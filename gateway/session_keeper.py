"""What a relay holds in Redis for its learner: the lease, the Maya line and the session's progress."""

import asyncio
import itertools
from collections.abc import Awaitable, Callable
from typing import Final

from gateway.core.conversation.actions import StoreProgress
from gateway.core.conversation.inputs import ProgressSettled
from gateway.core.lease import LEASE_MS
from gateway.ports import Services

RENEW_EVERY_S: Final = 2.0

LEASES_TO_A_LINE: Final = 4
"""A line is held for five times as long as a lease."""


class SessionKeeper:
    """Renews the lease and the line, writes the progress, and gives back what is held.

    A process that stood still, frozen with its environment or stopped, may wake when its lease has run out and another
    relay has the learner. By its own clock it sees that no renewal has ended for as long as a lease lasts: then nothing
    may be done before the next one has. Redis that is away is another matter: it gives the lease to nobody.

    Args:
        learner: whose they are.
        services: the world.
        now_ms: the relay's clock.
        lost: is told, once, that another relay has the learner.
        renewed: is told of each renewal that did not end so.
        settled: is told of each write of progress that has ended.

    Attributes:
        held: whether the lease is ours, as far as is known.
        has_line: whether a line is.
    """

    def __init__(
        self,
        learner: str,
        services: Services,
        *,
        now_ms: Callable[[], float],
        lost: Callable[[], None],
        renewed: Callable[[], None],
        settled: Callable[[ProgressSettled], None],
    ) -> None:
        self.held = True
        self.has_line = False
        self._learner = learner
        self._services = services
        self._now_ms = now_ms
        self._lost = lost
        self._renewed = renewed
        self._settled = settled
        self._was_lost = False
        self._sure_until_ms = now_ms() + LEASE_MS
        self._progress: StoreProgress | None = None
        self._last_progress: StoreProgress | None = None
        self._written = asyncio.Event()
        self._written.set()
        self._released = False

    # The lease

    def in_doubt(self, now_ms: float) -> bool:
        """Whether it is too long ago that the lease was known to be ours."""
        return now_ms >= self._sure_until_ms and self.held

    async def keep(self) -> None:
        """Renew what is held while it is ours; the line, which is another key, must not keep the lease from it."""
        for renewals in itertools.count():
            if not await self.renew() or not self.held:
                return
            if renewals % LEASES_TO_A_LINE == 0:
                await self._keep_line()
            await asyncio.sleep(RENEW_EVERY_S)

    async def take_again(self) -> None:
        """Redis was away and may have forgotten whose lease and line these are: say so at once."""
        if await self.renew() and self.held:
            await self._keep_line()

    async def _keep_line(self) -> None:
        if self.has_line:
            await self._try(self._services.keep_line(self._learner), "lease_unreachable")

    async def renew(self) -> bool:
        """Renew the lease now; return whether this relay may go on. One that gave its lease away may finish its own."""
        if not self.held:
            return not self._was_lost
        kept = await self._keep_lease()
        if kept:
            self._renewed()
        elif self._is_held():
            self.held = False
            self._was_lost = True
            self._lost()
        return not self._was_lost

    async def _keep_lease(self) -> bool:
        asked_ms = self._now_ms()
        kept = True
        try:
            kept = await self._services.keep_lease(self._learner)
        except Exception as error:  # noqa: BLE001 - tried again soon
            self._services.failure("lease_unreachable", error, {})
            asked_ms = self._now_ms()
        if kept:
            self._sure_until_ms = asked_ms + LEASE_MS
        return kept

    def _is_held(self) -> bool:
        return self.held

    async def release(self) -> None:
        """Give the lease away, when the progress that waits is written; the line stays with the learner."""
        if self._released or not self.held:
            return
        self._released = True
        await self._written.wait()
        self.held = False
        await self._try(self._services.release_lease(self._learner), "redis_unreachable")

    async def leave(self) -> None:
        """Give back what is held; with the lease another relay has got the line, too."""
        if self.held and self.has_line and not self._released:
            await self._try(self._services.leave_line(self._learner), "redis_unreachable")
        await self.release()

    async def _try(self, call: Awaitable[None], event: str) -> None:
        try:
            await call
        except Exception as error:  # noqa: BLE001 - what is held runs out by itself
            self._services.failure(event, error, {})

    # Progress

    @property
    def has_notes_unsaved(self) -> bool:
        """Whether the session is open as far as is written, and parts of it were assessed."""
        progress = {} if self._last_progress is None else self._last_progress.progress
        return progress.get("state") == "open" and bool(progress.get("notes"))

    def store(self, action: StoreProgress) -> bool:
        """Take the newest progress; return whether `write` must be run, for one write is under way at a time."""
        if self._released or not self.held:
            return False
        idle = self._progress is None
        self._progress = self._last_progress = action
        self._written.clear()
        return idle

    async def write(self) -> None:
        """Write progress until none waits."""
        while (progress := self._progress) is not None and self.held:
            await self._try(self._services.store_progress(self._learner, progress.progress), "redis_unreachable")
            self._settled(ProgressSettled(progress.seq))
            if self._progress is progress:
                break
        self._progress = None
        self._written.set()

    def store_again(self) -> bool:
        """Redis may have forgotten what was written; return as `store` does."""
        return self._last_progress is not None and self.store(self._last_progress)
