"""Leases and progress in a real Valkey, alone and as a cluster."""

import asyncio
import time
from collections.abc import AsyncIterator

import pytest
import redis
from redis.asyncio.cluster import RedisCluster

from gateway.adapters.redis_client import RedisClient, key_of, make_client
from gateway.adapters.redis_courier import Courier
from gateway.adapters.sessions import SESSION_EXPIRE_S, Lease, Sessions
from gateway.core.errors import AccessRefused, ServiceUnavailable
from gateway.core.lease import LEASE_MS
from gateway.settings import redis_settings

ANN = "ann"


@pytest.fixture(params=["standalone", "cluster"])
async def client(request: pytest.FixtureRequest) -> AsyncIterator[RedisClient]:
    cluster = request.param == "cluster"
    url = request.getfixturevalue("valkey_cluster" if cluster else "valkey")
    made = make_client(redis_settings({"REDIS_URL": url, "MAYA_REDIS_CLUSTER": str(int(cluster))}))
    yield made
    await made.aclose()


@pytest.fixture(params=["client", "courier"])
async def sessions(request: pytest.FixtureRequest, client: RedisClient) -> AsyncIterator[Sessions]:
    """Sessions that go by the client alone, and such as do by a courier what is done all the time."""
    if request.param == "client":
        yield Sessions(client)
        return
    cluster = isinstance(client, RedisCluster)
    url = request.getfixturevalue("valkey_cluster" if cluster else "valkey")
    courier = Courier(redis_settings({"REDIS_URL": url}))
    yield Sessions(client, courier)
    await courier.close()


async def _taken(sessions: Sessions, relay_id: str = "r1") -> Lease:
    lease = await sessions.take_lease(ANN, relay_id)
    assert lease is not None
    return lease


async def test_one_relay_holds_the_lease(sessions: Sessions, client: RedisClient) -> None:
    """A second relay gets none; the first gets its own again; the key says who and expires."""
    lease = await _taken(sessions)
    assert await sessions.take_lease(ANN, "r2") is None
    assert await sessions.take_lease(ANN, "r1") == lease
    assert await client.get(key_of(ANN, "lease")) == f"{lease.epoch}:r1".encode()
    assert 0 < await client.pttl(key_of(ANN, "lease")) <= LEASE_MS


async def test_relays_that_race_for_a_lease(sessions: Sessions) -> None:
    """Of many at once exactly one gets it."""
    found = await asyncio.gather(*(sessions.take_lease(ANN, f"r{n}") for n in range(20)))
    assert len([lease for lease in found if lease is not None]) == 1


async def test_epochs_grow(sessions: Sessions, client: RedisClient) -> None:
    """A new lease has an epoch above any before, also above one that ran ahead of the clock, and exact to the digit."""
    first = await _taken(sessions)
    await sessions.release_lease(first)
    second = await _taken(sessions)
    assert second.epoch > first.epoch
    await sessions.release_lease(second)
    await client.set(key_of(ANN, "epoch"), 4_102_444_800_123)
    assert (await _taken(sessions)).epoch == 4_102_444_800_124


async def test_a_lease_is_kept_only_by_its_holder(sessions: Sessions) -> None:
    """Who lost the lease hears so, and cannot give away another's."""
    old = await _taken(sessions)
    await sessions.release_lease(old)
    new = await _taken(sessions, "r2")
    assert not await sessions.keep_lease(old)
    await sessions.release_lease(old)
    assert await sessions.keep_lease(new)


async def test_a_lease_is_renewed(sessions: Sessions, client: RedisClient) -> None:
    """Keeping sets the full time again."""
    lease = await _taken(sessions)
    await client.pexpire(key_of(ANN, "lease"), 100)
    assert await sessions.keep_lease(lease)
    assert await client.pttl(key_of(ANN, "lease")) > 1_000


async def test_a_lease_that_redis_forgot(sessions: Sessions, client: RedisClient) -> None:
    """After a restart of Redis the holder takes it again, unless a later relay has been there."""
    lease = await _taken(sessions)
    await client.delete(key_of(ANN, "lease"))
    await client.delete(key_of(ANN, "epoch"))
    assert await sessions.keep_lease(lease)
    assert await sessions.take_lease(ANN, "r2") is None
    await client.delete(key_of(ANN, "lease"))
    await client.set(key_of(ANN, "epoch"), lease.epoch + 1)
    assert not await sessions.keep_lease(lease)


