"""The relay: one conversation's core joined to the world, in one asyncio event loop.

Everything that happens is told to the core at once, on the loop, and what the core asks for is done at once or handed
to a task; there is no queue between. Calls that block (boto3) run in threads.
"""

import asyncio
import random
import time
import uuid
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from typing import Any, Final, Protocol

from gateway.core.assessment import Assessment, MicroRequest
from gateway.core.conversation import Conversation, ConversationSettings, State
from gateway.core.conversation.actions import (
    Action,
    Admit,
    AskMicro,
    CloseStream,
    Disconnect,
    Finish,
    OpenStream,
    Post,
    Record,
    ReleaseLease,
    Save,
    SendEvents,
    StoreProgress,
)
from gateway.core.conversation.inputs import (
    Admission,
    AdmissionSettled,
    Input,
    MicroAnswered,
    PhoneLeft,
    PhoneSaid,
    PostOutcome,
    PostSettled,
    SaveOutcome,
    SaveSettled,
    ShutdownAsked,
    StreamEnded,
    StreamOpened,
    StreamSaid,
)
from gateway.core.errors import MayaError, PhoneGone, PhoneSlow, RemoteError
from gateway.core.nova_events import Fault, parse_event

_UNSENT_EVENTS: Final = 2_048
"""Events that may wait for a stream; one that takes no more is lost (two minutes of 100 ms frames)."""

_RENEW_LEASE_S: Final = 2.0
_SHUTDOWN_BEFORE_END_S: Final = 60.0


class NovaStream(Protocol):
    """An open stream of Nova Sonic."""

    def send_now(self, event: bytes) -> bool:
        """Send an event if that needs no waiting; return whether it was sent; raises `RemoteError`."""

    async def send(self, event: bytes) -> None:
        """Send an event, after waiting for room; raises `RemoteError`."""

    async def receive(self) -> bytes | None:
        """Return the next event, None at the stream's end; raises `RemoteError`."""

    async def close(self) -> None:
        """Close it, within its time limit."""


class Services(Protocol):
    """What a relay needs of the world. Blocking calls are those that are not coroutines."""

    async def open_stream(self, events: tuple[bytes, ...]) -> NovaStream:
        """Open a stream with its first events; raises `RemoteError`."""

    def fault_of(self, error: RemoteError) -> Fault:
        """Say what a stream's error means."""

    async def post(self, connection_id: str, data: str) -> None:
        """Post to the phone; raises `PhoneGone`, `PhoneSlow` or another `RemoteError`."""

    async def disconnect(self, connection_id: str) -> None:
        """Close the phone's connection; one that is gone is no error."""

    def module_unlocked(self, learner: str, module: str) -> bool:
        """Whether the learner may take the module; raises `RemoteError`."""

    async def take_line(self, learner: str) -> float | None:
        """Take a Maya line; return None, or after how many seconds to try again."""

    async def keep_line(self, learner: str) -> None:
        """Renew the line's lease."""

    async def leave_line(self, learner: str) -> None:
        """Give the line back."""

    async def keep_lease(self, learner: str) -> bool:
        """Renew the learner's lease; False when another relay has it."""

    async def release_lease(self, learner: str) -> None:
        """Give the learner's lease back and stop listening."""

    async def store_progress(self, learner: str, progress: Mapping[str, Any]) -> None:
        """Write the session's progress, whole."""

    def ask_micro(self, request: MicroRequest) -> Mapping[str, Any]:
        """Ask Nova Micro; raises `RemoteError`."""

    def save(self, learner: str, assessment: Assessment) -> None:
        """Save the assessment; raises `RemoteError`."""

    def enqueue(self, learner: str, assessment: Assessment) -> None:
        """Queue the assessment to be saved later; raises `RemoteError`."""

    def record(self, event: str, fields: Mapping[str, str | float]) -> None:
        """Log an event."""


