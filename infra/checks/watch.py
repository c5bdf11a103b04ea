"""Alarms and dashboard: metrics that somebody emits, under the dimensions that they have."""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from gateway.adapters.telemetry import METRICS, NAMESPACE
from infra.checks.template import Finding, Resource, Template, text_of

# Of metrics that AWS emits, those in use here, with their dimensions.
_AWS: Final[Mapping[str, tuple[frozenset[str], frozenset[str]]]] = {
    "AWS/Lambda": (
        frozenset({"FunctionName"}),
        frozenset({"Errors", "Throttles", "Duration", "Invocations", "ConcurrentExecutions", "AsyncEventsDropped"}),
    ),
    "AWS/SQS": (
        frozenset({"QueueName"}),
        frozenset({"ApproximateAgeOfOldestMessage", "ApproximateNumberOfMessagesVisible"}),
    ),
    "AWS/ApiGateway": (
        frozenset({"ApiId", "Stage"}),
        frozenset({"ConnectCount", "MessageCount", "ClientError", "ExecutionError", "IntegrationError"}),
    ),
}
_STATISTIC: Final = re.compile(r"Average|Sum|Minimum|Maximum|SampleCount|p\d{1,2}(\.\d+)?")
_PLACE: Final = re.compile(r"\$\{[^}]+\}")
_SERVICES: Final = frozenset({"relay", "finish"})
"""The functions that have a telemetry with metrics."""


def check(template: Template) -> Iterator[Finding]:
    """Yield what is wrong with what is watched."""
    alarms = list(template.of_type("CloudWatch::Alarm"))
    if not alarms:
        yield Finding("Alarms", "there are none")
    for alarm in alarms:
        yield from _alarm(template, alarm)
    dashboards = list(template.of_type("CloudWatch::Dashboard"))
    if not dashboards:
        yield Finding("Dashboard", "there is none")
    for dashboard in dashboards:
        yield from _dashboard(template, dashboard)


def _alarm(template: Template, alarm: Resource) -> Iterator[Finding]:
    dimensions = {item["Name"]: text_of(item["Value"]) for item in alarm.properties.get("Dimensions", [])}
    for wrong in _wrong(template, alarm.text("Namespace"), alarm.text("MetricName"), dimensions):
        yield Finding(alarm.name, wrong)
    statistic = alarm.text("Statistic") or alarm.text("ExtendedStatistic")
    if not _STATISTIC.fullmatch(statistic):
        yield Finding(alarm.name, f"{statistic!r} is no statistic")
    if not alarm.properties.get("AlarmActions"):
        yield Finding(alarm.name, "tells nobody")
    if alarm.text("TreatMissingData") != "notBreaching":
        yield Finding(alarm.name, "silence is no alarm: at night nobody speaks")


def _dashboard(template: Template, dashboard: Resource) -> Iterator[Finding]:
    body = text_of(dashboard.properties.get("DashboardBody"))
    try:
        widgets = json.loads(body)["widgets"]
        metrics = [metric for widget in widgets for metric in widget["properties"].get("metrics", [])]
    except (ValueError, KeyError, TypeError, AttributeError):
        yield Finding(dashboard.name, "its body is no JSON with widgets")
        return
    for metric in metrics:
        words = [word for word in metric if isinstance(word, str)]
        if not words:
            continue  # an expression over others
        namespace, name, *pairs = words
        dimensions = dict(zip(pairs[::2], pairs[1::2], strict=False))
        for wrong in _wrong(template, namespace, name, dimensions):
            yield Finding(dashboard.name, wrong)


def _wrong(template: Template, namespace: str, name: str, dimensions: Mapping[str, str]) -> Iterator[str]:
    if namespace == NAMESPACE:
        yield from _wrong_of_ours(name, dimensions)
        return
    if namespace not in _AWS:
        yield f"{namespace} is nobody's namespace"
        return
    wanted, names = _AWS[namespace]
    if name not in names:
        yield f"{namespace} has no metric {name}"
    if dimensions.keys() != wanted:
        yield f"{namespace} {name} has the dimensions {', '.join(sorted(wanted))}"
    functions = template.functions().values()
    known = {text for function in functions for text in (function.text("FunctionName"), f"${{{function.name}}}")}
    if namespace == "AWS/Lambda" and dimensions.get("FunctionName") not in known:
        yield f"there is no function {dimensions.get('FunctionName')}"
    for value in dimensions.values():
        for place in _PLACE.findall(value):
            if place[2:-1].partition(".")[0] not in template.resources:
                yield f"{place} is not there"


def _wrong_of_ours(name: str, dimensions: Mapping[str, str]) -> Iterator[str]:
    shapes: list[Mapping[str, Any]] = []
    for metric in METRICS.values():
        if name not in (metric.name, *metric.parts.values()):
            continue
        if metric.dimension:
            shapes.append({"service": _SERVICES, metric.dimension: metric.values | {"other"}})
        if metric.overall or not metric.dimension:
            shapes.append({"service": _SERVICES})
    if not shapes:
        yield f"no function emits a metric {name}"
    elif not any(
        dimensions.keys() == shape.keys() and all(dimensions[key] in shape[key] for key in shape) for shape in shapes
    ):
        yield f"{name} is not emitted with the dimensions {dict(dimensions)}"
