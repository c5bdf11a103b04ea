"""A small HTTP/2 server over TLS that answers a Nova Sonic stream by a script, with every fault of SERVICE.md W4."""

import asyncio
import datetime as dt
import ipaddress
import json
import ssl
import struct
from base64 import b64decode, b64encode
from binascii import crc32
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.settings
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

EVENT_STREAM = "application/vnd.amazon.eventstream"


@dataclass(frozen=True)
class Certificate:
    """Paths of a self-signed certificate for 127.0.0.1 and its key."""

    certificate: Path
    key: Path


def make_certificate(folder: Path) -> Certificate:
    """Write a certificate that is its own authority."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = dt.datetime.now(dt.UTC)
    alt = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(alt, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    paths = Certificate(folder / "sonic.crt", folder / "sonic.key")
    paths.certificate.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    plain = serialization.NoEncryption()
    paths.key.write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain))
    return paths


def frame(headers: dict[str, str], payload: bytes) -> bytes:
    """One event-stream frame with string headers."""
    encoded = b"".join(
        bytes([len(name)]) + name.encode() + b"\x07" + struct.pack("!H", len(value)) + value.encode()
        for name, value in headers.items()
    )
    prelude = struct.pack("!II", len(encoded) + len(payload) + 16, len(encoded))
    body = prelude + struct.pack("!I", crc32(prelude)) + encoded + payload
    return body + struct.pack("!I", crc32(body))


def event_frame(event: bytes, **extra: str) -> bytes:
    """An event as the service sends it."""
    headers = {":event-type": "chunk", ":content-type": "application/json", ":message-type": "event"}
    return frame(headers, json.dumps({"bytes": b64encode(event).decode(), **extra}).encode())


def exception_frame(kind: str, message: str) -> bytes:
    """An exception as the service sends it."""
    headers = {":exception-type": kind, ":content-type": "application/json", ":message-type": "exception"}
    return frame(headers, json.dumps({"message": message}).encode())


class ServerStream:
    """The server's side of one stream."""

    def __init__(self, protocol: "_Protocol", stream_id: int, headers: dict[str, str]) -> None:
        self.headers = headers
        self.frames: asyncio.Queue[bytes | None] = asyncio.Queue()
        self.closed = asyncio.Event()
        self._protocol = protocol
        self._id = stream_id
        self._buffer = bytearray()

    def feed(self, data: bytes) -> None:
        self._buffer += data
        while len(self._buffer) >= 4 and len(self._buffer) >= (size := struct.unpack_from("!I", self._buffer)[0]):
            self.frames.put_nowait(bytes(self._buffer[:size]))
            del self._buffer[:size]

    async def next_event(self) -> bytes | None:
        """The next input event as JSON, None at the signed empty frame or the end of the body."""
        outer = await self.frames.get()
        if outer is None:
            return None
        inner = outer[12 + struct.unpack_from("!I", outer, 4)[0] : -4]
        if not inner:
            return None
        payload = inner[12 + struct.unpack_from("!I", inner, 4)[0] : -4]
        return b64decode(json.loads(payload)["bytes"])

    def respond(self, status: int = 200, *, content_type: str = EVENT_STREAM, error_type: str = "") -> None:
        fields = [(":status", str(status)), ("content-type", content_type)]
        if error_type:
            fields.append(("x-amzn-errortype", error_type))
        self._protocol.h2.send_headers(self._id, fields)
        self._protocol.flush()

    async def send(self, data: bytes, *, end: bool = False, held_back: asyncio.Event | None = None) -> None:
        """Send, waiting for the client's window where it is used up; `held_back` is set when that happens."""
        connection = self._protocol.h2
        while data:
            while not (window := connection.local_flow_control_window(self._id)):
                if held_back:
                    held_back.set()
                self._protocol.window.clear()
                await self._protocol.window.wait()
            piece, data = data[: min(window, 16_384)], data[min(window, 16_384) :]
            connection.send_data(self._id, piece)
            self._protocol.flush()
        if end:
            connection.end_stream(self._id)
            self._protocol.flush()

    async def end(self) -> None:
        await self.send(b"", end=True)

    def reset(self, code: int) -> None:
        self._protocol.h2.reset_stream(self._id, code)
        self._protocol.flush()

    def goaway(self) -> None:
        self._protocol.h2.close_connection(last_stream_id=self._id)
        self._protocol.flush()

    def stop_reading(self) -> None:
        self._protocol.transport.pause_reading()

    def abort(self) -> None:
        self._protocol.transport.abort()


