"""Filling in a tool's arguments: values that satisfy any JSON Schema, and mean what the field's name says.

Understood are the keywords that tool schemas use: `type`, `properties`, `required`, `additionalProperties`, `items`,
`prefixItems`, `minItems`, `maxItems`, `uniqueItems`, `enum`, `const`, `anyOf`, `oneOf`, `allOf`, `$ref`, the bounds of
numbers and `multipleOf`, the lengths of texts, and `pattern` where one of a few usual texts fits it.
"""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from infra.local.nova.minds.evidence import Criterion
from infra.local.nova.minds.wording import Wording

type Schema = Mapping[str, Any]
type Path = tuple[str, ...]

_DEEPEST: Final = 12
"""Optional fields are left out below this, so that schemas that contain themselves come to an end."""
_USUAL_ITEMS: Final = 2
_TRIES: Final = 8
_ITEM: Final = "[]"
"""Stands in paths for the items of a list."""
_FINE: Final = 0.5
"""The grid of numbers that may be anything."""
_FAR: Final = 1_000_000
_ANY_RANGE: Final = 10_000
"""A number whose bounds lie further apart is no scale that bands could be put on."""
_CRITERIA: Final = (
    (re.compile(r"pronun|intonation|accent"), Criterion.PRONUNCIATION),
    (re.compile(r"lexic|vocab|word"), Criterion.VOCABULARY),
    (re.compile(r"gramma"), Criterion.GRAMMAR),
    (re.compile(r"fluen|coheren"), Criterion.FLUENCY),
)
_STRENGTH: Final = re.compile(r"strength|went_well|positive|good")
_STEP: Final = re.compile(r"next|step|practi[cs]e|improve|weak|advice|recommend")
_PATTERN_TEXTS: Final = (
    "a",
    "A",
    "0",
    "1",
    "en",
    "2000-01-01",
    "2000-01-01T00:00:00Z",
    "00000000-0000-0000-0000-000000000000",
)
_SPARE_TEXT: Final = "This was judged from the whole of what was said."


@dataclass(frozen=True, slots=True)
class Findings:
    """What the form is filled in with.

    Attributes:
        bands: a whole band for each criterion.
        wording: the texts.
        part: number of the part, None where it is not known.
        heard: whether the learner was heard or only a transcript read.
    """

    bands: Mapping[Criterion, int]
    wording: Wording
    part: int | None
    heard: bool


def fill_in(schema: Schema, findings: Findings, *, complaint: str = "") -> Any:
    """Return arguments that satisfy `schema`.

    Args:
        schema: the tool's JSON Schema.
        findings: what to say.
        complaint: what was wrong with an earlier attempt; optional fields that it names are left out, texts that it
            names are shortened to a sentence.
    """
    return _Form(schema, findings, complaint).value(schema, ())


