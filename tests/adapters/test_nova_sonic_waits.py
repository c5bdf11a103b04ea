"""Streams to Nova Sonic on which somebody waits: for room, for what comes, for the end; and is cancelled."""

import asyncio
import gc

import pytest

from gateway.adapters.nova_channel import MAX_WRITES_UNDER_WAY, RECEIVE_WINDOW_BYTES
from gateway.adapters.nova_sonic import NovaStream
from gateway.core.errors import StreamLost
from tests.adapters.conftest import HELLO, OpenSonic
from tests.adapters.sonic_server import ServerStream, event_frame


async def _send_much(stream: NovaStream) -> None:
    for _ in range(10 * MAX_WRITES_UNDER_WAY):
        await stream.send(b"x" * 60_000)


async def test_a_service_that_stops_reading(open_sonic: OpenSonic) -> None:
    """When the service takes nothing more, sending waits, gives up in time, and close does not hang."""

    async def script(stream: ServerStream) -> None:
        await stream.next_event()
        stream.respond()
        stream.stop_reading()
        await stream.closed.wait()

    async with open_sonic(script, send_timeout_s=0.1, close_timeout_s=0.1) as (_server, sonic):
        stream = await sonic.open([HELLO])
        with pytest.raises(StreamLost, match="takes no more"):
            await _send_much(stream)
        await stream.close()


async def test_a_reader_that_stalls_holds_the_service_back(open_sonic: OpenSonic) -> None:
    """What the service may send ahead is bounded; once read, everything arrives."""
    pieces = 3 * RECEIVE_WINDOW_BYTES // 50_000
    sent = 0
    held_back = asyncio.Event()

    async def script(stream: ServerStream) -> None:
        nonlocal sent
        await stream.next_event()
        stream.respond()
        for _ in range(pieces):
            await stream.send(event_frame(b"y" * 37_000), held_back=held_back)
            sent += 1
        await stream.end()

    async with open_sonic(script) as (_server, sonic):
        stream = await sonic.open([HELLO])
        await held_back.wait()
        assert sent < RECEIVE_WINDOW_BYTES // 50_000 + 2
        received = 0
        while await stream.receive() is not None:
            received += 1
        assert received == pieces
        await stream.close()


@pytest.mark.parametrize("window", [1024 * 1024, 16_384])
async def test_a_long_history_is_sent_whatever_the_window(open_sonic: OpenSonic, window: int) -> None:
    """More than 64 KB of opening events get through to servers that enlarge or reduce the window by SETTINGS."""
    events = [HELLO, *(b"h" * 7_000 for _ in range(40))]
    received: list[bytes | None] = []

    async def script(stream: ServerStream) -> None:
        received.extend([await stream.next_event() for _ in events])
        stream.respond()
        await stream.end()

    async with open_sonic(script, window=window) as (_server, sonic):
        stream = await sonic.open(events)
        assert received == events
        await stream.close()


async def test_cancelled_while_receiving(open_sonic: OpenSonic, caplog: pytest.LogCaptureFixture) -> None:
    """A cancelled receive leaves the stream as it was: the next one gets the event."""
    go_on = asyncio.Event()

    async def script(stream: ServerStream) -> None:
        await stream.next_event()
        stream.respond()
        await go_on.wait()
        await stream.send(event_frame(b"late"), end=True)

    async with open_sonic(script) as (_server, sonic):
        stream = await sonic.open([HELLO])
        waiting = asyncio.ensure_future(stream.receive())
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.wait([waiting])
        assert waiting.cancelled()
        go_on.set()
        assert await stream.receive() == b"late"
        await stream.close()
    assert not caplog.records


async def test_close_while_others_wait(open_sonic: OpenSonic) -> None:
    """Closing wakes a waiting receiver and a waiting sender with the loss of the stream."""

    async def script(stream: ServerStream) -> None:
        await stream.next_event()
        stream.respond()
        stream.stop_reading()
        await stream.closed.wait()

    async with open_sonic(script, close_timeout_s=0.05) as (_server, sonic):
        stream = await sonic.open([HELLO])
        waiting = [asyncio.ensure_future(stream.receive()), asyncio.ensure_future(_send_much(stream))]
        await asyncio.sleep(0.05)
        await stream.close()
        results = await asyncio.gather(*waiting, return_exceptions=True)
        assert [type(result) for result in results] == [StreamLost, StreamLost]


async def test_cancelled_while_closing(open_sonic: OpenSonic) -> None:
    """A close that is cancelled while it waits for a polite end cuts the connection all the same."""

    async def script(stream: ServerStream) -> None:
        stream.respond()
        await stream.closed.wait()

    async with open_sonic(script, close_timeout_s=60.0) as (server, sonic):
        stream = await sonic.open([HELLO])
        closing = asyncio.ensure_future(stream.close())
        await asyncio.sleep(0)
        closing.cancel()
        await asyncio.wait([closing])
        assert closing.cancelled()
        await server.emptied()
        with pytest.raises(StreamLost):
            await stream.send(b"{}")
        with pytest.raises(StreamLost):
            await stream.receive()


async def test_cancelled_while_opening(open_sonic: OpenSonic, caplog: pytest.LogCaptureFixture) -> None:
    """An opening that is cancelled at any point leaves no connection and no complaint behind."""

    async def script(stream: ServerStream) -> None:
        await stream.closed.wait()

    async with open_sonic(script) as (server, sonic):
        for turns in (0, 1, 3, 10, 100, 1000):
            opening = asyncio.ensure_future(sonic.open([HELLO]))
            for _ in range(turns):
                await asyncio.sleep(0)
            opening.cancel()
            await asyncio.wait([opening])
            assert opening.cancelled()
        await server.emptied()
        gc.collect()
    assert not caplog.records
