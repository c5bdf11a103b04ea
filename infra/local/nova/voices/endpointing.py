"""When a turn begins and ends: a detector fed with loud and quiet stretches of audio.

The service documents pauses of 1.5, 1.75 and 2.0 s for HIGH, MEDIUM and LOW sensitivity, yet recordings show the end of
a finished sentence reported after 400 to 480 ms (SERVICE.md A5): it listens to the sense. So do both ears here: what
sounds complete ends the turn after `SHORT_PAUSE_MS`, anything else after the documented pause. LOW is for people who
think between sentences, so there only the documented pause counts.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final

from infra.local.nova.interfaces import Endpointing

SHORT_PAUSE_MS: Final = 450.0
"""Silence after which a complete sentence is a turn (recorded: 400 and 480 ms, SERVICE.md A5)."""

DOCUMENTED_PAUSE_MS: Final[Mapping[Endpointing, float]] = {"HIGH": 1500.0, "MEDIUM": 1750.0, "LOW": 2000.0}


@dataclass(frozen=True, slots=True)
class Pauses:
    """How long silence must last, in ms of audio.

    Attributes:
        short_ms: after this the ears ask whether the sentence sounds complete.
        end_ms: after this the turn is over in any case.
        sense_counts: whether a complete sentence ends the turn at all.
    """

    short_ms: float
    end_ms: float
    sense_counts: bool


def pauses(endpointing: Endpointing, tempo: float = 1.0) -> Pauses:
    """Return the pauses of one sensitivity.

    Args:
        endpointing: the sensitivity in sessionStart.
        tempo: 2.0 halves every pause; 1.0 is the service's.

    Raises:
        ValueError: tempo is not positive, or the sensitivity is unknown.
    """
    if tempo <= 0:
        raise ValueError(f"tempo is {tempo}; it must be greater than 0")
    if endpointing not in DOCUMENTED_PAUSE_MS:
        raise ValueError(f"endpointing is {endpointing!r}; known are HIGH, MEDIUM and LOW")
    return Pauses(SHORT_PAUSE_MS / tempo, DOCUMENTED_PAUSE_MS[endpointing] / tempo, endpointing != "LOW")


class Change(Enum):
    """What one more stretch of audio changed."""

    NONE = auto()
    STARTED = auto()
    PAUSED = auto()
    """The short pause is over; reported once in each pause."""
    RESUMED = auto()
    """Speech goes on after a reported pause."""
    ENDED = auto()


class TurnDetector:
    """Turns loud and quiet stretches into the beginning and the end of speech.

    Args:
        block_ms: length of each stretch.
        onset_ms: speech must be loud for this long to count, so that a click is none.
        pauses: when silence ends a turn.
    """

    def __init__(self, *, block_ms: float, onset_ms: float, pauses: Pauses) -> None:
        self._block_ms = block_ms
        self._onset_ms = onset_ms
        self._pauses = pauses
        self._loud_since_ms: float | None = None
        self._paused = False
        self.speaking = False
        self.began_ms = 0.0
        """Where the current or last speech began."""
        self.ended_ms = 0.0
        """Where it was last loud."""

    @property
    def alert(self) -> bool:
        """Whether something loud has been heard that may become speech, or speech goes on."""
        return self.speaking or self._loud_since_ms is not None

    def step(self, at_ms: float, *, loud: bool) -> Change:
        """Take the stretch that begins at `at_ms`."""
        if self.speaking:
            return self._while_speaking(at_ms + self._block_ms, loud=loud)
        return self._while_quiet(at_ms, loud=loud)

    def finish(self) -> None:
        """End the speech now, whatever the pause."""
        self.speaking = False
        self._paused = False
        self._loud_since_ms = None

    def _while_quiet(self, at_ms: float, *, loud: bool) -> Change:
        if not loud:
            self._loud_since_ms = None
            return Change.NONE
        if self._loud_since_ms is None:
            self._loud_since_ms = at_ms
        now_ms = at_ms + self._block_ms
        if now_ms - self._loud_since_ms < self._onset_ms:
            return Change.NONE
        self.speaking = True
        self.began_ms = self._loud_since_ms
        self.ended_ms = now_ms
        return Change.STARTED

    def _while_speaking(self, now_ms: float, *, loud: bool) -> Change:
        if loud:
            self.ended_ms = now_ms
            resumed, self._paused = self._paused, False
            return Change.RESUMED if resumed else Change.NONE
        quiet_ms = now_ms - self.ended_ms
        if quiet_ms >= self._pauses.end_ms:
            self.finish()
            return Change.ENDED
        if quiet_ms >= self._pauses.short_ms and not self._paused:
            self._paused = True
            return Change.PAUSED
        return Change.NONE
