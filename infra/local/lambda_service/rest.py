"""The Lambda API over HTTP, as far as boto3's ``invoke`` needs it, and the service's own control endpoints.

Source: the AWS Lambda API reference, Invoke: status codes, headers and error shapes.

Control endpoints: ``GET /_local/processes`` (CPU time and memory of every process, for benches) and
``GET /_local/invocations`` (what is under way in which process, for tests that kill it).
"""

from __future__ import annotations

import asyncio
import base64
import json
import uuid

from aiohttp import web

from infra.local.lambda_service import processes
from infra.local.lambda_service.results import (
    InvalidParameter,
    InvalidRequest,
    InvocationResult,
    LambdaError,
    RequestTooLarge,
)
from infra.local.lambda_service.service import LambdaService

_INVOKE = "/2015-03-31/functions/{name}/invocations"
_CHUNK_BYTES = 64 * 1024


def make_app(service: LambdaService) -> web.Application:
    """Build the HTTP application of a service."""
    api = LambdaApi(service)
    app = web.Application(client_max_size=0)
    app.router.add_post(_INVOKE, api.invoke)
    app.router.add_get("/_local/processes", api.processes)
    app.router.add_get("/_local/invocations", api.invocations)
    return app


class LambdaApi:
    """Request handlers of the Lambda API."""

    def __init__(self, service: LambdaService) -> None:
        self._service = service

    async def invoke(self, request: web.Request) -> web.StreamResponse:
        """``POST /2015-03-31/functions/{name}/invocations``."""
        try:
            return await self._invoke(request)
        except LambdaError as exc:
            return _error_response(exc)

    async def processes(self, _request: web.Request) -> web.StreamResponse:
        """``GET /_local/processes``: see ``processes.describe``."""
        return web.json_response(await asyncio.to_thread(processes.describe, processes.survey(self._service)))

    async def invocations(self, _request: web.Request) -> web.StreamResponse:
        """``GET /_local/invocations``: see ``processes.underway``."""
        return web.json_response(processes.underway(self._service))

    async def _invoke(self, request: web.Request) -> web.StreamResponse:
        name = request.match_info["name"]
        if (qualifier := request.query.get("Qualifier")) not in (None, "$LATEST"):
            name = f"{name}:{qualifier}"
        kind = request.headers.get("X-Amz-Invocation-Type", "RequestResponse")
        limits = self._service.config.lambda_service
        limit = limits.async_payload_bytes if kind == "Event" else limits.sync_payload_bytes
        payload, size = await _read(request, limit)
        function = self._service.resolve(name)
        if kind not in ("RequestResponse", "Event", "DryRun"):
            raise InvalidParameter(f"Value '{kind}' at 'invocationType' failed to satisfy constraint")
        if size > limit:
            raise RequestTooLarge(
                f"{size} byte payload is too large for the {kind} invocation type (limit {limit} bytes)"
            )
        _check_json(payload)
        if kind == "DryRun":
            return web.Response(status=204)
        if kind == "Event":
            request_id = self._service.invoke_async(function.name, payload)
            return web.Response(status=202, headers={"x-amzn-RequestId": request_id})
        tail = request.headers.get("X-Amz-Log-Type") == "Tail"
        return _result_response(await self._service.submit(function.name, payload, tail=tail))


async def _read(request: web.Request, limit_bytes: int) -> tuple[bytes, int]:
    """The body, cut off where it exceeds the limit, and its whole size: boto3 must be able to send it all."""
    parts: list[bytes] = []
    size = 0
    async for part in request.content.iter_chunked(_CHUNK_BYTES):
        size += len(part)
        if size <= limit_bytes:
            parts.append(part)
    return b"".join(parts) or b"{}", size


def _check_json(payload: bytes) -> None:
    try:
        json.loads(payload)
    except (ValueError, RecursionError):
        raise InvalidRequest("Could not parse request body into json") from None


def _result_response(result: InvocationResult) -> web.Response:
    headers = {"x-amzn-RequestId": result.request_id, "X-Amz-Executed-Version": "$LATEST"}
    if result.function_error is not None:
        headers["X-Amz-Function-Error"] = result.function_error
    if result.log_tail is not None:
        headers["X-Amz-Log-Result"] = base64.b64encode(result.log_tail).decode("ascii")
    return web.Response(body=result.payload, content_type="application/json", headers=headers)


def _error_response(error: LambdaError) -> web.Response:
    document = {"Type": "User" if error.status < 500 else "Service", "message": str(error), "Message": str(error)}
    if error.reason is not None:
        document["Reason"] = error.reason
    headers = {"x-amzn-RequestId": str(uuid.uuid4()), "x-amzn-ErrorType": error.code}
    return web.json_response(document, status=error.status, headers=headers)
