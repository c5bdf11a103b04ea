"""The quotation guard."""
# ruff: noqa: RUF001 - signs that look alike are what these tests are about

import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.core.assessment import (
    Assessment,
    Basis,
    PartNotes,
    QuotationGuard,
    join_parts,
    parse_part_notes,
)
from gateway.core.assessment.text import json_bytes

SPOKEN = [
    "Well, I went to the market on Saturday",
    "to buy some fish with my well-known mother and I don't think that's what I'd do again",
]


def plain_words(text):
    """Split into words in a way of its own: letters and digits, with everything else but accents between them."""
    plain = unicodedata.normalize("NFKC", text).casefold()
    plain = "".join(c for c in plain if not unicodedata.category(c).startswith("M"))
    return "".join(c if c.isalnum() and not "\u02b9" <= c <= "\u02cf" else " " for c in plain).split()


def nine_grams(words):
    """Return every run of nine words."""
    return {tuple(words[start : start + 9]) for start in range(len(words) - 8)}


def quotes(text, utterances):
    """Tell whether a text has nine words in a row that the learner said, across utterances."""
    return bool(nine_grams(plain_words(text)) & nine_grams(plain_words(" \n ".join(utterances))))


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        (
            "You said “I went to the market on Saturday to buy some fish,” which was clear.",
            "You said “I went to the…,” which was clear.",
        ),
        ("I went to the market on Saturday to buy some fish. Good.", "I went to the… Good."),
        ("You began: i WENT – to the\tMarket; on saturday: to... buy some!", "You began: i WENT – to the…!"),
        ("Fish with my well known mother and I dont think it is.", "Fish with my well… it is."),
        ("fish with my wellknown mother and I don’t think", "fish with my wellknown…"),
        ("I\u0301 went to the market on Saturday to bu\u0308y", "I\u0301 went to the…"),
        ("\uff29 went to the market on Saturday to buy", "\uff29 went to the…"),
        ("and I don't think that's what I'd do", "and I don't…"),
        ("I don't think that's what I'd do", "I don't think…"),
        ("mother and I don't think that's what I'd do", "mother and I…"),
        ("You iwenttothemarketonsaturdaytobuy there.", "You … there."),
        ("I-went-to-the-market-on-Saturday-to-buy-some", "…"),
    ],
)
def test_long_quotations_are_cut(text, clean):
    """Whatever its case, punctuation, spacing, hyphens and Unicode form, a quotation keeps its first words only."""
    assert QuotationGuard(SPOKEN).clean(text) == clean


@pytest.mark.parametrize(
    "text",
    [
        "You said “I went to the market on Saturday,” and that was clear.",
        "Speak more slowly,  and link your ideas\nwith more than “and”.",
        "market the to went I Saturday on fish some buy to again do",
        "…",
        "",
    ],
)
def test_other_texts_are_untouched(text):
    """Up to eight words in a row may be quoted; such a text comes back byte for byte."""
    assert QuotationGuard(SPOKEN).clean(text) == text


def test_a_learner_who_said_nothing_is_not_quoted():
    """Without utterances nothing is rewritten."""
    text = "One two three four five six seven eight nine ten."
    assert QuotationGuard([]).clean(text) == text
    assert QuotationGuard(["", " ... "]).clean(text) == text


def test_several_quotations_in_one_text():
    """Each is cut by itself, and the words between stay."""
    text = (
        "First: I went to the market on Saturday to buy some fish. "
        "Then: to buy some fish with my well-known mother and I. End."
    )
    assert QuotationGuard(SPOKEN).clean(text) == "First: I went to the… Then: to buy some fish… End."


def test_quotations_that_share_a_word_become_one():
    """Where one ends and the next begins inside a hyphenated word, the whole word goes and one ellipsis stands."""
    guard = QuotationGuard(["a b c d e f g h don", "zz", "t k l m n o p q r s"])
    assert guard.clean("a b c d e f g h don't-k-l-m-n-o-p-q-r-s end.") == "a b c d… end."


def test_what_remains_is_looked_at_again():
    """Words that a cut brings together may quote something else."""
    guard = QuotationGuard(["a b c d e f g h i j", "a b c d x y z v w u"])
    assert guard.clean("a b c d e f g h i j x y z v w u") == "a b c d…"


def test_scripts_without_spaces():
    """Each character counts as a word, so long runs cannot slip through as one."""
    guard = QuotationGuard(["我昨天和妈妈一起去市场买鱼"])
    assert guard.clean("你说：昨天和妈妈一起去市场。") == "你说：昨天和妈…。"
    assert guard.clean("你说：昨天和妈妈。") == "你说：昨天和妈妈。"


ALPHABET = st.sampled_from(
    ["a", "b", "ab", "A", "don't", "é", "e\u0301", "ß", "SS", "well-known", "I", "市场", "ﬁ", "ー"]
)
GAPS = st.sampled_from([" ", "  ", ", ", "-", "\n", " … ", "'", ". ", " \u200b"])
PHRASES = st.lists(st.tuples(ALPHABET, GAPS), max_size=60).map(lambda pairs: "".join(map("".join, pairs)))


