"""The quotation guard: an assessment may not quote the learner for more than eight words in a row.

Words are compared by their letters and digits alone, run together, so case, accents, punctuation, hyphens, spacing and
Unicode forms make no difference; and they are counted the finest way, at every sign that is no letter or digit
("well-known" and "don't" are two words each), so that no other way of counting finds a longer quotation.
"""

import unicodedata
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final

from gateway.core.assessment.model import Assessment, Criteria, CriterionNote, PartNotes
from gateway.core.assessment.text import COMMENT_BYTES, MAX_POINTS, POINT_BYTES, SUMMARY_BYTES, shorten

MAX_QUOTED_WORDS: Final = 8
"""Most words in a row that a text may share with what the learner said."""

KEPT_WORDS: Final = 4
"""How many words of a longer quotation are kept, before an ellipsis."""

_ELLIPSIS: Final = "…"
_JOINTS: Final = frozenset(
    "'-\N{RIGHT SINGLE QUOTATION MARK}\N{MODIFIER LETTER APOSTROPHE}\N{HYPHEN}\N{NON-BREAKING HYPHEN}"
)
"""Signs that hold a word together; a quotation is not cut there."""

_LETTERLIKE_MARKS: Final = frozenset(map(chr, range(0x02B9, 0x02D0)))
"""Apostrophes and stress marks that Unicode counts among the letters (Spacing Modifier Letters)."""


@dataclass(slots=True)
class _Words:
    """The words of a text.

    Attributes:
        letters: Their folded letters and digits, run together.
        starts: Where each word begins in `letters`, and the end of the last.
        spans: Where each word lies in the text.
    """

    letters: str
    starts: list[int]
    spans: list[tuple[int, int]]


@dataclass(slots=True)
class _Reader:
    """Reads the words of a text, character by character."""

    letters: list[str] = field(default_factory=list)
    starts: list[int] = field(default_factory=list)
    spans: list[tuple[int, int]] = field(default_factory=list)
    inside: bool = False

    def read(self, text: str) -> _Words:
        for index, character in enumerate(text):
            folded = _fold(character)
            if not folded and self.inside:
                self.spans[-1] = (self.spans[-1][0], index + 1)
            alone = _stands_alone(character)
            self.inside = self.inside and not alone
            for letter in folded:
                self._take(letter, index)
            self.inside = self.inside and not alone
        return _Words("".join(self.letters), [*self.starts, len(self.letters)], self.spans)

    def _take(self, letter: str, index: int) -> None:
        if letter == " ":
            self.inside = False
            return
        if self.inside:
            self.spans[-1] = (self.spans[-1][0], index + 1)
        else:
            self.starts.append(len(self.letters))
            self.spans.append((index, index + 1))
            self.inside = True
        self.letters.append(letter)


@lru_cache(maxsize=4_096)
def _fold(character: str) -> str:
    """Return the letters and digits that a character stands for, without case, accents and Unicode form.

    A space stands for whatever parts words; a mark that only changes the letter before it leaves nothing.
    """
    folded = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", character).casefold())
    return "".join(
        c if c.isalnum() and c not in _LETTERLIKE_MARKS else " "
        for c in folded
        if not unicodedata.category(c).startswith("M")
    )


def _stands_alone(character: str) -> bool:
    """Tell whether a character is a word of its own: scripts that put no spaces between words."""
    return not character.isascii() and unicodedata.east_asian_width(character) == "W"