async def test_progress_is_written_whole_and_read_back(sessions: Sessions, client: RedisClient) -> None:
    """The last document stands alone and expires within the hour."""
    lease = await _taken(sessions)
    assert await sessions.load_progress(ANN) is None
    assert await sessions.store_progress(lease, {"state": "open", "part": 1, "notes": []})
    assert await sessions.store_progress(lease, {"state": "open", "title": "é"})
    assert await sessions.load_progress(ANN) == {"state": "open", "title": "é"}
    assert SESSION_EXPIRE_S - 10 < await client.ttl(key_of(ANN, "session")) <= SESSION_EXPIRE_S


async def test_a_relay_of_the_past_writes_no_progress(sessions: Sessions) -> None:
    """Once a later epoch is known, the older relay's document is refused."""
    old = await _taken(sessions)
    await sessions.release_lease(old)
    new = await _taken(sessions, "r2")
    assert await sessions.store_progress(new, {"by": "new"})
    assert not await sessions.store_progress(old, {"by": "old"})
    assert await sessions.load_progress(ANN) == {"by": "new"}


async def test_an_open_session_has_its_lease(sessions: Sessions, client: RedisClient) -> None:
    """Redis that forgot everything gets both at once: a session without a lease would have another relay started."""
    lease = await _taken(sessions)
    for name in ("lease", "epoch", "session"):
        await client.delete(key_of(ANN, name))
    assert await sessions.store_progress(lease, {"state": "open"})
    assert await client.get(key_of(ANN, "lease")) == lease.text.encode()
    assert 0 < await client.pttl(key_of(ANN, "lease")) <= LEASE_MS
    assert await sessions.take_lease(ANN, "r2") is None
    await client.pexpire(key_of(ANN, "lease"), 1_000)
    assert await sessions.store_progress(lease, {"state": "open"})
    assert await client.pttl(key_of(ANN, "lease")) <= 1_000, "keeping it is for the keeper"


async def test_progress_is_not_written_beside_anothers_lease(sessions: Sessions, client: RedisClient) -> None:
    """Even where the epoch was lost."""
    old = await _taken(sessions)
    await client.set(key_of(ANN, "lease"), f"{old.epoch + 1}:r2")
    assert not await sessions.store_progress(old, {"by": "old"})
    assert await sessions.load_progress(ANN) is None


@pytest.mark.parametrize("document", [b"not json", b"[1]", b"\xff"])
async def test_progress_that_cannot_be_read(sessions: Sessions, client: RedisClient, document: bytes) -> None:
    """A damaged document counts as none."""
    await client.set(key_of(ANN, "session"), document)
    assert await sessions.load_progress(ANN) is None


async def test_a_learner_is_refused_for_a_while(sessions: Sessions, client: RedisClient) -> None:
    """The key says until when, and is gone then."""
    await sessions.refuse_starts(ANN, 60.0)
    until_ms = int(await client.get(key_of(ANN, "refused")) or 0)
    assert abs(until_ms - (time.time() + 60) * 1000) < 5_000
    assert 50_000 < await client.pttl(key_of(ANN, "refused")) <= 60_000


async def test_scripts_that_redis_forgot(sessions: Sessions, client: RedisClient) -> None:
    """After a flush of the script cache the next call sends the script again."""
    lease = await _taken(sessions)
    await client.script_flush()
    assert await sessions.keep_lease(lease)


async def test_redis_away() -> None:
    """Without Redis the error names its kind and nothing else."""
    client = make_client(redis_settings({"REDIS_URL": "redis://127.0.0.1:1"}))
    with pytest.raises(ServiceUnavailable, match="ConnectionError") as caught:
        await Sessions(client).load_progress(ANN)
    assert caught.value.__cause__ is None
    await client.aclose()


async def test_a_refused_user(valkey: str) -> None:
    """A wrong password is told as refused access, without the password."""
    with redis.Redis.from_url(valkey) as operator:
        operator.acl_setuser("relay", enabled=True, passwords=["+right"], commands=["+get"])
    url = valkey.replace("redis://", "redis://relay:wrong@")
    client = make_client(redis_settings({"REDIS_URL": url}))
    with pytest.raises(AccessRefused) as caught:
        await Sessions(client).load_progress(ANN)
    assert "wrong" not in str(caught.value)
    await client.aclose()
