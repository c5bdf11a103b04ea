"""The phone on a real network and a real clock: one conversation as asyncio tasks.

One timer serves microphone and core, and one task each reads and writes the open connection, so that fifty phones fit
in one process.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final

from client_sim.clock import Clock
from client_sim.events import (
    Action,
    Begin,
    Captured,
    Close,
    Closed,
    Connect,
    Event,
    Opened,
    Over,
    Received,
    RefreshToken,
    Refused,
    Suspended,
    Tick,
)
from client_sim.network import Connection, ConnectionLost, ConnectionRefused, Connector
from client_sim.phone import Phone

RefreshHook = Callable[[], Awaitable[str]]
"""Gets a new token."""

KEPT_SLIPS: Final = 20_000
_SUSPENDED_AFTER_MS: Final = 5_000
"""A microphone that comes this late was off: what it would have heard is lost."""


@dataclass(slots=True)
class Slips:
    """How late frames were captured against their plan: whether the measuring program itself kept up.

    Attributes:
        each_ms: the first `KEPT_SLIPS` of them.
        worst_ms: the largest.
    """

    each_ms: list[float] = field(default_factory=list)
    worst_ms: float = 0.0

    def add(self, slip_ms: float) -> None:
        """Count one."""
        self.worst_ms = max(self.worst_ms, slip_ms)
        if len(self.each_ms) < KEPT_SLIPS:
            self.each_ms.append(slip_ms)


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """How a phone reaches its gateway.

    Attributes:
        url: of the gateway.
        token: of the learner.
        connector: opens connections.
        refresh_token: gets a new token when the old one is refused on coming back; the old one is tried again without.
    """

    url: str
    token: str = field(repr=False)
    connector: Connector
    refresh_token: RefreshHook | None = None


class Shell:
    """Runs a phone.

    Args:
        phone: the core.
        line: how it reaches its gateway.
        clock: time.
        frame_ms: length of a frame; as the phone chooses where it is not given.
        microphone: gives the frame captured up to a moment.
        observe: is told every action of the phone, with the time.

    Attributes:
        frame_ms: length of the frame that is being captured.
        slips: how late frames were captured.
    """

    def __init__(
        self,
        phone: Phone,
        line: Line,
        *,
        clock: Clock,
        frame_ms: float | None = None,
        microphone: Callable[[float], bytes],
        observe: Callable[[Action, float], None],
    ) -> None:
        self._phone = phone
        self._line = line
        self._token = line.token
        self._clock = clock
        self._fixed_ms = frame_ms
        self.frame_ms: float = frame_ms or phone.frame_ms
        self._microphone = microphone
        self._observe = observe
        self._next_frame_ms: float | None = None
        self._wants_token = False
        self._open: tuple[int, Connection] | None = None
        self._wake = asyncio.Event()
        self._timer: asyncio.TimerHandle | None = None
        self._timer_ms = 0.0
        self._tasks: set[asyncio.Task[None]] = set()
        self._closings: set[asyncio.Task[None]] = set()
        self._left = False
        self._over: asyncio.Future[Over] = asyncio.get_running_loop().create_future()
        self.slips = Slips()

    async def run(self) -> Over:
        """Hold the conversation to its end; every task and connection is closed on return."""
        try:
            self.tell(Begin())
            return await self._over
        finally:
            await self._clean_up()

    def tell(self, event: Event) -> None:
        """Tell the phone what happened, and do what it says; nothing any more once `run` is over."""
        if self._left:
            return
        now_ms = self._clock.now_ms()
        self._phone.handle(event, now_ms)
        self._settle(now_ms)

    def _settle(self, now_ms: float) -> None:
        for action in self._phone.take_actions():
            self._act(action)
            self._observe(action, now_ms)
        self._wake.set()
        self._plan(now_ms)

    def _act(self, action: Action) -> None:
        match action:
            case Connect(connection):
                self._spawn(self._hold, connection)
            case Close(connection):
                self._close(connection)
            case RefreshToken():
                self._wants_token = True
            case Over():
                if not self._over.done():
                    self._over.set_result(action)
            case _:
                pass

    def _spawn[*Given](self, work: Callable[[*Given], Awaitable[None]], *given: *Given) -> asyncio.Task[None]:
        async def guarded() -> None:
            try:
                await work(*given)
            except Exception as error:  # noqa: BLE001 - whatever it is, it ends the conversation and reaches its caller
                if not self._over.done():
                    self._over.set_exception(error)

        task = asyncio.create_task(guarded())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def _close(self, number: int) -> None:
        if self._open is not None and self._open[0] == number:
            closing = asyncio.create_task(self._open[1].close())
            self._closings.add(closing)
            closing.add_done_callback(self._closings.discard)
            self._open = None

    # Time

    def _plan(self, now_ms: float, message_ms: float | None = None) -> None:
        """Have the timer ring when the next frame, deadline or (``message_ms``) regular message is due.

        Whoever wakes the writer leaves the messages out: the writer plans again when it has nothing left to write.
        """
        if self._over.done():
            return
        if self._phone.microphone_on:
            if self._next_frame_ms is None:
                self._next_frame_ms = now_ms + self._begin_frame()
        else:
            self._next_frame_ms = None
        moments = (self._next_frame_ms, self._phone.next_timer_ms(), message_ms)
        when_ms = min((moment for moment in moments if moment is not None), default=None)
        if self._timer is not None:
            if when_ms is not None and self._timer_ms == when_ms:
                return
            self._timer.cancel()
            self._timer = None
        if when_ms is not None:
            self._timer_ms = when_ms
            delay_s = self._clock.seconds(max(0.0, when_ms - now_ms))
            self._timer = asyncio.get_running_loop().call_later(delay_s, self._ring)

    def _ring(self) -> None:
        self._timer = None
        # The event loop may ring a hair early, and what is due at the planned moment is due now.
        now_ms = max(self._clock.now_ms(), self._timer_ms)
        try:
            self._capture(now_ms)
            self._phone.handle(Tick(), now_ms)
            self._settle(now_ms)
        except Exception as error:  # noqa: BLE001 - a callback has no caller: the conversation's gets it
            if not self._over.done():
                self._over.set_exception(error)

    def _capture(self, now_ms: float) -> None:
        if self._next_frame_ms is None:
            return
        late_ms = now_ms - self._next_frame_ms
        if late_ms > _SUSPENDED_AFTER_MS:
            self._phone.handle(Suspended(late_ms), now_ms)
            self._next_frame_ms = now_ms
        while self._next_frame_ms <= now_ms:
            self.slips.add(now_ms - self._next_frame_ms)
            self._phone.handle(Captured(self._microphone(self._next_frame_ms)), now_ms)
            self._next_frame_ms += self._begin_frame()

    def _begin_frame(self) -> float:
        """Decide how long the frame is that begins now; a frame that has begun keeps its length."""
        self.frame_ms = self._fixed_ms or self._phone.frame_ms
        return self.frame_ms

    # The network

    async def _hold(self, number: int) -> None:
        """Open a connection and hold it until it is gone."""
        try:
            connection = await self._line.connector(self._line.url, await self._current_token())
        except ConnectionRefused as refused:
            self.tell(Refused(number, refused.status, refused.reason))
            return
        self._open = (number, connection)
        writer = self._spawn(self._write, number, connection)
        code = 1006
        try:
            self.tell(Opened(number))
            while True:
                self.tell(Received(number, await connection.receive()))
        except ConnectionLost as lost:
            code = lost.code
        finally:
            writer.cancel()
            await asyncio.gather(writer, return_exceptions=True)
            if self._is_open(number):
                self._open = None
        self.tell(Closed(number, code))

    def _is_open(self, number: int) -> bool:
        return self._open is not None and self._open[0] == number

    async def _current_token(self) -> str:
        if self._wants_token and self._line.refresh_token is not None:
            self._token = await self._line.refresh_token()
        self._wants_token = False
        return self._token

    async def _write(self, number: int, connection: Connection) -> None:
        """Write what the phone has to say, one message whenever the line takes one more."""
        while self._is_open(number):
            text = self._phone.take_message(self._clock.now_ms())
            if text is None:
                self._wake.clear()
                self._plan(self._clock.now_ms(), self._phone.next_message_ms())
                await self._wake.wait()
                continue
            try:
                await connection.send(text)
            except ConnectionLost:
                return  # the reader notices it too

    async def _clean_up(self) -> None:
        self._left = True
        if self._timer is not None:
            self._timer.cancel()
        if self._open is not None:
            self._close(self._open[0])
        await asyncio.gather(*self._closings, return_exceptions=True)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
