"""The plain voice's code: letters as tones, and tones as letters again.

Each UTF-8 byte sounds for 20 ms as two tones, one of sixteen low ones for its upper four bits and one of sixteen high
ones for its lower four, as on a telephone's keys. Words are parted by 40 ms of quiet, where the decoder finds its
place again, so audio may be cut, delayed or framed anyhow. All tones lie on a 100 Hz grid below 4 kHz: they survive
8000 Hz, and over the middle 10 ms of a symbol they are orthogonal, which forgives 5 ms of misplacement.

Nothing here is random and nothing is kept.
"""

import functools
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

RATES: Final = (8000, 16000, 24000)
"""Sample rates in Hz that Nova Sonic knows (SERVICE.md A2)."""

SYMBOL_MS: Final = 20
WORD_GAP_MS: Final = 40

_LOW_HZ: Final = np.arange(400, 2000, 100)
_HIGH_HZ: Final = np.arange(2000, 3600, 100)
_TONE_PEAK: Final = 0.3 * 32767
_HOLE_MS: Final = 10
"""Quiet shorter than this inside a word is the beat of its two tones."""
_FAINT: Final = 160
"""Peaks below this (-46 dB of full scale) are never part of a letter."""
_PURE: Final = 0.7
"""Share of a symbol's energy that its two tones must hold."""
_EACH_TONE: Final = 0.15
"""Share that the weaker of the two must hold; a whistle has one tone only."""
_LOST: Final = "\N{REPLACEMENT CHARACTER}".encode()
_SENTENCE_ENDS: Final = frozenset(b".?!")

type Samples = npt.NDArray[np.int16]
type Powers = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Symbols:
    """What a stretch of audio decodes to.

    Attributes:
        data: the bytes heard, words parted by spaces, U+FFFD where a symbol was spoilt.
        clean: symbols that were heard clearly.
        spoilt: symbols that were not.
        span_ms: from the first loud moment to the last.
    """

    data: bytes
    clean: int
    spoilt: int
    span_ms: int

    @property
    def coded(self) -> bool:
        """Whether this was the plain voice at all, and not a person, a noise or silence."""
        return self.clean > self.spoilt


def check_rate(rate: int) -> int:
    """Return `rate`.

    Raises:
        ValueError: it is none of `RATES`.
    """
    if rate not in RATES:
        raise ValueError(f"the sample rate is {rate} Hz; known are 8000, 16000 and 24000")
    return rate


def spoken_form(text: str) -> str:
    """Return what the decoder gives back for `text`: the same words, parted by single spaces."""
    return " ".join(text.encode("utf-8", errors="replace").decode().split())


def encode(text: str, rate: int) -> bytes:
    """Return `text` as tones, 16-bit little-endian mono PCM; no words give no sound.

    Raises:
        ValueError: the rate is unknown.
    """
    table = _symbol_table(check_rate(rate))
    gap = bytes(2 * rate * WORD_GAP_MS // 1000)
    return gap.join(table[np.frombuffer(word.encode(), np.uint8)].tobytes() for word in spoken_form(text).split())


def decode(pcm: bytes, rate: int) -> Symbols:
    """Return the letters in `pcm`, which may begin and end with silence.

    Raises:
        ValueError: the rate is unknown.
    """
    samples = _samples(pcm)
    runs = _loud_runs(samples, check_rate(rate))
    words: list[bytes] = []
    clean = spoilt = 0
    for start_ms, end_ms in runs:
        starts = range(start_ms, max(end_ms - SYMBOL_MS // 2, start_ms + 1), SYMBOL_MS)
        letters, certain = _read_symbols(samples, list(starts), rate)
        words.append(b"".join(bytes([b]) if ok else _LOST for b, ok in zip(letters, certain, strict=True)))
        clean += sum(certain)
        spoilt += len(certain) - sum(certain)
    span_ms = runs[-1][1] - runs[0][0] if runs else 0
    return Symbols(b" ".join(words), clean, spoilt, span_ms)


def ends_sentence(pcm: bytes, rate: int) -> bool:
    """Tell whether the last symbol in `pcm` is a full stop, a question mark or an exclamation mark.

    Args:
        pcm: the end of an utterance with the silence after it; only its last loud run is looked at.
        rate: its sample rate in Hz.
    """
    samples = _samples(pcm)
    runs = _loud_runs(samples, rate)
    if not runs:
        return False
    letters, certain = _read_symbols(samples, [max(0, runs[-1][1] - SYMBOL_MS)], rate)
    return certain[0] and letters[0] in _SENTENCE_ENDS


@functools.cache
def _symbol_table(rate: int) -> Samples:
    """256 rows, the sound of each byte; `rate` is one of three, so this stays small."""
    time_s = np.arange(rate * SYMBOL_MS // 1000) / rate
    low = _TONE_PEAK * np.sin(2 * np.pi * np.outer(_LOW_HZ, time_s))
    high = _TONE_PEAK * np.sin(2 * np.pi * np.outer(_HIGH_HZ, time_s))
    both = low[:, None, :] + high[None, :, :]
    return both.reshape(256, -1).astype("<i2")


@functools.cache
def _analysis_table(rate: int) -> npt.NDArray[np.complex128]:
    """Columns that project the middle 10 ms of a symbol on each of the 32 tones."""
    time_s = np.arange(rate // 100) / rate
    return np.exp(-2j * np.pi * np.outer(time_s, np.concatenate((_LOW_HZ, _HIGH_HZ))))


def _samples(pcm: bytes) -> Samples:
    return np.frombuffer(pcm, "<i2", count=len(pcm) // 2)


def _loud_runs(samples: Samples, rate: int) -> list[tuple[int, int]]:
    """Return where something sounds, as (start, end) in ms, without the short holes inside words."""
    per_ms = rate // 1000
    count = len(samples) // per_ms
    if count == 0:
        return []
    whole = samples[: count * per_ms].reshape(count, per_ms).astype(np.int32)
    peaks = np.abs(whole).max(axis=1)
    loud = np.flatnonzero(peaks > max(_FAINT, 0.1 * float(peaks.max())))
    if loud.size == 0:
        return []
    breaks = np.flatnonzero(np.diff(loud) > _HOLE_MS)
    starts = loud[np.concatenate(([0], breaks + 1))]
    ends = loud[np.concatenate((breaks, [loud.size - 1]))] + 1
    return [(int(s), int(e)) for s, e in zip(starts, ends, strict=True)]


def _read_symbols(samples: Samples, starts_ms: list[int], rate: int) -> tuple[bytes, list[bool]]:
    """Return the byte at each start, and whether it was heard clearly."""
    length = rate // 100
    first = np.array(starts_ms) * (rate // 1000) + length // 2
    index = np.minimum(first[:, None] + np.arange(length), len(samples) - 1)
    windows = samples[index].astype(np.float64)
    energy = np.maximum((windows * windows).sum(axis=1), 1.0)
    tones: Powers = np.abs(windows @ _analysis_table(rate)) ** 2 * (2 / length) / energy[:, None]
    low, high = tones[:, :16], tones[:, 16:]
    shares = np.stack((low.max(axis=1), high.max(axis=1)))
    certain = (shares.sum(axis=0) > _PURE) & (shares.min(axis=0) > _EACH_TONE)
    letters = low.argmax(axis=1) * 16 + high.argmax(axis=1)
    return letters.astype(np.uint8).tobytes(), [bool(ok) for ok in certain]
