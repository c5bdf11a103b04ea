"""The local cloud put together: starts every part that is not somebody else's and says where each is."""

import contextlib
import errno
import os
import shutil
import sys
import tempfile
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from infra.local.deployment import ROOT
from infra.local.options import Options
from infra.local.outside import Outside
from infra.local.start import Start
from infra.local.state import State
from infra.local.supervisor import Supervisor

# Recorded human speech, which `make setup` puts together (recordings.py).
SPEECH = ROOT / ".cache" / "recordings" / "learner.wav"


@dataclass(slots=True)
class LocalCloud:
    """A running local cloud.

    Attributes:
        state: where everything is.
        state_file: the file that says so.
        outside: which parts are somebody else's.
        supervisor: runs the parts started here.
    """

    state: State
    state_file: Path
    outside: Outside
    supervisor: Supervisor

    def note_restart(self) -> None:
        """Tell the state file's readers the process ids that hold now."""
        self.state = replace(self.state, pids=self.supervisor.pids)
        self.state.write(self.state_file)


class Hurry:
    """Kills at once what is still being stopped, for a person who presses Ctrl-C again."""

    def __init__(self) -> None:
        self.supervisor: Supervisor | None = None

    def __call__(self) -> None:
        """Kill the parts, if there are any."""
        if self.supervisor is not None:
            self.supervisor.kill()


@contextlib.asynccontextmanager
async def local_cloud(options: Options, environment: Mapping[str, str], hurry: Hurry) -> AsyncIterator[LocalCloud]:
    """Start a local cloud; on leaving, stop all of it and remove its files.

    Raises:
        supervisor.PartFailedError: a part did not start.
        valkey.ValkeyMissingError: there is no Valkey server for this platform, and ``REDIS_URL`` is not set.
        outside.OutsideError: a part that is somebody else's cannot be used.
        OSError: the state file cannot be written, or ``AWS_CA_BUNDLE`` not read.
    """
    if options.state is not None and not options.state.absolute().parent.is_dir():
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(options.state.absolute().parent))
    private = Path(tempfile.mkdtemp(prefix="maya-local-"))
    state_file = (options.state or private / "state.json").absolute()
    cloud: LocalCloud | None = None

    def restarted(line: str) -> None:
        sys.stderr.write(line + "\n")
        if cloud is not None:
            cloud.note_restart()

    try:
        state_file.unlink(missing_ok=True)
        for name in ("log", "tmp", "ready"):
            (private / name).mkdir()
        with contextlib.ExitStack() as stack:
            async with Supervisor(
                log_dir=private / "log", mark=private.name, remove=(state_file, private), announce=restarted
            ) as supervisor:
                hurry.supervisor = supervisor
                start = Start(options, environment, private, supervisor, stack)
                state = await start.run()
                state.write(state_file)
                cloud = LocalCloud(state, state_file, start.outside, supervisor)
                try:
                    yield cloud
                finally:
                    state.remove(state_file)
    finally:
        shutil.rmtree(private, ignore_errors=True)


def describe(cloud: LocalCloud, environment: Mapping[str, str]) -> str:
    """Return for a person where everything is and how to talk to Maya."""
    state = cloud.state
    rows = [
        ("WebSocket API", state.websocket_url, "AWS_ENDPOINT_URL_APIGATEWAYMANAGEMENTAPI"),
        ("Lambda", state.lambda_url, "AWS_ENDPOINT_URL_LAMBDA"),
        ("Nova Sonic", state.bedrock_url, "AWS_ENDPOINT_URL_BEDROCK_RUNTIME"),
        ("Redis", state.redis_url, "REDIS_URL"),
        ("DynamoDB", state.dynamodb_url, "AWS_ENDPOINT_URL_DYNAMODB"),
        ("SQS", state.sqs_url, "AWS_ENDPOINT_URL_SQS"),
        ("tokens from", state.token_issuer, "MAYA_TOKEN_ISSUER"),
        ("logs", state.log_dir, ""),
        ("state file", str(cloud.state_file), ""),
    ]
    lines = [f"  {name:<14}{where}{_whose(environment, variable)}" for name, where, variable in rows]
    command = f"{relative(Path(sys.executable))} -m"
    learner = f"{command} infra.local token --state {cloud.state_file} --learner alice --unlock academic_speaking"
    talk = f'{command} client_sim talk --url {state.websocket_url} --token "$TOKEN" --speech {relative(SPEECH)}'
    return "\n".join(
        [
            f"The local cloud is up: exam plan {state.plan}, {state.lines} lines, {_voice(state)}.",
            *lines,
            "",
            "Talk to Maya from another terminal:",
            f"  TOKEN=$({learner})",
            f"  {talk}",
            "",
            "Ctrl-C stops everything.",
        ]
    )


def _voice(state: State) -> str:
    if state.voice == "human":
        return "Maya hears and speaks English"
    if state.voice == "plain":
        why = f" ({state.voice_note})" if state.voice_note else ""
        return f"Maya speaks in tones and hears only how long you spoke{why}"
    return "Maya is somebody else's"


def _whose(environment: Mapping[str, str], variable: str) -> str:
    return f"  ({variable} is set: somebody else's)" if environment.get(variable) else ""


def relative(path: Path) -> str:
    """Return the path as a person at the repository's root would type it."""
    return str(path.relative_to(ROOT)) if path.is_relative_to(ROOT) else str(path)
