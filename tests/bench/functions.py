"""The handlers by themselves: what importing one costs a cold start, and what a warm call of the stream handler takes."""

import contextlib
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from statistics import median
from typing import Any, Final

import redis

from infra.local import valkey
from infra.local.deployment import ROOT
from infra.local.tether import tethered
from tests.bench.stage import clean_environment

HANDLERS: Final = ("authorize", "connect", "stream", "disconnect", "relay", "finish")
UNWANTED: Final = ("boto3", "botocore", "pydantic", "structlog", "asyncio", "redis")
"""Packages that a cold start of the stream handler cannot afford."""

_SDK: Final = "aws_sdk_bedrock_runtime.client, smithy_http.aio.crt"
_TELL: Final = "; import sys, time, json; print(json.dumps([time.process_time(), sorted(sys.modules)]))"
_READY_WITHIN_S: Final = 10.0


@dataclass(frozen=True, slots=True)
class ColdImport:
    """What an import costs a fresh interpreter.

    Attributes:
        cpu_s: median CPU seconds beyond those of an interpreter that imports nothing.
        modules: how many modules are loaded afterwards that were not before.
    """

    cpu_s: float
    modules: int


@dataclass(frozen=True, slots=True)
class Functions:
    """All figures of the handlers.

    Attributes:
        cold: by handler.
        sdk: the same of what `direct` imports.
        unwanted: which of `UNWANTED` the stream handler imports.
        warm: see `tests.bench.warm.Warm`.
    """

    cold: dict[str, ColdImport]
    sdk: ColdImport
    unwanted: tuple[str, ...]
    warm: dict[str, Any]


def measure(runs: int) -> Functions:
    """Measure everything; each import so many times, in turns, so that a busy moment hits all alike."""
    codes = {"": "pass", "sdk": f"import {_SDK}", **{name: f"import handlers.{name}" for name in HANDLERS}}
    for code in codes.values():
        _fresh(code)  # compiles what is not compiled yet
    seconds: dict[str, list[float]] = {name: [] for name in codes}
    modules: dict[str, set[str]] = {}
    for _ in range(runs):
        for name, code in codes.items():
            took_s, loaded = _fresh(code)
            seconds[name].append(took_s)
            modules[name] = loaded
    bare_s = median(seconds[""])
    found = {name: ColdImport(median(seconds[name]) - bare_s, len(modules[name] - modules[""])) for name in codes}
    return Functions(
        cold={name: found[name] for name in HANDLERS},
        sdk=found["sdk"],
        unwanted=tuple(name for name in UNWANTED if name in modules["stream"]),
        warm=_warm(),
    )


def _fresh(code: str) -> tuple[float, set[str]]:
    """Run code in a fresh interpreter; return its CPU seconds since its start, and the modules that it has."""
    command = [sys.executable, "-c", code + _TELL]
    output = subprocess.run(command, cwd=ROOT, env=clean_environment(), capture_output=True, check=True).stdout
    took_s, modules = json.loads(output)
    return took_s, set(modules)


def _warm() -> dict[str, Any]:
    with _valkey() as url:
        with contextlib.closing(redis.Redis.from_url(url)) as operator:
            operator.set("maya:{learner-0}:lease", "1790000000000:relay-0")
        environment = {**clean_environment(), "REDIS_URL": url, "AWS_REGION": "us-east-1"}
        command = [sys.executable, "-m", "tests.bench.warm"]
        output = subprocess.run(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, check=True).stdout
    document: dict[str, Any] = json.loads(output)
    return document


@contextlib.contextmanager
def _valkey() -> Iterator[str]:
    """Run a Valkey server of one's own, with nobody else on it."""
    port = valkey.free_port()
    command = [
        str(valkey.server_path()),
        "--port",
        str(port),
        "--bind",
        "127.0.0.1",
        "--save",
        "",
        "--appendonly",
        "no",
    ]
    url = f"redis://127.0.0.1:{port}/0"
    with (
        tempfile.TemporaryDirectory() as folder,
        subprocess.Popen(tethered(command), cwd=folder, stdout=subprocess.DEVNULL, start_new_session=True) as server,
    ):
        try:
            _wait_for(url)
            yield url
        finally:
            server.terminate()


def _wait_for(url: str) -> None:
    deadline = time.monotonic() + _READY_WITHIN_S
    with contextlib.closing(redis.Redis.from_url(url)) as client:
        while True:
            try:
                client.ping()
            except redis.ConnectionError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.02)
            else:
                return
