"""Small parts of the phone: repeated requests, heartbeat, receiving side."""

from client_sim.downlink import Downlink
from client_sim.heartbeat import Heartbeat
from client_sim.phone_settings import PhoneFigures
from client_sim.repeats import Repeats, Request
from gateway.core.messages import AckUp, Bye, Interrupted, Ping, PingDown, Status
from gateway.core.wire import encode

EVERY = frozenset(Request)


def test_requests_are_said_at_once_and_each_second():
    """Until they are answered."""
    repeats = Repeats()
    assert repeats.next_ms(EVERY) is None
    repeats.open(Request.STOP)
    assert Request.STOP in repeats
    assert repeats.take(500, EVERY) is Request.STOP
    assert repeats.take(1_499, EVERY) is None
    assert repeats.next_ms(EVERY) == 1_500
    assert repeats.take(1_500, EVERY) is Request.STOP
    repeats.answered(Request.STOP)
    assert repeats.take(9_000, EVERY) is None


def test_only_what_fits_the_moment_is_said():
    """A request that has to wait keeps its place."""
    repeats = Repeats()
    repeats.open(Request.LAG_CHOICE)
    assert repeats.take(0, frozenset({Request.OPEN})) is None
    assert repeats.next_ms(frozenset({Request.OPEN})) is None
    assert repeats.take(0, EVERY) is Request.LAG_CHOICE
    repeats.open(Request.OPEN)
    repeats.clear()
    assert repeats.next_ms(EVERY) is None


def beat(heartbeat, now_ms):
    """Everything that is due."""
    messages = []
    while (message := heartbeat.take(now_ms, acknowledged=3, queue_ms=0)) is not None:
        messages.append(message)
    return messages


def test_a_new_connection_begins_anew():
    """What belonged to the last one is void: pongs, and pings that nobody will answer."""
    heartbeat = Heartbeat(ping_every_ms=1_000)
    [ping] = [message for message in beat(heartbeat, 0) if isinstance(message, Ping)]
    heartbeat.asked(PingDown(epoch=1, id=1, at=1))
    heartbeat.connected()
    assert heartbeat.take_pong() is None
    assert heartbeat.answered(ping.id, 50) is None
    assert [message.type for message in beat(heartbeat, 60)] == ["ack", "ping"]


def test_unanswered_pings_are_bounded():
    """Those of long ago are given up."""
    heartbeat = Heartbeat(ping_every_ms=100)
    for number in range(40):
        beat(heartbeat, number * 100)
    assert heartbeat.answered(0, 4_000) is None
    assert heartbeat.answered(30, 4_000) == 1_000


def test_patience_follows_the_round_trip():
    """Two seconds at least."""
    heartbeat = Heartbeat(ping_every_ms=100)
    assert heartbeat.patience_ms == 2_000
    heartbeat.round_trip_ms = 900
    assert heartbeat.patience_ms == 2_000
    heartbeat.round_trip_ms = 3_000
    assert heartbeat.patience_ms == 4_000


def test_cuts_are_bounded():
    """The oldest report goes first."""
    heartbeat = Heartbeat(ping_every_ms=1e9)
    for turn in range(20):
        heartbeat.cut(turn, 1.0)
    turns = [message.turn for message in beat(heartbeat, 0) if isinstance(message, AckUp)]
    assert turns == list(range(12, 20))


def test_urgent_messages_are_told_once():
    """`interrupted` is urgent when it first comes, and in order when its turn has come."""
    downlink = Downlink(PhoneFigures())
    interrupted = Interrupted(epoch=1, n=1, turn=4)
    arrival = downlink.receive(encode(interrupted))
    assert (arrival.urgent, arrival.in_order) == (interrupted, [])
    arrival = downlink.receive(encode(interrupted))
    assert (arrival.urgent, arrival.in_order) == (None, [])
    status = Status(epoch=1, n=0, state="listening")
    assert downlink.receive(encode(status)).in_order == [status, interrupted]
    assert downlink.acknowledged == 1


def test_what_has_no_number_passes():
    """It has no place in the order."""
    bye = Bye(epoch=1, reason="finished")
    assert Downlink(PhoneFigures()).receive(encode(bye)).passing == bye
