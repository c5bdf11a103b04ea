"""Joining the parts."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.core.assessment import (
    Assessment,
    Basis,
    Summary,
    join_parts,
    overall_band,
    parse_part_notes,
    weighted_band,
)

SESSION = "6f1c2a4e-3a55-4d0c-9d4f-2b7a0c1d5e6f"
NAMES = ("fluency_coherence", "lexical_resource", "grammatical_range_accuracy", "pronunciation")


def notes(part, bands=(6, 6, 6, 6), *, strengths=("Good.",), next_steps=("Practise.",)):
    """Return notes of a part; three bands are from a transcript, four were heard."""
    judged = {
        name: {"band": band, "comment": f"{name} in part {part}."} for name, band in zip(NAMES, bands, strict=False)
    }
    arguments = {**judged, "strengths": list(strengths), "next_steps": list(next_steps)}
    return parse_part_notes(arguments, part=part, basis=Basis.HEARD if len(bands) == 4 else Basis.TRANSCRIPT)


def join(*parts, spoken=None, **changes):
    """Join notes of parts into an assessment."""
    fields = {"session_id": SESSION, "module": "general_speaking", "epoch": 7, "created_at": "2026-11-20T11:00:00Z"}
    spoken_ms = {1: 60_000, 2: 60_000, 3: 60_000} if spoken is None else spoken
    return join_parts(parts, spoken_ms_by_part=spoken_ms, **{**fields, **changes})


def test_a_complete_test():
    """All parts, in order whatever order they came in, with the facts that were passed in."""
    joined = join(notes(3), notes(1), notes(2), spoken={1: 61_400, 2: 100_000.4, 3: 30_000})
    assert joined.status == "complete"
    assert joined.parts_assessed == (1, 2, 3)
    assert joined.spoken_s == 191
    assert (joined.session_id, joined.module, joined.epoch) == (SESSION, "general_speaking", 7)
    assert joined.created_at == "2026-11-20T11:00:00Z"


def test_bands_are_weighted_by_speaking_time():
    """Two minutes of a 7 outweigh one of a 5, for each criterion by itself."""
    joined = join(notes(1, (5, 5, 5, 9)), notes(2, (7, 7, 7, 3)), spoken={1: 60_000, 2: 120_000})
    assert [note.band for _, note in joined.criteria.present()] == [6, 6, 6, 5]
    assert joined.overall == overall_band([6, 6, 6, 5])
    assert joined.criteria.fluency_coherence.comment == "fluency_coherence in part 2."


def test_pronunciation_counts_where_it_was_heard():
    """A part assessed from its transcript says nothing about pronunciation, however long it was."""
    joined = join(notes(1, (6, 6, 6, 8)), notes(2, (6, 6, 6)), spoken={1: 10_000, 2: 300_000})
    assert joined.criteria.pronunciation.band == 8
    assert joined.criteria.pronunciation.basis is Basis.HEARD
    assert joined.criteria.fluency_coherence.basis is Basis.TRANSCRIPT
    assert joined.overall == 6.5


def test_pronunciation_that_nobody_heard_is_null():
    """Then three criteria make the overall band."""
    joined = join(notes(1, (6, 6, 7)), notes(2, (6, 6, 7)))
    assert joined.criteria.pronunciation is None
    assert joined.overall == 6.5


@pytest.mark.parametrize(
    ("parts", "planned", "status"),
    [((1, 2, 3), (1, 2, 3), "complete"), ((1, 3), (1, 2, 3), "partial"), ((1,), (1,), "complete"), ((), (), "partial")],
)
def test_status(parts, planned, status):
    """Complete is what has notes of every planned part."""
    assert join(*map(notes, parts), planned_parts=planned).status == status


def test_the_last_notes_of_a_part_count():
    """A part assessed twice, once before a relay was lost and once after, counts once."""
    joined = join(notes(1, (3, 3, 3, 3)), notes(1, (8, 8, 8, 8)))
    assert joined.parts_assessed == (1,)
    assert joined.overall == 8.0


def test_a_summary_is_used_as_it_is():
    """What Nova Micro wrote stands in place of the notes' own text."""
    summary = Summary(summary="Well done.", strengths=("S.",), next_steps=("N.",))
    joined = join(notes(1), summary=summary)
    assert (joined.summary, joined.strengths, joined.next_steps) == ("Well done.", ("S.",), ("N.",))


def test_without_a_summary_the_notes_serve():
    """The first points of each part before the second of any, each once, five at most."""
    joined = join(
        notes(1, (7, 5, 6, 6), strengths=("a", "b", "c")),
        notes(2, (7, 5, 6, 6), strengths=("d", "a", "e")),
        notes(3, (7, 5, 6, 6), strengths=(), next_steps=()),
    )
    assert joined.strengths == ("a", "d", "b", "c", "e")
    assert joined.next_steps == ("Practise.",)
    assert joined.summary == (
        "Overall band 6, from parts 1, 2, 3 of the test. Strongest: fluency and coherence, band 7. "
        "Most to gain: vocabulary, band 5."
    )


def test_equal_bands_have_no_strongest():
    """The summary names no best and worst where there is none."""
    assert join(notes(2)).summary == "Overall band 6, from part 2 of the test. All criteria are at band 6."


def test_nothing_assessed_still_tells_that_the_test_took_place():
    """Without any notes there are no bands, and time spoken is kept."""
    joined = join(spoken={1: 45_000})
    assert (joined.status, joined.criteria, joined.overall, joined.spoken_s) == ("partial", None, None, 45)
    assert Assessment.model_validate_json(joined.model_dump_json()) == joined


BANDS = st.lists(st.integers(0, 9), min_size=3, max_size=4)
TIMES = st.floats(-1, 900_000)


@settings(deadline=None)
@given(st.dictionaries(st.integers(1, 3), st.tuples(BANDS, TIMES), min_size=1))
def test_every_joined_assessment_is_consistent(parts):
    """For any bands and times the document validates and each band is the weighted one."""
    joined = join(
        *(notes(part, bands) for part, (bands, _) in parts.items()),
        spoken={part: time for part, (_, time) in parts.items()},
    )
    assert Assessment.model_validate(joined.model_dump()) == joined
    for index, name in enumerate(NAMES):
        judged = [(bands[index], max(0, round(time))) for bands, time in parts.values() if index < len(bands)]
        note = getattr(joined.criteria, name)
        assert (note is None) is (not judged)
        if judged:
            assert note.band == weighted_band(*zip(*judged, strict=True))
