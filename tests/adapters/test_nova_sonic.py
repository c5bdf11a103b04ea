"""Streams to Nova Sonic: opened, used and closed, against a real HTTP/2 server over TLS."""

import asyncio
import threading
from base64 import b64encode
from typing import Any

import awscrt
import pytest
from aiohttp import web

from gateway.adapters import crt_write
from gateway.adapters.nova_channel import MAX_WRITES_UNDER_WAY, Channel
from gateway.core.errors import RemoteError, StreamLost, StreamRejected
from tests.adapters.conftest import HELLO, OpenSonic, echo
from tests.adapters.sonic_server import ServerStream, event_frame, exception_frame


async def test_a_conversation_both_ways(open_sonic: OpenSonic) -> None:
    """Events reach the service in order as sent, and come back as the service sent them."""
    events = [HELLO, b'{"event":{"audioInput":{}}}', b"x" * 30_000]
    async with open_sonic(echo) as (_server, sonic):
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
        for _ in range(2):
            with pytest.raises(RemoteError):
                await next_event()
        with pytest.raises(RemoteError):
            stream.receive_now()
        await stream.close()


@pytest.mark.parametrize("last", [event_frame(b"\xff")[:-1] + b"!", exception_frame("validationException", "no")])
async def test_a_listener_takes_what_comes_and_the_receiver_learns_of_the_end(
    open_sonic: OpenSonic, last: bytes
) -> None:
    """Each event as it comes, while `receive` goes on waiting; only what ends the stream wakes it."""
    asked = asyncio.Event()

    async def script(stream: ServerStream) -> None:
        await stream.next_event()
        stream.respond()
        for number in range(4):
            await asked.wait()
            asked.clear()
            await stream.send(event_frame(b"%d" % number) if number < 3 else last)
        await stream.closed.wait()

    async with open_sonic(script) as (_server, sonic):
        stream = await sonic.open([HELLO])
        taken: list[bytes] = []

        def heard() -> bool:
            try:
                while (event := stream.receive_now()) is not None:
                    taken.append(event)
            except RemoteError:
                return False
            finally:
                asked.set()
            return True

        stream.listen(heard)
        waiting = asyncio.ensure_future(stream.receive())
        await asyncio.sleep(0)
        asked.set()
        with pytest.raises(RemoteError):
            await waiting
        assert taken == [b"0", b"1", b"2"]
        await stream.close()


async def test_what_a_listener_hears_is_no_silence(open_sonic: OpenSonic) -> None:
    """The limit counts from the last that came, though `receive` has waited for longer."""

    async def script(stream: ServerStream) -> None:
        await stream.next_event()
        stream.respond()
        for _ in range(3):
            await asyncio.sleep(0.6)
            await stream.send(event_frame(b"one"))
        await stream.closed.wait()

    async with open_sonic(script, receive_timeout_s=1.0) as (_server, sonic):
        stream = await sonic.open([HELLO])
        taken: list[bytes | None] = []

        def heard() -> bool:
            taken.append(stream.receive_now())
            return True

        stream.listen(heard)
        with pytest.raises(StreamLost):
            await stream.receive()
        assert taken == [b"one"] * 3
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
        await echo(stream)

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


@pytest.mark.parametrize("version", [awscrt.__version__, "99.0.0"])
async def test_either_way_of_writing(open_sonic: OpenSonic, monkeypatch: pytest.MonkeyPatch, version: str) -> None:
    """Events of every size arrive, also those that awscrt reads in many pieces, and the body ends in order."""
    monkeypatch.setattr(crt_write, "write", crt_write.choose_write(version))
    events = [HELLO, b"", b"x" * 100, b"y" * 20_000, b"z" * 300_000]
    async with open_sonic(echo) as (_server, sonic):
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
    async with open_sonic(echo) as (_server, sonic):
        for _ in range(2):
            stream = await sonic.open([HELLO])
            for _ in range(2):
                assert await stream.receive() == HELLO
                await stream.send(HELLO)
            await stream.close()
    assert len(counts) >= 4
    assert counts == list(range(1, len(counts) + 1))


async def test_two_streams_have_a_connection_each(open_sonic: OpenSonic) -> None:
    """The stream of the next part does not share the fate of the old one."""
    async with open_sonic(echo) as (server, sonic):
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
        await echo(stream)

    async with open_sonic(script) as (_server, sonic):
        stream = await sonic.open([HELLO])
        assert stream.credentials_expire_at_s == 4_070_908_800
        assert seen[0]["x-amz-security-token"] == "session-token"
        await stream.close()
    await runner.cleanup()


async def test_lasting_credentials_have_no_end(open_sonic: OpenSonic) -> None:
    """Credentials from the environment say nothing about their end."""
    async with open_sonic(echo) as (_server, sonic):
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
