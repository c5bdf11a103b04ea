"""The tools through which the models write."""

import json

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.core.assessment import (
    Basis,
    Criterion,
    assess_part_tool,
    correction,
    parse_part_notes,
    parse_summary,
    summarise_tool,
)
from gateway.core.assessment.text import COMMENT_BYTES, POINT_BYTES
from gateway.core.errors import BadToolInput
from gateway.core.nova_events import PromptEvents

WRITTEN = ("fluency_coherence", "lexical_resource", "grammatical_range_accuracy")
TOOLS = {
    "heard": assess_part_tool(basis=Basis.HEARD),
    "transcript": assess_part_tool(basis=Basis.TRANSCRIPT),
    "summary": summarise_tool(),
}


def arguments(*, heard=True, **changes):
    """Return good arguments of assess_part."""
    names = (*WRITTEN, "pronunciation") if heard else WRITTEN
    good = {name: {"band": 6, "comment": "Clear."} for name in names}
    return {**good, "strengths": ["Pace."], "next_steps": ["Tenses."], **changes}


def refusal(given_arguments, *, basis=Basis.HEARD):
    """Return the text that refuses the arguments."""
    with pytest.raises(BadToolInput) as caught:
        parse_part_notes(given_arguments, part=1, basis=basis)
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None
    return str(caught.value)


def walk(schema):
    """Yield a schema and every schema within."""
    yield schema
    for inner in schema.get("properties", {}).values():
        yield from walk(inner)
    if "items" in schema:
        yield from walk(schema["items"])


@pytest.mark.parametrize("name", TOOLS)
def test_schemas_are_what_nova_takes(name):
    """Valid JSON Schema, compact, no references, and at the top nothing but type, properties and required."""
    schema = TOOLS[name].schema
    jsonschema.Draft202012Validator.check_schema(schema)
    assert list(schema) == ["type", "properties", "required"]
    assert len(json.dumps(schema)) < 2_000
    known = {"type", "description", "properties", "required", "items", "minimum", "maximum"}
    for inner in walk(schema):
        assert inner.keys() <= known
        assert isinstance(inner["type"], str)
        assert set(inner.get("required", ())) == set(inner.get("properties", ()))


def test_the_schema_bounds_the_bands():
    """A model that follows the schema cannot write a band that is none."""
    for criterion in Criterion:
        band = TOOLS["heard"].schema["properties"][criterion.value]["properties"]["band"]
        assert (band["type"], band["minimum"], band["maximum"]) == ("integer", 0, 9)


def test_pronunciation_is_asked_only_of_who_heard():
    """The tool for transcripts has no pronunciation to guess at."""
    assert "pronunciation" in TOOLS["heard"].schema["properties"]
    assert "pronunciation" not in TOOLS["transcript"].schema["properties"]


def test_sonic_gets_the_schema_as_a_string():
    """In promptStart the schema is a JSON document in a string, for Converse an object."""
    event = json.loads(PromptEvents("p").prompt_start(voice="amy", out_rate=24_000, tools=[TOOLS["heard"]]))
    spec = event["event"]["promptStart"]["toolConfiguration"]["tools"][0]["toolSpec"]
    assert json.loads(spec["inputSchema"]["json"]) == TOOLS["heard"].schema
    assert TOOLS["heard"].as_converse()["toolSpec"]["inputSchema"]["json"] == TOOLS["heard"].schema


WORDS = st.text(st.sampled_from("abc é.\n"), max_size=12).filter(str.strip)
JUDGEMENTS = st.fixed_dictionaries({"band": st.integers(0, 9), "comment": WORDS})
GOOD = st.fixed_dictionaries(
    {
        **dict.fromkeys((*WRITTEN, "pronunciation"), JUDGEMENTS),
        "strengths": st.lists(WORDS, max_size=8),
        "next_steps": st.lists(WORDS, max_size=8),
    }
)


@settings(deadline=None)
@given(GOOD)
def test_what_fits_the_schema_is_accepted(good):
    """Arguments that the schema allows become notes with the same bands."""
    jsonschema.validate(good, TOOLS["heard"].schema)
    notes = parse_part_notes(good, part=2, basis=Basis.HEARD)
    assert {criterion.value: note.band for criterion, note in notes.criteria.present()} == {
        criterion.value: good[criterion.value]["band"] for criterion in Criterion
    }
    assert all(note.basis is Basis.HEARD for _, note in notes.criteria.present())
    assert len(notes.strengths) == min(len(good["strengths"]), 5)


@settings(deadline=None)
@given(
    GOOD,
    st.sampled_from(["pronunciation", "strengths", "lexical_resource"]),
    st.none() | st.integers() | st.floats(allow_nan=False) | st.booleans() | st.lists(st.integers(), min_size=1),
)
def test_what_does_not_fit_the_schema_is_refused_by_name(good, name, wrong):
    """A field of a wrong type fails the schema and the parser alike, and the refusal names it."""
    bad = {**good, name: wrong}
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(bad, TOOLS["heard"].schema)
    assert name in refusal(bad)


@pytest.mark.parametrize("basis", Basis)
def test_notes_of_a_part(basis):
    """Part and basis come from who asks; pronunciation only from hearing."""
    notes = parse_part_notes(arguments(heard=basis is Basis.HEARD), part=3, basis=basis)
    assert notes.part == 3
    assert {note.basis for _, note in notes.criteria.present()} == {basis}
    assert (notes.criteria.pronunciation is None) is (basis is Basis.TRANSCRIPT)
    assert notes.strengths == ("Pace.",)
    assert notes.next_steps == ("Tenses.",)


