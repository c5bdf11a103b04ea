"""Plain ears and voice: no models, numpy only, exact. What the voice says, the ears write down letter by letter.

A person's speech is heard too, its beginning and end by loudness, but not understood: the transcript then says how long
it was. Energy is looked at as audio comes; letters are read once, when the utterance is over.
"""

import asyncio
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from infra.local.nova.interfaces import Endpointing, HeardEvent, SpeechEnd, SpeechStart
from infra.local.nova.voices import tones
from infra.local.nova.voices.endpointing import Change, TurnDetector, pauses

BLOCK_MS: Final = 10
ONSET_MS: Final = 20
"""Two loud blocks; the shortest word of the plain voice lasts as long."""
LOUD_RMS: Final = 328.0
"""A block louder than this (-40 dB of full scale) is speech."""
LONGEST_UTTERANCE_S: Final = 180.0
"""Then the turn is over in any case: what ears hold is bounded."""
_BEFORE_MS: Final = 50
"""Audio kept from before the first loud block, for the letter that began inside it."""


@dataclass(frozen=True, slots=True)
class Utterance:
    """One turn's audio, waiting to be read. Its text form shows no audio."""

    pcm: bytes = field(repr=False)
    rate: int


def hear(pcm: bytes, rate: int) -> str:
    """Return what the plain voice says in `pcm`, or `speech of 2.4 seconds` for any other sound, or nothing for silence."""
    symbols = tones.decode(pcm, rate)
    if symbols.coded:
        return symbols.data.decode("utf-8", errors="replace")
    if symbols.spoilt == 0:
        return ""
    return f"speech of {symbols.span_ms / 1000:.1f} seconds"


class PlainEars:
    """The `Ears` of one session; see `infra.local.nova.interfaces`.

    Args:
        rate: sample rate in Hz of what is fed.
        endpointing: sensitivity of turn detection.
        tempo: 2.0 halves the pauses that end a turn.
    """

    def __init__(self, *, rate: int, endpointing: Endpointing, tempo: float = 1.0) -> None:
        self._rate = tones.check_rate(rate)
        self._per_ms = 2 * rate // 1000
        self._block_bytes = BLOCK_MS * self._per_ms
        self._pauses = pauses(endpointing, tempo)
        self._turn = TurnDetector(block_ms=BLOCK_MS, onset_ms=ONSET_MS, pauses=self._pauses)
        self._rest = b""
        self._heard = bytearray()

    def feed(self, pcm: bytes, offset_ms: float) -> list[HeardEvent]:
        """Take the next piece of audio and return what it revealed."""
        at_ms = offset_ms - len(self._rest) / self._per_ms
        data = self._rest + pcm
        count = len(data) // self._block_bytes
        whole, self._rest = data[: count * self._block_bytes], data[count * self._block_bytes :]
        if count == 0:
            return []
        loud = self._loud_blocks(whole, count)
        if not (self._turn.alert or any(loud)):
            self._heard[:] = whole[-_BEFORE_MS * self._per_ms :]
            return []
        events: list[HeardEvent] = []
        for index, block_is_loud in enumerate(loud):
            self._heard += whole[index * self._block_bytes : (index + 1) * self._block_bytes]
            event = self._step(at_ms + index * BLOCK_MS, loud=block_is_loud)
            if event is not None:
                events.append(event)
        return events

    async def transcribe(self, text_request: object) -> str:
        """Return the words of one utterance that `feed` reported."""
        if not isinstance(text_request, Utterance):
            raise TypeError(f"{type(text_request).__name__} is not a request of these ears")
        return await asyncio.to_thread(hear, text_request.pcm, text_request.rate)

    def _loud_blocks(self, whole: bytes, count: int) -> list[bool]:
        blocks = np.frombuffer(whole, "<i2").reshape(count, -1).astype(np.float32)
        power = np.einsum("ij,ij->i", blocks, blocks) / np.float32(blocks.shape[1])
        return [p > LOUD_RMS * LOUD_RMS for p in power.tolist()]

    def _step(self, at_ms: float, *, loud: bool) -> HeardEvent | None:
        change = self._turn.step(at_ms, loud=loud)
        now_ms = at_ms + BLOCK_MS
        if change is Change.STARTED:
            return SpeechStart(self._turn.began_ms)
        if change is Change.ENDED:
            return self._end(now_ms)
        if change is Change.PAUSED and self._pauses.sense_counts and self._sounds_complete(now_ms):
            return self._end(now_ms)
        if self._turn.speaking and len(self._heard) > LONGEST_UTTERANCE_S * 1000 * self._per_ms:
            return self._end(now_ms)
        if not self._turn.alert:
            del self._heard[: -_BEFORE_MS * self._per_ms]
        return None

    def _sounds_complete(self, now_ms: float) -> bool:
        tail_bytes = int(now_ms - self._turn.ended_ms + 4 * tones.SYMBOL_MS) * self._per_ms
        return tones.ends_sentence(bytes(self._heard[-tail_bytes:]), self._rate)

    def _end(self, now_ms: float) -> SpeechEnd:
        quiet_bytes = int(now_ms - self._turn.ended_ms) * self._per_ms
        utterance = Utterance(bytes(self._heard[: max(0, len(self._heard) - quiet_bytes)]), self._rate)
        self._heard.clear()
        self._turn.finish()
        return SpeechEnd(self._turn.ended_ms, now_ms, utterance)


class PlainVoice:
    """The `Voice` whose words `PlainEars` can read; every voice id sounds the same."""

    async def speak(self, text: str, rate: int, voice_id: str) -> bytes:
        """Return `text` as tones, 16-bit little-endian mono at `rate` Hz."""
        del voice_id
        return tones.encode(text, rate)
