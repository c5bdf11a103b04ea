"""The IELTS speaking test as data: three parts, their questions, cue card and timings.

The shape follows the published format of the test (ielts.org, "Speaking test format"): an interview of 4 to 5
minutes on familiar topics, a talk of up to 2 minutes after 1 minute of preparation, and a discussion of 4 to 5
minutes. The questions and cue cards are this project's own.

A plan is a value: `full` is the real test, `demo` shows every part in under two minutes, `tiny` is for tests.
"""

from dataclasses import dataclass, replace
from typing import Final

Endpointing = str
"""How long Nova Sonic waits before it takes a pause for the end of a turn: `HIGH`, `MEDIUM` or `LOW` sensitivity."""


@dataclass(frozen=True, slots=True)
class CueCard:
    """What the learner reads before the talk of part 2."""

    topic: str
    points: tuple[str, ...]

    @property
    def text(self) -> str:
        """The card as the phone shows it."""
        return "\n".join((self.topic, "You should say:", *(f"- {point}" for point in self.points)))


@dataclass(frozen=True, slots=True)
class PartPlan:
    """One part of the test.

    Attributes:
        part: 1, 2 or 3.
        title: shown to the learner.
        opening: what Maya says first.
        questions: asked one after the other; in part 2 they follow the talk.
        closing: what Maya says last. The core takes the part as over when it hears her say `closing_mark`.
        closing_mark: the words of `closing` that appear nowhere else in the part.
        time_limit_s: after this long, the part is closed at the next natural pause.
        prepare_s: silence to prepare the talk, 0 where there is none.
        speak_s: the longest talk, 0 where there is none.
        endpointing: turn detection of this part's stream.
        cue_card: the card of part 2.
    """

    part: int
    title: str
    opening: str
    questions: tuple[str, ...]
    closing: str
    closing_mark: str
    time_limit_s: float
    prepare_s: float = 0.0
    speak_s: float = 0.0
    endpointing: Endpointing = "MEDIUM"
    cue_card: CueCard | None = None


@dataclass(frozen=True, slots=True)
class ExamPlan:
    """A whole test.

    Attributes:
        name: of the plan.
        parts: in order.
        choice: picked the questions; with the same name it gives the same plan again.
    """

    name: str
    parts: tuple[PartPlan, ...]
    choice: int = 0

    def part(self, number: int) -> PartPlan:
        """Return the plan of part `number` (1 to 3)."""
        return self.parts[number - 1]


@dataclass(frozen=True, slots=True)
class _Theme:
    """What parts 2 and 3 talk about: the discussion takes up the topic of the talk."""

    card: CueCard
    rounding: tuple[str, ...]
    discussion: tuple[str, ...]


_INTERVIEWS: Final[tuple[tuple[str, ...], ...]] = (
    (
        "Do you work, or are you a student?",
        "What do you like most about it?",
        "Let us talk about your home town. What is it like to live there?",
        "How has it changed in recent years?",
        "Now I would like to ask about reading. Do you read more on paper or on a screen?",
        "Did you read a lot as a child?",
        "Let us talk about weekends. What do you usually do on a free day?",
        "Would you rather spend a free day with friends or alone?",
        "What is one thing you would like to have more time for?",
    ),
    (
        "Where are you living at the moment?",
        "Which room do you spend most of your time in?",
        "Let us talk about food. What do people in your area like to eat?",
        "Do you cook for yourself?",
        "Now I would like to ask about travelling. How do you usually get around?",
        "Is there a journey that you make often?",
        "Let us talk about music. When do you listen to it?",
        "Have you ever learned to play an instrument?",
        "What kind of music would you not miss at all?",
    ),
    (
        "Tell me a little about the place where you grew up.",
        "Do you still visit it?",
        "Let us talk about weather. Which season do you like best?",
        "Does the weather change how you feel?",
        "Now I would like to ask about phones. What do you use yours for most?",
        "Could you live without it for a week?",
        "Let us talk about sport. Do you take part in any?",
        "Which sport do people watch where you live?",
        "What would you like to be better at?",
    ),
)

