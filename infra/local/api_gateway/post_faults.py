"""Posts to clients that fail because a test wants it: the errors that the API Gateway Management API is known to answer.

An order, as ``POST /_local/post-faults`` takes it: ``{"who": "ann", "status": 429, "count": 3}``. The next `count` posts to
connections of `who`, a value of their authorizer's context, are refused; whatever else is posted goes its way.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from infra.local.api_gateway.sessions import Session

REFUSALS: Mapping[int, tuple[str, str]] = MappingProxyType(
    {
        410: ("GoneException", "Gone"),
        413: ("PayloadTooLargeException", "Message too long"),
        429: ("LimitExceededException", "Limit exceeded"),
        500: ("InternalServerErrorException", "Internal server error"),
        503: ("ServiceUnavailableException", "Service unavailable"),
    }
)
"""Error type and text by status."""


class BadPostFault(ValueError):  # noqa: N818  # reads as what it is where it is raised
    """The order is wrong; the text names the field."""


@dataclass(slots=True)
class _Order:
    who: str
    status: int
    left: int


class PostFaults:
    """What is ordered and has not happened yet."""

    def __init__(self) -> None:
        self._orders: list[_Order] = []

    @property
    def left(self) -> int:
        """How many posts are still to be refused."""
        return sum(order.left for order in self._orders)

    def order(self, document: Any) -> None:
        """Take an order.

        Raises:
            BadPostFault: it is none.
        """
        if not isinstance(document, dict) or document.keys() - {"who", "status", "count"}:
            raise BadPostFault("an order is an object of who, status and count")
        who, status, count = document.get("who"), document.get("status"), document.get("count", 1)
        if not isinstance(who, str) or not who:
            raise BadPostFault("who is a value of the authorizer's context")
        if not isinstance(status, int) or status not in REFUSALS:
            raise BadPostFault(f"status is one of {', '.join(map(str, REFUSALS))}")
        if not isinstance(count, int) or isinstance(count, bool) or count < 1:
            raise BadPostFault("count is a whole number from 1 on")
        self._orders.append(_Order(who, status, count))

    def take(self, session: Session) -> tuple[int, str, str] | None:
        """Return status, error type and text for a post to this connection that is to fail, and count it."""
        if not self._orders:
            return None
        known = set((session.authorizer or {}).values())
        order = next((order for order in self._orders if order.who in known), None)
        if order is None:
            return None
        order.left -= 1
        self._orders = [each for each in self._orders if each.left]
        return order.status, *REFUSALS[order.status]

    def clear(self) -> None:
        """Forget all orders."""
        self._orders.clear()
