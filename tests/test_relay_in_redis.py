"""What a relay holds in Redis: progress, line and lease, when it has them, loses them, gives them back."""

import asyncio

import pytest

from gateway import session_keeper
from gateway.core.conversation import State
from gateway.core.conversation.actions import CloseStream, OpenStream, StoreProgress
from gateway.core.conversation.inputs import TookOver
from gateway.core.conversation.progress import open_session
from gateway.core.errors import ServiceUnavailable
from tests.relay_stage import SESSION, START, WITHIN_S, Held, holding


async def test_a_second_stream_is_counted_while_it_is_open():
    """A change of part takes the place of two conversations for a moment; Redis back again hears of the line at once."""
    async with holding() as held:
        await held.talk()
        assert not held.world.of("note_streams")
        held.relay._doers[OpenStream](OpenStream(99, (b"{}",)))
        await held.world.until(lambda: held.world.of("note_streams") == [(2,)])
        held.relay._doers[CloseStream](CloseStream(99))
        await held.world.until(lambda: held.world.of("note_streams") == [(2,), (1,)])
        held.relay.redis_is_back()
        await held.world.until(lambda: held.world.of("keep_line"))
        held.world.errors["note_streams"] = ServiceUnavailable("away")
        held.relay._doers[OpenStream](OpenStream(100, (b"{}",)))
        await held.world.until(lambda: ("redis_unreachable", "ServiceUnavailable") in held.world.of("failure"))
        held.relay.deaf()


async def test_progress_is_written_one_at_a_time_and_only_the_newest_waits():
    """Redis that takes long gets fewer writes, and the last is the newest."""
    async with holding() as held:
        world = held.world
        world.gates["store_progress"] = asyncio.Event()
        for number in range(5):
            held.relay._doers[StoreProgress](StoreProgress({"number": number}))
            await asyncio.sleep(0)
        assert len(world.of("store_progress")) == 1
        world.gates["store_progress"].set()
        await world.until(lambda: len(world.of("store_progress")) == 2)
        assert [progress["number"] for (progress,) in world.of("store_progress")] == [0, 4]
        held.relay.deaf()


@pytest.mark.parametrize("error", [ServiceUnavailable("away"), ValueError("quotes")])
async def test_progress_that_cannot_be_written_is_written_when_redis_is_back(error):
    """Whole, as it was last."""
    async with holding() as held:
        world = held.world
        held.relay.redis_is_back()
        world.errors["store_progress"] = error
        held.relay._doers[StoreProgress](StoreProgress({"number": 1}))
        await world.until(lambda: world.of("failure"))
        await asyncio.sleep(0)
        del world.errors["store_progress"]
        held.relay.redis_is_back()
        await world.until(lambda: len(world.of("store_progress")) == 2)
        assert world.of("store_progress")[-1] == ({"number": 1},)
        held.relay.deaf()


async def test_line_and_lease_are_kept(monkeypatch):
    """Both, again and again; a line that cannot be kept keeps the lease from nothing."""
    monkeypatch.setattr(session_keeper, "RENEW_EVERY_S", 0.0)
    async with holding() as held:
        await held.talk()
        held.world.errors["keep_line"] = ServiceUnavailable("another node")
        kept = len(held.world.of("keep_lease"))
        await held.world.until(lambda: len(held.world.of("keep_lease")) > kept + 5)
        held.world.errors["keep_lease"] = ValueError("quotes")
        failures = len(held.world.of("failure"))
        await held.world.until(lambda: len(held.world.of("failure")) > failures + 5)
        assert held.relay.conversation.state is State.TALKING
        held.relay.deaf()


async def test_a_lost_lease_ends_the_relay(monkeypatch):
    """Another one has the learner, the lease and the line: the phone hears nothing, nothing is written or given back."""
    monkeypatch.setattr(session_keeper, "RENEW_EVERY_S", 0.0)
    async with holding() as held:
        await held.talk()
        posts = len(held.world.of("post"))
        held.world.lease_kept = False
    assert len(held.world.of("post")) == posts
    for name in ("disconnect", "leave_line", "release_lease", "save"):
        assert not held.world.of(name), name


async def test_a_relay_that_stood_still_asks_before_it_does_anything(monkeypatch):
    """What came meanwhile waits; when another relay has the learner nothing of it is done: no post, no save."""
    async with holding() as held:
        await held.talk()
        posts = len(held.world.of("post"))
        held.world.lease_kept = False
        held.relay._keeper._sure_until_ms = 0.0
        held.stop()
        held.audio(3)
        assert len(held.relay._held) == 4
        held.relay.redis_is_back()
    assert len(held.world.of("post")) == posts
    assert not held.world.of("save")


async def test_a_relay_that_stood_still_and_has_its_lease_goes_on():
    """In the order in which things came."""
    async with holding() as held:
        stream = await held.talk()
        held.relay._keeper._sure_until_ms = 0.0
        sent = len(stream.sent)
        held.audio(3)
        held.stop()
        assert len(stream.sent) == sent
        held.relay.redis_is_back()
        await held.world.until(lambda: any(b"assess the part" in event for event in stream.sent))
        assert sum(b"audioInput" in event for event in stream.sent[sent:]) == 3
        stream.ends()
    assert held.world.of("save")


async def test_nothing_is_saved_by_a_relay_that_was_replaced():
    """It finds out when it asks before the save; the other one saves."""
    async with holding() as held:
        stream = await held.talk()
        held.stop()
        await held.world.until(lambda: any(b"assess the part" in event for event in stream.sent))
        held.world.lease_kept = False
        stream.ends()
    assert not held.world.of("save")
    assert not held.world.of("enqueue")
    assert not held.world.posts("assessment")


async def test_a_session_that_is_taken_up_keeps_its_line():
    """The lost relay's line is the learner's: it is renewed at once and given back at the end."""
    others = asyncio.all_tasks()
    async with holding() as first:
        await first.talk()
        first.audio(3)
        await first.world.until(lambda: first.world.of("store_progress"))
        first.relay.deaf()
    session = open_session(first.world.of("store_progress")[-1][0])
    assert session is not None
    second = Held(session=TookOver(session))
    running = asyncio.create_task(second.relay.run(900.0))
    await second.world.until(lambda: second.world.streams)
    assert not second.world.of("take_line")
    assert not second.world.of("module_unlocked")
    assert second.world.of("keep_line")
    [ready] = second.world.posts("ready")
    assert ready["session_id"] == SESSION
    second.relay._shut_down()
    second.world.streams[0].ends()
    second.relay.deaf()
    async with asyncio.timeout(WITHIN_S):
        await running
    assert asyncio.all_tasks() == others


async def test_a_deaf_relay_gives_its_lease_back():
    """So that one that hears can have it; once, and with no further progress."""
    async with holding() as held:
        await held.talk()
        held.relay.deaf()
        held.relay.redis_is_back()
    assert len(held.world.of("release_lease")) == 1
    assert not held.world.of("leave_line")
    assert not held.world.posts("bye")


async def test_another_session_releases_the_lease_at_once():
    """The relay of the other session need not wait until this one is assessed."""
    async with holding() as held:
        stream = await held.talk()
        held.say({**START, "session_id": SESSION.replace("1", "2")}, "b", 2)
        await held.world.until(lambda: held.world.of("release_lease"))
        assert not held.relay.ended
        stream.ends()
    assert len(held.world.of("release_lease")) == 1
    assert not held.world.of("leave_line")
    assert held.world.of("save")
