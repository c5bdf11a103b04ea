"""The WebSocket API: clients' connections, and their messages on the way to functions.

Source: API Gateway developer guide on WebSocket APIs and its quotas; where AWS is silent, the stand-in does what public
transcripts show. Client pings are answered but count neither as messages nor against the idle timeout.
"""

from __future__ import annotations

import asyncio
import functools
import json
import logging
import random
import socket
from typing import Any

import websockets
from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.http11 import Request, Response
from websockets.protocol import State

from infra.local.api_gateway import events, routes
from infra.local.api_gateway.clock import Clock, SystemClock
from infra.local.api_gateway.handshake import Handshake, with_subprotocol
from infra.local.api_gateway.integrations import Failure, Integrations, Invoker
from infra.local.api_gateway.post_faults import PostFaults
from infra.local.api_gateway.sessions import Phase, Session, Sessions
from infra.local.api_gateway.throttle import TokenBucket
from infra.local.cloud_config import ApiConfig
from infra.local.lambda_service.results import InvocationResult

_LOG = logging.getLogger(__name__)
_SWEEPS_PER_LIMIT = 20
_MOST_SWEEP_S = 5.0
_CLOSE_S = 2.0
INTERNAL_ERROR = "Internal server error"


class ClientConnection(ServerConnection):
    """A client's WebSocket with what the gateway notes about it."""

    session: Session | None = None


