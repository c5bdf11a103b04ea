"""API Gateway and Lambda in one process: ``python -m infra.local.cloud --config FILE --ready-file FILE``.

``cloud_config`` says what the files hold. SIGTERM or SIGINT ends it: clients are closed with 1001, invocations get
``drain_s`` to end, then everything is killed. A second signal ends it at once. Functions' processes end with this one,
however it ends.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import logging
import os
import signal
import socket
import sys
from pathlib import Path
from typing import Any

from aiohttp import web

from infra.local import cloud_config
from infra.local.api_gateway import management
from infra.local.api_gateway.gateway import WebSocketApi
from infra.local.cloud_config import CloudConfig
from infra.local.lambda_service import rest
from infra.local.lambda_service.service import LambdaService
from infra.local.lambda_service.sqs import EventSource, Sqs

_BACKLOG = 1024


class LocalCloud:
    """API Gateway and Lambda of one configuration."""

    def __init__(self, config: CloudConfig) -> None:
        self._config = config
        self._sqs: Sqs | None = None
        self._service: LambdaService | None = None
        self._api: WebSocketApi | None = None
        self._runners: list[web.AppRunner] = []
        self._polling: list[asyncio.Task[None]] = []

    async def start(self) -> dict[str, Any]:
        """Start everything and return what the ready file tells."""
        config = self._config
        ports = config.ports
        lambda_listener = self._listen(ports.lambda_api)
        lambda_url = _url("http", lambda_listener)
        websocket_url = connections_url = None
        environ = {"AWS_ENDPOINT_URL_LAMBDA": lambda_url}
        if config.api is not None:
            clients_listener, connections_listener = self._listen(ports.websocket), self._listen(ports.connections)
            websocket_url = f"{_url('ws', clients_listener)}/{config.api.stage}"
            connections_url = f"{_url('http', connections_listener)}/{config.api.stage}"
            environ["AWS_ENDPOINT_URL_APIGATEWAYMANAGEMENTAPI"] = connections_url
        service = await self._start_lambda(environ, lambda_listener)
        if config.api is not None:
            self._api = WebSocketApi(config.api, region=config.region, account_id=config.account_id, invoker=service)
            await self._serve(management.make_app(self._api), connections_listener)
            await self._api.start(clients_listener)
        return {
            "pid": os.getpid(),
            "websocket_url": websocket_url,
            "connections_url": connections_url,
            "lambda_url": lambda_url,
            "control_url": f"{lambda_url}/_local",
        }

    async def close(self) -> None:
        """End everything: clients first, then invocations, then processes."""
        for task in self._polling:
            task.cancel()
        await asyncio.gather(*self._polling, return_exceptions=True)
        if self._api is not None:
            await self._api.close()
        if self._service is not None:
            await self._service.drain(self._config.drain_s)
            await self._service.close()
        for runner in self._runners:
            await runner.cleanup()
        if self._sqs is not None:
            self._sqs.close()

    async def _start_lambda(self, environ: dict[str, str], listener: socket.socket) -> LambdaService:
        config = self._config
        if config.event_sources or any(function.on_failure_queue_arn for function in config.functions):
            self._sqs = Sqs(config.region)
        service = self._service = LambdaService(config, environ=environ, destination=self._sqs)
        await self._serve(rest.make_app(service), listener)
        await service.start()
        for source in config.event_sources:
            assert self._sqs is not None
            poller = EventSource(source, self._sqs, service)
            self._polling.append(asyncio.get_running_loop().create_task(poller.run()))
        return service

    def _listen(self, port: int) -> socket.socket:
        return socket.create_server((self._config.host, port), backlog=_BACKLOG)

    async def _serve(self, app: web.Application, listener: socket.socket) -> None:
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
        await runner.setup()
        self._runners.append(runner)
        await web.SockSite(runner, listener).start()


def _url(scheme: str, listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"{scheme}://{host}:{port}"


def write_ready_file(path: Path, document: dict[str, Any]) -> None:
    """Write a JSON file that is there as a whole or not at all."""
    draft = path.with_name(f"{path.name}.{os.getpid()}")
    draft.write_text(json.dumps(document), encoding="utf-8")
    draft.replace(path)


async def run(config: CloudConfig, ready_file: Path | None) -> None:
    """Run until a signal says to end."""
    ending = asyncio.Event()

    def end() -> None:
        if ending.is_set():
            os._exit(1)
        ending.set()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, end)
    cloud = LocalCloud(config)
    try:
        document = await cloud.start()
        if ready_file is not None:
            write_ready_file(ready_file, document)
        await ending.wait()
    finally:
        await cloud.close()


def main(arguments: list[str] | None = None) -> int:
    """Command line entry."""
    parser = argparse.ArgumentParser(prog="python -m infra.local.cloud", description=__doc__)
    parser.add_argument("--config", type=Path, required=True, help="JSON file: infra.local.cloud_config.CloudConfig")
    parser.add_argument("--ready-file", type=Path, help="written when everything answers")
    parser.add_argument("--no-fork", action="store_true", help="a fresh interpreter for each execution environment")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    try:
        config = cloud_config.load(options.config)
    except (OSError, cloud_config.ConfigError) as exc:
        sys.stderr.write(f"{exc}\n")
        return 2
    if options.no_fork:
        config = cloud_config.without_forks(config)
    # The service's own SQS client is found in the same way as the functions' clients.
    os.environ.update({name: value for name, value in config.env.items() if name.startswith("AWS_")})
    try:
        _run(run(config, options.ready_file))
    except OSError as exc:
        sys.stderr.write(f"{exc}\n")
        return 1
    return 0


def _run(work: Any) -> None:
    with contextlib.suppress(ImportError):
        import uvloop  # noqa: PLC0415 # not there on every platform

        uvloop.run(work)
        return
    asyncio.run(work)


if __name__ == "__main__":
    code = main()
    sys.stderr.flush()
    # A thread that waits for a dead SQS server must not hold up the end.
    os._exit(code)
