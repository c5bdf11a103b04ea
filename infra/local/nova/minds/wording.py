"""What is written about a learner: sentences for each criterion and level. None of them holds a learner's own words."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from infra.local.nova.minds.evidence import Criterion

_LEVELS: Final = (0, 4, 6)
"""The highest band of the first three levels; all others are the fourth."""

_COMMENTS: Final[Mapping[Criterion, tuple[str, str, str, str]]] = {
    Criterion.FLUENCY: (
        "There was nothing to judge here. Next time, try to answer each question, even in a few words.",
        "Your answers were short and came with gaps. Try to add one reason or example to each of them.",
        "You kept going, with some short answers. Longer turns with clear links between ideas would lift this.",
        "You spoke at length and at an easy pace. Your ideas followed each other clearly.",
    ),
    Criterion.VOCABULARY: (
        "There were no words to judge. Next time, say whatever comes to mind on the topic.",
        "You used a small set of everyday words. Learning a few new ones for each topic would help you.",
        "Your words were enough for the topics. More precise ones would make your points stronger.",
        "You drew on a good range of words and chose them well for each topic.",
    ),
    Criterion.GRAMMAR: (
        "There were no sentences to judge. Next time, try one full sentence for each question.",
        "You used mostly short, simple sentences. Joining two ideas in one sentence is a good next step.",
        "You mixed simple and longer sentences. Joining ideas more often would show more range.",
        "You built longer sentences with ease and joined your ideas in several ways.",
    ),
    Criterion.PRONUNCIATION: (
        "There was no speech to judge. Next time, speak up and close to the microphone.",
        "Parts of what you said were hard to make out. Slower speech with clear endings would help.",
        "You could be understood most of the time. Clearer stress on the main words would help your listener.",
        "You were easy to understand throughout.",
    ),
}
_STRENGTHS: Final[Mapping[Criterion, str]] = {
    Criterion.FLUENCY: "You kept the conversation going.",
    Criterion.VOCABULARY: "You found words for every topic.",
    Criterion.GRAMMAR: "Your sentences were easy to follow.",
    Criterion.PRONUNCIATION: "Your speech was clear enough to follow.",
}
_STEPS: Final[Mapping[Criterion, str]] = {
    Criterion.FLUENCY: "Practise talking about one topic for a full minute without stopping.",
    Criterion.VOCABULARY: "Collect five new words for a topic each week and use them aloud.",
    Criterion.GRAMMAR: "Practise joining two ideas in one sentence.",
    Criterion.PRONUNCIATION: "Read a short text aloud each day and listen to yourself.",
}


@dataclass(frozen=True, slots=True)
class Wording:
    """The texts of one assessment.

    Attributes:
        comments: on each criterion.
        strengths: what went well, the clearest first.
        next_steps: what to practise, the most useful first.
        summary: on the whole.
    """

    comments: Mapping[Criterion, str]
    strengths: Sequence[str]
    next_steps: Sequence[str]
    summary: str


def word(bands: Mapping[Criterion, int]) -> Wording:
    """Put bands into words."""
    best_first = sorted(bands, key=lambda criterion: -bands[criterion])
    comments = {criterion: _COMMENTS[criterion][_level(band)] for criterion, band in bands.items()}
    strengths = [_STRENGTHS[criterion] for criterion in best_first if bands[criterion]]
    return Wording(
        comments=comments,
        strengths=strengths or ["You came to the test."],
        next_steps=[_STEPS[criterion] for criterion in reversed(best_first)],
        summary=f"{comments[best_first[0]]} {comments[best_first[-1]]}",
    )


def _level(band: int) -> int:
    return next((level for level, highest in enumerate(_LEVELS) if band <= highest), len(_LEVELS))
