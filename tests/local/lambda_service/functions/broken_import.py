"""A module whose import fails."""

from typing import Any

import there_is_no_such_module  # type: ignore[import-not-found]


def handler(event: Any, context: Any) -> Any:
    return there_is_no_such_module
