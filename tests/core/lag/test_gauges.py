"""What each gauge makes of its samples."""

from gateway.core.lag.gauges import ResponseGauge, RoundTripGauge, UplinkGauge
from gateway.core.lag.settings import LagSettings

SETTINGS = LagSettings()


class Pinger:
    """A gauge whose pings are answered after a while."""

    def __init__(self) -> None:
        self.gauge = RoundTripGauge(SETTINGS)
        self.gauge.connected(0.0)
        self.now_ms = 0.0

    def measure(self, *round_trips_ms: float) -> RoundTripGauge:
        for round_trip_ms in round_trips_ms:
            self.now_ms = max(self.now_ms, self.gauge.due_ms)
            ping = self.gauge.ping(self.now_ms)
            self.now_ms += round_trip_ms
            assert self.gauge.pong(ping, self.now_ms) == round_trip_ms
        return self.gauge


def test_nothing_is_known_before_the_first_answer():
    """Not even while one is waited for."""
    gauge = Pinger().gauge
    gauge.ping(0.0)
    assert gauge.current_ms(5_000.0) is None
    assert gauge.usual_ms() is None


def test_the_median_of_the_last_decides():
    """Two of five that stand out say nothing; three do."""
    pinger = Pinger()
    assert pinger.measure(50, 60, 70, 3_000, 2_000).usual_ms() == 70
    assert pinger.measure(2_500).usual_ms() == 2_000
    assert pinger.gauge.least_ms == 50


def test_a_wait_counts_before_it_is_over():
    """The round trip is at least as long as the answer has been waited for."""
    pinger = Pinger()
    gauge = pinger.measure(50, 50, 50)
    gauge.ping(10_000.0)
    assert gauge.current_ms(10_040.0) == 50
    assert gauge.current_ms(12_000.0) == 2_000
    gauge.forgive()
    assert gauge.current_ms(12_000.0) == 50


def test_a_new_connection_is_measured_anew():
    """Until then it is taken to be as the last one was."""
    pinger = Pinger()
    gauge = pinger.measure(50, 50, 50)
    gauge.connected(pinger.now_ms)
    assert gauge.current_ms(pinger.now_ms) == 50
    assert pinger.measure(400).current_ms(pinger.now_ms) == 400
    assert gauge.least_ms == 400


def test_a_lost_answer_is_forgotten_with_the_next_one():
    """Answers come in order: what is older will not be answered."""
    gauge = Pinger().measure(50)
    lost, later = gauge.ping(1_000.0), gauge.ping(3_000.0)
    assert gauge.pong(later, 3_050.0) == 50
    assert gauge.current_ms(9_000.0) == 50
    assert gauge.pong(lost, 9_000.0) is None


def test_an_answer_that_was_not_asked_for_says_nothing():
    """Nor does one that comes twice."""
    gauge = Pinger().measure(50)
    ping = gauge.ping(1_000.0)
    assert gauge.pong(ping + 100, 1_001.0) is None
    gauge.pong(ping, 1_050.0)
    assert gauge.pong(ping, 2_000.0) is None


def test_an_app_that_never_answers_is_not_measured():
    """Also on a second connection, where the first told something."""
    gauge = Pinger().measure(50, 50)
    gauge.connected(10_000.0)
    gauge.ping(10_000.0)
    assert gauge.current_ms(60_000.0) == 50
    gauge = Pinger().gauge
    gauge.ping(0.0)
    assert gauge.current_ms(60_000.0) is None


def test_the_beginning_and_what_stands_out_are_measured_quickly():
    """The first pings of a connection follow each other soon, and so does the one after a strange answer."""
    pinger = Pinger()
    gauge = pinger.gauge
    at_ms = []
    for _ in range(4):
        at_ms.append(gauge.due_ms)
        ping = gauge.ping(at_ms[-1])
        gauge.pong(ping, at_ms[-1] + 40)
    assert at_ms == [0, 500, 1_000, 3_000]
    sent_ms = gauge.due_ms
    ping = gauge.ping(sent_ms)
    gauge.pong(ping, sent_ms + 900)
    assert gauge.due_ms == sent_ms + 900 + 500


def test_awaited_pings_are_bounded():
    """An app that answers nothing costs nothing."""
    gauge = Pinger().gauge
    for at_ms in range(1_000):
        gauge.ping(float(at_ms))
    assert len(gauge._awaited) == 16


def test_the_spread_leaves_the_farthest_out():
    """One spike does not make a line unsteady."""
    assert Pinger().measure(50, 60).spread_ms() == 0
    assert Pinger().measure(50, 60, 55, 3_000).spread_ms() == 10


# --- Uplink ---------------------------------------------------------------------------------------------------------


def frames(gauge: UplinkGauge, delays_ms: list[float], *, first: int = 0) -> float:
    """Let frames of 100 ms arrive with these delays; return when the last did."""
    now_ms = 0.0
    for place, delay_ms in enumerate(delays_ms):
        captured_to_ms = (first + place + 1) * 100.0
        now_ms = captured_to_ms + delay_ms
        gauge.frame(first + place, captured_to_ms, now_ms)
    return now_ms


