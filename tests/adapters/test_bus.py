"""The learner's channel in a real Valkey: messages, losses, moves of the slot, deafness."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import closing, suppress
from dataclasses import replace
from typing import Any

import pytest
import redis

from gateway.adapters.bus import Bus, BusEvent, BusKind
from gateway.adapters.redis_client import RedisClient, channel_of, make_client
from gateway.core.errors import AccessRefused, ServiceUnavailable
from gateway.settings import RedisSettings, redis_settings
from tests.conftest import run_valkey

ANN = "ann"
CHANNEL = channel_of(ANN)
NEVER_S = 3_600.0


def _settings(url: str, *, cluster: bool = False) -> RedisSettings:
    return redis_settings({"REDIS_URL": url, "MAYA_REDIS_CLUSTER": str(int(cluster))})


@pytest.fixture
async def client(valkey: str) -> AsyncIterator[RedisClient]:
    made = make_client(_settings(valkey))
    yield made
    await made.aclose()


@pytest.fixture
async def bus(valkey: str, client: RedisClient) -> AsyncIterator[Bus]:
    opened = Bus(_settings(valkey), client, ANN, ping_every_s=NEVER_S)
    await opened.open()
    yield opened
    await opened.close()


async def _say(client: RedisClient, text: str | bytes) -> None:
    await client.spublish(CHANNEL, text)


async def test_messages_come_as_published(bus: Bus, client: RedisClient) -> None:
    """Header fields are told apart; the body is passed on untouched, whatever bytes it has."""
    body = b'{"type":"audio"}\n\x00\xff 1 m'
    await _say(client, b"1 m conn= 1700000000001 1700000000002\n" + body)
    await _say(client, b"1 d conn= 1700000000001 1700000000003\n")
    assert await anext(bus) == BusEvent(BusKind.MESSAGE, "conn=", 1_700_000_000_001, 1_700_000_000_002, body)
    assert await anext(bus) == BusEvent(BusKind.GONE, "conn=", 1_700_000_000_001, 1_700_000_000_003, b"")


async def test_nothing_is_missed_after_opening(valkey: str, client: RedisClient) -> None:
    """Once `open` has returned, everything published arrives."""
    for _ in range(20):
        bus = Bus(_settings(valkey), client, ANN, ping_every_s=NEVER_S)
        await bus.open()
        await _say(client, "1 m c 1 2\nfirst")
        assert (await anext(bus)).body == b"first"
        await bus.close()


@pytest.mark.parametrize(
    "payload",
    [b"", b"\n", b"nonsense", b"2 m c 1 2\nx", b"1 x c 1 2\nx", b"1 m c 1\nx", b"1 m c one 2\nx", b"1 m \xff 1 2\nx"],
)
async def test_unknown_payloads_are_counted_and_dropped(bus: Bus, client: RedisClient, payload: bytes) -> None:
    """A hostile or future payload changes nothing for the next one."""
    await _say(client, payload)
    await _say(client, "1 m c 1 2\nnext")
    assert (await anext(bus)).body == b"next"
    assert bus.ignored == 1


async def test_learners_do_not_hear_each_other(bus: Bus, client: RedisClient) -> None:
    """Another learner's channel is another channel."""
    await client.spublish(channel_of("bob"), "1 m c 1 2\nbob")
    await _say(client, "1 m c 1 2\nann")
    assert (await anext(bus)).body == b"ann"
    assert bus.ignored == 0


async def test_a_broken_connection_is_replaced(bus: Bus, client: RedisClient) -> None:
    """The loss and the new subscription are told, in this order, and messages come again."""
    await client.execute_command("CLIENT KILL TYPE pubsub")
    assert [(await anext(bus)).kind for _ in range(2)] == [BusKind.LOST, BusKind.SUBSCRIBED]
    await _say(client, "1 m c 1 2\nagain")
    assert (await anext(bus)).body == b"again"


async def test_redis_restarts(valkey_port: Callable[[], int]) -> None:
    """Through an absence of Redis the bus waits, and subscribes as soon as it is back."""
    port = valkey_port()
    settings = _settings(f"redis://127.0.0.1:{port}")
    client = make_client(settings)
    with run_valkey(port=port):
        bus = Bus(settings, client, ANN, ping_every_s=NEVER_S)
        await bus.open()
    assert (await anext(bus)).kind is BusKind.LOST
    waiting = asyncio.ensure_future(anext(bus))
    done, _ = await asyncio.wait([waiting], timeout=0.1)
    assert not done
    with run_valkey(port=port):
        assert (await waiting).kind is BusKind.SUBSCRIBED
        await _say(client, "1 m c 1 2\nback")
        assert (await anext(bus)).body == b"back"
        await bus.close()
        await client.aclose()


class _Counting:
    """A client that speaks up on the channel after so many pings."""

    def __init__(self, client: RedisClient, pings: int) -> None:
        self._client = client
        self._left = pings

    async def spublish(self, channel: str, message: bytes) -> int:
        self._left -= 1
        if self._left == 0:
            await self._client.spublish(channel, "1 m c 1 2\nend")
        return int(await self._client.spublish(channel, message))


