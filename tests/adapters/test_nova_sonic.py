"""Streams to Nova Sonic: opened, used, lost in every way and closed, against a real HTTP/2 server over TLS."""

import asyncio
import gc
import json
import threading
from base64 import b64encode
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import awscrt
import pytest
from aiohttp import web

from gateway.adapters import crt_write
from gateway.adapters.nova_channel import MAX_WRITES_UNDER_WAY, RECEIVE_WINDOW_BYTES, Channel
from gateway.adapters.nova_sonic import NovaSonic, NovaStream, fault_of
from gateway.core.errors import (
    AccessRefused,
    RemoteError,
    RemoteTimeout,
    ServiceUnavailable,
    StreamLost,
    StreamRejected,
    Throttled,
)
from gateway.core.nova_events import Fault
from gateway.settings import sonic_settings
from tests.adapters.sonic_server import (
    Certificate,
    Script,
    ServerStream,
    SonicServer,
    event_frame,
    exception_frame,
    make_certificate,
    serve,
)

HELLO = b'{"event":{"sessionStart":{}}}'

type OpenSonic = Callable[..., AbstractAsyncContextManager[tuple[SonicServer, NovaSonic]]]


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return make_certificate(tmp_path_factory.mktemp("certificates"))


@pytest.fixture
def open_sonic(certificate: Certificate, monkeypatch: pytest.MonkeyPatch) -> OpenSonic:
    """A server that follows a script, and a NovaSonic that finds it through the standard variables."""

    @asynccontextmanager
    async def opened(
        script: Script, *, alpn: str = "h2", window: int | None = None, **limits: float
    ) -> AsyncIterator[tuple[SonicServer, NovaSonic]]:
        async with serve(script, certificate, alpn=alpn, window=window) as server:
            monkeypatch.setenv("AWS_ENDPOINT_URL_BEDROCK_RUNTIME", server.url)
            monkeypatch.setenv("AWS_CA_BUNDLE", str(certificate.certificate))
            sonic = NovaSonic(replace(sonic_settings(), **cast("Any", limits)))
            try:
                yield server, sonic
            finally:
                await sonic.close()

    return opened


async def _echo(stream: ServerStream) -> None:
    event = await stream.next_event()
    stream.respond()
    while event is not None:
        await stream.send(event_frame(event))
        event = await stream.next_event()
    await stream.end()


async def test_a_conversation_both_ways(open_sonic: OpenSonic) -> None:
    """Events reach the service in order as sent, and come back as the service sent them."""
    events = [HELLO, b'{"event":{"audioInput":{}}}', b"x" * 30_000]
    async with open_sonic(_echo) as (_server, sonic):
        stream = await sonic.open(events[:1])
        for event in events[1:]:
            await stream.send(event)
        assert [await stream.receive() for _ in events] == events
        await stream.close()


async def test_events_that_have_come_are_read_without_waiting(open_sonic: OpenSonic) -> None:
    """In order with those that are waited for, and what the service ended the stream with after them."""

    async def script(stream: ServerStream) -> None:
        await stream.next_event()
        stream.respond()
        await stream.send(event_frame(b"one") + event_frame(b"two"))
        await stream.send(event_frame(b"three") + exception_frame("validationException", "no"))
        await stream.end()

    async with open_sonic(script) as (_server, sonic):
        stream = await sonic.open([HELLO])

        async def next_event() -> bytes | None:
            now = stream.receive_now()
            return await stream.receive() if now is None else now

        assert await stream.receive() == b"one"
        assert stream.receive_now() == b"two"
        assert await next_event() == b"three"
        with pytest.raises(RemoteError):
            await next_event()
        assert stream.receive_now() is None
        await stream.close()


