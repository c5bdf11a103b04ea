"""The handlers' Redis client: against a real Valkey, a real cluster, and nodes that misbehave by script."""

import ssl
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import redis
from redis import Redis as RedisClient

from gateway.core.errors import AccessRefused
from gateway.settings import RedisSettings, redis_settings
from handlers.redis_wire import RedisUnavailable, RedisWire, command
from tests.adapters.sonic_server import Certificate, make_certificate
from tests.handlers.listening import listening, next_message
from tests.handlers.node import SILENT, Node

TAG = b"learner-1"
CHANNEL = b"maya:{learner-1}:up"
LEASE = b"maya:{learner-1}:lease"
OK = b"+OK\r\n"

type Connect = Callable[[RedisSettings], RedisWire]


def settings_of(url: str, **changes: float) -> RedisSettings:
    """Return settings for a Redis at `url`, with short time limits."""
    made = redis_settings({"REDIS_URL": url})
    limits: dict[str, Any] = {"connect_timeout_s": 1.0, "reply_timeout_s": 1.0, **changes}
    return replace(made, **limits)


def at(node: Node, **changes: float) -> RedisSettings:
    """Return settings for a scripted node."""
    return settings_of(f"redis://127.0.0.1:{node.port}", **changes)


@pytest.fixture
def connect() -> Iterator[Connect]:
    """Make clients that are closed at the test's end."""
    made: list[RedisWire] = []

    def make(settings: RedisSettings) -> RedisWire:
        made.append(RedisWire(settings))
        return made[-1]

    yield make
    for wire in made:
        wire.close()


@pytest.fixture
def admin(valkey: str) -> Iterator[RedisClient]:
    """Return redis-py, for the other side."""
    with closing(redis.Redis.from_url(valkey)) as client:
        yield client


def test_a_message_and_the_lease_take_one_round_trip(connect: Connect) -> None:
    """Both commands leave together."""
    with Node([b":1\r\n$5\r\n7:abc\r\n"]) as node:
        assert connect(at(node)).publish_and_get(TAG, CHANNEL, b"x", LEASE) == b"7:abc"
    assert node.requests == [command(b"SPUBLISH", CHANNEL, b"x") + command(b"GET", LEASE)]


def test_a_message_is_published_and_the_lease_read(valkey: str, admin: RedisClient, connect: Connect) -> None:
    """The payload arrives as it was, bytes of every kind included, and the lease comes back."""
    admin.set(LEASE, b"7:relay")
    payload = b"1 m id 1 2\n" + bytes(range(256)) * 200
    with listening(admin, CHANNEL.decode()) as listener:
        assert connect(settings_of(valkey)).publish_and_get(TAG, CHANNEL, payload, LEASE) == b"7:relay"
        assert next_message(listener) == payload


def test_without_a_lease_there_is_none(valkey: str, connect: Connect) -> None:
    """A key that is not there reads as None."""
    assert connect(settings_of(valkey)).publish_and_get(TAG, CHANNEL, b"x", LEASE) is None


def test_the_other_commands(valkey: str, admin: RedisClient, connect: Connect) -> None:
    """Publish, get, and a key that only the first caller sets and that expires."""
    wire = connect(settings_of(valkey))
    with listening(admin, CHANNEL.decode()) as listener:
        wire.publish(TAG, CHANNEL, b"gone")
        assert next_message(listener) == b"gone"
    admin.set(b"long", b"x" * 300_000)
    assert wire.get(b"long", b"long") == b"x" * 300_000
    assert wire.get(TAG, b"missing") is None
    assert wire.set_if_absent(TAG, b"start", b"1", expire_s=5)
    assert not wire.set_if_absent(TAG, b"start", b"2", expire_s=5)
    assert 0 < admin.ttl(b"start") <= 5
    assert admin.get(b"start") == b"1"


def test_a_broken_connection_is_replaced_once(valkey: str, admin: RedisClient, connect: Connect) -> None:
    """A connection that the server cut while the environment was frozen costs nothing but a new one."""
    wire = connect(settings_of(valkey))
    wire.get(TAG, LEASE)
    admin.set(LEASE, b"8:relay")
    assert admin.client_kill_filter(_type="normal", skipme=True) == 1
    assert wire.get(TAG, LEASE) == b"8:relay"


