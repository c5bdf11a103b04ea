"""The disconnect handler."""

import pytest
from redis import Redis as RedisClient

from handlers import disconnect
from handlers.guard import HandlerFailed
from tests.handlers.events import CONNECTED_AT_MS, CONNECTION, LEARNER, RECEIVED_AT_MS, Context, disconnect_event
from tests.handlers.listening import listening, next_message


def test_the_relay_is_told_which_connection_is_gone(redis_client: RedisClient) -> None:
    """A header line with the connection and when API Gateway opened it, and no body."""
    with listening(redis_client, f"maya:{{{LEARNER}}}:up") as listener:
        assert disconnect.handler(disconnect_event(), Context()) == {"statusCode": 200}
        published = next_message(listener)
    assert published == f"1 d {CONNECTION} {CONNECTED_AT_MS} {RECEIVED_AT_MS}\n".encode()
    assert not redis_client.keys()


def test_redis_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    """An error with a code."""
    monkeypatch.setenv("REDIS_URL", "redis://127.0.0.1:1")
    with pytest.raises(HandlerFailed, match=r"^redis_unavailable$"):
        disconnect.handler(disconnect_event(), Context())


def test_a_connection_without_a_learner(redis_client: RedisClient) -> None:
    """What the authorizer never let in has nobody to be told."""
    with pytest.raises(HandlerFailed, match=r"^no_learner$"):
        disconnect.handler(disconnect_event(learner=None), Context())
