"""The tools through which the models write: their JSON Schemas from pydantic models, and their arguments checked.

Amazon Nova takes schemas without references and with no keys at the top but ``type``, ``properties`` and ``required``;
the schemas are made to fit. Arguments are read with some tolerance for how models write them: numbers and lists as
text, text that is too long. What is refused is refused with a text that can be sent back to the model.
"""

import json
from collections.abc import Mapping
from typing import Annotated, Any, Final

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic_core import PydanticCustomError

from gateway.core.assessment.bands import Criterion
from gateway.core.assessment.model import Band, Basis, Criteria, CriterionNote, PartNotes, Summary
from gateway.core.assessment.text import COMMENT_BYTES, MAX_POINTS, POINT_BYTES, SUMMARY_BYTES, one_line, shorten
from gateway.core.errors import BadToolInput
from gateway.core.nova_events import ToolSpec

ASSESS_PART: Final = "assess_part"
"""Name of the tool that writes the notes of one part."""

SUMMARISE_TEST: Final = "summarise_test"
"""Name of the tool that writes the text of the whole assessment."""

_MAX_FAULTS: Final = 12


def _from_json(value: Any) -> Any:
    """Decode an object or list that a model wrote as a text."""
    if isinstance(value, str) and value.lstrip()[:1] in ("{", "["):
        try:
            return json.loads(value)
        except (ValueError, RecursionError):
            return value
    return value


def _as_list(value: Any) -> Any:
    decoded = _from_json(value)
    return [decoded] if isinstance(decoded, str) else decoded


def _line(max_bytes: int) -> AfterValidator:
    def tidy(text: str) -> str:
        line = shorten(text, max_bytes)
        if not line:
            raise PydanticCustomError("blank", "blank")
        return line

    return AfterValidator(tidy)


def _tidy_points(texts: list[str]) -> list[str]:
    return [shorten(text, POINT_BYTES) for text in texts if one_line(text)][:MAX_POINTS]


_Points = Annotated[list[str], BeforeValidator(_as_list), AfterValidator(_tidy_points)]


