"""A phone without manners: it sends what a test likes, and keeps what comes."""

import asyncio
import base64
import contextlib
import itertools
import json
import uuid
from collections.abc import AsyncIterator
from typing import Any

from client_sim.network import Connection, ConnectionLost, connector
from tests.e2e.clouds import Cloud

_WITHIN_S = 20.0
_ASK_EVERY_S = 1.0
_FRAME = base64.b64encode(bytes(range(256)) * 12 + bytes(128)).decode()
"""100 ms at 16 kHz."""


class RawPhone:
    """One WebSocket; use it as ``async with RawPhone.connected(cloud, token) as phone``.

    Attributes:
        session_id: of the session that `start` begins.
        received: every message that came, in order.
        closed: the gateway has closed the connection.
    """

    def __init__(self, connection: Connection, session_id: str) -> None:
        self._connection = connection
        self.session_id = session_id
        self.received: list[dict[str, Any]] = []
        self.closed = False
        self._looked = 0
        self._seq = 0
        self._arrived: set[tuple[int, int]] = set()
        self._news = asyncio.Event()
        self._asking: asyncio.Task[None] | None = None

    @staticmethod
    @contextlib.asynccontextmanager
    async def connected(cloud: Cloud, token: str, *, session_id: str = "") -> AsyncIterator["RawPhone"]:
        """Open a connection, read it while the caller of this does something else, and close it."""
        connection = await connector()(cloud.state.websocket_url, token)
        phone = RawPhone(connection, session_id or str(uuid.uuid4()))
        reading = asyncio.create_task(phone._read())
        try:
            yield phone
        finally:
            tasks = [task for task in (reading, phone._asking) if task is not None]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await connection.close()

    async def send(self, type_: str, **fields: Any) -> None:
        """Send a message of maya.v1, right or wrong."""
        await self.send_text(json.dumps({"action": "stream", "type": type_, **fields}))

    async def send_text(self, text: str) -> None:
        """Send any text."""
        await self._connection.send(text)

    def start(self, **fields: Any) -> None:
        """Ask for a conversation, each second until `ready` or `error`."""
        self.insist("start", **{"session_id": self.session_id, "module": "academic_speaking", **fields})

    def resume(self) -> None:
        """Ask to come back to the conversation, each second until `ready` or `error`."""
        self.insist("resume", session_id=self.session_id, n=-1, seq=0)

    def insist(self, type_: str, **fields: Any) -> None:
        """Send a message each second until `ready` or `error`."""
        self.insist_on(json.dumps({"action": "stream", "type": type_, **fields}))

    def insist_on(self, text: str) -> None:
        """Send a text each second until `ready` or `error`: a function may fail, and its message is lost."""
        answers = self._answers()

        async def ask() -> None:
            while self._answers() == answers:
                await self.send_text(text)
                await asyncio.sleep(_ASK_EVERY_S)

        self._asking = asyncio.create_task(ask())

    async def begin(self, **fields: Any) -> dict[str, Any]:
        """Ask for a conversation and wait until Maya's line is open; returns `ready`."""
        self.start(**fields)
        return await self.next("ready")

    async def speak(self, frames: int = 1) -> None:
        """Send the next frames of 100 ms."""
        for _ in range(frames):
            await self.send("audio", seq=self._seq, t=self._seq * 100, pcm=_FRAME)
            self._seq += 1

    @property
    def spoken(self) -> int:
        """Number of the last frame that was sent."""
        return self._seq - 1

    async def next(self, *types: str, within_s: float = _WITHIN_S) -> dict[str, Any]:
        """The next message of these types after those that were looked at; others in between are passed over.

        Raises:
            AssertionError: there is none in time, or the connection is closed before.
        """
        try:
            async with asyncio.timeout(within_s):
                while True:
                    while self._looked < len(self.received):
                        self._looked += 1
                        message = self.received[self._looked - 1]
                        if message.get("type") in types:
                            return message
                    assert not self.closed, f"closed before any of {types}; {self._story()}"
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError:
            raise AssertionError(f"none of {types} within {within_s:g} s; {self._story()}") from None

    async def taken(self, seq: int) -> None:
        """Wait until the gateway has acknowledged a frame: the conversation goes on."""
        while (await self.next("ack"))["seq"] < seq:
            pass

    async def end(self) -> None:
        """Wait until the gateway has closed the connection."""
        async with asyncio.timeout(_WITHIN_S):
            while not self.closed:
                self._news.clear()
                await self._news.wait()

    def _story(self) -> str:
        """For a failing test: the kinds of the last messages, and every error in full."""
        kinds = [message.get("type") for message in self.received[-8:]]
        errors = [message for message in self.received if message.get("type") == "error"]
        return f"the last were {kinds}, the errors {errors}"

    def _answers(self) -> int:
        return sum(message.get("type") in ("ready", "error") for message in self.received)

    async def _read(self) -> None:
        try:
            while True:
                message = json.loads(await self._connection.receive())
                self.received.append(message)
                self._news.set()
                if "n" in message:
                    await self._acknowledge(message["epoch"], message["n"])
        except ConnectionLost:
            self.closed = True
            self._news.set()

    async def _acknowledge(self, epoch: int, number: int) -> None:
        self._arrived.add((epoch, number))
        through = next(count for count in itertools.count() if (epoch, count) not in self._arrived) - 1
        await self.send("ack", n=through, queue_ms=0)
