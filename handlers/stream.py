"""A message from the phone goes to the learner's relay; routes ``stream`` and ``$default``.

It runs ten times a second for each learner: one Redis round trip publishes the message and reads the relay's lease. Only
without a lease is the message looked at (`handlers.no_relay`, imported then). The phone is told nothing here: its messages have
numbers, and it sends again what was not acknowledged.
"""

from handlers import bus
from handlers.guard import Context, Event, guarded, learner_of


@guarded
def handler(event: Event, _context: Context) -> dict[str, int]:
    """Publish the message; wake a relay, or answer in its place, where there is none.

    Raises:
        HandlerFailed: with the code of what failed; API Gateway then sends a frame without ``type``, which apps ignore.
    """
    context = event["requestContext"]
    learner = learner_of(event)
    tag = learner.encode()
    body = event.get("body") or ""
    message = bus.message(context, body)
    lease = bus.wire().publish_and_get(tag, bus.channel(learner), message, bus.key(learner, "lease"))
    if lease is None:
        from handlers import no_relay  # noqa: PLC0415 - it may import boto3

        if no_relay.answer(learner, context, body):
            bus.wire().publish_and_get(tag, bus.channel(learner), message, bus.key(learner, "lease"))
    return {"statusCode": 200}
