"""The relay between a core and a world that is slow, full, broken or gone; nothing here waits for a clock."""

import asyncio
import base64
import json
import threading
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest
import uvloop

from gateway import nova_line, saving, session_keeper
from gateway.core.assessment import Assessment, MicroRequest
from gateway.core.conversation import ConversationSettings, State
from gateway.core.conversation.actions import CloseStream, Disconnect, OpenStream, Post, SendEvents, StoreProgress
from gateway.core.conversation.inputs import TookOver
from gateway.core.conversation.progress import open_session
from gateway.core.errors import (
    AccessRefused,
    PhoneGone,
    PhoneRefused,
    PhoneSlow,
    RemoteError,
    SaveFailed,
    ServiceUnavailable,
    StreamLost,
)
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


# --- A whole conversation -------------------------------------------------------------------------------------------


async def test_a_conversation_from_start_to_finish():
    """Admitted, opened, spoken, assessed, saved, told, parted; line and lease are given back."""
    async with holding() as held:
        stream = await held.talk()
        held.stop()
        await held.world.until(lambda: any(b"assess the part" in event for event in stream.sent))
        stream.ends()
        await held.world.until(lambda: held.relay.ended)
    assert [names for (names,) in held.world.of("ask_micro")] == ["assess_part"]
    [(learner, saved)] = held.world.of("save")
    assert (learner, saved.spoken_s) == (LEARNER, 40)
    assert [message["saved"] for message in held.world.posts("assessment")] == [True]
    assert held.world.posts("bye")
    assert held.world.of("disconnect") == [("a",)]
    assert [call[0] for call in held.world.calls[-2:]] == ["leave_line", "release_lease"]


async def test_a_locked_module_takes_no_line():
    """And none is given back."""
    async with holding() as held:
        held.world.unlocked = False
        held.say(START)
    assert [error["code"] for error in held.world.posts("error")] == ["module_locked"]
    assert not held.world.of("take_line")
    assert not held.world.of("leave_line")


@pytest.mark.parametrize("broken", ["module_unlocked", "take_line"])
@pytest.mark.parametrize("error", [ServiceUnavailable("away"), ValueError("quotes something")])
async def test_an_admission_that_fails_is_told(broken, error):
    """Whatever it fails with, nobody waits for it."""
    async with holding() as held:
        held.world.errors[broken] = error
        held.say(START)
    assert [message["code"] for message in held.world.posts("error")] == ["internal"]
    assert ("admission_failed", type(error).__name__) in held.world.of("failure")


# --- Posts ----------------------------------------------------------------------------------------------------------


async def test_what_is_done_on_a_connection_keeps_its_order():
    """A post that takes long holds up what follows on its own connection, and nothing on others."""
    async with holding() as held:
        relay, world = held.relay, held.world
        world.gates["post"] = asyncio.Event()
        for action in (Post("a", "1"), Post("a", "2"), Disconnect("a"), Post("a", "3"), Post("b", "4")):
            relay._doers[type(action)](action)
        await world.until(lambda: len(world.of("post")) == 2)
        assert [data for _, data in world.of("post")] == ["1", "4"]
        world.gates["post"].set()
        await world.until(lambda: len(world.of("post")) == 4)
        done = [call[1:] for call in world.calls if call[0] in ("post", "disconnect")]
        assert done == [("a", "1"), ("b", "4"), ("a", "2"), ("a",), ("a", "3")]
        for _ in range(5):
            await asyncio.sleep(0)
        assert not relay._phone.busy
        relay.deaf()


