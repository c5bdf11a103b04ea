"""The learner's side of a session: utterances from their first sound to their FINAL text. Pure. SERVICE.md A3 to A5."""

from __future__ import annotations

from collections import deque

from infra.local.nova.actions import Action
from infra.local.nova.interfaces import Ears, HeardEvent, SpeechEnd, SpeechStart
from infra.local.nova.outputs import OutputBuilder
from infra.local.nova.settings import Behaviour, Timing
from infra.local.nova.turns import Utterance

_BYTES_PER_SAMPLE = 2
# An utterance that ends this soon after an interactive text has been answered together with that text.
_OVERTAKEN_MS = 1500


class Listener:
    """Hears one audio container.

    Args:
        ears: turn detection at `rate`.
        rate: of the audio, in Hz.
        timing: when what was heard is told.
    """

    def __init__(self, ears: Ears, rate: int, timing: Timing) -> None:
        self._ears = ears
        self._rate = rate
        self._timing = timing
        self._utterances: deque[Utterance] = deque()
        self._overheard: list[Utterance] = []
        self._speech_from_ms: float | None = None
        self._overtaken_at_ms: float | None = None
        self.heard_bytes = 0
        """PCM received so far."""

    @property
    def heard_ms(self) -> float:
        """Return how much audio has been received."""
        return self.heard_bytes / _BYTES_PER_SAMPLE / self._rate * 1000

    def feed(self, pcm: bytes) -> list[HeardEvent]:
        """Take the next audio; the caller hands each event back to `begin` or `end`."""
        offset_ms = self.heard_ms
        self.heard_bytes += len(pcm)
        return self._ears.feed(pcm, offset_ms)

    def begin(self, heard: SpeechStart, behaviour: Behaviour, outputs: OutputBuilder) -> list[Action]:
        """Take the start of an utterance and return what is told of it."""
        actions: list[Action] = []
        for utterance in self._utterances:
            actions += self._speech_end(utterance, behaviour, outputs)
        self._speech_from_ms, self._overtaken_at_ms = heard.offset_ms, None
        if behaviour.user_speech_events:
            actions.append(outputs.user_speech_start(heard.offset_ms))
        return [*actions, *outputs.completion_start()]

    def end(self, heard: SpeechEnd, *, number: int, now_ms: float) -> Utterance:
        """Take the end of an utterance; its words are expected in `transcribed` under `number`."""
        end_due_ms = now_ms + max(0, self._timing.speech_end_ms - (heard.detection_offset_ms - heard.offset_ms))
        overtaken = self._overtaken_at_ms is not None and heard.offset_ms - self._overtaken_at_ms < _OVERTAKEN_MS
        utterance = Utterance(
            number=number,
            start_ms=heard.offset_ms if self._speech_from_ms is None else self._speech_from_ms,
            end_ms=heard.offset_ms,
            detection_ms=heard.detection_offset_ms,
            end_due_ms=end_due_ms,
            final_due_ms=end_due_ms + self._timing.user_final_ms,
            answered=not overtaken,
        )
        self._speech_from_ms = self._overtaken_at_ms = None
        self._utterances.append(utterance)
        return utterance

    def overtake(self) -> None:
        """Note that an interactive text came; an utterance under way needs no answer of its own if it ends soon."""
        if self._speech_from_ms is not None:
            self._overtaken_at_ms = self.heard_ms

    def take_overheard(self) -> list[Utterance]:
        """Return, once, the utterances that got no answer of their own."""
        overheard, self._overheard = self._overheard, []
        return overheard

    def transcribed(self, number: int, words: str) -> None:
        """Take the words of an utterance."""
        for utterance in self._utterances:
            if utterance.number == number:
                utterance.words = words

    def next_timer_ms(self, *, texts: bool) -> float | None:
        """Return when `publish` has something to tell; None when it waits for words or has nothing."""
        if not self._utterances:
            return None
        utterance = self._utterances[0]
        if not utterance.end_sent:
            return utterance.end_due_ms
        return utterance.final_due_ms if texts and utterance.words is not None else None

    def publish(self, now_ms: float, behaviour: Behaviour, outputs: OutputBuilder, *, texts: bool) -> list[Action]:
        """Return what is due about utterances, in the order in which they were spoken; with `texts` also their words."""
        actions: list[Action] = []
        while self._utterances:
            utterance = self._utterances[0]
            if utterance.end_due_ms <= now_ms:
                actions += self._speech_end(utterance, behaviour, outputs)
            ready = texts and utterance.end_sent and utterance.final_due_ms <= now_ms
            if not ready or utterance.words is None:
                break
            self._utterances.popleft()
            utterance.final_sent = True
            actions += outputs.completion_start()
            if utterance.words:
                actions += outputs.text_block("USER", "FINAL", utterance.words, "PARTIAL_TURN")
            actions.append(outputs.usage(speech_in_ms=utterance.end_ms - utterance.start_ms, text_in=utterance.words))
            if not utterance.answered:
                self._overheard.append(utterance)
        return actions

    def _speech_end(self, utterance: Utterance, behaviour: Behaviour, outputs: OutputBuilder) -> list[Action]:
        told, utterance.end_sent = utterance.end_sent, True
        if told or not behaviour.user_speech_events:
            return []
        return [outputs.user_speech_end(utterance.end_ms, utterance.detection_ms)]
