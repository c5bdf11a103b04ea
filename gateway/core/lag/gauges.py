"""What is measured, one gauge each: round trip, delay of speech on its way up, Maya's response time.

A gauge takes samples and tells what it makes of them. None has a clock: `now_ms` comes with every call.
"""

import statistics
from collections import deque
from typing import Final

from gateway.core.lag.settings import LagSettings

_PINGS_AWAITED: Final = 16
_ROUND_TRIPS_KEPT: Final = 8
_FRAMES_KEPT: Final = 128

_REPLAY_MOST_MS: Final = 30_000.0
"""An app whose frames seem to be old for longer than this has another idea of the time than before: the minimum is found anew."""


class RoundTripGauge:
    """Ping and pong through the whole path: posted to the phone, answered, through API Gateway, Lambda and Redis.

    An answer that is still awaited says that the round trip is at least as long as the wait. A ping that got lost says
    nothing: once a later one is answered, earlier ones are forgotten. An app that never answers is not measured.
    """

    def __init__(self, settings: LagSettings) -> None:
        self._settings = settings
        self._awaited: dict[int, float] = {}
        self._samples: deque[float] = deque(maxlen=max(_ROUND_TRIPS_KEPT, settings.median_of_round_trips))
        self._next_id = 0
        self._quick_left = settings.quick_pings
        self._answers = False
        self._before_ms: float | None = None
        self.due_ms = 0.0
        self.least_ms: float | None = None

    @property
    def count(self) -> int:
        """How many answers have come lately."""
        return len(self._samples)

    def connected(self, now_ms: float) -> None:
        """Begin anew on a connection: what is awaited on the last one will not be answered.

        Until its first answer the round trip is taken to be what it was.
        """
        self._before_ms = self.usual_ms()
        self._awaited.clear()
        self._samples.clear()
        self._quick_left = self._settings.quick_pings
        self._answers = False
        self.due_ms = now_ms

    def forgive(self) -> None:
        """Forget what is awaited: the phone was away."""
        self._awaited.clear()

    def ping(self, now_ms: float) -> int:
        """Return the id of a ping that is sent now."""
        settings = self._settings
        self._quick_left = max(0, self._quick_left - 1)
        self.due_ms = now_ms + (settings.quick_ping_every_ms if self._quick_left else settings.ping_every_ms)
        ping_id, self._next_id = self._next_id, self._next_id + 1
        self._awaited[ping_id] = now_ms
        if len(self._awaited) > _PINGS_AWAITED:
            del self._awaited[next(iter(self._awaited))]
        return ping_id

    def pong(self, ping_id: int, now_ms: float) -> float | None:
        """Take an answer; return the round trip, None of a ping that is not awaited."""
        sent_ms = self._awaited.get(ping_id)
        if sent_ms is None:
            return None
        self._awaited = {later: at_ms for later, at_ms in self._awaited.items() if later > ping_id}
        self._answers = True
        round_trip_ms = now_ms - sent_ms
        self._samples.append(round_trip_ms)
        if abs(round_trip_ms - (self.usual_ms() or 0.0)) >= self._settings.stands_out_ms:
            self.due_ms = min(self.due_ms, now_ms + self._settings.quick_ping_every_ms)
        least_ms = round_trip_ms if self.count == 1 or self.least_ms is None else self.least_ms
        self.least_ms = min(least_ms, round_trip_ms)
        return round_trip_ms

    def usual_ms(self) -> float | None:
        """Return the median of the last round trips, None before the first."""
        samples = list(self._samples)[-self._settings.median_of_round_trips :]
        return statistics.median(samples) if samples else self._before_ms

    def current_ms(self, now_ms: float) -> float | None:
        """Return the round trip as it is now, None before the first."""
        usual_ms = self.usual_ms()
        if usual_ms is None or not self._awaited or not self._answers:
            return usual_ms
        return max(usual_ms, now_ms - next(iter(self._awaited.values())))

    def spread_ms(self) -> float:
        """Return how far the last round trips lie apart, the farthest left out."""
        samples = sorted(self._samples)
        return samples[-2] - samples[0] if len(samples) > 2 else 0.0


