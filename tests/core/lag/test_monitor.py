"""What the learner is told and asked, decision by decision."""

from dataclasses import replace
from typing import Any

import pytest

from gateway.core.lag import Ask, Clear, Decision, LagMonitor, LagSettings, LagState, Notice
from gateway.core.messages import LagAnswer

SETTINGS = LagSettings()


class Stage:
    """A monitor whose pings are answered after `round_trip_ms`, and whose phone speaks ten times a second."""

    def __init__(self, *, round_trip_ms: float = 60.0, region: str | None = None, **changes: Any) -> None:
        self.settings = replace(SETTINGS, **changes)
        self.monitor = LagMonitor(self.settings, region, 0.0)
        self.round_trip_ms = round_trip_ms
        self.now_ms = 0.0
        self.decisions: list[Decision] = []
        self._pongs: list[tuple[float, int]] = []
        self._seq = 0

    def wait(self, seconds: float) -> list[Decision]:
        """Let time pass; return what was decided meanwhile."""
        before = len(self.decisions)
        end_ms = self.now_ms + seconds * 1000
        while self.now_ms < end_ms:
            self.now_ms += 50
            for due in [each for each in self._pongs if each[0] <= self.now_ms]:
                self._pongs.remove(due)
                self.monitor.heard(self.now_ms)
                self.monitor.round_trip.pong(due[1], self.now_ms)
            if self.now_ms % 100 == 0:
                self.monitor.heard(self.now_ms)
                self.monitor.uplink.frame(self._seq, self.now_ms, self.now_ms)
                self._seq += 1
            ping = self.monitor.ping(self.now_ms)
            if ping is not None:
                self._pongs.append((self.now_ms + self.round_trip_ms, ping))
            self.decisions += self.monitor.decide(self.now_ms)
        return self.decisions[before:]

    def be_silent(self, seconds: float, *, connected: bool = True) -> list[Decision]:
        """Nothing comes from the phone; where the connection is gone, the gateway knows."""
        if not connected:
            self.monitor.left()
        decided = []
        for _ in range(int(seconds * 20)):
            self.now_ms += 50
            self.monitor.ping(self.now_ms)
            decided += self.monitor.decide(self.now_ms)
        self._pongs.clear()
        if not connected:
            self.monitor.connected(self.now_ms)
        return decided

    def answer(self, choice: LagAnswer, prompt: int | None = None) -> list[Decision]:
        """The learner answers the open question, or another."""
        return self.monitor.answer(self.monitor.prompt if prompt is None else prompt, choice, self.now_ms)

    def asked(self) -> Ask:
        """Bring the line to where the learner is asked."""
        self.wait(5)
        self.round_trip_ms = 2_400.0
        [ask] = self.wait(16)
        assert isinstance(ask, Ask)
        return ask


def test_the_notice_tells_what_is_measured():
    """Once, after three answers: the round trip, and the usual time that Maya takes."""
    [notice] = Stage(round_trip_ms=300.0, region="us-east-1").wait(120)
    assert notice == Notice(1_300.0)


def test_the_notice_tells_of_the_region_where_nothing_is_measured():
    """An app that answers no ping is told in time all the same."""
    told = []
    for region in ("ap-southeast-1", "us-east-1", None, "the-moon"):
        stage = Stage(round_trip_ms=1e9, region=region)
        assert stage.wait(5.9) == []
        [notice] = stage.wait(10)
        told.append(notice)
    assert told == [Notice(1_280.0), Notice(1_070.0), Notice(1_200.0), Notice(1_200.0)]


def test_a_relay_that_follows_another_gives_no_second_notice():
    """The learner has read it."""
    monitor = LagMonitor(SETTINGS, None, 0.0, noticed=True)
    assert monitor.decide(60_000.0) == []


def test_the_question_says_why_and_how_long_it_waits():
    """The felt lag is the round trip and Maya's usual time."""
    ask = Stage().asked()
    assert (ask.prompt, ask.expires_s, ask.felt.cause) == (1, 20.0, "network")
    assert ask.felt.lag_ms == pytest.approx(3_400.0)


def test_it_is_asked_only_if_it_lasts():
    """Over the threshold for less than the sustain time is no reason."""
    stage = Stage()
    stage.wait(10)
    stage.round_trip_ms = 2_400.0
    assert stage.wait(7) == []
    stage.round_trip_ms = 60.0
    assert stage.wait(60) == []


def test_hysteresis():
    """Between the two thresholds nothing is asked that was not, and nothing taken back that was."""
    stage = Stage(round_trip_ms=1_200.0)
    stage.wait(60)
    assert not any(isinstance(each, Ask) for each in stage.decisions)
    stage = Stage()
    stage.asked()
    stage.round_trip_ms = 1_200.0
    assert stage.wait(10) == []
    assert stage.monitor.state is LagState.ASKING