async def test_events_that_need_not_wait_go_at_once_and_the_others_are_refused(open_sonic: OpenSonic) -> None:
    """`send_now` keeps the order of `send`, and takes nothing while the service takes nothing."""
    heard: list[bytes] = []

    async def script(stream: ServerStream) -> None:
        heard.append(await stream.next_event() or b"")
        stream.respond()
        while (event := await stream.next_event()) is not None:
            heard.append(event)
        await stream.end()

    async with open_sonic(script) as (server, sonic):
        stream = await sonic.open([HELLO])
        sent = [HELLO]
        for number in range(MAX_WRITES_UNDER_WAY * 4):
            event = b"%d" % number
            if stream.send_now(event):
                sent.append(event)
        assert len(sent) <= MAX_WRITES_UNDER_WAY * 2
        await stream.send(b"after")
        await stream.close()
        with pytest.raises(StreamLost):
            stream.send_now(b"late")
        await server.idle.wait()
    assert heard == [*sent, b"after"]


async def test_the_request_is_the_services(open_sonic: OpenSonic) -> None:
    """Path, region, service and content type are what Bedrock asks for; the model's colon is percent-encoded."""
    seen: list[dict[str, str]] = []

    async def script(stream: ServerStream) -> None:
        seen.append(stream.headers)
        await _echo(stream)

    async with open_sonic(script) as (_server, sonic):
        stream = await sonic.open([HELLO])
        await stream.close()
    assert seen[0][":method"] == "POST"
    assert seen[0][":path"] == "/model/amazon.nova-2-sonic-v1%3A0/invoke-with-bidirectional-stream"
    assert "/us-east-1/bedrock/aws4_request" in seen[0]["authorization"]
    assert seen[0]["content-type"] == "application/vnd.amazon.eventstream"
    assert seen[0]["x-amz-content-sha256"] == "STREAMING-AWS4-HMAC-SHA256-EVENTS"
    assert seen[0]["user-agent"].startswith("aws-sdk-python/")


async def test_a_polite_end_is_no_error(open_sonic: OpenSonic) -> None:
    """END_STREAM of the service ends `receive` with None, again and again, and sending is refused."""

    async def script(stream: ServerStream) -> None:
        await stream.next_event()
        stream.respond()
        await stream.send(event_frame(b"last"), end=True)

    async with open_sonic(script) as (_server, sonic):
        stream = await sonic.open([HELLO])
        assert [await stream.receive() for _ in range(3)] == [b"last", None, None]
        with pytest.raises(StreamLost):
            await stream.send(b"{}")
        await stream.close()


async def test_close_ends_the_body_with_the_signed_empty_frame(open_sonic: OpenSonic) -> None:
    """The service sees every event, then the empty frame, then the end of the body."""
    seen: list[bytes] = []

    async def script(stream: ServerStream) -> None:
        stream.respond()
        while (outer := await stream.frames.get()) is not None:
            seen.append(outer)
        await stream.end()

    async with open_sonic(script) as (server, sonic):
        stream = await sonic.open([HELLO, HELLO])
        await stream.close()
        await server.idle.wait()
    assert len(seen) == 3
    assert seen[-1][12:18] == b"\x05:date"
    assert len(seen[-1]) < 100


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
    async with open_sonic(lambda stream: _answer_then(stream, fault), receive_timeout_s=0.1) as (server, sonic):
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


@pytest.mark.parametrize(
    ("status", "kind", "message", "error"),
    [
        (403, "UnrecognizedClientException", "The security token included in the request is invalid.", AccessRefused),
        (403, "AccessDeniedException", "not authorized", AccessRefused),
        (403, "ExpiredTokenException:http://internal/", "too old", StreamLost),
        (404, "ResourceNotFoundException", "no model", AccessRefused),
        (429, "ThrottlingException", "Too many requests", Throttled),
        (429, "ModelNotReadyException", "not ready", ServiceUnavailable),
        (400, "ServiceQuotaExceededException", "quota", Throttled),
        (400, "ValidationException", "The provided model identifier is invalid.", AccessRefused),
        (503, "ServiceUnavailableException", "", ServiceUnavailable),
        (500, "", "", StreamLost),
    ],
)
async def test_refusals_instead_of_a_stream(
    open_sonic: OpenSonic, status: int, kind: str, message: str, error: type[RemoteError]
) -> None:
    """An HTTP error at opening is told by its meaning, and the connection is closed."""

    async def script(stream: ServerStream) -> None:
        await stream.next_event()
        stream.respond(status, content_type="application/json", error_type=kind)
        await stream.send(json.dumps({"message": message}).encode(), end=True)

    async with open_sonic(script) as (server, sonic):
        with pytest.raises(error) as caught:
            await sonic.open([HELLO])
        assert not message or message not in str(caught.value)
        await server.idle.wait()


