"""A stage for one relay: services and streams that do what the test says, and the relay between them."""

import asyncio
import base64
import json
import threading
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

from gateway.core.assessment import Assessment, MicroRequest
from gateway.core.conversation import ConversationSettings
from gateway.core.conversation.inputs import TookOver
from gateway.core.errors import RemoteError
from gateway.core.exam import build_plan
from gateway.core.nova_events import Fault
from gateway.relay import Relay

LEARNER = "learner"
SESSION = "00000000-0000-4000-8000-000000000001"
START = {"type": "start", "session_id": SESSION, "module": "academic_speaking"}
FRAME = base64.b64encode(bytes(3_200)).decode()
WITHIN_S = 20.0
"""Nothing takes so long; a test that does hangs."""

QUICK = ConversationSettings(plan=build_plan("tiny"), part_with_ms=0.0)


class FakeStream:
    """A stream whose other end is the test."""

    def __init__(self, changed: asyncio.Event) -> None:
        self.sent: list[bytes] = []
        self._changed = changed
        self.closed = asyncio.Event()
        self.blocked = False
        self.crowded = False
        self.send_error: Exception | None = None
        self.credentials_expire_at_s: float | None = None
        self._events: asyncio.Queue[bytes | Exception | None] = asyncio.Queue()
        self._ended = False

    def send_now(self, event: bytes) -> bool:
        if self.blocked or self.crowded:
            return False
        if self.send_error is not None:
            raise self.send_error
        self.sent.append(event)
        self._changed.set()
        return True

    async def send(self, event: bytes) -> None:
        if self.blocked:
            await asyncio.Event().wait()
        if self.send_error is not None:
            raise self.send_error
        self.sent.append(event)
        self._changed.set()

    def listen(self, heard: Callable[[], bool]) -> None:
        """This one always wakes the receiver."""

    def receive_now(self) -> bytes | None:
        if self._ended or self._events.empty():
            return None
        return self._taken(self._events.get_nowait())

    async def receive(self) -> bytes | None:
        return None if self._ended else self._taken(await self._events.get())

    def _taken(self, event: bytes | Exception | None) -> bytes | None:
        self._ended = event is None
        if isinstance(event, Exception):
            raise event
        return event

    async def close(self) -> None:
        self.closed.set()

    def says(self, **event: Any) -> None:
        self._events.put_nowait(json.dumps({"event": event}).encode())

    def ends(self, error: Exception | None = None) -> None:
        self._events.put_nowait(error)


