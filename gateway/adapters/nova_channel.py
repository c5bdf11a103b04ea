"""One HTTP/2 stream on a connection of its own, through awscrt's callbacks.

awscrt runs its own thread; its callbacks come from there and only append to a queue or ask the event loop to wake up.
The asyncio layer that awscrt offers costs a task, a future and a thread switch for each write and reports a reset or a
broken connection as an ordinary end; here a write is handed over and forgotten until too many wait, and the kinds of
end are told apart.

Nothing is closed from the service's side alone: whoever opens a channel must `close` it.
"""

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from functools import partial
from typing import Any, Final, Self

from awscrt.http import Http2ClientConnection, HttpRequest
from smithy_http.exceptions import SmithyHTTPError

from gateway.adapters import crt_write
from gateway.adapters.crt import CrtRuntime, crt_name, keep_thread_state, resolve, socket_options
from gateway.adapters.no_delay import set_no_delay

MAX_WRITES_UNDER_WAY: Final = 64
"""Writes that awscrt may hold before `Channel.room` makes the sender wait."""

RECEIVE_WINDOW_BYTES: Final = 1024 * 1024
"""What the service may send ahead of the reader: some 15 s of speech; more stays with the service."""

_CREDIT_BYTES: Final = RECEIVE_WINDOW_BYTES // 4
_HTTP2_INITIAL_WINDOW_BYTES: Final = 65_535
_SETTINGS_WITHIN_S: Final = 1.0
_CUT_WITHIN_S: Final = 2.0
_LATE: Final = True


class ChannelBrokenError(SmithyHTTPError):
    """The connection or the HTTP/2 stream broke, or could not be made; the text is awscrt's name for it."""


class ChannelSilentError(SmithyHTTPError):
    """Nothing came, or nothing could be sent, within the time limit."""


