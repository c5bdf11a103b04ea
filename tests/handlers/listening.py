"""The other end of the bus: a subscriber as the relay is one, with redis-py."""

from collections.abc import Iterator
from contextlib import contextmanager

from redis import Redis
from redis.client import PubSub


@contextmanager
def listening(client: Redis, channel: str) -> Iterator[PubSub]:
    """Subscribe to a shard channel; the subscription is confirmed when this yields."""
    with client.pubsub() as listener:
        listener.ssubscribe(channel)
        assert listener.get_message(timeout=5)["type"] == "ssubscribe"
        yield listener


def next_message(listener: PubSub) -> bytes:
    """Return the payload of the next message."""
    message = listener.get_message(timeout=5)
    assert message["type"] == "smessage"
    data: bytes = message["data"]
    return data
