"""HTTP/2 below the streams: windows, many streams at once, bad clients; both ends joined in memory."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.events import ConnectionTerminated, DataReceived, ResponseReceived, StreamEnded, StreamReset
from h2.settings import SettingCodes, Settings

from infra.local.nova import http2
from infra.local.nova.http2 import Http2Connection, StreamPort

HEADERS = [(":method", "POST"), (":path", "/x"), (":scheme", "https"), (":authority", "a")]


class App:
    """Keeps what it is told."""

    def __init__(self, headers: Mapping[str, str], port: StreamPort) -> None:
        self.headers = headers
        self.port = port
        self.data = bytearray()
        self.ended = False
        self.why = ""

    def data_received(self, data: bytes) -> None:
        self.data += data

    def input_ended(self) -> None:
        self.ended = True

    def closed(self, why: str) -> None:
        self.why = why


class Wire:
    """A server connection and a client, with the bytes between them in the test's hands."""

    def __init__(self, window: int | None = None) -> None:
        self.apps: list[App] = []
        self.server = Http2Connection(self._open)
        self.outbox = bytearray()
        self.writes = 0
        self.state = "open"
        self.client = H2Connection(H2Configuration(client_side=True))
        if window is not None:
            self.client.local_settings = Settings(initial_values={SettingCodes.INITIAL_WINDOW_SIZE: window})
        self.events: list[Any] = []
        self.server.connection_made(self)  # type: ignore[arg-type]  # as much of a transport as is needed
        self.client.initiate_connection()
        self.exchange()

    def _open(self, headers: Mapping[str, str], port: StreamPort) -> App:
        self.apps.append(App(headers, port))
        return self.apps[-1]

    # What the server calls.

    def write(self, data: bytes) -> None:
        self.outbox += data
        self.writes += 1

    def close(self) -> None:
        self.state = "closed"

    def abort(self) -> None:
        self.state = "aborted"

    def get_extra_info(self, _name: str) -> None:
        return None

    # What the test calls.

    def exchange(self) -> list[Any]:
        """Carry bytes both ways once; returns what the client has seen."""
        self.server.data_received(self.client.data_to_send())
        taken, self.outbox = bytes(self.outbox), bytearray()
        seen = self.client.receive_data(taken)
        self.events += seen
        return seen

    async def settle(self) -> list[Any]:
        """Let the server flush and carry bytes until nothing moves; returns what the client has seen."""
        seen: list[Any] = []
        for _ in range(3):
            await asyncio.sleep(0)
            seen += self.exchange()
        return seen

    def request(self) -> App:
        stream_id = self.client.get_next_available_stream_id()
        self.client.send_headers(stream_id, HEADERS)
        self.exchange()
        return self.apps[-1]

    def received(self, stream_id: int) -> bytes:
        return b"".join(
            event.data for event in self.events if isinstance(event, DataReceived) and event.stream_id == stream_id
        )


async def test_a_request_and_its_response() -> None:
    """Headers, body, response and both ends."""
    wire = Wire()
    app = wire.request()
    assert app.headers[":path"] == "/x"
    wire.client.send_data(1, b"ping", end_stream=True)
    wire.exchange()
    assert (bytes(app.data), app.ended) == (b"ping", True)
    app.port.respond(200, {"content-type": "text/plain"})
    app.port.send(b"pong")
    app.port.end()
    await wire.settle()
    response = next(event for event in wire.events if isinstance(event, ResponseReceived))
    assert dict(response.headers)[b":status"] == b"200"
    assert wire.received(1) == b"pong"
    assert any(isinstance(event, StreamEnded) for event in wire.events)


async def test_what_is_sent_in_one_turn_leaves_in_one_write() -> None:
    """Many small pieces on many streams are one write to the socket."""
    wire = Wire()
    apps = [wire.request() for _ in range(10)]
    wire.writes = 0
    for app in apps:
        app.port.respond(200, {})
        for _ in range(5):
            app.port.send(b"piece")
    await asyncio.sleep(0)
    assert wire.writes == 1
    await wire.settle()
    assert {wire.received(app.port.stream_id) for app in apps} == {b"piece" * 5}


async def test_a_connection_carries_many_streams() -> None:
    """Hundreds of streams share one connection, each with its own data."""
    wire = Wire()
    apps = [wire.request() for _ in range(300)]
    for app in apps:
        wire.client.send_data(app.port.stream_id, str(app.port.stream_id).encode())
    wire.exchange()
    assert [bytes(app.data) for app in apps] == [str(app.port.stream_id).encode() for app in apps]


async def test_a_small_window_is_respected() -> None:
    """With a window of 1000 bytes, data comes as the client makes room, whole and in order."""
    wire = Wire(window=1000)
    app = wire.request()
    app.port.respond(200, {})
    body = bytes(range(256)) * 40
    app.port.send(body)
    app.port.end()
    while len(wire.received(1)) < len(body):
        before = len(wire.received(1))
        seen = await wire.settle()
        arrived = sum(len(event.data) for event in seen if isinstance(event, DataReceived))
        assert 0 < arrived <= 1000, before
        wire.client.acknowledge_received_data(arrived, 1)
    await wire.settle()
    assert wire.received(1) == body
    assert any(isinstance(event, StreamEnded) for event in wire.events)


