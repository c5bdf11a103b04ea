"""Messages that the app says again each second until they are answered."""

from enum import Enum

from gateway.core.messages import REPEAT_EVERY_MS


class Request(Enum):
    """What may be repeated, in the order of urgency."""

    OPEN = "open"  # `start`, or `resume` after a drop
    STOP = "stop"
    LAG_CHOICE = "lag_choice"


class Repeats:
    """Which requests are open, and when each is due."""

    def __init__(self) -> None:
        self._due_ms: dict[Request, float] = {}

    def __contains__(self, request: Request) -> bool:
        """Whether a request is open."""
        return request in self._due_ms

    def open(self, request: Request) -> None:
        """Say it at once, and again each second."""
        self._due_ms[request] = 0.0

    def answered(self, request: Request) -> None:
        """Say it no more."""
        self._due_ms.pop(request, None)

    def clear(self) -> None:
        """Say nothing more."""
        self._due_ms.clear()

    def take(self, now_ms: float, among: frozenset[Request]) -> Request | None:
        """A request that is due now, and will be again in a second."""
        for request in Request:
            if request in among and self._due_ms.get(request, now_ms + 1) <= now_ms:
                self._due_ms[request] = now_ms + REPEAT_EVERY_MS
                return request
        return None

    def next_ms(self, among: frozenset[Request]) -> float | None:
        """When the next is due."""
        return min((due_ms for request, due_ms in self._due_ms.items() if request in among), default=None)
