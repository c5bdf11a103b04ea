"""The newcomer's main job: one learner holds a short speaking test with Maya, live in this terminal.

What is shown afterwards is read back from the stores themselves, not from what the phone was told.
"""

import asyncio
import os
import sys
import time
from collections.abc import Coroutine, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from infra.local import aws, recordings
from infra.local.environment import isolate
from infra.local.learners import token, unlock
from infra.local.options import Options
from infra.local.state import State
from infra.local.supervisor import MARK_NAME, Supervisor
from infra.local.talk import talk
from infra.local.up import SPEECH, Hurry, local_cloud, relative

if TYPE_CHECKING:
    import redis

LEARNER = "demo-learner"
MODULE = "academic_speaking"
_LONGEST_S = 115.0
# A second of the learner's audio is 32,000 bytes; progress is a few hundred.
_PROGRESS_BYTES = 16_000
# Learners who speak with Maya now, each with an expiry of its own; the other keys of the lines go with it.
_ALL_LINES = "maya:{lines}:"
_LINES = f"{_ALL_LINES}held"
_NEVER = -1
_LINE_WITHIN_S = 10.0
_POLL_S = 0.05


class DemoError(Exception):
    """Something that the demo promises did not happen; the text says what."""


async def demo(speech: Path, voice: str, environment: Mapping[str, str], hurry: Hurry) -> int:
    """Hold the conversation and show where its assessment was saved.

    Args:
        speech: recorded human speech, what the learner says; an absolute path.
        voice: how Maya hears and speaks: ``human``, ``plain`` or ``auto``.
        environment: where parts that are somebody else's are looked up.
        hurry: how a second Ctrl-C ends what is being stopped.

    Returns:
        0.

    Raises:
        DemoError: the conversation failed, or its assessment is not where it belongs.
        supervisor.PartFailedError, valkey.ValkeyMissingError, outside.OutsideError, OSError: as ``up.local_cloud``.
    """
    await asyncio.to_thread(_find_speech, speech)
    _say("Starting the cloud on this machine ...")
    async with local_cloud(Options(voice=voice, plan="demo"), environment, hurry) as cloud:
        state = cloud.state
        if "aws" in state.pids:
            isolate(os.environ)
        variables = {**environment, "MAYA_TOKEN": await asyncio.to_thread(_enrol, state), MARK_NAME: state.mark}
        await _unless_fails(cloud.supervisor, _talk(state, speech, variables))
        for line in await asyncio.to_thread(_account, state):
            _say(line)
    _say("The cloud is stopped; it has left nothing behind.")
    return 0


def _find_speech(speech: Path) -> None:
    """See that the speech is there; the recordings are fetched if set-up could not.

    Raises:
        DemoError: it is not and cannot be had.
    """
    try:
        if speech == SPEECH and not speech.is_file():
            recordings.fetch(speech.parent)
    except recordings.RecordingsError as error:
        raise DemoError(f"no recorded human speech: {error}") from None
    if not speech.is_file():
        raise DemoError(f"{relative(speech)} does not exist")


def _enrol(state: State) -> str:
    """Unlock the module for the learner and return a token."""
    unlock(state, LEARNER, [MODULE])
    return token(state, LEARNER)


