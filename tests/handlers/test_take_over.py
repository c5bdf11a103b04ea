"""Relays that are lost, frozen, or only cut off from Redis for a while: how many are started for it, and what phones are told."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from redis import Redis as RedisClient
from redis.client import PubSub

from gateway.core.messages import Error
from gateway.core.wire import parse_down
from handlers import disconnect, stream
from handlers.guard import HandlerFailed
from tests.adapters.aws_server import AwsServer
from tests.handlers.events import LEARNER, SESSION, Context, disconnect_event, message_event
from tests.handlers.listening import listening, next_message
from tests.handlers.node import Node

CHANNEL = f"maya:{{{LEARNER}}}:up"
LEASE = f"maya:{{{LEARNER}}}:lease"
START_KEY = f"maya:{{{LEARNER}}}:start"
SESSION_KEY = f"maya:{{{LEARNER}}}:session"
OPEN = json.dumps({"version": 1, "state": "open"})

RESUME = {"action": "stream", "type": "resume", "session_id": SESSION, "n": 3, "seq": 5}
PHONE = [
    {"action": "stream", "type": "audio", "seq": 0, "t": 0, "pcm": "AAAA" * 1000},
    {"action": "stream", "type": "ack", "n": 4, "queue_ms": 0},
    {"action": "stream", "type": "ping", "id": 1, "at": 2},
    RESUME,
]


def talk(times: int = 5, *, connection: str | None = None) -> None:
    """The phone says everything that it says, several times."""
    for _ in range(times):
        for message in PHONE:
            options = {} if connection is None else {"connectionId": connection}
            stream.handler(message_event(message, **options), Context())


def launches(aws: AwsServer) -> int:
    """How many relays were started."""
    return sum("/invocations" in request.path for request in aws.requests)


def told(aws: AwsServer) -> list[Any]:
    """What phones were told."""
    return [parse_down(request.body.decode()) for request in aws.requests if "@connections" in request.path]


@pytest.fixture
def listener(redis_client: RedisClient) -> Iterator[PubSub]:
    """A relay's subscription."""
    with listening(redis_client, CHANNEL) as subscriber:
        yield subscriber


def at_look(monkeypatch: pytest.MonkeyPatch, number: int, do: Callable[[], Any]) -> list[int]:
    """Have something happen while a handler looks for a relay for the so-manieth time; return the looks."""
    looks: list[int] = []

    def sleep(_seconds: float) -> None:
        looks.append(len(looks) + 1)
        if looks[-1] == number:
            do()

    monkeypatch.setattr("handlers.no_relay.time.sleep", sleep)
    return looks


def test_a_killed_relay_is_replaced_by_one(redis_client: RedisClient, aws: AwsServer) -> None:
    """Whatever the phone says, and by however many connections, until the new one has the lease."""
    redis_client.set(SESSION_KEY, OPEN)
    for connection in ("a", "b", "c"):
        talk(connection=connection)
    assert launches(aws) == 1
    redis_client.set(LEASE, "8:new")
    redis_client.delete(START_KEY)
    talk()
    assert launches(aws) == 1


def test_a_relay_lost_while_it_tells_the_assessment_is_replaced(redis_client: RedisClient, aws: AwsServer) -> None:
    """Whatever the phone says next; after `bye`, only who asks for the assessment wakes one."""
    redis_client.set(SESSION_KEY, json.dumps({"version": 1, "state": "delivering"}))
    stream.handler(message_event(PHONE[1]), Context())
    assert launches(aws) == 1
    redis_client.delete(START_KEY)
    redis_client.set(SESSION_KEY, json.dumps({"version": 1, "state": "ended"}))
    stream.handler(message_event(PHONE[1]), Context())
    assert launches(aws) == 1


def test_all_relays_are_lost_at_once(redis_client: RedisClient, aws: AwsServer) -> None:
    """Leases are gone under every conversation: each learner gets one relay, however much all of them say."""
    learners = [f"learner-{number}" for number in range(12)]
    for learner in learners:
        redis_client.set(f"maya:{{{learner}}}:session", OPEN)
    for _ in range(5):
        for learner in learners:
            for message in PHONE:
                stream.handler(message_event(message, learner=learner), Context())
    started = [request.document["learner"] for request in aws.requests if "/invocations" in request.path]
    assert sorted(started) == sorted(learners)