@pytest.mark.parametrize("choice", ["continue", "skip"])
def test_an_answer_counts_once(choice):
    """The app repeats it each second until it hears of it."""
    stage = Stage()
    stage.asked()
    assert stage.answer(choice) == [Clear(1, "answered")]
    assert stage.answer(choice) == []
    assert stage.answer("continue" if choice == "skip" else "skip") == []
    assert stage.monitor.open_prompt is None


def test_an_answer_to_another_question_is_none():
    """Neither to one that never was, nor without any question."""
    stage = Stage()
    assert stage.answer("skip", 0) == []
    assert stage.answer("skip", 1) == []
    stage.asked()
    assert stage.answer("skip", 2) == []
    assert stage.monitor.open_prompt == 1


def test_after_continue_there_is_peace():
    """The same lag is asked about again when the cool-down is over."""
    stage = Stage()
    stage.asked()
    stage.answer("continue")
    assert stage.wait(119) == []
    [again] = stage.wait(15)
    assert isinstance(again, Ask)
    assert again.prompt == 2


def test_after_continue_it_is_asked_again_if_it_gets_clearly_worse():
    """But not at once."""
    stage = Stage()
    stage.asked()
    stage.answer("continue")
    stage.round_trip_ms = 2_800.0
    assert stage.wait(60) == []
    stage = Stage()
    stage.asked()
    stage.answer("continue")
    stage.round_trip_ms = 4_600.0
    assert stage.wait(39) == []
    [worse] = stage.wait(20)
    assert isinstance(worse, Ask)


def test_after_skip_nothing_is_asked_any_more():
    """The test is over."""
    stage = Stage()
    stage.asked()
    stage.answer("skip")
    assert stage.wait(300) == []
    assert stage.monitor.state is LagState.DONE


def test_no_answer_in_time_counts_as_continue():
    """With a little time for an answer that is on its way; a later one is none."""
    stage = Stage()
    stage.asked()
    asked_ms = stage.now_ms
    stage.wait(30)
    assert stage.decisions[-1] == Clear(1, "expired")
    assert stage.monitor._rested_at_ms - stage.settings.cool_down_s * 1000 <= asked_ms + 23_100
    assert stage.answer("skip") == []
    assert stage.monitor.state is LagState.RESTING


def test_an_answer_on_its_way_still_counts():
    """The app's own clock ran out a moment after the learner chose."""
    stage = Stage()
    stage.asked()
    while stage.monitor.expires_in_s(stage.now_ms) > 0:
        stage.wait(0.1)
    stage.wait(2)
    assert stage.answer("skip") == [Clear(1, "answered")]


def test_the_question_is_taken_back_when_the_lag_is_gone():
    """For long enough, too; and it is not asked again at once."""
    stage = Stage()
    stage.asked()
    stage.round_trip_ms = 60.0
    assert stage.wait(5) == []
    assert stage.wait(8) == [Clear(1, "lag_gone")]
    stage.round_trip_ms = 2_400.0
    assert stage.wait(28) == []
    [again] = stage.wait(15)
    assert isinstance(again, Ask)


@pytest.mark.parametrize("connected", [True, False])
def test_a_phone_that_is_away_is_not_lag(connected):
    """Whether or not the gateway knows that the connection is gone."""
    stage = Stage()
    stage.wait(10)
    for _ in range(5):
        assert stage.be_silent(25, connected=connected) == []
        assert stage.wait(10) == []


def test_no_time_passes_for_a_question_while_the_phone_is_away():
    """It is lost in the same drop, comes again after it, and then waits for its answer as long as was promised."""
    stage = Stage()
    stage.asked()
    stage.wait(2)
    left_s = stage.monitor.expires_in_s(stage.now_ms)
    assert stage.be_silent(40, connected=False) == []
    assert stage.monitor.open_prompt == 1
    assert stage.monitor.expires_in_s(stage.now_ms) == pytest.approx(left_s, abs=0.2)


def test_the_time_away_counts_for_nothing_in_a_wait():
    """Lag that had lasted for five seconds before a drop has to last for three more after it."""
    stage = Stage()
    stage.wait(5)
    stage.round_trip_ms = 2_400.0
    while stage.monitor.state is not LagState.RISING:
        stage.wait(0.1)
    stage.wait(5)
    stage.be_silent(20, connected=False)
    stage.wait(1)
    assert stage.monitor.state is LagState.RISING


