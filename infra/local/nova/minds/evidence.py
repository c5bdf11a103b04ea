"""What the mind heard, as measures, and the bands it derives from them.

The measures are the crude ones that a listener without understanding has: how much was said and how fast, how long the
turns and sentences were, how many different and how many long words came, how ideas were joined, how often the learner
hesitated, how often nothing was understood. They order talks plausibly; they are no examiner's judgement.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

_WORD: Final = re.compile(r"[^\W\d_]+(?:['\u2019-][^\W\d_]+)*")
_SENTENCE: Final = re.compile(r"[^.!?]+")
_PLACEHOLDER: Final = re.compile(r"^speech of (\d+(?:\.\d+)?) seconds$")
"""What ears without recognition write."""
_HESITATIONS: Final = frozenset({"um", "uh", "er", "erm", "hmm", "mm", "ah", "eh"})
_CONNECTORS: Final = frozenset(
    {"although", "because", "before", "but", "however", "if", "since", "so", "than", "that", "though", "unless"}
    | {"until", "when", "where", "whether", "which", "while", "who", "whose"}
)
_LONG_WORD: Final = 7
_EASY_PACE: Final = 140.0
"""Words a minute of comfortable talk."""
_WORDS_PER_S: Final = 2.0
"""For speech of which only the length is known."""


class Criterion(StrEnum):
    """What is judged."""

    FLUENCY = "fluency"
    VOCABULARY = "vocabulary"
    GRAMMAR = "grammar"
    PRONUNCIATION = "pronunciation"


@dataclass(slots=True)
class Evidence:
    """Everything heard in one part; kept out of the representation.

    Attributes:
        turns: the learner's utterances.
        speech_ms: how long the utterances were of which the length is known.
        timed_words: the words of those.
        unheard: utterances of which nothing was understood.
    """

    turns: list[str] = field(default_factory=list, repr=False)
    speech_ms: float = 0.0
    timed_words: int = 0
    unheard: int = 0

    def add(self, text: str, speech_ms: float | None = None) -> None:
        """Take an utterance; an empty one counts as not understood.

        Args:
            text: its words.
            speech_ms: how long it was, where that is known.
        """
        if not text.strip():
            self.unheard += 1
            return
        self.turns.append(text)
        placeholder = _PLACEHOLDER.match(text)
        known_ms = float(placeholder[1]) * 1000 if placeholder else speech_ms
        if known_ms:
            self.speech_ms += known_ms
            self.timed_words += count_words(text)

    def bands(self) -> dict[Criterion, int]:
        """Return a whole band, 0 to 9, for each criterion; 0 where nothing was said."""
        total = sum(count_words(turn) for turn in self.turns)
        if total == 0:
            return dict.fromkeys(Criterion, 0)
        words = [word.casefold() for turn in self.turns if not _PLACEHOLDER.match(turn) for word in _WORD.findall(turn)]
        shares = {
            Criterion.FLUENCY: self._fluency(words, total),
            Criterion.VOCABULARY: _vocabulary(words),
            Criterion.GRAMMAR: self._grammar(words),
            Criterion.PRONUNCIATION: self._pronunciation(total),
        }
        highest = 3 if total < 5 else 9
        return {criterion: min(highest, round(2 + 6.4 * share)) for criterion, share in shares.items()}

    def _fluency(self, words: Sequence[str], total: int) -> float:
        turn_length = min(1.0, total / len(self.turns) / 25)
        amount = min(1.0, total / 120)
        hesitations = sum(word in _HESITATIONS for word in words) / max(1, len(words))
        return 0.4 * turn_length + 0.2 * amount + 0.2 * self._ease_of_pace() + 0.2 * max(0.0, 1 - 8 * hesitations)

    def _ease_of_pace(self) -> float:
        if self.speech_ms < 1000:
            return 0.5
        per_minute = self.timed_words / self.speech_ms * 60_000
        return max(0.0, 1 - abs(per_minute - _EASY_PACE) / _EASY_PACE)

    def _grammar(self, words: Sequence[str]) -> float:
        if not words:
            return 0.4
        stretches = [len(_WORD.findall(s)) for turn in self.turns for s in _SENTENCE.findall(turn)]
        lengths = [length for length in stretches if length]
        joined = sum(word in _CONNECTORS for word in words) / len(self.turns)
        return 0.5 * min(1.0, sum(lengths) / len(lengths) / 14) + 0.5 * min(1.0, joined / 2)

    def _pronunciation(self, total: int) -> float:
        understood = len(self.turns) / (len(self.turns) + self.unheard)
        return understood * (0.4 + 0.4 * min(1.0, total / 60))


def count_words(text: str) -> int:
    """Count the words of an utterance, or guess them where only its length is known."""
    placeholder = _PLACEHOLDER.match(text)
    return round(float(placeholder[1]) * _WORDS_PER_S) if placeholder else len(text.split())


def _vocabulary(words: Sequence[str]) -> float:
    if not words:
        return 0.4
    different = set(words)
    long_words = sum(len(word) >= _LONG_WORD for word in different) / len(different)
    return 0.5 * min(1.0, len(different) / 80) + 0.3 * len(different) / len(words) + 0.2 * min(1.0, long_words / 0.25)
