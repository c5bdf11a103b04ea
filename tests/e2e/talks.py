"""Conversations of every kind on one local cloud that is watched from all sides: held once, looked at by many tests.

The cloud shuffles messages both ways. All its stores are tapped and its temporary files are in a folder of its own, so that
afterwards everything that was anywhere can be searched.
"""

import asyncio
import contextlib
import functools
import json
import os
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tests.e2e.callers import Caller, Habits
from tests.e2e.clouds import QUICK, Cloud, eventually, launch, services
from tests.e2e.lines import BadLine
from tests.e2e.maya import HeldStream, Nova
from tests.e2e.stored import stored_items
from tests.e2e.taps import Tap, Watch

SHUFFLED = ("--delivery-jitter-ms", "80", "--post-jitter-ms", "30", "--seed", "4")
MAYA = ("--nova", "ears_tempo=4", "--nova", "playback_scale=1")
"""Takes short pauses for the end of a turn, as no learner here makes any; can be spoken over while she is heard."""

NUMBERS = {
    # Learners who speak in tones need a quarter of the time of people.
    "MAYA_ASSESS_FROM_S": "0.25",
    "MAYA_RESUME_WITHIN_S": "5",
    # A phone on a slow machine that misses `bye` comes back, and has a relay started for it.
    "MAYA_PART_WITH_MS": "1000",
    # Less than any turn that is spoken over, so that some of it is unsent.
    "MAYA_AHEAD_MS": "2000",
    "AWS_CONFIG_FILE": os.devnull,
}

MARKED = "my uncle sells seventeen crooked violins beside the frozen lighthouse every single november evening."
"""Words that nobody else says."""


@dataclass
class Talk:
    """One conversation that has been held.

    Attributes:
        caller: the phone.
        streams: what Maya's side knows of it.
        failure: why it could not be held.
    """

    caller: Caller
    streams: list[HeldStream]
    failure: BaseException | None = None


@dataclass
class Watched:
    """A cloud with everything that watches it."""

    cloud: Cloud
    nova: Nova
    watch: Watch
    dynamodb: Tap
    sqs: Tap
    functions: Tap
    temporary: Path
    talks: dict[str, Talk] = field(default_factory=dict)

    def talk(self, name: str) -> Talk:
        """One of the conversations.

        Raises:
            BaseException: it could not be held.
        """
        talk = self.talks[name]
        if talk.failure is not None:
            raise talk.failure
        return talk


@contextlib.contextmanager
def watched_cloud(folder: Path, *, restarts: bool = False, **settings: str) -> Iterator[Watched]:
    """Run a cloud whose stores are tapped.

    Args:
        folder: for all its files.
        restarts: parts of it may be killed, and come back.
        settings: environment variables beside the usual ones.
    """
    temporary = folder / "tmp"
    temporary.mkdir()
    with contextlib.ExitStack() as stack:
        upstream = _address(stack.enter_context(services(folder)))
        dynamodb, sqs = (stack.enter_context(Tap(upstream)) for _ in range(2))
        functions = stack.enter_context(Tap())
        environment = {
            **NUMBERS,
            "TMPDIR": str(temporary),
            "AWS_ENDPOINT_URL_DYNAMODB": dynamodb.url,
            "AWS_ENDPOINT_URL_SQS": sqs.url,
            "AWS_ENDPOINT_URL_LAMBDA": functions.url,
            **settings,
        }
        again = ("--redis-restarts", "9", "--nova-restarts", "9") if restarts else ()
        arguments = (*QUICK, *SHUFFLED, *MAYA, *again)
        cloud = stack.enter_context(launch(folder / "state.json", *arguments, environment=environment))
        functions.upstream = _address(cloud.state.lambda_control_url)
        # What the finish function could not save comes again at once.
        cloud.client("sqs").set_queue_attributes(
            QueueUrl=cloud.state.finish_queue_url, Attributes={"VisibilityTimeout": "1"}
        )
        # The processes of the cloud have a folder for temporary files within that of the cloud.
        own = Path(cloud.state.log_dir).parent / "tmp"
        watch = stack.enter_context(Watch(cloud.state.redis_url, own, patient=restarts))
        yield Watched(cloud, Nova(cloud), watch, dynamodb, sqs, functions, temporary)


def _address(url: str) -> tuple[str, int]:
    parts = urlsplit(url)
    assert parts.hostname is not None
    assert parts.port is not None
    return parts.hostname, parts.port


type Group = dict[str, tuple[Caller, Callable[[Caller], Awaitable[None]]]]

# --- The conversations ----------------------------------------------------------------------------------------------


