"""Lines and models whose lag is known: what is decided, how soon, and no question where there should be none."""

import pytest

from gateway.core.lag import Ask
from tests.lag.__main__ import main
from tests.lag.course import play
from tests.lag.traces import TRACES, near


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("trace", TRACES, ids=[trace.name for trace in TRACES])
def test_the_decision_is_as_the_truth_asks_for(trace, seed):
    """The learner is asked as often as expected, for the right cause, in time, once told what to expect."""
    assert play(trace, seed).faults == []


def test_near_nobody_is_asked_in_a_hundred_minutes():
    """Ten talks of ten minutes on a good line, with its queues and an answer of Maya's that is slow now and then."""
    asked = [ask for seed in range(10) for ask in play(near(600), seed=100 + seed).of(Ask)]
    assert asked == []


def test_the_same_seed_gives_the_same_course():
    """A fault that is found can be looked at again."""
    assert play(TRACES[3], 7).decisions == play(TRACES[3], 7).decisions


def test_the_table_tells_of_a_fault(monkeypatch, capsys):
    """A monitor that never asks is found out: exit status 1, and the trace's line says why."""
    step = next(trace for trace in TRACES if trace.name == "step")
    monkeypatch.setattr("tests.lag.__main__.TRACES", (step,))
    monkeypatch.setattr("tests.lag.__main__._NEAR_MINUTES", 0)
    monkeypatch.setattr("tests.lag.__main__._SEEDS", (1,))
    assert main() == 0
    monkeypatch.setattr("gateway.core.lag.monitor.LagMonitor._held", lambda *_: False)
    assert main() == 1
    assert "asked 0 times, not 1" in " ".join(capsys.readouterr().out.split())