@pytest.mark.parametrize(
    ("error", "tries"),
    [
        (PhoneGone("gone"), 1),
        (PhoneSlow(retry_after_ms=0.0), 2),
        (PhoneRefused("too long"), 2),
        (AccessRefused("not allowed"), 2),
        (ServiceUnavailable("away"), 2),
        (OSError("quotes"), 2),
    ],
)
async def test_a_post_that_fails_is_settled(error, tries):
    """One that finds nobody ends the matter; after others the next message is tried, never the core left waiting."""
    async with holding(ack_every_ms=1.0) as held:
        await held.talk()
        before = len(held.world.of("post"))
        held.world.errors["post"] = error
        await held.world.until(lambda: len(held.world.of("post")) >= before + tries)
        assert held.relay.conversation.state is State.TALKING
        assert (held.relay.conversation._downlink.connection_id is None) is (tries == 1)
        held.relay.deaf()


async def test_a_post_that_cannot_even_begin_is_settled():
    """The core is told in a step of its own, and what follows on the connection is done."""
    async with holding(ack_every_ms=1.0) as held:
        await held.talk()
        before = len(held.world.of("post"))
        held.world.errors["post at once"] = OSError("quotes")
        await held.world.until(lambda: ("failure", "post_failed", "OSError") in held.world.calls)
        del held.world.errors["post at once"]
        await held.world.until(lambda: len(held.world.of("post")) > before)
        assert ("failure", "relay_broke", "RecursionError") not in held.world.calls
        held.relay.deaf()


async def test_posts_under_way_are_waited_for_at_the_end():
    """A relay that ends leaves no post behind that would speak to a closed client."""
    async with holding() as held:
        held.world.gates["post"] = asyncio.Event()
        held.relay._phone.do(Post("a", "1"))
        await held.world.until(lambda: held.world.of("post"))
        held.relay.deaf()
        await held.world.until(lambda: held.relay.ended)
        for _ in range(5):
            await asyncio.sleep(0)
        assert held.world.of("leave_line") == held.world.of("disconnect") == []
        assert held.relay._phone.busy
        held.world.gates["post"].set()


async def test_a_connection_that_floods_is_deleted_at_once():
    """Posts that hang on it hold nothing up, and Redis is told whom to refuse; without Redis only that is missing."""
    async with holding() as held:
        world = held.world
        await held.talk()
        world.gates["post"] = asyncio.Event()
        world.errors["refuse_starts"] = ServiceUnavailable("away")
        for _ in range(2_000):
            held.relay.phone_said("a", 1, held.said_ms, b"{}")
        await world.until(
            lambda: world.of("disconnect") and ("redis_unreachable", "ServiceUnavailable") in world.of("failure")
        )
        assert world.of("refuse_starts")[0] == (LEARNER, 60.0)
        assert held.relay.conversation.state is State.TALKING
        world.gates["post"].set()
        held.relay.deaf()


# --- Streams --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [StreamLost("stream_lost: away"), KeyError("an exception type nobody knows")])
async def test_a_stream_that_does_not_open_is_tried_again(error):
    """Whatever the SDK raises."""
    async with holding() as held:
        held.world.errors["open_stream"] = error
        held.say(START)
        await held.world.until(lambda: held.world.of("open_stream"))
        del held.world.errors["open_stream"]
        await held.world.until(lambda: held.world.posts("ready"))
        assert len(held.world.of("open_stream")) == 2
        held.relay.deaf()


@pytest.mark.parametrize("error", [None, StreamLost("stream_lost: away"), RuntimeError("quotes")])
async def test_a_stream_that_ends_is_followed_by_another(error):
    """In good order or not; it is closed, and its successor hears what comes."""
    async with holding() as held:
        stream = await held.talk()
        stream.ends(error)
        await held.world.until(lambda: len(held.world.streams) == 2)
        await stream.closed.wait()
        held.audio()
        await asyncio.sleep(0)
        assert held.relay.conversation.state is State.TALKING
        held.relay.deaf()


@pytest.mark.parametrize("error", [StreamLost("stream_lost: away"), RuntimeError("quotes")])
async def test_a_stream_that_cannot_be_sent_to_is_followed_by_another(error):
    """The next event that waits for room finds it out."""
    async with holding() as held:
        stream = await held.talk()
        stream.crowded, stream.send_error = True, error
        held.audio()
        await held.world.until(lambda: len(held.world.streams) == 2)
        held.relay.deaf()