async def test_a_full_window_of_one_stream_leaves_others_alone() -> None:
    """A client that does not read one stream still gets the others."""
    wire = Wire(window=1000)
    stuck, other = wire.request(), wire.request()
    for app in (stuck, other):
        app.port.respond(200, {})
    stuck.port.send(bytes(5000))
    other.port.send(b"hello")
    await wire.settle()
    assert len(wire.received(1)) == 1000
    assert wire.received(3) == b"hello"


async def test_input_is_taken_beyond_the_first_window() -> None:
    """The server makes room as it takes data: a megabyte passes through the default window of 64 KB."""
    wire = Wire()
    app = wire.request()
    left = 1 << 20
    while left:
        room = min(left, wire.client.local_flow_control_window(1), wire.client.max_outbound_frame_size)
        assert room > 0
        wire.client.send_data(1, bytes(room))
        left -= room
        wire.exchange()
    assert len(app.data) == 1 << 20


async def test_input_after_the_response_still_makes_room() -> None:
    """A client that goes on sending after the end of the response does not starve its other streams."""
    wire = Wire()
    done, other = wire.request(), wire.request()
    done.port.respond(200, {})
    done.port.end()
    await wire.settle()
    for _ in range(20):
        wire.client.send_data(1, bytes(10_000))
        wire.exchange()
    wire.client.send_data(3, b"still here")
    wire.exchange()
    assert bytes(other.data) == b"still here"


async def test_a_client_that_never_reads_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """What waits for a client is bounded; its stream alone is reset."""
    monkeypatch.setattr(http2, "_MAX_WAITING_BYTES", 10_000)
    wire = Wire(window=1000)
    slow, other = wire.request(), wire.request()
    slow.port.respond(200, {})
    slow.port.send(bytes(9_000))
    await wire.settle()
    assert slow.why == ""
    slow.port.send(bytes(9_000))
    await wire.settle()
    assert slow.why == "client_too_slow"
    reset = next(event for event in wire.events if isinstance(event, StreamReset))
    assert reset.error_code == ErrorCodes.ENHANCE_YOUR_CALM
    assert other.why == ""


async def test_a_reset_by_the_client_is_told() -> None:
    """The app learns of it, the others do not, and sending into it is no error."""
    wire = Wire()
    first, second = wire.request(), wire.request()
    wire.client.reset_stream(1)
    wire.exchange()
    assert (first.why, second.why) == ("client_reset", "")
    first.port.respond(200, {})
    first.port.send(b"late")
    first.port.end()
    first.port.reset(0)
    await wire.settle()


async def test_a_reset_by_the_app_follows_what_was_sent() -> None:
    """Data queued before the reset arrives first."""
    wire = Wire()
    app = wire.request()
    app.port.respond(200, {})
    app.port.send(b"last words")
    app.port.reset(2)
    await wire.settle()
    assert wire.received(1) == b"last words"
    assert wire.events[-1].error_code == 2
    assert app.why == ""


async def test_goaway_then_silence() -> None:
    """After GOAWAY nothing is read or written and the socket stays."""
    wire = Wire()
    app = wire.request()
    app.port.respond(200, {})
    app.port.send(b"last words")
    app.port.goaway_and_silence()
    await wire.settle()
    assert wire.received(1) == b"last words"
    assert any(isinstance(event, ConnectionTerminated) for event in wire.events)
    wire.writes = 0
    app.port.send(b"more")
    wire.server.data_received(b"whatever")
    await asyncio.sleep(0)
    assert (wire.writes, wire.state) == (0, "open")


async def test_an_abort_drops_the_connection() -> None:
    """The transport is aborted, and nothing more is written."""
    wire = Wire()
    app = wire.request()
    app.port.abort_connection()
    assert wire.state == "aborted"
    wire.server.connection_lost(None)
    assert app.why == "connection_lost"


async def test_garbage_closes_the_connection() -> None:
    """A client that does not speak HTTP/2 is shown the door, and its streams are told."""
    wire = Wire()
    app = wire.request()
    data_frame_without_a_stream = b"\x00\x00\x01\x00\x00\x00\x00\x00\x00x"
    wire.server.data_received(data_frame_without_a_stream)
    assert (app.why, wire.state) == ("protocol_error", "closed")


async def test_goaway_of_the_client_ends_its_streams() -> None:
    """A client that says goodbye with streams open has given them up."""
    wire = Wire()
    app = wire.request()
    wire.client.close_connection()
    wire.server.data_received(wire.client.data_to_send())
    assert (app.why, wire.state) == ("client_goaway", "closed")


async def test_a_socket_that_takes_no_more_is_waited_for() -> None:
    """While the socket is full nothing is handed to it, and all of it afterwards."""
    wire = Wire()
    app = wire.request()
    app.port.respond(200, {})
    await wire.settle()
    wire.server.pause_writing()
    app.port.send(b"later")
    await wire.settle()
    assert wire.received(1) == b""
    wire.server.resume_writing()
    await wire.settle()
    assert wire.received(1) == b"later"


async def test_closing_says_goodbye() -> None:
    """A server that stops sends GOAWAY and tells its streams."""
    wire = Wire()
    app = wire.request()
    wire.server.close()
    assert (app.why, wire.state) == ("server_stopped", "closed")
    assert any(isinstance(event, ConnectionTerminated) for event in wire.client.receive_data(bytes(wire.outbox)))
