"""Written assessments to be saved, queued and read back."""

from collections.abc import Sequence
from typing import Any

from gateway.core.assessment import Assessment, Basis, PartNotes, join_parts, parse_part_notes

LEARNER = "a1b2c3d4-1111-2222-3333-444455556666"
SESSION = "6f1c2a4e-3a55-4d0c-9d4f-2b7a0c1d5e6f"
EPOCH = 1_763_640_000_000
_CRITERIA = ("fluency_coherence", "lexical_resource", "grammatical_range_accuracy", "pronunciation")


def notes(part: int, *, band: int = 6) -> PartNotes:
    """Return notes of a part."""
    judged = {name: {"band": band, "comment": f"Written about {name}."} for name in _CRITERIA}
    arguments = {**judged, "strengths": ["You link ideas."], "next_steps": ["Practise past tenses \u2013 daily."]}
    return parse_part_notes(arguments, part=part, basis=Basis.HEARD)


def assessment(parts: Sequence[int] = (1, 2, 3), *, band: int = 6, **changes: Any) -> Assessment:
    """Return the assessment of these parts; with all three of them it is complete."""
    fields: dict[str, Any] = {
        "session_id": SESSION,
        "module": "academic_speaking",
        "epoch": EPOCH,
        "created_at": "2026-11-20T11:00:00Z",
        "spoken_ms_by_part": dict.fromkeys(parts, 61_000),
    }
    return join_parts([notes(part, band=band) for part in parts], **{**fields, **changes})
