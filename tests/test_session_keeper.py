"""The lease of a relay that stood still, was given away, or whose Redis is gone; time is what the test says."""

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest

from gateway import session_keeper
from gateway.core.conversation.actions import StoreProgress
from gateway.core.errors import ServiceUnavailable
from gateway.core.lease import LEASE_MS
from gateway.session_keeper import SessionKeeper


class Redis:
    """Services, as far as a keeper uses them."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.stored: list[Mapping[str, Any]] = []
        self.errors: dict[str, Exception] = {}
        self.kept = True
        self.gate = asyncio.Event()
        self.gate.set()

    async def _call(self, name: str) -> None:
        self.calls.append(name)
        await self.gate.wait()
        if name in self.errors:
            raise self.errors[name]

    async def keep_lease(self, learner: str) -> bool:
        await self._call("keep_lease")
        return self.kept

    async def keep_line(self, learner: str) -> None:
        await self._call("keep_line")

    async def leave_line(self, learner: str) -> None:
        await self._call("leave_line")

    async def release_lease(self, learner: str) -> None:
        await self._call("release_lease")

    async def store_progress(self, learner: str, progress: Mapping[str, Any]) -> None:
        await self._call("store_progress")
        self.stored.append(progress)

    def failure(self, event: str, error: BaseException, fields: Mapping[str, Any]) -> None:
        self.calls.append(event)


class Kept:
    """A keeper, what it was told to tell, and its clock."""

    def __init__(self) -> None:
        self.now_ms = 0.0
        self.redis = Redis()
        self.told: list[Any] = []
        self.keeper = SessionKeeper(
            "learner",
            self.redis,  # type: ignore[arg-type] # no more of the services is used
            now_ms=lambda: self.now_ms,
            lost=lambda: self.told.append("lost"),
            renewed=lambda: self.told.append("renewed"),
            settled=lambda event: self.told.append(event.seq),
        )


def test_the_lease_lasts_as_long_as_it_is_taken_for():
    """Both ends of it are one number."""
    assert session_keeper.LEASE_MS == LEASE_MS


async def test_a_relay_that_stood_still_is_in_doubt_until_the_next_renewal():
    """Not a moment before its lease has run out, and no longer than it takes to ask."""
    kept = Kept()
    kept.now_ms = LEASE_MS - 1
    assert not kept.keeper.in_doubt(kept.now_ms)
    kept.now_ms = LEASE_MS
    assert kept.keeper.in_doubt(kept.now_ms)
    assert await kept.keeper.renew()
    assert not kept.keeper.in_doubt(kept.now_ms)
    kept.now_ms += LEASE_MS
    assert kept.keeper.in_doubt(kept.now_ms)


async def test_a_renewal_that_took_long_counts_from_when_it_was_asked_for():
    """Redis may have set the lease then."""
    kept = Kept()
    kept.redis.gate.clear()
    renewal = asyncio.create_task(kept.keeper.renew())
    await asyncio.sleep(0)
    kept.now_ms = 4_000.0
    kept.redis.gate.set()
    await renewal
    kept.now_ms = LEASE_MS
    assert kept.keeper.in_doubt(kept.now_ms)


async def test_a_lease_that_another_relay_has_is_lost_once():
    """Then nothing more is asked for, written or given back."""
    kept = Kept()
    kept.keeper.has_line = True
    kept.redis.kept = False
    assert not await kept.keeper.renew()
    assert not await kept.keeper.renew()
    assert kept.told == ["lost"]
    assert not kept.keeper.in_doubt(kept.now_ms)
    assert not kept.keeper.store(StoreProgress({}))
    await kept.keeper.leave()
    assert kept.redis.calls == ["keep_lease"]


async def test_redis_that_is_away_gives_the_lease_to_nobody():
    """The relay goes on: what it knows is that it does not stand still."""
    kept = Kept()
    kept.redis.errors["keep_lease"] = ServiceUnavailable("away")
    kept.now_ms = LEASE_MS
    assert await kept.keeper.renew()
    assert not kept.keeper.in_doubt(kept.now_ms)
    assert kept.told == ["renewed"]


async def test_a_lease_is_given_away_after_the_progress_that_waits():
    """The relay that gets it reads what was written last."""
    kept = Kept()
    kept.redis.gate.clear()
    assert kept.keeper.store(StoreProgress({"number": 1}, 1))
    writing = asyncio.create_task(kept.keeper.write())
    await asyncio.sleep(0)
    assert not kept.keeper.store(StoreProgress({"number": 2}, 2))
    releasing = asyncio.create_task(kept.keeper.release())
    await asyncio.sleep(0)
    assert not kept.keeper.store(StoreProgress({"number": 3}, 3)), "after that nothing is"
    kept.redis.gate.set()
    await asyncio.gather(writing, releasing)
    assert kept.redis.calls == ["store_progress", "store_progress", "release_lease"]
    assert kept.redis.stored[-1] == {"number": 2}
    assert kept.told == [1, 2]


async def test_who_gave_the_lease_away_may_finish_what_is_its_own():
    """Another session of the learner's began; this one is still to be saved."""
    kept = Kept()
    await kept.keeper.release()
    await kept.keeper.release()
    assert await kept.keeper.renew()
    assert kept.redis.calls == ["release_lease"]


async def test_a_lease_lost_while_it_is_given_away_is_no_loss():
    """The answer comes after the deed."""
    kept = Kept()
    kept.redis.gate.clear()
    kept.redis.kept = False
    renewal = asyncio.create_task(kept.keeper.renew())
    await asyncio.sleep(0)
    releasing = asyncio.create_task(kept.keeper.release())
    await asyncio.sleep(0)
    kept.redis.gate.set()
    await asyncio.gather(renewal, releasing)
    assert "lost" not in kept.told


@pytest.mark.parametrize("error", [ServiceUnavailable("away"), ValueError("quotes")])
async def test_a_write_that_failed_is_settled_and_written_again_when_redis_is_back(error):
    """Whoever waits for it goes on."""
    kept = Kept()
    kept.redis.errors["store_progress"] = error
    kept.keeper.store(StoreProgress({"number": 1}, 1))
    await kept.keeper.write()
    assert kept.told == [1]
    del kept.redis.errors["store_progress"]
    assert kept.keeper.store_again()
    await kept.keeper.write()
    assert kept.redis.stored == [{"number": 1}]
