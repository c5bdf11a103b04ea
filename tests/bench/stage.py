"""Starts what is measured and what is measured against, and stops it again.

The Nova Sonic stand-in is started here and not by the local cloud, because both ways speak to the same one and it
writes a tap; the local cloud is told where it is by the standard variables. Nobody waits in it: Maya speaks in real
time and at once, so that pieces leave evenly and what is measured is the way.
"""

import contextlib
import datetime as dt
import json
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from infra.local import aws, certificates, learners
from infra.local.aws import DUMMY_KEYS
from infra.local.deployment import ROOT
from infra.local.state import State
from infra.local.tether import tethered
from tests.bench.driver import Record
from tests.bench.processes import RUNTIME, Groups

LINES: Final = 80
MODULE: Final = "academic_speaking"
LEARNER: Final = "learner-"
STAND_INS: Final = ("API GW, Lambda", RUNTIME, "Nova Sonic", "Valkey", "DynamoDB", "phones", "supervisor")
STREAM_HANDLERS: Final = "stream handlers"
RELAYS: Final = "relays"
OTHER_HANDLERS: Final = "other handlers"
CLIENT: Final = "client"

DIRECT: Final = "direct"
NO_DELAY: Final = "direct, no delay"
EACH: Final = "direct, each alone"
GATEWAY: Final = "gateway"

_NOVA_SETTINGS: Final = (
    "speed_min=1",
    "speed_max=1",
    "gap_probability=0",
    "max_streams=200",
    "user_final_ms=50",
    "think_ms=50",
    "speculative_ms=100",
    "first_audio_ms=150",
    "text_think_ms=50",
    "text_speculative_ms=100",
    "text_first_audio_ms=150",
)
_READY_WITHIN_S: Final = 60.0
_STOP_WITHIN_S: Final = 30.0
_POLL_S: Final = 0.02
_FLUSHED_S: Final = 1.2
"""The tap is flushed twice a second."""


class StageError(Exception):
    """Something did not start, or ended; the text says what and holds the end of what it said."""


@dataclass(frozen=True, slots=True)
class Nova:
    """The running Nova Sonic stand-in.

    Attributes:
        pid: its process.
        url: its endpoint.
        authority: what to trust there, PEM.
        tap: what it writes.
    """

    pid: int
    url: str
    authority: Path
    tap: Path

    def flushed(self) -> None:
        """Wait until the tap holds everything up to now."""
        time.sleep(_FLUSHED_S)


def clean_environment() -> dict[str, str]:
    """Return this process's environment without what the machine or the developer set for AWS, Redis and the product."""
    return {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("AWS_", "MAYA_", "REDIS_")) and not name.lower().endswith("_proxy")
    }


@contextlib.contextmanager
def nova(folder: Path) -> Iterator[Nova]:
    """Run the Nova Sonic stand-in."""
    files = certificates.issue(folder, now=dt.datetime.now(dt.UTC))
    ready, tap, log = folder / "nova.json", folder / "tap.jsonl", folder / "nova.log"
    command = [sys.executable, "-m", "infra.local.nova", "--cert", str(files.certificate), "--key", str(files.key)]
    command += ["--ready-file", str(ready), "--voice", "plain", "--seed", "0", "--tap", str(tap)]
    command += [word for setting in _NOVA_SETTINGS for word in ("--set", setting)]
    with _running(command, log, clean_environment()) as process:
        _wait_for(ready, process, log)
        port = json.loads(ready.read_text())["port"]
        yield Nova(process.pid, f"https://127.0.0.1:{port}", files.ca_bundle, tap)


@dataclass(frozen=True, slots=True)
class Cloud:
    """The running local cloud.

    Attributes:
        state: where everything is.
        nova_pid: the stand-in that it uses.
    """

    state: State
    nova_pid: int

    def tokens(self, count: int) -> list[str]:
        """Return tokens of as many learners, who have unlocked the module."""
        names = [f"{LEARNER}{number}" for number in range(count)]
        for name in names:
            learners.unlock(self.state, name, [MODULE])
        return [learners.token(self.state, name) for name in names]

    def client(self, service: str) -> Any:
        """Return a boto3 client for ``dynamodb``."""
        return aws.client(service, self.state.dynamodb_url, self.state.region)

    def groups(self, phones_pid: int) -> Groups:
        """Return which process is what."""
        url = f"{self.state.lambda_control_url}/processes"
        with urllib.request.urlopen(url, timeout=10) as answer:  # noqa: S310 - the local cloud's own http address
            functions: list[dict[str, Any]] = json.load(answer)["functions"]
        templates = {one["function"]: one["template"]["pid"] for one in functions if one["template"]}
        stand_in = ("Nova Sonic", (self.nova_pid,)), ("Valkey", self._pids("valkey")), ("phones", (phones_pid,))
        known = {
            "API GW, Lambda": (*self._pids("cloud"), *templates.values()),
            **dict(stand_in),
            "DynamoDB": self._pids("aws"),
            "supervisor": (self.state.supervisor_pid,),
            OTHER_HANDLERS: (),
        }
        forking = {STREAM_HANDLERS: templates["maya-stream"], RELAYS: templates["maya-relay"]}
        others = {name: pid for name, pid in templates.items() if pid not in forking.values()}
        forking |= {f"{OTHER_HANDLERS}: {name}": pid for name, pid in others.items()}
        return Groups(known, forking, self._inside)

    def _inside(self) -> dict[str, float]:
        """CPU seconds of the stream handler itself; a relay's one invocation is all that its process does."""
        url = f"{self.state.lambda_control_url}/invocations"
        with urllib.request.urlopen(url, timeout=10) as answer:  # noqa: S310 - the local cloud's own http address
            return {STREAM_HANDLERS: json.load(answer)["maya-stream"]["handler_s"]}

    def _pids(self, part: str) -> tuple[int, ...]:
        return (self.state.pids[part],) if part in self.state.pids else ()


