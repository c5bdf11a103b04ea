"""Single commands to Redis, for what a relay writes twice a second as long as somebody speaks.

redis-py spends a millisecond on a command. This costs a fifth, and only knows how to do it when nothing is unusual; whatever
else happens, `UnansweredError` says so and redis-py does it over, with its retries, redirections and errors.
"""

import asyncio
from collections import deque
from typing import Any, Final, cast

import hiredis

from gateway.adapters.redis_dial import authentication, dial, moved_to
from gateway.core.errors import RemoteError
from gateway.settings import RedisSettings

_REST_S: Final = 5.0
"""How long no connection is tried after one that could not be made: redis-py finds out often enough."""


class UnansweredError(Exception):
    """There is no answer that can be used; the command may have been carried out."""


class Courier:
    """Keeps one connection to the node that has the learner's slot. Belongs to one event loop; `close` it.

    Args:
        settings: where Redis is.
    """

    def __init__(self, settings: RedisSettings) -> None:
        self._settings = settings
        self._address = (settings.host, settings.port)
        self._connection: _Connection | None = None
        self._opening = asyncio.Lock()
        self._not_before_s = 0.0

    async def ask(self, *words: str | int) -> Any:
        """Send a command and return its reply.

        Raises:
            UnansweredError: it must be done otherwise.
        """
        connection = self._connection
        if connection is None or not connection.open:
            connection = await self._opened()
        reply = await connection.ask(words, self._settings.reply_timeout_s)
        if isinstance(reply, hiredis.ReplyError):
            self._learn(str(reply))
            raise UnansweredError
        return reply

    async def close(self) -> None:
        """Close the connection."""
        if self._connection is not None:
            await self._connection.close()
            self._connection = None

    async def _opened(self) -> "_Connection":
        loop = asyncio.get_running_loop()
        async with self._opening:
            if self._connection is not None and self._connection.open:
                return self._connection
            if loop.time() < self._not_before_s:
                raise UnansweredError
            try:
                connection = await dial(self._settings, self._address, _Connection)
            except RemoteError:
                self._not_before_s = loop.time() + _REST_S
                raise UnansweredError from None
            self._connection = connection
            await self._introduce(connection)
            return connection

    async def _introduce(self, connection: "_Connection") -> None:
        settings = self._settings
        greetings: list[tuple[str | int, ...]] = [*authentication(settings)]
        if settings.database:
            greetings.append(("SELECT", settings.database))
        for greeting in greetings:
            if await connection.ask(greeting, settings.reply_timeout_s) != b"OK":
                await connection.close()
                raise UnansweredError

    def _learn(self, error: str) -> None:
        """Note where the slot is now; the connection to where it was is of no more use."""
        moved = moved_to(error)
        if moved is not None and self._connection is not None:
            self._address = (moved[0] or self._address[0], moved[1])
            self._connection.cut()


class _Connection(asyncio.Protocol):
    """One connection, whose replies come in the order of its commands.

    Attributes:
        open: it takes commands.
    """

    def __init__(self) -> None:
        self.open = False
        self._loop = asyncio.get_running_loop()
        self._closed: asyncio.Future[None] = self._loop.create_future()
        self._waiting: deque[asyncio.Future[Any]] = deque()
        self._reader = hiredis.Reader()
        self._transport: asyncio.Transport | None = None

    async def ask(self, words: tuple[str | int, ...], within_s: float) -> Any:
        """Send a command and return its reply, which may be an error; raises `UnansweredError`."""
        if not self.open or self._transport is None:
            raise UnansweredError
        answer: asyncio.Future[Any] = self._loop.create_future()
        self._waiting.append(answer)
        self._transport.write(hiredis.pack_command(cast("Any", words)))  # declared to be of one word
        late = self._loop.call_later(within_s, self.cut)
        try:
            return await answer
        finally:
            late.cancel()

    def cut(self) -> None:
        """Close the connection at once."""
        self.open = False
        if self._transport is not None:
            self._transport.abort()

    async def close(self) -> None:
        """Close the connection; returns when it is closed."""
        self.cut()
        await asyncio.wait([self._closed])

    # Called by the event loop

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take commands from now on."""
        # uvloop's transports do not derive from asyncio's.
        self._transport = cast("asyncio.Transport", transport)
        self.open = True

    def data_received(self, data: bytes) -> None:
        """Give every reply that is whole to who waits for it."""
        self._reader.feed(data)
        try:
            # False is no reply of RESP2: hiredis says by it that more bytes are needed.
            while self.open and (reply := self._reader.gets()) is not False:
                answer = self._waiting.popleft()
                if not answer.done():
                    answer.set_result(reply)
        except (hiredis.ProtocolError, IndexError):  # the latter: a reply that nobody asked for
            self.cut()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        """Nothing more is answered."""
        self.open = False
        for answer in self._waiting:
            if not answer.done():
                answer.set_exception(UnansweredError())
        self._waiting.clear()
        self._closed.set_result(None)
