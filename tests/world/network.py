"""The line between phone and gateway: it delays, loses, doubles and reorders messages, as a seed decides."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from tests.world.chance import Chance
from tests.world.clock import Clock


@dataclass(frozen=True)
class Line:
    """What the network does to messages, each way."""

    delay_ms: float = 40.0
    jitter_ms: float = 10.0
    lost: float = 0.0
    doubled: float = 0.0
    late: float = 0.0
    late_ms: float = 400.0


PERFECT = Line()
STEADY = Line(jitter_ms=0.0)
"""Keeps the order. Only here do `error` and `bye`, which have no number, surely come as they were said."""

WILD = Line(jitter_ms=120.0, lost=0.04, doubled=0.06, late=0.08)

_LOST_AT_MOST = 2
"""How often the same message is lost by chance: both sides send again in time for a third."""


class Network:
    """Carries messages by numbered connections.

    What becomes of the hundredth frame of speech is drawn from the seed alone, whatever else was sent before it: each way
    and type of message has a generator of its own, from which every message draws the same number of times.

    Attributes:
        line: what it does to messages from now on.
        cut_off: nothing gets through.
        swallows: says of a text whether it is lost.
    """

    def __init__(self, line: Line, clock: Clock, chance: Chance) -> None:
        self.line = line
        self.cut_off = False
        self.swallows: Callable[[str], bool] = lambda _text: False
        self._clock = clock
        self._chance = chance
        self._torn: set[int] = set()
        self._lost: Counter[tuple[str, str]] = Counter()

    def tear(self, connection: int) -> None:
        """Lose what is under way by a connection."""
        self._torn.add(connection)

    def carry(self, way: str, connection: int, text: str, arrive: Callable[[], None]) -> None:
        """Have a text arrive, once, twice or never; `way`: up or down."""
        delays_ms = self._delays_ms(way, text)
        if self.cut_off or not delays_ms or self.swallows(text):
            return

        def deliver() -> None:
            if connection not in self._torn:
                arrive()

        for delay_ms in delays_ms:
            self._clock.after(delay_ms, deliver)

    def _delays_ms(self, way: str, text: str) -> list[float]:
        """How long each copy that arrives is under way."""
        kind = text.partition('"type":"')[2].partition('"')[0]
        line, rng = self.line, self._chance.of(f"line {way} {kind}")
        lost, doubled = rng.random() < line.lost, rng.random() < line.doubled
        if lost:
            self._lost[way, text] += 1
            lost = self._lost[way, text] <= _LOST_AT_MOST
        delays_ms = []
        for _ in range(2):
            jitter_ms, late_ms = rng.uniform(0, line.jitter_ms), rng.uniform(0, line.late_ms)
            delays_ms.append(line.delay_ms + jitter_ms + (late_ms if rng.random() < line.late else 0.0))
        return delays_ms[: 0 if lost else 2 if doubled else 1]