type Script = Callable[[ServerStream], Awaitable[None]]


class _Protocol(asyncio.Protocol):
    def __init__(self, server: "SonicServer") -> None:
        self._server = server
        self.h2 = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False))
        self.window = asyncio.Event()
        self._streams: dict[int, ServerStream] = {}

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports do not derive from asyncio's.
        self.transport = cast("asyncio.Transport", transport)
        self._server.connections.add(self)
        self._server.accepted += 1
        self.h2.initiate_connection()
        if self._server.window is not None:
            self.h2.update_settings({h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: self._server.window})
        self.flush()

    def flush(self) -> None:
        if not self.transport.is_closing():
            self.transport.write(self.h2.data_to_send())

    def data_received(self, data: bytes) -> None:
        for event in self.h2.receive_data(data):
            match event:
                case h2.events.RequestReceived():
                    headers = {k.decode(): v.decode() for k, v in event.headers}
                    stream = ServerStream(self, event.stream_id, headers)
                    self._streams[event.stream_id] = stream
                    self._server.begin(stream)
                case h2.events.DataReceived():
                    self._streams[event.stream_id].feed(event.data)
                    self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                case h2.events.StreamEnded() | h2.events.StreamReset():
                    self._streams[event.stream_id].frames.put_nowait(None)
                case h2.events.WindowUpdated() | h2.events.RemoteSettingsChanged():
                    self.window.set()
        self.flush()

    def connection_lost(self, exc: Exception | None) -> None:
        self._server.connections.discard(self)
        for stream in self._streams.values():
            stream.closed.set()
            stream.frames.put_nowait(None)
        if not self._server.connections:
            self._server.idle.set()


class SonicServer:
    """Runs `script` for each stream; `url` is its address.

    Attributes:
        accepted: connections so far.
        heard: whether any request came.
        connections: those that are open.
    """

    def __init__(self, script: Script, *, window: int | None = None) -> None:
        self.script = script
        self.window = window
        self.accepted = 0
        self.heard = False
        self.connections: set[_Protocol] = set()
        self.idle = asyncio.Event()
        self.url = ""
        self.failures: list[BaseException] = []
        self._tasks: set[asyncio.Task[None]] = set()

    def begin(self, stream: ServerStream) -> None:
        self.heard = True
        self.idle.clear()
        task = asyncio.ensure_future(self._run(stream))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _run(self, stream: ServerStream) -> None:
        try:
            await self.script(stream)
        except Exception as error:  # noqa: BLE001 - shown by the test
            self.failures.append(error)

    async def emptied(self) -> None:
        """Wait until no connection is open."""
        while self.connections:
            self.idle.clear()
            await self.idle.wait()

    async def stop_tasks(self) -> None:
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@asynccontextmanager
async def serve(
    script: Script, certificate: Certificate, *, alpn: str = "h2", window: int | None = None
) -> AsyncIterator[SonicServer]:
    """Serve on a free port of 127.0.0.1 until the block ends."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate.certificate, certificate.key)
    context.set_alpn_protocols([alpn])
    server = SonicServer(script, window=window)
    listener = await asyncio.get_running_loop().create_server(
        lambda: _Protocol(server), "127.0.0.1", 0, ssl=context, ssl_shutdown_timeout=0.2
    )
    server.url = f"https://127.0.0.1:{listener.sockets[0].getsockname()[1]}"
    try:
        yield server
        assert not server.failures, server.failures
    finally:
        await server.stop_tasks()
        for protocol in list(server.connections):
            protocol.transport.abort()
        listener.close()
        # Handshakes that never finish would otherwise outlive the loop (the method is there since Python 3.13).
        getattr(listener, "abort_clients", lambda: None)()