async def _unless_fails(supervisor: Supervisor, work: Coroutine[Any, Any, None]) -> None:
    """Do the work, but give it up when a part of the cloud dies.

    Raises:
        PartFailedError: a part died.
    """
    working, failing = asyncio.ensure_future(work), asyncio.ensure_future(supervisor.failure())
    try:
        await asyncio.wait({working, failing}, return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise failing.result()
        working.result()
    finally:
        working.cancel()
        failing.cancel()
        await asyncio.gather(working, failing, return_exceptions=True)


async def _talk(state: State, speech: Path, environment: Mapping[str, str]) -> None:
    """Hold the conversation.

    Raises:
        DemoError: it failed, or took too long.
    """
    failure = await talk(state.websocket_url, speech, MODULE, environment, longest_s=_LONGEST_S)
    if failure is not None:
        raise DemoError(failure)


def _account(state: State) -> Iterator[str]:
    """Yield, line by line, where the assessment is and what else is left.

    Raises:
        DemoError: the assessment is not in both tables, or something is left that should not be.
    """
    dynamodb = aws.client("dynamodb", state.dynamodb_url, state.region)
    item = _saved_item(dynamodb, state)
    key = f"user_id={LEARNER} assessment_id={item['assessment_id']['S']}"
    band = _band(item)
    yield ""
    yield "Read back from DynamoDB:"
    yield f"  {state.assessments_table:<18}{key}: {item['status']['S']}, overall band {band}"
    user = dynamodb.get_item(TableName=state.users_table, Key={"user_id": {"S": LEARNER}}, ConsistentRead=True)["Item"]
    if _band(user.get("assessment", {}).get("M", {})) != band:
        raise DemoError(f"the learner's item in {state.users_table} does not hold the assessment")
    yield f"  {state.users_table:<18}user_id={LEARNER}: the same in `assessment`"
    yield "Left in Redis (progress, never speech):"
    yield from _redis_keys(state)
    sqs = aws.client("sqs", state.sqs_url, state.region)
    waiting = _waiting(sqs, state.finish_queue_url)
    if waiting:
        raise DemoError(f"{waiting} unsaved assessments wait in the queue")
    yield "Left in the queue of unsaved assessments: nothing"


def _saved_item(dynamodb: Any, state: State) -> dict[str, Any]:
    """Return the learner's newest assessment from the table of assessments."""
    items: list[dict[str, Any]] = dynamodb.query(
        TableName=state.assessments_table,
        KeyConditionExpression="user_id = :learner",
        ExpressionAttributeValues={":learner": {"S": LEARNER}},
        ConsistentRead=True,
    )["Items"]
    if not items:
        raise DemoError(f"{state.assessments_table} holds no assessment of {LEARNER}")
    return max(items, key=lambda item: int(item["epoch"]["N"]))


def _band(assessment: Mapping[str, Any]) -> str:
    """Return the overall band of an assessment in DynamoDB's form, or a dash where nothing could be assessed."""
    return str(assessment.get("overall", {}).get("N", "-"))


def _redis_keys(state: State) -> Iterator[str]:
    """Yield a line for each key of the gateway; all must be small and expire by themselves.

    Raises:
        DemoError: a key does not expire, is too large, or the learner still holds a line.
    """
    # Imported here: it takes 0.3 s, which the commands beside this one need not wait for.
    import redis  # noqa: PLC0415

    with redis.Redis.from_url(state.redis_url, decode_responses=True) as connection:
        _wait_for_line(connection)
        for name in sorted(connection.scan_iter(match="maya:*")):
            if name.startswith(_ALL_LINES):
                continue  # other learners' lines
            size_bytes, expires_s = connection.memory_usage(name) or 0, connection.ttl(name)
            if expires_s == _NEVER:
                raise DemoError(f"the Redis key {name} would stay for ever")
            if size_bytes > _PROGRESS_BYTES:
                raise DemoError(f"the Redis key {name} is larger than progress can be: {size_bytes} bytes")
            yield f"  {name}  {size_bytes} bytes, expires in {max(expires_s, 0)} s"


def _wait_for_line(connection: "redis.Redis") -> None:
    """Wait until the relay has given Maya's line back, which it does after its last word to the phone.

    Raises:
        DemoError: it has not.
    """
    deadline = time.monotonic() + _LINE_WITHIN_S
    while connection.zscore(_LINES, LEARNER) is not None:
        if time.monotonic() > deadline:
            raise DemoError("the conversation still holds one of Maya's lines")
        time.sleep(_POLL_S)


def _waiting(sqs: Any, url: str) -> int:
    """Return how many messages a queue holds."""
    names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    answer = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=names)["Attributes"]
    return sum(int(answer[name]) for name in names)


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()
