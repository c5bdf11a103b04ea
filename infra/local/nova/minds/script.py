"""What the examiner is told to do: the script in a part's system prompt, and the stage directions sent while it runs.

A prompt is plain text of any content that holds the line `Part: 2` and these sections, each ended by an empty line:
`Opening:` and `Closing:` with one line, `Questions:` with numbered lines, and `Cue card:` with the card of a talk.
Stage directions are interactive texts in square brackets.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final

_PART: Final = re.compile(r"^\s*part:\s*(\d+)\s*$", re.IGNORECASE)
_HEADING: Final = re.compile(r"^\s*(opening|questions|cue card|closing):\s*(.*)$", re.IGNORECASE)
_NUMBERED: Final = re.compile(r"^\s*\d+[.)]\s+(.+)$")
_TIMES: Final = re.compile(
    r"(\S+ (?:seconds?|minutes?)) to prepare\b.{0,20}?\bup to (\S+ (?:seconds?|minutes?)) to speak", re.DOTALL
)
_SENTENCE_END: Final = re.compile(r"(?<=[.!?])\s+")


class Direction(Enum):
    """What a stage direction asks for."""

    BEGIN = auto()
    PREPARED = auto()
    TIME_UP = auto()
    NUDGE = auto()
    WRAP_UP = auto()
    CONTINUE = auto()
    ASSESS = auto()
    OTHER = auto()


_KEYWORDS: Final = (
    ("assess the part", Direction.ASSESS),
    ("begin the part", Direction.BEGIN),
    ("preparation time is over", Direction.PREPARED),
    ("time is up", Direction.TIME_UP),
    ("closing line", Direction.WRAP_UP),
    ("silent", Direction.NUDGE),
    ("continue", Direction.CONTINUE),
)
"""Looked for in this order."""


def read_direction(text: str) -> Direction | None:
    """Return what an interactive text directs; None when it is no stage direction but something typed."""
    if not text.lstrip().startswith("["):
        return None
    lowered = text.casefold()
    return next((direction for words, direction in _KEYWORDS if words in lowered), Direction.OTHER)


@dataclass(frozen=True, slots=True)
class PartScript:
    """One part as its prompt gives it; every text as the sentences to speak.

    Attributes:
        part: its number, None when the prompt does not say.
        opening: what is said first.
        questions: in their order.
        closing: what is said when all questions have been answered.
        is_talk: whether the learner gives a talk before the questions.
        card: what the examiner says of the cue card, with the times to prepare and to speak.
    """

    part: int | None
    opening: tuple[str, ...]
    questions: tuple[tuple[str, ...], ...]
    closing: tuple[str, ...]
    is_talk: bool
    card: tuple[str, ...]

    @property
    def briefing(self) -> tuple[str, ...]:
        """All that is said before the learner's first word counts."""
        return (*self.opening, *self.card)


def sentences(text: str) -> tuple[str, ...]:
    """Cut a text into the sentences that are spoken one after the other."""
    return tuple(part for part in _SENTENCE_END.split(" ".join(text.split())) if part)


def parse_script(system_prompt: str) -> PartScript | None:
    """Read the script of a part; None when the prompt has neither opening nor questions."""
    sections = _sections(system_prompt)
    opening, numbered = sections.get("opening", []), sections.get("questions", [])
    if not opening and not numbered:
        return None
    part = next((int(m[1]) for line in system_prompt.splitlines() if (m := _PART.match(line))), None)
    card = sections.get("cue card", [])
    is_talk = bool(card) or part == 2
    questions = [match[1] for line in numbered if (match := _NUMBERED.match(line))]
    return PartScript(
        part=part,
        opening=sentences(opening[0]) if opening else (),
        questions=tuple(sentences(question) for question in questions),
        closing=sentences(sections.get("closing", ["Thank you."])[0]),
        is_talk=is_talk,
        card=_card(card, system_prompt) if is_talk else (),
    )


def _sections(system_prompt: str) -> Mapping[str, list[str]]:
    found: dict[str, list[str]] = {}
    lines: list[str] | None = None
    for line in system_prompt.splitlines():
        heading = _HEADING.match(line)
        if heading:
            lines = found.setdefault(heading[1].lower(), [])
            line = heading[2]  # noqa: PLW2901 - text may follow on the heading's own line
        if lines is None:
            continue
        if line.strip():
            lines.append(line.strip())
        elif lines and not heading:
            lines = None
    return {name: lines for name, lines in found.items() if lines}


def _card(card: list[str], system_prompt: str) -> tuple[str, ...]:
    topic = sentences(card[0]) if card else ()
    times = _TIMES.search(system_prompt)
    if times is None:
        return (*topic, "You have some time to prepare.")
    return (*topic, f"You have {times[1]} to prepare, and then up to {times[2]} to speak.")
