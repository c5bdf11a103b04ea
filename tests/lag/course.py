"""Plays a trace to the monitor, as the gateway would see it."""

import heapq
import itertools
import random
from collections.abc import Callable
from dataclasses import dataclass, field

from gateway.core.lag import Ask, Clear, Decision, LagMonitor, LagSettings, Notice
from tests.lag.traces import Trace

_SPEAKS_MS = 4_000.0
_MAYA_SPEAKS_MS = 3_000.0
_THINKS_MS = 600.0
_TURN_ENDS_AFTER_MS = 450.0
_ANSWERS_AFTER_MS = 4_000.0


@dataclass
class Course:
    """What came of a trace.

    Attributes:
        decisions: what the monitor decided and when.
        lag: what it thought the learner felt, twice a second.
    """

    trace: Trace
    decisions: list[tuple[float, Decision]] = field(default_factory=list)
    lag: list[tuple[float, float]] = field(default_factory=list)

    def of[D: Decision](self, kind: type[D]) -> list[tuple[float, D]]:
        """Decisions of one kind, with their moments in seconds."""
        return [(at_ms / 1000, each) for at_ms, each in self.decisions if isinstance(each, kind)]

    @property
    def asked_after_s(self) -> float | None:
        """From when the truth was over the threshold to the first question."""
        asked = self.of(Ask)
        return asked[0][0] - self.trace.expected.from_s if asked else None

    @property
    def gone_after_s(self) -> float | None:
        """From the end of the lag to the question taken back."""
        cleared = [at_s for at_s, clear in self.of(Clear) if clear.why == "lag_gone"]
        return cleared[0] - self.trace.expected.gone_s if cleared else None

    @property
    def faults(self) -> list[str]:
        """What is not as expected."""
        expected, asked = self.trace.expected, self.of(Ask)
        faults = []
        if len(self.of(Notice)) != 1:
            faults.append(f"{len(self.of(Notice))} notices")
        if len(asked) != expected.prompts:
            faults.append(f"asked {len(asked)} times, not {expected.prompts}")
        if any(ask.felt.cause != expected.cause for _, ask in asked):
            faults.append(f"cause {[ask.felt.cause for _, ask in asked]}")
        after_s = self.asked_after_s
        if after_s is not None and not 0 <= after_s <= expected.within_s:
            faults.append(f"asked {after_s:.1f} s after the truth")
        gone_s = self.gone_after_s
        if expected.gone_within_s is None:
            if gone_s is not None:
                faults.append("taken back")
        elif gone_s is None or not 0 <= gone_s <= expected.gone_within_s:
            faults.append(f"taken back after {gone_s}")
        return faults