async def test_of_a_broken_stream_the_receiver_tells():
    """It knows why; what could not be sent is heard by the next stream."""
    async with holding() as held:
        stream = await held.talk()
        stream.send_error = StreamLost("stream_lost: away")
        held.audio(2)
        assert len(held.world.streams) == 1
        stream.ends(StreamLost("stream_lost: reset"))
        await held.world.until(lambda: len(held.world.streams) == 2)
        successor = held.world.streams[1]
        await held.world.until(lambda: sum(b"audioInput" in event for event in successor.sent) == 2)
        held.relay.deaf()


async def test_events_keep_their_order_when_the_stream_is_crowded_for_a_while():
    """What waits goes before what could be sent at once."""
    async with holding() as held:
        stream = await held.talk()
        line, before = held.relay._lines[1], len(stream.sent)
        stream.crowded = True
        line.send((b"1", b"2"))
        stream.crowded = False
        line.send((b"3",))
        await held.world.until(lambda: len(stream.sent) == before + 3)
        line.send((b"4",))
        assert stream.sent[before:] == [b"1", b"2", b"3", b"4"]
        held.relay.deaf()


async def test_a_stream_that_takes_no_more_is_given_up(monkeypatch):
    """Its queue is full: it is lost once, closed, and followed; nothing waits without bound."""
    monkeypatch.setattr(nova_line, "_UNSENT_EVENTS", 64)
    async with holding(replay_ms=1_000.0) as held:
        stream = await held.talk()
        stream.blocked = True
        held.audio(100)
        await held.world.until(lambda: len(held.world.streams) == 2)
        await stream.closed.wait()
        lost = [fields for event, fields in held.world.of("record") if event == "stream_lost"]
        assert len(lost) == 1
        held.relay.deaf()


async def test_a_full_stream_can_be_closed(monkeypatch):
    """There is no room for the word that ends it."""
    monkeypatch.setattr(nova_line, "_UNSENT_EVENTS", 64)
    async with holding() as held:
        stream = await held.talk()
        stream.blocked = True
        await asyncio.sleep(0)
        line = held.relay._lines[1]
        while not line._outgoing.full():
            held.relay._doers[SendEvents](SendEvents(1, (b"{}",)))
            await asyncio.sleep(0)
        held.relay.deaf()


async def test_a_stream_that_is_closed_while_it_opens_leaves_nothing():
    """The test is stopped before Maya's line is open."""
    async with holding() as held:
        held.world.gates["open_stream"] = asyncio.Event()
        held.say(START)
        await held.world.until(lambda: held.world.of("open_stream"))
        held.stop()
        held.world.gates["open_stream"].set()
    assert not held.world.posts("ready")


async def test_what_a_stream_says_is_heard():
    """Events reach the core in their order; what cannot be read is passed over."""
    async with holding() as held:
        stream = await held.talk()
        stream._events.put_nowait(b"{")
        stream.says(textOutput={"contentId": "m", "content": "Hello.", "role": "ASSISTANT"})
        await held.world.until(lambda: len(held.world.posts("transcript")) == 2)
        held.relay.deaf()


async def test_what_a_stream_said_before_it_broke_is_heard():
    """Though both came at once: the last words first, then that it has ended."""
    async with holding() as held:
        stream = await held.talk()
        stream.says(textOutput={"contentId": "m", "content": "Hello.", "role": "ASSISTANT"})
        stream.ends(StreamLost("reset"))
        await held.world.until(lambda: len(held.world.streams) == 2)
        assert len(held.world.posts("transcript")) == 2
        held.relay.deaf()


