"""Bad lines: connections that lose, double and shuffle messages, and break in every way that connections break."""

import asyncio
import contextlib
import json
import os
import random
import socket
import struct
from typing import Any

from client_sim.network import Connection, ConnectionLost, ConnectionRefused, connector

_UNSEEN_S = 0.05
"""So long the far end has to read a piece of a frame before the reset comes, which may throw away what is unread."""

_OVERTAKEN_S = 0.4
_ABNORMAL = 1006


class BadLine:
    """Opens connections that do to messages what bad lines do, both ways, and can be broken.

    Args:
        copies: how often each message arrives.
        drop_every: the first sending of every so many-th message is lost; 0 for none. `bye`, which is sent once, is not.
        late_ms: each message is late by a random time up to this, so that they overtake each other.
    """

    def __init__(self, *, copies: int = 1, drop_every: int = 0, late_ms: float = 0.0) -> None:
        self.copies = copies
        self.late_ms = late_ms
        self.lost = 0
        self._away = False
        self._drop_every = drop_every
        self._seen: dict[str, set[Any]] = {"up": set(), "down": set()}
        self._open: _Link | None = None
        self._left: list[_Link] = []
        self._overtakes = False

    async def __call__(self, url: str, token: str) -> Connection:
        """Open a connection, as every `Connector` does."""
        if self._away:
            raise ConnectionRefused("no network")
        self._open = _Link(self, await connector()(url, token), overtaken=self._overtakes)
        self._left.append(self._open)
        self._overtakes = False
        return self._open

    def cut(self, *, for_good: bool = False) -> None:
        """Lose the connection without a farewell, as when the radio dies."""
        self._away = for_good
        if self._open is not None:
            self._open.abort()

    def come_back(self) -> None:
        """Have a network again."""
        self._away = False

    async def hang_up(self) -> None:
        """Close the connection with a handshake, as an app does that is put aside."""
        assert self._open is not None
        await self._open.close()

    async def reset_in_frame(self) -> None:
        """Send half of a WebSocket frame, then a TCP reset."""
        assert self._open is not None
        await self._open.reset_in_frame()

    def leave_open(self) -> None:
        """Let the phone lose the connection, and nobody else: its far end is never told."""
        assert self._open is not None
        self._open.forget()

    def change_networks(self) -> None:
        """Lose the connection; what the phone says on the next one is overtaken by what it says on the one after that."""
        self._overtakes = True
        self.cut()

    def tidy(self) -> None:
        """Close whatever was left open."""
        for link in self._left:
            link.abort()

    async def say(self, text: str) -> None:
        """Send something that the phone itself would never send."""
        assert self._open is not None
        await self._open.inner.send(text)

    def loses(self, direction: str, text: str) -> bool:
        """Whether this message is lost now: by turns, and never one that was lost before."""
        if not self._drop_every:
            return False
        document = json.loads(text)
        if document.get("type") == "bye":
            return False
        name = (document["epoch"], document["n"]) if {"epoch", "n"} <= document.keys() else text
        seen = self._seen[direction]
        if name in seen:
            return False
        seen.add(name)
        lost = len(seen) % self._drop_every == 0
        self.lost += lost
        return lost


class SlowLine(BadLine):
    """Delays every message, both ways and in order; can lose a connection in the middle of a message.

    Args:
        delay_ms: each way; may be changed at any time.
        break_at: the connection breaks when the first message of this type arrives, which is lost with it.
    """

    def __init__(self, *, delay_ms: float = 0.0, break_at: str = "") -> None:
        super().__init__()
        self.delay_ms = delay_ms
        self.broken_at = 0
        self._break_at = break_at

    async def __call__(self, url: str, token: str) -> Connection:
        """Open a connection."""
        return _SlowLink(self, await super().__call__(url, token))

    def breaks(self, text: str | bytes) -> bool:
        """Whether the connection breaks at this message: once."""
        if not self._break_at or json.loads(text).get("type") != self._break_at:
            return False
        self._break_at = ""
        self.broken_at += 1
        self.cut()
        return True


