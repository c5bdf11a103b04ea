"""Joining the notes of the parts into one assessment."""

from collections.abc import Collection, Mapping, Sequence
from typing import Final

from gateway.core.assessment.bands import Criterion, overall_band, weighted_band
from gateway.core.assessment.model import Assessment, Basis, Criteria, CriterionNote, PartNotes, Summary
from gateway.core.assessment.text import MAX_POINTS, SUMMARY_BYTES, shorten
from gateway.core.messages import Module

ALL_PARTS: Final = (1, 2, 3)
"""The parts of a whole speaking test."""


def join_parts(
    notes: Sequence[PartNotes],
    *,
    spoken_ms_by_part: Mapping[int, float],
    session_id: str,
    module: Module,
    epoch: int,
    created_at: str,
    planned_parts: Collection[int] = ALL_PARTS,
    summary: Summary | None = None,
) -> Assessment:
    """Return the assessment of a test.

    Each criterion is the mean of the parts that judged it, weighted by how long the learner spoke in them, in whole
    bands. Its comment is that of the part that weighs most. A criterion counts as heard when every part that judged it
    heard it.

    Args:
        notes: Notes of the parts; of several for one part the last counts. None at all gives a partial assessment
            without bands, which still tells that the test took place.
        spoken_ms_by_part: How long the learner spoke in each part, in ms, assessed or not.
        session_id: The session's UUID.
        module: The module that was tested.
        epoch: Of the relay that writes.
        created_at: ISO 8601 in UTC.
        planned_parts: Parts of the test as planned; the assessment is complete when all have notes.
        summary: What Nova Micro wrote about the whole; without it the parts' own notes serve, in their order.
    """
    parts = [part for _, part in sorted({part.part: part for part in notes}.items())]
    weights = [_milliseconds(spoken_ms_by_part.get(part.part, 0)) for part in parts]
    spoken_s = sum(map(_milliseconds, spoken_ms_by_part.values())) // 1000
    criteria = _join_criteria(parts, weights) if parts else None
    text = summary or _text_from_notes(parts, criteria)
    return Assessment(
        session_id=session_id,
        module=module,
        status="complete" if parts and {part.part for part in parts} >= set(planned_parts) else "partial",
        parts_assessed=tuple(part.part for part in parts),
        criteria=criteria,
        overall=None if criteria is None else overall_band([note.band for _, note in criteria.present()]),
        summary=text.summary,
        strengths=text.strengths,
        next_steps=text.next_steps,
        parts=tuple(parts),
        spoken_s=spoken_s,
        epoch=epoch,
        created_at=created_at,
    )


def _milliseconds(value: float) -> int:
    return max(0, round(value))


def _join_criteria(parts: Sequence[PartNotes], weights: Sequence[int]) -> Criteria:
    joined: dict[str, CriterionNote] = {}
    for criterion in Criterion:
        judged = [
            (note, weight)
            for part, weight in zip(parts, weights, strict=True)
            for judged_criterion, note in part.criteria.present()
            if judged_criterion is criterion
        ]
        if judged:
            joined[criterion.value] = _join_notes([note for note, _ in judged], [weight for _, weight in judged])
    return Criteria(**joined)


def _join_notes(notes: Sequence[CriterionNote], weights: Sequence[int]) -> CriterionNote:
    heaviest = max(range(len(notes)), key=weights.__getitem__)
    return CriterionNote(
        band=weighted_band([note.band for note in notes], weights),
        comment=notes[heaviest].comment,
        basis=Basis.HEARD if all(note.basis is Basis.HEARD for note in notes) else Basis.TRANSCRIPT,
    )


def _text_from_notes(parts: Sequence[PartNotes], criteria: Criteria | None) -> Summary:
    if criteria is None:
        return Summary(
            summary="The test took place, but it could not be assessed. Please take it again.",
            strengths=(),
            next_steps=(),
        )
    return Summary(
        summary=shorten(_describe(parts, criteria), SUMMARY_BYTES),
        strengths=_first_points([part.strengths for part in parts]),
        next_steps=_first_points([part.next_steps for part in parts]),
    )


def _describe(parts: Sequence[PartNotes], criteria: Criteria) -> str:
    notes = list(criteria.present())
    best = max(notes, key=lambda item: item[1].band)
    worst = min(notes, key=lambda item: item[1].band)
    numbers = ", ".join(str(part.part) for part in parts)
    where = f"part {numbers}" if len(parts) == 1 else f"parts {numbers}"
    overall = overall_band([note.band for _, note in notes])
    text = f"Overall band {overall:g}, from {where} of the test."
    if best[1].band == worst[1].band:
        return f"{text} All criteria are at band {best[1].band}."
    return (
        f"{text} Strongest: {best[0].label}, band {best[1].band}. Most to gain: {worst[0].label}, band {worst[1].band}."
    )


def _first_points(points_by_part: Sequence[Sequence[str]]) -> tuple[str, ...]:
    """Take the points in their order, each once; the first of every part come before the second of any."""
    longest = max((len(points) for points in points_by_part), default=0)
    rows = (points[row] for row in range(longest) for points in points_by_part if row < len(points))
    return tuple(dict.fromkeys(rows))[:MAX_POINTS]
