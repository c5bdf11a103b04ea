"""WebSocket connections to a gateway that speaks maya.v1."""

import argparse
import ssl
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final, Protocol
from urllib.parse import urlsplit

from websockets.asyncio.client import ClientConnection
from websockets.asyncio.client import connect as websockets_connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus, InvalidURI
from websockets.typing import Subprotocol

from gateway.core.messages import SUBPROTOCOL

_MAX_MESSAGE_BYTES: Final = 128 * 1024
"""The largest message that API Gateway delivers."""

_OPEN_WITHIN_S: Final = 10.0
_CLOSE_WITHIN_S: Final = 2.0
_ABNORMAL: Final = 1006
_LOOPBACK: Final = frozenset({"127.0.0.1", "localhost", "::1"})


class ConnectionLost(Exception):  # noqa: N818 - what happened, not a fault of the program
    """An open connection is gone.

    Args:
        code: WebSocket close code, 1006 when there was no closing handshake.
    """

    def __init__(self, code: int = _ABNORMAL) -> None:
        super().__init__(f"connection closed with {code}")
        self.code = code


class ConnectionRefused(Exception):  # noqa: N818 - as above
    """A connection could not be opened.

    Args:
        reason: one sentence, without the token.
        status: HTTP status of the refused upgrade, None when nobody answered.
    """

    def __init__(self, reason: str, status: int | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.status = status


class Connection(Protocol):
    """An open connection."""

    async def send(self, text: str) -> None:
        """Write a message; returns when the line takes the next one. Raises `ConnectionLost`."""

    async def receive(self) -> str | bytes:
        """The next message. Raises `ConnectionLost`."""

    async def close(self) -> None:
        """Close with a handshake, within two seconds."""


Connector = Callable[[str, str], Awaitable[Connection]]
"""Opens a connection to a URL with a token. Raises `ConnectionRefused`."""


class _WebSocket:
    """A connection of the websockets library."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket

    async def send(self, text: str) -> None:
        try:
            await self._socket.send(text)
        except ConnectionClosed as closed:
            raise ConnectionLost(_close_code(closed)) from None

    async def receive(self) -> str | bytes:
        try:
            return await self._socket.recv()
        except ConnectionClosed as closed:
            raise ConnectionLost(_close_code(closed)) from None

    async def close(self) -> None:
        await self._socket.close()


def address(text: str) -> str:
    """Check the address of a gateway, as an argument of a command.

    Raises:
        argparse.ArgumentTypeError: it is not that of a WebSocket.
    """
    try:
        parts = urlsplit(text)
    except ValueError:
        parts = urlsplit("")
    if parts.scheme not in ("ws", "wss") or not parts.hostname:
        raise argparse.ArgumentTypeError("must look like wss://host/stage, or ws:// for a gateway on this machine")
    return text


def connector(ca_file: Path | None = None) -> Connector:
    """Connect by the network.

    Args:
        ca_file: certificates to trust for ``wss``; the system's when not given.
    """
    context = ssl.create_default_context(cafile=str(ca_file) if ca_file else None)

    async def connect(url: str, token: str) -> Connection:
        try:
            place = urlsplit(url)
            socket = await websockets_connect(
                url,
                ssl=context if place.scheme == "wss" else None,
                subprotocols=[Subprotocol(SUBPROTOCOL), Subprotocol(f"bearer.{token}")],
                compression=None,
                # Measuring and noticing a dead line is the phone's own task: API Gateway answers WebSocket pings itself.
                ping_interval=None,
                open_timeout=_OPEN_WITHIN_S,
                close_timeout=_CLOSE_WITHIN_S,
                max_size=_MAX_MESSAGE_BYTES,
                proxy=None if place.hostname in _LOOPBACK else True,
            )
        except InvalidStatus as refused:
            status = refused.response.status_code
            raise ConnectionRefused(_refusal(status), status) from None
        except InvalidURI:
            raise ConnectionRefused("the URL is not one of a WebSocket (ws:// or wss://)") from None
        except InvalidHandshake:
            raise ConnectionRefused("the server answered, but not as a WebSocket server does") from None
        except TimeoutError:
            raise ConnectionRefused(f"no answer within {_OPEN_WITHIN_S:g} s") from None
        except (OSError, ValueError) as error:
            raise ConnectionRefused(f"unreachable: {_words(error)}") from None
        if socket.subprotocol != SUBPROTOCOL:
            await socket.close()
            raise ConnectionRefused(f"the server does not speak {SUBPROTOCOL}")
        return _WebSocket(socket)

    return connect


def _close_code(closed: ConnectionClosed) -> int:
    return closed.rcvd.code if closed.rcvd else _ABNORMAL


def _refusal(status: int) -> str:
    known = {
        401: "refused with 401: the token is missing, malformed, expired or not for this gateway",
        403: "refused with 403: this learner has not unlocked any speaking module",
        404: "refused with 404: no gateway at this address",
        429: "refused with 429: too many connections at once",
    }
    return known.get(status, f"refused with {status}")


def _words(error: Exception) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"certificate not trusted ({error.verify_message})"
    return (error.strerror if isinstance(error, OSError) else None) or type(error).__name__