def test_user_and_password(valkey: str, admin: RedisClient, connect: Connect) -> None:
    """The user of the address is logged in; a wrong password and a forbidden command are refusals."""
    admin.acl_setuser("stream", enabled=True, passwords=["+p@ss word"], keys=["*"], channels=["*"], commands=["+get"])
    url = valkey.replace("redis://", "redis://stream:p%40ss%20word@")
    wire = connect(settings_of(url))
    assert wire.get(TAG, LEASE) is None
    with pytest.raises(AccessRefused, match=r"^Redis refuses this user or this command$"):
        wire.set_if_absent(TAG, LEASE, b"x", expire_s=1)
    assert wire.get(TAG, LEASE) is None
    with pytest.raises(AccessRefused):
        connect(settings_of(url.replace("p%40ss", "wrong"))).get(TAG, LEASE)
    admin.acl_deluser("stream")


def test_a_password_without_a_user_and_a_database(connect: Connect) -> None:
    """An address may have a password alone, and a database number."""
    with Node([OK, OK, b"$1\r\nv\r\n"]) as node:
        wire = connect(settings_of(f"redis://:secret@127.0.0.1:{node.port}/3"))
        assert wire.get(TAG, LEASE) == b"v"
    assert node.requests == [command(b"AUTH", b"secret"), command(b"SELECT", b"3"), command(b"GET", LEASE)]


def test_a_cluster_tells_where_a_slot_is(valkey_cluster: str, connect: Connect) -> None:
    """Whichever node has the learner's slot gets the message; the second message goes there at once."""
    wire = connect(settings_of(valkey_cluster))
    nodes = set()
    with closing(redis.RedisCluster.from_url(valkey_cluster)) as cluster:
        for number in range(8):
            tag = b"learner-%d" % number
            channel, key = b"maya:{%b}:up" % tag, b"maya:{%b}:lease" % tag
            cluster.set(key, tag)
            node = cluster.get_node_from_key(key.decode())
            nodes.add(node.port)
            with closing(redis.Redis(port=node.port)) as client, listening(client, channel.decode()) as listener:
                assert wire.publish_and_get(tag, channel, b"first", key) == tag
                assert wire.publish_and_get(tag, channel, b"second", key) == tag
                assert [next_message(listener), next_message(listener)] == [b"first", b"second"]
    assert len(nodes) == 2


def test_moved_is_remembered_for_the_slot(connect: Connect) -> None:
    """The node that moved a slot away is not asked about it again."""
    with Node([b"$1\r\na\r\n", b"$1\r\nb\r\n"]) as new, Node([b"-MOVED 99 127.0.0.1:%d\r\n" % new.port]) as old:
        wire = connect(at(old))
        assert [wire.get(TAG, LEASE), wire.get(TAG, LEASE)] == [b"a", b"b"]
    assert len(old.requests) == 1


def test_moved_without_a_host_means_the_same_host(connect: Connect) -> None:
    """An address that begins with its colon keeps the host."""
    with Node([b"$1\r\na\r\n"]) as new, Node([b"-MOVED 99 :%d\r\n" % new.port]) as old:
        assert connect(at(old)).get(TAG, LEASE) == b"a"


def test_a_node_that_is_gone_sends_back_to_the_configured_one(connect: Connect) -> None:
    """After a fail-over what was learned about slots is forgotten."""
    with Node([b"$1\r\na\r\n"]) as new:
        moved = b"-MOVED 99 127.0.0.1:%d\r\n" % new.port
        with Node([moved, b"$1\r\nb\r\n"], [b"$1\r\nc\r\n"]) as home:
            wire = connect(at(home))
            assert [wire.get(TAG, LEASE), wire.get(TAG, LEASE)] == [b"a", b"c"]


def test_ask_is_followed_for_one_pipeline(connect: Connect) -> None:
    """While a slot moves, each command is asked for at its new node, and nothing is remembered."""
    answers = b"+OK\r\n:1\r\n+OK\r\n$1\r\na\r\n"
    with Node([answers]) as new:
        ask = b":0\r\n-ASK 99 127.0.0.1:%d\r\n" % new.port
        with Node([ask, b":1\r\n$1\r\nb\r\n"]) as old:
            wire = connect(at(old))
            assert wire.publish_and_get(TAG, CHANNEL, b"x", LEASE) == b"a"
            assert wire.publish_and_get(TAG, CHANNEL, b"y", LEASE) == b"b"
    asking = command(b"ASKING")
    assert new.requests == [asking + command(b"SPUBLISH", CHANNEL, b"x") + asking + command(b"GET", LEASE)]