class _Arguments(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class _Judgement(_Arguments):
    band: Band = Field(description="whole band from 0 to 9")
    comment: Annotated[str, _line(COMMENT_BYTES)] = Field(description="one or two sentences to the candidate")


_Criterion = Annotated[_Judgement, BeforeValidator(_from_json)]


class _FromTranscript(_Arguments):
    """Arguments of `ASSESS_PART` where nobody heard the learner."""

    fluency_coherence: _Criterion
    lexical_resource: _Criterion
    grammatical_range_accuracy: _Criterion
    strengths: _Points = Field(description="one to three short sentences")
    next_steps: _Points = Field(description="one to three short sentences: what to practise")


class _FromHearing(_FromTranscript):
    """Arguments of `ASSESS_PART` for a model that heard the learner."""

    pronunciation: _Criterion


class _SummaryArguments(_Arguments):
    """Arguments of `SUMMARISE_TEST`."""

    summary: Annotated[str, _line(SUMMARY_BYTES)] = Field(description="three to five sentences to the candidate")
    strengths: _Points = Field(description="two or three short sentences")
    next_steps: _Points = Field(description="two or three short sentences: what to practise")


_PART_ARGUMENTS: Final[Mapping[Basis, type[_FromTranscript]]] = {
    Basis.HEARD: _FromHearing,
    Basis.TRANSCRIPT: _FromTranscript,
}


def assess_part_tool(*, basis: Basis = Basis.HEARD) -> ToolSpec:
    """Return the tool that writes the notes of one part; with pronunciation where the model hears the learner."""
    return ToolSpec(
        ASSESS_PART,
        "Write the assessment of this part of the speaking test, when asked to assess it.",
        inline_schema(_PART_ARGUMENTS[basis]),
    )


def summarise_tool() -> ToolSpec:
    """Return the tool that writes the text of the whole assessment."""
    return ToolSpec(
        SUMMARISE_TEST,
        "Write the summary of the whole speaking test for the candidate.",
        inline_schema(_SummaryArguments),
    )


def parse_part_notes(arguments: Mapping[str, object] | None, *, part: int, basis: Basis) -> PartNotes:
    """Return the notes of a part from a tool's arguments.

    Args:
        arguments: What the model called the tool with; None if it was no JSON object.
        part: The part that was assessed, 1 to 3.
        basis: Whether the model heard the learner or read a transcript.

    Raises:
        BadToolInput: Fields are missing, wrong or too many; names them without their content.
    """
    parsed = _parse(_PART_ARGUMENTS[basis], arguments, ASSESS_PART)
    judged = {criterion.value: getattr(parsed, criterion.value, None) for criterion in Criterion}
    notes = {
        name: CriterionNote(band=judgement.band, comment=judgement.comment, basis=basis)
        for name, judgement in judged.items()
        if judgement is not None
    }
    return PartNotes(
        part=part,
        criteria=Criteria(**notes),
        strengths=tuple(parsed.strengths),
        next_steps=tuple(parsed.next_steps),
    )


def parse_summary(arguments: Mapping[str, object] | None) -> Summary:
    """Return the text of the whole assessment from a tool's arguments.

    Raises:
        BadToolInput: Fields are missing, wrong or too many; names them without their content.
    """
    parsed = _parse(_SummaryArguments, arguments, SUMMARISE_TEST)
    return Summary(
        summary=parsed.summary,
        strengths=tuple(parsed.strengths),
        next_steps=tuple(parsed.next_steps),
    )


def correction(error: BadToolInput) -> dict[str, object]:
    """Return the tool result that tells the model what to mend."""
    return {"error": str(error)}


_SCHEMA_KEYS: Final = ("type", "description", "minimum", "maximum")


def inline_schema(model: type[BaseModel]) -> dict[str, object]:
    """Return a model's JSON Schema in the compact form Amazon Nova takes: no references, no titles, no defaults."""
    schema = model.model_json_schema()
    inlined = _inline(schema, schema.get("$defs", {}))
    inlined.pop("description", None)
    return inlined


def _inline(schema: Mapping[str, Any], definitions: Mapping[str, Any]) -> dict[str, object]:
    if "$ref" in schema:
        schema = {**definitions[schema["$ref"].rpartition("/")[2]], **schema}
    result: dict[str, object] = {key: schema[key] for key in _SCHEMA_KEYS if key in schema}
    if "items" in schema:
        result["items"] = _inline(schema["items"], definitions)
    if "properties" in schema:
        result["properties"] = {name: _inline(field, definitions) for name, field in schema["properties"].items()}
        result["required"] = list(schema["required"])
    return result


_FAULTS: Final[Mapping[str, str]] = {
    "missing": "is missing",
    "blank": "must not be blank",
    "string_type": "must be a text",
    "string_unicode": "must be a text",
    "list_type": "must be a list of texts",
    "model_type": "must be an object with band and comment",
}
_BAND_FAULTS: Final = "must be a whole number from 0 to 9"


def _parse[M: _Arguments](model: type[M], arguments: Mapping[str, object] | None, tool: str) -> M:
    if arguments is None:
        raise BadToolInput(f"the arguments of {tool} must be a JSON object")
    try:
        return model.model_validate(dict(arguments))
    except ValidationError as error:
        faults = _faults(error)
    raise BadToolInput(f"{'; '.join(faults)}. Call {tool} again with all fields right.")


def _faults(error: ValidationError) -> list[str]:
    """Name the wrong fields. Names that are not the schema's are the model's own words and are left out."""
    faults: dict[str, None] = {}
    for detail in error.errors(include_url=False, include_context=False, include_input=False):
        if detail["type"] == "extra_forbidden":
            faults["there are fields that the schema does not have"] = None
            continue
        path = ".".join(str(step) for step in detail["loc"])
        fallback = _BAND_FAULTS if path.endswith("band") else "is wrong"
        faults[f"{path} {_FAULTS.get(detail['type'], fallback)}"] = None
    return list(faults)[:_MAX_FAULTS]
