"""awscrt, as far as it is the same for every stream: its thread, its futures, its errors."""

import asyncio
import contextlib
import ctypes
import threading
from collections.abc import Sequence
from concurrent.futures import Future
from typing import Any, Final

from awscrt.http import HttpHeaders, HttpRequest
from awscrt.io import (
    ClientBootstrap,
    ClientTlsContext,
    DefaultHostResolver,
    EventLoopGroup,
    SocketOptions,
    TlsContextOptions,
)

_KEEP_ALIVE_S: Final = 10
_KEEP_ALIVE_PROBES: Final = 3

_of_thread: Final = threading.local()


class CrtRuntime:
    """What channels share: awscrt's one thread and the trusted authorities.

    Args:
        ca_bundle: path of a PEM file with the authorities to trust, empty for the system's own.
    """

    def __init__(self, ca_bundle: str = "") -> None:
        group = EventLoopGroup(1)
        self.bootstrap = ClientBootstrap(group, DefaultHostResolver(group))
        options = TlsContextOptions()
        if ca_bundle:
            options.override_default_trust_store_from_path(None, ca_bundle)
        self.tls = ClientTlsContext(options)


async def from_crt(future: "Future[Any]") -> Any:
    """Wait for one of awscrt's futures; a waiter that is cancelled does not disturb awscrt's thread."""
    loop = asyncio.get_running_loop()
    arrived: asyncio.Future[None] = loop.create_future()

    def on_done(_future: "Future[Any]") -> None:
        with contextlib.suppress(RuntimeError):  # the event loop is closed, so nobody waits any more
            loop.call_soon_threadsafe(resolve, arrived)

    future.add_done_callback(on_done)
    await arrived
    return future.result()


def keep_thread_state() -> None:
    """Let Python keep what it knows of the calling thread, which is awscrt's, from one callback to the next.

    A native thread that calls into Python gets a thread state made for each call and taken down after it. One
    ``PyGILState_Ensure`` that is never released keeps it (Python/C API, "Non-Python created threads"); it ends with the process,
    as awscrt's thread does. What is local to the thread lives as long as that state, so it knows whether there is one.
    """
    if not hasattr(_of_thread, "kept"):
        _of_thread.kept = ctypes.pythonapi.PyGILState_Ensure()


def make_request(method: str, path: str, headers: Sequence[tuple[str, str]]) -> HttpRequest:
    """Build awscrt's form of a request without a body."""
    return HttpRequest(method, path, HttpHeaders(list(headers)))


def socket_options() -> SocketOptions:
    """Return options that have the kernel find out about a peer that vanished while nothing is sent."""
    options = SocketOptions()
    options.keep_alive = True
    options.keep_alive_timeout_secs = _KEEP_ALIVE_S
    options.keep_alive_interval_secs = _KEEP_ALIVE_S
    options.keep_alive_max_probes = _KEEP_ALIVE_PROBES
    return options


def crt_name(error: BaseException) -> str:
    """Return awscrt's name of an error, which never holds what was sent: ``AWS_ERROR_HTTP_CONNECTION_CLOSED``."""
    name = getattr(error, "name", None)
    return name if isinstance(name, str) else type(error).__name__


def resolve(future: "asyncio.Future[Any] | None", value: Any = False) -> None:  # noqa: FBT002 - a value, no flag
    """Give a future its result, unless it has one or there is no future."""
    if future is not None and not future.done():
        future.set_result(value)
