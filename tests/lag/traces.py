"""Lines and models whose lag is known at every moment, and what a learner on them should be asked."""

import random
from collections.abc import Callable
from dataclasses import dataclass

from gateway.core.messages import LagCause

type Curve = Callable[[float, random.Random], float]
"""Milliseconds at a moment, in seconds since the beginning of the trace."""


@dataclass(frozen=True)
class Expected:
    """What should come of a trace.

    Attributes:
        cause: why the learner is asked, None where they are not.
        prompts: how often.
        from_s: when the truth first is over the threshold for good.
        within_s: the first question comes at most so long after that.
        gone_within_s: the question is taken back at most so long after the lag is gone (`gone_s`), None where it is not.
        gone_s: when the lag is gone.
    """

    cause: LagCause | None = None
    prompts: int = 0
    from_s: float = 0.0
    within_s: float = 0.0
    gone_s: float = 0.0
    gone_within_s: float | None = None


@dataclass(frozen=True)
class Trace:
    """One line and one model.

    Attributes:
        name: as the table has it.
        says: what happens, in a few words.
        seconds: how long it lasts.
        up: delay from the phone to the gateway.
        down: delay from the gateway to the phone, its post included.
        model: Maya's response time.
        expected: what should come of it.
        stalls: from when to when nothing gets through, either way.
        capacity: how much of the speech the way up carries, in parts of real time.
        away: from when to when the phone has no connection; it comes back with what it captured.
        frame_ms: the phone's frames.
        region: the app's guess.
        answers: what the learner answers, after 4 s; None for nothing.
        lost_pongs: how likely an answer to a ping gets lost.
    """

    name: str
    says: str
    seconds: float
    up: Curve
    down: Curve
    model: Curve
    expected: Expected
    stalls: tuple[tuple[float, float], ...] = ()
    capacity: Callable[[float], float] = lambda _t: 100.0
    away: tuple[tuple[float, float], ...] = ()
    frame_ms: float = 100.0
    region: str | None = None
    answers: bool = True
    lost_pongs: float = 0.0


def about(middle_ms: float, jitter_ms: float) -> Curve:
    """Around a value, with a tail to the right as queues make it."""

    def draw(_t: float, rng: random.Random) -> float:
        return middle_ms + rng.expovariate(1 / jitter_ms)

    return draw


def between(low_ms: float, high_ms: float) -> Curve:
    """Anywhere between two values."""
    return lambda _t, rng: rng.uniform(low_ms, high_ms)


def step(before: Curve, after: Curve, at_s: float) -> Curve:
    """One, then the other."""
    return lambda t, rng: (before if t < at_s else after)(t, rng)


def ramp(low_ms: float, high_ms: float, from_s: float, to_s: float) -> Curve:
    """Growing evenly."""

    def draw(t: float, rng: random.Random) -> float:
        share = min(1.0, max(0.0, (t - from_s) / (to_s - from_s)))
        return low_ms + share * (high_ms - low_ms) + rng.expovariate(1 / 10)

    return draw


def _now_and_then(usual: Curve, rare: Curve, share: float) -> Curve:
    return lambda t, rng: (rare if rng.random() < share else usual)(t, rng)


_NEAR_UP, _NEAR_DOWN = about(25, 4), about(30, 5)
_FAR_UP, _FAR_DOWN = about(140, 12), about(145, 12)
_MODEL = between(570, 1_350)
"""Seen of Nova Sonic (SERVICE.md A10)."""


def near(seconds: float) -> Trace:
    """A good line near us-east-1, with what good lines do now and then: a queue, a slow answer, a lost pong."""
    return Trace(
        "steady near",
        "55 ms there and back, an answer of Maya's in 40 takes 3 s",
        seconds,
        _now_and_then(_NEAR_UP, between(200, 900), 0.003),
        _now_and_then(_NEAR_DOWN, between(200, 900), 0.003),
        _now_and_then(_MODEL, between(2_000, 3_000), 0.025),
        Expected(),
        region="us-east-1",
        lost_pongs=0.01,
    )