async def test_a_long_utterance_is_played_to_a_successor_whole():
    """Two and a half minutes in the shortest frames, at once: as much as is ever kept."""
    assert ConversationSettings().replay_ms / 20.0 < nova_line._UNSENT_EVENTS - 64
    async with holding() as held:
        stream = await held.talk()
        short = base64.b64encode(bytes(640)).decode()
        for seq in range(held.seq, held.seq + 700):
            held.say({"type": "audio", "seq": seq, "t": seq * 20, "pcm": short})
        stream.ends()
        await held.world.until(lambda: len(held.world.streams) == 2)
        successor = held.world.streams[1]
        await held.world.until(lambda: len(successor.sent) >= 700)
        held.relay.deaf()


# --- Assessing and saving -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("errors", "saved", "outcome"),
    [
        ({"save": SaveFailed("away")}, False, "queued"),
        ({"save": TypeError("quotes something")}, False, "queued"),
        ({"ask_micro": ServiceUnavailable("away")}, True, "saved"),
        ({"ask_micro": KeyError("quotes")}, True, "saved"),
    ],
)
async def test_whatever_fails_at_the_end_the_phone_is_told(errors, saved, outcome):
    """Nothing waits for an answer that never comes."""
    async with holding() as held:
        stream = await held.talk()
        held.world.errors |= errors
        held.stop()
        await held.world.until(lambda: any(b"assess the part" in event for event in stream.sent))
        stream.ends()
    assert [message["saved"] for message in held.world.posts("assessment")] == [saved]
    assert ("assessment_settled", {"outcome": outcome}) in held.world.of("record")
    for name, error in errors.items():
        event = {"ask_micro": "micro"}.get(name, name)
        assert (f"{event}_failed", type(error).__name__) in held.world.of("failure")


@pytest.mark.parametrize("error", [ServiceUnavailable("away"), ValueError("quotes")])
async def test_what_nobody_takes_is_kept_and_the_phone_is_told(error, monkeypatch):
    """Progress holds the written assessment; line and lease are given back; the relay goes on trying, and succeeds."""
    monkeypatch.setattr(saving, "_FIRST_WAIT_S", 0.0)
    monkeypatch.setattr(saving, "_MOST_WAIT_S", 0.01)
    async with holding() as held:
        stream = await held.talk()
        held.world.errors |= {"save": SaveFailed("away"), "enqueue": error}
        held.stop()
        await held.world.until(lambda: any(b"assess the part" in event for event in stream.sent))
        stream.ends()
        await held.world.until(lambda: held.world.of("release_lease") and len(held.world.of("enqueue")) > 2)
        assert [message["saved"] for message in held.world.posts("assessment")] == [False]
        [[progress], *_] = held.world.of("store_progress")[::-1]
        assert (progress["state"], progress["unsaved"]["session_id"]) == ("ended", SESSION)
        assert held.world.of("leave_line")
        held.world.errors.clear()
    records = [fields["outcome"] for event, fields in held.world.of("record") if event == "assessment_settled"]
    assert records[0] == "lost"
    assert records[-1] in ("saved", "queued")  # whichever was asked first once they were back


async def test_a_relay_that_saved_nothing_fails(monkeypatch):
    """Its failure record then has the assessment saved from the session's progress."""
    monkeypatch.setattr(saving, "_LAST_TRY_BEFORE_END_S", 900.0)

    async def converse() -> None:
        async with holding() as held:
            stream = await held.talk()
            held.world.errors |= {"save": SaveFailed("away"), "enqueue": ServiceUnavailable("away")}
            held.stop()
            await held.world.until(lambda: any(b"assess the part" in event for event in stream.sent))
            stream.ends()

    with pytest.raises(SaveFailed):
        await converse()


async def test_a_relay_that_went_deaf_fails_if_there_are_notes():
    """Another relay may take the session up; if nobody comes back, the failure record has the notes saved."""

    async def converse() -> None:
        async with holding() as held:
            await held.talk()
            held.relay._doers[StoreProgress](StoreProgress({"state": "open", "notes": [{}]}))
            held.relay.deaf()

    with pytest.raises(ServiceUnavailable):
        await converse()


