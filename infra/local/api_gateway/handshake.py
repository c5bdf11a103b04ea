"""The upgrade of a client to a WebSocket: checks, authorizer, ``$connect``."""

from __future__ import annotations

import asyncio
import json
import logging
from http import HTTPStatus
from typing import Any
from urllib.parse import urlsplit

from websockets.asyncio.server import ServerConnection
from websockets.datastructures import Headers
from websockets.http11 import Request, Response
from websockets.server import ServerProtocol

from infra.local.api_gateway import events, routes
from infra.local.api_gateway.authorizer import IdentitySources, RefusedError, decide
from infra.local.api_gateway.clock import Clock
from infra.local.api_gateway.integrations import Integrations, IntegrationTimeoutError
from infra.local.api_gateway.sessions import Session
from infra.local.api_gateway.throttle import TokenBucket
from infra.local.cloud_config import ApiConfig
from infra.local.lambda_service.results import InvocationResult, LambdaError

_LOG = logging.getLogger(__name__)
_SUBPROTOCOL = "Sec-WebSocket-Protocol"


class Handshake:
    """Decides on upgrades.

    Args:
        config: The API.
        region: For ARNs and the domain name.
        account_id: For ARNs.
        integrations: Calls authorizer and ``$connect``.
        clock: The time.
    """

    def __init__(
        self, config: ApiConfig, *, region: str, account_id: str, integrations: Integrations, clock: Clock
    ) -> None:
        self._config = config
        self._integrations = integrations
        self._clock = clock
        limits = config.limits
        self._bucket = TokenBucket(limits.connects_per_s, limits.connects_burst, clock.monotonic_s())
        self._sources = IdentitySources(config.authorizer.identity_sources if config.authorizer else ())
        self._domain_name = config.domain_name or f"{config.api_id}.execute-api.{region}.amazonaws.com"
        self._method_arn = f"arn:aws:execute-api:{region}:{account_id}:{config.api_id}/{config.stage}/{routes.CONNECT}"

    async def process(self, websocket: ServerConnection, request: Request) -> Response | Session:
        """Answer an upgrade request with a refusal, or admit it as a new session."""
        raw_headers = list(request.headers.raw_items())
        # The functions judge what is offered; the WebSocket library must not, for AWS does not.
        if _SUBPROTOCOL in request.headers:
            del request.headers[_SUBPROTOCOL]
        probe = ServerProtocol().accept(request)
        if probe.status_code != HTTPStatus.SWITCHING_PROTOCOLS:
            return probe
        connection_id, request_id = events.new_id(), events.new_id()
        try:
            self._check(request)
            session = self._new_session(websocket, request, connection_id)
            upgrade = events.Upgrade.read(
                raw_headers,
                urlsplit(request.path).query,
                session.info.source_ip,
                websocket.local_address[1],
            )
            await self._authorize(session, upgrade, request_id)
            await self._connect(session, upgrade, request_id)
        except RefusedError as exc:
            if exc.why:
                _LOG.warning("upgrade refused with %d: %s", exc.status, exc.why)
            return refusal(exc, connection_id, request_id)
        return session

    def _check(self, request: Request) -> None:
        if len(request.path) > self._config.limits.url_chars:
            raise RefusedError(414, "URI Too Long")
        if urlsplit(request.path).path.strip("/") != self._config.stage:
            raise RefusedError(403, "Forbidden")
        if not self._bucket.take(self._clock.monotonic_s()):
            raise RefusedError(429, "Too Many Requests")

    def _new_session(self, websocket: ServerConnection, request: Request, connection_id: str) -> Session:
        now_s, now_ms = self._clock.monotonic_s(), self._clock.epoch_ms()
        info = events.Connection(
            connection_id=connection_id,
            connected_at_ms=now_ms,
            source_ip=websocket.remote_address[0],
            user_agent=request.headers.get("User-Agent"),
            api_id=self._config.api_id,
            stage=self._config.stage,
            domain_name=self._domain_name,
            stage_variables=self._config.stage_variables,
        )
        return Session(
            info=info,
            websocket=websocket,
            host=request.headers.get("Host", ""),
            opened_s=now_s,
            active_s=now_s,
            active_ms=now_ms,
            places=asyncio.Semaphore(self._config.limits.in_flight_per_connection),
        )

    def _context(self, session: Session, request_id: str) -> dict[str, Any]:
        return events.request_context(
            session.info,
            route_key=routes.CONNECT,
            event_type="CONNECT",
            request_id=request_id,
            now_ms=self._clock.epoch_ms(),
            authorizer=session.authorizer,
        )

    async def _authorize(self, session: Session, upgrade: events.Upgrade, request_id: str) -> None:
        if self._config.authorizer is None:
            return
        if not self._sources.present(upgrade.headers, upgrade.parameters):
            raise RefusedError(401, "Unauthorized")
        event = events.authorizer_event(session.info, upgrade, self._context(session, request_id), self._method_arn)
        asked_s = self._clock.monotonic_s()
        result = await self._call(self._config.authorizer.function, event)
        latency_ms = int((self._clock.monotonic_s() - asked_s) * 1000)
        session.authorizer = decide(result, self._method_arn, latency_ms)

    async def _connect(self, session: Session, upgrade: events.Upgrade, request_id: str) -> None:
        function = self._config.routes.get(routes.CONNECT)
        if function is None:
            return
        event = events.connect_event(session.info, upgrade, self._context(session, request_id))
        session.subprotocol = chosen_subprotocol(await self._call(function, event))

    async def _call(self, function: str, event: dict[str, Any]) -> InvocationResult:
        try:
            return await self._integrations.call(function, json.dumps(event).encode())
        except LambdaError as exc:
            raise RefusedError(500, "Internal server error", why=f"{function}: {exc.code}") from None
        except IntegrationTimeoutError:
            raise RefusedError(504, "Endpoint request timed out", why=f"{function}: integration timeout") from None


def chosen_subprotocol(result: InvocationResult) -> str | None:
    """The ``Sec-WebSocket-Protocol`` header that a ``$connect`` function returned, if any.

    Raises:
        RefusedError: The function refuses, failed, or answered without a status.
    """
    if result.function_error is not None:
        raise RefusedError(502, "Internal server error", why="the $connect function failed")
    answer = json.loads(result.payload)
    status = answer.get("statusCode") if isinstance(answer, dict) else None
    if isinstance(status, str) and status.isdecimal():
        status = int(status)
    if not isinstance(status, int) or not 100 <= status <= 599:
        raise RefusedError(502, "Internal server error", why="the $connect function's answer has no statusCode")
    if not 200 <= status <= 299:
        raise RefusedError(status, "Forbidden" if status == HTTPStatus.FORBIDDEN else _phrase(status))
    headers = answer.get("headers") or {}
    for name, value in headers.items() if isinstance(headers, dict) else ():
        if name.lower() == _SUBPROTOCOL.lower():
            return str(value)
    return None


def refusal(error: RefusedError, connection_id: str, request_id: str) -> Response:
    """The HTTP response to an upgrade that is refused."""
    body = events.error_frame(str(error), connection_id, request_id).encode()
    headers = Headers(
        {
            "Content-Type": "application/json",
            "Content-Length": str(len(body)),
            "Connection": "close",
            "x-amzn-RequestId": request_id,
        }
    )
    return Response(error.status, _phrase(error.status), headers, body)


def with_subprotocol(response: Response, subprotocol: str | None) -> None:
    """Add the chosen subprotocol to the response that accepts an upgrade."""
    if subprotocol is not None:
        response.headers[_SUBPROTOCOL] = subprotocol


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Refused"