def test_redirections_in_a_circle_end(connect: Connect) -> None:
    """A node that sends to itself is given up."""
    node = Node()
    node.script = ([b"-MOVED 99 :%d\r\n" % node.port] * 9,)
    with node, pytest.raises(RedisUnavailable):
        connect(at(node)).get(TAG, LEASE)
    assert len(node.requests) == 5


@pytest.mark.parametrize(
    "answer",
    [b"-LOADING data\r\n", b"-CLUSTERDOWN down\r\n", b"-READONLY replica\r\n", b"-MASTERDOWN down\r\n", b"?what\r\n"],
)
def test_a_node_that_cannot_serve_now_is_left_and_tried_again(connect: Connect, answer: bytes) -> None:
    """A new connection may reach another node: behind the same name after a fail-over."""
    with Node([answer], [b"$1\r\na\r\n"]) as node:
        assert connect(at(node)).get(TAG, LEASE) == b"a"
    with Node([answer], [answer], [b"$1\r\na\r\n"]) as node, pytest.raises(RedisUnavailable):
        connect(at(node)).get(TAG, LEASE)


def test_an_error_never_quotes_what_was_sent(connect: Connect) -> None:
    """Redis quotes arguments in some of its errors."""
    refusal = pytest.raises(RedisUnavailable, match=r"^Redis refuses the command$")
    with Node([b"-ERR unknown command with args beginning with: 'secret words'\r\n"]) as node, refusal as caught:
        connect(at(node)).get(TAG, LEASE)
    assert caught.value.__cause__ is None
    assert caught.value.code == "redis_unavailable"


def test_a_silent_node_is_given_up(connect: Connect) -> None:
    """No answer within the time limit, twice, is an error; a third connection is not made."""
    with Node([SILENT], [SILENT], [b"$1\r\na\r\n"]) as node, pytest.raises(RedisUnavailable):
        connect(at(node, reply_timeout_s=0.05)).get(TAG, LEASE)


def test_no_try_begins_that_could_not_end_in_time(connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the first try has used up the time, there is no second one."""
    clock = SimpleNamespace(monotonic=iter([0.0, 1.0, 4.48]).__next__)
    with Node([SILENT], [b"$1\r\na\r\n"]) as node:
        wire = connect(at(node, reply_timeout_s=0.05))
        monkeypatch.setattr("handlers.redis_wire.time", clock)
        with pytest.raises(RedisUnavailable):
            wire.get(TAG, LEASE)


def test_nobody_listens(connect: Connect) -> None:
    """A refused connection is an error with a code."""
    with Node() as node:
        port = node.port
    with pytest.raises(RedisUnavailable):
        connect(settings_of(f"redis://127.0.0.1:{port}")).get(TAG, LEASE)


def test_connections_are_bounded(connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cluster that keeps renaming its nodes does not fill memory with sockets."""
    monkeypatch.setattr("handlers.redis_wire._MOST_CONNECTIONS", 1)
    with Node([b"$1\r\na\r\n"]) as new, Node([b"-MOVED 99 127.0.0.1:%d\r\n" % new.port]) as old:
        wire = connect(at(old))
        assert wire.get(TAG, LEASE) == b"a"
        assert len(wire._connections) == 1


@pytest.fixture
def certificate(tmp_path: Path) -> Certificate:
    """Return paths of a certificate and key for 127.0.0.1."""
    return make_certificate(tmp_path)


def test_tls(connect: Connect, certificate: Certificate) -> None:
    """With ``rediss`` the server's certificate must be the one that the address names."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate.certificate, certificate.key)
    with Node([b"$1\r\na\r\n"], [], [], tls=context) as node:
        url = f"rediss://127.0.0.1:{node.port}"
        assert connect(settings_of(f"{url}?ssl_ca_certs={certificate.certificate}")).get(TAG, LEASE) == b"a"
        with pytest.raises(RedisUnavailable):
            connect(settings_of(url)).get(TAG, LEASE)
    with Node([], []) as node, pytest.raises(RedisUnavailable):
        connect(settings_of(f"rediss://127.0.0.1:{node.port}?ssl_ca_certs=/nowhere")).get(TAG, LEASE)