def test_the_cause():
    """What makes up most of what is over the usual."""
    monitor = LagMonitor(SETTINGS, None, 0.0)
    monitor.round_trip.pong(monitor.round_trip.ping(0.0), 60.0)
    assert monitor.felt(60.0).cause == "network"
    for now_ms in (10_000.0, 20_000.0):
        monitor.response.learner_finished(0.0, now_ms)
        monitor.response.maya_sounds(now_ms + 4_000)
    assert (monitor.felt(30_000.0).cause, monitor.felt(30_000.0).lag_ms) == ("model", 4_060.0)
    for seq, delay_ms in enumerate([20.0, *[5_020.0] * 20]):
        monitor.uplink.frame(seq, 40_000.0 + seq * 100, 40_000.0 + seq * 100 + delay_ms)
    felt = monitor.felt(47_000.0)
    assert felt.cause == "uplink"
    assert felt.network_ms == 60.0 + felt.uplink_ms


def test_what_waits_in_the_gateway_is_felt():
    """But not twice: pings wait for a slow post, too."""
    monitor = LagMonitor(SETTINGS, None, 0.0)
    monitor.round_trip.pong(monitor.round_trip.ping(0.0), 60.0)
    monitor.downlink_waits(2_000.0)
    assert monitor.felt(60.0).network_ms == 2_060.0
    for at_ms in (100.0, 200.0, 300.0):
        monitor.round_trip.pong(monitor.round_trip.ping(at_ms), at_ms + 1_800.0)
    assert monitor.felt(2_100.0).network_ms == 2_060.0
    assert monitor.felt(2_100.0).cause == "network"


def test_it_is_judged_four_times_a_second():
    """However often it is called: the relay calls it for every frame."""
    stage = Stage()
    judged = []
    felt = stage.monitor.felt
    stage.monitor.felt = lambda now_ms: judged.append(now_ms) or felt(now_ms)
    stage.wait(10)
    assert 39 <= len(judged) <= 41


def test_no_ping_is_sent_to_a_phone_that_is_away():
    """And none is waited for with a timer."""
    monitor = LagMonitor(SETTINGS, None, 0.0)
    assert monitor.ping(0.0) == 0
    assert monitor.next_ping_ms(100.0) == 500.0
    monitor.left()
    assert monitor.ping(10_000.0) is None
    assert monitor.next_ping_ms(10_000.0) is None
    monitor.connected(20_000.0)
    assert monitor.ping(20_000.0) == 1


def test_what_is_sent_again_slowly_is_no_lag():
    """After half a minute away, the line takes ten seconds to catch up with what was captured meanwhile."""
    stage = Stage()
    stage.wait(10)
    monitor, captured_to_ms = stage.monitor, stage.now_ms
    stage.be_silent(30, connected=False)
    felt_ms = []
    while captured_to_ms < stage.now_ms:
        stage.now_ms += 100
        for _ in range(4):
            captured_to_ms += 100
            monitor.heard(stage.now_ms)
            monitor.uplink.frame(stage._seq, captured_to_ms, stage.now_ms)
            stage._seq += 1
        felt_ms.append(monitor.felt(stage.now_ms).uplink_ms)
    assert len(felt_ms) == 100
    assert max(felt_ms) < 500


def test_pings_of_before_are_not_awaited_after_a_stall():
    """How long the phone was away is no round trip."""
    stage = Stage()
    stage.wait(10)
    usual_ms = stage.monitor.felt(stage.now_ms).network_ms
    stage.monitor.ping(stage.monitor.round_trip.due_ms)
    stage.be_silent(20)
    stage.monitor.heard(stage.now_ms)
    assert stage.monitor.felt(stage.now_ms).network_ms == usual_ms


def test_spikes_on_a_line_between_the_thresholds_are_no_reason():
    """Between them they are not taken together: what lasts is what counts."""
    stage = Stage(round_trip_ms=1_200.0)
    stage.wait(10)
    for _ in range(10):
        stage.round_trip_ms = 2_600.0
        stage.wait(3)
        stage.round_trip_ms = 1_200.0
        stage.wait(8)
    assert not any(isinstance(each, Ask) for each in stage.decisions)


def test_a_moment_below_the_threshold_changes_nothing():
    """What lasts is not interrupted by one good second."""
    stage = Stage(dip_ms=2_000.0)
    stage.wait(5)
    monitor = stage.monitor
    stage.round_trip_ms = 2_400.0
    while monitor.state is not LagState.RISING:
        stage.wait(0.1)
    stage.wait(4)
    felt = monitor.felt
    monitor.felt = lambda now_ms: replace(felt(now_ms), lag_ms=2_000.0)
    stage.wait(1.5)
    monitor.felt = felt
    assert any(isinstance(each, Ask) for each in stage.wait(3))


def test_nobody_is_asked_about_a_lag_of_which_they_were_not_told():
    """The notice comes before the question, however soon that is."""
    stage = Stage(round_trip_ms=4_000.0, sustain_ms=500.0, notice_within_ms=60_000.0, quick_pings=3)
    [notice, ask] = stage.wait(4.9)
    assert isinstance(notice, Notice)
    assert isinstance(ask, Ask)
    assert not any(isinstance(each, Notice) for each in stage.wait(30))
