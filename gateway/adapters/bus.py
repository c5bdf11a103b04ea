"""What the phone says, as it comes to the relay: a subscription to the learner's shard channel that knows when it is deaf.

One connection carries one channel. redis-py makes it (TLS, authentication) and reads its replies; its PubSub classes
are passed by, since they cost the double and, after a fail-over, leave an unasked ``sunsubscribe`` without an answer
(SERVICE.md L1). Here every end of a subscription leads to a new one, on the node that has the slot now.

Publishing tells nothing: the number of receivers counts the frozen ones and leaves out those of replicas. So the bus
pings itself, by the way that the phone's messages take, and says when its own pings no longer come back.
"""

import asyncio
import contextlib
import math
import random
from enum import Enum
from typing import Any, Final, NamedTuple, Self

from redis.asyncio.connection import Connection, parse_url
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import MovedError, RedisError

from gateway.adapters.redis_client import RedisClient, channel_of, redis_errors
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
    """The learner's channel, as an endless iterator of `BusEvent`.

    ``open`` it, iterate, ``close`` it. Iterate without long pauses, in one task at a time: a ping that nobody takes in
    counts as one that did not come back.

    Args:
        settings: where Redis is.
        client: sends the pings; it must find its own way to the slot, as the publishers do.
        learner: whose messages.
        ping_every_s: how often the bus pings itself.

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
        self._unheard = 0
        self._deaf = False
        self._connection: Connection | None = None
        self._told_lost = False
        self._pinger: asyncio.Task[None] | None = None
        self._closed = False

    async def open(self) -> None:
        """Subscribe; returns once Redis has confirmed it, so that nothing published afterwards is missed.

        Raises:
            ServiceUnavailable: Redis cannot be reached or does not confirm.
            AccessRefused: it refuses this user.
        """
        with redis_errors():
            self._connection = await self._subscribe()
        self._pinger = asyncio.create_task(self._keep_pinging())

    async def close(self) -> None:
        """End the subscription; a waiting iteration ends."""
        self._closed = True
        if self._pinger is not None:
            self._pinger.cancel()
            await asyncio.gather(self._pinger, return_exceptions=True)
        await self._drop()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> BusEvent:
        """Return the next event; waits as long as it takes, through any absence of Redis."""
        while not self._closed:
            if self._deaf:
                self._deaf = False
                return _DEAF
            connection = self._connection
            if connection is None:
                if not self._told_lost:
                    self._told_lost = True
                    return _LOST
                if await self._resubscribe():
                    self._told_lost = False
                    return _SUBSCRIBED
                continue
            try:
                reply = await connection.read_response(timeout=math.inf, disconnect_on_error=False)
            except (RedisError, OSError):
                await self._drop(connection)
                continue
            if reply[0] == b"smessage":
                event = self._parse(reply[2])
                if event is not None:
                    return event
            elif reply[0] == b"sunsubscribe":
                # Nobody here asked for it: the slot has moved to another node.
                await self._drop(connection)
        raise StopAsyncIteration

    def _parse(self, payload: bytes) -> BusEvent | None:
        """Read the header line of a payload; None for pings and for what has no known form."""
        if payload == self._ping:
            self._unheard = 0
            return None
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
            with contextlib.suppress(RemoteError), redis_errors():
                self._connection = await self._subscribe()
                return True
            await asyncio.sleep(backoff_s * (0.5 + random.random() / 2))  # noqa: S311 - spreads the return of many
            backoff_s = min(2 * backoff_s, _MOST_BACKOFF_S)
        return False

    async def _subscribe(self) -> Connection:
        """Subscribe on the node that has the slot, found by its redirections from the configured one."""
        host, port = self._settings.host, self._settings.port
        for _ in range(_MOST_HOPS):
            connection = self._make_connection(host, port)
            try:
                return await self._subscribe_on(connection)
            except MovedError as moved:
                await connection.disconnect(nowait=True)
                host, port = moved.host or host, moved.port
            except BaseException:
                await connection.disconnect(nowait=True)
                raise
        raise ServiceUnavailable("Redis: redirected without end")

    async def _subscribe_on(self, connection: Any) -> Connection:
        await connection.connect()
        await connection.send_command("SSUBSCRIBE", self._channel)
        reply = await connection.read_response(timeout=self._settings.reply_timeout_s)
        if not isinstance(reply, list) or reply[0] != b"ssubscribe":
            raise ServiceUnavailable("Redis: no confirmation of the subscription")
        subscribed: Connection = connection
        return subscribed

    def _make_connection(self, host: str, port: int) -> Connection:
        options: dict[str, Any] = dict(parse_url(self._settings.url))
        kind: type[Connection] = options.pop("connection_class", Connection)
        options.update(host=host, port=port, protocol=2, retry=Retry(NoBackoff(), 0))
        options.update(
            socket_connect_timeout=self._settings.connect_timeout_s, socket_timeout=self._settings.reply_timeout_s
        )
        return kind(**options)

    async def _drop(self, connection: Connection | None = None) -> None:
        """Give up the subscription, if it still is the one given."""
        current = self._connection
        if current is None or (connection is not None and connection is not current):
            return
        self._connection = None
        with contextlib.suppress(RedisError, OSError):
            await current.disconnect(nowait=True)

    async def _keep_pinging(self) -> None:
        while True:
            await asyncio.sleep(self._ping_every_s)
            try:
                with redis_errors():
                    await self._client.spublish(self._channel, self._ping)
            except RemoteError:
                continue  # Redis is away: silence is no proof of deafness
            self._unheard += 1
            if self._unheard == _PINGS_TO_DEAF:
                self._deaf = True
            if self._unheard in (_PINGS_TO_RESUBSCRIBE, _PINGS_TO_DEAF):
                # Ends the reading that is under way, which then sees why.
                await self._drop()
