"""What was said, in memory only: each utterance once, Maya's as far as it was heard."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

from gateway.core.nova_events import HistoryTurn, Role

Who = Literal["maya", "learner"]
TYPICAL_LETTER_MS: Final = 65.0
"""Of a character of English text, spoken at some 160 words a minute."""

_CRUMB_MS: Final = 0.001
"""What floating point leaves over is no sound."""

_ROLES: Final[dict[Who, Role]] = {"maya": Role.ASSISTANT, "learner": Role.USER}


@dataclass(frozen=True, slots=True)
class Utterance:
    """One finished utterance."""

    who: Who
    part: int
    text: str = field(repr=False)


@dataclass(slots=True)
class _Sentence:
    """A sentence as planned, and as it was said once that is known."""

    text: str
    sound_ms: float = 0.0
    final: str | None = None


@dataclass(slots=True)
class MayaTurn:
    """A turn of Maya's, from her first word to the moment its text is settled.

    Attributes:
        turn: its number.
        part: the part it belongs to.
        complete: all of its speech has come from Nova Sonic.
        interrupted: the learner spoke over it.
        heard_ms: how much of it the learner heard, None until the phone says so.
        letter_ms: how long Maya takes for a character of text, as far as is known.
    """

    turn: int
    part: int
    sentences: list[_Sentence] = field(default_factory=list)
    complete: bool = False
    interrupted: bool = False
    heard_ms: float | None = None
    letter_ms: float = TYPICAL_LETTER_MS

    def add_text(self, text: str) -> None:
        """A sentence that Maya is about to say."""
        self.sentences.append(_Sentence(text))

    def add_sound(self, sound_ms: float) -> None:
        """Speech of the newest sentence."""
        if not self.sentences:
            self.sentences.append(_Sentence(""))
        self.sentences[-1].sound_ms += sound_ms

    def add_final(self, text: str) -> bool:
        """A sentence that Maya has said, in no certain order; return whether it belongs to this turn."""
        lacking = [sentence for sentence in self.sentences if sentence.final is None]
        for sentence in lacking:
            if sentence.text.strip() == text.strip():
                sentence.final = text
                return True
        if not lacking or text.strip() in (self.planned_text, *(sentence.final for sentence in self.sentences)):
            return False
        lacking[0].final = text
        return True

    @property
    def sound_ms(self) -> float:
        """The length of the speech that came so far."""
        return sum(sentence.sound_ms for sentence in self.sentences)

    @property
    def planned_text(self) -> str:
        """Everything Maya meant to say."""
        return _join([sentence.text for sentence in self.sentences])

    @property
    def text(self) -> str:
        """What was said, and of a turn that the learner spoke over what was heard.

        Final text comes late, in pieces, twice or not at all (SERVICE.md A4); without it, Maya said what she meant to.
        """
        if self.interrupted:
            return self._heard_text()
        return _join([sentence.text if sentence.final is None else sentence.final for sentence in self.sentences])

    @property
    def measured_letter_ms(self) -> float:
        """How long a character took in the sentences whose speech has come to its end."""
        done = self.sentences if self.complete else self.sentences[:-1]
        letters = sum(len(sentence.text) for sentence in done)
        return sum(sentence.sound_ms for sentence in done) / letters if letters else self.letter_ms

    def _heard_text(self) -> str:
        """Cut the sentences where the sound stopped, at a word, in proportion to each sentence's sound."""
        left_ms = self.heard_ms if self.heard_ms is not None else self.sound_ms
        words: list[str] = []
        for sentence in self.sentences:
            if left_ms <= _CRUMB_MS:
                break
            whole_ms = sentence.sound_ms
            if not self.complete and sentence is self.sentences[-1]:
                whole_ms = max(whole_ms, len(sentence.text) * self.measured_letter_ms)  # the rest of it never came
            spoken = sentence.text.split()
            if whole_ms > left_ms:
                spoken = spoken[: int(len(spoken) * left_ms / whole_ms)]
            words += spoken
            left_ms -= sentence.sound_ms
        return " ".join(words)


def _join(texts: Sequence[str]) -> str:
    return " ".join(text.strip() for text in texts if text.strip())


class Transcript:
    """Every settled utterance of a conversation, in order."""

    def __init__(self) -> None:
        self._utterances: list[Utterance] = []

    def add(self, who: Who, part: int, text: str) -> None:
        """Settle an utterance; one without words is none."""
        if text.strip():
            self._utterances.append(Utterance(who, part, text.strip()))

    @property
    def utterances(self) -> Sequence[Utterance]:
        """All of them, oldest first."""
        return self._utterances

    def texts(self) -> list[str]:
        """Everything that was said, each side for itself, for the quotation guard."""
        sides: tuple[Who, ...] = ("learner", "maya")
        return [utterance.text for who in sides for utterance in self._utterances if utterance.who == who]

    def of_part(self, part: int) -> list[Utterance]:
        """What was said in one part."""
        return [utterance for utterance in self._utterances if utterance.part == part]

    def history(self) -> list[HistoryTurn]:
        """The conversation as Nova Sonic is seeded with it."""
        return [HistoryTurn(_ROLES[utterance.who], utterance.text) for utterance in self._utterances]