class UplinkGauge:
    """How much longer than at best speech takes on its way up: arrival minus capture time, above its own minimum.

    What is sent again says nothing: neither frames behind one that has come, nor, after a drop, anything until the phone has
    caught up with what it captured meanwhile.
    """

    def __init__(self, settings: LagSettings) -> None:
        self._settings = settings
        self._recent: deque[tuple[float, float]] = deque(maxlen=_FRAMES_KEPT)
        self._highest_seq = -1
        self._least_ms: float | None = None
        self._least_at_ms = 0.0
        self._back_at_ms: float | None = None

    def back(self, now_ms: float) -> None:
        """The phone is back: what it captured before is sent again, and what it captures now waits behind that."""
        self._back_at_ms = now_ms
        self._recent.clear()

    def frame(self, seq: int, captured_to_ms: float, now_ms: float) -> None:
        """Take the arrival of a frame.

        Args:
            seq: its number.
            captured_to_ms: capture time of its last sample, by the phone's clock.
            now_ms: the time.
        """
        if seq <= self._highest_seq:
            return
        self._highest_seq = seq
        offset_ms = now_ms - captured_to_ms
        least_ms = self._drifted(now_ms)
        if self._back_at_ms is not None and least_ms is not None:
            is_late = offset_ms - least_ms > self._settings.uplink_caught_up_ms
            if is_late and now_ms - self._back_at_ms <= _REPLAY_MOST_MS:
                return
            if is_late:
                least_ms = None
            self._back_at_ms = None
        if least_ms is None or offset_ms < least_ms:
            least_ms = offset_ms
        self._least_ms, self._least_at_ms = least_ms, now_ms
        self._recent.append((now_ms, offset_ms - least_ms))

    def growth_ms(self, now_ms: float) -> float:
        """Return the growth over the minimum, 0 where no frame has come lately."""
        oldest_ms = now_ms - self._settings.uplink_window_ms
        while self._recent and self._recent[0][0] < oldest_ms:
            self._recent.popleft()
        return statistics.median(growth for _, growth in self._recent) if self._recent else 0.0

    def _drifted(self, now_ms: float) -> float | None:
        if self._least_ms is None:
            return None
        passed_s = (now_ms - self._least_at_ms) / 1000
        return self._least_ms + passed_s * self._settings.uplink_drift_ms_per_s


class ResponseGauge:
    """From the end of the learner's speech to Maya's first sound.

    One wait is one sample, however many streams it takes: a stream that is lost while Maya is to answer is followed by
    another, which hears the same words again, and the wait goes on. A wait that has lasted longer than usual counts as
    a sample before it is over. Until enough is known, the usual response time stands in.
    """

    def __init__(self, settings: LagSettings) -> None:
        self._settings = settings
        count = settings.median_of_responses
        self._samples: deque[float] = deque([settings.usual_response_ms] * count, maxlen=count)
        self._since_ms: float | None = None

    @property
    def waiting(self) -> bool:
        """Whether Maya is to answer."""
        return self._since_ms is not None

    def learner_finished(self, pause_ms: float, now_ms: float) -> None:
        """The learner's turn is over; their last word was `pause_ms` ago, of which patience is no lag."""
        if self._since_ms is None:
            self._since_ms = now_ms - max(0.0, pause_ms - self._settings.patience_ms)

    def void(self) -> None:
        """Nobody waits for Maya any more, without her having answered."""
        self._since_ms = None

    def maya_sounds(self, now_ms: float) -> float | None:
        """Maya's first sound has come; return how long it took, None where nobody waited for it."""
        if self._since_ms is None:
            return None
        response_ms = max(0.0, now_ms - self._since_ms)
        self._since_ms = None
        self._samples.append(response_ms)
        return response_ms

    def stand_still(self, passed_ms: float) -> None:
        """The phone was away for so long: that is not lag."""
        if self._since_ms is not None:
            self._since_ms += passed_ms

    def current_ms(self, now_ms: float) -> float:
        """Return the response time as it is now."""
        usual_ms = statistics.median(self._samples)
        if self._since_ms is None or now_ms - self._since_ms <= usual_ms:
            return usual_ms
        return statistics.median([*list(self._samples)[1:], now_ms - self._since_ms])
