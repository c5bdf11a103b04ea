"""One Nova Sonic stream as a relay holds it: its sender, its receiver, and what waits to be sent."""

import asyncio
import time
from collections.abc import Callable
from functools import partial
from typing import Final

from gateway.core.conversation.inputs import Input, StreamEnded, StreamOpened, StreamSaid
from gateway.core.errors import RemoteError
from gateway.core.nova_events import Fault, parse_event
from gateway.ports import NovaStream, Services

_UNSENT_EVENTS: Final = 8_192
"""Events that may wait for a stream; one that takes no more is lost.

A recovery plays up to 150 s of speech at once, which are 7,500 of the shortest frames.
"""


class NovaLine:
    """Opens a stream, sends and receives on it, and closes it, whatever happens to it.

    The core is told once that the stream has ended, unless it asked for that itself.

    Args:
        stream_id: the core's number for it.
        services: the world.
        feed: tells the core what happened at once, in order.
    """

    def __init__(self, stream_id: int, services: Services, feed: Callable[..., None]) -> None:
        self._stream_id = stream_id
        self._services = services
        self._feed = feed
        self._outgoing: asyncio.Queue[bytes | None] = asyncio.Queue(_UNSENT_EVENTS)
        self._task: asyncio.Task[None] | None = None
        self._stream: NovaStream | None = None
        self._opening = False
        self._sending = False
        self._over = False

    def send(self, events: tuple[bytes, ...]) -> None:
        """Send events after those before; a stream that takes no more is given up."""
        if self._over:
            return
        try:
            for event in events:
                if not self._sent_now(event):
                    self._outgoing.put_nowait(event)
        except RemoteError:
            pass  # the receiver learns of it, too, and says what it means
        except asyncio.QueueFull:
            self._over = True
            self._cut()
            # Not at once: the core is in the middle of asking for something.
            asyncio.get_running_loop().call_soon(self._feed, StreamEnded(self._stream_id, Fault.STREAM_LOST))

    def close(self) -> None:
        """Send what waits, then close; an opening that is not wanted any more is given up at once."""
        if self._over:
            return
        self._over = True
        if self._opening:
            self._cut()
            return
        try:
            self._outgoing.put_nowait(None)
        except asyncio.QueueFull:
            self._cut()

    async def run(self, opening: tuple[bytes, ...]) -> None:
        """Hold the stream from its first event to its end."""
        if self._over:
            return
        self._task = asyncio.current_task()
        self._opening = True
        try:
            stream = await self._services.open_stream(opening)
        except Exception as error:  # noqa: BLE001 - whatever it is, the core tries again
            self._ended(self._fault(error))
            return
        finally:
            self._opening = False
        receiver = asyncio.create_task(self._receive(stream))
        self._stream = stream
        try:
            self._feed(StreamOpened(self._stream_id, _lives_ms(stream)))
            while (event := await self._outgoing.get()) is not None:
                self._sending = True
                await stream.send(event)
                self._sending = False
        except Exception as error:  # noqa: BLE001 - as above
            self._ended(self._fault(error))
        finally:
            self._stream = None
            receiver.cancel()
            await asyncio.wait([receiver])
            await stream.close()

    def _sent_now(self, event: bytes) -> bool:
        """Send without waking the sender, which costs as much again, if nothing waits to be sent before."""
        if self._stream is None or self._sending or not self._outgoing.empty():
            return False
        return self._stream.send_now(event)

    async def _receive(self, stream: NovaStream) -> None:
        stream.listen(partial(self._heard, stream))
        try:
            while (payload := await stream.receive()) is not None:
                self._take(payload, stream)
            fault = Fault.STREAM_LOST
        except Exception as error:  # noqa: BLE001 - as above
            fault = self._fault(error)
        self._ended(fault)

    def _heard(self, stream: NovaStream) -> bool:
        """Take what has come without waking the receiver, which learns only of what ends the stream."""
        try:
            payload = stream.receive_now()
            if payload is not None:
                self._take(payload, stream)
        except Exception as error:  # noqa: BLE001 - as below: nothing of it may leave the receiver waiting
            self._fault(error)
            return False
        return True

    def _take(self, payload: bytes, stream: NovaStream) -> None:
        """Tell the core of an event and of all that came with it: what follows from them is worked out once."""
        said: list[Input] = []
        more: bytes | None = payload
        try:
            while more is not None:
                said.append(StreamSaid(self._stream_id, parse_event(more)))
                more = stream.receive_now()
        finally:
            self._feed(*said)

    def _fault(self, error: Exception) -> Fault:
        if isinstance(error, RemoteError):
            return self._services.fault_of(error)
        self._services.failure("stream_broke", error, {})
        return Fault.STREAM_LOST

    def _ended(self, fault: Fault) -> None:
        if not self._over:
            self._feed(StreamEnded(self._stream_id, fault))

    def _cut(self) -> None:
        if self._task is not None:
            self._task.cancel()


def _lives_ms(stream: NovaStream) -> float | None:
    ends_at_s = stream.credentials_expire_at_s
    return None if ends_at_s is None else (ends_at_s - time.time()) * 1000