def hold_all(watched: Watched) -> None:
    """Hold all conversations, as many at once as do not disturb each other."""
    at_once: Group = {
        "lossy": (_caller(watched, "lossy", line=BadLine(drop_every=40)), Caller.hold),
        "over": (_caller(watched, "over", over={0: 500.0, 7: 500.0}, rate=24000), Caller.hold),
        "hurt": (_caller(watched, "hurt", answers=(MARKED,)), functools.partial(_is_hurt, watched)),
        "dropped": (_caller(watched, "dropped", frame_ms=40, out_rate=8000), _drops_in_each_part),
        "twice": (
            _caller(watched, "twice", line=BadLine(copies=2), frame_ms=250, rate=8000, out_rate=16000),
            Caller.hold,
        ),
        "calm": (_caller(watched, "calm"), Caller.hold),
        "left": (_caller(watched, "left"), functools.partial(_leaves, watched)),
        "corrected": (_caller(watched, "corrected"), functools.partial(_is_corrected, watched)),
    }
    alone: Group = {"queued": (_caller(watched, "queued", answers=(MARKED,)), functools.partial(_is_queued, watched))}
    for group in (at_once, alone):
        asyncio.run(hold_group(watched, group))


async def hold_group(watched: Watched, group: Group) -> None:
    """Hold a group of conversations; each begins when the one before has, as it is with people."""
    courses: dict[str, asyncio.Future[None]] = {}
    for name, (caller, course) in group.items():
        courses[name] = asyncio.ensure_future(course(caller))
        begun = asyncio.create_task(caller.begins())
        await asyncio.wait([begun, courses[name]], return_when=asyncio.FIRST_COMPLETED)
        begun.cancel()
        await asyncio.gather(begun, return_exceptions=True)
    outcomes = await asyncio.gather(*courses.values(), return_exceptions=True)
    for (name, (caller, _)), outcome in zip(group.items(), outcomes, strict=True):
        watched.talks[name] = Talk(caller, watched.nova.streams_of(caller), outcome)


def _caller(watched: Watched, name: str, *, line: BadLine | None = None, **habits: Any) -> Caller:
    return Caller(watched.cloud, name, habits=Habits(**habits), line=line)


async def _drops_in_each_part(caller: Caller) -> None:
    """The radio dies while Maya speaks, while the learner speaks, and while nobody does."""
    async with caller.calling():
        await caller.until(lambda: caller.part == 1 and caller.hears_maya, "Maya in part 1")
        caller.line.cut()
        await caller.until(lambda: caller.part == 2 and caller.speaks, "the learner in part 2")
        caller.line.cut()
        await caller.until(lambda: caller.part == 3 and caller.hears_maya, "Maya in part 3")
        await caller.until(lambda: not (caller.hears_maya or caller.speaks), "silence in part 3")
        caller.line.cut()
        await caller.ends()


async def _is_hurt(watched: Watched, caller: Caller) -> None:
    """A drop; messages that break the contract with marked words in them; a stream whose last words quote the learner."""
    async with caller.calling():
        await caller.until(lambda: caller.hears_maya, "Maya")
        caller.line.cut()
        await caller.answered()
        broken = [
            MARKED,
            json.dumps([MARKED]),
            json.dumps({"action": "stream", "type": MARKED}),
            json.dumps({"action": "stream", "type": "ping", "id": 1, "at": 1, MARKED: MARKED}),
            json.dumps({"action": "stream", "type": "audio", "seq": 1_000_000, "t": 0, "pcm": MARKED}),
            json.dumps({"action": MARKED, "type": "stop", "seq": MARKED}),
        ]
        for text in broken:
            await caller.line.say(text)
        await caller.until(lambda: caller.part == 2 and caller.hears_maya, "Maya in part 2")
        stream = await watched.nova.open_stream_of(caller, 2)
        watched.nova.order("exception", scope=stream, type="modelStreamErrorException", message=MARKED)
        await caller.ends()


async def _is_corrected(watched: Watched, caller: Caller) -> None:
    """The stream's first call of its tool fits no schema."""
    async with caller.calling():
        await caller.until(lambda: caller.hears_maya, "Maya")
        stream = await watched.nova.open_stream_of(caller, 1)
        watched.nova.order("bad_tool_arguments", scope=stream)
        await caller.until(lambda: caller.part == 2 and caller.hears_maya, "Maya in part 2")
        caller.stop()
        await caller.ends()


async def _leaves(watched: Watched, caller: Caller) -> None:
    """The phone is gone after the long turn and never comes back."""
    async with caller.calling():
        await caller.answered(2)
        caller.line.cut(for_good=True)
        await asyncio.to_thread(eventually, lambda: stored_items(watched.cloud, caller.learner), within_s=40.0)


async def _is_queued(watched: Watched, caller: Caller) -> None:
    """DynamoDB is away when the assessment is to be saved, and comes back later."""
    async with caller.calling():
        await caller.answered()
        watched.dynamodb.away = True
        try:
            caller.stop()
            await caller.ends()
        finally:
            watched.dynamodb.away = False
    await asyncio.to_thread(eventually, lambda: stored_items(watched.cloud, caller.learner), within_s=40.0)
