"""Hostile clients over real sockets, each of one kind; every one has a token of its own and learns nothing from its failures.

A client that is thrown out comes back after a second, as long as it runs. All of them but the flood stay below the
gateway's limit of messages, so that it is not that limit which ends them.
"""

import asyncio
import contextlib
import itertools
import json
import random
import socket
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from typing import Any, ClassVar, Final
from urllib.parse import urlsplit

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus
from websockets.typing import Subprotocol

from tests.hostile import fuzz

_AGAIN_S: Final = 1.0
_FRAME: Final = "A" * 4_268
"""100 ms of silence at 16 kHz, whole samples."""

_SHORT_FRAME: Final = "A" * 856
"""20 ms: the most messages that sound can be cut into."""

_FRAGMENT_CHARS: Final = 30_000
"""API Gateway takes no WebSocket frame of more than 32 KB, and no message of more than 128."""

_MUTE: Final = 20
_SMALL_BUFFER_BYTES: Final = 4_096
_KEPT_BYTES: Final = 256


class Hostile:
    """A client that means harm.

    Args:
        url: of the gateway.
        token: of a learner of its own.
        session_id: for conversations that it begins.
        theirs: the session of another learner.
        seed: decides what is random.
        per_s: messages, of all but the flood.

    Attributes:
        seen: what became of it: messages sent, connections opened, closed and refused by code, messages received by type.
        received: the last messages that came, by type.
        began: whether a connection was ever open.
    """

    kind: ClassVar[str] = ""

    def __init__(
        self, url: str, token: str, *, session_id: str, theirs: str = "", seed: int = 0, per_s: float = 40.0
    ) -> None:
        self.seen: Counter[str] = Counter()
        self.received: dict[str, dict[str, Any]] = {}
        self.began = asyncio.Event()
        self._url = url
        self._token = token
        self._session_id = session_id
        self._theirs = theirs or session_id
        self._rng = random.Random(seed)
        self._pause_s = 1.0 / per_s

    async def run(self) -> None:
        """Do harm until cancelled."""
        while True:
            try:
                async with self._connected() as connection:
                    self.seen["connections"] += 1
                    self.began.set()
                    await self._attack(connection)
            except ConnectionClosed as closed:
                self.seen[f"closed {closed.rcvd.code if closed.rcvd else 1006}"] += 1
            except InvalidStatus as refused:
                self.seen[f"refused {refused.response.status_code}"] += 1
            except (InvalidHandshake, OSError, TimeoutError):
                self.seen["refused"] += 1
            await asyncio.sleep(_AGAIN_S)

    async def _attack(self, connection: ClientConnection) -> None:
        """Do harm by a connection until it is closed."""
        reading = asyncio.create_task(self._read(connection))
        try:
            for text in self._messages():
                await self._send(connection, text)
                await asyncio.sleep(self._pause_s)
        finally:
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)

    def _messages(self) -> Iterator[str]:
        """What is sent, one after the other."""
        raise NotImplementedError

    async def _send(self, connection: ClientConnection, text: str) -> None:
        self.seen["sent"] += 1
        if len(text) <= _FRAGMENT_CHARS:
            await connection.send(text)
        else:
            await connection.send([text[at : at + _FRAGMENT_CHARS] for at in range(0, len(text), _FRAGMENT_CHARS)])

    async def _read(self, connection: ClientConnection) -> None:
        with contextlib.suppress(ConnectionClosed):
            async for text in connection:
                message = json.loads(text)
                what = str(message.get("type", message.get("message")))
                if what == "error":
                    what = f"error {message['code']}"
                self.seen[what] += 1
                if len(text) < _KEPT_BYTES:
                    self.received[what] = message

    @contextlib.asynccontextmanager
    async def _connected(self, **options: Any) -> AsyncIterator[ClientConnection]:
        protocols = [Subprotocol("maya.v1"), Subprotocol(f"bearer.{self._token}")]
        connecting = connect(
            self._url,
            subprotocols=protocols,
            compression=None,
            ping_interval=None,
            close_timeout=0.2,
            proxy=None,
            **options,
        )
        async with connecting as connection:
            yield connection

    def _message(self, type_: str, **fields: Any) -> str:
        return json.dumps({"action": "stream", "type": type_, **fields})

    def _start(self) -> str:
        return self._message("start", session_id=self._session_id, module="academic_speaking")


