"""The relay: one conversation's core joined to the world, in one asyncio event loop.

Everything that happens is told to the core at once, on the loop, and what the core asks for is done at once or handed
to a task; there is no queue between. Calls that block (boto3) run in threads. Whatever an outside call ends with, the
core is told; what breaks in here ends the conversation in order, and the invocation with an error if even that breaks.
"""

import asyncio
import math
import random
import time
import uuid
from collections import deque
from collections.abc import Callable, Coroutine, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any, Final

from gateway.core.assessment import Assessment
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
    RefuseStarts,
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
    SaveSettled,
    ShutdownAsked,
    TookOver,
)
from gateway.core.errors import ServiceUnavailable
from gateway.nova_line import NovaLine
from gateway.phone_line import PhoneLine
from gateway.ports import Services
from gateway.saving import Saver
from gateway.session_keeper import SessionKeeper

_SHUTDOWN_BEFORE_END_S: Final = 60.0

_MOST_HELD: Final = 16_384
"""Steps that may wait for a renewal of the lease: more than sockets hold for a process that stood still."""

_EARLY_RING_MS: Final = 250.0
"""A timer that would ring earlier than this before it is due is set anew."""

_MOST_FAULTS: Final = 8
"""With more faults of our own than this, no orderly end is to be hoped for."""