class _Line:
    """One stream as the relay holds it: its sender, its receiver, and what waits to be sent."""

    def __init__(self, relay: "Relay", stream_id: int, opening: tuple[bytes, ...]) -> None:
        self._relay = relay
        self._stream_id = stream_id
        self._opening = opening
        self._outgoing: asyncio.Queue[bytes | None] = asyncio.Queue(_UNSENT_EVENTS)
        self._open: NovaStream | None = None
        self._sending = False
        self._task = relay.spawn(self._run())
        self._closing = False

    def send(self, events: tuple[bytes, ...]) -> None:
        """Send events after those before; a stream that takes no more is given up."""
        if self._closing:
            return
        try:
            for event in events:
                if not self._sent_now(event):
                    self._outgoing.put_nowait(event)
        except RemoteError:
            pass  # the receiver learns of it too, and says what it means
        except asyncio.QueueFull:
            self._task.cancel()
            self._relay.feed(StreamEnded(self._stream_id, Fault.STREAM_LOST))

    def close(self) -> None:
        """Send what waits, then close."""
        if not self._closing:
            self._closing = True
            try:
                self._outgoing.put_nowait(None)
            except asyncio.QueueFull:
                self._task.cancel()

    def _sent_now(self, event: bytes) -> bool:
        """Send without waking the sender, which costs as much again, if nothing waits to be sent before."""
        idle = self._open is not None and not self._sending and self._outgoing.empty()
        return idle and self._open is not None and self._open.send_now(event)

    async def _run(self) -> None:
        relay = self._relay
        try:
            stream = await relay.services.open_stream(self._opening)
        except RemoteError as error:
            self._ended(relay.services.fault_of(error))
            return
        receiver = asyncio.create_task(self._receive(stream))
        self._open = stream
        try:
            relay.feed(StreamOpened(self._stream_id))
            await self._send(stream)
        except RemoteError as error:
            self._ended(relay.services.fault_of(error))
        finally:
            await stream.close()
            receiver.cancel()
            await asyncio.gather(receiver, return_exceptions=True)

    async def _send(self, stream: NovaStream) -> None:
        while (event := await self._outgoing.get()) is not None:
            self._sending = True
            await stream.send(event)
            self._sending = False

    async def _receive(self, stream: NovaStream) -> None:
        try:
            while (payload := await stream.receive()) is not None:
                self._relay.feed(StreamSaid(self._stream_id, parse_event(payload)))
            fault = Fault.STREAM_LOST
        except RemoteError as error:
            fault = self._relay.services.fault_of(error)
        self._ended(fault)

    def _ended(self, fault: Fault) -> None:
        if not self._closing:
            self._relay.feed(StreamEnded(self._stream_id, fault))