class _Form:
    def __init__(self, root: Schema, findings: Findings, complaint: str) -> None:
        self._root = root
        self._findings = findings
        self._named = set(re.findall(r"\w+", complaint))

    def value(self, schema: Any, path: Path, index: int = 0) -> Any:
        """Return a value for `schema`; `index` tells the items of a list apart."""
        if not isinstance(schema, Mapping):
            return {}  # the schema `true`
        schema = self._resolve(schema, path)
        if "const" in schema:
            return schema["const"]
        if schema.get("enum"):
            return self._choose(schema["enum"], index)
        return _FILLERS[_kind(schema)](self, schema, path, index)

    def _resolve(self, schema: Schema, path: Path) -> Schema:
        """Follow references and choose among alternatives until plain keywords are left."""
        for _ in range(32):
            if "$ref" in schema:
                target = self._look_up(str(schema["$ref"]))
                schema = {**target, **{key: value for key, value in schema.items() if key != "$ref"}}
            elif "allOf" in schema:
                schema = _merged([{k: v for k, v in schema.items() if k != "allOf"}, *schema["allOf"]])
            elif "anyOf" in schema or "oneOf" in schema:
                key = "anyOf" if "anyOf" in schema else "oneOf"
                rest = {k: v for k, v in schema.items() if k != key}
                schema = _merged([rest, self._alternative(schema[key], path)])
            else:
                break
        return schema

    def _look_up(self, reference: str) -> Schema:
        found: Any = self._root
        for step in reference.removeprefix("#").split("/")[1:]:
            found = found[step.replace("~1", "/").replace("~0", "~")]
        return dict(found)

    def _alternative(self, schemas: Sequence[Schema], path: Path) -> Schema:
        nulls = [schema for schema in schemas if schema.get("type") == "null"]
        others = [schema for schema in schemas if schema.get("type") != "null"]
        unheard = _criterion(path) is Criterion.PRONUNCIATION and not self._findings.heard
        return nulls[0] if nulls and (unheard or not others or len(path) > _DEEPEST) else others[0]

    def _choose(self, options: Sequence[Any], index: int) -> Any:
        wanted = ("heard" if self._findings.heard else "transcript", self._findings.part)
        fitting = [option for option in options if option in wanted and not isinstance(option, bool)]
        return fitting[0] if fitting and index == 0 else options[index % len(options)]

    def object(self, schema: Schema, path: Path, index: int) -> dict[str, Any]:
        properties: Mapping[str, Any] = schema.get("properties", {})
        required = list(schema.get("required", ()))
        wanted = [n for n in properties if n in required or (len(path) < _DEEPEST and n not in self._named)]
        filled = {name: self.value(properties[name], (*path, name), index) for name in wanted}
        extra = schema.get("additionalProperties", {"type": "string"})
        for name in required:
            if name not in filled:
                filled[name] = self.value(extra if isinstance(extra, Mapping) else {}, (*path, name))
        return filled

    def array(self, schema: Schema, path: Path, _index: int) -> list[Any]:
        first: Sequence[Schema] = schema.get("prefixItems", ())
        items = schema.get("items", {"type": "string"})
        least, most = schema.get("minItems", 0), schema.get("maxItems", math.inf)
        count = int(min(most, max(least, len(first), _USUAL_ITEMS if items is not False else 0)))
        if len(path) > _DEEPEST // 2:
            count = least
        filled: list[Any] = []
        for index in range(count):
            item = first[index] if index < len(first) else items
            if schema.get("uniqueItems"):
                filled += self._another(item, (*path, _ITEM), index, filled)
            else:
                filled.append(self.value(item, (*path, _ITEM), index))
        return filled

    def _another(self, schema: Schema, path: Path, index: int, before: Sequence[Any]) -> list[Any]:
        """Return one item that is not among those before it, or none."""
        candidates = (self.value(schema, path, index + more) for more in range(_TRIES))
        return [item for item in candidates if item not in before][:1]

    def text(self, schema: Schema, path: Path, index: int) -> str:
        text = self._meant(path, index)
        if path and path[-1] in self._named:
            text = text.partition(". ")[0].rstrip(".") + "."
        least, most = schema.get("minLength", 0), schema.get("maxLength", math.inf)
        while len(text) < least:
            text = f"{text} {_SPARE_TEXT}"
        if len(text) > most:
            text = _cut(text, int(most), least)
        pattern = schema.get("pattern")
        if pattern is None or re.search(pattern, text):
            return text
        fitting = (t for t in _PATTERN_TEXTS if re.search(pattern, t) and least <= len(t) <= most)
        return next(fitting, text)

    def number(self, schema: Schema, path: Path, index: int) -> float:
        whole = _kind(schema) == "integer"
        step = schema.get("multipleOf", 1 if whole else _FINE)
        low, high = _steps(schema, step)
        wanted = round(self._measured(path, low * step, high * step) / step)
        if path and path[-1] == _ITEM:
            wanted += index
        if wanted > high:
            wanted = low + wanted % (high - low + 1)
        value = max(low, min(high, wanted)) * step
        return int(value) if whole or float(value).is_integer() else value

    def boolean(self, _schema: Schema, _path: Path, _index: int) -> bool:
        return True

    def null(self, _schema: Schema, _path: Path, _index: int) -> None:
        return None

    def _measured(self, path: Path, low: float, high: float) -> float:
        if path and path[-1] == "part" and self._findings.part is not None:
            return self._findings.part
        criterion = _criterion(path)
        bands = self._findings.bands
        band = bands[criterion] if criterion else sum(bands.values()) / len(bands)
        if (low <= 1 and high == 9) or high - low > _ANY_RANGE:
            return max(low, min(high, band))
        return low + (high - low) * band / 9

    def _meant(self, path: Path, index: int) -> str:
        wording, name = self._findings.wording, "_".join(path).lower()
        if _STRENGTH.search(name):
            return wording.strengths[index % len(wording.strengths)]
        if _STEP.search(name):
            return wording.next_steps[index % len(wording.next_steps)]
        criterion = _criterion(path)
        if criterion is not None:
            return wording.comments[criterion]
        return wording.summary if index == 0 else list(wording.comments.values())[index % len(wording.comments)]


_FILLERS: Final[Mapping[str, Callable[[_Form, Schema, Path, int], Any]]] = {
    "object": _Form.object,
    "array": _Form.array,
    "string": _Form.text,
    "integer": _Form.number,
    "number": _Form.number,
    "boolean": _Form.boolean,
    "null": _Form.null,
}


def _kind(schema: Schema) -> str:
    kind = schema.get("type")
    if isinstance(kind, Sequence) and not isinstance(kind, str):
        kind = next((k for k in kind if k != "null"), "null")
    if kind is None:
        kind = (
            "object" if "properties" in schema or "required" in schema else "array" if "items" in schema else "string"
        )
    return kind if kind in _FILLERS else "string"


def _criterion(path: Path) -> Criterion | None:
    for name in reversed(path):
        for pattern, criterion in _CRITERIA:
            if pattern.search(name.lower()):
                return criterion
    return None


def _merged(schemas: Sequence[Schema]) -> Schema:
    merged: dict[str, Any] = {}
    for schema in schemas:
        for key, value in schema.items():
            if key == "properties":
                merged[key] = {**merged.get(key, {}), **value}
            elif key == "required":
                merged[key] = [*merged.get(key, ()), *value]
            else:
                merged[key] = value
    return merged


def _steps(schema: Schema, step: float) -> tuple[int, int]:
    """Return the lowest and the highest multiple of `step` that a number may be, as multiples."""
    low, high = schema.get("minimum", -_FAR), schema.get("maximum", _FAR)
    above, below = schema.get("exclusiveMinimum", low - step), schema.get("exclusiveMaximum", high + step)
    lowest = max(math.ceil(low / step), math.floor(above / step) + 1)
    return lowest, max(lowest, min(math.floor(high / step), math.ceil(below / step) - 1))


def _cut(text: str, most: int, least: int) -> str:
    """Cut a text after a word, or inside one where it would become too short."""
    at = text.rfind(" ", 0, most + 1)
    return text[:at] if at >= max(1, least) else text[:most]