class Relay:
    """Holds one learner's conversation from the first message to `Finish`.

    Args:
        learner: whose conversation it is.
        services: the world.
        settings: the conversation's numbers.
        epoch: of this relay.
        ended: the assessment of the learner's last session, for a phone that comes back for it.
        session: the session of a relay that was lost, which goes on here.
    """

    def __init__(
        self,
        learner: str,
        services: Services,
        settings: ConversationSettings,
        *,
        epoch: int,
        ended: Assessment | None = None,
        session: TookOver | None = None,
    ) -> None:
        self._services = services
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
        self._lines: dict[int, NovaLine] = {}
        self._phone = PhoneLine(services, self.feed, self.spawn)
        self._saver = Saver(learner, services)
        self._tasks: set[asyncio.Task[None]] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at_ms = 0.0
        self._finished = asyncio.Event()
        self._faults: list[BaseException] = []
        self._noted_streams = 1
        self._is_deaf = False
        self._held: deque[Callable[[float], None]] = deque(maxlen=_MOST_HELD)
        self._session = session
        self._keeper = SessionKeeper(
            learner,
            services,
            now_ms=self._now_ms,
            lost=self._lease_lost,
            renewed=self._lease_renewed,
            settled=self.feed,
        )
        self._doers: dict[type[Any], Callable[[Any], None]] = {
            Post: self._phone.do,
            Disconnect: self._phone.do,
            Admit: lambda action: self._spawn(self._admit(action)),
            OpenStream: self._open_stream,
            SendEvents: self._send_events,
            CloseStream: self._close_stream,
            AskMicro: lambda action: self._spawn(self._ask_micro(action)),
            Save: lambda action: self._spawn(self._save(action)),
            StoreProgress: self._store_progress,
            ReleaseLease: lambda _action: self._spawn(self._keeper.release()),
            RefuseStarts: lambda action: self._spawn(self._refuse_starts(action)),
            Record: lambda action: services.record(action.event, action.fields),
            Finish: lambda _action: self._finished.set(),
        }
        self._arm(now_ms)

    @property
    def ended(self) -> bool:
        """Whether the conversation has come to its end."""
        return self.conversation.state is State.ENDED

    # What happens

    def phone_said(self, connection_id: str, connected_at_ms: int, received_at_ms: int, body: bytes) -> None:
        """A message of the phone came over the bus."""
        self.feed(PhoneSaid(connection_id, connected_at_ms, received_at_ms, body))

    def phone_left(self, connection_id: str) -> None:
        """A connection of the phone is gone."""
        self.feed(PhoneLeft(connection_id))

    def redis_is_back(self) -> None:
        """Redis was away and may have forgotten: take lease and line and write the session's progress again, at once."""
        self._spawn(self._keeper.take_again())
        if self._keeper.store_again():
            self._spawn(self._keeper.write())

    def deaf(self) -> None:
        """The phone is not heard any more: let another relay have the learner."""
        self._is_deaf = True
        self._spawn(self._keeper.release())
        self.feed(ShutdownAsked(replaced=True))

    def feed(self, *events: Input) -> None:
        """Tell the core what happened, in order, and do what it asks; never raises."""
        self._step(partial(self.conversation.handle_all, events))

    def broke(self, error: BaseException) -> None:
        """Something in here broke: bring the conversation to an end in order, or, where that breaks, too, at once."""
        self._services.failure("relay_broke", error, {})
        self._faults.append(error)
        if len(self._faults) > _MOST_FAULTS:
            self._finished.set()
        else:
            self._step(self.conversation.fail)

    async def run(self, within_s: float) -> None:
        """Hold the conversation until it ends, and leave nothing behind.

        Args:
            within_s: what Lambda leaves of the invocation; the end begins a minute before.

        Raises:
            Exception: what broke, if the conversation could not be brought to an end in order; or what is left to be
                saved, which the failure record of the invocation then brings about.
        """
        until_s = self._loop.time() + within_s
        keeper = self.spawn(self._keeper.keep())
        if self._session is not None:
            self._keeper.has_line = True  # the lost relay's, which is the learner's
            self._noted_streams = 0  # that one may have had two
            self.feed(self._session)
        shutdown = self._loop.call_later(max(0.0, within_s - _SHUTDOWN_BEFORE_END_S), self._shut_down)
        try:
            await self._finished.wait()
        finally:
            shutdown.cancel()
            keeper.cancel()
            if self._timer is not None:
                self._timer.cancel()
            await self._settle()
        if not self.ended:
            raise self._faults[-1]
        await self._saver.insist(until_s)
        if self._is_deaf and self._keeper.has_notes_unsaved:
            raise ServiceUnavailable(
                "the learner was not heard any more, and has notes to be saved if nobody comes back"
            )

    async def _settle(self) -> None:
        """Wait for everything that was begun, and give back what is held."""
        for line in self._lines.values():
            line.close()
        while self._tasks or self._phone.busy:
            self._spawn(self._phone.quiet())
            await asyncio.wait(self._tasks)
        await self._keeper.leave()

    def _shut_down(self) -> None:
        self.feed(ShutdownAsked(replaced=False))

    def _lease_lost(self) -> None:
        """Another relay has the learner: nothing that waited for certainty is done."""
        self._held.clear()
        self.feed(ShutdownAsked(replaced=True))

    def _lease_renewed(self) -> None:
        """Do what waited for certainty."""
        if self._held:
            held, self._held = self._held, deque(maxlen=_MOST_HELD)
            for step in held:
                self._step(step)

    # Steps of the core

    def _step(self, step: Callable[[float], None]) -> None:
        """Let the core take a step, do what it asks for, and wind the timer; but nothing while the lease is in doubt."""
        now_ms = self._now_ms()
        if self._keeper.in_doubt(now_ms):
            self._held.append(step)
            return
        self._guarded(step, now_ms)
        for action in self.conversation.take_actions():
            self._guarded(self._do, action)
        self._guarded(self._arm, now_ms)

    def _guarded[T](self, call: Callable[[T], None], argument: T) -> None:
        """Call, and see to it that a fault of ours leaves no conversation that nobody holds.

        It is no context manager, since one made of a generator costs ten times as much, thirty times a second.
        """
        try:
            call(argument)
        except Exception as error:  # noqa: BLE001 - see above
            self.broke(error)

    def _do(self, action: Action) -> None:
        self._doers[type(action)](action)

    def _now_ms(self) -> float:
        """The loop's clock; rounded, since a second times a thousand may fall short of the millisecond it was made of."""
        return round(self._loop.time() * 1000, 3)

    def _tick(self) -> None:
        self._timer = None
        self._step(self.conversation.tick)

    def _arm(self, now_ms: float) -> None:
        """See to it that the core is ticked in time. A timer that rings a little too early is cheaper than one set anew.

        Timers are set to whole milliseconds: uvloop has no others, and rings early for a fraction, again and again.
        """
        at_ms = self.conversation.next_timer_ms(now_ms)
        if at_ms is None or self._finished.is_set():
            return
        if self._timer is not None:
            if 0.0 <= at_ms - self._timer_at_ms <= _EARLY_RING_MS:
                return
            self._timer.cancel()
        self._timer_at_ms = math.ceil(max(at_ms, now_ms))
        self._timer = self._loop.call_at(self._timer_at_ms / 1000, self._tick)

    # What is to be done

    def spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run something beside the conversation; it is waited for at the end."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._collect)
        return task

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        self.spawn(work)

    def _collect(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is not None:
            self.broke(error)

    @contextmanager
    def _surviving(self, event: str, **fields: str | float) -> Iterator[None]:
        """Log what a call ends with, and go on."""
        try:
            yield
        except Exception as error:  # noqa: BLE001 - what follows tells the core
            self._services.failure(event, error, fields)

    async def _admit(self, action: Admit) -> None:
        settled = AdmissionSettled(Admission.UNKNOWN)
        with self._surviving("admission_failed"):
            settled = await self._find_admission(action.module)
        self.feed(settled)

    async def _find_admission(self, module: str) -> AdmissionSettled:
        if not await asyncio.to_thread(self._services.module_unlocked, self._learner, module):
            return AdmissionSettled(Admission.LOCKED)
        retry_after_s = await self._services.take_line(self._learner)
        self._keeper.has_line = retry_after_s is None
        return AdmissionSettled(Admission.GRANTED if self._keeper.has_line else Admission.BUSY, retry_after_s)

    def _open_stream(self, action: OpenStream) -> None:
        line = self._lines[action.stream_id] = NovaLine(action.stream_id, self._services, self.feed)
        self._spawn(line.run(action.events))
        self._streams_changed()

    def _send_events(self, action: SendEvents) -> None:
        line = self._lines.get(action.stream_id)
        if line is not None:
            line.send(action.events)

    def _close_stream(self, action: CloseStream) -> None:
        line = self._lines.pop(action.stream_id, None)
        if line is not None:
            line.close()
            self._streams_changed()

    def _streams_changed(self) -> None:
        """Have a second stream counted, which a change of part needs, until it is closed."""
        streams = max(1, len(self._lines))
        if self._keeper.has_line and streams != self._noted_streams:
            self._noted_streams = streams
            self._spawn(self._note_streams(streams))

    async def _note_streams(self, streams: int) -> None:
        with self._surviving("redis_unreachable"):
            await self._services.note_streams(self._learner, streams)

    async def _ask_micro(self, action: AskMicro) -> None:
        arguments: Mapping[str, Any] | None = None
        with self._surviving("micro_failed", part=action.part):
            arguments = await asyncio.to_thread(self._services.ask_micro, action.request)
        self.feed(MicroAnswered(action.part, arguments))

    async def _save(self, action: Save) -> None:
        if await self._keeper.renew():  # else another relay has the session, and what it comes to is saved there
            self.feed(SaveSettled(await self._saver.save(action.assessment)))

    def _store_progress(self, action: StoreProgress) -> None:
        if self._keeper.store(action):
            self._spawn(self._keeper.write())

    async def _refuse_starts(self, action: RefuseStarts) -> None:
        with self._surviving("redis_unreachable"):
            await self._services.refuse_starts(self._learner, action.for_s)
