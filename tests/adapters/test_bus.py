"""The learner's channel in a real Valkey: messages, losses, moves of the slot, deafness."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, closing, suppress
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


class Heard:
    """A bus that is open, and what it hears."""

    def __init__(self, bus: Bus) -> None:
        self.bus = bus
        self.events: asyncio.Queue[BusEvent] = asyncio.Queue()
        self.listening = asyncio.ensure_future(bus.listen(self.events.put_nowait))

    async def next(self) -> BusEvent:
        """Wait for the next event."""
        return await self.events.get()

    async def kinds(self, count: int) -> list[BusKind]:
        """Wait for as many events and say what kinds they are."""
        return [(await self.next()).kind for _ in range(count)]


@asynccontextmanager
async def hearing(
    settings: RedisSettings, client: Any, learner: str = ANN, *, ping_every_s: float = NEVER_S
) -> AsyncIterator[Heard]:
    """Open a bus and listen."""
    bus = Bus(settings, client, learner, ping_every_s=ping_every_s)
    await bus.open()
    heard = Heard(bus)
    yield heard
    await bus.close()
    await heard.listening


@pytest.fixture
async def heard(valkey: str, client: RedisClient) -> AsyncIterator[Heard]:
    async with hearing(_settings(valkey), client) as listening:
        yield listening


async def _say(client: RedisClient, text: str | bytes) -> None:
    await client.spublish(CHANNEL, text)


async def test_messages_come_as_published(heard: Heard, client: RedisClient) -> None:
    """Header fields are told apart; the body is passed on untouched, whatever bytes it has."""
    body = b'{"type":"audio"}\n\x00\xff 1 m'
    await _say(client, b"1 m conn= 1700000000001 1700000000002\n" + body)
    await _say(client, b"1 d conn= 1700000000001 1700000000003\n")
    assert await heard.next() == BusEvent(BusKind.MESSAGE, "conn=", 1_700_000_000_001, 1_700_000_000_002, body)
    assert await heard.next() == BusEvent(BusKind.GONE, "conn=", 1_700_000_000_001, 1_700_000_000_003, b"")


async def test_nothing_is_missed_after_opening(valkey: str, client: RedisClient) -> None:
    """Once `open` has returned, everything published arrives."""
    for _ in range(20):
        bus = Bus(_settings(valkey), client, ANN, ping_every_s=NEVER_S)
        await bus.open()
        await _say(client, "1 m c 1 2\nfirst")
        await asyncio.sleep(0)
        heard = Heard(bus)
        assert (await heard.next()).body == b"first"
        await bus.close()
        await heard.listening


@pytest.mark.parametrize(
    "payload",
    [b"", b"\n", b"nonsense", b"2 m c 1 2\nx", b"1 x c 1 2\nx", b"1 m c 1\nx", b"1 m c one 2\nx", b"1 m \xff 1 2\nx"],
)
async def test_unknown_payloads_are_counted_and_dropped(heard: Heard, client: RedisClient, payload: bytes) -> None:
    """A hostile or future payload changes nothing for the next one."""
    await _say(client, payload)
    await _say(client, "1 m c 1 2\nnext")
    assert (await heard.next()).body == b"next"
    assert heard.bus.ignored == 1


async def test_learners_do_not_hear_each_other(heard: Heard, client: RedisClient) -> None:
    """Another learner's channel is another channel."""
    await client.spublish(channel_of("bob"), "1 m c 1 2\nbob")
    await _say(client, "1 m c 1 2\nann")
    assert (await heard.next()).body == b"ann"
    assert heard.bus.ignored == 0


async def test_a_broken_connection_is_replaced(heard: Heard, client: RedisClient) -> None:
    """The loss and the new subscription are told, in this order, and messages come again."""
    await client.execute_command("CLIENT KILL TYPE pubsub")
    assert await heard.kinds(2) == [BusKind.LOST, BusKind.SUBSCRIBED]
    await _say(client, "1 m c 1 2\nagain")
    assert (await heard.next()).body == b"again"


async def test_redis_restarts(valkey_port: Callable[[], int]) -> None:
    """Through an absence of Redis the bus waits, and subscribes as soon as it is back."""
    port = valkey_port()
    settings = _settings(f"redis://127.0.0.1:{port}")
    client = make_client(settings)
    async with AsyncExitStack() as stack:
        with run_valkey(port=port):
            heard = await stack.enter_async_context(hearing(settings, client))
        assert await heard.kinds(1) == [BusKind.LOST]
        await asyncio.sleep(0.1)
        assert heard.events.empty()
        with run_valkey(port=port):
            assert await heard.kinds(1) == [BusKind.SUBSCRIBED]
            await _say(client, "1 m c 1 2\nback")
            assert (await heard.next()).body == b"back"
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
    settings = _settings(valkey)
    async with hearing(settings, counting, ping_every_s=0.005) as heard:
        async with hearing(settings, client, ping_every_s=0.005):
            assert (await heard.next()).body == b"end"
        assert heard.bus.ignored == 0


class _Noting:
    """A client that notes pings."""

    def __init__(self, client: RedisClient) -> None:
        self._client = client
        self.pings: asyncio.Queue[bytes] = asyncio.Queue()

    async def spublish(self, channel: str, message: bytes) -> int:
        self.pings.put_nowait(message)
        return int(await self._client.spublish(channel, message))


