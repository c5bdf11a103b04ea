"""Fixtures of the handlers: their environment, AWS by script, and execution environments that remember nothing."""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace

import pytest
import redis

from gateway.adapters import aws_calls
from handlers import authorize, bus, connect, finish, no_relay, relay
from tests.adapters.aws_server import AwsServer, serve

_REMEMBERED = (
    bus.wire,
    no_relay._launcher,
    no_relay._phones,
    no_relay._flood_limits,
    authorize.verifier,
    connect.assessments,
    finish.assessments,
    finish.telemetry,
    finish.queue,
    relay.reduce_output,
    aws_calls._session,
)


@pytest.fixture(autouse=True)
def _tests_keep_their_output(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave to pytest what handlers take over for the life of their process."""
    monkeypatch.setattr("handlers.finish.take_over", lambda _telemetry: None)
    monkeypatch.setattr("handlers.relay.take_over", lambda _telemetry: None)


@pytest.fixture(autouse=True)
def _nothing_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look for a relay as often as ever, without the time between."""
    monkeypatch.setattr(no_relay, "_LOOK_EVERY_S", 0.0)


@pytest.fixture(autouse=True)
def _fresh_execution_environment() -> Iterator[None]:
    """Begin and end as a new execution environment does."""

    def forget() -> None:
        if bus.wire.cache_info().currsize:
            bus.wire().close()
        for function in _REMEMBERED:
            function.cache_clear()

    forget()
    yield
    forget()


@pytest.fixture
def redis_client(valkey: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[redis.Redis]:
    """Return redis-py on the Redis that the handlers use, empty."""
    monkeypatch.setenv("REDIS_URL", valkey)
    with closing(redis.Redis.from_url(valkey)) as client:
        yield client


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[AwsServer]:
    """Serve Lambda and the management API by script."""
    with serve() as (service, url):
        monkeypatch.setenv("AWS_ENDPOINT_URL_LAMBDA", url)
        monkeypatch.setenv("AWS_ENDPOINT_URL_APIGATEWAYMANAGEMENTAPI", f"{url}/live")
        service.default = replace(service.default, status=202)
        yield service
