"""The few Redis commands that the handlers need, over one socket for each node.

redis-py is not used here: importing any of it imports its asyncio half and asyncio, 0.4 s of CPU on each cold start,
where this module with hiredis takes a fiftieth of that; and a pipeline of two commands costs it several times the
work. What remains is RESP2 (valkey.io/topics/protocol): arrays of bulk strings out, replies parsed by hiredis, the redirections
of a cluster (valkey.io/topics/cluster-spec), and one new connection when the old one turns out to be broken, which is usual in
an execution environment that was frozen.

A pipeline concerns one learner, whose channel and keys have one hash slot. Not for threads.
"""

import socket
import time
from binascii import crc_hqx
from typing import Any, Final

from hiredis import ProtocolError, Reader, ReplyError

from gateway.core.errors import AccessRefused, ServiceUnavailable
from gateway.settings import RedisSettings

_SLOTS: Final = 16_384
_MOST_HOPS: Final = 5
_MOST_CONNECTIONS: Final = 64
_RECEIVE_BYTES: Final = 4_096
"""Replies are short, and each read makes a buffer of this size."""

_MOST_S: Final = 4.5
"""All tries of one pipeline end within this; the functions that use it have 5 s."""

_MOST_REPLY_S: Final = 2.0
"""The longest wait for replies, so that there is time for a second try."""

_PASSING: Final = frozenset({"LOADING", "CLUSTERDOWN", "MASTERDOWN", "READONLY", "TRYAGAIN"})
_REFUSALS: Final = frozenset({"NOAUTH", "NOPERM", "WRONGPASS"})


class RedisUnavailable(ServiceUnavailable):
    """Redis does not answer, or cannot serve now."""

    code = "redis_unavailable"


class _Broken(Exception):  # noqa: N818 - said of a connection
    """This connection is of no more use; another may be."""


class _Redirected(Exception):  # noqa: N818 - an answer, no fault
    """Another node has the slot: for good (MOVED), or for this one pipeline (ASK)."""

    def __init__(self, reply: str) -> None:
        super().__init__()
        kind, _, address = reply.split(" ")[:3]
        self.host, _, port = address.rpartition(":")
        self.port = int(port)
        self.asking = kind == "ASK"


type _Address = tuple[str, int]


def command(*words: bytes) -> bytes:
    """Return a command as RESP sends it."""
    return b"*%d\r\n" % len(words) + b"".join([b"$%d\r\n%b\r\n" % (len(word), word) for word in words])


_ASKING: Final = command(b"ASKING")


class RedisWire:
    """A client that sends a pipeline and waits for its replies.

    All methods raise `RedisUnavailable` when Redis could not be reached or could not serve, also on a second try, and
    `AccessRefused` for user, password or access rules.

    Args:
        settings: where Redis is; nothing is connected before the first call.
    """

    def __init__(self, settings: RedisSettings) -> None:
        self._settings = settings
        self._home: _Address = (settings.host, settings.port)
        self._reply_s = min(settings.reply_timeout_s, _MOST_REPLY_S)
        self._connections: dict[_Address, _Connection] = {}
        self._moved: dict[int, _Address] = {}

    def publish_and_get(self, tag: bytes, channel: bytes, payload: bytes, key: bytes) -> bytes | None:
        """Publish on a shard channel and read a key, in one round trip; return the key's value, None if there is none.

        Args:
            tag: the hash tag of channel and key.
            channel: where to publish.
            payload: what to publish.
            key: what to read.
        """
        publish = b"*3\r\n$8\r\nSPUBLISH\r\n$%d\r\n%b\r\n$%d\r\n%b\r\n"
        value = self._ask(
            tag,
            publish % (len(channel), channel, len(payload), payload),
            b"*2\r\n$3\r\nGET\r\n$%d\r\n%b\r\n" % (len(key), key),
        )[1]
        return value if isinstance(value, bytes) else None

    def publish(self, tag: bytes, channel: bytes, payload: bytes) -> None:
        """Publish on a shard channel."""
        self._ask(tag, command(b"SPUBLISH", channel, payload))

    def get(self, tag: bytes, key: bytes) -> bytes | None:
        """Return a key's value, None if there is none."""
        value = self._ask(tag, command(b"GET", key))[0]
        return value if isinstance(value, bytes) else None

    def set_if_absent(self, tag: bytes, key: bytes, value: bytes, *, expire_s: int) -> bool:
        """Set a key that expires, unless it is there; return whether it was set."""
        return self._ask(tag, command(b"SET", key, value, b"NX", b"EX", b"%d" % expire_s))[0] is not None

    def count_and_get(self, tag: bytes, counter: bytes, key: bytes, *, expire_s: int) -> tuple[int, bytes | None]:
        """Count one more on a counter that expires after its first count, and read a key, in one round trip.

        Returns:
            What the counter says now, and the key's value, None if there is none.
        """
        count, _, value = self._ask(
            tag,
            command(b"INCR", counter),
            # Only where it has no expiry yet: else a counter that is used often would never end.
            command(b"EXPIRE", counter, b"%d" % expire_s, b"NX"),
            command(b"GET", key),
        )
        return int(count), value if isinstance(value, bytes) else None

    def set(self, tag: bytes, key: bytes, value: bytes, *, expire_s: int) -> None:
        """Set a key that expires."""
        self._ask(tag, command(b"SET", key, value, b"EX", b"%d" % expire_s))

    def close(self) -> None:
        """Close all connections and forget where slots have moved to; a later call begins anew."""
        for connection in self._connections.values():
            connection.close()
        self._connections.clear()
        self._moved.clear()

    def _ask(self, tag: bytes, *commands: bytes) -> list[Any]:
        # Redis's hash slot is CRC-16/XMODEM: what binascii calls CRC-CCITT, with 0 to begin with.
        slot = crc_hqx(tag, 0) % _SLOTS
        address = self._moved.get(slot, self._home)
        deadline_s = time.monotonic() + _MOST_S
        asking = broken = False
        for _ in range(_MOST_HOPS):
            try:
                connection = self._connections.get(address) or self._connect(address, deadline_s)
                return connection.exchange(commands, asking=asking)
            except _Redirected as redirection:
                address = (redirection.host or address[0], redirection.port)
                asking = redirection.asking
                if not asking:
                    self._moved[slot] = address
            except _Broken:
                self.close()
                if broken:
                    break
                address, asking, broken = self._home, False, True
        raise RedisUnavailable("Redis does not answer")

    def _connect(self, address: _Address, deadline_s: float) -> "_Connection":
        within_s = min(self._settings.connect_timeout_s, deadline_s - time.monotonic() - self._reply_s)
        if within_s <= 0:
            raise _Broken
        if len(self._connections) >= _MOST_CONNECTIONS:
            self.close()
        connection = _Connection(self._settings, address, connect_s=within_s, reply_s=self._reply_s)
        self._connections[address] = connection
        return connection


