"""Whatever the line, the model and the learner do, in whatever order: what always holds of notice, question and answer."""

import math
import random
from collections.abc import Sequence

import pytest

from gateway.core.lag import Ask, Clear, Decision, LagMonitor, LagSettings, LagState, Notice
from gateway.core.messages import LagAnswer

_STEPS = 3_000


class Chance:
    """Random samples to one monitor, and a check of every decision."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.settings = LagSettings()
        self.monitor = LagMonitor(self.settings, self.rng.choice([None, "eu-west-1", "x"]), 0.0)
        self.now_ms = 0.0
        self.seq = 0
        self.pings: list[int] = []
        self.open: int | None = None
        self.asked = self.notices = 0
        self.cleared_at_ms = -math.inf
        self.last_why = ""
        self.skipped = False

    def run(self) -> None:
        for _ in range(_STEPS):
            self.now_ms += self.rng.choice([0.0, 20.0, 100.0, 100.0, 400.0, 2_500.0])
            self.rng.choice(
                [self.frame, self.frame, self.frame, self.ping, self.pong, self.talk, self.away, self.answer]
            )()
            self.take(self.monitor.decide(self.now_ms))
            felt = self.monitor.felt(self.now_ms)
            parts = (felt.lag_ms, felt.network_ms, felt.uplink_ms, felt.downlink_ms, felt.model_ms)
            assert all(math.isfinite(part) and part >= 0 for part in parts)
            assert felt.lag_ms == felt.network_ms + felt.model_ms
            assert self.monitor.open_prompt == self.open

    def frame(self) -> None:
        self.monitor.heard(self.now_ms)
        late_ms = self.rng.choice([0.0, 30.0, 3_000.0, 9_000.0])
        self.monitor.uplink.frame(self.seq, max(0.0, self.now_ms - late_ms), self.now_ms)
        self.seq += self.rng.choice([0, 1, 1, 2])

    def ping(self) -> None:
        ping = self.monitor.ping(self.now_ms)
        if ping is not None:
            self.pings.append(ping)

    def pong(self) -> None:
        self.monitor.heard(self.now_ms)
        if self.pings:
            self.monitor.round_trip.pong(self.rng.choice(self.pings), self.now_ms)

    def talk(self) -> None:
        response = self.monitor.response
        pause_ms = self.rng.choice([-100.0, 0.0, 450.0, 5_000.0])
        self.rng.choice(
            [
                lambda: response.learner_finished(pause_ms, self.now_ms),
                response.void,
                lambda: response.maya_sounds(self.now_ms),
                lambda: self.monitor.downlink_waits(self.rng.choice([0.0, 4_000.0])),
            ]
        )()

    def away(self) -> None:
        if self.rng.random() < 0.1:
            self.monitor.left()
        elif self.rng.random() < 0.2:
            self.monitor.connected(self.now_ms)

    def answer(self) -> None:
        if self.rng.random() < 0.2:
            prompt = self.rng.choice([self.monitor.prompt, self.monitor.prompt - 1, 99])
            choice: LagAnswer = "skip" if self.rng.random() < 0.15 else "continue"
            decided = self.monitor.answer(prompt, choice, self.now_ms)
            assert bool(decided) == (prompt == self.open)
            self.skipped = self.skipped or (bool(decided) and choice == "skip")
            self.take(decided)

    def take(self, decisions: Sequence[Decision]) -> None:
        for decision in decisions:
            match decision:
                case Notice(expected_ms):
                    self.notices += 1
                    assert self.notices == 1
                    assert expected_ms > 0
                case Ask(prompt, felt, expires_s):
                    assert self.notices == 1
                    assert not self.skipped
                    assert self.open is None
                    assert prompt == self.asked + 1
                    assert felt.lag_ms >= self.settings.ask_over_ms
                    assert expires_s == self.settings.answer_within_s
                    least_s = self.settings.rest_after_gone_s if self.last_why == "lag_gone" else self.settings.peace_s
                    assert self.now_ms - self.cleared_at_ms >= least_s * 1000
                    self.open, self.asked = prompt, prompt
                case Clear(prompt, why):
                    assert prompt == self.open
                    self.open, self.last_why, self.cleared_at_ms = None, why, self.now_ms


@pytest.mark.parametrize("seed", range(12))
def test_what_always_holds(seed):
    """One notice; one question at a time, numbered, each cleared once; peace between; none after skip; no lag below nothing."""
    chance = Chance(seed)
    chance.run()
    assert chance.notices == 1
    assert not chance.skipped or chance.monitor.state is LagState.DONE


def test_chance_meets_what_it_is_to_meet():
    """Questions, all their ends, and skips do occur in what is tried above."""
    met = set()
    for seed in range(12):
        chance = Chance(seed)
        take = chance.take

        def note(decisions, take=take):
            met.update(getattr(each, "why", type(each).__name__) for each in decisions)
            take(decisions)

        chance.take = note
        chance.run()
        met.update({"skipped"} if chance.skipped else set())
    assert met == {"Notice", "Ask", "answered", "expired", "lag_gone", "skipped"}
