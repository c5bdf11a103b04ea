"""The written assessment: notes of each part, and the whole that is saved and shown to the learner.

Every free text is one line of bounded length (`text`), so the largest possible assessment stays far below the 24 KiB
of a maya.v1 message and the 400 KB of a DynamoDB item.
"""

from collections.abc import Iterator
from enum import StrEnum
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from gateway.core.assessment.bands import HIGHEST_BAND, LOWEST_BAND, Criterion, overall_band
from gateway.core.assessment.text import (
    COMMENT_BYTES,
    MAX_POINTS,
    POINT_BYTES,
    SUMMARY_BYTES,
    json_bytes,
    one_line,
)
from gateway.core.messages import Module


class Basis(StrEnum):
    """What a band rests on: the learner's voice, or only the transcript of it."""

    HEARD = "heard"
    TRANSCRIPT = "transcript"


def _no_boolean(value: Any) -> Any:
    if isinstance(value, bool):
        raise ValueError("a boolean is no number")  # noqa: TRY004 - pydantic turns only a ValueError into its own
    return value


def _bounded(max_bytes: int) -> AfterValidator:
    def check(text: str) -> str:
        if text != one_line(text):
            raise ValueError("must be one line")
        if json_bytes(text) > max_bytes:
            raise ValueError(f"must take at most {max_bytes} bytes")
        return text

    return AfterValidator(check)


Band = Annotated[int, Field(ge=LOWEST_BAND, le=HIGHEST_BAND), BeforeValidator(_no_boolean)]
Part = Annotated[int, Field(ge=1, le=3), BeforeValidator(_no_boolean)]
Comment = Annotated[str, Field(min_length=1, max_length=COMMENT_BYTES), _bounded(COMMENT_BYTES)]
Point = Annotated[str, Field(min_length=1, max_length=POINT_BYTES), _bounded(POINT_BYTES)]
Points = Annotated[tuple[Point, ...], Field(max_length=MAX_POINTS)]
SummaryText = Annotated[str, Field(min_length=1, max_length=SUMMARY_BYTES), _bounded(SUMMARY_BYTES)]


class _Document(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class CriterionNote(_Document):
    """A band and why."""

    band: Band
    comment: Comment
    basis: Basis


class Criteria(_Document):
    """A note on each criterion; pronunciation is null where nobody heard the learner."""

    fluency_coherence: CriterionNote
    lexical_resource: CriterionNote
    grammatical_range_accuracy: CriterionNote
    pronunciation: CriterionNote | None = None

    def present(self) -> Iterator[tuple[Criterion, CriterionNote]]:
        """Yield the criteria that were judged, in their order."""
        for criterion in Criterion:
            note = getattr(self, criterion.value)
            if note is not None:
                yield criterion, note

    @model_validator(mode="after")
    def _pronunciation_is_heard(self) -> Self:
        if self.pronunciation is not None and self.pronunciation.basis is not Basis.HEARD:
            raise ValueError("pronunciation must have been heard")
        return self


class PartNotes(_Document):
    """What is written down about one part when it is over; no words that were spoken."""

    part: Part
    criteria: Criteria
    strengths: Points = ()
    next_steps: Points = ()


class Summary(_Document):
    """What is written about the whole test from the notes of its parts."""

    summary: SummaryText
    strengths: Points
    next_steps: Points


class Assessment(_Document):
    """The written assessment of a speaking test, as it is saved, shown, and published.

    Attributes:
        version: Of this document.
        session_id: The session's UUID.
        module: The module that was tested.
        status: Whether all parts of the test were assessed.
        parts_assessed: Numbers of the parts in `parts`.
        criteria: Whole bands over all parts, weighted by speaking time; null when nothing could be assessed.
        overall: Their mean as a half band; null when nothing could be assessed.
        summary: A few sentences for the learner.
        strengths: What went well.
        next_steps: What to practise.
        parts: The notes of each part.
        spoken_s: How long the learner spoke, in whole seconds.
        epoch: Of the relay that wrote it; a save needs one not below the stored one.
        created_at: When it was written, ISO 8601 in UTC.
    """

    version: Literal[1] = 1
    session_id: Annotated[str, Field(pattern=r"^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$")]
    module: Module
    status: Literal["complete", "partial"]
    parts_assessed: Annotated[tuple[Part, ...], Field(max_length=3)]
    criteria: Criteria | None = None
    overall: Annotated[float, Field(ge=LOWEST_BAND, le=HIGHEST_BAND, multiple_of=0.5)] | None = None
    summary: SummaryText
    strengths: Points
    next_steps: Points
    parts: Annotated[tuple[PartNotes, ...], Field(max_length=3)]
    spoken_s: Annotated[int, Field(ge=0, le=86_400)]
    epoch: Annotated[int, Field(ge=0)]
    created_at: Annotated[str, Field(max_length=40, pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|\+00:00)$")]

    @model_validator(mode="after")
    def _parts_agree(self) -> Self:
        numbers = tuple(notes.part for notes in self.parts)
        if numbers != self.parts_assessed or list(numbers) != sorted(set(numbers)):
            raise ValueError("parts_assessed must name the parts in their order, each once")
        if not self.parts and self.status != "partial":
            raise ValueError("an assessment without parts is partial")
        return self

    @model_validator(mode="after")
    def _bands_agree(self) -> Self:
        if (self.criteria is None) is bool(self.parts):
            raise ValueError("criteria are there exactly when parts are")
        expected = None if self.criteria is None else overall_band([note.band for _, note in self.criteria.present()])
        if self.overall != expected:
            raise ValueError("overall must be the rounded mean of the criteria")
        return self
