"""The Lambda service: functions by name, invoked from this process or through the REST API."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import sys
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from infra.local.cloud_config import CloudConfig, FunctionConfig
from infra.local.lambda_service.asynchronous import AsyncInvoker, FailureDestination
from infra.local.lambda_service.environments import Owner
from infra.local.lambda_service.pool import Concurrency, FunctionPool
from infra.local.lambda_service.results import FunctionNotFound, InvocationResult
from infra.local.lambda_service.runtime import Settings
from infra.local.lambda_service.source import EnvironmentSource

_NAME = re.compile(
    r"(?:arn:[a-z-]+:lambda:(?P<region>[a-z0-9-]+):(?P<account>\d{12}):function:|(?:\d{12}:)?(?:function:)?)"
    r"(?P<name>[A-Za-z0-9_-]+)(?::(?P<qualifier>[A-Za-z0-9_$-]+))?"
)
_KEPT_VARIABLES = ("PATH", "TMPDIR")


class LambdaService:
    """Runs the configured functions as operating system processes.

    Args:
        config: The configuration.
        environ: Variables that every function sees, beside those of the configuration.
        destination: Where the records of failed asynchronous invocations go.
    """

    def __init__(
        self,
        config: CloudConfig,
        *,
        environ: Mapping[str, str] | None = None,
        destination: FailureDestination | None = None,
    ) -> None:
        self.config = config
        self._environ = dict(environ or {})
        self._concurrency = Concurrency(config.lambda_service.account_concurrency)
        self._destination = destination
        self._pools: dict[str, FunctionPool] = {}
        self._invokers: dict[str, AsyncInvoker] = {}
        self._life_fds: tuple[int, int] | None = None
        self._reaper: asyncio.Task[None] | None = None

    @property
    def pools(self) -> list[FunctionPool]:
        """The functions' pools, in the order of the configuration."""
        return list(self._pools.values())

    def arn(self, name: str, *, qualifier: str = "") -> str:
        """A function's ARN."""
        return f"arn:aws:lambda:{self.config.region}:{self.config.account_id}:function:{name}{qualifier}"

    async def start(self) -> None:
        """Start the template processes and provisioned environments; returns when they are ready."""
        self._life_fds = os.pipe()
        for function in self.config.functions:
            pool = self._make_pool(function)
            self._pools[function.name] = pool
            self._invokers[function.name] = AsyncInvoker(
                function,
                self.config.lambda_service,
                self,
                self._destination,
            )
        self._reaper = asyncio.get_running_loop().create_task(self._reap())
        await asyncio.gather(*(pool.preload() for pool in self._pools.values() if pool.function.preload))

    async def drain(self, timeout_s: float) -> bool:
        """Wait until no invocation is under way; False if some still are after ``timeout_s``."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._concurrency.idle.wait(), timeout_s)
        return self._concurrency.idle.is_set()

    async def close(self) -> None:
        """End every environment."""
        if self._reaper is not None:
            self._reaper.cancel()
        await asyncio.gather(*(invoker.close() for invoker in self._invokers.values()))
        await asyncio.gather(*(pool.close() for pool in self._pools.values()))
        if self._life_fds is not None:
            for fd in self._life_fds:
                os.close(fd)
            self._life_fds = None

    def submit(
        self, name: str, payload: bytes, *, request_id: str | None = None, tail: bool = False
    ) -> asyncio.Future[InvocationResult]:
        """Invoke a function with an event in JSON; the future is its result.

        Raises:
            FunctionNotFound: There is no such function.
            TooManyRequests: Its concurrency is used up.
        """
        return self._pool(name).submit(payload, request_id or str(uuid.uuid4()), tail=tail)

    async def invoke(self, name: str, event: Any) -> InvocationResult:
        """Invoke a function and wait for its result.

        Raises:
            FunctionNotFound: There is no such function.
            TooManyRequests: Its concurrency is used up.
            ServiceFault: No environment could be started.
        """
        return await self.submit(name, json.dumps(event).encode())

    def invoke_async(self, name: str, payload: bytes) -> str:
        """Queue an asynchronous invocation and return its request id.

        Raises:
            FunctionNotFound: There is no such function.
            TooManyRequests: The queue is full.
        """
        return self._invokers[self._pool(name).function.name].enqueue(payload)

    def resolve(self, name: str) -> FunctionConfig:
        """Find a function by name, partial ARN or ARN.

        Raises:
            FunctionNotFound: There is none.
        """
        return self._pool(name).function

    def _pool(self, name: str) -> FunctionPool:
        pool = self._pools.get(name)
        if pool is not None:
            return pool
        match = _NAME.fullmatch(name)
        if match is not None and match["qualifier"] in (None, "$LATEST"):
            pool = self._pools.get(match["name"])
        if pool is None or (match is not None and match["region"] not in (None, self.config.region)):
            raise FunctionNotFound(f"Function not found: {name if name.startswith('arn:') else self.arn(name)}")
        return pool

    def _make_pool(self, function: FunctionConfig) -> FunctionPool:
        log_dir = Path(self.config.log_dir) / function.name
        log_dir.mkdir(parents=True, exist_ok=True)
        assert self._life_fds is not None
        settings = Settings(
            handler=function.handler,
            root=function.root,
            arn=self.arn(function.name),
            fork=function.fork,
            life_fd=self._life_fds[0],
            alone=function.alone,
            also_import=function.also_import,
        )
        environ = function_environment(self.config, function, self._environ)

        def make_source(owner: Owner) -> EnvironmentSource:
            return EnvironmentSource(
                name=function.name,
                settings=settings,
                environ=environ,
                log_dir=log_dir,
                init_timeout_s=self.config.lambda_service.init_timeout_s,
                owner=owner,
            )

        return FunctionPool(function, self.config.lambda_service, self._concurrency, make_source)

    async def _reap(self) -> None:
        while True:
            await asyncio.sleep(self.config.lambda_service.reap_every_s)
            for pool in self._pools.values():
                pool.reap()


def function_environment(config: CloudConfig, function: FunctionConfig, environ: Mapping[str, str]) -> dict[str, str]:
    """The environment variables of a function: Lambda's own, the service's, the configuration's.

    Source: AWS Lambda developer guide, "Defined runtime environment variables". Nothing else of the service's own
    environment is passed on but what programs need to be found and to write temporary files.
    """
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    return {
        **{name: os.environ[name] for name in _KEPT_VARIABLES if name in os.environ},
        "LANG": "en_US.UTF-8",
        "TZ": ":UTC",
        "AWS_REGION": config.region,
        "AWS_DEFAULT_REGION": config.region,
        **environ,
        **config.env,
        **function.env,
        "_HANDLER": function.handler,
        "AWS_EXECUTION_ENV": f"AWS_Lambda_python{version}",
        "AWS_LAMBDA_FUNCTION_NAME": function.name,
        "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(function.memory_mb),
        "AWS_LAMBDA_INITIALIZATION_TYPE": "snap-start" if function.fork else "on-demand",
        "AWS_LAMBDA_LOG_GROUP_NAME": f"/aws/lambda/{function.name}",
        "AWS_LAMBDA_LOG_STREAM_NAME": "",
        "LAMBDA_TASK_ROOT": function.root,
        "LAMBDA_RUNTIME_DIR": "/var/runtime",
    }
