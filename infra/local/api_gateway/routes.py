"""Route selection: which function gets a message.

Source: API Gateway developer guide, "Working with routes for WebSocket APIs": the route selection expression picks a value
from the JSON body; what is not JSON, has no such value or no such route goes to ``$default``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping

DEFAULT = "$default"
CONNECT = "$connect"
DISCONNECT = "$disconnect"

_EXPRESSION = re.compile(r"\$request\.body\.([A-Za-z0-9_.-]+)|\$\{request\.body\.([A-Za-z0-9_.-]+)\}")


class RouteSelector:
    """Finds the route of a message.

    Args:
        expression: ``$request.body.NAME``, with more names joined by dots for nested objects.
        routes: Route key to function name.

    Raises:
        ValueError: The expression has another form.
    """

    def __init__(self, expression: str, routes: Mapping[str, str]) -> None:
        match = _EXPRESSION.fullmatch(expression)
        if match is None:
            raise ValueError(f"route selection expression: only $request.body.NAME is known, not {expression}")
        self._path = (match[1] or match[2]).split(".")
        self._routes = {key: function for key, function in routes.items() if key not in (CONNECT, DISCONNECT)}

    def select(self, body: str) -> tuple[str, str] | None:
        """Route key and function of a message; None when no route takes it, not even ``$default``."""
        key = self._key(body)
        function = self._routes.get(key)
        if function is None:
            key, function = DEFAULT, self._routes.get(DEFAULT)
        return None if function is None else (key, function)

    def _key(self, body: str) -> str:
        try:
            value = json.loads(body)
        except (ValueError, RecursionError):
            return DEFAULT
        for name in self._path:
            value = value.get(name) if isinstance(value, dict) else None
        return value if isinstance(value, str) else DEFAULT
