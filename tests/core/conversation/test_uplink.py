"""The learner's way to Maya: order, gaps, and phones that send too much."""

import base64

import pytest

from gateway.core.conversation.settings import ConversationSettings
from gateway.core.conversation.uplink import Uplink
from gateway.core.errors import TooFast
from gateway.core.messages import AudioUp

FRAME_BYTES = 3_200


def frame(seq: int, t: float | None = None) -> AudioUp:
    pcm = bytes([seq % 256]) * FRAME_BYTES
    return AudioUp(seq=seq, t=seq * 100.0 if t is None else t, pcm=base64.b64encode(pcm).decode())


def heard(frames) -> bytes:
    return b"".join(base64.b64decode(item.pcm) for item in frames)


@pytest.fixture
def uplink() -> Uplink:
    uplink = Uplink(ConversationSettings())
    uplink.ready(0.0)
    return uplink


def test_frames_come_out_in_order_and_once(uplink):
    """Whatever the order of arrival, and however often."""
    out = []
    for seq in (1, 0, 0, 3, 1, 2, 2, 3, 4):
        out += uplink.receive(frame(seq), 500.0)
    assert heard(out) == b"".join(bytes([seq]) * FRAME_BYTES for seq in range(5))
    assert uplink.acknowledged == 4


def test_what_the_phone_no_longer_holds_becomes_silence_of_the_same_length(uplink):
    """The gap is measured by capture time, so that Maya's clock stays right."""
    uplink.receive(frame(0), 100.0)
    uplink.resume(8, 900.0)
    out = uplink.receive(frame(8), 900.0)
    assert sum(item.sound_ms for item in out) == pytest.approx(800.0)
    assert heard(out)[:-FRAME_BYTES] == bytes(7 * FRAME_BYTES)
    assert uplink.next_seq == 9


def test_a_resume_without_a_gap_adds_nothing(uplink):
    """The phone still holds what is wanted next."""
    uplink.receive(frame(0), 100.0)
    uplink.resume(0, 900.0)
    assert heard(uplink.receive(frame(1), 900.0)) == bytes([1]) * FRAME_BYTES


def test_a_phone_that_came_back_is_behind_until_its_buffer_is_in(uplink):
    """Each time; one that was never away is not."""
    for seq in range(10):
        uplink.receive(frame(seq), 100.0 * seq)
    assert not uplink.is_behind(900.0)
    for came_at_ms, first in ((8_000.0, 10), (15_000.0, 80)):
        uplink.resume(first, came_at_ms)
        assert uplink.is_behind(came_at_ms)
        for seq in range(first, first + 54):
            uplink.receive(frame(seq), came_at_ms)
            assert uplink.is_behind(came_at_ms)
        for seq in range(first + 54, first + 70):
            uplink.receive(frame(seq), came_at_ms)
        assert not uplink.is_behind(came_at_ms)


def taken_up(*, frames: int) -> Uplink:
    """A lost relay had taken so many frames."""
    uplink = Uplink(ConversationSettings())
    uplink.take_up(frames - 1, frames * 100.0, 0.0, 60_000.0)
    return uplink


def test_frames_of_a_phone_that_went_away_are_waited_for():
    """Later ones came and nothing more for a while: it holds the earlier ones, and sends them when it is back."""
    uplink = taken_up(frames=10)
    for seq in (14, 12):
        assert uplink.receive(frame(seq), 60_000.0) == []
    assert uplink.give_up_missing() == []
    for seq in (15, 13, 11, 10):
        out = uplink.receive(frame(seq), 69_000.0)
        assert uplink.give_up_missing() == []
    assert heard(out) == b"".join(bytes([seq]) * FRAME_BYTES for seq in range(10, 16))


