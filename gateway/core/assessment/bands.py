"""The four criteria, band arithmetic, and short descriptions of the bands.

Bands and their rounding follow the published rules of the speaking test: whole bands 0 to 9 for each criterion, and
their mean rounded to the nearest half band, a quarter up to the half and three quarters up to the whole band
(ielts.org, "IELTS scoring in detail"). The descriptions are this project's own words.
"""

from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from typing import Final

LOWEST_BAND: Final = 0
HIGHEST_BAND: Final = 9


class Criterion(StrEnum):
    """What a speaking test is judged by."""

    FLUENCY_COHERENCE = "fluency_coherence"
    LEXICAL_RESOURCE = "lexical_resource"
    GRAMMATICAL_RANGE_ACCURACY = "grammatical_range_accuracy"
    PRONUNCIATION = "pronunciation"

    @property
    def label(self) -> str:
        """The criterion as a learner reads it."""
        return _LABELS[self]


_LABELS: Final = {
    Criterion.FLUENCY_COHERENCE: "fluency and coherence",
    Criterion.LEXICAL_RESOURCE: "vocabulary",
    Criterion.GRAMMATICAL_RANGE_ACCURACY: "grammar",
    Criterion.PRONUNCIATION: "pronunciation",
}

WRITTEN_CRITERIA: Final = (
    Criterion.FLUENCY_COHERENCE,
    Criterion.LEXICAL_RESOURCE,
    Criterion.GRAMMATICAL_RANGE_ACCURACY,
)
"""The criteria that a transcript can be judged by."""


def overall_band(bands: Sequence[int]) -> float:
    """Return the mean of the criteria's bands, rounded to the nearest half band, exact halves of a half up.

    Raises:
        ValueError: There are no bands.
    """
    if not bands:
        raise ValueError("an overall band needs at least one criterion")
    # floor(2 * mean + 1/2) half bands, in integers: a float mean of thirds could fall on the wrong side.
    return (4 * sum(bands) + len(bands)) // (2 * len(bands)) / 2


def weighted_band(bands: Sequence[int], weights: Sequence[int]) -> int:
    """Return the weighted mean of bands as a whole band, a half up.

    Args:
        bands: The bands of one criterion.
        weights: Their weights, 0 or more; when all are 0 the bands weigh the same.

    Raises:
        ValueError: There are no bands, the lengths differ, or a weight is negative.
    """
    if not bands or len(bands) != len(weights) or min(weights) < 0:
        raise ValueError("a weighted band needs as many weights as bands, at least one, none negative")
    total = sum(weights)
    if total == 0:
        return weighted_band(bands, [1] * len(bands))
    weighted = sum(band * weight for band, weight in zip(bands, weights, strict=True))
    return (2 * weighted + total) // (2 * total)


_DESCRIPTIONS: Final[Mapping[Criterion, tuple[str, ...]]] = {
    Criterion.FLUENCY_COHERENCE: (
        "says nothing that can be judged",
        "single words, nothing joined together",
        "silences before almost every word; hardly any message",
        "silences in most answers; only the shortest sentences hang together",
        "slow, with clear gaps; longer answers break down",
        "goes on, but by slowing, restarting and a handful of linking words",
        "ready to talk for long; restarts sometimes make the thread hard to follow",
        "talks for long without strain; varied linking; small stumbles that cost nothing",
        "smooth; seldom searches for a word; ideas grow in a clear order",
        "effortless; stops only to think about content; everything hangs together",
    ),
    Criterion.LEXICAL_RESOURCE: (
        "says nothing that can be judged",
        "a few learnt words",
        "isolated words or phrases learnt by heart",
        "simple words for oneself and one's surroundings only",
        "enough words for familiar topics; often the wrong one for others; rarely paraphrases",
        "manages most topics with plain words; paraphrase works now and then",
        "enough words to discuss at length; some wrong choices, the meaning stays clear",
        "wide and flexible; some idiom and good paraphrase; occasional odd choices",
        "rich and precise; idiom used well; rare slips",
        "full command; exact and natural everywhere",
    ),
    Criterion.GRAMMATICAL_RANGE_ACCURACY: (
        "says nothing that can be judged",
        "no sentence forms",
        "hardly a sentence that is not learnt by heart",
        "tries simple sentences, most with errors",
        "simple sentences often right; complex ones rare; errors confuse at times",
        "simple sentences mostly right; complex ones usually with errors",
        "mixes simple and complex; errors in complex ones seldom hide the meaning",
        "many complex sentences; most sentences free of errors",
        "wide range used with ease; only occasional slips",
        "complete range, accurate but for slips that native speakers make",
    ),
    Criterion.PRONUNCIATION: (
        "says nothing that can be judged",
        "cannot be understood",
        "sounds so unclear that little is understood",
        "understood with much effort; many sounds and stresses wrong",
        "some control of stress and rhythm; often hard to follow",
        "generally understood; rhythm and some sounds cost the listener effort",
        "understood throughout; rhythm and intonation sometimes serve the meaning",
        "easy to follow; stress and intonation used well, with lapses",
        "very easy to follow; fine shades of intonation; accent never in the way",
        "effortless to follow; every feature serves the meaning",
    ),
}


def describe_band(criterion: Criterion, band: int) -> str:
    """Return what a band of a criterion means, in a few words.

    Raises:
        ValueError: The band is not 0 to 9.
    """
    if not LOWEST_BAND <= band <= HIGHEST_BAND:
        raise ValueError(f"a band is 0 to 9, not {band}")
    return _DESCRIPTIONS[criterion][band]


def band_guide(criteria: Iterable[Criterion] = Criterion) -> str:
    """Return the descriptions of all bands as plain text for a prompt, a line a band."""
    lines = []
    for criterion in criteria:
        lines.append(f"{criterion.label} ({criterion.value}):")
        lines += [f"{band}: {describe_band(criterion, band)}" for band in range(HIGHEST_BAND, LOWEST_BAND - 1, -1)]
    return "\n".join(lines)