async def test_a_refusal_before_all_was_sent(open_sonic: OpenSonic) -> None:
    """A service that resets right after refusing still has its refusal told, however much was to be sent."""

    async def script(stream: ServerStream) -> None:
        stream.respond(403, error_type="AccessDeniedException")
        await stream.send(b'{"message":"no"}', end=True)
        stream.reset(0)

    async with open_sonic(script) as (_server, sonic):
        with pytest.raises(AccessRefused):
            await sonic.open([b"x" * 5_000] * 300)


async def test_headers_that_never_come(open_sonic: OpenSonic) -> None:
    """A service that never answers is given up after the time limit, and its connection closed."""

    async def script(stream: ServerStream) -> None:
        await stream.closed.wait()

    async with open_sonic(script, open_timeout_s=0.3) as (server, sonic):
        with pytest.raises(RemoteTimeout):
            await sonic.open([HELLO])
        await server.idle.wait()


async def test_http_1_is_refused_at_once(open_sonic: OpenSonic) -> None:
    """Without HTTP/2 there is no stream, and no waiting either."""
    async with open_sonic(_echo, alpn="http/1.1") as (_server, sonic):
        with pytest.raises(StreamLost, match=r"UNSUPPORTED_PROTOCOL|ALPN"):
            await sonic.open([HELLO])


