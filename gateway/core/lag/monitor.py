"""The lag that a learner feels, why, and whether to ask: samples and `now_ms` in, decisions out."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from gateway.core.lag.gauges import ResponseGauge, RoundTripGauge, UplinkGauge
from gateway.core.lag.regions import expected_round_trip_ms
from gateway.core.lag.settings import LagSettings
from gateway.core.lag.states import LAG_TABLE, PROMPTING, LagEvent, LagState
from gateway.core.messages import LagAnswer, LagCause, LagClearedWhy

_UPLINK_SHARE: Final = 0.7
"""Speech that queues on its way up delays the answers to pings, too: so much of the growth makes the uplink its cause."""


@dataclass(frozen=True, slots=True)
class Felt:
    """The lag that a learner feels: from the end of their turn to Maya's first sound, beyond the pause that ends a turn.

    Attributes:
        lag_ms: all of it: network and model.
        network_ms: the way there and back, with what waits on it.
        uplink_ms: of that, growth on the way up.
        downlink_ms: of that, what waits in the gateway to be sent.
        model_ms: Maya's response time.
        cause: what makes up most of what is over the usual.
    """

    lag_ms: float
    network_ms: float
    uplink_ms: float
    downlink_ms: float
    model_ms: float
    cause: LagCause


@dataclass(frozen=True, slots=True)
class Notice:
    """Tell the learner, once, what lag to expect."""

    expected_ms: float


@dataclass(frozen=True, slots=True)
class Ask:
    """Ask the learner: continue or skip?

    Attributes:
        prompt: number of the question.
        felt: why it is asked.
        expires_s: no answer after this long counts as continue.
    """

    prompt: int
    felt: Felt
    expires_s: float


@dataclass(frozen=True, slots=True)
class Clear:
    """Take the question off the screen."""

    prompt: int
    why: LagClearedWhy


type Decision = Notice | Ask | Clear

_CLEARED: Final[Mapping[LagEvent, LagClearedWhy]] = {
    LagEvent.CONTINUED: "answered",
    LagEvent.SKIPPED: "answered",
    LagEvent.EXPIRED: "expired",
    LagEvent.GONE: "lag_gone",
}


class LagMonitor:
    """Watches the lag of one conversation.

    While the phone is away nothing is judged and no time passes for the question: it is lost in the same drop and comes
    again after it.

    Args:
        settings: its numbers.
        region: the app's own guess where the learner is.
        now_ms: the clock at the beginning.
        noticed: the notice has been given, by an earlier relay.
    """

    def __init__(self, settings: LagSettings, region: str | None, now_ms: float, *, noticed: bool = False) -> None:
        self.settings = settings
        self.round_trip = RoundTripGauge(settings)
        self.uplink = UplinkGauge(settings)
        self.response = ResponseGauge(settings)
        self.round_trip.due_ms = now_ms
        self.state = LagState.CALM
        self.prompt = 0
        self._region = region
        self._noticed = noticed
        self._notice_at_ms = now_ms + settings.notice_within_ms
        self._since_ms = now_ms
        self._over_at_ms = now_ms
        self._evaluate_at_ms = now_ms
        self._expires_at_ms = 0.0
        self._rested_at_ms = 0.0
        self._peace_to_ms = 0.0
        self._asked_at_lag_ms = 0.0
        self._heard_at_ms = now_ms
        self._away = False
        self._downlink_ms = 0.0
        self._conditions: dict[LagEvent, Callable[[float, float], bool]] = {
            LagEvent.OVER: lambda lag_ms, _: lag_ms >= settings.ask_over_ms,
            LagEvent.UNDER: lambda lag_ms, _: lag_ms <= settings.clear_under_ms,
            LagEvent.DIPPED: lambda _, now_ms: now_ms - self._over_at_ms > settings.dip_ms,
            LagEvent.HELD: self._held,
            LagEvent.GONE: lambda _, now_ms: now_ms - self._since_ms >= settings.clear_after_ms,
            LagEvent.EXPIRED: lambda _, now_ms: now_ms >= self._expires_at_ms + settings.answer_grace_ms,
            LagEvent.RESTED: lambda _, now_ms: now_ms >= self._rested_at_ms,
            LagEvent.WORSE: lambda lag_ms, now_ms: lag_ms >= self._worse_ms and now_ms >= self._peace_to_ms,
            LagEvent.BETTER: lambda lag_ms, _: lag_ms < self._worse_ms - settings.worse_by_ms / 2,
        }

    @property
    def open_prompt(self) -> int | None:
        """The question that is on the screen, None for none."""
        return self.prompt if self.state in PROMPTING else None

    def expires_in_s(self, now_ms: float) -> float:
        """Return how long the open question still waits for its answer."""
        return max(0.0, self._expires_at_ms - now_ms) / 1000

    # The phone

    def heard(self, now_ms: float) -> None:
        """The phone has said something, whatever it was."""
        if self._is_away(now_ms):
            self._come_back(now_ms)
        self._heard_at_ms = now_ms

    def left(self) -> None:
        """The phone's connection is gone."""
        self._away = True

    def connected(self, now_ms: float) -> None:
        """The phone is back by another connection."""
        self._come_back(now_ms)
        self.round_trip.connected(now_ms)

    def _is_away(self, now_ms: float) -> bool:
        return self._away or now_ms - self._heard_at_ms > self.settings.away_after_ms

    def _come_back(self, now_ms: float) -> None:
        """Take the time that the phone was away out of every wait."""
        passed_ms = now_ms - self._heard_at_ms
        self._heard_at_ms = now_ms
        self._away = False
        self._since_ms += passed_ms
        self._expires_at_ms += passed_ms
        self.response.stand_still(passed_ms)
        self.round_trip.forgive()
        self.uplink.back(now_ms)

    # What is measured

    def ping(self, now_ms: float) -> int | None:
        """Return the id of the ping that is due, None while none is."""
        if now_ms < self.round_trip.due_ms or self._is_away(now_ms):
            return None
        return self.round_trip.ping(now_ms)

    def next_ping_ms(self, now_ms: float) -> float | None:
        """When a ping is due though nothing happens, None while the phone is away."""
        return None if self._is_away(now_ms) else self.round_trip.due_ms

    def downlink_waits(self, waiting_ms: float) -> None:
        """Sound that the learner could be hearing has waited for so long to be sent."""
        self._downlink_ms = waiting_ms

    def felt(self, now_ms: float) -> Felt:
        """Join what is measured."""
        settings = self.settings
        expected_ms = expected_round_trip_ms(self._region, settings.unknown_round_trip_ms)
        round_trip_ms = self.round_trip.current_ms(now_ms)
        least_ms = self.round_trip.least_ms
        if round_trip_ms is None or least_ms is None:
            round_trip_ms = least_ms = expected_ms
        uplink_ms = self.uplink.growth_ms(now_ms)
        # Both see a queue on the way up, and both see a post that is slow: each wait is counted once.
        network_ms = max(round_trip_ms, least_ms + max(uplink_ms, self._downlink_ms))
        model_ms = self.response.current_ms(now_ms)
        network_excess_ms = max(1.0, network_ms - settings.near_round_trip_ms)
        if model_ms - settings.usual_response_ms > network_excess_ms:
            cause: LagCause = "model"
        else:
            cause = "uplink" if uplink_ms >= _UPLINK_SHARE * network_excess_ms else "network"
        return Felt(network_ms + model_ms, network_ms, uplink_ms, self._downlink_ms, model_ms, cause)

    # Decisions

    def decide(self, now_ms: float) -> list[Decision]:
        """Judge the lag, if it is time to; return what to tell the learner, in order."""
        if now_ms < self._evaluate_at_ms or self._is_away(now_ms):
            return []
        self._evaluate_at_ms = now_ms + self.settings.evaluate_every_ms
        decisions: list[Decision] = []
        if self.round_trip.count >= self.settings.quick_pings or now_ms >= self._notice_at_ms:
            decisions += self._notice()
        felt = self.felt(now_ms)
        if felt.lag_ms >= self.settings.ask_over_ms:
            self._over_at_ms = now_ms
        for event in LAG_TABLE[self.state]:
            condition = self._conditions.get(event)
            if condition is not None and condition(felt.lag_ms, now_ms):
                decisions += self._go(event, felt, now_ms)
                break
        return decisions

    def answer(self, prompt: int, choice: LagAnswer, now_ms: float) -> list[Decision]:
        """Take the learner's answer; one to a question that is not open, or has been answered, changes nothing."""
        if prompt != self.open_prompt:
            return []
        event = LagEvent.SKIPPED if choice == "skip" else LagEvent.CONTINUED
        return self._go(event, self.felt(now_ms), now_ms)

    def _notice(self) -> list[Notice]:
        if self._noticed:
            return []
        self._noticed = True
        round_trip_ms = self.round_trip.usual_ms()
        if round_trip_ms is None:
            round_trip_ms = expected_round_trip_ms(self._region, self.settings.unknown_round_trip_ms)
        return [Notice(round_trip_ms + self.settings.usual_response_ms)]

    def _go(self, event: LagEvent, felt: Felt, now_ms: float) -> list[Decision]:
        before, self.state = self.state, LAG_TABLE[self.state][event]
        self._since_ms = now_ms
        if event in _CLEARED:
            rest_s = self.settings.rest_after_gone_s if event is LagEvent.GONE else self.settings.cool_down_s
            self._rested_at_ms = now_ms + rest_s * 1000
            self._peace_to_ms = now_ms + self.settings.peace_s * 1000
            return [Clear(self.prompt, _CLEARED[event])]
        if self.state is LagState.ASKING and before not in PROMPTING:
            self.prompt += 1
            self._asked_at_lag_ms = felt.lag_ms
            self._expires_at_ms = now_ms + self.settings.answer_within_s * 1000
            # Nobody is asked about a lag of which they have not been told.
            return [*self._notice(), Ask(self.prompt, felt, self.settings.answer_within_s)]
        return []

    def _held(self, lag_ms: float, now_ms: float) -> bool:
        over_ms = self._worse_ms if self.state is LagState.WORSENING else self.settings.ask_over_ms
        return lag_ms >= over_ms and now_ms - self._since_ms >= self.settings.sustain_ms

    @property
    def _worse_ms(self) -> float:
        return self._asked_at_lag_ms + self.settings.worse_by_ms
