"""Connections through a simulated line: the thin shell around `Path`.

A message that is sent is held back until the model says that it has arrived, and is then written to the real socket;
what the real socket brings is held back likewise. So the phone and the gateway each see the line, and nothing has to be
installed. The real line to the gateway comes on top.
"""

import asyncio
from collections import deque
from typing import Final
from urllib.parse import urlsplit

from client_sim.clock import Clock
from client_sim.network import Connection, ConnectionLost, ConnectionRefused, Connector
from client_sim.regions.lane import LaneProfile
from client_sim.regions.path import Path

SEND_BUFFER_BYTES: Final = 64 * 1024
"""Beyond what is under way on the line, so much may wait on either side; then whoever writes has to wait, as with a full socket."""
_UNLIMITED_BYTES: Final = 4 * 1024 * 1024
"""The largest window that systems give a connection of their own accord, where no link is the narrowest."""
_FRAMING_BYTES: Final = 8
"""A WebSocket header with its mask (RFC 6455, section 5.2)."""
_ENCRYPTION_BYTES: Final = 22
"""A TLS 1.3 record around it."""
_HALF_A_TICK_MS: Final = 0.5
"""Event loops wake on whole milliseconds: what is due within half of one is delivered, so that errors cancel out."""


class _Way:
    """Messages under way in one direction, in order."""

    def __init__(self, clock: Clock, lane: LaneProfile) -> None:
        self._clock = clock
        # Systems let the window grow until it holds what the line does.
        under_way = _UNLIMITED_BYTES if lane.kbit_s is None else lane.kbit_s * lane.delay_ms / 8
        self._room_bytes = SEND_BUFFER_BYTES + under_way
        self._waiting: deque[tuple[float, int, str | bytes | ConnectionLost]] = deque()
        self._news = asyncio.Event()
        self._bytes = 0
        self._lost: ConnectionLost | None = None

    @property
    def full(self) -> bool:
        return self._bytes >= self._room_bytes

    def put(self, at_ms: float, size_bytes: int, item: str | bytes | ConnectionLost) -> None:
        """Let something arrive at a time."""
        self._waiting.append((at_ms, size_bytes, item))
        self._bytes += size_bytes
        self._news.set()

    def lose(self, lost: ConnectionLost) -> None:
        """Nothing more arrives, not even what is under way."""
        self._lost = lost
        self._news.set()

    async def take(self) -> str | bytes:
        """The next message, when it has arrived. Raises `ConnectionLost`."""
        loop = asyncio.get_running_loop()
        while True:
            if self._lost is not None:
                raise self._lost
            wait_ms = self._waiting[0][0] - self._clock.now_ms() if self._waiting else None
            if wait_ms is not None and wait_ms <= _HALF_A_TICK_MS:
                break
            self._news.clear()
            timer = None
            if wait_ms is not None:
                timer = loop.call_later(self._clock.seconds(wait_ms - _HALF_A_TICK_MS), self._news.set)
            try:
                await self._news.wait()
            finally:
                if timer is not None:
                    timer.cancel()
        _, size_bytes, item = self._waiting.popleft()
        self._bytes -= size_bytes
        if isinstance(item, ConnectionLost):
            self._lost = item
            raise item
        return item


class _ShapedConnection:
    """A connection on a simulated line."""

    def __init__(self, inner: Connection, path: Path, clock: Clock, overhead_bytes: int) -> None:
        self._inner = inner
        self._path = path
        self._clock = clock
        self._overhead_bytes = overhead_bytes
        self._up = _Way(clock, path.region.up)
        self._down = _Way(clock, path.region.down)
        self._room_up = asyncio.Event()
        self._room_down = asyncio.Event()
        self._dropped = False
        self._tasks = [asyncio.create_task(work()) for work in (self._carry_up, self._carry_down, self._watch)]

    async def send(self, text: str) -> None:
        size_bytes = len(text) + self._overhead_bytes
        self._up.put(self._path.carry_up(size_bytes, self._clock.now_ms()), size_bytes, text)
        while self._up.full:
            self._room_up.clear()
            await self._room_up.wait()

    async def receive(self) -> str | bytes:
        try:
            text = await self._down.take()
        except ConnectionLost:
            if not self._dropped:
                self._stop()
            raise
        self._room_down.set()
        return text

    async def close(self) -> None:
        self._stop()
        await self._inner.close()

    def _stop(self) -> None:
        for task in self._tasks:
            task.cancel()

    async def _carry_up(self) -> None:
        try:
            while True:
                text = await self._up.take()
                self._room_up.set()
                await self._inner.send(str(text))
        except ConnectionLost:
            self._room_up.set()  # the reader learns it from the other side

    async def _carry_down(self) -> None:
        while True:
            try:
                item: str | bytes | ConnectionLost = await self._inner.receive()
            except ConnectionLost as lost:
                item = lost
            size_bytes = self._overhead_bytes + (0 if isinstance(item, ConnectionLost) else len(item))
            self._down.put(self._path.carry_down(size_bytes, self._clock.now_ms()), size_bytes, item)
            if isinstance(item, ConnectionLost):
                return
            while self._down.full:
                self._room_down.clear()
                await self._room_down.wait()

    async def _watch(self) -> None:
        """Lose the connection when the line drops; the gateway's end stays half open until there is a line again."""
        drop = self._path.drop(self._clock.now_ms())
        if drop is None:
            return
        await asyncio.sleep(self._clock.seconds(max(0.0, drop.from_ms - self._clock.now_ms())))
        self._dropped = True
        self._up.lose(ConnectionLost())
        self._down.lose(ConnectionLost())
        self._room_up.set()
        self._tasks[1].cancel()
        await asyncio.sleep(self._clock.seconds(max(0.0, drop.until_ms - self._clock.now_ms())))
        await self._inner.close()


def shaped(connect: Connector, path: Path, clock: Clock) -> Connector:
    """Connect through a simulated line.

    Args:
        connect: opens real connections.
        path: the line of one phone.
        clock: the one that `path` lives by.
    """

    async def connect_from_afar(url: str, token: str) -> Connection:
        now_ms = clock.now_ms()
        drop = path.drop(now_ms)
        if drop is not None and drop.from_ms <= now_ms:
            raise ConnectionRefused("unreachable: the simulated line is dead")
        encrypted = urlsplit(url).scheme == "wss"
        far_ms = path.connecting_ms(now_ms, encrypted=encrypted)
        # The last half round trip is the answer's way back.
        back_ms = path.round_trip_ms(now_ms) / 2
        await asyncio.sleep(clock.seconds(far_ms - back_ms))
        try:
            inner = await connect(url, token)
        finally:
            await asyncio.sleep(clock.seconds(back_ms))
        return _ShapedConnection(inner, path, clock, _FRAMING_BYTES + (_ENCRYPTION_BYTES if encrypted else 0))

    return connect_from_afar
