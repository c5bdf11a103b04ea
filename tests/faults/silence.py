"""What sounded at the phone and when; how long nothing did after a fault, beyond what is natural."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

LEARNER: Final = "learner"
MAYA: Final = "maya"
END: Final = "end"

type Kind = tuple[str, str, int]
"""Who sounded before, who after, and in which part."""


@dataclass(frozen=True, slots=True)
class Sound:
    """Somebody sounds; the end of the talk is a sound, too, for it ends a silence."""

    who: str
    from_ms: float
    to_ms: float
    part: int


@dataclass(frozen=True, slots=True)
class Silence:
    """Nobody sounds."""

    kind: Kind
    from_ms: float
    to_ms: float

    @property
    def length_ms(self) -> float:
        """How long it lasts."""
        return self.to_ms - self.from_ms


def silences(sounds: Sequence[Sound]) -> Iterator[Silence]:
    """The silences between sounds, in order; sounds may overlap."""
    last: Sound | None = None
    for sound in sorted(sounds, key=lambda each: each.from_ms):
        if last is not None and sound.from_ms > last.to_ms:
            yield Silence((last.who, sound.who, sound.part), last.to_ms, sound.from_ms)
        if last is None or sound.to_ms > last.to_ms:
            last = sound


def natural_ms(calm: Sequence[Sequence[Sound]]) -> dict[Kind, float]:
    """The longest silence of each kind in conversations without a fault."""
    longest: dict[Kind, float] = {}
    for sounds in calm:
        for silence in silences(sounds):
            longest[silence.kind] = max(longest.get(silence.kind, 0.0), silence.length_ms)
    return longest


def heard_nothing_ms(sounds: Sequence[Sound], strikes_ms: Sequence[float], natural: dict[Kind, float]) -> list[float]:
    """For each fault the longest silence that lasts at its moment or begins before the next one, beyond what is natural."""
    longest = [0.0] * len(strikes_ms)
    for silence in silences(sounds):
        beyond_ms = silence.length_ms - natural.get(silence.kind, 0.0)
        struck = [number for number, at_ms in enumerate(strikes_ms) if at_ms < silence.to_ms]
        if struck:
            longest[struck[-1]] = max(longest[struck[-1]], beyond_ms)
    return longest
