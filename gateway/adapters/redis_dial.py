"""Connections to Redis whose bytes a protocol of ours reads: how they begin, and where a reply says to go instead."""

import asyncio
import ssl
from collections.abc import Callable

from gateway.core.errors import ServiceUnavailable
from gateway.settings import RedisSettings


async def dial[P: asyncio.Protocol](settings: RedisSettings, address: tuple[str, int], make: Callable[[], P]) -> P:
    """Connect to a node and return the protocol that `make` made for the connection.

    Raises:
        ServiceUnavailable: there is nobody in time, or nobody to be trusted.
    """
    trust = ssl.create_default_context(cafile=settings.ca_file or None) if settings.tls else None
    try:
        async with asyncio.timeout(settings.connect_timeout_s):
            _transport, protocol = await asyncio.get_running_loop().create_connection(make, *address, ssl=trust)
    except (OSError, TimeoutError) as error:  # ssl.SSLError is an OSError
        raise ServiceUnavailable(f"Redis: {type(error).__name__}") from None
    return protocol


def authentication(settings: RedisSettings) -> list[tuple[str, ...]]:
    """Return the commands that a connection says first: none where there is no password."""
    return [("AUTH", settings.username or "default", settings.password)] if settings.password else []


def moved_to(error: str) -> tuple[str, int] | None:
    """Return host, empty for the same as before, and port of the node that has the slot now; None where an error says nothing of it.

    Args:
        error: the text of an error reply (valkey.io/topics/cluster-spec).
    """
    word, _, rest = error.partition(" ")
    host, _, port = rest.rpartition(" ")[2].rpartition(":")
    return (host, int(port)) if word == "MOVED" and port.isdigit() else None
