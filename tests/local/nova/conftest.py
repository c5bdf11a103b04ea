"""A stand-in in the test's own event loop, with talents that the test decides."""

from __future__ import annotations

import contextlib
import datetime as dt
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from infra.local import certificates
from infra.local.nova.faults import parse_order
from infra.local.nova.records import Records, Tap
from infra.local.nova.server import Server, tls_context
from infra.local.nova.service import Service, Talents
from infra.local.nova.settings import INSTANT_TIMING, Settings
from tests.local.nova.fakes import FakeVoice, Talent
from tests.local.nova.sdk import Sdk, sdk_for


@dataclass
class Sim:
    """A running stand-in and a client for it."""

    service: Service
    talent: Talent
    url: str
    authority: Path
    sdk: Sdk

    def fault(self, name: str, **order: Any) -> None:
        assert self.service.order(parse_order({"fault": name, **order}))

    def heard(self, name: str) -> int:
        """How many events of this name all streams have received."""
        return sum(document["inputs"].get(name, 0) for document in self.service.records.documents())

    @property
    def record(self) -> dict[str, Any]:
        """The newest stream."""
        return self.service.records.documents()[-1]


type OpenSim = Callable[..., contextlib.AbstractAsyncContextManager[Sim]]


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> certificates.ServerCertificate:
    return certificates.issue(tmp_path_factory.mktemp("nova"), now=dt.datetime.now(dt.UTC))


@pytest.fixture
def open_sim(certificate: certificates.ServerCertificate) -> OpenSim:
    """Start a stand-in: `recording` as with --record, `settings` by name."""

    @contextlib.asynccontextmanager
    async def opened(*, recording: bool = True, tap: Tap | None = None, **settings: Any) -> AsyncIterator[Sim]:
        talent = Talent()
        service = Service(
            Settings(timing=INSTANT_TIMING).with_overrides(settings),
            Talents("plain", talent.make_ears, FakeVoice(), talent.make_mind),
            Records(recording=recording, tap=tap),
            seed=1,
        )
        server = Server(service, tls_context(certificate.certificate, certificate.key))
        port = await server.start("127.0.0.1", 0)
        url = f"https://127.0.0.1:{port}"
        try:
            async with sdk_for(url, certificate.ca_bundle.read_bytes()) as sdk:
                yield Sim(service, talent, url, certificate.ca_bundle, sdk)
        finally:
            await server.close()

    return opened


@pytest.fixture
async def sim(open_sim: OpenSim) -> AsyncIterator[Sim]:
    async with open_sim() as running:
        yield running