class QuotationGuard:
    """Rewrites texts so that they quote the learner for at most `MAX_QUOTED_WORDS` words in a row."""

    def __init__(self, utterances: Iterable[str]) -> None:
        """Take all that the learner has said, in order; a quotation may run from one utterance into the next."""
        spoken = _Reader().read("\n".join(utterances))
        self._letters = spoken.letters
        self._starts = spoken.starts[:-1]

    def clean(self, text: str) -> str:
        """Return the text with the first words and an ellipsis in place of each quotation that is too long.

        A text without one comes back as it is. What remains is looked at again, since words that a quotation held
        apart may quote something else.
        """
        while True:
            words = _Reader().read(text)
            quotations = self._quotations(words)
            if not quotations:
                return text
            text = _cut(text, words, quotations)

    def clean_points(self, points: Sequence[str]) -> tuple[str, ...]:
        """Clean a list of one-line texts; a quotation may run from one into the next."""
        joined = "\n".join(points)
        cleaned = self.clean(joined)
        if cleaned == joined:
            return tuple(points)
        return tuple(shorten(line, POINT_BYTES) for line in cleaned.split("\n") if line.strip())[:MAX_POINTS]

    def clean_notes(self, notes: PartNotes) -> PartNotes:
        """Return notes whose every free text is clean."""
        return notes.model_copy(
            update={
                "criteria": self._clean_criteria(notes.criteria),
                "strengths": self.clean_points(notes.strengths),
                "next_steps": self.clean_points(notes.next_steps),
            }
        )

    def clean_assessment(self, assessment: Assessment) -> Assessment:
        """Return an assessment whose every free text is clean."""
        criteria = assessment.criteria
        return assessment.model_copy(
            update={
                "criteria": None if criteria is None else self._clean_criteria(criteria),
                "summary": self._clean_line(assessment.summary, SUMMARY_BYTES),
                "strengths": self.clean_points(assessment.strengths),
                "next_steps": self.clean_points(assessment.next_steps),
                "parts": tuple(self.clean_notes(notes) for notes in assessment.parts),
            }
        )

    def _clean_criteria(self, criteria: Criteria) -> Criteria:
        def clean(note: CriterionNote) -> CriterionNote:
            return note.model_copy(update={"comment": self._clean_line(note.comment, COMMENT_BYTES)})

        return criteria.model_copy(update={criterion.value: clean(note) for criterion, note in criteria.present()})

    def _clean_line(self, text: str, max_bytes: int) -> str:
        cleaned = self.clean(text)
        return text if cleaned == text else shorten(cleaned, max_bytes)

    def _quotations(self, words: _Words) -> list[tuple[int, int]]:
        """Return the quotations that are too long, as ranges of words, without overlap.

        A window slides over the words and always holds the longest run, up to its last word, that the learner said.
        Each word enters and leaves it once.
        """
        found: list[tuple[int, int]] = []
        first = 0
        for end in range(1, len(words.spans) + 1):
            while first < end and not self._said(words, first, end):
                first += 1
            if self._length(words, first, end) <= MAX_QUOTED_WORDS:
                continue
            if found and first < found[-1][1]:
                found[-1] = (found[-1][0], end)
            else:
                found.append((first, end))
        return found

    def _said(self, words: _Words, first: int, end: int) -> bool:
        return words.letters[words.starts[first] : words.starts[end]] in self._letters

    def _length(self, words: _Words, first: int, end: int) -> int:
        """Count the words of a run, as written or as spoken, whichever are more."""
        letters = words.letters[words.starts[first] : words.starts[end]]
        place = self._letters.find(letters)
        spoken = bisect_left(self._starts, place + len(letters)) - bisect_left(self._starts, place)
        return max(end - first, spoken)


def _cut(text: str, words: _Words, quotations: Sequence[tuple[int, int]]) -> str:
    """Replace the greater part of each quotation by an ellipsis."""
    pieces: list[str] = []
    done = 0
    for first, end in quotations:
        start, stop = _greater_part(text, words.spans, first, end)
        if start > done or not pieces:
            pieces += [text[done:start], _ELLIPSIS]
        done = max(done, stop)
    return "".join([*pieces, text[done:]])


def _greater_part(text: str, spans: Sequence[tuple[int, int]], first: int, end: int) -> tuple[int, int]:
    """Return where the words of a quotation lie that are not kept, never cutting inside ``don't`` or ``well-known``."""

    def joined_to_next(word: int) -> bool:
        return word + 1 < len(spans) and text[spans[word][1] : spans[word + 1][0]] in _JOINTS

    # Fewer written than spoken words are words run together: nothing of those is kept.
    kept = KEPT_WORDS if end - first > MAX_QUOTED_WORDS else 0
    while kept and joined_to_next(first + kept - 1):
        kept -= 1
    last = end - 1
    while joined_to_next(last):
        last += 1
    start = spans[first + kept - 1][1] if kept else spans[first][0]
    stop = spans[last][1]
    return start, stop + (text[stop : stop + 1] == ".")