class _Connection:
    """A connection to one node, ready for commands."""

    def __init__(self, settings: RedisSettings, address: _Address, *, connect_s: float, reply_s: float) -> None:
        try:
            plain = socket.create_connection(address, timeout=connect_s)
            plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._socket = _secured(plain, settings, address[0]) if settings.tls else plain
        except OSError:
            raise _Broken from None
        self._socket.settimeout(reply_s)
        self._reader = Reader()
        try:
            if settings.password:
                user = [settings.username.encode()] if settings.username else []
                self.exchange((command(b"AUTH", *user, settings.password.encode()),))
            if settings.database:
                self.exchange((command(b"SELECT", b"%d" % settings.database),))
        except BaseException:
            self.close()
            raise

    def exchange(self, commands: tuple[bytes, ...], *, asking: bool = False) -> list[Any]:
        """Send commands and return their replies.

        Raises:
            _Broken: this connection must be given up.
            _Redirected: the commands belong to another node.
            RemoteError: Redis refuses them.
        """
        try:
            if asking:
                self._socket.sendall(_ASKING + _ASKING.join(commands))
                replies = self._receive(2 * len(commands))[1::2]
            else:
                self._socket.sendall(b"".join(commands))
                replies = self._receive(len(commands))
        except (OSError, ProtocolError):
            raise _Broken from None
        for reply in replies:
            if isinstance(reply, ReplyError):
                raise _meaning(reply)
        return replies

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    def _receive(self, count: int) -> list[Any]:
        replies: list[Any] = []
        reader, receive = self._reader, self._socket.recv
        while True:
            data = receive(_RECEIVE_BYTES)
            if not data:
                raise _Broken
            reader.feed(data)
            # False is no reply of RESP2: hiredis says by it that more bytes are needed.
            while (reply := reader.gets()) is not False:
                replies.append(reply)
            if len(replies) >= count:
                return replies


def _secured(plain: socket.socket, settings: RedisSettings, host: str) -> socket.socket:
    # Imported here: it takes as long as the rest of this module, and one Redis in a private network has no TLS.
    import ssl  # noqa: PLC0415

    try:
        context = ssl.create_default_context(cafile=settings.ca_file or None)
        return context.wrap_socket(plain, server_hostname=host)
    except BaseException:
        plain.close()
        raise


def _meaning(reply: ReplyError) -> Exception:
    """Return what an error reply means. Its text may quote the command, so no more than its first word is looked at."""
    text = str(reply)
    word = text.partition(" ")[0]
    if word in ("MOVED", "ASK"):
        return _Redirected(text)
    if word in _PASSING:
        return _Broken()
    if word in _REFUSALS:
        return AccessRefused("Redis refuses this user or this command")
    return RedisUnavailable("Redis refuses the command")
