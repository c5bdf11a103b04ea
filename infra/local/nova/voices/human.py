"""Ears that understand people and a voice that sounds like one: Silero, Moonshine tiny and hibari.

Only the speech meter runs in `feed`, about 85 microseconds for 32 ms of audio. Whenever the learner pauses, what was
said so far is written down in a thread: the ears judge by the words whether the sentence is complete, and have the
transcript at hand when the turn is over.
"""

import asyncio
import re
from collections import OrderedDict
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from infra.local.nova.interfaces import Endpointing, HeardEvent, SpeechEnd, SpeechStart
from infra.local.nova.voices import silero
from infra.local.nova.voices.endpointing import Change, TurnDetector, pauses
from infra.local.nova.voices.models import Models
from infra.local.nova.voices.tones import check_rate

LONGEST_UTTERANCE_S: Final = 180.0
"""Then the turn is over in any case."""
CACHE_BYTES: Final = 32 * 1024 * 1024
"""Speech kept for sentences that are said again."""

_ONSET_MS: Final = 2 * silero.WINDOW_MS
_LIKELY_SPEECH: Final = 0.5
_STILL_SPEECH: Final = 0.35
_BEFORE_MS: Final = 320
"""Audio kept from before the onset: soft consonants come before the meter is sure."""
_AFTER_MS: Final = 256
_CLOSED_MS: Final = 15_000
"""A stretch at least this long is not written down anew when speech goes on after a pause."""
_LONGEST_STRETCH_MS: Final = 28_000
"""The recogniser was trained on shorter ones."""

_UNFINISHED: Final = re.compile(
    r"\b(?:a|an|and|as|at|because|but|by|er|for|from|if|in|is|like|my|of|on|or|so|than|that|the|to|uh|um|when|which|with)"
    r"[.?!]*$",
    re.IGNORECASE,
)
"""No sentence ends in these, whatever full stop the recogniser puts after them."""


@dataclass(frozen=True, slots=True)
class Utterance:
    """One turn, being written down stretch by stretch. Its text form shows no words."""

    stretches: Sequence[Future[str]] = field(repr=False)


def sounds_complete(text: str) -> bool:
    """Tell whether a transcript reads like a finished sentence."""
    return text.endswith((".", "?", "!")) and not _UNFINISHED.search(text)