_THEMES: Final[tuple[_Theme, ...]] = (
    _Theme(
        card=CueCard(
            "Describe a skill that you learned from somebody.",
            ("what the skill is", "who taught it to you", "how you learned it", "and explain why it is useful to you"),
        ),
        rounding=("Have you taught this skill to anyone else?", "Do you still use it often?"),
        discussion=(
            "We have been talking about learning a skill. How do people in your country learn practical skills today?",
            "Is it better to learn from a person or from a video? Why?",
            "Which skills do schools not teach that they should?",
            "How might the skills that people need change over the next twenty years?",
            "Some say that machines make many skills pointless. What is your view?",
        ),
    ),
    _Theme(
        card=CueCard(
            "Describe a place that you like to go to when you want to be quiet.",
            ("where it is", "how you found it", "what you do there", "and explain why it helps you"),
        ),
        rounding=("Do other people go there too?", "Would you like to live near it?"),
        discussion=(
            "We have been talking about quiet places. Why do people in cities look for them?",
            "Should a city spend money on parks rather than on roads?",
            "How does noise affect the way people work?",
            "Are people today worse at being alone than their grandparents were?",
            "How could homes of the future be made calmer?",
        ),
    ),
    _Theme(
        card=CueCard(
            "Describe a decision that turned out well for you.",
            ("what you had to decide", "who you talked to about it", "what you did", "and explain why it was right"),
        ),
        rounding=("Was it hard to decide?", "Would you decide the same way again?"),
        discussion=(
            "We have been talking about decisions. What kinds of decision do young people find hard?",
            "Should important decisions be made quickly or slowly?",
            "How far should parents decide for their children?",
            "Does having more choice make people happier?",
            "Should some decisions of a government be left to experts?",
        ),
    ),
)

_WELCOME: Final = "Good day. My name is Maya, and I will be your examiner for this speaking test."
_CLOSING: Final = ("end of part one", "end of part two", "end of the speaking test")


def _interview(questions: tuple[str, ...], time_limit_s: float) -> PartPlan:
    return PartPlan(
        part=1,
        title="Introduction and interview",
        opening=f"{_WELCOME} In this first part I will ask you some questions about yourself.",
        questions=questions,
        closing=f"Thank you. That is the {_CLOSING[0]}.",
        closing_mark=_CLOSING[0],
        time_limit_s=time_limit_s,
    )


def _talk(theme: _Theme, rounding: int, prepare_s: float, speak_s: float, time_limit_s: float) -> PartPlan:
    return PartPlan(
        part=2,
        title="Long turn",
        opening=(
            "Now I am going to give you a topic, and I would like you to talk about it. "
            "You can see it on your screen, and you may make notes before you begin."
        ),
        questions=theme.rounding[:rounding],
        closing=f"Thank you. That is the {_CLOSING[1]}.",
        closing_mark=_CLOSING[1],
        time_limit_s=time_limit_s,
        prepare_s=prepare_s,
        speak_s=speak_s,
        endpointing="LOW",
        cue_card=theme.card,
    )


def _discussion(theme: _Theme, questions: int, time_limit_s: float) -> PartPlan:
    return PartPlan(
        part=3,
        title="Discussion",
        opening="Let us now discuss some more general questions on the same subject.",
        questions=theme.discussion[:questions],
        closing=f"Thank you very much. That is the {_CLOSING[2]}.",
        closing_mark=_CLOSING[2],
        time_limit_s=time_limit_s,
    )


def build_plan(name: str, choice: int = 0) -> ExamPlan:
    """Build the plan `full`, `demo` or `tiny`.

    Args:
        name: which plan.
        choice: any number; picks the set of questions, so that two tests need not be alike.

    Raises:
        ValueError: there is no plan of that name.
    """
    interview = _INTERVIEWS[choice % len(_INTERVIEWS)]
    theme = _THEMES[choice // len(_INTERVIEWS) % len(_THEMES)]
    match name:
        case "full":
            parts = (_interview(interview, 300), _talk(theme, 2, 60, 120, 270), _discussion(theme, 5, 300))
        case "demo":
            parts = (_interview(interview[:1], 60), _talk(theme, 1, 3, 12, 60), _discussion(theme, 1, 60))
        case "tiny":
            parts = (_interview(interview[:1], 60), _talk(theme, 1, 0.5, 10, 60), _discussion(theme, 1, 60))
        case _:
            raise ValueError(f"there is no exam plan {name!r}; there are full, demo and tiny")
    return ExamPlan(name, parts, choice)


def shortened(plan: ExamPlan, factor: float) -> ExamPlan:
    """Return `plan` with every time limit multiplied by `factor`."""
    return replace(
        plan,
        parts=tuple(
            replace(
                part,
                time_limit_s=part.time_limit_s * factor,
                prepare_s=part.prepare_s * factor,
                speak_s=part.speak_s * factor,
            )
            for part in plan.parts
        ),
    )
