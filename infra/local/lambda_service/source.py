"""Where a function's environments come from: its template process, and the processes made by it."""

from __future__ import annotations

import asyncio
import logging
import secrets
import signal
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from infra.local.lambda_service.environments import Ended, Environment, Owner, StartError, TemplateProcess
from infra.local.lambda_service.runtime import Settings

_LOG = logging.getLogger(__name__)
_EXIT_S = 1.0


@dataclass(slots=True)
class EndedTotals:
    """Sums over the environments that are gone."""

    environments: int = 0
    invocations: int = 0
    cpu_s: float = 0.0
    handler_s: float = 0.0
    max_rss_bytes: int = 0


class EnvironmentSource:
    """Starts environments, keeps account of them, and kills them.

    Args:
        name: The function's name, for log lines.
        settings: What the processes are told.
        environ: Their environment variables.
        log_dir: Folder of the function's logs.
        init_timeout_s: Most time that an import may take.
        owner: Who is told what the environments do.
    """

    def __init__(
        self,
        *,
        name: str,
        settings: Settings,
        environ: Mapping[str, str],
        log_dir: Path,
        init_timeout_s: float,
        owner: Owner,
    ) -> None:
        self.totals = EndedTotals()
        self._name = name
        self._settings = settings
        self._environ = environ
        self._log_dir = log_dir
        self._init_timeout_s = init_timeout_s
        self._owner = owner
        self._template: TemplateProcess | None = None
        self._loading: asyncio.Task[TemplateProcess] | None = None
        self._environments: dict[int, Environment] = {}
        self._last_number = 0

    @property
    def template_pid(self) -> int | None:
        """Process id of the template, if it runs."""
        return None if self._template is None else self._template.pid

    @property
    def environments(self) -> list[Environment]:
        """The environments whose processes live."""
        return list(self._environments.values())

    async def load(self) -> TemplateProcess:
        """Have a template process with the handler imported.

        Raises:
            StartError: The import failed, or the process ended.
        """
        if self._loading is None or (self._loading.done() and self.template_pid is None):
            self._loading = asyncio.get_running_loop().create_task(self._load())
        return await asyncio.shield(self._loading)

    async def start(self) -> Environment:
        """Start an environment and wait until its handler can be called.

        Raises:
            StartError: It did not start.
        """
        template = await self.load()
        self._last_number += 1
        stream_id, day = secrets.token_hex(16), time.strftime("%Y/%m/%d", time.gmtime())
        log_file = self._log_dir / f"{day.replace('/', '-')}-{stream_id}.log"
        environment = self._environments[self._last_number] = Environment(self._owner, self._last_number, log_file)
        environment.on_lost = self._channel_lost
        try:
            await template.start_environment(environment, f"{day}/[$LATEST]{stream_id}")
            await asyncio.wait_for(asyncio.shield(environment.started), self._init_timeout_s)
        except (StartError, OSError) as exc:
            self.kill(environment)
            if not environment.pid:
                self._environments.pop(environment.number, None)
            raise _start_error(exc) from None
        return environment

    def kill(self, environment: Environment) -> None:
        """Kill an environment with SIGKILL; it is gone a moment later."""
        environment.dying = True
        if self._template is not None:
            self._template.kill(environment.number)

    async def close(self) -> None:
        """End every process."""
        if self._loading is not None:
            self._loading.cancel()
            await asyncio.gather(self._loading, return_exceptions=True)
        template, self._template = self._template, None
        if template is not None:
            await template.close()
        self._all_lost()

    async def _load(self) -> TemplateProcess:
        template = self._template = self._make_template()
        try:
            template.start()
            threads = await template.ready(self._init_timeout_s)
        except (StartError, OSError) as exc:
            self._template = None
            await template.close()
            raise _start_error(exc) from None
        if self._settings.fork and threads > 1:
            _LOG.warning("%s: its import starts threads, so each environment is a fresh interpreter", self._name)
            self._settings = replace(self._settings, fork=False)
            self._template = None
            await template.close()
            return await self._load()
        return template

    def _make_template(self) -> TemplateProcess:
        return TemplateProcess(
            self._settings,
            environ=self._environ,
            log_file=self._log_dir / f"{time.strftime('%Y-%m-%d', time.gmtime())}-init.log",
            on_ended=self._ended,
            on_lost=self._all_lost,
        )

    def _channel_lost(self, environment: Environment) -> None:
        """A process that has closed its channel is of no more use; the end of an interpreter takes a moment."""
        asyncio.get_running_loop().call_later(_EXIT_S, self.kill, environment)

    def _ended(self, number: int, ended: Ended) -> None:
        environment = self._environments.pop(number, None)
        if environment is None:
            return
        self.totals.environments += 1
        self.totals.invocations += environment.invocations
        self.totals.cpu_s += ended.cpu_s
        self.totals.handler_s += environment.handler_s
        self.totals.max_rss_bytes = max(self.totals.max_rss_bytes, ended.max_rss_bytes)
        environment.process_ended(ended)

    def _all_lost(self) -> None:
        for number in list(self._environments):
            environment = self._environments[number]
            self._ended(number, Ended(-signal.SIGKILL, 0.0, 0))
            environment.close()


def _start_error(error: Exception) -> StartError:
    if isinstance(error, StartError):
        return error
    if isinstance(error, TimeoutError):
        return StartError("the import took too long")
    return StartError(f"no process could be made ({type(error).__name__})")
