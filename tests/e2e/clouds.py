"""Local clouds for tests: started as a program would start them, by command and state file."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import redis

from infra.local import aws, learners
from infra.local.deployment import ROOT
from infra.local.state import State
from infra.local.watchdog import marked_processes

# Answers at once, short, and remembers what it heard.
QUICK = ("--voice", "plain", "--plan", "tiny", "--timing", "instant", "--record")
_STOP_WITHIN_S = 30.0


@dataclass(slots=True)
class Cloud:
    """A running local cloud.

    Attributes:
        process: the supervisor.
        state_file: its state file.
        output: what it told a person before it was ready.
    """

    process: subprocess.Popen[str]
    state_file: Path
    output: list[str] = field(default_factory=list)

    @property
    def state(self) -> State:
        """What the state file says now."""
        return State.read(self.state_file)

    def token(self, learner: str, *, unlock: Sequence[str] = ("academic_speaking",), expires_s: float = 3600.0) -> str:
        """Return a token for a learner who has unlocked these modules."""
        learners.unlock(self.state, learner, unlock)
        return learners.token(self.state, learner, expires_s=expires_s)

    def client(self, service: str) -> Any:
        """Return a boto3 client for dynamodb, sqs, lambda or apigatewaymanagementapi."""
        state = self.state
        url = {
            "dynamodb": state.dynamodb_url,
            "sqs": state.sqs_url,
            "lambda": state.lambda_url,
            "apigatewaymanagementapi": state.connections_url,
        }[service]
        return aws.client(service, url, state.region)

    def redis(self) -> redis.Redis:
        """Return a connection to Redis with all rights; the caller closes it."""
        return redis.Redis.from_url(self.state.redis_url)

    def log(self, name: str) -> str:
        """Return all that a part has written: `cloud`, `nova`, `aws`, `valkey`, or `functions/<function>`."""
        where = Path(self.state.log_dir) / name
        files = sorted(where.iterdir()) if where.is_dir() else [where.with_name(where.name + ".log")]
        return "".join(file.read_text(errors="replace") for file in files)

    def send(self, part: str, number: signal.Signals) -> None:
        """Send a signal to a part: SIGSTOP takes it away, SIGCONT brings it back, SIGKILL kills it."""
        os.kill(self.state.pids[part], number)

    def kill(self, part: str) -> None:
        """Kill a part with SIGKILL."""
        self.send(part, signal.SIGKILL)

    @contextlib.contextmanager
    def without(self, part: str) -> Iterator[None]:
        """Take a part away for a while: it answers nobody, and has lost nothing when it comes back."""
        self.send(part, signal.SIGSTOP)
        try:
            yield
        finally:
            self.send(part, signal.SIGCONT)

    def stop(self, number: signal.Signals = signal.SIGINT) -> int:
        """Ask the cloud to stop, as Ctrl-C does; returns its exit code."""
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(number)
        return self.process.wait(_STOP_WITHIN_S)


class LeftBehindError(AssertionError):
    """A local cloud has left processes or files."""


@contextlib.contextmanager
def launch(state_file: Path, *arguments: str, environment: Mapping[str, str] | None = None) -> Iterator[Cloud]:
    """Run `python -m infra.local up` with these arguments; on leaving, stop it and see that nothing is left.

    Args:
        state_file: where its state file goes.
        arguments: of the command.
        environment: variables it has beside those of this machine that are not about AWS, Redis or the product.

    Raises:
        AssertionError: it ended before it was ready; the text is what it said.
        LeftBehindError: it left a process, its state file, or its private directory.
    """
    process = start(state_file, *arguments, environment=environment)
    cloud = Cloud(process, state_file)
    with process:
        mark = log_dir = ""
        try:
            assert process.stdout is not None
            for line in process.stdout:
                cloud.output.append(line)
                if line.startswith("Ctrl-C"):
                    break
            else:
                raise AssertionError(f"the local cloud ended with {process.wait()}: {''.join(cloud.output)}")
            state = cloud.state
            mark, log_dir = state.mark, state.log_dir
            yield cloud
        finally:
            if process.poll() is None:
                cloud.stop()
            process.kill()
            if mark:
                check_nothing_left(mark, state_file, Path(log_dir).parent)


@contextlib.contextmanager
def services(folder: Path) -> Iterator[str]:
    """Run DynamoDB and SQS apart from a cloud, so that something can stand between; gives their address."""
    ready = folder / "aws.json"
    names = ("--users-table", aws.USERS_TABLE, "--assessments-table", aws.ASSESSMENTS_TABLE, "--region", aws.REGION)
    with (folder / "aws.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "infra.local.aws", "--ready-file", str(ready), *names],
            stdout=log,
            stderr=subprocess.STDOUT,
            cwd=ROOT,
            env={**clean_environment(), "TMPDIR": str(folder)},
        )
    with process:
        try:
            eventually(ready.exists, within_s=30.0)
            yield json.loads(ready.read_text())["url"]
        finally:
            process.kill()


def start(state_file: Path, *arguments: str, environment: Mapping[str, str] | None = None) -> subprocess.Popen[str]:
    """Start `python -m infra.local up` and return at once; its output and errors are one pipe."""
    return subprocess.Popen(
        [sys.executable, "-m", "infra.local", "up", "--state", str(state_file), *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=ROOT,
        env={**clean_environment(), **(environment or {})},
        # Ctrl-C in the tests' terminal is the tests' affair.
        start_new_session=True,
    )


def clean_environment() -> dict[str, str]:
    """Return this process's environment without what the machine or the developer set for AWS, Redis and the product."""
    return {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("AWS_", "MAYA_", "REDIS_")) and not name.lower().endswith("_proxy")
    }


def check_nothing_left(mark: str, *paths: Path) -> None:
    """See that no process of a cloud and none of its files is left.

    Raises:
        LeftBehindError: something is; the processes are killed.
    """
    left = list(marked_processes(f"MAYA_LOCAL_CLOUD={mark}"))
    for pid in left:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    files = [str(path) for path in paths if path.exists()]
    if left or files:
        raise LeftBehindError(f"processes {left}, files {files}")


def eventually(what: Callable[[], object], *, within_s: float = 10.0) -> None:
    """Wait until something other processes do has come about.

    Raises:
        AssertionError: it has not in time.
    """
    deadline = time.monotonic() + within_s
    while not what():
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {within_s:g} s")
        time.sleep(0.01)