class HumanEars:
    """The `Ears` of one session; see `infra.local.nova.interfaces`.

    Args:
        models: the process's models. Audio waits, bounded by what the session sends meanwhile, until they are loaded.
        rate: sample rate in Hz of what is fed.
        endpointing: sensitivity of turn detection.
        tempo: 2.0 halves the pauses that end a turn.
    """

    def __init__(self, models: Models, *, rate: int, endpointing: Endpointing, tempo: float = 1.0) -> None:
        self._models = models
        self._rate = check_rate(rate)
        self._per_ms = 2 * rate // 1000
        self._window_bytes = silero.WINDOW_MS * self._per_ms
        self._meter: silero.SpeechMeter | None = None
        self._pauses = pauses(endpointing, tempo)
        self._turn = TurnDetector(block_ms=silero.WINDOW_MS, onset_ms=_ONSET_MS, pauses=self._pauses)
        self._rest = b""
        self._stretch = bytearray()
        self._closed: list[Future[str]] = []
        self._draft: Future[str] | None = None

    def feed(self, pcm: bytes, offset_ms: float) -> list[HeardEvent]:
        """Take the next piece of audio and return what it revealed."""
        at_ms = offset_ms - len(self._rest) / self._per_ms
        data = self._rest + pcm
        if self._meter is None:
            if not self._models.meter.done():
                self._rest = data
                return []
            self._meter = silero.SpeechMeter(self._models.meter.result(), self._rate)
        count = len(data) // self._window_bytes
        self._rest = data[count * self._window_bytes :]
        events: list[HeardEvent] = []
        for index in range(count):
            window = data[index * self._window_bytes : (index + 1) * self._window_bytes]
            event = self._step(self._meter, window, at_ms + index * silero.WINDOW_MS)
            if event is not None:
                events.append(event)
        return events

    async def transcribe(self, text_request: object) -> str:
        """Return the words of one utterance that `feed` reported."""
        if not isinstance(text_request, Utterance):
            raise TypeError(f"{type(text_request).__name__} is not a request of these ears")
        texts = [await asyncio.wrap_future(stretch) for stretch in text_request.stretches]
        return " ".join(text for text in texts if text)

    def _step(self, meter: silero.SpeechMeter, window: bytes, at_ms: float) -> HeardEvent | None:
        likely = meter.measure(np.frombuffer(window, "<i2"))
        self._stretch += window
        change = self._turn.step(at_ms, loud=likely >= (_STILL_SPEECH if self._turn.speaking else _LIKELY_SPEECH))
        now_ms = at_ms + silero.WINDOW_MS
        match change:
            case Change.STARTED:
                return SpeechStart(self._turn.began_ms)
            case Change.PAUSED:
                self._draft = self._write_down(now_ms)
            case Change.RESUMED:
                self._go_on()
            case Change.ENDED:
                return self._end(now_ms)
            case Change.NONE:
                pass
        if not self._turn.speaking:
            del self._stretch[: -_BEFORE_MS * self._per_ms]
            return None
        if self._is_complete() or now_ms - self._turn.began_ms > LONGEST_UTTERANCE_S * 1000:
            return self._end(now_ms)
        if self._draft is None and len(self._stretch) > _LONGEST_STRETCH_MS * self._per_ms:
            self._close(self._write_down(now_ms))
        return None

    def _is_complete(self) -> bool:
        draft = self._draft
        if not self._pauses.sense_counts or draft is None or not draft.done():
            return False
        # A recogniser that failed is the business of `transcribe`.
        return draft.exception() is None and sounds_complete(draft.result())

    def _write_down(self, now_ms: float) -> Future[str]:
        """Have the current stretch recognised, with a little of the quiet after it."""
        spare_bytes = max(0, int(now_ms - self._turn.ended_ms - _AFTER_MS)) * self._per_ms
        return self._models.recognise(bytes(self._stretch[: len(self._stretch) - spare_bytes]), self._rate)

    def _close(self, text: Future[str]) -> None:
        self._closed.append(text)
        self._draft = None
        self._stretch.clear()

    def _go_on(self) -> None:
        """Speech goes on after a pause: keep the draft of a long stretch, drop that of a short one."""
        draft = self._draft
        if draft is None:
            return
        if len(self._stretch) >= _CLOSED_MS * self._per_ms:
            quiet_ms = min(_BEFORE_MS, int(self._pauses.short_ms))
            kept = bytes(self._stretch[-quiet_ms * self._per_ms :])
            self._close(draft)
            self._stretch += kept
        else:
            draft.cancel()
            self._draft = None

    def _end(self, now_ms: float) -> SpeechEnd:
        draft = self._draft if self._draft is not None else self._write_down(now_ms)
        self._close(draft)
        utterance = Utterance(tuple(self._closed))
        self._closed = []
        self._turn.finish()
        return SpeechEnd(self._turn.ended_ms, now_ms, utterance)


class HumanVoice:
    """The `Voice` of hibari's one speaker; every voice id sounds the same.

    Args:
        models: the process's models.
        cache_bytes: speech kept for sentences said before, the least recently used going first.
    """

    def __init__(self, models: Models, *, cache_bytes: int = CACHE_BYTES) -> None:
        self._models = models
        self._cache_bytes = cache_bytes
        self._cached_bytes = 0
        self._cache: OrderedDict[tuple[str, int], bytes] = OrderedDict()

    async def speak(self, text: str, rate: int, voice_id: str) -> bytes:
        """Return `text` spoken, as 16-bit little-endian mono at `rate` Hz; no words give no sound."""
        del voice_id
        key = (text, check_rate(rate))
        known = self._cache.get(key)
        if known is not None:
            self._cache.move_to_end(key)
            return known
        pcm = await asyncio.wrap_future(self._models.synthesise(text, rate))
        if key not in self._cache:
            self._cache[key] = pcm
            self._cached_bytes += len(pcm)
        while self._cached_bytes > self._cache_bytes:
            self._cached_bytes -= len(self._cache.popitem(last=False)[1])
        return pcm
