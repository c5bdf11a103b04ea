"""Listens with TLS on one port: HTTP/2 for bidirectional streams, HTTP/1.1 for Converse, as ALPN decides."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import socket
import ssl
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import cast
from urllib.parse import unquote
from weakref import WeakSet

from aiohttp import web

from infra.local.nova import service_errors
from infra.local.nova.clients import process_of
from infra.local.nova.converse import ConnectionWantedGoneError, converse, model_of
from infra.local.nova.http2 import Http2Connection, StreamApp, StreamPort
from infra.local.nova.responses import error_headers, respond_with_error
from infra.local.nova.service import Service, unix_ms
from infra.local.nova.service_errors import HttpError
from infra.local.nova.sonic_stream import SonicStream

_STREAM_PATH = re.compile(r"/model/([^/]+)/invoke-with-bidirectional-stream")
_HANDSHAKE_TIMEOUT_S = 10.0
_BACKLOG = 512
_ACCEPT_RETRY_S = 0.05
_CLOSE_GRACE_S = 0.05


def tls_context(certificate: Path, key: Path) -> ssl.SSLContext:
    """Return a server context that offers h2 and http/1.1.

    Raises:
        OSError: a file cannot be read, or holds no certificate or key.
    """
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)
    context.set_alpn_protocols(["h2", "http/1.1"])
    return context


class _Ignoring:
    """Takes what is left of a request that has been answered."""

    def data_received(self, data: bytes) -> None:
        """Drop it."""

    def input_ended(self) -> None:
        """Do nothing."""

    def closed(self, why: str) -> None:
        """Do nothing."""


class _Front(asyncio.Protocol):
    """Hands a connection to the protocol that ALPN chose."""

    def __init__(self, server: Server) -> None:
        self._server = server

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        chosen = transport.get_extra_info("ssl_object").selected_alpn_protocol()
        protocol = self._server.protocol_for(chosen)
        cast("asyncio.Transport", transport).set_protocol(protocol)
        protocol.connection_made(transport)


class Server:
    """Accepts connections until closed.

    Args:
        service: what all streams share.
        tls: see `tls_context`.
    """

    def __init__(self, service: Service, tls: ssl.SSLContext) -> None:
        self._service = service
        self._tls = tls
        self._http1 = web.Server(self._answer, access_log=None)
        self._listener: socket.socket | None = None
        self._accepting: asyncio.Task[None] | None = None
        self._handshakes: set[asyncio.Task[None]] = set()
        self._fresh: set[socket.socket] = set()
        self._transports: set[asyncio.Transport] = set()
        self._connections: WeakSet[Http2Connection] = WeakSet()

    async def start(self, host: str, port: int) -> int:
        """Begin to accept and return the port.

        Raises:
            OSError: the address is taken or not ours.
        """
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listener = socket.create_server((host, port), family=family, backlog=_BACKLOG)
        listener.setblocking(False)
        self._listener = listener
        self._accepting = asyncio.get_running_loop().create_task(self._accept(listener))
        return int(listener.getsockname()[1])

    async def close(self) -> None:
        """Stop accepting and close all connections."""
        tasks = [*self._handshakes, *([self._accepting] if self._accepting else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for raw in self._fresh:
            raw.close()
        if self._listener is not None:
            self._listener.close()
        connections = list(self._connections)
        for connection in connections:
            connection.close()
        await self._http1.shutdown(_CLOSE_GRACE_S)
        gone = asyncio.gather(*(connection.lost.wait() for connection in connections))
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(asyncio.shield(gone), _CLOSE_GRACE_S)
        for transport in self._transports:
            transport.abort()
        await gone
        # An aborted transport closes its socket in the next turn of the loop.
        await asyncio.sleep(0)

    def protocol_for(self, alpn: str | None) -> asyncio.Protocol:
        """Return the protocol that serves a new connection."""
        if alpn != "h2":
            return self._http1()
        connection = Http2Connection(self._open_stream)
        self._connections.add(connection)
        return connection

    async def _accept(self, listener: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                raw, address = await loop.sock_accept(listener)
            except OSError:
                # Out of file descriptors, or the client has gone: the listener itself is fine.
                await asyncio.sleep(_ACCEPT_RETRY_S)
                continue
            if self._service.faults.for_connection(process_of(address)):
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                raw.close()
                continue
            self._fresh.add(raw)
            task = loop.create_task(self._shake_hands(raw))
            self._handshakes.add(task)
            task.add_done_callback(self._handshakes.discard)

    async def _shake_hands(self, raw: socket.socket) -> None:
        self._fresh.discard(raw)
        with contextlib.suppress(OSError, TimeoutError):
            transport, _ = await asyncio.get_running_loop().connect_accepted_socket(
                lambda: _Front(self), raw, ssl=self._tls, ssl_handshake_timeout=_HANDSHAKE_TIMEOUT_S
            )
            self._transports = {one for one in self._transports if not one.is_closing()}
            self._transports.add(transport)

    # HTTP/2.

    def _open_stream(self, headers: Mapping[str, str], port: StreamPort) -> StreamApp:
        service = self._service
        request_id = service.new_id()
        try:
            model_id = _stream_model(headers)
            faults = service.faults.for_operation("sonic", process_of(port.client_address))
            profile = service.admit(model_id, headers)
        except HttpError as error:
            respond_with_error(port, error, request_id)
            return _Ignoring()
        record = service.records.open(model_id, unix_ms())
        stream = SonicStream(service, profile=profile, port=port, record=record, faults=faults, request_id=request_id)
        port.app = stream
        stream.start()
        return stream

    # HTTP/1.1.

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        request_id = self._service.new_id()
        try:
            model_id = model_of(request.method, request.path)
            body = await request.read()
            headers = {name.lower(): value for name, value in request.headers.items()}
            client = process_of(None if request.transport is None else request.transport.get_extra_info("peername"))
            document = await converse(self._service, model_id=model_id, headers=headers, body=body, client=client)
        except HttpError as error:
            content = json.dumps({"message": error.message}).encode()
            return web.Response(status=error.status, body=content, headers=error_headers(error, request_id))
        except ConnectionWantedGoneError:
            if request.transport is not None:
                request.transport.abort()
            return web.Response(status=500)
        return web.json_response(document, headers={"x-amzn-requestid": request_id})


def _stream_model(headers: Mapping[str, str]) -> str:
    # The SDK ends the path with the question mark of an empty query.
    match = _STREAM_PATH.fullmatch(headers.get(":path", "").partition("?")[0])
    if headers.get(":method") != "POST" or match is None:
        raise HttpError(*service_errors.UNKNOWN_OPERATION)
    return unquote(match.group(1))
