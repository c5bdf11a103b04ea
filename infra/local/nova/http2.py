"""HTTP/2 for full-duplex streams on asyncio, with every misbehaviour within reach.

The `h2` library keeps the protocol; this module moves bytes: flow control both ways (default windows, WINDOW_UPDATE as
data is taken), fair sending, batched writes, and prompt news of clients that die. Source: RFC 9113; SERVICE.md W4, W5.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections import deque
from collections.abc import Callable, Mapping
from typing import Protocol, cast

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.events import (
    ConnectionTerminated,
    DataReceived,
    Event,
    RequestReceived,
    StreamEnded,
    StreamReset,
)
from h2.exceptions import ProtocolError
from h2.settings import SettingCodes, Settings

# A client that lets more than this pile up is cut off: it is some ten minutes of speech.
_MAX_WAITING_BYTES = 32 << 20
_MAX_BATCH_BYTES = 256 * 1024


class StreamApp(Protocol):
    """Serves one request; its calls come from the event loop."""

    def data_received(self, data: bytes) -> None:
        """Take a piece of the request's body."""
        ...

    def input_ended(self) -> None:
        """The client has ended the request's body."""
        ...

    def closed(self, why: str) -> None:
        """The stream is gone, by the client's reset or with its connection; nothing can be sent any more."""
        ...


class StreamPort:
    """The sending side of one stream, as its app sees it."""

    def __init__(self, connection: Http2Connection, stream_id: int) -> None:
        self._connection = connection
        self.stream_id = stream_id
        self.app: StreamApp | None = None
        self.waiting: deque[bytes] = deque()
        self.waiting_bytes = 0
        self.ending = False
        self.over = False

    @property
    def client_address(self) -> tuple[str, int] | None:
        """Host and port of the client's end of the connection, None when it is gone."""
        return self._connection.client_address

    def respond(self, status: int, headers: Mapping[str, str]) -> None:
        """Send response headers."""
        if not self.over:
            pairs = [(":status", str(status)), *headers.items()]
            self._connection.send_headers(self, pairs)

    def send(self, data: bytes) -> None:
        """Queue a piece of the response's body; it leaves with whatever else is sent in this turn of the event loop."""
        if self.over or self.ending:
            return
        self.waiting.append(data)
        self.waiting_bytes += len(data)
        if self.waiting_bytes > _MAX_WAITING_BYTES:
            self._connection.cut_off(self)
        else:
            self._connection.schedule_flush(self)

    def end(self) -> None:
        """End the response after what is queued."""
        if not self.over:
            self.ending = True
            self._connection.schedule_flush(self)

    def reset(self, code: int) -> None:
        """Send what is queued and the windows allow, then RST_STREAM."""
        self._connection.reset(self, code)

    def abort_connection(self) -> None:
        """Drop the TCP connection with a reset."""
        self._connection.abort()

    def goaway_and_silence(self) -> None:
        """Send what is queued, then GOAWAY; keep the socket, and neither read nor write any more."""
        self._connection.goaway_and_silence()


type AppFactory = Callable[[Mapping[str, str], StreamPort], StreamApp]


