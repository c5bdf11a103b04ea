"""A learner's conversation beside one hostile client of each kind, all at once: it is what it would be without them (I5, I7)."""

import asyncio
import contextlib
import json
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.e2e.callers import Caller
from tests.e2e.clouds import QUICK, Cloud, eventually, launch
from tests.e2e.maya import HeldStream, Nova, check_heard, check_played, check_understood
from tests.e2e.stored import check_stored, stored_items
from tests.e2e.talks import MAYA, NUMBERS
from tests.hostile import KINDS, Hostile

_AT_LEAST_S = 3.0
_PER_S = 15.0


@dataclass(frozen=True)
class Beside:
    """What came of it.

    Attributes:
        cloud: still running.
        caller: whose conversation was held.
        streams: what Maya heard and said in it.
        clients: the hostile ones, by kind.
    """

    cloud: Cloud
    caller: Caller
    streams: list[HeldStream]
    clients: dict[str, Hostile]

    def learner(self, kind: str) -> str:
        """The learner that a hostile client is logged in as."""
        return learner_of(kind)


def learner_of(kind: str) -> str:
    return f"hostile-{kind.replace(' ', '-')}"


@pytest.fixture(scope="module")
def beside(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Beside]:
    """A whole conversation held while they all do their worst."""
    state = tmp_path_factory.mktemp("hostile") / "state.json"
    with launch(state, *QUICK, *MAYA, environment={**NUMBERS, "MAYA_RESUME_WITHIN_S": "3"}) as cloud:
        caller = Caller(cloud, "beside")
        clients = {
            kind.kind: kind(
                cloud.state.websocket_url,
                cloud.token(learner_of(kind.kind)),
                session_id=f"00000000-0000-4000-8000-{number:012}",
                theirs=caller.session_id,
                seed=number,
                per_s=_PER_S,
            )
            for number, kind in enumerate(KINDS)
        }
        asyncio.run(held(caller, list(clients.values())))
        yield Beside(cloud, caller, Nova(cloud).streams_of(caller), clients)


async def held(caller: Caller, clients: list[Hostile]) -> None:
    """Hold the conversation; the others begin before it, and end after it."""
    attacks = [asyncio.create_task(client.run()) for client in clients]
    try:
        async with asyncio.timeout(120):
            await asyncio.gather(*(client.began.wait() for client in clients))
            await asyncio.gather(two_parts(caller), asyncio.sleep(_AT_LEAST_S))
    finally:
        for attack in attacks:
            attack.cancel()
        await asyncio.gather(*attacks, return_exceptions=True)


async def two_parts(caller: Caller) -> None:
    """Answer in the first part, and end the test in the second."""
    async with caller.calling():
        await caller.until(lambda: caller.part == 2 or caller.over, "the second part")
        caller.stop()
        await caller.ends()


def test_the_conversation_is_whole(beside):
    """Byte for byte both ways, every word once, assessed and saved; no error, no drop."""
    check_heard(beside.caller, beside.streams)
    check_played(beside.caller, beside.streams)
    check_understood(beside.caller)
    assert check_stored(beside.cloud, beside.caller).parts_assessed == (1,)
    assert beside.caller.over is not None
    assert beside.caller.over.bye == "finished"
    assert beside.caller.phone.figures.errors == beside.caller.phone.figures.reconnects == 0


def test_the_flood_was_cut_off_and_its_learner_refused(beside):
    """It sent hundreds a second for a moment; then its connection was deleted, and `start` answered with `busy`."""
    flood = beside.clients["flood"]
    assert flood.seen["closed 1000"] + flood.seen["closed 1001"] >= 1
    assert flood.seen["error busy"] >= 1
    busy = flood.received["error busy"]
    assert busy["fatal"]
    assert 0 < busy["retry_after_s"] <= 60
    with beside.cloud.redis() as redis:
        assert redis.ttl(f"maya:{{{beside.learner('flood')}}}:refused") > 0


@pytest.mark.parametrize("kind", [kind.kind for kind in KINDS if kind.kind != "flood"])
def test_nobody_else_was_taken_for_a_flood(beside, kind):
    """They stay below the limit, and what they do otherwise is answered, not punished."""
    assert "error busy" not in beside.clients[kind].seen
    with beside.cloud.redis() as redis:
        assert not redis.exists(f"maya:{{{beside.learner(kind)}}}:refused")


def test_another_learners_session_was_not_entered(beside):
    """Only that it is gone is heard of it; nothing of the conversation, no relay, nothing stored (I5)."""
    foreign = beside.clients["foreign session"]
    received = {name for name in foreign.seen if name not in ("sent", "connections") and not name.startswith("closed")}
    # The last is API Gateway's own, where a function was throttled.
    assert received <= {"error session_gone", "error not_started", "bye", "Internal server error"}
    assert foreign.seen["error session_gone"]
    learner = beside.learner("foreign session")
    assert not stored_items(beside.cloud, learner)
    with beside.cloud.redis() as redis:
        assert not redis.exists(f"maya:{{{learner}}}:session", f"maya:{{{learner}}}:epoch")


def test_connections_that_never_speak_cost_nothing(beside):
    """No relay, no line, no key."""
    mute = beside.clients["mute"]
    assert mute.seen["connections"] >= 20
    with beside.cloud.redis() as redis:
        assert not list(redis.scan_iter(f"maya:{{{beside.learner('mute')}}}:*"))


@pytest.mark.parametrize("kind", ["giant", "tiny", "nested", "fuzz"])
def test_what_was_wrong_was_answered(beside, kind):
    """About once a second, and the connection is kept, but for messages that API Gateway refuses."""
    client = beside.clients[kind]
    assert client.seen["error bad_message"] + client.seen["error bad_audio"] >= 1
    closed = {name for name in client.seen if name.startswith("closed")}
    assert closed <= (
        {"closed 1009"} if kind == "giant" else {"closed 1000", "closed 1009"} if kind == "fuzz" else set()
    )


def test_a_slow_reader_fills_its_own_buffers_only(beside):
    """Its relay waits for it like for any phone."""
    slow = beside.clients["slow reader"]
    assert slow.seen["sent"] > 50
    assert "closed 1006" not in slow.seen


def test_no_function_failed_and_nothing_was_written_that_was_sent(beside):
    """No handler ended with an error, whatever it was given; logs hold codes."""
    for function in ("stream", "relay", "connect", "disconnect", "authorize"):
        lines = []
        for line in beside.cloud.log(f"functions/maya-{function}").splitlines():
            with contextlib.suppress(ValueError):
                lines.append(json.loads(line))
        failures = [
            line for line in lines if isinstance(line, dict) and line.get("event") in ("handler_failed", "relay_broke")
        ]
        assert not failures


def test_nothing_goes_on_without_them(beside):
    """What hostile clients have begun ends like any conversation that nobody comes back to."""
    with beside.cloud.redis() as redis:
        eventually(lambda: not list(redis.scan_iter("maya:*:lease")), within_s=60)
