"""What the phone says, as it comes to the relay: a subscription to the learner's shard channel that knows when it is deaf.

One connection carries one channel. redis-py's PubSub classes are passed by, since after a fail-over they leave an unasked
``sunsubscribe`` without an answer (SERVICE.md L1). Here every end of a subscription leads to a new one, on the node
that has the slot now.

Publishing tells nothing: the number of receivers counts the frozen ones and leaves out those of replicas. So the bus
pings itself while nothing else comes, by the way that the phone's messages take, and says when its own pings no longer
come back.
"""

import asyncio
import contextlib
import random
from collections.abc import Callable
from enum import Enum
from typing import Final, NamedTuple

from gateway.adapters.redis_client import RedisClient, channel_of, redis_errors
from gateway.adapters.subscription import SlotMoved, Subscription, subscribe
from gateway.core.errors import RemoteError, ServiceUnavailable
from gateway.settings import RedisSettings

_MOST_HOPS: Final = 5
_FIRST_BACKOFF_S: Final = 0.05
_MOST_BACKOFF_S: Final = 1.0
_PINGS_TO_RESUBSCRIBE: Final = 3
_PINGS_TO_DEAF: Final = 6


class BusKind(Enum):
    """What happened on the bus."""

    MESSAGE = "message"
    """The phone said something."""

    GONE = "gone"
    """A connection of the phone is gone."""

    LOST = "lost"
    """The subscription ended; a new one is being made."""

    SUBSCRIBED = "subscribed"
    """There is a new subscription: what was published in between is lost, and keys may be too."""

    DEAF = "deaf"
    """Pings go out and do not come back, whatever was tried: the lease belongs to somebody who hears."""


class BusEvent(NamedTuple):
    """One event, by far the most of them messages.

    Attributes:
        kind: what happened; only messages and gone connections have the rest.
        connection_id: the WebSocket connection.
        connected_at_ms: when API Gateway opened it, wall clock.
        received_at_ms: when API Gateway took the message, wall clock.
        body: the message, unparsed.
    """

    kind: BusKind
    connection_id: str = ""
    connected_at_ms: int = 0
    received_at_ms: int = 0
    body: bytes = b""


_BY_LETTER: Final = {b"m": BusKind.MESSAGE, b"d": BusKind.GONE}
_LOST: Final = BusEvent(BusKind.LOST)
_SUBSCRIBED: Final = BusEvent(BusKind.SUBSCRIBED)
_DEAF: Final = BusEvent(BusKind.DEAF)


class Bus:
    """The learner's channel.

    ``open`` it, ``listen``, ``close`` it.

    Args:
        settings: where Redis is.
        client: sends the pings; it must find its own way to the slot, as the publishers do.
        learner: whose messages.
        ping_every_s: how long the bus may hear nothing before it pings itself.

    Attributes:
        ignored: how many payloads were of no known form.
    """

    def __init__(
        self, settings: RedisSettings, client: RedisClient, learner: str, *, ping_every_s: float = 1.0
    ) -> None:
        self.ignored = 0
        self._settings = settings
        self._client = client
        self._channel = channel_of(learner)
        self._ping_every_s = ping_every_s
        self._ping = f"1 p {random.getrandbits(64):016x}\n".encode()  # tells one's own pings, no secret
        self._heard = False
        self._unheard = 0
        self._deaf = False
        self._subscription: Subscription | None = None
        self._take: Callable[[BusEvent], None] = _ignore
        self._pinger: asyncio.Task[None] | None = None
        self._closed = False

    async def open(self) -> None:
        """Subscribe; returns once Redis has confirmed it, so that nothing published afterwards is missed.

        Raises:
            ServiceUnavailable: Redis cannot be reached or does not confirm.
            AccessRefused: it refuses this user.
        """
        self._subscription = await self._subscribe()
        self._pinger = asyncio.create_task(self._keep_pinging())

    async def listen(self, take: Callable[[BusEvent], None]) -> None:
        """Give every event to `take` as it comes; returns when the bus is closed, through any absence of Redis.

        Call it once, and soon after `open`: until then a ping counts as one that did not come back.

        Args:
            take: gets the event within the step of the event loop that brought it; it must not raise.
        """
        self._take = take
        told_lost = False
        while not self._closed:
            if self._deaf:
                self._deaf = False
                take(_DEAF)
            elif self._subscription is not None:
                self._subscription.flow()
                # Not to be cancelled together with this task: others look at it, too.
                await asyncio.wait([self._subscription.ended])
                self._subscription = None
            elif not told_lost:
                told_lost = True
                take(_LOST)
            elif await self._resubscribe():
                told_lost = False
                take(_SUBSCRIBED)
        await self._unsubscribe()  # what was made while the bus was closed

    async def close(self) -> None:
        """End the subscription; `listen` returns."""
        self._closed = True
        if self._pinger is not None:
            self._pinger.cancel()
            await asyncio.gather(self._pinger, return_exceptions=True)
        await self._unsubscribe()

    def _hear(self, payload: bytes) -> None:
        event = self._parse(payload)
        if event is not None:
            self._take(event)

    def _parse(self, payload: bytes) -> BusEvent | None:
        """Read the header line of a payload; None for pings and for what has no known form."""
        self._unheard = 0
        if payload == self._ping:
            return None
        self._heard = True
        header, _, body = payload.partition(b"\n")
        try:
            version, letter, connection_id, connected_at_ms, received_at_ms = header.split(b" ")
            if version == b"1":
                kind = _BY_LETTER[letter]
                return BusEvent(kind, connection_id.decode("ascii"), int(connected_at_ms), int(received_at_ms), body)
        except (ValueError, KeyError):
            if header.startswith(b"1 p "):
                return None  # of another relay, on its way out
        self.ignored += 1
        return None

    async def _resubscribe(self) -> bool:
        """Try until there is a new subscription; False when closed or called off meanwhile."""
        backoff_s = _FIRST_BACKOFF_S
        while not (self._closed or self._deaf):
            with contextlib.suppress(RemoteError):
                self._subscription = await self._subscribe()
                return True
            await asyncio.sleep(backoff_s * (0.5 + random.random() / 2))  # noqa: S311 - spreads the return of many
            backoff_s = min(2 * backoff_s, _MOST_BACKOFF_S)
        return False

    async def _subscribe(self) -> Subscription:
        """Subscribe on the node that has the slot, found by its redirections from the configured one."""
        address = (self._settings.host, self._settings.port)
        for _ in range(_MOST_HOPS):
            try:
                return await subscribe(self._settings, address, self._channel, self._hear)
            except SlotMoved as moved:
                address = (moved.host or address[0], moved.port)
        raise ServiceUnavailable("Redis: redirected without end")

    async def _unsubscribe(self) -> None:
        subscription, self._subscription = self._subscription, None
        if subscription is not None:
            await subscription.close()

    async def _keep_pinging(self) -> None:
        """Ping while nothing is heard: whatever comes by the channel proves as much as a ping, and costs nothing more."""
        while True:
            await asyncio.sleep(self._ping_every_s)
            if self._heard:
                self._heard = False
                continue
            try:
                with redis_errors():
                    await self._client.spublish(self._channel, self._ping)
            except RemoteError:
                continue  # Redis is away: silence is no proof of deafness
            self._unheard += 1
            if self._unheard == _PINGS_TO_DEAF:
                self._deaf = True
            if self._unheard in (_PINGS_TO_RESUBSCRIBE, _PINGS_TO_DEAF) and self._subscription is not None:
                self._subscription.cut()  # upon which `listen` sees why


def _ignore(_event: BusEvent) -> None:
    """Take an event before anybody listens."""
