"""Posting to the phone through API Gateway's management API.

What goes well goes the short way (`phone_http`); whatever else happens is done over by boto3 in a thread, with its
retries, its proxies and its errors. Where the API is, and who may post, boto3 alone decides.
"""

import asyncio
import contextlib
import functools
import os
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Final, NamedTuple, cast
from urllib.parse import urlsplit

import boto3
from botocore.httpsession import get_cert_path

from gateway.adapters.aws_calls import client, remote_errors
from gateway.adapters.phone_http import PostFailedError, PostPool, Result, StaleError
from gateway.core.errors import PhoneGone, PhoneSlow, RemoteTimeout, ServiceUnavailable, Throttled

if TYPE_CHECKING:
    from types_boto3_apigatewaymanagementapi.client import ApiGatewayManagementApiClient

RETRY_AFTER_MS: Final = 1_000.0
"""When to post again on a connection that can take no more."""

_SERVICE: Final = "apigatewaymanagementapi"
_CONNECT_TIMEOUT_S: Final = 3.0
_ANSWER_TIMEOUT_S: Final = 5.0
_ATTEMPTS: Final = 2
_THREADS: Final = 4
_OK: Final = 200
_GONE: Final = 410


type Settled = Callable[[Exception | None], None]


class _Post(NamedTuple):
    connection_id: str
    body: bytes
    settled: Settled


class Connections:
    """Posts to phones and closes their connections.

    Belongs to one event loop; `close` it at the end.

    Args:
        short_way: whether to post without boto3 where that is possible; off, each post is a call of boto3.
    """

    def __init__(self, *, short_way: bool = True) -> None:
        self._client = cast(
            "ApiGatewayManagementApiClient",
            client(
                _SERVICE,
                connect_timeout_s=_CONNECT_TIMEOUT_S,
                read_timeout_s=_ANSWER_TIMEOUT_S,
                attempts=_ATTEMPTS,
                connections=_THREADS,
            ),
        )
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="connections")
        self._credentials: Any = boto3.session.Session().get_credentials() if short_way else None
        self._pool = self._make_pool() if self._credentials is not None else None
        self._tasks: set[asyncio.Task[None]] = set()

    def post(self, connection_id: str, data: str, settled: Settled) -> None:
        """Begin to post a message to the phone.

        Args:
            connection_id: of the phone.
            data: the message.
            settled: called once, after this has returned, with None when API Gateway has taken the message, else with
                what it failed of: `PhoneGone`, the connection is closed; `PhoneSlow`, it can take no more now, or API
                Gateway fails, after boto3's retries; another `RemoteError`, the post is refused, and would be again.
        """
        post = _Post(connection_id, data.encode(), settled)
        # Renewing credentials is a call of its own, which boto3 makes in its thread.
        if self._pool is None or getattr(self._credentials, "refresh_needed", bool)():
            self._spawn(self._post_long(post))
        elif not self._begin(self._pool, post, on_new=False):
            self._spawn(self._post_on_new(self._pool, post))

    async def delete(self, connection_id: str) -> None:
        """Have API Gateway close the connection; one that is gone is no error.

        Raises:
            RemoteError: it could not be done.
        """
        await self._in_thread(functools.partial(self._delete, connection_id))

    async def close(self) -> None:
        """Close what is open, after the last post was settled."""
        while self._tasks:
            await asyncio.wait(self._tasks)
        if self._pool is not None:
            self._pool.close()
        await asyncio.to_thread(self._threads.shutdown)
        self._client.close()

    def _make_pool(self) -> PostPool | None:
        endpoint = self._client.meta.endpoint_url
        parts = urlsplit(endpoint)
        if parts.scheme not in ("http", "https") or _proxied(parts.scheme):
            return None
        return PostPool(
            endpoint,
            ca_bundle=os.environ.get("AWS_CA_BUNDLE") or str(get_cert_path(verify=True)),
            region=self._client.meta.region_name,
            connect_timeout_s=_CONNECT_TIMEOUT_S,
            answer_timeout_s=_ANSWER_TIMEOUT_S,
        )

    def _begin(self, pool: PostPool, post: "_Post", *, on_new: bool) -> bool:
        """Post the short way, without a task of its own; False if no connection is idle."""
        keys = self._credentials.get_frozen_credentials()
        return pool.post(
            post.connection_id,
            post.body,
            access_key=keys.access_key,
            secret_key=keys.secret_key,
            token=keys.token,
            ended=functools.partial(self._ended, pool, post, on_new),
        )

    def _ended(self, pool: PostPool, post: "_Post", on_new: bool, result: Result) -> None:  # noqa: FBT001 - ours alone
        """Settle a post that went the short way, or have it done over."""
        if result == _OK:
            post.settled(None)
        elif result == _GONE:
            post.settled(PhoneGone("the connection is closed"))
        elif isinstance(result, StaleError) and not on_new:
            self._spawn(self._post_on_new(pool, post))
        else:
            self._spawn(self._post_long(post))

    async def _post_on_new(self, pool: PostPool, post: "_Post") -> None:
        """Post the short way on a new connection, or else the long way."""
        with contextlib.suppress(PostFailedError):
            await pool.open()
        if not self._begin(pool, post, on_new=True):
            await self._post_long(post)

    async def _post_long(self, post: "_Post") -> None:
        """Have boto3 post."""
        error: Exception | None = None
        try:
            await self._in_thread(functools.partial(self._post, post.connection_id, post.body))
        except Exception as raised:  # noqa: BLE001 - whatever it is, somebody waits for the end
            error = raised
        post.settled(error)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _in_thread(self, call: Callable[[], None]) -> None:
        await asyncio.get_running_loop().run_in_executor(self._threads, call)

    def _post(self, connection_id: str, body: bytes) -> None:
        try:
            with remote_errors(_SERVICE):
                self._client.post_to_connection(ConnectionId=connection_id, Data=body)
        except (Throttled, ServiceUnavailable, RemoteTimeout) as error:
            raise PhoneSlow(str(error), retry_after_ms=RETRY_AFTER_MS) from None

    def _delete(self, connection_id: str) -> None:
        try:
            with remote_errors(_SERVICE):
                self._client.delete_connection(ConnectionId=connection_id)
        except PhoneGone:
            return


def _proxied(scheme: str) -> bool:
    return any(os.environ.get(name) for name in (f"{scheme}_proxy", f"{scheme.upper()}_PROXY"))
