"""May this learner speak with Maya at all: route ``$connect``, after the authorizer."""

import functools
from typing import Any, Final

from gateway.adapters.assessments import Assessments
from gateway.settings import table_settings
from handlers.guard import Context, Event, guarded, learner_of

_ACCEPTED: Final = {"statusCode": 200, "headers": {"Sec-WebSocket-Protocol": "maya.v1"}}
_LOCKED: Final = {"statusCode": 403}


@functools.cache
def assessments() -> Assessments:
    """Return the learners' profiles, with one client for this execution environment."""
    return Assessments(table_settings())


@guarded
def handler(event: Event, _context: Context) -> dict[str, Any]:
    """Accept the connection and echo the subprotocol, or refuse it with 403.

    Raises:
        HandlerFailed: with the code of what failed; API Gateway answers the upgrade with a 5xx.
    """
    return dict(_ACCEPTED if assessments().any_speaking_module(learner_of(event)) else _LOCKED)
