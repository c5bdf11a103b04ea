"""A server that follows a script in place of Nova Sonic, and the adapter that finds it."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from typing import Any, cast

import pytest

from gateway.adapters.nova_sonic import NovaSonic
from gateway.settings import sonic_settings
from tests.adapters.sonic_server import (
    Certificate,
    Script,
    ServerStream,
    SonicServer,
    event_frame,
    make_certificate,
    serve,
)

HELLO = b'{"event":{"sessionStart":{}}}'

type OpenSonic = Callable[..., AbstractAsyncContextManager[tuple[SonicServer, NovaSonic]]]


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return make_certificate(tmp_path_factory.mktemp("certificates"))


@pytest.fixture
def open_sonic(certificate: Certificate, monkeypatch: pytest.MonkeyPatch) -> OpenSonic:
    """A server that follows a script, and a NovaSonic that finds it through the standard variables."""

    @asynccontextmanager
    async def opened(
        script: Script, *, alpn: str = "h2", window: int | None = None, **limits: float
    ) -> AsyncIterator[tuple[SonicServer, NovaSonic]]:
        async with serve(script, certificate, alpn=alpn, window=window) as server:
            monkeypatch.setenv("AWS_ENDPOINT_URL_BEDROCK_RUNTIME", server.url)
            monkeypatch.setenv("AWS_CA_BUNDLE", str(certificate.certificate))
            sonic = NovaSonic(replace(sonic_settings(), **cast("Any", limits)))
            try:
                yield server, sonic
            finally:
                await sonic.close()

    return opened


async def echo(stream: ServerStream) -> None:
    """A script: say back whatever comes."""
    event = await stream.next_event()
    stream.respond()
    while event is not None:
        await stream.send(event_frame(event))
        event = await stream.next_event()
    await stream.end()
