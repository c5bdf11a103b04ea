"""Bad lines: connections that lose and double messages, and break."""

import json
from typing import Any

from client_sim.network import Connection, ConnectionRefused, connector


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
