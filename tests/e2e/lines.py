"""Bad lines: connections that lose and double messages, and break."""

import asyncio
import contextlib
import json
from typing import Any

from client_sim.network import Connection, ConnectionLost, ConnectionRefused, connector


class BadLine:
    """Opens connections that do to messages what bad lines do, both ways, and can be cut.

    Args:
        copies: how often each message arrives.
        drop_every: the first sending of every so many-th message is lost; 0 for none. `bye`, which is sent once, is not.
    """

    def __init__(self, *, copies: int = 1, drop_every: int = 0) -> None:
        self.copies = copies
        self.lost = 0
        self._away = False
        self._drop_every = drop_every
        self._seen: dict[str, set[Any]] = {"up": set(), "down": set()}
        self._open: Connection | None = None

    async def __call__(self, url: str, token: str) -> Connection:
        """Open a connection, as every `Connector` does."""
        if self._away:
            raise ConnectionRefused("no network")
        self._open = await connector()(url, token)
        return _Link(self, self._open)

    def cut(self, *, for_good: bool = False) -> None:
        """Lose the connection without a farewell, as when the radio dies."""
        self._away = for_good
        if self._open is not None:
            self._open._socket.transport.abort()  # type: ignore[attr-defined] # no app needs it, so it has no method

    async def say(self, text: str) -> None:
        """Send something that the phone itself would never send."""
        assert self._open is not None
        await self._open.send(text)

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
    """One connection of a bad line."""

    def __init__(self, line: BadLine, inner: Connection) -> None:
        self._line = line
        self._inner = inner
        self._again: list[str | bytes] = []

    async def send(self, text: str) -> None:
        if not self._line.loses("up", text):
            for _ in range(self._line.copies):
                await self._inner.send(text)

    async def receive(self) -> str | bytes:
        if self._again:
            return self._again.pop()
        while True:
            text = await self._inner.receive()
            if not self._line.loses("down", str(text)):
                self._again = [text] * (self._line.copies - 1)
                return text

    async def close(self) -> None:
        await self._inner.close()
