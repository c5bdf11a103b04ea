"""One conversation: invoked asynchronously with ``{"version": 1, "learner": L}``, without retries, for up to 15 minutes."""

import functools

from gateway.adapters.telemetry import Telemetry, take_over
from gateway.relay_service import run_relay
from gateway.settings import log_settings
from handlers.guard import Context, Event, guarded


@functools.cache
def reduce_output() -> None:
    """Have nothing printed, from now on, that may quote what passes through this process."""
    take_over(Telemetry("relay", level=log_settings().level))


@guarded
def handler(event: Event, context: Context) -> None:
    """Hold the learner's conversation until it ends.

    Raises:
        HandlerFailed: with the code of what failed; the invocation's record then goes to the finish queue.
    """
    reduce_output()
    run_relay(event, context)
