"""Connections by the network, against small servers on this machine."""

import asyncio
import datetime as dt
import ipaddress
import ssl
from contextlib import asynccontextmanager
from http import HTTPStatus

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from websockets.asyncio.server import serve

from client_sim import network
from client_sim.clock import RealClock
from client_sim.network import ConnectionLost, ConnectionRefused, connector

TOKEN = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJsIn0.c2lnbmF0dXJl"


async def echo(socket):
    """Send back what comes."""
    async for message in socket:
        await socket.send(message)


@asynccontextmanager
async def server(handler=echo, *, protocols=("maya.v1",), **options):
    """A WebSocket server; yields its URL."""
    async with serve(handler, "127.0.0.1", 0, subprotocols=list(protocols) or None, **options) as running:
        port = running.sockets[0].getsockname()[1]
        yield f"{'wss' if 'ssl' in options else 'ws'}://127.0.0.1:{port}/dev"


async def test_messages_both_ways():
    """The subprotocol is agreed, the token is offered as one and not echoed, text passes both ways."""
    seen = []

    async def handler(socket):
        seen.append(socket.request.headers["Sec-WebSocket-Protocol"])
        seen.append(socket.subprotocol)
        seen.append(socket.request.headers.get("Sec-WebSocket-Extensions"))
        await echo(socket)

    async with server(handler) as url:
        connection = await connector()(url, TOKEN)
        await connection.send('{"type":"ping"}')
        assert await connection.receive() == '{"type":"ping"}'
        await connection.close()
        with pytest.raises(ConnectionLost) as lost:
            await connection.receive()
        with pytest.raises(ConnectionLost):
            await connection.send("late")
    assert seen == [f"maya.v1, bearer.{TOKEN}", "maya.v1", None]
    assert lost.value.code == 1000


async def test_a_server_that_goes_away():
    """The close code is told."""

    async def handler(socket):
        await socket.close(1001, "going away")

    async with server(handler) as url:
        connection = await connector()(url, TOKEN)
        with pytest.raises(ConnectionLost) as lost:
            await connection.receive()
    assert lost.value.code == 1001


async def test_a_connection_that_breaks():
    """Without a closing handshake it is 1006."""

    async def handler(socket):
        socket.transport.abort()

    async with server(handler) as url:
        connection = await connector()(url, TOKEN)
        with pytest.raises(ConnectionLost) as lost:
            await connection.receive()
    assert lost.value.code == 1006


@pytest.mark.parametrize(
    ("status", "says"),
    [
        (HTTPStatus.UNAUTHORIZED, "the token is missing"),
        (HTTPStatus.FORBIDDEN, "has not unlocked"),
        (HTTPStatus.NOT_FOUND, "no gateway at this address"),
        (HTTPStatus.TOO_MANY_REQUESTS, "too many connections"),
        (HTTPStatus.BAD_GATEWAY, "refused with 502"),
    ],
)
async def test_refused_upgrades(status, says):
    """The status is kept and put in words; the token is not repeated."""

    def refuse(connection, _request):
        return connection.respond(status, "no\n")

    async with server(process_request=refuse) as url:
        with pytest.raises(ConnectionRefused, match=says) as refused:
            await connector()(url, TOKEN)
    assert refused.value.status == status
    assert TOKEN not in str(refused.value)
    assert refused.value.__cause__ is None


async def test_a_server_that_does_not_speak_maya():
    """The subprotocol has to be echoed."""
    async with server(protocols=()) as url:
        with pytest.raises(ConnectionRefused, match=r"does not speak maya\.v1"):
            await connector()(url, TOKEN)


async def test_nobody_there():
    """A closed port."""
    async with server() as url:
        pass
    with pytest.raises(ConnectionRefused, match="unreachable") as refused:
        await connector()(url, TOKEN)
    assert refused.value.status is None


@pytest.mark.parametrize("url", ["http://127.0.0.1/dev", "127.0.0.1", "wss:///nowhere", "ws://127.0.0.1:99999/"])
async def test_what_is_no_address(url):
    """Said in a sentence."""
    with pytest.raises(ConnectionRefused):
        await connector()(url, TOKEN)


async def test_a_name_that_does_not_exist(monkeypatch):
    """The resolver's answer, without a stack trace."""

    async def nowhere(*_args, **_fields):
        raise OSError(-2, "Name or service not known")

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", nowhere)
    with pytest.raises(ConnectionRefused, match="unreachable: Name or service not known"):
        await connector()("wss://gateway.invalid/dev", TOKEN)


async def test_a_server_of_another_kind():
    """It answers, but not as a WebSocket server does."""

    async def answer(reader, writer):
        await reader.readline()
        writer.write(b"SSH-2.0-OpenSSH\r\n\r\n")
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as running:
        port = running.sockets[0].getsockname()[1]
        with pytest.raises(ConnectionRefused, match="not as a WebSocket server"):
            await connector()(f"ws://127.0.0.1:{port}/", TOKEN)


async def test_a_server_that_never_answers(monkeypatch):
    """There is a limit."""
    monkeypatch.setattr(network, "_OPEN_WITHIN_S", 0.05)

    async def wait(reader, writer):
        await reader.read()
        writer.close()

    async with await asyncio.start_server(wait, "127.0.0.1", 0) as running:
        port = running.sockets[0].getsockname()[1]
        with pytest.raises(ConnectionRefused, match="no answer within"):
            await connector()(f"ws://127.0.0.1:{port}/", TOKEN)


async def test_larger_messages_than_api_gateway_delivers():
    """They end the connection."""

    async def handler(socket):
        await socket.send("x" * 140_000)
        await socket.wait_closed()

    async with server(handler) as url:
        connection = await connector()(url, TOKEN)
        with pytest.raises(ConnectionLost):
            await connection.receive()


def certificate(folder):
    """A certificate for 127.0.0.1 that no one has heard of; returns its file and its key's."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    (folder / "ca.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    (folder / "key.pem").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return folder / "ca.pem", folder / "key.pem"


async def test_certificates(tmp_path):
    """A gateway on this machine is trusted by its own certificate, and only when that is given."""
    ca_file, key_file = certificate(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(ca_file, key_file)
    async with server(ssl=context) as url:
        connection = await connector(ca_file)(url, TOKEN)
        await connection.send("{}")
        assert await connection.receive() == "{}"
        await connection.close()
        with pytest.raises(ConnectionRefused, match="certificate not trusted"):
            await connector()(url, TOKEN)


def test_the_machines_clock_goes_on():
    """In milliseconds."""
    clock = RealClock()
    before = clock.now_ms()
    assert clock.now_ms() >= before
    assert clock.seconds(250) == 0.25