TRACES = (
    near(600),
    Trace(
        "steady far",
        "Singapore: 290 ms there and back",
        600,
        _FAR_UP,
        _FAR_DOWN,
        _MODEL,
        Expected(),
        region="ap-southeast-1",
    ),
    Trace(
        "far, with spikes",
        "1.05 s there and back, and each 12 s one second in which all takes 3 s",
        300,
        lambda t, rng: 1_500.0 if t % 12 > 11 else about(515, 15)(t, rng),
        lambda t, rng: 1_500.0 if t % 12 > 11 else about(515, 15)(t, rng),
        between(900, 1_100),
        Expected(),
    ),
    Trace(
        "unbearably far",
        "a satellite behind a satellite: 1.9 s there and back",
        120,
        about(950, 30),
        about(950, 30),
        _MODEL,
        Expected("network", 1, 0.0, 14.0),
    ),
    Trace(
        "step",
        "near, and 2.2 s there and back from 60 s on",
        150,
        step(_NEAR_UP, about(1_100, 40), 60),
        step(_NEAR_DOWN, about(1_100, 40), 60),
        _MODEL,
        Expected("network", 1, 60.0, 16.0),
    ),
    Trace(
        "ramp",
        "the way down grows to 2.5 s, between 60 and 120 s",
        170,
        _NEAR_UP,
        ramp(30, 2_500, 60, 120),
        between(950, 1_000),
        Expected("network", 1, 97.0, 18.0),
    ),
    Trace(
        "spike",
        "each minute one second in which all takes 2.5 s",
        300,
        lambda t, rng: 1_250.0 if t % 60 > 59 else _NEAR_UP(t, rng),
        lambda t, rng: 1_250.0 if t % 60 > 59 else _NEAR_DOWN(t, rng),
        _MODEL,
        Expected(),
    ),
    Trace(
        "stall",
        "each 40 s nothing gets through for 2.8 s",
        300,
        _NEAR_UP,
        _NEAR_DOWN,
        _MODEL,
        Expected(),
        stalls=tuple((at_s, at_s + 2.8) for at_s in range(30, 300, 40)),
    ),
    Trace(
        "long stall",
        "twice nothing gets through for 9 s, on a connection that holds",
        180,
        _NEAR_UP,
        _NEAR_DOWN,
        _MODEL,
        Expected(),
        stalls=((60.0, 69.0), (120.0, 129.0)),
    ),
    Trace(
        "model slow",
        "near, and Maya takes 3 to 4 s to answer from 60 s on",
        150,
        _NEAR_UP,
        _NEAR_DOWN,
        step(_MODEL, between(3_000, 4_000), 60),
        Expected("model", 1, 60.0, 45.0),
    ),
    Trace(
        "one slow answer",
        "Maya takes 8 s once",
        150,
        _NEAR_UP,
        _NEAR_DOWN,
        lambda t, rng: 8_000.0 if 60 < t < 72 else _MODEL(t, rng),
        Expected(),
    ),
    Trace(
        "uplink choked",
        "from 60 s on the way up carries 85 % of the speech: ever worse, asked again",
        150,
        _NEAR_UP,
        _NEAR_DOWN,
        between(950, 1_000),
        Expected("uplink", 2, 70.0, 14.0),
        capacity=lambda t: 100.0 if t < 60 else 0.85,
    ),
    Trace(
        "lag that clears",
        "2.4 s there and back between 60 and 80 s; the learner does not answer",
        180,
        lambda t, rng: about(1_200, 40)(t, rng) if 60 <= t < 80 else _NEAR_UP(t, rng),
        lambda t, rng: about(1_200, 40)(t, rng) if 60 <= t < 80 else _NEAR_DOWN(t, rng),
        _MODEL,
        Expected("network", 1, 60.0, 16.0, 80.0, 14.0),
        answers=False,
    ),
    Trace(
        "mobile, jittery",
        "120 to 600 ms each way, one in 25 up to 1.5 s, a stall of 2 s each half minute",
        600,
        _now_and_then(about(120, 120), between(600, 1_500), 0.04),
        _now_and_then(about(120, 120), between(600, 1_500), 0.04),
        _MODEL,
        Expected(),
        stalls=tuple((at_s, at_s + 2.0) for at_s in range(17, 600, 30)),
        lost_pongs=0.02,
    ),
    Trace(
        "away",
        "the phone is gone for 25 s and comes back with all it captured",
        180,
        _NEAR_UP,
        _NEAR_DOWN,
        _MODEL,
        Expected(),
        away=((60.0, 85.0),),
    ),
    Trace(
        "asked again",
        "2.4 s there and back from 30 s on; continue each time, and 2 minutes of peace",
        320,
        step(_NEAR_UP, about(1_200, 40), 30),
        step(_NEAR_DOWN, about(1_200, 40), 30),
        _MODEL,
        Expected("network", 3, 30.0, 16.0),
    ),
    Trace(
        "clearly worse",
        "2.4 s there and back from 30 s on, 4.6 s from 70 s on: asked again within the peace",
        120,
        step(step(_NEAR_UP, about(1_200, 40), 30), about(2_300, 40), 70),
        step(step(_NEAR_DOWN, about(1_200, 40), 30), about(2_300, 40), 70),
        _MODEL,
        Expected("network", 2, 30.0, 16.0),
    ),
)
