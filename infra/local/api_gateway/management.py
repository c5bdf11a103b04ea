"""The ``@connections`` API, which functions use to talk to clients.

Source: the API Gateway Management API reference (boto3 ``apigatewaymanagementapi``): status codes and exceptions. The error
type travels in ``x-amzn-ErrorType``, from which SDKs make their modelled exceptions.

Control endpoints, for tests: ``POST /_local/post-faults`` orders posts to fail (see ``post_faults``), ``GET`` tells how many still are to,
``DELETE`` forgets them.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import json
import uuid

from aiohttp import web

from infra.local.api_gateway.gateway import WebSocketApi
from infra.local.api_gateway.post_faults import PostFaults
from infra.local.api_gateway.sessions import Session

_CONNECTION = "/{stage}/@connections/{connection_id}"
_SIGNATURE = "AWS4-HMAC-SHA256"
_CHUNK_BYTES = 64 * 1024
_POST_FAULTS = "/_local/post-faults"


class ManagementError(Exception):
    """A request is refused with one of the API's exceptions."""

    def __init__(self, status: int, error_type: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.error_type = error_type


def make_app(api: WebSocketApi) -> web.Application:
    """Build the HTTP application of an API's ``@connections``."""
    app = web.Application(client_max_size=0)
    faults = _PostFaultControl(api.post_faults)
    app.router.add_get(_POST_FAULTS, faults.left)
    app.router.add_post(_POST_FAULTS, faults.order)
    app.router.add_delete(_POST_FAULTS, faults.clear)
    app.router.add_route("*", "/{path:.*}", Management(api).handle)
    return app


class Management:
    """Request handlers of ``@connections``."""

    def __init__(self, api: WebSocketApi) -> None:
        self._api = api

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answer any request."""
        try:
            response = await self._answer(request)
        except ManagementError as exc:
            response = web.json_response(
                {"message": str(exc)}, status=exc.status, headers={"x-amzn-ErrorType": exc.error_type}
            )
        response.headers["x-amzn-RequestId"] = str(uuid.uuid4())
        return response

    async def _answer(self, request: web.Request) -> web.Response:
        body, size = await _read(request, self._api.config.limits.message_bytes)
        if self._api.config.require_signature and not request.headers.get("Authorization", "").startswith(_SIGNATURE):
            raise ManagementError(403, "MissingAuthenticationTokenException", "Missing Authentication Token")
        connection_id = self._connection_id(request.match_info["path"])
        match request.method:
            case "POST":
                return await self._post(connection_id, body, size)
            case "GET":
                return self._get(self._session(connection_id))
            case "DELETE":
                self._api.disconnect(self._session(connection_id), 1000, "Connection Closed Normally")
                return web.Response(status=204)
            case _:
                raise ManagementError(403, "MissingAuthenticationTokenException", "Missing Authentication Token")

    def _connection_id(self, path: str) -> str:
        stage, _, rest = path.partition("/")
        name, _, connection_id = rest.partition("/")
        if stage != self._api.config.stage or name != "@connections" or not connection_id:
            raise ManagementError(403, "ForbiddenException", "Forbidden")
        return connection_id

    def _session(self, connection_id: str) -> Session:
        session = self._api.sessions.find(connection_id)
        if session is None:
            raise ManagementError(410, "GoneException", "Gone")
        return session

    async def _post(self, connection_id: str, body: bytes, size: int) -> web.Response:
        api = self._api
        if size > api.config.limits.message_bytes:
            raise ManagementError(413, "PayloadTooLargeException", "Message too long")
        if api.config.post_jitter_ms > 0:
            await asyncio.sleep(api.random.uniform(0, api.config.post_jitter_ms) / 1000)
        session = self._session(connection_id)
        refusal = api.post_faults.take(session)
        if refusal is not None:
            raise ManagementError(*refusal)
        if session.buffered_bytes + size > api.config.limits.send_buffer_bytes:
            raise ManagementError(429, "LimitExceededException", "The client does not take its messages fast enough")
        session.touch(api.clock.monotonic_s(), api.clock.epoch_ms())
        session.send(body)
        return web.Response(status=200)

    @staticmethod
    def _get(session: Session) -> web.Response:
        identity = session.info.identity()
        answer = {
            "connectedAt": _timestamp(session.info.connected_at_ms),
            "lastActiveAt": _timestamp(session.active_ms),
            "identity": identity,
        }
        return web.json_response(answer)


class _PostFaultControl:
    """Request handlers of the control endpoints."""

    def __init__(self, faults: PostFaults) -> None:
        self._faults = faults

    async def left(self, _request: web.Request) -> web.Response:
        return web.json_response({"left": self._faults.left})

    async def order(self, request: web.Request) -> web.Response:
        try:
            self._faults.order(json.loads((await _read(request, _CHUNK_BYTES))[0]))
        except (ValueError, RecursionError) as error:
            return web.json_response({"error": str(error)}, status=400)
        return web.json_response({"left": self._faults.left})

    async def clear(self, _request: web.Request) -> web.Response:
        self._faults.clear()
        return web.json_response({"left": 0})


async def _read(request: web.Request, limit_bytes: int) -> tuple[bytes, int]:
    """The body, cut off where it exceeds the limit, and its whole size: SDKs must be able to send it all."""
    parts: list[bytes] = []
    size = 0
    async for part in request.content.iter_chunked(_CHUNK_BYTES):
        size += len(part)
        if size <= limit_bytes:
            parts.append(part)
    return b"".join(parts), size


def _timestamp(epoch_ms: int) -> str:
    moment = dt.datetime.fromtimestamp(epoch_ms / 1000, dt.UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
