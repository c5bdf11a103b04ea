"""Changing the sample rate of speech between 8000, 16000 and 24000 Hz with a windowed-sinc filter."""

import functools
import math
from typing import Final

import numpy as np
import numpy.typing as npt

_LOBES: Final = 16
"""Zero crossings of the sinc on each side: stop band below -60 dB."""

type Signal = npt.NDArray[np.float32]


def resample(signal: Signal, from_rate: int, to_rate: int) -> Signal:
    """Return `signal` at `to_rate` Hz, as long in seconds as it was, without delay.

    Raises:
        ValueError: a rate is not positive.
    """
    if from_rate <= 0 or to_rate <= 0:
        raise ValueError(f"cannot resample from {from_rate} Hz to {to_rate} Hz")
    if from_rate == to_rate or signal.size == 0:
        return signal
    common = math.gcd(from_rate, to_rate)
    up, down = to_rate // common, from_rate // common
    taps = _taps(up, down)
    half = len(taps) // 2
    out = np.empty(signal.size * up // down, np.float32)
    for first in range(up):
        # Output n lies at up-sampled position n * down: all n of one remainder share one phase of the filter.
        position = first * down + half
        phase = taps[position % up :: up]
        filtered = np.convolve(signal, phase)[position // up :: down]
        wanted = len(out[first::up])
        out[first::up] = np.pad(filtered, (0, max(0, wanted - filtered.size)))[:wanted]
    return out


@functools.cache
def _taps(up: int, down: int) -> Signal:
    """A low pass at the lower of the two Nyquist frequencies, at the up-sampled rate, with gain `up`."""
    widest = max(up, down)
    half = _LOBES * widest
    position = np.arange(-half, half + 1) / widest
    window = np.kaiser(2 * half + 1, 6.0)
    return (np.sinc(position) * window * up / widest).astype(np.float32)
