"""The control API: plain HTTP and JSON on a port of its own, for tests and benches.

| request | answer |
|---|---|
| `POST /faults` | order a fault, see `faults`; 404 when its stream is not open |
| `GET /faults` | orders still to be assigned |
| `POST /settings` | `{name: value}` for the streams that open from now on, see `settings` |
| `GET /settings` | all of them |
| `GET /streams` | every stream: times, counts, how it ended; with `--record` also prompt, history and events, never audio |
| `GET /streams?brief=1` | the same without prompt, history and events, but with the first 640 bytes that were heard |
| `GET /streams/{id}` | one of them |
| `GET /streams/{id}/heard` | with `--record`: PCM received, 16-bit little-endian mono at the container's rate |
| `GET /streams/{id}/said` | with `--record`: PCM sent, in order; the header `x-cuts` is a JSON list of the byte offsets at which the learner interrupted |
| `POST /die` | every stream with what it heard and said (base64), up to the moment of death: SIGKILL comes before anything else is done |
| `POST /reset` | forget orders, changed settings and closed streams |
| `GET /metrics` | CPU seconds and peak memory of the process, counts of streams |
"""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import socket
import sys
import time
from typing import Any

from aiohttp import web

from infra.local.nova.faults import BadFault, Order, parse_order
from infra.local.nova.records import StreamRecord
from infra.local.nova.service import Service
from infra.local.nova.settings import BadSetting


def control_app(service: Service) -> web.Application:
    """Return the control API of a service."""
    control = _Control(service)
    app = web.Application(client_max_size=1 << 20)
    app.add_routes(
        [
            web.post("/faults", control.order_fault),
            web.get("/faults", control.faults),
            web.post("/settings", control.change_settings),
            web.get("/settings", control.settings),
            web.get("/streams", control.streams),
            web.get("/streams/{id}", control.stream),
            web.get("/streams/{id}/heard", control.heard),
            web.get("/streams/{id}/said", control.said),
            web.post("/die", control.die),
            web.post("/reset", control.reset),
            web.get("/metrics", control.metrics),
        ]
    )
    return app


class _Control:
    """The handlers."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._started_s = time.monotonic()

    async def order_fault(self, request: web.Request) -> web.Response:
        try:
            order = parse_order(await _document(request))
        except BadFault as error:
            raise _refusal(web.HTTPBadRequest, str(error)) from None
        if not self._service.order(order):
            raise _refusal(web.HTTPNotFound, "there is no open stream of that id")
        return web.json_response(_order_document(order))

    async def faults(self, request: web.Request) -> web.Response:
        del request
        return web.json_response([_order_document(order) for order in self._service.faults.orders])

    async def change_settings(self, request: web.Request) -> web.Response:
        document = await _document(request)
        if not isinstance(document, dict):
            raise _refusal(web.HTTPBadRequest, "settings are a JSON object")
        try:
            self._service.settings = self._service.settings.with_overrides(document)
        except BadSetting as error:
            raise _refusal(web.HTTPBadRequest, str(error)) from None
        return await self.settings(request)

    async def settings(self, request: web.Request) -> web.Response:
        del request
        return web.json_response(dataclasses.asdict(self._service.settings))

    async def streams(self, request: web.Request) -> web.Response:
        records = self._service.records
        return web.json_response(records.summaries() if "brief" in request.query else records.documents())

    async def stream(self, request: web.Request) -> web.Response:
        return web.json_response(self._record(request).document())

    async def heard(self, request: web.Request) -> web.Response:
        return web.Response(body=bytes(self._recorded(request).heard), content_type="application/octet-stream")

    async def said(self, request: web.Request) -> web.Response:
        record = self._recorded(request)
        return web.Response(
            body=bytes(record.said),
            content_type="application/octet-stream",
            headers={"x-cuts": json.dumps(record.cuts)},
        )

    async def die(self, request: web.Request) -> web.Response:
        """Answer past the event loop, so that it does nothing between the answer's making and the end."""
        content = json.dumps(self._service.records.whole()).encode()
        head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(content)}\r\n\r\n"
        assert request.transport is not None
        with socket.socket(fileno=os.dup(request.transport.get_extra_info("socket").fileno())) as line:
            line.setblocking(True)
            line.sendall(head.encode() + content)
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError("outlived SIGKILL")

    async def reset(self, request: web.Request) -> web.Response:
        del request
        self._service.reset()
        return web.json_response({})

    async def metrics(self, request: web.Request) -> web.Response:
        del request
        self._service.records.flush()
        return web.json_response(
            {
                "cpu_s": time.process_time(),
                "peak_memory_bytes": _peak_memory_bytes(),
                "uptime_s": time.monotonic() - self._started_s,
                "open_streams": len(self._service.open_streams),
                "opened_streams": self._service.records.opened,
            }
        )

    def _record(self, request: web.Request) -> StreamRecord:
        record = self._service.records.get(request.match_info["id"])
        if record is None:
            raise _refusal(web.HTTPNotFound, "there is no stream of that id")
        return record

    def _recorded(self, request: web.Request) -> StreamRecord:
        record = self._record(request)
        if not record.recording:
            raise _refusal(web.HTTPConflict, "speech is kept only with --record")
        return record


def _order_document(order: Order) -> dict[str, Any]:
    return {
        "fault": order.fault.name,
        **order.fault.parameters,
        "operation": order.operation,
        "scope": order.scope,
        "count": order.count,
        "client_pid": order.client_pid,
        "when": {key: value for key, value in dataclasses.asdict(order.fault.trigger).items() if value},
    }


async def _document(request: web.Request) -> Any:
    try:
        return await request.json()
    except (ValueError, RecursionError):
        raise _refusal(web.HTTPBadRequest, "the body is no JSON") from None


def _refusal(kind: type[web.HTTPError], message: str) -> web.HTTPError:
    return kind(text=json.dumps({"error": message}), content_type="application/json")


def _peak_memory_bytes() -> int | None:
    """Return the most memory the process has had resident, None where the system does not tell."""
    if sys.platform == "win32":
        return None
    import resource  # noqa: PLC0415  # not on Windows

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
