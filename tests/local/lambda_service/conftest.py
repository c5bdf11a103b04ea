"""A Lambda service with the handlers of ``functions/``, and a place where handlers and tests meet."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from infra.local.cloud_config import CloudConfig, FunctionConfig, LambdaConfig
from infra.local.lambda_service.service import LambdaService
from tests.local.lambda_service.support import FUNCTIONS, MakeFunction, Meeting, StartService


@pytest.fixture
async def meeting() -> AsyncIterator[Meeting]:
    """Where handlers and tests meet."""
    place = Meeting()
    await place.open()
    yield place
    await place.close()


@pytest.fixture
def function() -> MakeFunction:
    """Make a function of ``functions/sample.py``, named after its handler."""

    def make(name: str, **settings: Any) -> FunctionConfig:
        return FunctionConfig(**{"name": name, "root": str(FUNCTIONS), "handler": f"sample.{name}", **settings})

    return make


@pytest.fixture
async def start_service(tmp_path: Path) -> AsyncIterator[StartService]:
    """Start a service with some functions; it is closed after the test."""
    services: list[LambdaService] = []

    async def start(
        *functions: FunctionConfig,
        environ: Any = None,
        destination: Any = None,
        env: dict[str, str] | None = None,
        **limits: Any,
    ) -> LambdaService:
        config = CloudConfig(
            functions=functions,
            log_dir=str(tmp_path / "logs"),
            env=env or {},
            lambda_service=LambdaConfig(**limits),
        )
        service = LambdaService(config, environ=environ, destination=destination)
        services.append(service)
        await service.start()
        return service

    yield start
    for service in services:
        await service.close()


@pytest.fixture
def logged(tmp_path: Path) -> Callable[[str], str]:
    """All that a function has logged."""

    def read(name: str) -> str:
        return "".join(path.read_text() for path in sorted((tmp_path / "logs" / name).iterdir()))

    return read
