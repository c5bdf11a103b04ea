"""What every simulated learner says, the same for both ways: an open loop on the audio clock.

The plain voice spells words as tones, which the stand-in's ears read back. The learner answers twice, and then asks for the
question again and again, so that the examiner says it again and again and one part of the test lasts as long as
the measurement. Nobody speaks over the other: the examiner has done by the time the next request begins.
"""

from dataclasses import dataclass
from typing import Final

from infra.local.nova.voices import speak_plain

RATE: Final = 16_000
OUT_RATE: Final = 24_000
BYTES_PER_SAMPLE: Final = 2
TURN_MS: Final = 4_200
"""From the beginning of one utterance to the next."""

_OPENING_MS: Final = 7_000
_ANSWERS: Final = ("I am a student here.", "It is very quiet.")
_AGAIN: Final = "Could you say that again?"
_LONGEST_S: Final = 240


@dataclass(frozen=True, slots=True)
class Speech:
    """A learner's whole audio, 16-bit mono PCM at `RATE`."""

    pcm: bytes

    @classmethod
    def scripted(cls) -> "Speech":
        """Make it: silence while the examiner opens the test, then an utterance every `TURN_MS`."""
        pcm = bytearray(_size_of(_OPENING_MS))
        requests = (_LONGEST_S * 1000 - _OPENING_MS) // TURN_MS - len(_ANSWERS)
        for text in (*_ANSWERS, *(_AGAIN,) * requests):
            pcm += speak_plain(text, RATE).ljust(_size_of(TURN_MS), b"\0")
        return cls(bytes(pcm))

    def frame(self, place: int, size: int) -> bytes:
        """Return `size` bytes from a place on; silence after the end."""
        return self.pcm[place : place + size].ljust(size, b"\0")


def frame_bytes(frame_ms: int) -> int:
    """Size of a frame."""
    return _size_of(frame_ms)


def _size_of(duration_ms: int) -> int:
    return duration_ms * RATE // 1000 * BYTES_PER_SAMPLE