class WebSocketApi:
    """One WebSocket API with one stage.

    Args:
        config: The API.
        region: For ARNs and the domain name.
        account_id: For ARNs.
        invoker: The Lambda service.
        clock: The time, for limits and events.
    """

    def __init__(
        self,
        config: ApiConfig,
        *,
        region: str,
        account_id: str,
        invoker: Invoker,
        clock: Clock | None = None,
    ) -> None:
        self.config = config
        self.sessions = Sessions()
        self.clock = clock or SystemClock()
        self.random = random.Random(config.seed)  # noqa: S311 # jitter that a seed repeats
        limits = config.limits
        self._integrations = Integrations(invoker, limits.integration_timeout_s, limits.integrations_in_flight)
        self._handshake = Handshake(
            config, region=region, account_id=account_id, integrations=self._integrations, clock=self.clock
        )
        self.post_faults = PostFaults()
        self._selector = routes.RouteSelector(config.route_selection_expression, config.routes)
        self._bucket = TokenBucket(limits.messages_per_s, limits.messages_burst, self.clock.monotonic_s())
        self._server: Server | None = None
        self._sweeper: asyncio.Task[None] | None = None
        self._tasks: set[asyncio.Task[Any]] = set()

    async def start(self, listener: socket.socket) -> None:
        """Serve clients on a listening socket."""
        limits = self.config.limits
        # Accepted sockets inherit it; the kernel doubles what is asked for.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, limits.socket_send_buffer_bytes // 2)
        self._server = await serve(
            self._serve,
            sock=listener,
            create_connection=ClientConnection,
            process_request=self._process_request,
            process_response=self._process_response,
            compression=None,
            server_header=None,
            open_timeout=2 * limits.integration_timeout_s + 10,
            close_timeout=_CLOSE_S,
            ping_interval=None,
            max_size=(limits.message_bytes, limits.frame_bytes),
            # Posts are refused long before, so that sending never waits.
            write_limit=2 * (limits.send_buffer_bytes + limits.message_bytes),
        )
        self._sweeper = asyncio.get_running_loop().create_task(self._sweep_for_ever())

    async def close(self) -> None:
        """Close every connection with 1001 and wait for the ``$disconnect`` calls."""
        if self._sweeper is not None:
            self._sweeper.cancel()
        if self._server is not None:
            self._server.close(code=1001, reason="Going away")
            await self._server.wait_closed()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=_CLOSE_S)

    def sweep(self) -> None:
        """Close the connections that have been idle or open for too long, with 1001."""
        now_s, limits = self.clock.monotonic_s(), self.config.limits
        for session in self.sessions.all():
            if now_s - session.active_s >= limits.idle_s or now_s - session.opened_s >= limits.life_s:
                self.disconnect(session, 1001, "Going away")

    def disconnect(self, session: Session, code: int, reason: str) -> None:
        """Close a connection; it gets no more messages from now on."""
        session.phase = Phase.CLOSED
        self._in_background(session.websocket.close(code, reason))

    async def _sweep_for_ever(self) -> None:
        limits = self.config.limits
        pause_s = min(_MOST_SWEEP_S, limits.idle_s / _SWEEPS_PER_LIMIT, limits.life_s / _SWEEPS_PER_LIMIT)
        while True:
            await asyncio.sleep(pause_s)
            self.sweep()

    # Upgrades

    async def _process_request(self, websocket: ServerConnection, request: Request) -> Response | None:
        outcome = await self._handshake.process(websocket, request)
        if isinstance(outcome, Response):
            return outcome
        assert isinstance(websocket, ClientConnection)
        websocket.session = outcome
        if websocket.state is not State.CONNECTING:
            # The client left meanwhile; AWS tells the function that it is gone.
            self._disconnected(outcome)
        return None

    @staticmethod
    def _process_response(websocket: ServerConnection, _request: Request, response: Response) -> None:
        assert isinstance(websocket, ClientConnection)
        if websocket.session is not None:
            with_subprotocol(response, websocket.session.subprotocol)

    async def _serve(self, websocket: ServerConnection) -> None:
        assert isinstance(websocket, ClientConnection)
        session = websocket.session
        assert session is not None
        session.phase = Phase.OPEN
        self.sessions.add(session)
        try:
            while True:
                message = await websocket.recv()
                if session.phase is Phase.CLOSED:
                    continue  # deleted: what was on its way reaches no function
                if isinstance(message, bytes):
                    await websocket.close(1003)
                    break
                await session.places.acquire()
                if not await self._integrations.place(websocket.wait_closed):
                    break
                self._accept(session, message)
        except websockets.ConnectionClosed:
            pass
        finally:
            self._disconnected(session)

    # Messages

    def _accept(self, session: Session, body: str) -> None:
        now_s = self.clock.monotonic_s()
        session.touch(now_s, self.clock.epoch_ms())
        request_id = events.new_id()
        route = self._selector.select(body)
        if route is None or not self._bucket.take(now_s):
            self._integrations.free_place()
            session.places.release()
            self._send_error(session, "Forbidden" if route is None else "Too Many Requests", request_id)
        elif self.config.delivery_jitter_ms > 0:
            delay_s = self.random.uniform(0, self.config.delivery_jitter_ms) / 1000
            asyncio.get_running_loop().call_later(delay_s, self._deliver, session, body, request_id, *route)
        else:
            self._deliver(session, body, request_id, *route)

    def _deliver(self, session: Session, body: str, request_id: str, route_key: str, function: str) -> None:
        context = events.request_context(
            session.info,
            route_key=route_key,
            event_type="MESSAGE",
            request_id=request_id,
            now_ms=self.clock.epoch_ms(),
            authorizer=session.authorizer,
            messageId=events.new_id(),
        )
        payload = json.dumps(events.message_event(session.info, body, context)).encode()
        self._integrations.start(function, payload, functools.partial(self._delivered, session, request_id, route_key))

    def _delivered(
        self, session: Session, request_id: str, route_key: str, outcome: InvocationResult | Failure
    ) -> None:
        session.places.release()
        if not isinstance(outcome, InvocationResult) or outcome.function_error is not None:
            self._send_error(session, INTERNAL_ERROR, request_id)
        elif route_key in self.config.route_responses:
            self._respond(session, request_id, outcome.payload)

    def _respond(self, session: Session, request_id: str, payload: bytes) -> None:
        """Send the body of a two-way route's answer."""
        answer = json.loads(payload)
        body = answer.get("body") if isinstance(answer, dict) else None
        if isinstance(body, str):
            self._send(session, body)
        elif not isinstance(answer, dict) or "statusCode" not in answer:
            self._send_error(session, INTERNAL_ERROR, request_id)

    def _send_error(self, session: Session, message: str, request_id: str) -> None:
        self._send(session, events.error_frame(message, session.info.connection_id, request_id))

    def _send(self, session: Session, text: str) -> None:
        if session.open and session.buffered_bytes <= self.config.limits.send_buffer_bytes:
            session.touch(self.clock.monotonic_s(), self.clock.epoch_ms())
            session.send(text)

    # Ends

    def _disconnected(self, session: Session) -> None:
        """Forget a connection and call ``$disconnect``, as far as that works."""
        session.phase = Phase.CLOSED
        self.sessions.remove(session)
        function = self.config.routes.get(routes.DISCONNECT)
        if function is None:
            return
        code, reason = session.ending()
        context = events.request_context(
            session.info,
            route_key=routes.DISCONNECT,
            event_type="DISCONNECT",
            request_id=events.new_id(),
            now_ms=self.clock.epoch_ms(),
            authorizer=session.authorizer,
            disconnectStatusCode=code,
            disconnectReason=reason,
        )
        payload = json.dumps(events.disconnect_event(session.info, session.host, context)).encode()
        self._in_background(self._integrations.notify(function, payload))

    def _in_background(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
