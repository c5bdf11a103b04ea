"""Delivers one reply: per sentence a SPECULATIVE text, then its audio in small pieces, much later its FINAL text.

Pure: `now_ms` and a random generator are passed in. Source: SERVICE.md A3, A4, A5, A10.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Any

from infra.local.nova.actions import Action, Cut, EmitAudio
from infra.local.nova.outputs import INTERRUPTED_MARKER, OutputBuilder
from infra.local.nova.settings import Behaviour, Timing

_BYTES_PER_SAMPLE = 2


class _Stage(Enum):
    TEXT = auto()
    VOICE = auto()
    AUDIO = auto()
    SENT = auto()


@dataclass(slots=True)
class _Sentence:
    text: str
    pcm: bytes | None = None
    sent_bytes: int = 0
    play_from_ms: float | None = None
    play_until_ms: float = 0
    final_due_ms: float | None = None
    final_done: bool = False


@dataclass(slots=True)
class _Pace:
    """How fast the pieces of the sentence under way leave."""

    piece_bytes: int = 1
    interval_ms: float = 0
    content: dict[str, Any] = field(default_factory=dict)


class Delivery:
    """One reply on its way.

    Args:
        sentences: what is said; at least one.
        text_due_ms: when the first SPECULATIVE text leaves.
        audio_due_ms: when the first audio leaves, if the voice is ready by then.
        rate: of the audio, in Hz.
        timing: the pace.
        rng: for speeds, gaps and the lateness of FINAL texts.
        outputs: builds the events.
    """

    def __init__(
        self,
        sentences: Sequence[str],
        *,
        text_due_ms: float,
        audio_due_ms: float,
        rate: int,
        timing: Timing,
        rng: random.Random,
        outputs: OutputBuilder,
    ) -> None:
        self._sentences = [_Sentence(text) for text in sentences]
        self._timing = timing
        self._rate = rate
        self._rng = rng
        self._outputs = outputs
        self._index = 0
        self._stage = _Stage.TEXT
        self._due_ms = text_due_ms
        self._audio_due_ms = audio_due_ms
        self._pace = _Pace()

    @property
    def sent(self) -> bool:
        """Whether all audio has left."""
        return self._stage is _Stage.SENT

    @property
    def audio_open(self) -> bool:
        """Whether an AUDIO block is open: blocks follow one another, so no text may come now."""
        return self._stage is _Stage.AUDIO

    @property
    def begun(self) -> bool:
        """Whether anything of it has left."""
        return self._index > 0 or self._stage is not _Stage.TEXT

    @property
    def played_at_ms(self) -> float:
        """When the last sample sent will have been played, if nobody interrupts."""
        return max((sentence.play_until_ms for sentence in self._sentences), default=0)

    @property
    def finals_pending(self) -> bool:
        """Whether FINAL texts are still to come."""
        return any(sentence.final_due_ms is not None and not sentence.final_done for sentence in self._sentences)

    def sentences_begun(self, now_ms: float) -> int:
        """Return how many sentences have begun to be played."""
        return sum(item.play_from_ms is not None and item.play_from_ms <= now_ms for item in self._sentences)

    def sentence_text(self, index: int) -> str | None:
        """Return the text of a sentence, None where there is none."""
        return self._sentences[index].text if 0 <= index < len(self._sentences) else None

    def spoken(self, index: int, pcm: bytes) -> None:
        """Take the speech of one sentence."""
        self._sentences[index].pcm = pcm

    def next_timer_ms(self) -> float | None:
        """Return when `tick` has something to do, None when it waits for the voice or is through."""
        dues = [
            sentence.final_due_ms
            for sentence in self._sentences
            if sentence.final_due_ms is not None and not sentence.final_done and not self.audio_open
        ]
        waits_for_voice = self._stage is _Stage.VOICE and self._sentences[self._index].pcm is None
        if self._stage is not _Stage.SENT and not waits_for_voice:
            dues.append(self._due_ms)
        return min(dues, default=None)

    def tick(self, now_ms: float, behaviour: Behaviour) -> list[Action]:
        """Return everything that is due by now."""
        actions: list[Action] = []
        while self._stage is not _Stage.SENT and self._due_ms <= now_ms:
            sentence = self._sentences[self._index]
            if self._stage is _Stage.TEXT:
                actions += self._outputs.text_block("ASSISTANT", "SPECULATIVE", sentence.text, "PARTIAL_TURN")
                self._stage, self._due_ms = _Stage.VOICE, max(self._due_ms, self._audio_due_ms)
            elif self._stage is _Stage.VOICE:
                if sentence.pcm is None:
                    break
                actions.append(self._open_audio(sentence, now_ms))
            elif sentence.sent_bytes < len(sentence.pcm or b""):
                actions.append(self._piece(sentence, behaviour))
            else:
                actions += self._close_audio(sentence, now_ms, behaviour)
        if not self.audio_open:
            for sentence in self._sentences:
                if sentence.final_due_ms is not None and not sentence.final_done and sentence.final_due_ms <= now_ms:
                    actions += self._final(sentence, sentence.text, behaviour)
        return actions

    def flush_finals(self, behaviour: Behaviour) -> list[Action]:
        """Return the FINAL texts still to come, now that the next input is there."""
        actions: list[Action] = []
        for sentence in self._sentences:
            if sentence.final_due_ms is not None and not sentence.final_done:
                actions += self._final(sentence, sentence.text, behaviour)
        return actions

    def stop(self, now_ms: float, behaviour: Behaviour, *, interrupted: bool) -> list[Action]:
        """Stop at once: end an open audio block, and put into FINAL texts only what has been heard.

        Args:
            now_ms: decides what has been heard.
            behaviour: which signals are sent.
            interrupted: the learner spoke over it, so the signals of barge-in are due.
        """
        actions: list[Action] = [Cut()] if interrupted else []
        if self._stage is _Stage.AUDIO:
            marked = interrupted and behaviour.interrupted_audio
            actions.append(self._outputs.audio_end(self._pace.content, "INTERRUPTED" if marked else "PARTIAL_TURN"))
        for sentence in self._sentences:
            if not sentence.final_done and sentence.play_from_ms is not None:
                actions += self._final(sentence, _heard(sentence, now_ms), behaviour)
        if interrupted and behaviour.interrupted_marker:
            actions += self._outputs.text_block("ASSISTANT", "FINAL", INTERRUPTED_MARKER, "INTERRUPTED")
        self._stage = _Stage.SENT
        for sentence in self._sentences:
            sentence.play_until_ms = min(sentence.play_until_ms, now_ms)
        return actions

    def _open_audio(self, sentence: _Sentence, now_ms: float) -> Action:
        timing = self._timing
        pcm_ms = len(sentence.pcm or b"") / _BYTES_PER_SAMPLE / self._rate * 1000
        earlier_until_ms = max((other.play_until_ms for other in self._sentences[: self._index]), default=0)
        sentence.play_from_ms = max(now_ms, earlier_until_ms)
        sentence.play_until_ms = sentence.play_from_ms + pcm_ms * timing.playback_scale
        speed = self._rng.uniform(timing.speed_min, timing.speed_max)
        self._pace = _Pace(
            piece_bytes=max(1, round(self._rate * timing.piece_ms / 1000)) * _BYTES_PER_SAMPLE,
            interval_ms=timing.piece_ms / speed if speed > 0 else 0,
            content=self._outputs.audio_content(),
        )
        self._stage, self._due_ms = _Stage.AUDIO, now_ms
        return self._outputs.audio_start(self._pace.content)

    def _piece(self, sentence: _Sentence, behaviour: Behaviour) -> Action:
        timing, pcm = self._timing, sentence.pcm or b""
        piece = pcm[sentence.sent_bytes : sentence.sent_bytes + self._pace.piece_bytes]
        sentence.sent_bytes += len(piece)
        self._due_ms += self._pace.interval_ms
        if timing.gap_probability and self._rng.random() < timing.gap_probability:
            self._due_ms += self._rng.uniform(timing.gap_min_ms, timing.gap_max_ms)
        if behaviour.extra_gap_probability and self._rng.random() < behaviour.extra_gap_probability:
            self._due_ms += behaviour.extra_gap_ms
        return EmitAudio(self._pace.content, piece)

    def _close_audio(self, sentence: _Sentence, now_ms: float, behaviour: Behaviour) -> list[Action]:
        last = self._index == len(self._sentences) - 1
        late_ms = self._rng.uniform(self._timing.final_min_ms, self._timing.final_max_ms) + behaviour.final_extra_ms
        # A FINAL text holds what has been heard, so it never comes before the sentence has been played.
        sentence.final_due_ms = max(now_ms + late_ms, sentence.play_until_ms)
        pcm_ms = sentence.sent_bytes / _BYTES_PER_SAMPLE / self._rate * 1000
        if last:
            self._stage = _Stage.SENT
        else:
            self._index += 1
            self._stage, self._due_ms, self._audio_due_ms = _Stage.TEXT, now_ms, now_ms
        return [
            self._outputs.audio_end(self._pace.content, "END_TURN" if last else "PARTIAL_TURN"),
            self._outputs.usage(speech_out_ms=pcm_ms, text_out=sentence.text),
        ]

    def _final(self, sentence: _Sentence, text: str, behaviour: Behaviour) -> list[Action]:
        sentence.final_done = True
        times = {"once": 1, "twice": 2, "never": 0}[behaviour.final_text] if text else 0
        actions: list[Action] = []
        for _ in range(times):
            actions += self._outputs.text_block("ASSISTANT", "FINAL", text, "PARTIAL_TURN")
        return actions


def _heard(sentence: _Sentence, now_ms: float) -> str:
    """Return the words that have been played by now."""
    if sentence.play_from_ms is None or now_ms < sentence.play_from_ms:
        return ""
    if now_ms >= sentence.play_until_ms:
        return sentence.text
    words = sentence.text.split()
    share = (now_ms - sentence.play_from_ms) / (sentence.play_until_ms - sentence.play_from_ms)
    return " ".join(words[: round(share * len(words))])
