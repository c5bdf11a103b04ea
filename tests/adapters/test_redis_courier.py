"""Single commands to a real Valkey, and everything that is left to redis-py."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from gateway.adapters.redis_client import Script, key_of, make_client
from gateway.adapters.redis_courier import Courier, UnansweredError
from gateway.settings import RedisSettings, redis_settings
from tests.conftest import run_valkey

KEY = key_of("ann", "lease")


def _settings(url: str, *, cluster: bool = False) -> RedisSettings:
    return redis_settings({"REDIS_URL": url, "MAYA_REDIS_CLUSTER": str(int(cluster))})


@pytest.fixture
async def courier(valkey: str) -> AsyncIterator[Courier]:
    made = Courier(_settings(valkey))
    yield made
    await made.close()


async def test_commands_at_once_get_their_own_replies(courier: Courier) -> None:
    """Over one connection, in order; text beyond ASCII and numbers are sent as they are."""
    await courier.ask("SET", KEY, "é\n")
    assert await courier.ask("GET", KEY) == "é\n".encode()
    assert await asyncio.gather(*(courier.ask("ECHO", number) for number in range(50))) == [
        b"%d" % n for n in range(50)
    ]
    assert len((await courier.ask("CLIENT", "LIST")).splitlines()) == 1


async def test_who_waits_no_more_changes_nothing_for_others(courier: Courier) -> None:
    """The reply of a cancelled command goes to nobody."""
    asked = [asyncio.ensure_future(courier.ask("ECHO", number)) for number in range(3)]
    await asyncio.sleep(0)
    asked[1].cancel()
    done, _pending = await asyncio.wait(asked)
    assert [asked[0].result(), asked[2].result(), len(done)] == [b"0", b"2", 3]


async def test_an_error_is_left_to_others(courier: Courier) -> None:
    """A script that Redis does not know, and a wrong command; the connection is kept."""
    for words in (("EVALSHA", "0" * 40, 0), ("NONSENSE",)):
        with pytest.raises(UnansweredError):
            await courier.ask(*words)
    assert await courier.ask("ECHO", "x") == b"x"


async def test_a_script_that_redis_forgot_is_sent_whole(valkey: str, courier: Courier) -> None:
    """The first run goes by redis-py, the next one not."""
    client = make_client(_settings(valkey))
    script = Script(client, "return {KEYS[1], ARGV[1]}", courier)
    assert await script([KEY], [7]) == [KEY.encode(), b"7"]
    await client.aclose()
    assert await script([KEY], [8]) == [KEY.encode(), b"8"]


async def test_a_connection_that_broke_is_replaced(valkey_port: Callable[[], int]) -> None:
    """While Redis is away nothing is answered, and nobody waits for it; once it is back, it is asked again."""
    port = valkey_port()
    courier = Courier(_settings(f"redis://127.0.0.1:{port}"))
    with run_valkey(port=port):
        assert await courier.ask("ECHO", "x") == b"x"
    for _ in range(3):
        with pytest.raises(UnansweredError):
            await courier.ask("ECHO", "x")
    courier._not_before_s = 0.0
    with run_valkey(port=port):
        assert await courier.ask("ECHO", "y") == b"y"
        await courier.close()


async def test_passwords_and_databases_come_from_the_url(valkey: str) -> None:
    """A user and another database are asked for; a wrong password is left to redis-py to tell."""
    operator = Courier(_settings(valkey))
    await operator.ask("ACL", "SETUSER", "ann", "on", ">secret", "+@all", "~*")
    known = Courier(_settings(valkey.replace("redis://", "redis://ann:secret@").rstrip("/0") + "/3"))
    unknown = Courier(_settings(valkey.replace("redis://", "redis://ann:wrong@")))
    assert b" db=3 " in await known.ask("CLIENT", "INFO")
    assert b" user=ann " in await known.ask("CLIENT", "INFO")
    with pytest.raises(UnansweredError):
        await unknown.ask("PING")
    for one in (operator, known, unknown):
        await one.close()


async def test_a_cluster_says_where_the_slot_is(valkey_cluster: str) -> None:
    """A redirection is followed from the next command on."""
    for learner in ("ann", "bob", "cyd", "dan", "eve"):
        courier = Courier(_settings(valkey_cluster, cluster=True))
        try:
            reply = await courier.ask("SET", key_of(learner, "lease"), learner)
        except UnansweredError:
            reply = await courier.ask("SET", key_of(learner, "lease"), learner)
        assert reply == b"OK"
        await courier.close()


@asynccontextmanager
async def _saying(reply: bytes) -> AsyncIterator[Courier]:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(100)
        writer.write(reply)
        await reader.read()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    courier = Courier(replace(_settings(f"redis://127.0.0.1:{port}"), reply_timeout_s=0.5))
    yield courier
    await courier.close()
    server.close()
    await server.wait_closed()


@pytest.mark.parametrize("reply", [b"", b"+OK", b"HTTP/1.1 400 Bad Request\r\n", b"-MOVED 1 nowhere\r\n"])
async def test_what_is_no_reply(reply: bytes) -> None:
    """Silence ends with the time limit, nonsense at once."""
    async with _saying(reply) as courier:
        with pytest.raises(UnansweredError):
            await courier.ask("PING")


async def test_a_reply_too_many() -> None:
    """A connection that says more than was asked is given up."""
    async with _saying(b"+PONG\r\n+PONG\r\n") as courier:
        assert await courier.ask("PING") == b"PONG"
        assert courier._connection is not None
        assert not courier._connection.open