# --- Progress, line and lease ---------------------------------------------------------------------------------------


async def test_a_second_stream_is_counted_while_it_is_open():
    """A change of part takes the place of two conversations for a moment; Redis back again hears of the line at once."""
    async with holding() as held:
        await held.talk()
        assert not held.world.of("note_streams")
        held.relay._doers[OpenStream](OpenStream(99, (b"{}",)))
        await held.world.until(lambda: held.world.of("note_streams") == [(2,)])
        held.relay._doers[CloseStream](CloseStream(99))
        await held.world.until(lambda: held.world.of("note_streams") == [(2,), (1,)])
        held.relay.redis_is_back()
        await held.world.until(lambda: held.world.of("keep_line"))
        held.world.errors["note_streams"] = ServiceUnavailable("away")
        held.relay._doers[OpenStream](OpenStream(100, (b"{}",)))
        await held.world.until(lambda: ("redis_unreachable", "ServiceUnavailable") in held.world.of("failure"))
        held.relay.deaf()


async def test_progress_is_written_one_at_a_time_and_only_the_newest_waits():
    """Redis that takes long gets fewer writes, and the last is the newest."""
    async with holding() as held:
        world = held.world
        world.gates["store_progress"] = asyncio.Event()
        for number in range(5):
            held.relay._doers[StoreProgress](StoreProgress({"number": number}))
            await asyncio.sleep(0)
        assert len(world.of("store_progress")) == 1
        world.gates["store_progress"].set()
        await world.until(lambda: len(world.of("store_progress")) == 2)
        assert [progress["number"] for (progress,) in world.of("store_progress")] == [0, 4]
        held.relay.deaf()


@pytest.mark.parametrize("error", [ServiceUnavailable("away"), ValueError("quotes")])
async def test_progress_that_cannot_be_written_is_written_when_redis_is_back(error):
    """Whole, as it was last."""
    async with holding() as held:
        world = held.world
        held.relay.redis_is_back()
        world.errors["store_progress"] = error
        held.relay._doers[StoreProgress](StoreProgress({"number": 1}))
        await world.until(lambda: world.of("failure"))
        await asyncio.sleep(0)
        del world.errors["store_progress"]
        held.relay.redis_is_back()
        await world.until(lambda: len(world.of("store_progress")) == 2)
        assert world.of("store_progress")[-1] == ({"number": 1},)
        held.relay.deaf()


async def test_line_and_lease_are_kept(monkeypatch):
    """Both, again and again; a line that cannot be kept keeps the lease from nothing."""
    monkeypatch.setattr(session_keeper, "RENEW_EVERY_S", 0.0)
    async with holding() as held:
        await held.talk()
        held.world.errors["keep_line"] = ServiceUnavailable("another node")
        kept = len(held.world.of("keep_lease"))
        await held.world.until(lambda: len(held.world.of("keep_lease")) > kept + 5)
        held.world.errors["keep_lease"] = ValueError("quotes")
        failures = len(held.world.of("failure"))
        await held.world.until(lambda: len(held.world.of("failure")) > failures + 5)
        assert held.relay.conversation.state is State.TALKING
        held.relay.deaf()


async def test_a_lost_lease_ends_the_relay(monkeypatch):
    """Another one has the learner, the lease and the line: the phone hears nothing, nothing is written or given back."""
    monkeypatch.setattr(session_keeper, "RENEW_EVERY_S", 0.0)
    async with holding() as held:
        await held.talk()
        posts = len(held.world.of("post"))
        held.world.lease_kept = False
    assert len(held.world.of("post")) == posts
    for name in ("disconnect", "leave_line", "release_lease", "save"):
        assert not held.world.of(name), name


