"""One warm call of the stream handler beside its Redis round trip: ``python -m tests.bench.warm``.

Calls and bare round trips take turns: the same bytes, on the handler's own socket, to a real Valkey server where nobody
is subscribed. Prints one JSON document.
"""

import base64
import json
import os
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Final

from handlers import bus, stream
from handlers.redis_wire import command
from tests.bench.figures import Spread

_TIMES: Final = 4_000
_WARM_UP: Final = 400
_LEARNER: Final = "learner-0"
_CONNECTION: Final = "Lk3rEcPvIAMCJWQ="
_RECEIVE_BYTES: Final = 65_536


@dataclass(frozen=True, slots=True)
class Warm:
    """What calls take.

    Attributes:
        call_ms: a call, from its event to its answer.
        round_trip_ms: the bare round trip.
        beside_ms: how much longer a call takes than the round trip right after it.
        call_cpu_ms: CPU of a call.
        round_trip_cpu_ms: CPU of the bare round trip in this process.
    """

    call_ms: Spread
    round_trip_ms: Spread
    beside_ms: Spread
    call_cpu_ms: float
    round_trip_cpu_ms: float


class Context:
    """What Lambda gives a handler."""

    aws_request_id = "8f507cfc-example"

    def get_remaining_time_in_millis(self) -> int:
        """Return milliseconds."""
        return 5_000


def audio_event() -> dict[str, Any]:
    """Return API Gateway's event for 100 ms of speech."""
    pcm = base64.b64encode(bytes(range(256)) * 12 + bytes(128)).decode()
    body = json.dumps({"action": "stream", "type": "audio", "seq": 1234, "t": 123400.0, "pcm": pcm})
    context = {
        "routeKey": "stream",
        "eventType": "MESSAGE",
        "connectionId": _CONNECTION,
        "connectedAt": 1_790_000_000_000,
        "requestTimeEpoch": 1_790_000_123_400,
        "authorizer": {"learner": _LEARNER, "principalId": _LEARNER},
    }
    return {"requestContext": context, "body": body, "isBase64Encoded": False}


def measure() -> Warm:
    """Call the handler and do the bare round trip, in turn."""
    event, context = audio_event(), Context()
    wire = bus.wire()
    call: Callable[[], Any] = lambda: stream.handler(event, context)  # noqa: E731 - timed without a frame of its own
    call()
    connection = next(iter(wire._connections.values()))
    request = b"".join(
        [
            command(b"SPUBLISH", bus.channel(_LEARNER), bus.message(event["requestContext"], event["body"])),
            command(b"GET", bus.key(_LEARNER, "lease")),
        ]
    )
    own_socket = connection._socket
    reply_bytes = len(_exchange(own_socket, request, 0))

    def bare() -> None:
        _exchange(own_socket, request, reply_bytes)

    for _ in range(_WARM_UP):
        call()
        bare()
    calls, trips = [], []
    for _ in range(_TIMES):
        calls.append(_timed_ms(call))
        trips.append(_timed_ms(bare))
    return Warm(
        Spread.of(calls),
        Spread.of(trips),
        Spread.of([one - other for one, other in zip(calls, trips, strict=True)]),
        _cpu_ms(call),
        _cpu_ms(bare),
    )


def _exchange(own_socket: Any, request: bytes, reply_bytes: int) -> bytes:
    """Send and read the replies; without their size, wait until there are two."""
    own_socket.sendall(request)
    reply: bytes = own_socket.recv(_RECEIVE_BYTES)
    while len(reply) < reply_bytes or reply.count(b"\r\n") < 3:
        reply += own_socket.recv(_RECEIVE_BYTES)
    return reply


def _timed_ms(work: Callable[[], Any]) -> float:
    before_ns = time.perf_counter_ns()
    work()
    return (time.perf_counter_ns() - before_ns) / 1e6


def _cpu_ms(work: Callable[[], Any]) -> float:
    before_ns = time.process_time_ns()
    for _ in range(_TIMES):
        work()
    return (time.process_time_ns() - before_ns) / 1e6 / _TIMES


def main() -> None:
    """Measure with the Redis that ``REDIS_URL`` names, where the learner's lease is set."""
    assert os.environ["REDIS_URL"]
    sys.stdout.write(json.dumps(asdict(measure())))


if __name__ == "__main__":
    main()
