"""The written assessment: bands, notes, the models' tools, the joined whole, and the guard against quotations."""

from gateway.core.assessment.bands import (
    WRITTEN_CRITERIA,
    Criterion,
    band_guide,
    describe_band,
    overall_band,
    weighted_band,
)
from gateway.core.assessment.join import ALL_PARTS, join_parts
from gateway.core.assessment.micro import MicroRequest, TranscriptLine, micro_assess_request, micro_summary_request
from gateway.core.assessment.model import Assessment, Basis, Criteria, CriterionNote, PartNotes, Summary
from gateway.core.assessment.quotation import MAX_QUOTED_WORDS, QuotationGuard
from gateway.core.assessment.tool import (
    ASSESS_PART,
    SUMMARISE_TEST,
    assess_part_tool,
    correction,
    parse_part_notes,
    parse_summary,
    summarise_tool,
)

__all__ = [
    "ALL_PARTS",
    "ASSESS_PART",
    "MAX_QUOTED_WORDS",
    "SUMMARISE_TEST",
    "WRITTEN_CRITERIA",
    "Assessment",
    "Basis",
    "Criteria",
    "Criterion",
    "CriterionNote",
    "MicroRequest",
    "PartNotes",
    "QuotationGuard",
    "Summary",
    "TranscriptLine",
    "assess_part_tool",
    "band_guide",
    "correction",
    "describe_band",
    "join_parts",
    "micro_assess_request",
    "micro_summary_request",
    "overall_band",
    "parse_part_notes",
    "parse_summary",
    "summarise_tool",
    "weighted_band",
]
