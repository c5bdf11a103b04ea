"""boto3 clients with time limits, and what their errors mean.

Where a service is found is the SDK's own matter (``AWS_REGION``, ``AWS_ENDPOINT_URL_<SERVICE>``, ``AWS_CA_BUNDLE``). Errors become
those of `gateway.core.errors` by status and code; their texts are dropped, since botocore quotes requests in some of them.
"""

import functools
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from threading import Lock
from typing import Any, Final

import boto3
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectTimeoutError,
    NoCredentialsError,
    PartialCredentialsError,
    ReadTimeoutError,
)

from gateway.core.errors import (
    AccessRefused,
    PhoneGone,
    PhoneRefused,
    RemoteError,
    RemoteTimeout,
    ServiceUnavailable,
    Throttled,
)

_THROTTLING: Final = frozenset(
    {
        "Throttling",
        "ThrottlingException",
        "ThrottledException",
        "RequestThrottled",
        "RequestThrottledException",
        "RequestLimitExceeded",
        "TooManyRequestsException",
        "ProvisionedThroughputExceededException",
        "LimitExceededException",
        "SlowDown",
        "ServiceQuotaExceededException",
    }
)

_MAKING: Final = Lock()


def client(
    service: str, *, connect_timeout_s: float, read_timeout_s: float, attempts: int, connections: int = 10
) -> Any:
    """Return a boto3 client in standard retry mode; safe to share between threads.

    Args:
        service: as boto3 names it.
        connect_timeout_s: limit for a new connection.
        read_timeout_s: limit for each answer.
        attempts: the first included.
        connections: kept open, one for each thread that calls at once.
    """
    config = Config(
        connect_timeout=connect_timeout_s,
        read_timeout=read_timeout_s,
        retries={"mode": "standard", "total_max_attempts": attempts},
        max_pool_connections=connections,
        tcp_keepalive=True,
    )
    # Clients are for all threads, but making one is not (boto3 guide, "Multithreading").
    with _MAKING:
        return _session().client(service, config=config)  # type: ignore[call-overload] # an overload for each service


@functools.cache
def _session() -> boto3.session.Session:
    return boto3.session.Session()


@contextmanager
def remote_errors(service: str) -> Iterator[None]:
    """Turn botocore's errors into `RemoteError`, which names the service and its error code and quotes nothing."""
    try:
        yield
    except ClientError as error:
        meaning = _meaning(service, error.response)
    except (ConnectTimeoutError, ReadTimeoutError):
        meaning = RemoteTimeout(f"{service} did not answer in time")
    except (NoCredentialsError, PartialCredentialsError):
        meaning = AccessRefused(f"{service}: there are no credentials")
    except BotoCoreError as error:
        meaning = ServiceUnavailable(f"{service} could not be called: {type(error).__name__}")
    else:
        return
    raise meaning from None


def error_code(error: ClientError) -> str:
    """Return the service's own code of an error."""
    return str(error.response.get("Error", {}).get("Code", ""))


def _meaning(service: str, response: Mapping[str, Any]) -> RemoteError:
    code = str(response.get("Error", {}).get("Code", ""))
    status = int(response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    text = f"{service} answered {status} {code if code.isalnum() else ''}".rstrip()
    if code in _THROTTLING or status == 429:
        return Throttled(text)
    if code in ("ModelTimeoutException", "RequestTimeout"):
        return RemoteTimeout(text)
    if code == "GoneException":
        return PhoneGone(text)
    if code == "PayloadTooLargeException":
        return PhoneRefused(text)
    if status >= 500 or status == 0:
        return ServiceUnavailable(text)
    return AccessRefused(text)
