"""Recorded speech: read from a WAV file, brought to the microphone's rate, cut into utterances at its silences."""

import sys
import wave
from array import array
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Final

from client_sim.playback import BYTES_PER_SAMPLE

LONGEST_FILE_S: Final = 1800
"""Longer recordings are refused: they would only fill memory."""

_WINDOW_MS: Final = 20
_PAUSE_MS: Final = 350
_MARGIN_MS: Final = 60
_SHORTEST_MS: Final = 300
_LONGEST_MS: Final = 20_000
_QUIETEST_LEVEL: Final = 200
_MAX_RATE: Final = 192_000


class SpeechFileError(ValueError):
    """A file that cannot serve as recorded speech; the text says why."""


@dataclass(frozen=True, slots=True)
class Utterance:
    """One stretch of speech without a long pause.

    Attributes:
        pcm: 16-bit little-endian mono samples.
        voiced_bytes: where the last voiced sample ends; what follows is the margin.
    """

    pcm: bytes
    voiced_bytes: int

    @classmethod
    def of(cls, pcm: bytes) -> "Utterance":
        """Speech that is voiced to its end."""
        return cls(pcm, len(pcm))


def read_wav(path: Path, rate: int) -> bytes:
    """Read a recording as 16-bit mono at ``rate`` samples a second.

    Raises:
        SpeechFileError: it cannot be read, is not 16-bit PCM, is empty or is too long.
    """
    try:
        with wave.open(str(path), "rb") as recording:
            width, channels, own_rate = recording.getsampwidth(), recording.getnchannels(), recording.getframerate()
            frames = recording.getnframes()
            if width != BYTES_PER_SAMPLE:
                raise SpeechFileError(f"{path}: {8 * width}-bit samples; 16-bit PCM is needed")
            if not 1 <= own_rate <= _MAX_RATE:
                raise SpeechFileError(f"{path}: {own_rate} samples a second is no sample rate of speech")
            if frames > LONGEST_FILE_S * own_rate:
                raise SpeechFileError(f"{path}: longer than {LONGEST_FILE_S} s")
            samples = _samples(recording.readframes(frames))
    except (OSError, EOFError, wave.Error) as error:
        raise SpeechFileError(f"{path}: cannot be read as a WAV file: {error}") from None
    if not samples:
        raise SpeechFileError(f"{path}: no sound in it")
    return _bytes(resample(_mono(samples, channels), own_rate, rate))


def resample(samples: array[int], from_rate: int, to_rate: int) -> array[int]:
    """Change the sample rate: a moving average against aliasing when going down, then straight lines between samples.

    Good enough for a simulated learner, and made without any package for numbers.
    """
    if from_rate == to_rate or not samples:
        return samples
    if from_rate > to_rate:
        samples = _smooth(samples, round(from_rate / to_rate))
    step = from_rate / to_rate
    last = len(samples) - 1
    resampled = array("h", bytes(BYTES_PER_SAMPLE * int(len(samples) / step)))
    for index in range(len(resampled)):
        place = index * step
        before = int(place)
        after = min(before + 1, last)
        resampled[index] = round(samples[before] + (samples[after] - samples[before]) * (place - before))
    return resampled


def utterances(pcm: bytes, rate: int) -> list[Utterance]:
    """Cut speech at its silences; a little of each silence stays, so that no sound is clipped.

    Raises:
        SpeechFileError: nothing in it is loud enough to be speech.
    """
    samples = _samples(pcm)
    window = rate * _WINDOW_MS // 1000
    levels = [_level(samples[start : start + window]) for start in range(0, len(samples), window)]
    threshold = max(_QUIETEST_LEVEL, 3 * sorted(levels)[len(levels) // 10]) if levels else _QUIETEST_LEVEL
    threshold = min(threshold, max(levels, default=0) // 2)
    spans = _spans([level > threshold for level in levels])
    found = [_utterance(samples, window, span) for span in spans if _long_enough(span)]
    if not found or max(levels) < _QUIETEST_LEVEL:
        raise SpeechFileError("no speech found: nothing in it is loud enough")
    return found


def _spans(voiced: list[bool]) -> list[tuple[int, int]]:
    """Runs of voiced windows, joined over pauses shorter than `_PAUSE_MS`, cut where they grow too long."""
    spans: list[tuple[int, int]] = []
    for index in (index for index, is_voiced in enumerate(voiced) if is_voiced):
        short_pause = spans and (index - spans[-1][1]) * _WINDOW_MS < _PAUSE_MS
        if short_pause and (index - spans[-1][0]) * _WINDOW_MS < _LONGEST_MS:
            spans[-1] = (spans[-1][0], index + 1)
        else:
            spans.append((index, index + 1))
    return spans


def _long_enough(span: tuple[int, int]) -> bool:
    return (span[1] - span[0]) * _WINDOW_MS >= _SHORTEST_MS


def _utterance(samples: array[int], window: int, span: tuple[int, int]) -> Utterance:
    margin = window * (_MARGIN_MS // _WINDOW_MS)
    start = max(0, span[0] * window - margin)
    voiced_end = min(len(samples), span[1] * window)
    end = min(len(samples), voiced_end + margin)
    return Utterance(_bytes(samples[start:end]), (voiced_end - start) * BYTES_PER_SAMPLE)


def _level(samples: array[int]) -> int:
    """Mean size of samples."""
    return sum(map(abs, samples)) // len(samples)


def _smooth(samples: array[int], width: int) -> array[int]:
    if width < 2:
        return samples
    sums = list(accumulate(samples, initial=0))
    return array("h", ((after - before) // width for before, after in zip(sums, sums[width:], strict=False)))


def _mono(samples: array[int], channels: int) -> array[int]:
    if channels == 1:
        return samples
    of_each = [samples[channel::channels] for channel in range(channels)]
    return array("h", (sum(frame) // channels for frame in zip(*of_each, strict=False)))


def _samples(pcm: bytes) -> array[int]:
    samples = array("h", pcm[: len(pcm) // BYTES_PER_SAMPLE * BYTES_PER_SAMPLE])
    if sys.byteorder == "big":
        samples.byteswap()
    return samples


def _bytes(samples: array[int]) -> bytes:
    if sys.byteorder == "big":
        samples = samples[:]
        samples.byteswap()
    return samples.tobytes()
