"""``python -m infra.rehearse``: deploy, talk, update, remove; 0 if all of it went well."""

import argparse
import asyncio
import contextlib
import os
import shutil
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from botocore.exceptions import ClientError

from infra.deploy.learner import enrol
from infra.local import valkey
from infra.local.supervisor import MARK_NAME, PartFailedError, Supervisor
from infra.local.talk import talk
from infra.local.up import SPEECH
from infra.rehearse.changes import adapt
from infra.rehearse.deployed import Deployed, NotDeployedError
from infra.rehearse.osls import STAGE, DeployError, Osls, package_folder
from infra.rehearse.parts import Parts

_LEARNER: Final = "learner"
_MODULE: Final = "academic_speaking"
_LONGEST_S: Final = 240.0
_LOG_LINES: Final = 6


class RehearsalError(Exception):
    """Something did not happen that a deploy promises; the text says what."""


async def rehearse(private: Path, plan: str, speech: Path) -> None:
    """Do all of it.

    Raises:
        RehearsalError, DeployError, NotDeployedError, PartFailedError: it did not go well.
    """
    (private / "log").mkdir()
    async with Supervisor(log_dir=private / "log", mark=private.name, remove=(private,), announce=_say) as supervisor:
        parts = Parts(supervisor, private)
        endpoint = await parts.ministack()
        redis = valkey.Valkey.new()
        osls = Osls(endpoint, package_folder())
        settings = {"MAYA_EXAM_PLAN": plan}
        template = await _deploy(osls, redis, settings, "deployed")
        deployed = Deployed(endpoint, template)
        await parts.redis(redis)
        url, ca_bundle = await parts.nova()
        config = await asyncio.to_thread(
            deployed.cloud_config,
            code=private / "code",
            log_dir=private / "log" / "functions",
            bedrock_url=url,
            ca_bundle=ca_bundle,
        )
        address = await parts.gateway(config)
        try:
            await _converse(deployed, address, speech)
        except RehearsalError:
            _tell_logs(private / "log" / "functions")
            raise
        await _update(osls, redis, deployed, settings)
        await _remove(osls, deployed)


async def _deploy(osls: Osls, redis: valkey.Valkey, settings: Mapping[str, str], word: str) -> Mapping[str, Any]:
    compiled = await asyncio.to_thread(osls.package, settings)
    rehearsal = adapt(compiled, redis_address=f"127.0.0.1:{redis.port}", passwords=redis.passwords)
    output = await asyncio.to_thread(osls.deploy, rehearsal.document, settings)
    if word == "deployed":
        for line in rehearsal.changes:
            _say(f"  {line}")
    _say(
        f"{word}: {len(rehearsal.document['Resources'])} of {len(compiled['Resources'])} resources, by osls, to ministack"
    )
    for line in output.splitlines():
        if line.startswith(("endpoint:", "✔")):
            _say(f"  {line.strip()}")
    return rehearsal.document


async def _converse(deployed: Deployed, address: str, speech: Path) -> None:
    learner = await asyncio.to_thread(enrol, deployed.client, STAGE, _LEARNER, _MODULE)
    _say(f"a learner of the deployed user pool talks to Maya at {address}")
    variables = {**os.environ, "MAYA_TOKEN": learner.token}
    failure = await talk(address, speech, _MODULE, variables, longest_s=_LONGEST_S, plain=True)
    if failure is not None:
        raise RehearsalError(failure)
    items = await asyncio.to_thread(deployed.saved, learner.learner)
    if len(items) != 1:
        raise RehearsalError(f"{len(items)} assessments are saved, and should be one")
    waiting = await asyncio.to_thread(deployed.unsaved)
    if waiting:
        raise RehearsalError(f"{waiting} messages wait in the queue of unsaved assessments")
    users = (await asyncio.to_thread(deployed.variables, "connect"))["MAYA_USERS_TABLE"]
    item = {"user_id": {"S": learner.learner}}
    if not await asyncio.to_thread(
        deployed.refused, "connect", lambda table: table.put_item(TableName=users, Item=item)
    ):
        raise RehearsalError("connect may write profiles: roles are not enforced")
    _say("each function acted with its own role; connect's, which only reads, is refused to write")
    _say(f"saved in the deployed table: {items[0]['status']['S']}, overall {items[0]['overall'].get('N', '-')}")


def _tell_logs(folder: Path) -> None:
    """Show the end of each function's log: ids and codes, as everywhere."""
    for log in sorted(folder.rglob("*.log")):
        for line in log.read_text(encoding="utf-8", errors="replace").splitlines()[-_LOG_LINES:]:
            _say(f"  {log.parent.name}: {line}")


async def _update(osls: Osls, redis: valkey.Valkey, deployed: Deployed, settings: Mapping[str, str]) -> None:
    """Deploy again with another setting; it must reach the function, and nothing that is kept may be lost."""
    await _deploy(osls, redis, {**settings, "MAYA_LOG_LEVEL": "WARNING"}, "updated")
    variables = await asyncio.to_thread(deployed.variables, "relay")
    if variables["MAYA_LOG_LEVEL"] != "WARNING":
        raise RehearsalError("the update did not reach the relay")


async def _remove(osls: Osls, deployed: Deployed) -> None:
    await asyncio.to_thread(osls.remove)
    status = await asyncio.to_thread(deployed.stack_status)
    if status:
        raise RehearsalError(f"the stack is still there: {status}")
    left = await asyncio.to_thread(lambda: deployed.client("lambda").list_functions()["Functions"])
    if left:
        raise RehearsalError(f"{len(left)} functions are still there")
    tables = await asyncio.to_thread(lambda: deployed.client("dynamodb").list_tables()["TableNames"])
    _say(f"removed: no stack, no function; kept on purpose: {', '.join(sorted(tables)) or 'no table'}")


def main() -> int:
    """Rehearse."""
    parser = argparse.ArgumentParser(prog="python -m infra.rehearse", description="A deploy without an account")
    parser.add_argument("--plan", choices=("tiny", "demo", "full"), default="tiny", help="how long the test is")
    parser.add_argument("--speech", type=Path, default=SPEECH, help="what the learner says, a WAV file")
    options = parser.parse_args()
    private = Path(tempfile.mkdtemp(prefix="maya-rehearsal-"))
    try:
        asyncio.run(rehearse(private, options.plan, options.speech.absolute()))
    except (RehearsalError, DeployError, NotDeployedError, PartFailedError, ClientError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    finally:
        shutil.rmtree(private, ignore_errors=True)
    left = _left_running(private.name)
    if left:
        print(f"error: processes are left running: {left}", file=sys.stderr)
        return 1
    _say("The rehearsal is over; nothing is left running.")
    return 0


def _left_running(mark: str) -> list[int]:
    """Return the processes that carry the rehearsal's mark in their environment, as all of its own do."""
    left = []
    for folder in Path("/proc").glob("[0-9]*"):
        # Others' processes, and those that end meanwhile, cannot be read.
        with contextlib.suppress(OSError):
            if f"{MARK_NAME}={mark}".encode() in (folder / "environ").read_bytes().split(b"\0"):
                left.append(int(folder.name))
    return left


def _say(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main())
