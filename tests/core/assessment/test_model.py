"""The documents that are written down."""

import json
from decimal import Decimal

import pytest
from pydantic import ValidationError

from gateway.core.assessment import Assessment, PartNotes
from gateway.core.assessment.text import COMMENT_BYTES, MAX_POINTS, POINT_BYTES, SUMMARY_BYTES
from gateway.core.messages import MAX_MESSAGE_BYTES, AssessmentMessage
from gateway.core.wire import encode, parse_down

SESSION = "6f1c2a4e-3a55-4d0c-9d4f-2b7a0c1d5e6f"


def note(band=6, *, basis="heard", comment="Clear."):
    """Return a note on a criterion."""
    return {"band": band, "comment": comment, "basis": basis}


def criteria(**changes):
    """Return notes on all criteria."""
    names = ("fluency_coherence", "lexical_resource", "grammatical_range_accuracy", "pronunciation")
    return {**{name: note() for name in names}, **changes}


def part(number=1, **changes):
    """Return the notes of a part."""
    return {"part": number, "criteria": criteria(), "strengths": ["Pace."], "next_steps": ["Tenses."], **changes}


def assessment(**changes):
    """Return a whole assessment."""
    document = {
        "version": 1,
        "session_id": SESSION,
        "module": "academic_speaking",
        "status": "partial",
        "parts_assessed": [1, 2],
        "criteria": criteria(),
        "overall": 6.0,
        "summary": "A good test.",
        "strengths": ["Pace."],
        "next_steps": ["Tenses."],
        "parts": [part(1), part(2)],
        "spoken_s": 120,
        "epoch": 3,
        "created_at": "2026-11-20T11:00:00Z",
    }
    return {**document, **changes}


def test_an_assessment_survives_json():
    """What is written can be read back, as JSON and as a database item with decimals."""
    written = Assessment.model_validate(assessment())
    assert Assessment.model_validate_json(written.model_dump_json()) == written
    item = json.loads(written.model_dump_json(), parse_float=Decimal, parse_int=Decimal)
    assert Assessment.model_validate(item) == written


def test_notes_of_a_part_survive_json():
    """Notes are kept as progress and read by a later relay."""
    written = PartNotes.model_validate(part(3, criteria=criteria(pronunciation=None)))
    assert PartNotes.model_validate_json(written.model_dump_json()) == written


def test_an_assessment_without_anything_assessed():
    """A test of which nothing could be assessed is partial and has no bands."""
    document = assessment(parts=[], parts_assessed=[], criteria=None, overall=None)
    assert Assessment.model_validate(document).overall is None


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"overall": 6.5}, "rounded mean"),
        ({"overall": 6.2}, "multiple of 0.5"),
        ({"overall": None}, "rounded mean"),
        ({"criteria": None, "overall": None}, "exactly when parts are"),
        ({"parts": [], "parts_assessed": []}, "exactly when parts are"),
        ({"parts": [], "parts_assessed": [], "criteria": None, "overall": None, "status": "complete"}, "is partial"),
        ({"parts_assessed": [1]}, "parts_assessed must name"),
        ({"parts": [part(2), part(1)], "parts_assessed": [2, 1]}, "in their order"),
        ({"parts": [part(2), part(2)], "parts_assessed": [2, 2]}, "each once"),
        ({"parts": [part(4)], "parts_assessed": [4]}, "less than or equal to 3"),
        ({"session_id": "nobody"}, "session_id"),
        ({"module": "writing"}, "module"),
        ({"status": "done"}, "status"),
        ({"version": 2}, "version"),
        ({"spoken_s": -1}, "spoken_s"),
        ({"created_at": "yesterday"}, "created_at"),
        ({"summary": ""}, "summary"),
        ({"summary": "two\nlines"}, "one line"),
        ({"summary": "é" * 700}, "at most 1200 bytes"),
        ({"strengths": ["x"] * 6}, "strengths"),
        ({"next_steps": ["x" * 161]}, "next_steps"),
        ({"criteria": criteria(lexical_resource=note(10))}, "less than or equal to 9"),
        ({"criteria": criteria(lexical_resource=note(6.5))}, "valid integer"),
        ({"criteria": criteria(lexical_resource=note(True))}, "boolean"),
        ({"criteria": criteria(lexical_resource=None)}, "lexical_resource"),
        ({"criteria": criteria(pronunciation=note(basis="transcript"))}, "must have been heard"),
        ({"criteria": criteria(pronunciation=note(basis="guessed"))}, "basis"),
        ({"transcript": "x"}, "Extra inputs"),
    ],
)
def test_what_an_assessment_may_not_be(changes, named):
    """Each wrong field is refused by name."""
    with pytest.raises(ValidationError, match=named):
        Assessment.model_validate(assessment(**changes))


def test_errors_do_not_quote_their_input():
    """A refused text does not reach a log by way of the error."""
    with pytest.raises(ValidationError) as caught:
        Assessment.model_validate(assessment(summary="secret words\nof a learner", transcript="secret words"))
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("fill", ["x", "é", "漢", "🎤", '"'])
def test_the_largest_assessment_is_far_below_every_limit(fill):
    """Filled to the brim, in any script, the message takes well under 24 KiB."""

    def brim(max_bytes):
        per_character = len(json.dumps(fill, ensure_ascii=False).encode()) - 2
        return fill * (max_bytes // per_character)

    points = [brim(POINT_BYTES)] * MAX_POINTS
    full = criteria(**{name: note(9, comment=brim(COMMENT_BYTES)) for name in criteria()})
    document = assessment(
        status="complete",
        parts_assessed=[1, 2, 3],
        criteria=full,
        overall=9.0,
        summary=brim(SUMMARY_BYTES),
        strengths=points,
        next_steps=points,
        parts=[part(number, criteria=full, strengths=points, next_steps=points) for number in (1, 2, 3)],
    )
    dumped = Assessment.model_validate(document).model_dump(mode="json")
    message = encode(AssessmentMessage(epoch=1, n=1, assessment=dumped, saved=True))
    assert len(message.encode()) < 0.75 * MAX_MESSAGE_BYTES


def test_an_assessment_crosses_the_wire():
    """What the app receives validates as the same assessment, null pronunciation included."""
    quiet = criteria(pronunciation=None)
    written = Assessment.model_validate(assessment(criteria=quiet, parts=[part(1, criteria=quiet), part(2)]))
    dumped = written.model_dump(mode="json")
    received = parse_down(encode(AssessmentMessage(epoch=1, n=1, assessment=dumped, saved=True)))
    assert isinstance(received, AssessmentMessage)
    assert Assessment.model_validate(received.assessment) == written