async def test_what_is_heard_takes_the_place_of_a_ping(
    valkey: str, client: RedisClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A period in which something came needs no ping; the silent one after it does."""
    periods: asyncio.Queue[float] = asyncio.Queue()
    noting: Any = _Noting(client)
    monkeypatch.setattr(asyncio, "sleep", lambda _seconds: periods.get())
    async with hearing(_settings(valkey), noting) as heard:
        await _say(client, "1 m c 1 2\nx")
        assert (await heard.next()).body == b"x"
        periods.put_nowait(1.0)
        periods.put_nowait(2.0)
        await noting.pings.get()
        assert periods.empty()
        assert noting.pings.empty()


class _Elsewhere:
    """A client whose publications reach Redis, but never this channel."""

    def __init__(self, client: RedisClient) -> None:
        self._client = client

    async def spublish(self, channel: str, message: bytes) -> int:
        return int(await self._client.spublish(channel + ":elsewhere", message))


async def test_a_deaf_bus_says_so(valkey: str, client: RedisClient) -> None:
    """Pings that do not come back lead to a new subscription first, and then to deafness."""
    elsewhere: Any = _Elsewhere(client)
    async with hearing(_settings(valkey), elsewhere, ping_every_s=0.01) as heard:
        assert await heard.kinds(3) == [BusKind.LOST, BusKind.SUBSCRIBED, BusKind.DEAF]


class _Away:
    """A client that cannot reach Redis."""

    async def spublish(self, _channel: str, _message: bytes) -> int:
        raise redis.exceptions.ConnectionError("away")


async def test_pings_that_cannot_be_sent_prove_nothing(valkey: str, client: RedisClient) -> None:
    """While Redis cannot be reached for publishing, the bus does not call itself deaf."""
    away: Any = _Away()
    async with hearing(_settings(valkey), away, ping_every_s=0.001) as heard:
        await asyncio.sleep(0.05)
        await _say(client, "1 m c 1 2\nstill here")
        assert (await heard.next()).body == b"still here"


async def test_close_ends_the_listening(valkey: str, client: RedisClient) -> None:
    """Listening ends without an error, also when closed twice, and nothing is left open."""
    async with hearing(_settings(valkey), client) as heard:
        await asyncio.sleep(0)
        await heard.bus.close()
        await heard.bus.close()
        await heard.listening
        assert heard.events.empty()


async def test_who_does_not_listen_yet_holds_no_backlog(valkey: str, client: RedisClient) -> None:
    """Until somebody listens, what is published waits with Redis, and comes whole and in order."""
    bus = Bus(_settings(valkey), client, ANN, ping_every_s=NEVER_S)
    await bus.open()
    for number in range(200):
        await _say(client, f"1 m c {number} 2\n" + "x" * 20_000)
    heard = Heard(bus)
    assert [(await heard.next()).connected_at_ms for _ in range(200)] == list(range(200))
    await bus.close()
    await heard.listening


async def _answering(replies: bytes | bytearray) -> asyncio.Server:
    """Something that says this to whoever asks, and then nothing."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(100)
        writer.write(replies)
        await reader.read()
        writer.close()

    return await asyncio.start_server(answer, "127.0.0.1", 0)


@pytest.mark.parametrize(
    ("replies", "error"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", ServiceUnavailable),
        (b"-ERR unknown command\r\n", ServiceUnavailable),
        (b"-MOVED nonsense\r\n", ServiceUnavailable),
        (b"-WRONGPASS invalid\r\n", AccessRefused),
        (b"", ServiceUnavailable),
    ],
)
async def test_no_confirmation(replies: bytes, error: type[Exception], client: RedisClient) -> None:
    """Whatever else comes in its place, or nothing, opening fails with our error within its time limit."""
    server = await _answering(replies)
    port = server.sockets[0].getsockname()[1]
    settings = replace(_settings(f"redis://127.0.0.1:{port}"), reply_timeout_s=0.5)
    with pytest.raises(error):
        await Bus(settings, client, ANN).open()
    server.close()


async def test_endless_redirections(client: RedisClient) -> None:
    """Nodes that redirect to each other are given up."""
    replies = bytearray()
    server = await _answering(replies)
    port = server.sockets[0].getsockname()[1]
    replies += f"-MOVED 1 127.0.0.1:{port}\r\n".encode()
    with pytest.raises(ServiceUnavailable, match="without end"):
        await Bus(_settings(f"redis://127.0.0.1:{port}"), client, ANN).open()
    server.close()


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
        async with hearing(settings, client, learner) as heard:
            await client.spublish(channel_of(learner), f"1 m c 1 2\n{learner}")
            assert (await heard.next()).body == learner.encode()
    await client.aclose()


async def test_the_slot_moves_away(valkey_cluster: str, request: pytest.FixtureRequest) -> None:
    """After an unasked `sunsubscribe` the bus subscribes on the slot's new node."""
    settings = _settings(valkey_cluster, cluster=True)
    client = make_client(settings)
    nodes = [redis.Redis(port=port, decode_responses=True) for port in request.getfixturevalue("_valkey_cluster_ports")]
    clients: list[Any] = nodes
    slot = clients[0].cluster("keyslot", CHANNEL)
    ids = [node.cluster("myid") for node in clients]
    before = 0 if slot < 8192 else 1
    async with hearing(settings, client) as heard:
        try:
            for node in clients:
                node.cluster("setslot", slot, "NODE", ids[1 - before])
            assert await heard.kinds(2) == [BusKind.LOST, BusKind.SUBSCRIBED]
            clients[1 - before].execute_command("SPUBLISH", CHANNEL, "1 m c 1 2\nmoved")
            assert (await heard.next()).body == b"moved"
        finally:
            for node in clients:
                node.cluster("setslot", slot, "NODE", ids[before])
                node.close()
    with suppress(redis.exceptions.RedisError):
        await client.aclose()