def test_a_relay_that_does_not_come_is_tried_again(redis_client: RedisClient, aws: AwsServer) -> None:
    """Once for each time that the lock runs out, which it does by itself."""
    redis_client.set(SESSION_KEY, OPEN)
    talk()
    assert 0 < redis_client.ttl(START_KEY) <= 5
    redis_client.delete(START_KEY)
    talk()
    assert launches(aws) == 2


def test_the_message_that_woke_a_relay_reaches_it(
    redis_client: RedisClient, listener: PubSub, aws: AwsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is published again as soon as the relay listens, also for another message than `start`."""
    redis_client.set(SESSION_KEY, OPEN)
    at_look(monkeypatch, 3, lambda: redis_client.set(LEASE, "8:new"))
    stream.handler(message_event(RESUME), Context())
    bodies = [json.loads(next_message(listener).partition(b"\n")[2])["type"] for _ in range(2)]
    assert bodies == ["resume", "resume"]
    assert launches(aws) == 1


def test_a_frozen_subscriber_is_replaced_by_one(redis_client: RedisClient, listener: PubSub, aws: AwsServer) -> None:
    """It counts as a receiver and hears nothing; what counts is the lease, which it does not renew."""
    redis_client.set(SESSION_KEY, OPEN)
    redis_client.set(LEASE, "7:frozen")
    talk()
    assert launches(aws) == 0
    redis_client.delete(LEASE)
    talk()
    assert launches(aws) == 1


def test_redis_restarts_under_a_living_relay(
    redis_client: RedisClient, listener: PubSub, aws: AwsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lease and session are forgotten for the moment that the relay takes: no relay is started, and no phone sent away."""
    redis_client.flushall()
    looks = at_look(monkeypatch, 40, lambda: redis_client.set(LEASE, "7:living"))
    stream.handler(message_event(RESUME), Context())
    assert looks[-1] == 40
    talk()
    assert launches(aws) == 0
    assert told(aws) == []
    assert [json.loads(next_message(listener).partition(b"\n")[2])["type"] for _ in range(2)] == ["resume"] * 2


def test_speech_while_redis_has_forgotten(
    redis_client: RedisClient, aws: AwsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One frame a second waits for the relay; the others are published, and sent again if nobody heard them."""
    looks = at_look(monkeypatch, 10_000, lambda: None)
    for _ in range(20):
        stream.handler(message_event(PHONE[0]), Context())
    assert len(looks) == 75
    assert [error.code for error in told(aws) if isinstance(error, Error)] == ["not_started"]
    assert launches(aws) == 0


def test_a_session_that_nobody_holds_is_gone(redis_client: RedisClient, aws: AwsServer) -> None:
    """After a second and a half the phone is told so."""
    stream.handler(message_event(RESUME), Context())
    assert [error.code for error in told(aws) if isinstance(error, Error)] == ["session_gone"]
    assert launches(aws) == 0


@pytest.mark.parametrize(
    "state", ["LOADING Redis is loading", "READONLY you cannot write", "CLUSTERDOWN", "MASTERDOWN"]
)
def test_redis_fails_over(
    redis_client: RedisClient, aws: AwsServer, monkeypatch: pytest.MonkeyPatch, state: str
) -> None:
    """A node that cannot serve says nothing about relays: messages fail, and are sent again by the phone."""
    refused = f"-{state}\r\n".encode() * 2
    with Node(*([refused] for _ in range(8))) as node:
        monkeypatch.setenv("REDIS_URL", f"redis://127.0.0.1:{node.port}")
        for _ in range(4):
            with pytest.raises(HandlerFailed, match="redis_unavailable"):
                stream.handler(message_event(PHONE[0]), Context())
    assert not aws.requests


def test_a_slot_that_moved_starts_nothing(
    redis_client: RedisClient, aws: AwsServer, valkey: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The new node is asked in the same call, and knows the lease."""
    redis_client.set(LEASE, "7:relay")
    moved = f"-MOVED 5 {valkey.removeprefix('redis://')}\r\n".encode() * 2
    with Node([moved]) as node:
        monkeypatch.setenv("REDIS_URL", f"redis://127.0.0.1:{node.port}")
        talk()
    assert not aws.requests


def test_a_late_disconnect_starts_nothing(redis_client: RedisClient, listener: PubSub, aws: AwsServer) -> None:
    """It is published for whoever listens; that the phone is gone is no reason to hold its conversation."""
    redis_client.set(SESSION_KEY, OPEN)
    disconnect.handler(disconnect_event(), Context())
    assert next_message(listener).startswith(b"1 d ")
    assert not aws.requests
