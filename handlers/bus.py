"""The names and the envelope by which handlers reach a learner's relay.

A learner's channel and keys have one hash slot, that of ``{learner}``. An envelope is one header line, a newline and the body,
which nobody parses before the relay does.
"""

import functools
from typing import Any, Final

from gateway.settings import redis_settings
from handlers.redis_wire import RedisWire

START_LOCK_S: Final = 5
"""One relay start at a time for a learner: as long as a new relay takes at most until it holds the lease."""

_MOST_BODY_CHARS: Final = 24 * 1024 + 1
"""A longer body is cut to this, one more than the relay takes, so that it refuses the message for its size."""


@functools.cache
def wire() -> RedisWire:
    """Return the Redis client of this execution environment.

    It is made by the first call and not on import: a process that imports this and then forks must not share a socket.
    """
    return RedisWire(redis_settings())


def channel(learner: str) -> bytes:
    """Return the channel that the learner's relay listens on."""
    return b"maya:{%b}:up" % learner.encode()


def key(learner: str, name: str) -> bytes:
    """Return a key of the learner: ``lease``, ``start``, ``session``, ``refused`` or ``rate:<connection>``."""
    return f"maya:{{{learner}}}:{name}".encode()


def message(context: dict[str, Any], body: str) -> bytes:
    """Return the envelope of a message from the phone; `context` is the event's ``requestContext``."""
    return (
        f"1 m {context['connectionId']} {context['connectedAt']} {context['requestTimeEpoch']}\n{body[:_MOST_BODY_CHARS]}"
    ).encode(errors="replace")


def gone(context: dict[str, Any]) -> bytes:
    """Return the envelope that says that a connection is gone; `context` is the event's ``requestContext``."""
    return f"1 d {context['connectionId']} {context['connectedAt']} {context['requestTimeEpoch']}\n".encode()