class World:
    """Services that do what the test says, and remember what they were asked for.

    Attributes:
        errors: raised by the call of this name.
        gates: the call of this name waits for its event; a call that runs in a thread for the thread's.
    """

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []
        self.errors: dict[str, Exception] = {}
        self.gates: dict[str, asyncio.Event] = {}
        self.streams: list[FakeStream] = []
        self.unlocked = True
        self.lease_kept = True
        self.changed = asyncio.Event()
        self.acknowledge: Callable[[int], None] = lambda _number: None
        self.loop = asyncio.get_running_loop()
        self.posting: set[asyncio.Task[None]] = set()

    def of(self, name: str) -> list[tuple[Any, ...]]:
        return [call[1:] for call in self.calls if call[0] == name]

    def posts(self, kind: str) -> list[dict[str, Any]]:
        return [message for _, data in self.of("post") if (message := json.loads(data))["type"] == kind]

    async def until(self, met: Callable[[], Any]) -> None:
        """Wait until something has come about."""
        async with asyncio.timeout(WITHIN_S):
            while not met():
                self.changed.clear()
                await self.changed.wait()

    def _note(self, *call: Any) -> None:
        self.calls.append(call)
        self.loop.call_soon_threadsafe(self.changed.set)

    async def _call(self, *call: Any) -> None:
        self._note(*call)
        name = call[0]
        if name in self.gates:
            await self.gates[name].wait()
        if name in self.errors:
            raise self.errors[name]

    def _block(self, *call: Any) -> None:
        assert threading.current_thread() is not threading.main_thread()
        self._note(*call)
        if call[0] in self.errors:
            raise self.errors[call[0]]

    # Services

    async def open_stream(self, events: tuple[bytes, ...]) -> FakeStream:
        await self._call("open_stream", len(events))
        self.streams.append(FakeStream(self.changed))
        return self.streams[-1]

    def fault_of(self, error: RemoteError) -> Fault:
        return Fault.STREAM_LOST

    def post(self, connection_id: str, data: str, settled: Callable[[Exception | None], None]) -> None:
        async def go() -> None:
            error = None
            try:
                await self._call("post", connection_id, data)
            except Exception as raised:  # noqa: BLE001 - it is handed on
                error = raised
            number = json.loads(data).get("n") if data.startswith("{") else None
            if error is None and number is not None:
                self.loop.call_soon(self.acknowledge, number)
            settled(error)

        if "post at once" in self.errors:
            raise self.errors["post at once"]
        task = self.loop.create_task(go())
        self.posting.add(task)
        task.add_done_callback(self.posting.discard)

    async def disconnect(self, connection_id: str) -> None:
        await self._call("disconnect", connection_id)

    def module_unlocked(self, learner: str, module: str) -> bool:
        self._block("module_unlocked", learner, module)
        return self.unlocked

    async def take_line(self, learner: str) -> float | None:
        await self._call("take_line", learner)
        return None

    async def keep_line(self, learner: str) -> None:
        await self._call("keep_line", learner)

    async def note_streams(self, learner: str, streams: int) -> None:
        await self._call("note_streams", streams)

    async def leave_line(self, learner: str) -> None:
        await self._call("leave_line", learner)

    async def keep_lease(self, learner: str) -> bool:
        await self._call("keep_lease", learner)
        return self.lease_kept

    async def release_lease(self, learner: str) -> None:
        await self._call("release_lease", learner)

    async def refuse_starts(self, learner: str, for_s: float) -> None:
        await self._call("refuse_starts", learner, for_s)

    async def store_progress(self, learner: str, progress: Mapping[str, Any]) -> None:
        await self._call("store_progress", progress)

    def ask_micro(self, request: MicroRequest) -> Mapping[str, Any]:
        self._block("ask_micro", request.tool.name)
        return {}

    def save(self, learner: str, assessment: Assessment) -> None:
        self._block("save", learner, assessment)

    def enqueue(self, learner: str, assessment: Assessment) -> None:
        self._block("enqueue", learner, assessment)

    def record(self, event: str, fields: Mapping[str, str | float]) -> None:
        self._note("record", event, dict(fields))

    def failure(self, event: str, error: BaseException, fields: Mapping[str, str | float]) -> None:
        self._note("failure", event, type(error).__name__)


class Held:
    """A relay at work."""

    def __init__(self, *, session: TookOver | None = None, **changes: Any) -> None:
        self.world = World()
        self.relay = Relay(LEARNER, self.world, replace(QUICK, **changes), epoch=7, session=session)
        self.seq = self.said_ms = 0
        self.world.acknowledge = lambda number: self.say({"type": "ack", "n": number, "queue_ms": 0})

    def say(self, message: Mapping[str, Any], connection: str = "a", opened: int = 1) -> None:
        self.said_ms += 100
        self.relay.phone_said(connection, opened, self.said_ms, json.dumps({"action": "stream", **message}).encode())

    def audio(self, count: int = 1) -> None:
        for _ in range(count):
            self.say({"type": "audio", "seq": self.seq, "t": self.seq * 100, "pcm": FRAME})
            self.seq += 1

    async def talk(self) -> FakeStream:
        """Begin, and let the learner say something; returns the stream."""
        self.say(START)
        await self.world.until(lambda: self.world.posts("ready"))
        self.audio(3)
        stream = self.world.streams[0]
        stream.says(userSpeechStart={"inputAudioOffsetMs": 0})
        stream.says(userSpeechEnd={"inputAudioOffsetMs": 40_000, "inputAudioDetectionOffsetMs": 40_400})
        stream.says(textOutput={"contentId": "u", "content": "words", "role": "USER"})
        await self.world.until(lambda: self.world.posts("transcript"))
        return stream

    def stop(self) -> None:
        self.say({"type": "stop", "seq": self.seq - 1})


@asynccontextmanager
async def holding(within_s: float = 900.0, **changes: Any) -> AsyncIterator[Held]:
    """A relay that runs; at the end it must have ended, with nothing left of it."""
    others = asyncio.all_tasks()
    held = Held(**changes)
    running = asyncio.create_task(held.relay.run(within_s))
    try:
        yield held
        async with asyncio.timeout(WITHIN_S):
            await running
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    assert held.relay.ended
    assert asyncio.all_tasks() == others
    assert all(stream.closed.is_set() for stream in held.world.streams)
    assert held.relay._timer is None or held.relay._timer.cancelled()
