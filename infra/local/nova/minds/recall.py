"""Where a seeded history leaves off: what of the script has been said, and what the learner answered.

A stream that follows a lost one gets the conversation so far as its history. Maya's sentences may stand in it joined,
merged with others, or cut off where she was interrupted; those of earlier parts are there too.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from infra.local.nova.interfaces import HistoryMessage
from infra.local.nova.minds import phrases
from infra.local.nova.minds.script import PartScript

_WORD: Final = re.compile(r"[^\W_]+(?:['\u2019][^\W_]+)*")
_ENDS: Final = re.compile(r"[.!?\n]")
_BRACKETED: Final = re.compile(r"\[[^\[\]]*\]")
_LEAST_WORDS: Final = 3
"""A question counts as asked when the learner answered after this many words of it."""


@dataclass(slots=True)
class Recalled:
    """What the history shows of this part.

    Attributes:
        briefed: sentences of the briefing that were said.
        invited: whether the learner was asked to start the talk.
        asked: questions that were asked; the next one has this index.
        closed: whether the closing line was said.
        answered: whether the learner spoke after the last thing that was asked.
        answers: what the learner said in this part.
        last_said: the examiner's last words.
    """

    briefed: int = 0
    invited: bool = False
    asked: int = 0
    closed: bool = False
    answered: bool = False
    answers: list[str] = field(default_factory=list)
    last_said: str = ""

    @property
    def begun(self) -> bool:
        """Whether anything of this part was said."""
        return bool(self.briefed or self.invited or self.asked or self.closed)


class Spoken:
    """A text as words, with the places where sentences begin."""

    def __init__(self, text: str) -> None:
        self.words: list[str] = []
        self.starts: list[int] = []
        end = 0
        for match in _WORD.finditer(text):
            if not self.words or _ENDS.search(text, end, match.start()):
                self.starts.append(len(self.words))
            self.words.append(match[0].casefold().replace("\u2019", "'"))
            end = match.end()

    def says(self, line: Sequence[str]) -> bool:
        """Tell whether a line of the script is said in full, from the start of a sentence."""
        words = Spoken(" ".join(line)).words
        return bool(words) and any(self.words[at : at + len(words)] == words for at in self.starts)

    def breaks_off_in(self, line: Sequence[str]) -> bool:
        """Tell whether the text ends within this line, after some words of it."""
        words = Spoken(" ".join(line)).words
        tails = (self.words[at:] for at in self.starts)
        return any(_LEAST_WORDS <= len(tail) < len(words) and words[: len(tail)] == tail for tail in tails)


def recall(script: PartScript, history: Sequence[HistoryMessage]) -> Recalled:
    """Return where the history of a part leaves off."""
    recalled = Recalled()
    for index, message in enumerate(history):
        if message.role == "ASSISTANT":
            was_answered = any(_learner_words(m.text) for m in history[index + 1 :] if m.role == "USER")
            _take_examiner(recalled, script, message.text, was_answered=was_answered)
            continue
        _take_directions(recalled, message.text)
        words = _learner_words(message.text)
        if words and recalled.begun:
            recalled.answers.append(words)
            recalled.answered = True
    return recalled


def _take_examiner(recalled: Recalled, script: PartScript, text: str, *, was_answered: bool) -> None:
    spoken = Spoken(text)
    briefed = [number for number, sentence in enumerate(script.briefing, 1) if spoken.says([sentence])]
    asked = [
        number
        for number, question in enumerate(script.questions, 1)
        if spoken.says(question) or (was_answered and spoken.breaks_off_in(question))
    ]
    invited = script.is_talk and any(spoken.says([phrase]) for phrase in phrases.INVITE)
    recalled.briefed = max([recalled.briefed, *briefed])
    recalled.asked = max([recalled.asked, *asked])
    recalled.invited |= invited
    recalled.closed |= spoken.says(script.closing)
    # Words that were cut off before they asked anything leave the earlier answer as the last thing that counts.
    recalled.answered &= not (briefed or asked or invited)
    recalled.last_said = text


def _take_directions(recalled: Recalled, text: str) -> None:
    if recalled.briefed and "preparation time is over" in text.casefold():
        recalled.invited = True


def _learner_words(text: str) -> str:
    """Return what the learner said, without stage directions."""
    return " ".join(_BRACKETED.sub(" ", text).split())