@contextlib.contextmanager
def cloud(folder: Path, sonic: Nova) -> Iterator[Cloud]:
    """Run the local cloud with this stand-in of Nova Sonic."""
    state, log = folder / "state.json", folder / "up.log"
    environment = {
        **clean_environment(),
        **DUMMY_KEYS,
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_ENDPOINT_URL_BEDROCK_RUNTIME": sonic.url,
        "AWS_CA_BUNDLE": str(sonic.authority),
    }
    command = [sys.executable, "-m", "infra.local", "up", "--state", str(state), "--with-parent"]
    command += ["--plan", "full", "--lines", str(LINES)]
    with _running(command, log, environment) as process:
        _wait_for(state, process, log)
        yield Cloud(State.read(state), sonic.pid)


class Child:
    """A process that holds conversations; see `tests.bench.driver`."""

    def __init__(self, process: "subprocess.Popen[bytes]", record: Path, log: Path) -> None:
        self._process = process
        self._record = record
        self._log = log

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def add(self, count: int) -> None:
        """Have more conversations begin; returns when all are live."""
        self._ask({"add": count})

    def set(self, name: str, *, on: bool) -> None:
        """Have an option set, or taken away."""
        self._ask({"set": name, "on": on})

    def record(self) -> Record:
        """Return what was noted.

        Raises:
            StageError: a conversation has ended.
        """
        self._ask({"write": True})
        return Record.read(self._record)

    def _ask(self, command: dict[str, Any]) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(json.dumps(command).encode() + b"\n")
            self._process.stdin.flush()
        if not self._process.stdout.readline():
            raise StageError(f"the process that holds the conversations ended:\n{_tail(self._log)}")


class Asked:
    """A process that is asked line by line.

    Args:
        process: with pipes.
        log: what it says beside its answers.
    """

    def __init__(self, process: "subprocess.Popen[bytes]", log: Path) -> None:
        self._process = process
        self._log = log

    def ask(self, command: dict[str, Any]) -> dict[str, Any]:
        """Return its answer.

        Raises:
            StageError: it has ended.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(json.dumps(command).encode() + b"\n")
            self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise StageError(f"a process ended:\n{_tail(self._log)}")
        answer: dict[str, Any] = json.loads(line)
        return answer


@contextlib.contextmanager
def asked(folder: Path, module: str, *arguments: str) -> Iterator[Asked]:
    """Run a process that is asked line by line."""
    log = folder / f"{module}.log"
    command = [sys.executable, "-m", f"tests.bench.{module}", *arguments]
    with _running(command, log, clean_environment(), pipes=True) as process:
        yield Asked(process, log)


class Children:
    """As many processes as conversations, each with a client of its own, as a relay has."""

    def __init__(self, each: Sequence[Child]) -> None:
        self._each = each
        self._live = 0

    @property
    def pids(self) -> tuple[int, ...]:
        """Their process ids."""
        return tuple(one.pid for one in self._each)

    def add(self, count: int) -> None:
        """Have more of them begin; returns when all are live."""
        for one in self._each[self._live : self._live + count]:
            one.add(1)
        self._live += count

    def set(self, name: str, *, on: bool) -> None:
        """Have an option set in all of them, or taken away."""
        for one in self._each[: self._live]:
            one.set(name, on=on)

    def record(self) -> Record:
        """Return what was noted by all."""
        records = [one.record() for one in self._each[: self._live]]
        return Record(
            [notes for record in records for notes in record.conversations],
            sorted(lag for record in records for lag in record.lags),
        )


@contextlib.contextmanager
def child(folder: Path, module: str, *arguments: str, frame_ms: int) -> Iterator[Child]:
    """Run a process that holds conversations."""
    record, log = folder / f"{module}-{frame_ms}.json", folder / f"{module}.log"
    command = [sys.executable, "-m", f"tests.bench.{module}", "--frame-ms", str(frame_ms), "--record", str(record)]
    with _running([*command, *arguments], log, clean_environment(), pipes=True) as process:
        yield Child(process, record, log)


@contextlib.contextmanager
def _running(
    command: list[str], log: Path, environment: dict[str, str], *, pipes: bool = False
) -> Iterator["subprocess.Popen[bytes]"]:
    with log.open("wb") as output:
        process = subprocess.Popen(
            tethered(command),
            stdin=subprocess.PIPE if pipes else subprocess.DEVNULL,
            stdout=subprocess.PIPE if pipes else output,
            stderr=output,
            env=environment,
            cwd=ROOT,
            # Ctrl-C is this process's affair.
            start_new_session=True,
        )
    with process:
        try:
            yield process
        finally:
            _end(process)


def _end(process: "subprocess.Popen[bytes]") -> None:
    if process.stdin is not None:
        with contextlib.suppress(BrokenPipeError):
            process.stdin.close()
    else:
        # Once asks, twice insists: what goes on in there is of no more use.
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_POLL_S)
        process.terminate()
    try:
        process.wait(_STOP_WITHIN_S)
    except subprocess.TimeoutExpired:
        process.kill()


def _wait_for(file: Path, process: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + _READY_WITHIN_S
    while not file.exists():
        if process.poll() is not None or time.monotonic() > deadline:
            raise StageError(f"{process.args!r} did not start:\n{_tail(log)}")
        time.sleep(_POLL_S)


def _tail(log: Path) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-20:])
