"""Streams to Nova Sonic that are lost: told as what they are, and nothing is left of them."""

import asyncio
import gc
import threading
from contextlib import suppress
from pathlib import Path

import pytest

from gateway.adapters.nova_sonic import NovaSonic, fault_of
from gateway.core.errors import RemoteError, ServiceUnavailable, StreamLost, StreamRejected, Throttled
from gateway.core.nova_events import Fault
from tests.adapters.conftest import HELLO, OpenSonic
from tests.adapters.sonic_server import Script, ServerStream, SonicServer, event_frame, exception_frame


async def _answer_then(stream: ServerStream, fault: Script) -> None:
    await stream.next_event()
    stream.respond()
    await stream.send(event_frame(b"chunk"))
    await fault(stream)


async def _reset_politely(stream: ServerStream) -> None:
    stream.reset(0)


async def _reset_with_error(stream: ServerStream) -> None:
    stream.reset(2)


async def _partial_frame(stream: ServerStream) -> None:
    await stream.send(event_frame(b"cut")[:20])
    stream.reset(2)


async def _partial_frame_and_end(stream: ServerStream) -> None:
    await stream.send(event_frame(b"cut")[:20], end=True)


async def _abort(stream: ServerStream) -> None:
    stream.abort()


async def _goaway_and_silence(stream: ServerStream) -> None:
    stream.goaway()
    await stream.closed.wait()


async def _silence(stream: ServerStream) -> None:
    await stream.closed.wait()


BREAKS = [
    _reset_politely,
    _reset_with_error,
    _partial_frame,
    _partial_frame_and_end,
    _abort,
    _goaway_and_silence,
    _silence,
]


@pytest.mark.parametrize("fault", BREAKS)
async def test_every_way_to_lose_a_stream(open_sonic: OpenSonic, fault: Script) -> None:
    """What came before is delivered; the loss is told as one; nothing blocks afterwards, and close leaves nothing."""
    async with open_sonic(lambda stream: _answer_then(stream, fault), receive_timeout_s=0.5) as (server, sonic):
        stream = await sonic.open([HELLO])
        assert await stream.receive() == b"chunk"
        with pytest.raises(StreamLost) as lost:
            await stream.receive()
        assert fault_of(lost.value) is Fault.STREAM_LOST
        for _ in range(40):
            with suppress(StreamLost):
                await stream.send(b"{}")
        await stream.close()
        await stream.close()
        await server.idle.wait()
        assert not server.connections


@pytest.mark.parametrize(
    ("kind", "message", "error", "fault"),
    [
        ("validationException", "Invalid input request, please fix", StreamRejected, Fault.INPUT_REJECTED),
        ("validationException", "System instability detected.", ServiceUnavailable, Fault.OVERLOADED),
        ("validationException", "Chat history is over max limit.", StreamRejected, Fault.HISTORY_REJECTED),
        ("throttlingException", "Too many requests", Throttled, Fault.THROTTLED),
        ("modelTimeoutException", "Model has timed out", StreamLost, Fault.TIME_LIMIT),
        ("modelStreamErrorException", "", StreamLost, Fault.STREAM_LOST),
        ("serviceUnavailableException", "", ServiceUnavailable, Fault.OVERLOADED),
        ("internalServerException", "", ServiceUnavailable, Fault.OVERLOADED),
        ("brandNewException", "unheard of", StreamLost, Fault.STREAM_LOST),
    ],
)
async def test_errors_within_a_stream(
    open_sonic: OpenSonic, kind: str, message: str, error: type[RemoteError], fault: Fault
) -> None:
    """Each exception of the service becomes the error of its meaning, without the service's text."""

    async def script(stream: ServerStream) -> None:
        await stream.next_event()
        stream.respond()
        await stream.send(exception_frame(kind, message), end=True)

    async with open_sonic(script) as (_server, sonic):
        stream = await sonic.open([HELLO])
        with pytest.raises(error) as caught:
            await stream.receive()
        assert fault_of(caught.value) is fault
        assert not message or message not in str(caught.value)
        assert caught.value.__cause__ is None
        await stream.close()


def _open_files() -> int:
    descriptors = Path("/proc/self/fd")
    return len(list(descriptors.iterdir())) if descriptors.is_dir() else 0


async def test_nothing_leaks(open_sonic: OpenSonic, caplog: pytest.LogCaptureFixture) -> None:
    """Opening and losing streams in every way leaves no file, thread, task or logged complaint behind."""
    faults = iter([*BREAKS, *BREAKS])

    async def script(stream: ServerStream) -> None:
        fault = next(faults)
        await _answer_then(stream, fault)

    async def use_once(sonic: NovaSonic, server: SonicServer) -> None:
        stream = await sonic.open([HELLO])
        with suppress(StreamLost):
            while await stream.receive() is not None:
                pass
        with suppress(StreamLost):
            await stream.send(b"{}")
        await stream.close()
        await server.idle.wait()

    async with open_sonic(script, receive_timeout_s=0.05) as (server, sonic):
        for _ in BREAKS:
            await use_once(sonic, server)
        gc.collect()
        before = _open_files(), threading.active_count(), len(asyncio.all_tasks())
        for _ in BREAKS:
            await use_once(sonic, server)
        gc.collect()
        assert (_open_files(), threading.active_count(), len(asyncio.all_tasks())) == before
    assert not caplog.records