async def test_pings_are_heard_and_not_shown(valkey: str, client: RedisClient) -> None:
    """The bus's own pings, and those of another relay, never come out; a hearing bus is never deaf."""
    counting: Any = _Counting(client, 20)
    bus = Bus(_settings(valkey), counting, ANN, ping_every_s=0.005)
    other = Bus(_settings(valkey), client, ANN, ping_every_s=0.005)
    await bus.open()
    await other.open()
    assert (await anext(bus)).body == b"end"
    assert bus.ignored == 0
    await bus.close()
    await other.close()


class _Elsewhere:
    """A client whose publications reach Redis, but never this channel."""

    def __init__(self, client: RedisClient) -> None:
        self._client = client

    async def spublish(self, channel: str, message: bytes) -> int:
        return int(await self._client.spublish(channel + ":elsewhere", message))


async def test_a_deaf_bus_says_so(valkey: str, client: RedisClient) -> None:
    """Pings that do not come back lead to a new subscription first, and then to deafness."""
    elsewhere: Any = _Elsewhere(client)
    bus = Bus(_settings(valkey), elsewhere, ANN, ping_every_s=0.01)
    await bus.open()
    kinds = [(await anext(bus)).kind for _ in range(3)]
    assert kinds == [BusKind.LOST, BusKind.SUBSCRIBED, BusKind.DEAF]
    await bus.close()


class _Away:
    """A client that cannot reach Redis."""

    async def spublish(self, _channel: str, _message: bytes) -> int:
        raise redis.exceptions.ConnectionError("away")


async def test_pings_that_cannot_be_sent_prove_nothing(valkey: str, client: RedisClient) -> None:
    """While Redis cannot be reached for publishing, the bus does not call itself deaf."""
    away: Any = _Away()
    bus = Bus(_settings(valkey), away, ANN, ping_every_s=0.001)
    await bus.open()
    await asyncio.sleep(0.05)
    await _say(client, "1 m c 1 2\nstill here")
    assert (await anext(bus)).body == b"still here"
    await bus.close()


async def test_close_ends_the_iteration(bus: Bus) -> None:
    """A waiting task ends without an error, also when closed twice, and nothing is left open."""

    async def iterate() -> list[BusEvent]:
        return [event async for event in bus]

    waiting = asyncio.ensure_future(iterate())
    await asyncio.sleep(0)
    await bus.close()
    await bus.close()
    assert await waiting == []


async def test_no_redis_at_opening() -> None:
    """Opening fails at once with our error."""
    settings = _settings("redis://127.0.0.1:1")
    client = make_client(settings)
    with pytest.raises(ServiceUnavailable):
        await Bus(settings, client, ANN).open()
    await client.aclose()


async def test_a_refused_subscription(valkey: str, client: RedisClient) -> None:
    """A user without the right to the channel is told so."""
    with closing(redis.Redis.from_url(valkey)) as operator:
        operator.acl_setuser("deaf", enabled=True, nopass=True, categories=["+@all"], reset_channels=True)
    settings = _settings(valkey.replace("redis://", "redis://deaf:x@"))
    with pytest.raises(AccessRefused):
        await Bus(settings, client, ANN).open()


async def test_tls_and_passwords_come_from_the_url() -> None:
    """The subscription connects as the URL says, TLS included; a server without it refuses."""
    with run_valkey() as port:
        settings = replace(_settings(f"rediss://127.0.0.1:{port}"), connect_timeout_s=0.2)
        client = make_client(settings)
        with pytest.raises(ServiceUnavailable):
            await Bus(settings, client, ANN).open()
        await client.aclose()


async def test_cluster_finds_the_slot(valkey_cluster: str) -> None:
    """Whatever node is asked first, the subscription is made where the learner's slot is."""
    settings = _settings(valkey_cluster, cluster=True)
    client = make_client(settings)
    for learner in ("ann", "bob", "cyd", "dan", "eve"):
        bus = Bus(settings, client, learner, ping_every_s=NEVER_S)
        await bus.open()
        await client.spublish(channel_of(learner), f"1 m c 1 2\n{learner}")
        assert (await anext(bus)).body == learner.encode()
        await bus.close()
    await client.aclose()


async def test_the_slot_moves_away(valkey_cluster: str, request: pytest.FixtureRequest) -> None:
    """After an unasked `sunsubscribe` the bus subscribes on the slot's new node."""
    settings = _settings(valkey_cluster, cluster=True)
    client = make_client(settings)
    bus = Bus(settings, client, ANN)
    await bus.open()
    nodes = [redis.Redis(port=port, decode_responses=True) for port in request.getfixturevalue("_valkey_cluster_ports")]
    clients: list[Any] = nodes
    slot = clients[0].cluster("keyslot", CHANNEL)
    ids = [node.cluster("myid") for node in clients]
    before = 0 if slot < 8192 else 1
    try:
        for node in clients:
            node.cluster("setslot", slot, "NODE", ids[1 - before])
        assert [(await anext(bus)).kind for _ in range(2)] == [BusKind.LOST, BusKind.SUBSCRIBED]
        clients[1 - before].execute_command("SPUBLISH", CHANNEL, "1 m c 1 2\nmoved")
        assert (await anext(bus)).body == b"moved"
    finally:
        for node in clients:
            node.cluster("setslot", slot, "NODE", ids[before])
            node.close()
        await bus.close()
        with suppress(redis.exceptions.RedisError):
            await client.aclose()