async def test_a_relay_that_stood_still_asks_before_it_does_anything(monkeypatch):
    """What came meanwhile waits; when another relay has the learner nothing of it is done: no post, no save."""
    async with holding() as held:
        await held.talk()
        posts = len(held.world.of("post"))
        held.world.lease_kept = False
        held.relay._keeper._sure_until_ms = 0.0
        held.stop()
        held.audio(3)
        assert len(held.relay._held) == 4
        held.relay.redis_is_back()
    assert len(held.world.of("post")) == posts
    assert not held.world.of("save")


async def test_a_relay_that_stood_still_and_has_its_lease_goes_on():
    """In the order in which things came."""
    async with holding() as held:
        stream = await held.talk()
        held.relay._keeper._sure_until_ms = 0.0
        sent = len(stream.sent)
        held.audio(3)
        held.stop()
        assert len(stream.sent) == sent
        held.relay.redis_is_back()
        await held.world.until(lambda: any(b"assess the part" in event for event in stream.sent))
        assert sum(b"audioInput" in event for event in stream.sent[sent:]) == 3
        stream.ends()
    assert held.world.of("save")


async def test_nothing_is_saved_by_a_relay_that_was_replaced():
    """It finds out when it asks before the save; the other one saves."""
    async with holding() as held:
        stream = await held.talk()
        held.stop()
        await held.world.until(lambda: any(b"assess the part" in event for event in stream.sent))
        held.world.lease_kept = False
        stream.ends()
    assert not held.world.of("save")
    assert not held.world.of("enqueue")
    assert not held.world.posts("assessment")


async def test_a_session_that_is_taken_up_keeps_its_line():
    """The lost relay's line is the learner's: it is renewed at once and given back at the end."""
    others = asyncio.all_tasks()
    async with holding() as first:
        await first.talk()
        first.audio(3)
        await first.world.until(lambda: first.world.of("store_progress"))
        first.relay.deaf()
    session = open_session(first.world.of("store_progress")[-1][0])
    assert session is not None
    second = Held(session=TookOver(session))
    running = asyncio.create_task(second.relay.run(900.0))
    await second.world.until(lambda: second.world.streams)
    assert not second.world.of("take_line")
    assert not second.world.of("module_unlocked")
    assert second.world.of("keep_line")
    [ready] = second.world.posts("ready")
    assert ready["session_id"] == SESSION
    second.relay._shut_down()
    second.world.streams[0].ends()
    second.relay.deaf()
    async with asyncio.timeout(WITHIN_S):
        await running
    assert asyncio.all_tasks() == others


async def test_a_deaf_relay_gives_its_lease_back():
    """So that one that hears can have it; once, and with no further progress."""
    async with holding() as held:
        await held.talk()
        held.relay.deaf()
        held.relay.redis_is_back()
    assert len(held.world.of("release_lease")) == 1
    assert not held.world.of("leave_line")
    assert not held.world.posts("bye")


async def test_another_session_releases_the_lease_at_once():
    """The relay of the other session need not wait until this one is assessed."""
    async with holding() as held:
        stream = await held.talk()
        held.say({**START, "session_id": SESSION.replace("1", "2")}, "b", 2)
        await held.world.until(lambda: held.world.of("release_lease"))
        assert not held.relay.ended
        stream.ends()
    assert len(held.world.of("release_lease")) == 1
    assert not held.world.of("leave_line")
    assert held.world.of("save")


# --- The end of Lambda's time ---------------------------------------------------------------------------------------


async def test_the_end_begins_a_minute_before_lambdas():
    """The learner is told, what was said is saved."""
    async with holding(hurry_s=0.0) as held:
        await held.talk()
        held.relay._shut_down()
    assert [bye["reason"] for bye in held.world.posts("bye")] == ["maintenance"]
    assert held.world.of("save")


async def test_a_relay_without_time_ends_at_once():
    """Nobody has begun yet."""
    async with holding(within_s=60.0) as held:
        pass
    assert held.world.of("release_lease")


# --- Faults of our own ----------------------------------------------------------------------------------------------


