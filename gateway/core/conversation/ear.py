"""A coarse ear of the gateway's own: was there somebody to be heard, and has it been quiet since?

It decides nothing about turns, which are Nova Sonic's. It only tells when the service should long have said something
about what it heard: a stream that is open and dead looks in every other way like one whose learner is silent.
"""

from binascii import a2b_base64
from dataclasses import dataclass
from operator import mul
from typing import Final

_EVERY: Final = 23
"""One sample in so many is looked at; prime, so that no round frequency hides between them."""

_LEAST_LOUD: Final = 300.0**2
"""Mean square of what is loud for certain in a quiet room: 40 dB below full scale."""

_ABOVE_FLOOR: Final = 16.0
"""Speech stands this far (12 dB) above the noise of the room."""

_FLOOR_RISES_PER_MS: Final = 5e-5
"""The floor follows the quietest sound at once, and a louder room by 2 dB in ten seconds."""


def mean_square(pcm: str) -> float:
    """Return the mean square of base64 16-bit little-endian PCM, from a part of its samples."""
    samples = memoryview(a2b_base64(pcm)).cast("h")[::_EVERY].tolist()
    return sum(map(mul, samples, samples)) / len(samples) if samples else 0.0


@dataclass(slots=True)
class Ear:
    """Hears frame after frame.

    Attributes:
        loud_ms: how much was loud since `forget`.
        still_ms: how long nothing has been loud.
    """

    loud_ms: float = 0.0
    still_ms: float = 0.0
    _floor: float = _LEAST_LOUD / _ABOVE_FLOOR

    def hear(self, pcm: str, sound_ms: float) -> None:
        """Take the next frame."""
        level = mean_square(pcm)
        self._floor = min(level, self._floor * (1 + sound_ms * _FLOOR_RISES_PER_MS)) or 1.0
        if level >= max(_LEAST_LOUD, self._floor * _ABOVE_FLOOR):
            self.loud_ms += sound_ms
            self.still_ms = 0.0
        else:
            self.still_ms += sound_ms

    def forget(self) -> None:
        """What was heard so far has been told of."""
        self.loud_ms = self.still_ms = 0.0
