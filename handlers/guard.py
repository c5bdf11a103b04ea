"""How every handler ends: with its answer, or with an error that carries a code and nothing else.

Lambda writes a handler's exception to its log and, for an asynchronous invocation, to the failure queue; the exceptions
of pydantic, botocore and Redis quote what they were given. Only the standard library and the error tree are imported.
"""

import functools
import json
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from gateway.adapters.traces import place
from gateway.core.errors import MayaError

type Event = Mapping[str, Any]
"""What Lambda calls a handler with, decoded from JSON."""


class Context(Protocol):
    """The second argument of a handler, as far as it is used here."""

    aws_request_id: str

    def get_remaining_time_in_millis(self) -> int:
        """Return how many ms are left until Lambda ends the invocation."""


class HandlerFailed(Exception):  # noqa: N818 - said of the handler: it becomes ``errorType`` in the invocation's record
    """A handler could not do its work.

    Args:
        code: from a closed list; the whole text of the error.
    """

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


def say(event: str, **fields: str | float) -> None:
    """Write a log line of ids, codes and numbers; for handlers that cannot afford the import of `gateway.adapters.telemetry`."""
    print(json.dumps({"event": event, **fields}, separators=(",", ":")), flush=True)  # noqa: T201 - Lambda's log


def guarded[C, A](handler: Callable[[Event, C], A]) -> Callable[[Event, C], A]:
    """Wrap a handler so that whatever goes wrong is logged as a code, a type and a place, and raised as `HandlerFailed`."""

    @functools.wraps(handler)
    def guard(event: Event, context: C) -> A:
        try:
            return handler(event, context)
        except HandlerFailed:
            raise
        except Exception as error:  # noqa: BLE001 - no error leaves a handler with its own text
            code = error.code if isinstance(error, MayaError) else "internal"
            say(
                "handler_failed",
                level="error",
                handler=handler.__module__,
                code=code,
                error=type(error).__name__,
                at=place(error.__traceback__),
                request_id=str(getattr(context, "aws_request_id", "")),
            )
        # Raised out here, it has no context: not even a debugger's traceback shows the first error.
        raise HandlerFailed(code)

    return guard


def learner_of(event: Event) -> str:
    """Return the learner whom the authorizer let in.

    Raises:
        HandlerFailed: ``no_learner``: the route was called without the authorizer.
    """
    learner = (event["requestContext"].get("authorizer") or {}).get("learner")
    if not learner or not isinstance(learner, str):
        raise HandlerFailed("no_learner")
    return learner