class Player:
    """Virtual time over one trace."""

    def __init__(self, trace: Trace, seed: int, settings: LagSettings | None = None) -> None:
        self._trace = trace
        self._rng = random.Random(seed)
        self._monitor = LagMonitor(settings or LagSettings(), trace.region, 0.0)
        self._course = Course(trace)
        self._now_ms = 0.0
        self._count = itertools.count()
        self._heap: list[tuple[float, int, Callable[[], None]]] = []
        self._arrived_ms = {"up": 0.0, "down": 0.0, "pong": 0.0}
        self._way_up_free_ms = 0.0
        self._held: list[tuple[int, float]] = []
        self._seq = 0

    def play(self) -> Course:
        """Let it happen."""
        self._at(self._trace.frame_ms, self._capture)
        self._at(1_000.0, self._learner_speaks)
        for at_ms in range(0, int(self._trace.seconds * 1000), 500):
            self._at(float(at_ms), self._look)
        end_ms = self._trace.seconds * 1000
        while self._heap and self._heap[0][0] <= end_ms:
            self._now_ms, _, work = heapq.heappop(self._heap)
            work()
            self._after_each()
        return self._course

    def _at(self, moment_ms: float, work: Callable[[], None]) -> None:
        heapq.heappush(self._heap, (moment_ms, next(self._count), work))

    def _after_each(self) -> None:
        ping = self._monitor.ping(self._now_ms)
        if ping is not None:
            self._at(self._arrival("down", self._now_ms), lambda: self._answer_ping(ping))
        for decision in self._monitor.decide(self._now_ms):
            self._note(decision)

    def _note(self, decision: Decision) -> None:
        self._course.decisions.append((self._now_ms, decision))
        if isinstance(decision, Ask) and self._trace.answers:
            prompt = decision.prompt
            self._at(self._now_ms + _ANSWERS_AFTER_MS, lambda: self._continue(prompt))

    def _continue(self, prompt: int) -> None:
        for decision in self._monitor.answer(prompt, "continue", self._now_ms):
            self._note(decision)

    def _look(self) -> None:
        self._course.lag.append((self._now_ms / 1000, self._monitor.felt(self._now_ms).lag_ms))

    # The line

    def _blocked_to_ms(self, at_ms: float) -> float:
        ends = [to_s * 1000 for from_s, to_s in self._trace.stalls if from_s <= at_ms / 1000 < to_s]
        return max(ends, default=at_ms)

    def _is_away(self) -> bool:
        return any(from_s <= self._now_ms / 1000 < to_s for from_s, to_s in self._trace.away)

    def _arrival(self, way: str, at_ms: float) -> float:
        """When something written now arrives: in order, and not while the line stands still."""
        curve = self._trace.down if way == "down" else self._trace.up
        arrives_ms = self._blocked_to_ms(at_ms + curve(at_ms / 1000, self._rng))
        self._arrived_ms[way] = max(self._arrived_ms[way], arrives_ms)
        return self._arrived_ms[way]

    def _answer_ping(self, ping: int) -> None:
        if self._is_away() or self._rng.random() < self._trace.lost_pongs:
            return
        # The phone answers before it sends the speech that waits.
        self._at(self._arrival("pong", self._now_ms), lambda: self._pong(ping))

    def _pong(self, ping: int) -> None:
        self._monitor.heard(self._now_ms)
        self._monitor.round_trip.pong(ping, self._now_ms)

    # The learner's side

    def _capture(self) -> None:
        seq, self._seq = self._seq, self._seq + 1
        if self._is_away():
            self._monitor.left()
            self._held.append((seq, self._now_ms))
        else:
            if self._held:
                self._monitor.connected(self._now_ms)
            held, self._held = self._held, []
            for number, captured_to_ms in [*held, (seq, self._now_ms)]:
                self._send(number, captured_to_ms, again=number != seq)
        self._at(self._now_ms + self._trace.frame_ms, self._capture)

    def _send(self, seq: int, captured_to_ms: float, *, again: bool) -> None:
        pace = 4.0 if again else self._trace.capacity(self._now_ms / 1000)
        self._way_up_free_ms = max(self._way_up_free_ms, self._now_ms) + self._trace.frame_ms / pace
        self._at(self._arrival("up", self._way_up_free_ms), lambda: self._frame(seq, captured_to_ms))

    def _frame(self, seq: int, captured_to_ms: float) -> None:
        self._monitor.heard(self._now_ms)
        self._monitor.uplink.frame(seq, captured_to_ms, self._now_ms)

    def _learner_speaks(self) -> None:
        if self._is_away():
            self._at(self._now_ms + 1_000, self._learner_speaks)
            return
        self._at(self._now_ms + _SPEAKS_MS, self._learner_ends)

    def _learner_ends(self) -> None:
        heard_ms = self._arrival("up", max(self._way_up_free_ms, self._now_ms)) + _TURN_ENDS_AFTER_MS
        self._at(heard_ms, self._learner_finished)

    def _learner_finished(self) -> None:
        self._monitor.response.learner_finished(_TURN_ENDS_AFTER_MS, self._now_ms)
        model_ms = self._trace.model(self._now_ms / 1000, self._rng)
        self._at(self._now_ms + model_ms, self._maya_sounds)

    def _maya_sounds(self) -> None:
        self._monitor.response.maya_sounds(self._now_ms)
        self._at(self._arrival("down", self._now_ms) + _MAYA_SPEAKS_MS + _THINKS_MS, self._learner_speaks)


def play(trace: Trace, seed: int = 1, settings: LagSettings | None = None) -> Course:
    """Play a trace; a seed decides everything."""
    return Player(trace, seed, settings).play()
