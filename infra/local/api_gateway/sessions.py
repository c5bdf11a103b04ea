"""The connections of clients, and what the gateway notes about each."""

from __future__ import annotations

import asyncio
import enum
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from websockets.asyncio.server import ServerConnection, broadcast
from websockets.protocol import State

from infra.local.api_gateway.events import DISCONNECT_REASONS, Connection


class Phase(enum.Enum):
    """Where a connection is in its life."""

    CONNECTING = "connecting"
    OPEN = "open"
    CLOSED = "closed"


@dataclass(slots=True, eq=False)
class Session:
    """One client's connection.

    Attributes:
        info: What its events have in common.
        websocket: Its WebSocket.
        host: The Host header of the upgrade.
        authorizer: ``requestContext.authorizer``, from the authorizer.
        subprotocol: What the ``$connect`` function chose.
        opened_s: Monotonic time of the upgrade.
        active_s: Monotonic time of the last message either way.
        active_ms: The same on the calendar.
        places: Lambda calls that may be under way for its messages.
    """

    info: Connection
    websocket: ServerConnection
    host: str
    opened_s: float
    active_s: float
    active_ms: int
    places: asyncio.Semaphore
    authorizer: Mapping[str, Any] | None = None
    subprotocol: str | None = None
    phase: Phase = Phase.CONNECTING

    def touch(self, now_s: float, now_ms: int) -> None:
        """Note that a message has passed."""
        self.active_s = now_s
        self.active_ms = now_ms

    @property
    def open(self) -> bool:
        """Whether messages can be sent to the client."""
        return self.phase is Phase.OPEN and self.websocket.state is State.OPEN

    @property
    def buffered_bytes(self) -> int:
        """Bytes that wait for the client, beside the kernel's."""
        return self.websocket.transport.get_write_buffer_size()

    def ending(self) -> tuple[int, str]:
        """Close code and reason, of the side that closed first; without a close frame 1006."""
        protocol = self.websocket.protocol
        received, sent = protocol.close_rcvd, protocol.close_sent
        first = received if received is not None and (sent is None or protocol.close_rcvd_then_sent) else sent
        code, reason = (1006, "") if first is None else (first.code, first.reason)
        return code, reason or DISCONNECT_REASONS.get(code, "")

    def send(self, text: str | bytes) -> None:
        """Send a text message without waiting."""
        broadcast((self.websocket,), text, text=True)


class Sessions:
    """The connections by id."""

    def __init__(self) -> None:
        self._sessions: dict[str, Session] = {}

    def __len__(self) -> int:
        return len(self._sessions)

    def add(self, session: Session) -> None:
        """Register a connection that has opened."""
        self._sessions[session.info.connection_id] = session

    def remove(self, session: Session) -> None:
        """Forget a connection."""
        self._sessions.pop(session.info.connection_id, None)

    def find(self, connection_id: str) -> Session | None:
        """The open connection of that id."""
        session = self._sessions.get(connection_id)
        return session if session is not None and session.open else None

    def all(self) -> list[Session]:
        """Every connection, as of now."""
        return list(self._sessions.values())
