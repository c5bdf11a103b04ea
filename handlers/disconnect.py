"""A connection of the phone is gone; route ``$disconnect``.

API Gateway's calls of this route are best effort and late. The relay compares connections, so one for a connection that was
replaced changes nothing.
"""

from handlers import bus
from handlers.guard import Context, Event, guarded, learner_of


@guarded
def handler(event: Event, _context: Context) -> dict[str, int]:
    """Publish on the learner's channel that the connection is gone.

    Raises:
        HandlerFailed: with the code of what failed.
    """
    learner = learner_of(event)
    bus.wire().publish(learner.encode(), bus.channel(learner), bus.gone(event["requestContext"]))
    return {"statusCode": 200}