class Channel:
    """One request whose body and response flow at the same time.

    Belongs to the event loop that made it. `write` may be called before `connect` is through; what is written waits.
    """

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._connection: Any = None
        self._stream: Any = None
        self._waiting_writes: deque[bytes | None] = deque()
        self._written = 0
        self._settled = 0
        self._room: asyncio.Future[bool] | None = None
        self._chunks: deque[bytes] = deque()
        self._reader: asyncio.Future[bool] | None = None
        self._heard: Callable[[], bool] | None = None
        self._heard_at_s = 0.0
        self._took_bad = False
        self._timer: asyncio.TimerHandle | None = None
        self._unread_credit = 0
        self._response: asyncio.Future[tuple[int, Sequence[tuple[str, str]]]] = self._loop.create_future()
        self._completed: asyncio.Future[None] = self._loop.create_future()
        self._arrived: asyncio.Future[Any] = self._loop.create_future()
        self._settings_seen: asyncio.Future[None] = self._loop.create_future()
        self._remote_ended = False
        self._broken = ""
        self._finished = False
        self._closed = False

    def __deepcopy__(self, memo: object) -> Self:
        """The SDK's signer copies the request that it signs; its body stays this one."""
        return self

    @property
    def usable(self) -> bool:
        """Whether writing can still reach the service."""
        return not (self._closed or self._finished or self._broken or self._remote_ended)

    async def connect(self, runtime: CrtRuntime, host: str, port: int, request: HttpRequest) -> None:
        """Make the connection and send the request's headers, then what was written before.

        Raises:
            ChannelBrokenError: no connection, no trust, or no HTTP/2.
        """
        settings_seen = self._settings_seen
        tls = runtime.tls.new_connection_options()
        tls.set_server_name(host)
        tls.set_alpn_list(["h2"])
        opening = Http2ClientConnection.new(
            host,
            port,
            bootstrap=runtime.bootstrap,
            socket_options=socket_options(),
            tls_connection_options=tls,
            on_remote_settings_changed=lambda _settings: self._from_thread(resolve, settings_seen),
            manual_window_management=True,
            initial_window_size=RECEIVE_WINDOW_BYTES,
            conn_manual_window_management=True,
        )
        self._connection = connection = await self._adopt(opening)
        set_no_delay(port)
        connection.update_window(RECEIVE_WINDOW_BYTES - _HTTP2_INITIAL_WINDOW_BYTES)
        self._loop.call_later(_SETTINGS_WITHIN_S, resolve, settings_seen)
        settings_seen.add_done_callback(self._on_settings_seen)
        try:
            stream = connection.request(request, self._on_response, self._on_body, manual_write=True)
            stream.remote_end_stream_future.add_done_callback(self._on_remote_end)
            stream.completion_future.add_done_callback(partial(self._on_complete, stream.remote_end_stream_future))
            stream.activate()
        except Exception as error:  # noqa: BLE001 - awscrt raises bare RuntimeErrors with its codes
            raise ChannelBrokenError(crt_name(error)) from None
        self._stream = stream
        self._flush()

    async def response(self) -> tuple[int, Sequence[tuple[str, str]]]:
        """Return the status and headers of the response, once they are here.

        Raises:
            ChannelBrokenError: the stream ended before.
        """
        return await asyncio.shield(self._response)

    def write(self, data: bytes) -> None:
        """Send a piece of the request's body.

        Raises:
            ChannelBrokenError: it cannot reach the service any more.
        """
        if not self.usable:
            raise ChannelBrokenError(self._broken or "the stream has ended")
        self._waiting_writes.append(data)
        self._flush()

    def finish(self) -> None:
        """End the request's body; nothing can be written afterwards."""
        if not self.usable:
            return
        self._finished = True
        self._waiting_writes.append(None)
        with contextlib.suppress(ChannelBrokenError):
            self._flush()

    @property
    def crowded(self) -> bool:
        """Whether so many writes are under way that the sender should wait for `room`."""
        return self._written - self._settled + len(self._waiting_writes) >= MAX_WRITES_UNDER_WAY

    async def room(self, within_s: float) -> None:
        """Wait until the channel is no longer crowded.

        Raises:
            ChannelBrokenError: the stream ended.
            ChannelSilentError: still crowded after `within_s` seconds.
        """
        while self.crowded and self.usable:
            self._room = self._loop.create_future()
            if self.crowded:
                await self._wait(self._room, within_s, "the service takes no more")
            self._room = None

    def listen(self, heard: Callable[[], bool]) -> None:
        """Have `heard` called when something has come for which `read` waits.

        It takes that by `read_now`, within the step of the event loop that brought it: to wake a task and to wind its
        timer cost twice as much as reading. Where it returns that it could use it all, `read` goes on waiting.
        """
        self._heard = heard

    async def read(self, within_s: float) -> bytes:
        """Return the next piece of the response's body, empty once the service has ended it or `listen` took a bad one.

        Raises:
            ChannelBrokenError: the stream was reset or the connection broke; pieces that came before are returned first.
            ChannelSilentError: nothing came within `within_s` seconds.
        """
        chunks = self._chunks
        while not chunks:
            if self._remote_ended or self._took_bad:
                return b""
            if self._broken or self._closed:
                raise ChannelBrokenError(self._broken or "closed")
            self._reader = self._loop.create_future()
            # The thread looks for a reader after it has appended, so one of the two always sees the other.
            if not chunks:
                await self._wait_for_piece(self._reader, within_s)
            self._reader = None
        return self.read_now()

    def read_now(self) -> bytes:
        """Return the next piece of the response's body if it has come already, else nothing."""
        if not self._chunks:
            return b""
        piece = self._chunks.popleft()
        self._give_credit(len(piece))
        return piece

    async def close(self, polite_s: float) -> None:
        """End the stream and cut its connection; safe to call twice and at any moment.

        Args:
            polite_s: how long to wait for the service to end its side after `finish`; not at all on a broken stream.
        """
        if self._closed:
            return
        polite = self._finished and not self._broken and self._stream is not None
        self._closed = True
        self._wake_all()
        gone = self._loop.create_future()
        try:
            if polite:
                await asyncio.wait([self._completed], timeout=polite_s)
        finally:
            self._cut(gone)
        await asyncio.wait([gone], timeout=_CUT_WITHIN_S)

    def _cut(self, gone: "asyncio.Future[None]") -> None:
        """Close the connection whatever it does; `gone` is resolved when nothing of it is left."""
        self._refuse_response("closed")
        self._refuse_connection()
        if self._connection is None:
            resolve(gone)
        else:
            self._connection.close().add_done_callback(lambda _done: self._from_thread(resolve, gone))
        # awscrt's objects refer to each other and to this one; what was not cut here would live on.
        self._connection = self._stream = self._heard = None
        self._chunks.clear()
        self._waiting_writes.clear()

    async def _adopt(self, opening: "Future[Any]") -> Any:
        """Wait for a connection; if nobody waits for it any more, it is closed as soon as it is there."""

        def settle(done: "Future[Any]") -> None:
            if self._arrived.done():
                _discard(done)
            else:
                self._arrived.set_result(done)

        def on_done(done: "Future[Any]") -> None:
            if not self._from_thread(settle, done):
                _discard(done)

        opening.add_done_callback(on_done)
        done = await self._arrived
        if done is False:
            raise ChannelBrokenError("closed while connecting")
        error = done.exception()
        if error is not None:
            raise ChannelBrokenError(crt_name(error))
        return done.result()

    def _refuse_connection(self) -> None:
        """Stop waiting for a connection, and close one that came but was not taken up."""
        resolve(self._settings_seen)
        if not self._arrived.done():
            self._arrived.set_result(False)
        elif self._connection is None and not self._arrived.cancelled() and self._arrived.result():
            _discard(self._arrived.result())

    def _on_settings_seen(self, _seen: "asyncio.Future[None]") -> None:
        with contextlib.suppress(ChannelBrokenError):
            self._flush()

    def _flush(self) -> None:
        """Give awscrt what waits.

        Nothing before the peer's settings are known: awscrt stalls for ever when they enlarge a window that is already
        full, and crashes when they reduce one below what was sent.
        """
        waiting = self._waiting_writes
        while waiting and self._stream is not None and self._settings_seen.done() and not self._broken:
            self._hand_over(waiting.popleft())

    def _hand_over(self, data: bytes | None) -> None:
        """Give awscrt a write, or with None the end of the body."""
        try:
            crt_write.write(self._stream, data, self._on_written)
        except Exception as error:  # noqa: BLE001 - awscrt raises bare RuntimeErrors with its codes
            raise ChannelBrokenError(crt_name(error)) from None
        self._written += 1

    async def _wait(self, future: "asyncio.Future[bool]", within_s: float, what: str) -> None:
        timer = self._loop.call_later(within_s, resolve, future, _LATE)
        try:
            if await future is _LATE:
                raise self._silent(what)
        finally:
            timer.cancel()

    async def _wait_for_piece(self, reader: "asyncio.Future[bool]", within_s: float) -> None:
        self._heard_at_s = self._loop.time()
        self._timer = self._loop.call_later(within_s, self._look, reader, within_s)
        try:
            if await reader is _LATE:
                raise self._silent("the service says nothing")
        finally:
            self._timer.cancel()

    def _look(self, reader: "asyncio.Future[bool]", within_s: float) -> None:
        """Stop waiting, unless something has been heard meanwhile."""
        left_s = self._heard_at_s + within_s - self._loop.time()
        if left_s > 0:
            self._timer = self._loop.call_later(left_s, self._look, reader, within_s)
        else:
            resolve(reader, _LATE)

    def _silent(self, what: str) -> ChannelSilentError:
        """Half-open: no polite end will come, and nothing more is worth sending."""
        self._broken = self._broken or what
        return ChannelSilentError(what)

    def _piece_came(self) -> None:
        if self._chunks and self._heard is not None:
            self._heard_at_s = self._loop.time()
            if self._heard():
                return
            self._took_bad = True
        self._wake_all()

    def _give_credit(self, size: int) -> None:
        """Let the service send as much more as was read, in large steps: each one wakes awscrt's thread."""
        self._unread_credit += size
        if self._unread_credit >= _CREDIT_BYTES and not self._closed and self._stream is not None:
            self._stream.update_window(self._unread_credit)
            self._connection.update_window(self._unread_credit)
            self._unread_credit = 0

    def _wake_all(self) -> None:
        resolve(self._reader)
        resolve(self._room)

    # From here on: called by awscrt's thread.

    def _from_thread(self, callback: Callable[..., None], *args: Any) -> bool:
        try:
            self._loop.call_soon_threadsafe(callback, *args)
        except RuntimeError:  # the event loop is closed, so nobody waits any more
            return False
        return True

    def _on_response(self, status_code: int, headers: Sequence[tuple[str, str]], **_kwargs: Any) -> None:
        keep_thread_state()
        self._from_thread(resolve, self._response, (status_code, headers))

    def _on_body(self, chunk: bytes, **_kwargs: Any) -> None:
        self._chunks.append(chunk)
        if self._reader is not None:
            self._from_thread(self._piece_came)

    def _on_written(self, _result: object) -> None:
        # A failed write needs no notice of its own: the stream's completion follows and says why.
        self._settled += 1
        if self._room is not None:
            self._from_thread(self._wake_all)

    def _on_remote_end(self, result: "Future[None]") -> None:
        if result.exception() is None:
            self._from_thread(self._ended, "")

    def _on_complete(self, remote_end: "Future[None]", result: "Future[int]") -> None:
        error = result.exception()
        if error is not None:
            self._from_thread(self._ended, crt_name(error))
        elif remote_end.exception() is not None:
            # A reset with the code NO_ERROR completes the stream without an error.
            self._from_thread(self._ended, "RST_STREAM")
        self._from_thread(resolve, self._completed)

    # On the event loop again.

    def _ended(self, reason: str) -> None:
        """Note how the stream ended; the first reason stands, and a clean end is none."""
        if not self._remote_ended and not self._broken:
            self._broken = reason
            self._remote_ended = not reason
        self._refuse_response(reason or "ended before its headers")
        self._wake_all()

    def _refuse_response(self, reason: str) -> None:
        if not self._response.done():
            self._response.set_exception(ChannelBrokenError(reason))
            self._response.exception()  # nobody may be waiting for it


def _discard(opening: "Future[Any]") -> None:
    if opening.exception() is None:
        opening.result().close()
