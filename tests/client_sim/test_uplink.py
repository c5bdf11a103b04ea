"""The app's buffer of speech."""

import pytest

from client_sim.uplink import RESEND_AT_ONCE, Uplink
from gateway.core.messages import AudioUp
from gateway.core.wire import parse_up

FRAME = bytes(3200)


def filled(count, **changes):
    """An uplink with frames captured every 100 ms from 0."""
    uplink = Uplink(**{"rate": 16000, "hold_ms": 75_000, **changes})
    for number in range(count):
        uplink.capture(FRAME, number * 100)
    return uplink


def taken(uplink, now_ms):
    """Numbers of all frames that leave now."""
    numbers = []
    while (text := uplink.take(now_ms)) is not None:
        message = parse_up(text)
        assert isinstance(message, AudioUp)
        numbers.append(message.seq)
    return numbers


def test_nothing_captured():
    """Nothing held, nothing to send, nothing due."""
    uplink = filled(0)
    assert (uplink.last_seq, uplink.oldest_held, uplink.held, uplink.lost) == (-1, 0, 0, 0)
    assert uplink.take(0) is None
    assert uplink.next_ms() is None


def test_frames_leave_in_order_and_once():
    """Then nothing is due before two seconds have passed since the oldest was sent."""
    uplink = filled(3)
    assert uplink.next_ms() == 0
    assert taken(uplink, 1_000) == [0, 1, 2]
    assert uplink.next_ms() == 3_000
    assert taken(uplink, 2_999) == []


def test_what_is_sent_again_is_limited():
    """A long silence of the gateway is not answered by everything at once: what is missing is the oldest."""
    uplink = filled(60)
    taken(uplink, 6_000)
    again = [uplink.take(8_000) for _ in range(RESEND_AT_ONCE)]
    assert all(again)
    assert uplink.resent == RESEND_AT_ONCE
    assert taken(uplink, 8_001) == []
    assert taken(uplink, 10_001) == list(range(RESEND_AT_ONCE))


def test_frames_acknowledged_meanwhile_are_not_sent_again():
    """What was chosen to be sent again and has arrived after all is left out."""
    uplink = filled(5)
    taken(uplink, 500)
    uplink.take(2_500)
    uplink.acknowledge(2)
    assert taken(uplink, 2_500) == [3, 4]


def test_rewinding_sends_everything_that_lacks_before_what_is_new():
    """In order, each once."""
    uplink = filled(6)
    taken(uplink, 600)
    uplink.acknowledge(1)
    assert uplink.rewind(3) == 3
    uplink.capture(FRAME, 700)
    assert taken(uplink, 700) == [3, 4, 5, 6]


def test_frames_not_yet_sent_on_this_connection_are_not_sent_again():
    """A replay on a slow line does not start over."""
    uplink = filled(30)
    taken(uplink, 3_000)
    uplink.rewind(0)
    assert uplink.take(60_000) is not None
    assert uplink.take(60_001) is not None
    assert taken(uplink, 60_002) == list(range(2, 30))
    assert uplink.resent == 0


def test_rewinding_beyond_what_was_captured():
    """The gateway knows more frames than this app: counting goes on there, and what is held is void."""
    uplink = filled(2)
    assert uplink.rewind(9) == 0
    assert uplink.capture(FRAME, 1_000) == 9
    assert taken(uplink, 1_000) == [9]


def test_lost_frames_are_counted_over_rewinding():
    """The bound of the buffer, and counting, hold as long as the session."""
    uplink = filled(12, hold_ms=1_000)
    assert uplink.lost == 2
    uplink.rewind(40)
    assert uplink.lost == 2


def test_a_negative_suspension_is_none():
    """Time does not go backwards."""
    uplink = filled(1)
    uplink.suspend(-50)
    uplink.capture(FRAME, 100)
    uplink.take(100)
    text = uplink.take(100)
    assert text is not None
    assert parse_up(text).model_dump()["t"] == 100


@pytest.mark.parametrize("rate", [8000, 16000, 24000])
def test_time_follows_the_rate(rate):
    """`t` is samples by rate."""
    uplink = filled(0, rate=rate)
    for _ in range(3):
        uplink.capture(bytes(rate // 25 * 2), 0)
    texts = [uplink.take(0) for _ in range(3)]
    assert [parse_up(text).model_dump()["t"] for text in texts if text] == [0, 40, 80]