def break_core(held: Held, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    def broken(*_args: Any) -> None:
        raise ValueError("quotes something")

    monkeypatch.setattr(held.relay.conversation, name, broken)


async def test_a_fault_in_the_core_ends_the_conversation_in_order(monkeypatch):
    """Logged by its type; what was said is saved, and the phone is told an id to quote."""
    async with holding(finish_within_s=0.0) as held:
        await held.talk()
        monkeypatch.setattr(held.relay.conversation._phone.uplink, "receive", None)
        held.audio()
    assert ("relay_broke", "TypeError") in held.world.of("failure")
    assert [error["code"] for error in held.world.posts("error")] == ["internal"]
    assert held.world.of("save")


async def test_a_fault_at_a_timer_leaves_the_timer_wound(monkeypatch):
    """What rings once must ring again: nothing else happens in this conversation."""
    async with holding(finish_within_s=0.0, ack_every_ms=1.0) as held:
        await held.talk()
        monkeypatch.setattr(type(held.relay.conversation._invigilator), "follow", None)
    assert ("relay_broke", "TypeError") in held.world.of("failure")
    assert held.world.of("save")


@pytest.mark.parametrize("names", [("handle", "fail"), ("handle", "tick"), ("handle", "next_timer_ms")])
async def test_a_core_that_cannot_even_end_ends_the_relay_with_an_error(monkeypatch, names):
    """The invocation fails, so that its record leads to the notes in Redis; all that was open is closed."""
    others = asyncio.all_tasks()
    held = Held()
    running = asyncio.create_task(held.relay.run(900.0))
    await held.talk()
    for name in names:
        break_core(held, monkeypatch, name)
    held.audio()
    held.relay.broke(OSError("quotes"))
    async with asyncio.timeout(WITHIN_S):
        with pytest.raises((ValueError, OSError)):
            await running
    assert asyncio.all_tasks() == others
    assert held.world.streams[0].closed.is_set()
    assert held.world.of("release_lease")


async def test_a_task_that_fails_is_not_forgotten():
    """Whatever runs beside the conversation."""

    async def fails() -> None:
        raise RuntimeError("quotes something")

    async with holding() as held:
        held.relay.spawn(fails())
        held.say(START)
    assert ("relay_broke", "RuntimeError") in held.world.of("failure")


async def test_an_action_that_fails_does_not_hold_up_the_others(monkeypatch):
    """Those asked for in the same breath are done."""
    async with holding(finish_within_s=0.0) as held:
        monkeypatch.setattr(held.world, "record", None)
        held.say(START)
    assert held.world.posts("bye")
    assert held.world.of("release_lease")


# --- Time -----------------------------------------------------------------------------------------------------------


def test_a_timer_rings_once():
    """Also under uvloop, whose clock has whole milliseconds: none rings early and again and again until its time."""

    async def count() -> list[int]:
        counts = []
        for delay_ms in (1.25, 3.4, 7.999, 10.3):
            held = Held()
            due_ms: list[float] = [held.relay._now_ms() + delay_ms]
            rung = asyncio.Event()
            steps = 0

            def tick(now_ms: float, due_ms: list[float] = due_ms, rung: asyncio.Event = rung) -> None:
                nonlocal steps
                steps += 1
                if now_ms >= due_ms[0]:
                    due_ms.clear()
                    rung.set()

            held.relay.conversation.tick = tick  # type: ignore[method-assign]
            held.relay.conversation.next_timer_ms = lambda _now_ms, due_ms=due_ms: min(due_ms, default=None)  # type: ignore[method-assign,misc]
            held.relay._arm(held.relay._now_ms())
            await rung.wait()
            counts.append(steps)
        return counts

    for factory in (uvloop.new_event_loop, asyncio.new_event_loop):
        with asyncio.Runner(loop_factory=factory) as runner:
            assert runner.run(count()) == [1] * 4