class Flood(Hostile):
    """Begins a conversation and sends as fast as the line carries, for ever."""

    kind = "flood"

    async def _attack(self, connection: ClientConnection) -> None:
        reading = asyncio.create_task(self._read(connection))
        try:
            await self._send(connection, self._start())
            began_s, sent = time.monotonic(), self.seen["sent"]
            for number in itertools.count():
                await self._send(connection, self._message("audio", seq=number, t=number, pcm=_SHORT_FRAME))
                # The line takes what it is given; without this nothing else would run here.
                await asyncio.sleep(0)
                self.seen["per second"] = round((self.seen["sent"] - sent) / max(0.1, time.monotonic() - began_s))
        finally:
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)


class Giant(Hostile):
    """Sends messages of nearly 128 KB, and now and then one of more; fields and frames of sizes nobody has."""

    kind = "giant"

    def _messages(self) -> Iterator[str]:
        yield self._start()
        for number in itertools.count():
            yield self._message("audio", seq=number, t=number * 100, pcm="A" * 120_000)
            yield self._message("start", session_id=self._session_id, module="academic_speaking", client="x" * 100_000)
            yield self._message("audio", seq=number, t=0, pcm="A" * 24_000)
            if number % 20 == 19:
                yield self._message("audio", seq=0, t=0, pcm="A" * 140_000)


class Tiny(Hostile):
    """Sends frames of no sample and of one, and messages of a character."""

    kind = "tiny"

    def _messages(self) -> Iterator[str]:
        yield self._start()
        for number in itertools.count():
            yield self._message("audio", seq=number, t=0, pcm="")
            yield self._message("audio", seq=number, t=0, pcm="AAA=")
            yield self._rng.choice("{}0 \"['")


class SlowReader(Hostile):
    """Begins a conversation, says something all the time, and reads nothing of what Maya says."""

    kind = "slow reader"

    @contextlib.asynccontextmanager
    async def _connected(self, **options: Any) -> AsyncIterator[ClientConnection]:
        place = urlsplit(self._url)
        with socket.socket() as plain:
            plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _SMALL_BUFFER_BYTES)
            plain.setblocking(False)
            await asyncio.get_running_loop().sock_connect(plain, (place.hostname, place.port))
            async with super()._connected(sock=plain, max_queue=1, **options) as connection:
                yield connection

    async def _read(self, connection: ClientConnection) -> None:
        await connection.wait_closed()

    def _messages(self) -> Iterator[str]:
        yield self._start()
        for number in itertools.count():
            yield self._message("audio", seq=number, t=number * 100, pcm=_FRAME)
            for _ in range(3):
                yield self._message("ping", id=number, at=0)


class Mute(Hostile):
    """Opens many connections and never says a word."""

    kind = "mute"

    async def _attack(self, connection: ClientConnection) -> None:
        async with contextlib.AsyncExitStack() as stack:
            for _ in range(_MUTE - 1):
                await stack.enter_async_context(self._connected())
                self.seen["connections"] += 1
            await connection.wait_closed()


class Foreign(Hostile):
    """Asks for another learner's session again and again, and speaks as if it were there."""

    kind = "foreign session"

    def _messages(self) -> Iterator[str]:
        for number in itertools.count():
            yield self._message("resume", session_id=self._theirs, n=-1, seq=0)
            yield self._message("audio", seq=number, t=number * 100, pcm=_FRAME)
            yield self._message("ack", n=number, queue_ms=0)
            yield self._message("stop", seq=number)
            yield self._message("lag_choice", prompt_id="lag-1", choice="skip")


class Nested(Hostile):
    """Sends brackets within brackets, a thousand deep and as deep as a message holds."""

    kind = "nested"

    def _messages(self) -> Iterator[str]:
        yield self._start()
        for depth in itertools.cycle((1_000, 5_000, 11_000)):
            yield "[" * depth
            yield '{"action":"stream","type":"audio","seq":0,"t":0,"pcm":' + "[" * depth + "]" * depth + "}"
            yield '{"type":' * (depth // 8) + "1" + "}" * (depth // 8)


class Fuzz(Hostile):
    """Sends what nearly is of maya.v1, and what is nothing at all."""

    kind = "fuzz"

    def _messages(self) -> Iterator[str]:
        yield self._start()
        while True:
            yield fuzz.message(self._rng).encode(errors="replace").decode()


KINDS: Final[tuple[type[Hostile], ...]] = (Flood, Giant, Tiny, SlowReader, Mute, Foreign, Nested, Fuzz)
"""One of each."""
