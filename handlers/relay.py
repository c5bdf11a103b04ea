"""One conversation: invoked asynchronously with ``{"version": 1, "learner": L}``, without retries, for up to 15 minutes."""

from gateway.relay_service import run_relay
from handlers.guard import Context, Event, guarded


@guarded
def handler(event: Event, context: Context) -> None:
    """Hold the learner's conversation until it ends.

    Raises:
        HandlerFailed: with the code of what failed; the invocation's record then goes to the finish queue.
    """
    run_relay(event, context)