async def test_an_unknown_authority_is_refused(
    open_sonic: OpenSonic, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server whose certificate is signed by nobody we trust gets nothing."""
    async with open_sonic(_echo) as (server, _sonic):
        other = make_certificate(tmp_path)
        monkeypatch.setenv("AWS_CA_BUNDLE", str(other.certificate))
        # TLS libraries delay their answer to a failed handshake on purpose, so the time limit may come first.
        sonic = NovaSonic(replace(sonic_settings(), open_timeout_s=0.5))
        with pytest.raises((StreamLost, RemoteTimeout)):
            await sonic.open([HELLO])
        await sonic.close()
        assert not server.heard


async def test_nobody_listens(certificate: Certificate, monkeypatch: pytest.MonkeyPatch) -> None:
    """A refused connection is a lost stream at once."""
    async with serve(_echo, certificate) as server:
        url = server.url
    monkeypatch.setenv("AWS_ENDPOINT_URL_BEDROCK_RUNTIME", url)
    sonic = NovaSonic(sonic_settings())
    with pytest.raises(StreamLost, match="CONNECTION_REFUSED"):
        await sonic.open([HELLO])
    await sonic.close()


async def test_no_credentials(open_sonic: OpenSonic, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without credentials the refusal is immediate and says so."""
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    async with open_sonic(_echo) as (server, sonic):
        with pytest.raises(AccessRefused, match="no credentials"):
            await sonic.open([HELLO])
        assert server.accepted == 0


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


@pytest.mark.parametrize("version", [awscrt.__version__, "99.0.0"])
async def test_either_way_of_writing(open_sonic: OpenSonic, monkeypatch: pytest.MonkeyPatch, version: str) -> None:
    """Events of every size arrive, also those that awscrt reads in many pieces, and the body ends in order."""
    monkeypatch.setattr(crt_write, "write", crt_write.choose_write(version))
    events = [HELLO, b"", b"x" * 100, b"y" * 20_000, b"z" * 300_000]
    async with open_sonic(_echo) as (_server, sonic):
        stream = await sonic.open(events[:1])
        for event in events[1:]:
            await stream.send(event)
        assert [await stream.receive() for _ in events] == events
        await stream.close()


def test_the_direct_write_is_for_versions_that_were_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """The installed awscrt is one of them; any other, or one without the native calls, gets the public call."""
    installed = awscrt.__version__
    direct = crt_write.choose_write(installed)
    public = crt_write.choose_write("99.0.0")
    assert crt_write.write is direct is not public
    monkeypatch.delattr("_awscrt.input_stream_new")
    assert crt_write.choose_write(installed) is public


async def test_the_state_of_the_services_thread_is_kept(open_sonic: OpenSonic, monkeypatch: pytest.MonkeyPatch) -> None:
    """From one callback to the next, over streams: what is local to awscrt's thread is still there."""
    local = threading.local()
    counts: list[int] = []
    on_body = Channel._on_body

    def counting(channel: Channel, chunk: bytes, **more: Any) -> None:
        local.count = getattr(local, "count", 0) + 1
        counts.append(local.count)
        on_body(channel, chunk, **more)

    monkeypatch.setattr(Channel, "_on_body", counting)
    async with open_sonic(_echo) as (_server, sonic):
        for _ in range(2):
            stream = await sonic.open([HELLO])
            for _ in range(2):
                assert await stream.receive() == HELLO
                await stream.send(HELLO)
            await stream.close()
    assert len(counts) >= 4
    assert counts == list(range(1, len(counts) + 1))


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


async def test_two_streams_have_a_connection_each(open_sonic: OpenSonic) -> None:
    """The stream of the next part does not share the fate of the old one."""
    async with open_sonic(_echo) as (server, sonic):
        first, second = await asyncio.gather(sonic.open([HELLO]), sonic.open([HELLO]))
        assert server.accepted == 2
        await first.close()
        await second.send(b"still here")
        assert [await second.receive(), await second.receive()] == [HELLO, b"still here"]
        await second.close()


async def test_credentials_with_an_end(open_sonic: OpenSonic, monkeypatch: pytest.MonkeyPatch) -> None:
    """Credentials of a provider that tells their end give the stream its own end."""

    async def credentials(_request: web.Request) -> web.Response:
        return web.json_response(
            {
                "AccessKeyId": "ASIA",
                "SecretAccessKey": "s",
                "Token": "session-token",
                "Expiration": "2099-01-01T00:00:00Z",
            }
        )

    app = web.Application()
    app.router.add_get("/credentials", credentials)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0]
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", f"http://{host}:{port}/credentials")
    seen: list[dict[str, str]] = []

    async def script(stream: ServerStream) -> None:
        seen.append(stream.headers)
        await _echo(stream)

    async with open_sonic(script) as (_server, sonic):
        stream = await sonic.open([HELLO])
        assert stream.credentials_expire_at_s == 4_070_908_800
        assert seen[0]["x-amz-security-token"] == "session-token"
        await stream.close()
    await runner.cleanup()


async def test_lasting_credentials_have_no_end(open_sonic: OpenSonic) -> None:
    """Credentials from the environment say nothing about their end."""
    async with open_sonic(_echo) as (_server, sonic):
        stream = await sonic.open([HELLO])
        assert stream.credentials_expire_at_s is None
        await stream.close()


async def test_no_event_shows_in_an_error(open_sonic: OpenSonic) -> None:
    """Neither the error nor its context holds what was sent or received."""
    secret = b64encode(b"the learner's voice")

    async def script(stream: ServerStream) -> None:
        event = await stream.next_event() or b""
        stream.respond()
        await stream.send(exception_frame("validationException", f"Invalid input request {event.decode()}"))
        await stream.end()

    async with open_sonic(script) as (_server, sonic):
        stream = await sonic.open([secret])
        with pytest.raises(StreamRejected) as caught:
            await stream.receive()
        assert secret.decode() not in repr(caught.value)
        assert caught.value.__suppress_context__
        await stream.close()
