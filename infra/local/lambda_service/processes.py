"""The service's processes: CPU time and memory for benches, what each is doing for tests that kill them."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from infra.local.lambda_service.service import LambdaService
from infra.local.lambda_service.source import EndedTotals

_PS = "/bin/ps"


@dataclass(frozen=True, slots=True)
class ProcessNote:
    """A living environment, as the service knows it."""

    pid: int
    invocations: int
    request_id: str | None

    @property
    def busy(self) -> bool:
        """Whether an invocation is under way."""
        return self.request_id is not None


@dataclass(frozen=True, slots=True)
class FunctionNote:
    """A function's processes, as the service knows them."""

    function: str
    template_pid: int | None
    environments: tuple[ProcessNote, ...]
    ended: EndedTotals
    handler_s: float


@dataclass(frozen=True, slots=True)
class Usage:
    """What a process takes: CPU seconds since its start, resident and proportional memory in bytes.

    ``pss_bytes`` shares out what forks have in common; None where the system does not tell.
    """

    cpu_s: float = 0.0
    rss_bytes: int = 0
    pss_bytes: int | None = None


def survey(service: LambdaService) -> list[FunctionNote]:
    """Note which processes there are; call it on the service's event loop."""
    return [
        FunctionNote(
            function=pool.function.name,
            template_pid=pool.source.template_pid,
            environments=tuple(
                ProcessNote(
                    environment.pid,
                    environment.invocations,
                    None if environment.call is None else environment.call.request_id,
                )
                for environment in pool.source.environments
                if environment.pid
            ),
            ended=dataclasses.replace(pool.source.totals),
            handler_s=pool.source.totals.handler_s
            + sum(environment.handler_s for environment in pool.source.environments),
        )
        for pool in service.pools
    ]


def underway(service: LambdaService) -> dict[str, Any]:
    """Build the answer of ``GET /_local/invocations``; call it on the service's event loop.

    The answer has for each function ``started`` (invocations so far), ``handler_s`` (CPU seconds that the handler itself took
    in those that were answered, the runtime around it left out) and ``running``: ``request_id`` and ``pid`` of each invocation
    that is under way.
    """
    return {
        note.function: {
            "started": note.ended.invocations + sum(process.invocations for process in note.environments),
            "handler_s": note.handler_s,
            "running": [
                {"request_id": process.request_id, "pid": process.pid} for process in note.environments if process.busy
            ],
        }
        for note in survey(service)
    }


def describe(notes: list[FunctionNote]) -> dict[str, Any]:
    """Measure every process and build the answer of ``GET /_local/processes``; it reads files, so call it in a thread.

    The answer: ``service`` (this process: ``pid, cpu_s, rss_bytes, pss_bytes``), and ``functions``, each with ``function``,
    ``template`` (the same fields, or null), ``environments`` (with ``invocations`` and ``busy``), ``ended`` (sums over those
    that are gone), and the totals ``invocations`` and ``cpu_s`` over template, environments and ended.
    """
    return {"service": _measured(os.getpid()), "functions": [_describe(note) for note in notes]}


def _describe(note: FunctionNote) -> dict[str, Any]:
    template = None if note.template_pid is None else _measured(note.template_pid)
    environments = [
        {**_measured(process.pid), "invocations": process.invocations, "busy": process.busy}
        for process in note.environments
    ]
    cpu_s = note.ended.cpu_s + sum(process["cpu_s"] for process in environments)
    return {
        "function": note.function,
        "template": template,
        "environments": environments,
        "ended": dataclasses.asdict(note.ended),
        "invocations": note.ended.invocations + sum(process.invocations for process in note.environments),
        "cpu_s": cpu_s + (template["cpu_s"] if template else 0.0),
    }


def _measured(pid: int) -> dict[str, Any]:
    return {"pid": pid, **dataclasses.asdict(usage(pid))}


def usage(pid: int) -> Usage:
    """What a process takes now; zeros when it is gone."""
    if Path("/proc/self/stat").exists():
        return _linux_usage(pid)
    return _ps_usage(pid)


def _linux_usage(pid: int) -> Usage:
    try:
        # The process's name, in parentheses, may hold spaces.
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    except OSError:
        return Usage()
    cpu_s = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    rss_bytes = int(fields[21]) * os.sysconf("SC_PAGE_SIZE")
    pss_bytes = None
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="utf-8").splitlines():
            if line.startswith("Pss:"):
                pss_bytes = int(line.split()[1]) * 1024
    return Usage(cpu_s, rss_bytes, pss_bytes)


def _ps_usage(pid: int) -> Usage:
    command = [_PS, "-o", "time=,rss=", "-p", str(pid)]
    try:
        fields = subprocess.run(command, capture_output=True, text=True, check=False).stdout.split()
    except OSError:
        return Usage()
    return Usage(_clock_seconds(fields[0]), int(fields[1]) * 1024) if len(fields) == 2 else Usage()


def _clock_seconds(text: str) -> float:
    """Seconds of ps's ``[days-][hours:]minutes:seconds``."""
    days, _, clock = text.rpartition("-")
    seconds = 0.0
    for part in clock.split(":"):
        seconds = seconds * 60 + float(part)
    return seconds + int(days or 0) * 86_400
