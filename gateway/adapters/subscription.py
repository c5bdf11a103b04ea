"""One subscription to a shard channel of Redis, on a connection of its own.

A frame of the learner comes ten times a second, and what the event loop hands over reaches its taker in the same step:
redis-py reads through asyncio's streams, so each message would wake a task, and its PubSub classes cost the double of
that. What is left is RESP2 (valkey.io/topics/protocol), whose replies hiredis parses.
"""

import asyncio
from collections.abc import Callable
from typing import Any, Final, cast

import hiredis

from gateway.adapters.redis_dial import authentication, dial, moved_to
from gateway.core.errors import AccessRefused, RemoteError, ServiceUnavailable
from gateway.settings import RedisSettings

_REFUSALS: Final = frozenset({"NOAUTH", "NOPERM", "WRONGPASS"})


class SlotMoved(ServiceUnavailable):
    """Another node has the slot.

    Attributes:
        host: of that node, empty for the same as before.
        port: of that node.
    """

    def __init__(self, host: str, port: int) -> None:
        super().__init__("Redis: the slot is on another node")
        self.host = host
        self.port = port


async def subscribe(
    settings: RedisSettings, address: tuple[str, int], channel: str, take: Callable[[bytes], None]
) -> "Subscription":
    """Subscribe; returns once Redis has confirmed it, so that nothing published afterwards is missed.

    Args:
        settings: who subscribes, and the time limits.
        address: host and port of the node.
        channel: a shard channel.
        take: gets each payload, none before `Subscription.flow`; it must not raise.

    Raises:
        SlotMoved: another node has the channel.
        ServiceUnavailable: Redis cannot be reached or does not confirm.
        AccessRefused: it refuses this user.
    """
    made = await dial(settings, address, lambda: Subscription(take))
    try:
        await made.confirm(settings, channel)
    except BaseException:
        await made.close()
        raise
    return made


class Subscription(asyncio.Protocol):
    """Made by `subscribe`. Ends by itself when the connection does, or when Redis takes the channel away.

    Attributes:
        ended: done when the connection is closed.
    """

    def __init__(self, take: Callable[[bytes], None]) -> None:
        loop = asyncio.get_running_loop()
        self.ended: asyncio.Future[None] = loop.create_future()
        self._confirmed: asyncio.Future[None] = loop.create_future()
        self._take = take
        self._early: list[bytes] | None = []
        self._reader = hiredis.Reader()
        self._transport: asyncio.Transport | None = None
        self._over = False

    async def confirm(self, settings: RedisSettings, channel: str) -> None:
        """Ask for the channel, and wait until Redis has confirmed it; raises as `subscribe` does."""
        # hiredis declares a command to be of one word.
        commands: list[Any] = [*authentication(settings), ("SSUBSCRIBE", channel)]
        assert self._transport is not None
        self._transport.write(b"".join(hiredis.pack_command(command) for command in commands))
        try:
            async with asyncio.timeout(settings.reply_timeout_s):
                await self._confirmed
        except TimeoutError:
            raise ServiceUnavailable("Redis: no confirmation of the subscription") from None

    def flow(self) -> None:
        """Let payloads come, first those that came with the confirmation."""
        early, self._early = self._early or [], None
        for payload in early:
            self._take(payload)
        if self._transport is not None and not self._over:
            self._transport.resume_reading()

    def cut(self) -> None:
        """Take nothing any more, and close the connection."""
        self._over = True
        if self._transport is not None:
            self._transport.abort()

    async def close(self) -> None:
        """Close the connection; returns when it is closed."""
        self.cut()
        await asyncio.wait([self.ended])

    # Called by the event loop

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Note what to write to."""
        # uvloop's transports do not derive from asyncio's.
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Take every reply that is whole."""
        reader = self._reader
        reader.feed(data)
        try:
            # False is no reply of RESP2: hiredis says by it that more bytes are needed.
            while not self._over and (reply := reader.gets()) is not False:
                if isinstance(reply, list) and reply[0] == b"smessage":
                    self._pass_on(reply[2])
                else:
                    self._note(reply)
        except hiredis.ProtocolError:
            self.cut()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        """Nothing more comes."""
        self._over = True
        self._refuse(ServiceUnavailable("Redis: the connection ended"))
        self.ended.set_result(None)

    def _pass_on(self, payload: bytes) -> None:
        if self._early is None:
            self._take(payload)
        else:
            self._early.append(payload)

    def _note(self, reply: object) -> None:
        if isinstance(reply, hiredis.ReplyError):
            self._refuse(_meaning(str(reply)))
        elif isinstance(reply, list) and reply[0] == b"ssubscribe":
            if not self._confirmed.done():
                self._confirmed.set_result(None)
                # Until somebody listens, the rest may wait with Redis, whose buffer is bounded.
                self._transport.pause_reading()  # type: ignore[union-attr]
        elif isinstance(reply, list) and reply[0] == b"sunsubscribe":
            # Nobody here asked for it: the slot has moved to another node (SERVICE.md L1).
            self.cut()

    def _refuse(self, why: RemoteError) -> None:
        if not self._confirmed.done():
            self._confirmed.set_exception(why)
            self._confirmed.exception()  # nobody may be waiting for it


def _meaning(reply: str) -> RemoteError:
    """Say what an error reply means. Its text may quote the command, so no more of it is told than what is known."""
    moved = moved_to(reply)
    if moved is not None:
        return SlotMoved(*moved)
    if reply.partition(" ")[0] in _REFUSALS:
        return AccessRefused("Redis refuses this user or this command")
    return ServiceUnavailable("Redis refuses to subscribe")