class _SlowLink:
    """One connection of a slow line: what is written now leaves later, and what has come is read later."""

    def __init__(self, line: SlowLine, inner: Connection) -> None:
        self._line = line
        self._inner = inner
        self._up: asyncio.Queue[tuple[float, str]] = asyncio.Queue()
        self._down: asyncio.Queue[tuple[float, str | bytes | ConnectionLost]] = asyncio.Queue()
        self._tasks = [asyncio.create_task(self._write()), asyncio.create_task(self._read())]

    async def send(self, text: str) -> None:
        self._up.put_nowait((self._due(), text))

    async def receive(self) -> str | bytes:
        due, text = await self._down.get()
        await self._until(due)
        if isinstance(text, ConnectionLost):
            raise text
        if self._line.breaks(text):
            raise ConnectionLost
        return text

    async def close(self) -> None:
        await self._inner.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _write(self) -> None:
        with contextlib.suppress(ConnectionLost):
            while True:
                due, text = await self._up.get()
                await self._until(due)
                await self._inner.send(text)

    async def _read(self) -> None:
        try:
            while True:
                text = await self._inner.receive()
                self._down.put_nowait((self._due(), text))
        except ConnectionLost as lost:
            self._down.put_nowait((0.0, lost))

    def _due(self) -> float:
        return asyncio.get_running_loop().time() + self._line.delay_ms / 1000

    async def _until(self, due: float) -> None:
        await asyncio.sleep(max(0.0, due - asyncio.get_running_loop().time()))


class _Link:
    """One connection of a bad line.

    Args:
        line: says what happens to messages.
        inner: the real connection.
        overtaken: the phone loses it after its first message, which is late.
    """

    def __init__(self, line: BadLine, inner: Connection, *, overtaken: bool) -> None:
        self.inner = inner
        self._line = line
        self._overtaken = overtaken
        self._gone: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._arrived: asyncio.Queue[str | bytes] = asyncio.Queue()
        self._tasks: set[asyncio.Task[None]] = set()
        self._spawn(self._read())

    async def send(self, text: str) -> None:
        if self._gone.done():
            raise ConnectionLost(self._gone.result())
        if self._line.loses("up", text):
            return
        if self._overtaken:
            self._spawn(self._send_late(text, _OVERTAKEN_S))
            self.forget(reading=False)
            return
        for _ in range(self._line.copies):
            if self._line.late_ms:
                self._spawn(self._send_late(text, self._late_s()))
            else:
                await self.inner.send(text)

    async def receive(self) -> str | bytes:
        if not self._arrived.empty():
            return self._arrived.get_nowait()
        arrival: asyncio.Future[str | bytes] = asyncio.ensure_future(self._arrived.get())
        try:
            waits: list[asyncio.Future[Any]] = [arrival, self._gone]
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            if arrival.done():
                return arrival.result()
            raise ConnectionLost(self._gone.result())
        finally:
            arrival.cancel()

    async def close(self) -> None:
        await self.inner.close()

    def forget(self, *, reading: bool = True) -> None:
        """Be gone for the phone; the real connection stays as it is, and nobody reads it."""
        if not self._gone.done():
            self._gone.set_result(_ABNORMAL)
        if reading:
            for task in self._tasks:
                task.cancel()

    def abort(self) -> None:
        """Drop the TCP connection."""
        self._transport.abort()

    async def reset_in_frame(self) -> None:
        """Send the first half of a frame, and a reset instead of the second."""
        payload = b'{"action":"stream","type":"ping","id":0,"at":0}'
        frame = bytes((0x81, 0x80 | len(payload))) + os.urandom(4) + payload
        self._transport.write(frame[: len(frame) // 2])
        await asyncio.sleep(_UNSEEN_S)
        with contextlib.suppress(OSError):
            line = self._transport.get_extra_info("socket")
            line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.abort()

    @property
    def _transport(self) -> Any:
        return self.inner._socket.transport  # type: ignore[attr-defined] # no app needs it, so it has no method

    def _late_s(self) -> float:
        return random.uniform(0, self._line.late_ms) / 1000

    async def _read(self) -> None:
        try:
            while True:
                text = await self.inner.receive()
                if self._line.loses("down", str(text)):
                    continue
                for _ in range(self._line.copies):
                    if self._line.late_ms:
                        asyncio.get_running_loop().call_later(self._late_s(), self._arrived.put_nowait, text)
                    else:
                        self._arrived.put_nowait(text)
        except ConnectionLost as lost:
            if not self._gone.done():
                self._gone.set_result(lost.code)

    async def _send_late(self, text: str, late_s: float) -> None:
        await asyncio.sleep(late_s)
        with contextlib.suppress(ConnectionLost):
            await self.inner.send(text)

    def _spawn(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