class Http2Connection(asyncio.Protocol):
    """One connection of a client.

    Args:
        open_app: called for each request with its headers and the port to answer through.
    """

    def __init__(self, open_app: AppFactory) -> None:
        self._open_app = open_app
        self._h2 = H2Connection(
            H2Configuration(client_side=False, header_encoding="utf-8", validate_outbound_headers=False)
        )
        self._h2.local_settings = Settings(
            client=False,
            initial_values={
                # Far above any quota of streams, which is counted by model and not by connection.
                SettingCodes.MAX_CONCURRENT_STREAMS: 1024,
                SettingCodes.MAX_HEADER_LIST_SIZE: 64 * 1024,
            },
        )
        self._transport: asyncio.Transport | None = None
        self._ports: dict[int, StreamPort] = {}
        self._busy: dict[int, StreamPort] = {}
        self._flush_scheduled = False
        self._write_paused = False
        self._silent = False
        self._loop = asyncio.get_running_loop()
        self.lost = asyncio.Event()
        """Set once the connection is gone."""

    @property
    def client_address(self) -> tuple[str, int] | None:
        """Host and port of the client's end."""
        if self._transport is None:
            return None
        address: tuple[str, int] | None = self._transport.get_extra_info("peername")
        return address

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Send the server's settings."""
        # No check of the class: uvloop's transports do not inherit from asyncio's.
        self._transport = cast("asyncio.Transport", transport)
        self._h2.initiate_connection()
        self._write()

    def data_received(self, data: bytes) -> None:
        """Take bytes, serve what they hold and send what that produced in one write."""
        if self._silent:
            return
        try:
            events = self._h2.receive_data(data)
        except ProtocolError:
            self._write()
            self._close("protocol_error")
            return
        for event in events:
            self._serve(event)
        if not self._silent:
            self._flush()

    def eof_received(self) -> bool:
        """Let the transport close."""
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell every stream."""
        del exc
        self._silent = True
        self._transport = None
        self._forget_all("connection_lost")
        self.lost.set()

    def pause_writing(self) -> None:
        """Leave everything queued until the socket takes more."""
        self._write_paused = True

    def resume_writing(self) -> None:
        """Go on."""
        self._write_paused = False
        self._flush()

    def send_headers(self, port: StreamPort, headers: list[tuple[str, str]]) -> None:
        """Queue response headers of a stream."""
        self._h2.send_headers(port.stream_id, headers)
        self.schedule_flush(port)

    def schedule_flush(self, port: StreamPort) -> None:
        """Write what the stream has at the end of this turn of the event loop, together with everything else."""
        self._busy[port.stream_id] = port
        if not self._flush_scheduled and not self._silent:
            self._flush_scheduled = True
            self._loop.call_soon(self._flush)

    def reset(self, port: StreamPort, code: int) -> None:
        """Reset one stream after what may still leave."""
        if port.over or self._silent:
            return
        self._pump(port)
        if not port.over:
            self._h2.reset_stream(port.stream_id, code)
            self._forget(port)
        self._write()

    def cut_off(self, port: StreamPort) -> None:
        """Reset a stream whose client does not read."""
        port.waiting.clear()
        self._h2.reset_stream(port.stream_id, ErrorCodes.ENHANCE_YOUR_CALM)
        self._forget(port, "client_too_slow")
        self._write()

    def abort(self) -> None:
        """Send what is queued, then drop the connection so that the client sees a TCP reset."""
        self._flush()
        self.drop()

    def drop(self) -> None:
        """Drop the connection at once."""
        transport = self._transport
        if transport is None:
            return
        self._silent = True
        raw = transport.get_extra_info("socket")
        if raw is not None:
            # A linger time of zero makes the kernel send RST instead of FIN.
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        transport.abort()

    def goaway_and_silence(self) -> None:
        """Say GOAWAY and then nothing, on a socket that stays open until the client closes it."""
        if self._silent:
            return
        self._flush()
        self._h2.close_connection(ErrorCodes.NO_ERROR)
        self._write()
        self._silent = True

    def close(self) -> None:
        """Close the connection in order, as a server that stops does."""
        if not self._silent:
            self._h2.close_connection(ErrorCodes.NO_ERROR)
            self._write()
        self._close("server_stopped")

    def _close(self, why: str) -> None:
        self._silent = True
        self._forget_all(why)
        if self._transport is not None:
            self._transport.close()

    def _serve(self, event: Event) -> None:
        if self._silent:
            return
        if isinstance(event, DataReceived):
            self._take_data(event)
        elif isinstance(event, RequestReceived):
            self._open(event)
        elif isinstance(event, StreamEnded):
            port = self._ports.get(event.stream_id)
            if port is not None and port.app is not None:
                port.app.input_ended()
        elif isinstance(event, StreamReset):
            port = self._ports.get(event.stream_id)
            if port is not None:
                self._forget(port, "client_reset")
        elif isinstance(event, ConnectionTerminated):
            # The client has said GOAWAY; h2 sends nothing after that.
            self._close("client_goaway")

    def _take_data(self, event: DataReceived) -> None:
        self._h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        port = self._ports.get(event.stream_id)
        if port is not None and port.app is not None:
            port.app.data_received(event.data)

    def _open(self, event: RequestReceived) -> None:
        port = StreamPort(self, event.stream_id)
        self._ports[event.stream_id] = port
        headers = {str(name): str(value) for name, value in event.headers}
        port.app = self._open_app(headers, port)

    def _flush(self) -> None:
        self._flush_scheduled = False
        if self._silent:
            return
        if not self._write_paused:
            for port in list(self._busy.values()):
                self._pump(port)
        self._write()

    def _pump(self, port: StreamPort) -> None:
        """Hand to h2 what the client's windows allow, in frames as full as they may be."""
        batch_bytes = 0
        while port.waiting and batch_bytes < _MAX_BATCH_BYTES:
            room = min(self._h2.local_flow_control_window(port.stream_id), self._h2.max_outbound_frame_size)
            if room <= 0:
                break
            frame = _take(port.waiting, room)
            port.waiting_bytes -= len(frame)
            batch_bytes += len(frame)
            self._h2.send_data(port.stream_id, frame)
        if batch_bytes >= _MAX_BATCH_BYTES:
            self.schedule_flush(port)
        elif not port.waiting:
            self._busy.pop(port.stream_id, None)
            if port.ending:
                self._h2.end_stream(port.stream_id)
                self._forget(port)

    def _write(self) -> None:
        data = self._h2.data_to_send()
        if data and self._transport is not None:
            self._transport.write(data)

    def _forget(self, port: StreamPort, why: str = "") -> None:
        """Drop a stream; its app is told only of ends that it did not ask for."""
        port.over = True
        port.waiting.clear()
        self._ports.pop(port.stream_id, None)
        self._busy.pop(port.stream_id, None)
        if why and port.app is not None:
            port.app.closed(why)

    def _forget_all(self, why: str) -> None:
        for port in list(self._ports.values()):
            self._forget(port, why)


def _take(waiting: deque[bytes], room: int) -> bytes:
    """Take up to `room` bytes off the queue, joining small pieces and splitting the one that does not fit."""
    taken: list[bytes] = []
    while waiting and room > 0:
        piece = waiting.popleft()
        if len(piece) > room:
            waiting.appendleft(piece[room:])
            piece = piece[:room]
        taken.append(piece)
        room -= len(piece)
    return taken[0] if len(taken) == 1 else b"".join(taken)
