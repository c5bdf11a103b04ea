"""A compiled CloudFormation template, with its references made readable."""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, NamedTuple


class Finding(NamedTuple):
    """Something wrong.

    Attributes:
        where: logical id of the resource.
        what: in words.
    """

    where: str
    what: str


@dataclass(frozen=True, slots=True)
class Resource:
    """One resource.

    Attributes:
        name: its logical id.
        type: of CloudFormation.
        properties: as compiled.
        document: all of it.
    """

    name: str
    type: str
    properties: Mapping[str, Any] = field(repr=False)
    document: Mapping[str, Any] = field(repr=False)

    def text(self, *path: str) -> str:
        """Return a property as text, references as ``${Name}``; empty if it is not there."""
        value: Any = self.properties
        for step in path:
            value = value.get(step) if isinstance(value, Mapping) else None
        return text_of(value)


class Template:
    """A template.

    Args:
        document: the decoded JSON.
    """

    def __init__(self, document: Mapping[str, Any]) -> None:
        self.document = document
        self.resources = {
            name: Resource(name, str(item.get("Type")), item.get("Properties") or {}, item)
            for name, item in document["Resources"].items()
        }

    @classmethod
    def read(cls, file: Path) -> "Template":
        """Read a file; raises `ValueError` when it is no JSON."""
        return cls(json.loads(file.read_text(encoding="utf-8")))

    def of_type(self, *types: str) -> Iterator[Resource]:
        """Yield the resources of these types, without the leading ``AWS::``."""
        wanted = {f"AWS::{name}" for name in types}
        return (resource for resource in self.resources.values() if resource.type in wanted)

    def functions(self) -> dict[str, Resource]:
        """Return the Lambda functions by the names of their handlers' modules: ``stream`` for ``handlers.stream.handler``."""
        return {function.text("Handler").split(".")[1]: function for function in self.of_type("Lambda::Function")}

    def named(self, reference: Any) -> Resource | None:
        """Return the resource that a value refers to, None if it refers to none, or to several."""
        names = {name for name in references(reference) if name in self.resources}
        return self.resources[names.pop()] if len(names) == 1 else None

    @property
    def stage(self) -> str:
        """The stage that this was compiled for."""
        return next((stage.text("StageName") for stage in self.of_type("ApiGatewayV2::Stage")), "")


def text_of(value: Any) -> str:
    """Return a value as text, references as ``${Name}`` or ``${Name.Attribute}``; empty for None."""
    if value is None:
        return ""
    if isinstance(value, Mapping) and len(value) == 1:
        function, argument = next(iter(value.items()))
        if function in _AS_TEXT:
            return _AS_TEXT[function](argument)
    return json.dumps(value) if isinstance(value, Mapping) else str(value)


def _attribute(path: Any) -> str:
    return f"${{{path if isinstance(path, str) else '.'.join(path)}}}"


def _substituted(argument: Any) -> str:
    if isinstance(argument, str):
        return argument
    text, values = argument
    for name, value in values.items():
        text = text.replace(f"${{{name}}}", text_of(value))
    return str(text)


_AS_TEXT: Final[Mapping[str, Callable[[Any], str]]] = {
    "Ref": lambda name: f"${{{name}}}",
    "Fn::GetAtt": _attribute,
    "Fn::Sub": _substituted,
    "Fn::Join": lambda argument: str(argument[0]).join(text_of(part) for part in argument[1]),
}


def references(value: Any) -> set[str]:
    """Return the logical ids that a value names, at any depth."""
    if isinstance(value, list):
        return set().union(*(references(item) for item in value))
    if not isinstance(value, Mapping):
        return set()
    if len(value) == 1 and next(iter(value)) in ("Ref", "Fn::GetAtt", "Fn::Sub"):
        parts = text_of(value).split("${")[1:]
        return {part.partition("}")[0].partition(".")[0] for part in parts}
    return set().union(*(references(item) for item in value.values()))


def as_list(value: Any) -> list[Any]:
    """Return a value that may be one or a list, as a list; empty for None."""
    if value is None:
        return []
    return value if isinstance(value, list) else [value]
