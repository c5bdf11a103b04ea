"""Connections that are not, or no longer, the phone's: what they are told, and when they are closed."""

from typing import Final

from gateway.core.conversation.actions import Disconnect, Post
from gateway.core.messages import Bye, ByeReason, DownMessage
from gateway.core.wire import encode

_MOST_PARTING: Final = 16
"""Connections that may have their time to close by themselves; with more, the oldest is closed at once."""


class Asides:
    """Speaks to connections beside the one in use, without numbers.

    Args:
        epoch: of the relay.
        part_with_ms: a connection is deleted this long after `bye`.
    """

    def __init__(self, epoch: int, part_with_ms: float) -> None:
        self._epoch = epoch
        self._part_with_ms = part_with_ms
        self._waiting: list[Post | Disconnect] = []
        self._close_at_ms: dict[str, float] = {}

    def tell(self, connection_id: str, message: DownMessage) -> None:
        """Tell a connection something."""
        self._waiting.append(Post(connection_id, encode(message)))

    def part_from(self, connection_id: str, reason: ByeReason, now_ms: float) -> None:
        """Say `bye` to a connection; the app closes it, or is closed."""
        self.tell(connection_id, Bye(epoch=self._epoch, reason=reason))
        self._close_at_ms[connection_id] = now_ms + self._part_with_ms
        if len(self._close_at_ms) > _MOST_PARTING:
            self._close(next(iter(self._close_at_ms)))

    def is_parting(self, connection_id: str) -> bool:
        """Whether `bye` was said to a connection that is still to be closed."""
        return connection_id in self._close_at_ms

    def keep(self, connection_id: str) -> None:
        """A connection is in use again: leave it open."""
        self._close_at_ms.pop(connection_id, None)

    def take(self, now_ms: float) -> list[Post | Disconnect]:
        """Return what is to be done now, once."""
        for connection_id in [name for name, at_ms in self._close_at_ms.items() if at_ms <= now_ms]:
            self._close(connection_id)
        taken, self._waiting = self._waiting, []
        return taken

    def take_all(self) -> list[Post | Disconnect]:
        """Return everything that is left: nothing is waited for any more."""
        return self.take(float("inf"))

    def next_timer_ms(self) -> float | None:
        """When `take` has something though nothing happens."""
        return min(self._close_at_ms.values(), default=None)

    def _close(self, connection_id: str) -> None:
        del self._close_at_ms[connection_id]
        self._waiting.append(Disconnect(connection_id))