@settings(deadline=None, max_examples=400)
@given(st.lists(PHRASES, max_size=4), PHRASES)
def test_no_nine_words_survive(utterances, text):
    """Whatever was said and written, no nine words in a row of the learner's remain, and cleaning is settled."""
    guard = QuotationGuard(utterances)
    clean = guard.clean(text)
    assert not quotes(clean, utterances)
    assert guard.clean(clean) == clean


@settings(deadline=None)
@given(st.lists(st.text(max_size=40), max_size=4), st.text(max_size=80), st.data())
def test_no_nine_words_survive_in_any_script(utterances, text, data):
    """The same for arbitrary characters, with a piece of what was said put into the text."""
    spoken = " ".join(utterances)
    start = data.draw(st.integers(0, len(spoken)))
    text += " " + spoken[start:] + text
    assert not quotes(QuotationGuard(utterances).clean(text), utterances)


@settings(deadline=None)
@given(
    st.lists(st.lists(st.sampled_from(["cat", "dog", "ox", "bee"]), max_size=20).map(" ".join), max_size=4),
    st.lists(st.sampled_from(["Cat", "dog,", "red", "\nox", "–", "bee."]), max_size=30).map("  ".join),
)
def test_only_quotations_are_touched(utterances, text):
    """A text changes exactly when it has nine words in a row of the learner's."""
    assert (QuotationGuard(utterances).clean(text) != text) is quotes(text, utterances)


NAMES = ("fluency_coherence", "lexical_resource", "grammatical_range_accuracy", "pronunciation")
LINES = st.lists(st.sampled_from(["aa", "bb", "cc", "dd."]), min_size=1, max_size=60).map(" ".join)


def notes(part, comments, points):
    """Return notes of a part with these texts."""
    judged = {name: {"band": 6, "comment": comment} for name, comment in zip(NAMES, comments, strict=True)}
    return parse_part_notes({**judged, "strengths": points, "next_steps": points}, part=part, basis=Basis.HEARD)


def free_texts(notes_or_assessment):
    """Return every free text, lists as a whole."""
    found = [note.comment for _, note in notes_or_assessment.criteria.present()]
    found += [" ".join(notes_or_assessment.strengths), " ".join(notes_or_assessment.next_steps)]
    if isinstance(notes_or_assessment, Assessment):
        found.append(notes_or_assessment.summary)
        for part in notes_or_assessment.parts:
            found += free_texts(part)
    return found


@settings(deadline=None, max_examples=50)
@given(LINES, st.lists(LINES, min_size=4, max_size=4), st.lists(LINES, max_size=5))
def test_notes_and_assessments_are_clean_in_every_field(spoken, comments, points):
    """No field, and no list read as one text, quotes the learner; the documents stay valid."""
    guard = QuotationGuard([spoken])
    dirty = notes(1, comments, points)
    clean = guard.clean_notes(dirty)
    assert PartNotes.model_validate_json(clean.model_dump_json()) == clean
    joined = join_parts(
        [dirty],
        spoken_ms_by_part={1: 1_000},
        session_id="6f1c2a4e-3a55-4d0c-9d4f-2b7a0c1d5e6f",
        module="academic_speaking",
        epoch=1,
        created_at="2026-11-20T11:00:00Z",
    )
    assessment = guard.clean_assessment(joined)
    assert Assessment.model_validate_json(assessment.model_dump_json()) == assessment
    assert not any(quotes(text, [spoken]) for text in free_texts(clean) + free_texts(assessment))
    if not any(quotes(text, [spoken]) for text in free_texts(joined)):
        assert assessment == joined


def test_an_assessment_without_bands_is_cleaned_too():
    """The summary of a test that could not be assessed goes the same way."""
    empty = join_parts(
        [],
        spoken_ms_by_part={},
        session_id="6f1c2a4e-3a55-4d0c-9d4f-2b7a0c1d5e6f",
        module="academic_speaking",
        epoch=1,
        created_at="2026-11-20T11:00:00Z",
    )
    assert QuotationGuard(SPOKEN).clean_assessment(empty) == empty


def test_a_quotation_that_runs_over_two_points():
    """Points of a list follow each other without a word between, so they are read as one text."""
    points = ("Good: I went to the market on", "Saturday to buy some fish", "Pace.")
    assert QuotationGuard(SPOKEN).clean_points(points) == ("Good: I went to the…", "Pace.")


@pytest.mark.parametrize("fill", ["市场", "é é é é é é é é é é "])
def test_cleaned_texts_keep_their_bounds(fill):
    """An ellipsis can be longer than what it replaces, and still no text grows over its limit."""
    spoken = fill * 40
    cleaned = QuotationGuard([spoken]).clean_notes(notes(1, [spoken] * 4, [spoken] * 5))
    assert PartNotes.model_validate(cleaned.model_dump()) == cleaned
    assert all(json_bytes(text) <= 300 for text in free_texts(cleaned)[:4])