@pytest.mark.parametrize(
    "changes",
    [
        {"fluency_coherence": {"band": "6", "comment": "Clear."}},
        {"fluency_coherence": {"band": 6.0, "comment": " Clear. "}},
        {"fluency_coherence": '{"band": 6, "comment": "Clear."}'},
        {"strengths": "Pace."},
        {"strengths": '["Pace."]'},
        {"strengths": ["Pace.", " ", ""]},
        {"next_steps": ["\ud800Tenses.\x00"]},
    ],
)
def test_tolerance_for_how_models_write(changes):
    """Numbers and lists as text, and blanks, do not cost a correction."""
    expected = parse_part_notes(arguments(), part=1, basis=Basis.HEARD)
    assert parse_part_notes(arguments(**changes), part=1, basis=Basis.HEARD) == expected


def test_long_texts_are_shortened_not_refused():
    """A model cannot count characters, so a long comment is cut."""
    long = {"band": 6, "comment": "word " * 400}
    notes = parse_part_notes(arguments(fluency_coherence=long, strengths=["word " * 400]), part=1, basis=Basis.HEARD)
    comment = notes.criteria.fluency_coherence.comment
    assert comment.startswith("word word")
    assert comment.endswith("…")
    assert len(comment.encode()) <= COMMENT_BYTES
    assert len(notes.strengths[0].encode()) <= POINT_BYTES


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"fluency_coherence": {"band": 10, "comment": "x"}}, "fluency_coherence.band must be a whole number from 0 to 9"),
        ({"fluency_coherence": {"band": 6.5, "comment": "x"}}, "fluency_coherence.band must be a whole number"),
        ({"fluency_coherence": {"band": True, "comment": "x"}}, "fluency_coherence.band must be a whole number"),
        ({"fluency_coherence": {"band": "six", "comment": "x"}}, "fluency_coherence.band must be a whole number"),
        ({"fluency_coherence": {"band": 10**400, "comment": "x"}}, "fluency_coherence.band must be a whole number"),
        ({"fluency_coherence": {"comment": "x"}}, "fluency_coherence.band is missing"),
        ({"fluency_coherence": {"band": 6}}, "fluency_coherence.comment is missing"),
        ({"fluency_coherence": {"band": 6, "comment": " "}}, "fluency_coherence.comment must not be blank"),
        ({"fluency_coherence": {"band": 6, "comment": 3}}, "fluency_coherence.comment must be a text"),
        ({"fluency_coherence": {"band": 6, "comment": "\ud800"}}, "fluency_coherence.comment must not be blank"),
        ({"fluency_coherence": 6}, "fluency_coherence must be an object with band and comment"),
        ({"fluency_coherence": "{" * 9}, "fluency_coherence must be an object"),
        ({"fluency_coherence": "[" * 100_000}, "fluency_coherence must be an object"),
        ({"strengths": {"a": 1}}, "strengths must be a list of texts"),
        ({"strengths": ["a", 2]}, "strengths.1 must be a text"),
    ],
)  # fmt: skip
def test_refusals_name_the_field(changes, text):
    """Each wrong field is named with what it should be."""
    assert text in refusal(arguments(**changes))


def test_a_refusal_names_every_field_and_no_content():
    """All faults at once, so one correction is enough; and nothing of what was written, not even as a field name."""
    text = refusal({"I went to the market": 1, "fluency_coherence": {"band": "secret", "comment": "secret " * 3}})
    assert text == (
        "fluency_coherence.band must be a whole number from 0 to 9; lexical_resource is missing; "
        "grammatical_range_accuracy is missing; strengths is missing; next_steps is missing; pronunciation is missing; "
        "there are fields that the schema does not have. Call assess_part again with all fields right."
    )


def test_a_refusal_is_bounded():
    """Thousands of faults make no long text."""
    assert len(refusal(arguments(strengths=list(range(5_000))))) < 800


def test_arguments_that_are_no_object():
    """What could not be parsed at all is refused like the rest."""
    assert "JSON object" in refusal(None)


def test_pronunciation_from_a_transcript_is_refused():
    """Nobody heard it, so it is a field too many."""
    assert "does not have" in refusal(arguments(), basis=Basis.TRANSCRIPT)


def test_the_correction_is_a_tool_result():
    """A refusal goes back as a JSON document with an error."""
    _, result, _ = PromptEvents("p").tool_result("use-1", correction(BadToolInput("strengths is missing")))
    content = json.loads(result)["event"]["toolResult"]["content"]
    assert json.loads(content) == {"error": "strengths is missing"}


def test_summary():
    """The text of the whole assessment, tidied."""
    summary = parse_summary({"summary": "A good\ntest.", "strengths": ["Pace."], "next_steps": []})
    assert (summary.summary, summary.strengths, summary.next_steps) == ("A good test.", ("Pace.",), ())


@pytest.mark.parametrize("bad", [None, {}, {"summary": "", "strengths": [], "next_steps": []}, {"summary": "x"}])
def test_bad_summaries_are_refused(bad):
    """A summary without its fields is refused, and the notes themselves will serve."""
    with pytest.raises(BadToolInput, match="summar"):
        parse_summary(bad)
