"""The adapters on the event loop that the relay uses, whose transports and errors are its own."""

import asyncio
from pathlib import Path

import pytest

from gateway.adapters.bus import Bus, BusEvent, BusKind
from gateway.adapters.connections import Connections
from gateway.adapters.nova_sonic import NovaSonic
from gateway.adapters.redis_client import channel_of, make_client
from gateway.core.errors import PhoneGone, StreamLost
from gateway.settings import redis_settings, sonic_settings
from tests.adapters.sonic_server import ServerStream, event_frame, make_certificate, serve
from tests.adapters.test_connections import post

uvloop = pytest.importorskip("uvloop")


def _run(work: object) -> None:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(work)  # type: ignore[arg-type]


def test_a_stream(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Events go both ways, a broken stream is told, and it closes."""

    async def script(stream: ServerStream) -> None:
        event = await stream.next_event() or b""
        stream.respond()
        await stream.send(event_frame(event))
        assert await stream.next_event() == b"second"
        stream.reset(2)

    async def use() -> None:
        certificate = make_certificate(tmp_path)
        async with serve(script, certificate) as server:
            monkeypatch.setenv("AWS_ENDPOINT_URL_BEDROCK_RUNTIME", server.url)
            monkeypatch.setenv("AWS_CA_BUNDLE", str(certificate.certificate))
            sonic = NovaSonic(sonic_settings())
            stream = await sonic.open([b"first"])
            assert await stream.receive() == b"first"
            await stream.send(b"second")
            with pytest.raises(StreamLost):
                await stream.receive()
            await stream.close()
            await sonic.close()

    _run(use())


def test_posts(monkeypatch: pytest.MonkeyPatch) -> None:
    """A post arrives over a kept connection; a closed phone is told."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for status in (b"200 OK", b"410 Gone"):
            await reader.readuntil(b"\r\n\r\n")
            await reader.readexactly(1)
            writer.write(b"HTTP/1.1 " + status + b"\r\ncontent-length: 0\r\n\r\n")
        writer.close()

    async def use() -> None:
        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        monkeypatch.setenv("AWS_ENDPOINT_URL_APIGATEWAYMANAGEMENTAPI", f"http://127.0.0.1:{port}")
        connections = Connections()
        await post(connections, "c", "x")
        with pytest.raises(PhoneGone):
            await post(connections, "c", "y")
        await connections.close()
        server.close()

    _run(use())


def test_the_bus(valkey: str) -> None:
    """Messages come, and a broken connection is replaced."""

    async def use() -> None:
        settings = redis_settings({"REDIS_URL": valkey})
        client = make_client(settings)
        bus = Bus(settings, client, "ann")
        heard: asyncio.Queue[BusEvent] = asyncio.Queue()
        await bus.open()
        listening = asyncio.ensure_future(bus.listen(heard.put_nowait))
        await client.spublish(channel_of("ann"), "1 m c 1 2\nfirst")
        assert (await heard.get()).body == b"first"
        await client.execute_command("CLIENT KILL TYPE pubsub")
        assert [(await heard.get()).kind for _ in range(2)] == [BusKind.LOST, BusKind.SUBSCRIBED]
        await bus.close()
        await listening
        await client.aclose()

    _run(use())
