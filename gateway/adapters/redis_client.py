"""The relay's way to Redis: one redis-py client, standalone or cluster, and what its errors mean.

Keys and channel of a learner have the learner's id as hash tag, so they live in one slot.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from hashlib import sha1
from typing import Any, Final

from redis.asyncio import Redis
from redis.asyncio.cluster import RedisCluster
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialWithJitterBackoff
from redis.exceptions import AuthenticationError, NoPermissionError, NoScriptError, RedisError

from gateway.adapters.redis_courier import Courier, UnansweredError
from gateway.core.errors import AccessRefused, ServiceUnavailable
from gateway.settings import RedisSettings

type RedisClient = "Redis | RedisCluster"

_RETRIES: Final = 2
_BACKOFF_BASE_S: Final = 0.05
_BACKOFF_CAP_S: Final = 0.5


def make_client(settings: RedisSettings) -> RedisClient:
    """Make a client; nothing is connected yet. Close it with ``aclose``.

    RESP2 is spoken, since the subscription reads plain lists.
    """
    options: dict[str, Any] = {
        "protocol": 2,
        "socket_connect_timeout": settings.connect_timeout_s,
        "socket_timeout": settings.reply_timeout_s,
        "retry": Retry(ExponentialWithJitterBackoff(base=_BACKOFF_BASE_S, cap=_BACKOFF_CAP_S), _RETRIES),
    }
    if settings.cluster:
        return RedisCluster.from_url(settings.url, **options)
    return Redis.from_url(settings.url, **options)


def channel_of(learner: str) -> str:
    """Return the shard channel that carries the learner's messages to the relay."""
    return f"maya:{{{learner}}}:up"


def key_of(learner: str, name: str) -> str:
    """Return the name of one of the learner's keys: ``lease``, ``epoch``, ``session`` or ``refused``."""
    return f"maya:{{{learner}}}:{name}"


@contextmanager
def redis_errors() -> Iterator[None]:
    """Turn redis-py's errors, which may quote the command, into ours, which name only their kind.

    Raises:
        AccessRefused: user, password or access rules.
        ServiceUnavailable: Redis cannot be reached or cannot serve.
    """
    try:
        yield
    except (AuthenticationError, NoPermissionError):
        raise AccessRefused("Redis refuses this user or this command") from None
    except (RedisError, OSError, RuntimeError, TypeError) as error:
        # The last two are what event loops raise when redis-py writes to a transport that was closed beneath it.
        raise ServiceUnavailable(f"Redis: {type(error).__name__}") from None


class Script:
    """A script in Lua, sent by its hash and, where the server does not know it, whole.

    redis-py 8.1 sends scripts to any node of a cluster and lets itself be redirected, and every fifth redirection makes
    it close all connections, those in use too; so the node is named here.

    Args:
        client: runs it.
        text: the script; all of its keys must have one hash slot.
        courier: tries first, for a script that runs often and may run twice.
    """

    def __init__(self, client: RedisClient, text: str, courier: Courier | None = None) -> None:
        self._client = client
        self._courier = courier
        self._text = text
        self._hash = sha1(text.encode()).hexdigest()  # noqa: S324 - the protocol's name for a script

    async def __call__(self, keys: Sequence[str], args: Sequence[str | int]) -> Any:
        """Run it and return its reply; raises redis-py's errors."""
        if self._courier is not None:
            with suppress(UnansweredError):
                return await self._courier.ask("EVALSHA", self._hash, len(keys), *keys, *args)
        options: dict[str, Any] = {}
        if isinstance(self._client, RedisCluster):
            await self._client.initialize()
            options["target_nodes"] = self._client.get_node_from_key(keys[0])
        execute: Any = self._client.execute_command
        try:
            return await execute("EVALSHA", self._hash, len(keys), *keys, *args, **options)
        except NoScriptError:
            return await execute("EVAL", self._text, len(keys), *keys, *args, **options)
