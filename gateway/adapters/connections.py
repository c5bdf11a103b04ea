"""Posting to the phone through API Gateway's management API.

What goes well goes the short way (`phone_http`); whatever else happens is done over by boto3 in a thread, with its
retries, its proxies and its errors. Where the API is, and who may post, boto3 alone decides.
"""

import asyncio
import functools
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Final, cast
from urllib.parse import urlsplit

import boto3
from botocore.httpsession import get_cert_path

from gateway.adapters.aws_calls import client, remote_errors
from gateway.adapters.phone_http import PostFailedError, PostPool
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

    async def post(self, connection_id: str, data: str | bytes) -> None:
        """Post a message to the phone; returns when API Gateway has taken it.

        Raises:
            PhoneGone: the connection is closed.
            PhoneSlow: it can take no more now, or API Gateway fails; after boto3's retries.
            RemoteError: the post is refused, and would be again.
        """
        body = data.encode() if isinstance(data, str) else data
        if await self._post_short(connection_id, body):
            return
        await self._in_thread(functools.partial(self._post, connection_id, body))

    async def delete(self, connection_id: str) -> None:
        """Have API Gateway close the connection; one that is gone is no error.

        Raises:
            RemoteError: it could not be done.
        """
        await self._in_thread(functools.partial(self._delete, connection_id))

    async def close(self) -> None:
        """Close what is open; posts under way end first."""
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

    async def _post_short(self, connection_id: str, body: bytes) -> bool:
        """Post the short way; False if it is for boto3 to try, with nothing said about why."""
        # Renewing credentials is a call of its own, which boto3 makes in its thread.
        if self._pool is None or getattr(self._credentials, "refresh_needed", bool)():
            return False
        keys = self._credentials.get_frozen_credentials()
        try:
            status = await self._pool.post(
                connection_id, body, access_key=keys.access_key, secret_key=keys.secret_key, token=keys.token
            )
        except PostFailedError:
            return False
        if status == _GONE:
            raise PhoneGone("the connection is closed")
        return status == _OK

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
