"""A WebSocket API on real sockets, in front of functions that are plain Python here."""

import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import boto3
import pytest
from aiohttp import web
from botocore.config import Config

from infra.local.api_gateway import management
from infra.local.api_gateway.gateway import WebSocketApi
from infra.local.cloud_config import ApiConfig, ApiLimits, AuthorizerConfig
from tests.local.api_gateway.support import FakeClock, FakeLambda, Function, Gateway, StartGateway, allow, ok

ROUTES = {"$connect": "connect", "$disconnect": "disconnect", "stream": "stream", "$default": "default"}


@pytest.fixture
async def start_gateway() -> AsyncIterator[StartGateway]:
    """Start an API whose functions are fakes; it is closed after the test."""
    async with AsyncExitStack() as stack:

        async def start(
            *,
            functions: dict[str, Function] | None = None,
            authorized: bool = False,
            identity_sources: tuple[str, ...] = ("route.request.header.Token",),
            limits: dict[str, Any] | None = None,
            **config: Any,
        ) -> Gateway:
            usual = {"connect": ok, "disconnect": ok, "stream": ok, "default": ok, "authorize": allow}
            lambda_service, clock = FakeLambda({**usual, **(functions or {})}), FakeClock()
            authorizer = AuthorizerConfig(function="authorize", identity_sources=identity_sources)
            api = WebSocketApi(
                ApiConfig(
                    limits=ApiLimits(**(limits or {})),
                    authorizer=authorizer if authorized else None,
                    **{"routes": ROUTES, **config},
                ),
                region="us-east-1",
                account_id="123456789012",
                invoker=lambda_service,
                clock=clock,
            )
            listener = socket.create_server(("127.0.0.1", 0))
            await api.start(listener)
            stack.push_async_callback(api.close)
            gateway = Gateway(api, lambda_service, clock, listener.getsockname()[1])
            runner = web.AppRunner(management.make_app(api), access_log=None, shutdown_timeout=1)
            await runner.setup()
            stack.push_async_callback(runner.cleanup)
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            gateway.connections_root = f"http://127.0.0.1:{runner.addresses[0][1]}"
            gateway.client = boto3.client(
                "apigatewaymanagementapi",
                endpoint_url=f"{gateway.connections_root}/{api.config.stage}",
                region_name="us-east-1",
                aws_access_key_id="a",
                aws_secret_access_key="b",
                config=Config(retries={"total_max_attempts": 1}),
            )
            stack.callback(gateway.client.close)
            return gateway

        yield start