def test_growth_is_above_the_minimum():
    """Whatever the clocks of both ends say, and however long the way is at best."""
    for offset_ms in (0.0, 140.0, -5_000.0, 1e9):
        gauge = UplinkGauge(SETTINGS)
        now_ms = frames(gauge, [offset_ms + 20, offset_ms, *[offset_ms + 700] * 21])
        assert abs(gauge.growth_ms(now_ms) - 700) < 5


def test_old_frames_say_nothing():
    """Growth is of the last two seconds; without frames there is none."""
    gauge = UplinkGauge(SETTINGS)
    now_ms = frames(gauge, [20, *[900] * 30])
    assert gauge.growth_ms(now_ms) > 800
    assert gauge.growth_ms(now_ms + 2_500) == 0


def test_what_is_sent_again_says_nothing():
    """A frame behind one that has come, or the same one twice."""
    gauge = UplinkGauge(SETTINGS)
    now_ms = frames(gauge, [20] * 10)
    for seq in (3, 9, 9):
        gauge.frame(seq, seq * 100.0, now_ms + 5_000)
    assert gauge.growth_ms(now_ms) == 0
    assert len(gauge._recent) == 10


def test_what_was_captured_while_away_says_nothing():
    """After a drop of ten seconds its frames come first; the first one that comes in time counts."""
    gauge = UplinkGauge(SETTINGS)
    frames(gauge, [20] * 10)
    gauge.back(11_000.0)
    for seq in range(10, 104):
        gauge.frame(seq, (seq + 1) * 100.0, 11_000.0 + seq)
    assert gauge.growth_ms(11_200.0) == 0
    gauge.frame(110, 11_100.0, 11_420.0)
    assert abs(gauge.growth_ms(11_420.0) - 300) < 15


def test_an_app_with_another_idea_of_the_time_is_measured_anew():
    """Its capture time stood still while it was away, so its frames seem old for ever."""
    gauge = UplinkGauge(SETTINGS)
    frames(gauge, [20] * 10)
    gauge.back(61_000.0)
    for seq in range(10, 400):
        gauge.frame(seq, (seq + 1) * 100.0, 61_000.0 + (seq - 9) * 100.0)
    assert len(gauge._recent) > 0
    assert gauge.growth_ms(61_000.0 + 390 * 100.0) < 5


def test_clocks_that_drift_are_no_lag():
    """A microphone that is 0.05 % slow, for ten minutes."""
    gauge = UplinkGauge(SETTINGS)
    now_ms = frames(gauge, [20 + place * 0.05 for place in range(6_000)])
    assert gauge.growth_ms(now_ms) < 20


def test_frames_kept_are_bounded():
    """Whatever the app sends."""
    gauge = UplinkGauge(SETTINGS)
    for seq in range(1_000):
        gauge.frame(seq, seq * 20.0, 0.0)
    assert len(gauge._recent) == 128


# --- Response -------------------------------------------------------------------------------------------------------


def answer(gauge: ResponseGauge, response_ms: float, now_ms: float = 10_000.0) -> float | None:
    gauge.learner_finished(450.0, now_ms)
    return gauge.maya_sounds(now_ms + response_ms)


def test_the_usual_stands_in_until_enough_is_known():
    """One slow answer at the beginning, from a cold model, says nothing."""
    gauge = ResponseGauge(SETTINGS)
    assert gauge.current_ms(0.0) == 1_000
    assert answer(gauge, 6_000) == 6_000
    assert gauge.current_ms(99_999.0) == 1_000
    answer(gauge, 5_000)
    assert gauge.current_ms(99_999.0) == 5_000


def test_patience_is_no_lag():
    """A pause up to what the service waits for is the examiner's; what goes beyond is lag."""
    gauge = ResponseGauge(SETTINGS)
    gauge.learner_finished(1_900.0, 10_000.0)
    assert gauge.maya_sounds(10_700.0) == 700
    gauge.learner_finished(2_600.0, 20_000.0)
    assert gauge.maya_sounds(20_700.0) == 1_300


def test_a_long_wait_counts_before_it_is_over():
    """As one sample."""
    gauge = ResponseGauge(SETTINGS)
    answer(gauge, 5_000)
    gauge.learner_finished(450.0, 20_000.0)
    assert gauge.current_ms(20_500.0) == 1_000
    assert gauge.current_ms(23_000.0) == 3_000
    assert gauge.waiting


def test_one_wait_is_one_sample_however_many_streams_it_takes():
    """The successor of a lost stream hears the same words again."""
    gauge = ResponseGauge(SETTINGS)
    gauge.learner_finished(450.0, 10_000.0)
    gauge.learner_finished(450.0, 12_000.0)
    assert gauge.maya_sounds(13_000.0) == 3_000
    assert gauge.maya_sounds(13_100.0) is None
    assert gauge.current_ms(13_100.0) == 1_000


def test_a_wait_that_comes_to_nothing_is_none():
    """The learner goes on, or Maya is told to keep silent."""
    gauge = ResponseGauge(SETTINGS)
    gauge.learner_finished(450.0, 10_000.0)
    gauge.void()
    assert gauge.maya_sounds(30_000.0) is None


def test_time_away_is_taken_out():
    """Of a wait that the drop fell into."""
    gauge = ResponseGauge(SETTINGS)
    gauge.learner_finished(450.0, 10_000.0)
    gauge.stand_still(20_000.0)
    assert gauge.maya_sounds(31_000.0) == 1_000