class Relay:
    """Holds one learner's conversation from the first message to `Finish`.

    Args:
        learner: whose conversation it is.
        services: the world.
        settings: the conversation's numbers.
        epoch: of this relay.
        ended: the assessment of the learner's last session, for a phone that comes back for it.
    """

    def __init__(
        self,
        learner: str,
        services: Services,
        settings: ConversationSettings,
        *,
        epoch: int,
        ended: Assessment | None = None,
    ) -> None:
        self.services = services
        self._learner = learner
        self._loop = asyncio.get_running_loop()
        now_ms = self._now_ms()
        self.conversation = Conversation(
            settings,
            epoch=epoch,
            support_code=uuid.uuid4().hex[:12],
            new_prompt_name=lambda: str(uuid.uuid4()),
            jitter=random.random,
            wall_offset_ms=time.time() * 1000 - now_ms,
            now_ms=now_ms,
            ended=ended,
        )
        self._lines: dict[int, _Line] = {}
        self._lanes: dict[str, asyncio.Task[None]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at_ms = 0.0
        self._finished = asyncio.Event()
        self._progress: Mapping[str, Any] | None = None
        self._last_progress: Mapping[str, Any] | None = None
        self._has_line = False
        self._has_lease = True
        self._doers: dict[type[Any], Callable[[Any], None]] = {
            Post: self._post,
            Disconnect: self._disconnect,
            Admit: lambda action: self._spawn(self._admit(action)),
            OpenStream: self._open_stream,
            SendEvents: self._send_events,
            CloseStream: self._close_stream,
            AskMicro: lambda action: self._spawn(self._ask_micro(action)),
            Save: lambda action: self._spawn(self._save(action)),
            StoreProgress: self._store_progress,
            ReleaseLease: lambda _action: self._spawn(self._release_lease()),
            Record: lambda action: services.record(action.event, action.fields),
            Finish: lambda _action: self._finished.set(),
        }
        self._arm(now_ms)

    # What happens

    def phone_said(self, connection_id: str, connected_at_ms: int, received_at_ms: int, body: bytes) -> None:
        """A message of the phone came over the bus."""
        self.feed(PhoneSaid(connection_id, connected_at_ms, received_at_ms, body))

    def phone_left(self, connection_id: str) -> None:
        """A connection of the phone is gone."""
        self.feed(PhoneLeft(connection_id))

    def redis_is_back(self) -> None:
        """Redis was away and may have forgotten: write the session's progress again."""
        if self._last_progress is not None:
            self._store_progress(StoreProgress(self._last_progress))

    def deaf(self) -> None:
        """The phone is not heard any more: let another relay have the learner."""
        self._spawn(self._release_lease())
        self.feed(ShutdownAsked(replaced=True))

    def feed(self, event: Input) -> None:
        """Tell the core what happened and do what it asks."""
        now_ms = self._now_ms()
        self.conversation.handle(event, now_ms)
        self._do_all(now_ms)

    async def run(self, within_s: float) -> None:
        """Hold the conversation until it ends, and leave nothing behind.

        Args:
            within_s: what Lambda leaves of the invocation; the end begins a minute before.
        """
        keeper = asyncio.create_task(self._keep_leases())
        shutdown = self._loop.call_later(max(0.0, within_s - _SHUTDOWN_BEFORE_END_S), self._shut_down)
        try:
            await self._finished.wait()
        finally:
            shutdown.cancel()
            keeper.cancel()
            if self._timer is not None:
                self._timer.cancel()
            await asyncio.gather(keeper, return_exceptions=True)
            await self._settle()

    async def _settle(self) -> None:
        for line in self._lines.values():
            line.close()
        while self._tasks:
            await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._has_line:
            await self._quietly(self.services.leave_line(self._learner))
        if self._has_lease:
            await self._quietly(self.services.release_lease(self._learner))

    def _shut_down(self) -> None:
        self.feed(ShutdownAsked(replaced=False))

    async def _keep_leases(self) -> None:
        while True:
            await asyncio.sleep(_RENEW_LEASE_S)
            try:
                if self._has_line:
                    await self.services.keep_line(self._learner)
                if self._has_lease and not await self.services.keep_lease(self._learner):
                    self._has_lease = False
                    self.feed(ShutdownAsked(replaced=True))
            except RemoteError as error:
                self.services.record("lease_unreachable", {"code": error.code})

    # Time

    def _now_ms(self) -> float:
        return self._loop.time() * 1000

    def _tick(self) -> None:
        self._timer = None
        now_ms = self._now_ms()
        self.conversation.tick(now_ms)
        self._do_all(now_ms)

    def _arm(self, now_ms: float) -> None:
        """See to it that the core is ticked in time. A timer that rings too early is cheaper than one set anew."""
        at_ms = self.conversation.next_timer_ms(now_ms)
        if at_ms is None or self._finished.is_set():
            return
        if self._timer is not None:
            if self._timer_at_ms <= at_ms:
                return
            self._timer.cancel()
        self._timer_at_ms = max(at_ms, now_ms)
        self._timer = self._loop.call_at(self._timer_at_ms / 1000, self._tick)

    # What is to be done

    def spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run something beside the conversation; it is waited for at the end."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        self.spawn(work)

    def _do_all(self, now_ms: float) -> None:
        for action in self.conversation.take_actions():
            self._do(action)
        self._arm(now_ms)

    def _do(self, action: Action) -> None:
        self._doers[type(action)](action)

    def _post(self, action: Post) -> None:
        self._in_lane(action.connection_id, self._post_now(action))

    def _disconnect(self, action: Disconnect) -> None:
        self._in_lane(action.connection_id, self._disconnect_now(action.connection_id))

    def _in_lane(self, connection_id: str, work: Coroutine[Any, Any, None]) -> None:
        """Keep the order of what is done on a connection."""
        before = self._lanes.get(connection_id)

        async def after() -> None:
            if before is not None:
                await asyncio.wait([before])
            await work

        task = self.spawn(work if before is None or before.done() else after())
        self._lanes[connection_id] = task

    async def _post_now(self, action: Post) -> None:
        outcome, retry_after_ms = PostOutcome.DELIVERED, 0.0
        try:
            await self.services.post(action.connection_id, action.data)
        except PhoneGone:
            outcome = PostOutcome.GONE
        except PhoneSlow as error:
            outcome, retry_after_ms = PostOutcome.SLOW, error.retry_after_ms
        except RemoteError:
            outcome = PostOutcome.SLOW
        self.feed(PostSettled(action.connection_id, outcome, retry_after_ms))

    async def _disconnect_now(self, connection_id: str) -> None:
        try:
            await self.services.disconnect(connection_id)
        except RemoteError as error:
            self.services.record("disconnect_failed", {"code": error.code})
        self._lanes.pop(connection_id, None)

    async def _admit(self, action: Admit) -> None:
        try:
            if not await asyncio.to_thread(self.services.module_unlocked, self._learner, action.module):
                self.feed(AdmissionSettled(Admission.LOCKED))
                return
            retry_after_s = await self.services.take_line(self._learner)
        except RemoteError as error:
            self.services.record("admission_failed", {"code": error.code})
            self.feed(AdmissionSettled(Admission.UNKNOWN))
            return
        if retry_after_s is not None:
            self.feed(AdmissionSettled(Admission.BUSY, retry_after_s))
            return
        self._has_line = True
        self.feed(AdmissionSettled(Admission.GRANTED))

    def _open_stream(self, action: OpenStream) -> None:
        self._lines[action.stream_id] = _Line(self, action.stream_id, action.events)

    def _send_events(self, action: SendEvents) -> None:
        line = self._lines.get(action.stream_id)
        if line is not None:
            line.send(action.events)

    def _close_stream(self, action: CloseStream) -> None:
        line = self._lines.pop(action.stream_id, None)
        if line is not None:
            line.close()

    async def _ask_micro(self, action: AskMicro) -> None:
        arguments: Mapping[str, Any] | None = None
        try:
            arguments = await asyncio.to_thread(self.services.ask_micro, action.request)
        except MayaError as error:
            self.services.record("micro_failed", {"code": error.code, "part": action.part})
        self.feed(MicroAnswered(action.part, arguments))

    async def _save(self, action: Save) -> None:
        outcome = SaveOutcome.SAVED
        try:
            await asyncio.to_thread(self.services.save, self._learner, action.assessment)
        except MayaError as error:
            self.services.record("save_failed", {"code": error.code})
            outcome = await self._enqueue(action)
        self.feed(SaveSettled(outcome))

    async def _enqueue(self, action: Save) -> SaveOutcome:
        try:
            await asyncio.to_thread(self.services.enqueue, self._learner, action.assessment)
        except MayaError as error:
            self.services.record("enqueue_failed", {"code": error.code})
            return SaveOutcome.LOST
        return SaveOutcome.QUEUED

    def _store_progress(self, action: StoreProgress) -> None:
        """Write the newest progress; one write is under way at a time, and only the newest waits."""
        idle = self._progress is None
        self._progress = self._last_progress = action.progress
        if idle:
            self._spawn(self._write_progress())

    async def _write_progress(self) -> None:
        while self._progress is not None and self._has_lease:
            progress = self._progress
            await self._quietly(self.services.store_progress(self._learner, progress))
            if self._progress is progress:
                break
        self._progress = None

    async def _release_lease(self) -> None:
        self._has_lease = False
        await self._quietly(self.services.release_lease(self._learner))

    async def _quietly(self, work: Awaitable[object]) -> None:
        """Do what the conversation can do without; Redis is away at times."""
        try:
            await work
        except RemoteError as error:
            self.services.record("redis_unreachable", {"code": error.code})

    @property
    def ended(self) -> bool:
        """Whether the conversation has come to its end."""
        return self.conversation.state is State.ENDED