def test_frames_that_do_not_come_though_later_ones_do_are_given_up():
    """After five seconds in which the phone was heard again and again."""
    uplink = taken_up(frames=10)
    for after_ms in range(0, 5_000, 500):
        uplink.receive(frame(12 + after_ms // 500), 60_000.0 + after_ms)
        assert uplink.give_up_missing() == []
    uplink.receive(frame(22), 65_000.0)
    assert heard(uplink.give_up_missing())[: 3 * FRAME_BYTES] == bytes(2 * FRAME_BYTES) + bytes([12]) * FRAME_BYTES


def test_capture_time_may_not_run_ahead_of_real_time(uplink):
    """Fifteen seconds of difference are forgiven; then frames are refused until real time has caught up."""
    assert uplink.receive(frame(0, 14_900.0), 0.0)
    with pytest.raises(TooFast, match="capture time") as error:
        uplink.receive(frame(1, 15_100.0), 0.0)
    assert not error.value.fatal
    assert uplink.receive(frame(1, 15_100.0), 200.0)


def test_capture_time_that_stays_ahead_is_fatal_after_thirty_seconds(uplink):
    """A phone that goes on like this is hostile or broken."""
    fatal = []
    for second in range(40):
        try:
            uplink.receive(frame(second + 1, 1e6), second * 1_000.0)
        except TooFast as error:
            fatal.append(error.fatal)
    assert fatal == [False] * 31 + [True] * 9


def test_offences_far_apart_are_not_one_that_goes_on(uplink):
    """A frame with a wrong time, and another a minute later, end nothing."""
    fatal = []
    for second in (0, 60, 120):
        with pytest.raises(TooFast) as error:
            uplink.receive(frame(5, 1e6), second * 1_000.0)
        fatal.append(error.value.fatal)
    assert not any(fatal)


def test_an_offence_goes_on_though_good_frames_come_between(uplink):
    """A frame that can never be taken holds up all that follow: the phone that sends it again and again is told."""
    fatal = []
    for tick in range(400):
        uplink.receive(frame(tick), tick * 100.0)
        if tick % 20 == 0:
            with pytest.raises(TooFast) as error:
                uplink.receive(frame(900, 1e9), tick * 100.0)
            fatal.append(error.value.fatal)
    assert fatal.index(True) == 16
    assert all(fatal[16:])


def test_what_is_sent_twice_is_not_new(uplink):
    """Frames that wait for a lost one are sent again every two seconds, and count once."""
    uplink.receive(frame(0), 0.0)
    for second in range(1, 75):
        now_ms = second * 1_000.0
        for seq in range(max(2, second * 10 - 50), second * 10):
            uplink.receive(frame(seq), now_ms)


def test_silence_for_a_gap_is_bounded(uplink):
    """Whatever the phone says it has missed."""
    uplink.resume(500, 600_000.0)
    out = uplink.receive(frame(500, 500_000.0), 600_000.0)
    assert sum(item.sound_ms for item in out) == pytest.approx(ConversationSettings().replay_ms + 100)


def flood(uplink: Uplink, *, ratio: int, seconds: int, start_s: int = 0, first: int = 0) -> list[tuple[float, bool]]:
    refused = []
    seq = first
    for tick in range(start_s * 10, (start_s + seconds) * 10):
        for _ in range(ratio):
            try:
                uplink.receive(frame(seq, tick * 100.0), tick * 100.0)
            except TooFast as error:
                refused.append((tick / 10, error.fatal))
                continue
            seq += 1
    return refused


def test_over_three_times_real_time_for_thirty_seconds_is_too_fast(uplink):
    """First refused, then, half a minute later, fatal."""
    refused = flood(uplink, ratio=4, seconds=75)
    assert 29 <= refused[0][0] <= 33
    assert not refused[0][1]
    first_fatal = next(at for at, fatal in refused if fatal)
    assert 29 <= first_fatal - refused[0][0] <= 32


def test_three_times_real_time_is_no_offence(uplink):
    """The limit itself is allowed."""
    assert flood(uplink, ratio=3, seconds=70) == []


def test_a_replay_is_no_offence(uplink):
    """After a drop the phone sends its buffer as fast as the line carries."""
    flood(uplink, ratio=1, seconds=5)
    uplink.resume(50, 5_000.0)
    assert flood(uplink, ratio=10, seconds=40, start_s=5, first=50) == []


@pytest.mark.parametrize(("frame_bytes", "most"), [(640, 4_096), (3_200, 901)])
def test_a_frame_far_ahead_waits_for_none(uplink, frame_bytes, most):
    """A full buffer may wait for one frame, in any order; more is refused, and memory stays bounded."""
    pcm = base64.b64encode(bytes(frame_bytes)).decode()
    for seq in range(1, 9_000):
        uplink.receive(AudioUp(seq=seq, t=0.0, pcm=pcm), 0.0)
    assert uplink.acknowledged == -1
    out = uplink.receive(AudioUp(seq=0, t=0.0, pcm=pcm), 0.0)
    assert len(out) == most
    for seq in range(most, 2 * most - 1):
        assert len(uplink.receive(AudioUp(seq=seq, t=0.0, pcm=pcm), 0.0)) == 1
