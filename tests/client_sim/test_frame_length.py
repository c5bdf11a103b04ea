"""The phone's frames follow the lag, and no sample is lost where their length changes."""

import pytest

from client_sim.events import Captured
from client_sim.frame_length import FrameLength
from gateway.core.messages import AudioUp, Limits, Ping, PongDown, Ready
from gateway.core.wire import pcm_bytes_count
from tests.client_sim.bench import Bench
from tests.client_sim.stub import short_test
from tests.client_sim.test_talk import check_heard, check_played, hold


def measured(*round_trips_ms: float) -> int:
    length = FrameLength()
    for round_trip_ms in round_trips_ms:
        length.measured(round_trip_ms)
    return length.frame_ms


def test_near_short_far_long():
    """And as usual where nothing is measured."""
    assert [measured(), measured(40), measured(250), measured(600)] == [100, 60, 100, 200]


def test_one_that_stands_out_changes_nothing():
    """Neither at the beginning nor later."""
    assert measured(40, 3_000, 40) == 60
    assert measured(600, 600, 600, 20, 600) == 200


def test_it_follows_a_line_that_changes():
    """Within a few pings, both ways."""
    assert measured(40, 40, 40, *[700] * 4) == 200
    assert measured(700, 700, 700, *[40] * 5) == 60


@pytest.mark.parametrize(
    ("limits", "lengths"),
    [((20, 250), [60, 200]), ((80, 120), [80, 120]), ((1, 1_000), [60, 200]), ((250, 20), [60, 200])],
)
def test_within_the_limits_of_the_gateway(limits, lengths):
    """Whatever a gateway says, a frame is one of maya.v1."""
    length = FrameLength()
    length.limit(limits)
    length.measured(40)
    near = length.frame_ms
    for _ in range(5):
        length.measured(900)
    assert [near, length.frame_ms] == lengths


def ready(bench: Bench, frame_ms: tuple[int, int]) -> None:
    bench.say(
        Ready,
        session_id=bench.phone._settings.session_id,
        resume_within_s=60.0,
        next_seq=0,
        limits=Limits(conversation_s=810, frame_ms=frame_ms),
        support_code="x",
    )


def test_the_phone_measures_by_its_own_pings():
    """And keeps to what `ready` said."""
    bench = Bench(ping_every_ms=100).open()
    bench.sent()
    ready(bench, (80, 250))
    assert bench.phone.frame_ms == 100
    for round_trip_ms in (20, 20, 20):
        [ping] = bench.sent_of(Ping)
        bench.wait(round_trip_ms)
        bench.say(PongDown, id=ping.id, at=ping.at)
        bench.wait(100 - round_trip_ms)
    assert bench.phone.frame_ms == 80


def test_frames_of_changing_length_stand_end_to_end():
    """`t` counts samples, so it goes on by the length of each frame."""
    bench = Bench().open()
    bench.sent()
    ready(bench, (20, 250))
    lengths = [100, 60, 60, 200, 250, 20, 100]
    frames = []
    for length in lengths:
        bench.tell(Captured(bytes(length * 32)))
        frames += bench.sent_of(AudioUp)
    assert [pcm_bytes_count(frame.pcm) // 32 for frame in frames] == lengths
    assert [frame.t for frame in frames] == [sum(lengths[:place]) for place in range(len(lengths))]


@pytest.mark.parametrize(("delay_ms", "frame_ms"), [(10, 60), (120, 100), (400, 200)])
def test_a_conversation_at_any_distance(delay_ms, frame_ms):
    """Every byte is heard and played, and frames come as long as the distance asks for."""
    outcome, gateway, _ = hold(short_test, gateway_fields={"delay_ms": delay_ms}, ping_every_ms=500)
    assert outcome.ok
    check_heard(outcome, gateway)
    check_played(outcome, gateway)
    captured_ms = len(outcome.captured) / 32
    assert captured_ms / outcome.frames.captured == pytest.approx(frame_ms, rel=0.15)
