"""Logs and metrics: JSON lines on standard output, which Lambda hands to CloudWatch.

Nothing gets into a line by accident. Fields have names of an allow-list, others are dropped; texts are ids and codes, and one
that holds a blank or is long, as anything spoken would, is replaced. An exception appears as its type, our code and a place in
our code, never with its text. What other packages log is reduced to the logger's name and level, since several of them
print what they send.

Metrics are lines of CloudWatch's embedded metric format; they follow from the logged events by the table `METRICS`, and their
dimensions have values from closed lists, so that nobody's id becomes a metric of its own.
"""

import json
import logging
import math
import re
import sys
import threading
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TextIO

import structlog
from aws_lambda_powertools.metrics import EphemeralMetrics, MetricUnit

from gateway.adapters.traces import place
from gateway.core.errors import MayaError
from gateway.core.lag.regions import ROUND_TRIP_MS

type Value = str | float | bool
"""What a field may hold; integers are floats here as everywhere in Python's types."""

FIELDS: Final = frozenset(
    {
        "attempt",
        "cause",
        "assessment_status",
        "at",
        "code",
        "connection_id",
        "count",
        "downlink_ms",
        "dropped",
        "duration_ms",
        "epoch",
        "error",
        "fault",
        "function",
        "lag_ms",
        "learner",
        "logger",
        "message_id",
        "model_ms",
        "module",
        "network_ms",
        "outcome",
        "part",
        "reason",
        "region",
        "relay_id",
        "request_id",
        "session_id",
        "state",
        "support_code",
        "uplink_ms",
        "within_s",
    }
)
"""Names of fields that may be logged."""

NAMESPACE: Final = "Maya"
"""Of the metrics in CloudWatch."""

_TEXT: Final = re.compile(r"[A-Za-z0-9_.:@=$-]{0,128}", re.ASCII)
# A plus or a slash comes up in base64 of audio within a few dozen characters, and in no id of ours.
_NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,47}", re.ASCII)
_WITHHELD: Final = "withheld"
_OTHER: Final = "other"


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric that follows from a logged event.

    Attributes:
        name: in CloudWatch.
        unit: of its values.
        value_field: the field that is measured; empty to count events.
        dimension: the field that becomes the one dimension, empty for none.
        values: what the dimension may hold; anything else counts as ``other``.
        overall: whether the metric is also told over all values of the dimension, as alarms want it.
        parts: more metrics of the same event, unit and dimension, by the field that each measures.
    """

    name: str
    unit: MetricUnit = MetricUnit.Count
    value_field: str = ""
    dimension: str = ""
    values: frozenset[str] = frozenset()
    overall: bool = False
    parts: Mapping[str, str] = field(default_factory=dict)


def _codes() -> frozenset[str]:
    """Return the codes of all errors of the tree."""
    found: set[str] = set()
    left: list[type[MayaError]] = [MayaError]
    while left:
        kind = left.pop()
        found.add(kind.code)
        left += kind.__subclasses__()
    return frozenset(found)


_FAULTS: Final = frozenset(
    {
        "stream_lost",
        "time_limit",
        "idle",
        "credentials_expired",
        "overloaded",
        "throttled",
        "history_rejected",
        "content_filtered",
        "input_rejected",
        "misconfigured",
        "access_refused",
    }
)
_REASONS: Final = frozenset({"finished", "skipped", "time_limit", "replaced", "maintenance", "failed"})
_CODES: Final = _codes()
_REGIONS: Final = frozenset(ROUND_TRIP_MS)

METRICS: Final[Mapping[str, Metric]] = {
    "part_began": Metric("PartsBegun", dimension="part", values=frozenset({"1", "2", "3"})),
    "part_assessed": Metric("PartsAssessed", dimension="part", values=frozenset({"1", "2", "3"})),
    "test_over": Metric("TestsOver", dimension="reason", values=_REASONS, parts={"count": "Turns"}),
    "assessment_settled": Metric(
        "Assessments", dimension="outcome", values=frozenset({"saved", "queued", "lost", "unchanged", "outdated"})
    ),
    "stream_lost": Metric("StreamsLost", dimension="fault", values=_FAULTS),
    "stream_recovered": Metric("StreamsRecovered"),
    "stream_renewed": Metric("StreamsRenewed"),
    "flood": Metric("Floods"),
    "session_taken_up": Metric("SessionsTakenUp"),
    "micro_failed": Metric("MicroFailures", dimension="code", values=_CODES),
    "save_failed": Metric("SaveFailures", dimension="code", values=_CODES),
    "enqueue_failed": Metric("QueueFailures", dimension="code", values=_CODES),
    "admission_failed": Metric("AdmissionFailures", dimension="code", values=_CODES),
    "redis_unreachable": Metric("RedisFailures", dimension="code", values=_CODES),
    "lease_unreachable": Metric("RedisFailures", dimension="code", values=_CODES),
    "conversation_failed": Metric("ConversationsFailed", dimension="code", values=_CODES),
    "relay_ended": Metric("RelayTime", unit=MetricUnit.Milliseconds, value_field="duration_ms"),
    "lag_measured": Metric(
        "Lag",
        unit=MetricUnit.Milliseconds,
        value_field="lag_ms",
        dimension="region",
        values=_REGIONS,
        overall=True,
        parts={
            "network_ms": "LagNetwork",
            "uplink_ms": "LagUplink",
            "downlink_ms": "LagDownlink",
            "model_ms": "LagModel",
        },
    ),
    "lag_prompted": Metric("LagPrompts", dimension="region", values=_REGIONS, overall=True),
    "lag_continued": Metric("LagContinued", dimension="region", values=_REGIONS, overall=True),
    "lag_skipped": Metric("LagSkipped", dimension="region", values=_REGIONS, overall=True),
    "lag_expired": Metric("LagUnanswered", dimension="region", values=_REGIONS, overall=True),
    "lag_gone": Metric("LagGone", dimension="region", values=_REGIONS, overall=True),
    "finish_saved": Metric("FinishSaves", dimension="outcome", values=frozenset({"saved", "unchanged", "outdated"})),
    "finish_failed": Metric("FinishFailures", dimension="code", values=_CODES),
}
"""Metric of each event that has one."""


class Telemetry:
    """Writes the lines of one function.

    Args:
        function: the function's name, a field of every line.
        level: the least level that is written.
        out: where; standard output if not given.
        fields: more fields of every line.
    """

    def __init__(
        self,
        function: str,
        *,
        level: str = "INFO",
        out: TextIO | None = None,
        fields: Mapping[str, Value] | None = None,
    ) -> None:
        self._function = function
        self._level = level
        self._out = out
        self._fields = dict(fields or {})
        # A logger of its own: other packages that configure structlog change nothing here.
        self._logger = structlog.wrap_logger(
            structlog.WriteLogger(out or sys.stdout),
            processors=[
                structlog.processors.add_log_level,
                _allow,
                structlog.processors.TimeStamper(fmt="iso", utc=True),
                structlog.processors.JSONRenderer(separators=(",", ":")),
            ],
            wrapper_class=structlog.make_filtering_bound_logger(level.lower()),
            cache_logger_on_first_use=True,
        ).bind(function=function, **self._fields)

    def bind(self, **fields: Value) -> "Telemetry":
        """Return one whose lines all carry these fields, too."""
        return Telemetry(self._function, level=self._level, out=self._out, fields={**self._fields, **fields})

    def record(self, event: str, fields: Mapping[str, Value] | None = None, *, level: str = "info") -> None:
        """Log an event, and count it where `METRICS` says so.

        Args:
            event: a fixed name in lower case with underscores.
            fields: ids, codes and numbers; see `FIELDS`.
            level: ``debug``, ``info``, ``warning`` or ``error``.
        """
        named = dict(fields or {})
        getattr(self._logger, level)(event, **{name: value for name, value in named.items() if name in FIELDS})
        metric = METRICS.get(event)
        if metric is not None:
            self._count(metric, named)

    def failure(self, event: str, error: BaseException, fields: Mapping[str, Value] | None = None) -> None:
        """Log that something went wrong: the error's type, our code for it, and where it passed our code."""
        described = {"error": type(error).__name__, "code": code_of(error), "at": place(error.__traceback__)}
        self.record(event, {**(fields or {}), **described}, level="error")

    def _count(self, metric: Metric, fields: Mapping[str, Value]) -> None:
        value = _number(fields.get(metric.value_field)) if metric.value_field else 1
        if value is None:
            return
        emitter = EphemeralMetrics(namespace=NAMESPACE, service=self._function)
        if metric.dimension:
            found = str(fields.get(metric.dimension, _OTHER))
            named = {metric.dimension: found if found in metric.values else _OTHER}
            if metric.overall:
                emitter.add_dimensions(service=self._function, **named)
            else:
                emitter.add_dimension(metric.dimension, named[metric.dimension])
        emitter.add_metric(metric.name, metric.unit, value)
        for measured, name in metric.parts.items():
            part = _number(fields.get(measured))
            if part is not None:
                emitter.add_metric(name, metric.unit, part)
        out = self._out or sys.stdout
        out.write(json.dumps(emitter.serialize_metric_set(), separators=(",", ":")) + "\n")
        out.flush()


def _number(value: Value | None) -> float | None:
    """Return what can be measured, None for anything else."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        return None
    return value


def code_of(error: BaseException) -> str:
    """Return our code for an error, ``internal`` for one that is none of ours."""
    return error.code if isinstance(error, MayaError) else "internal"


def take_over(telemetry: Telemetry) -> None:
    """Have all that this process would print about errors and warnings, and what packages log, go through `telemetry`.

    Python prints the text of an exception that nobody caught, in a thread, in a destructor or in a task, to standard
    error, and such texts may quote messages.
    """
    root = logging.getLogger()
    root.handlers[:] = [_Reduced(telemetry)]
    root.setLevel(logging.WARNING)
    logging.raiseExceptions = False
    sys.excepthook = lambda _kind, error, _trace: telemetry.failure("uncaught", error)
    sys.unraisablehook = lambda what: _reduce(telemetry, what.exc_value)
    threading.excepthook = lambda what: _reduce(telemetry, what.exc_value)
    warnings.showwarning = lambda _text, kind, *_: telemetry.record(
        "python_warning", {"error": kind.__name__}, level="warning"
    )


def _reduce(telemetry: Telemetry, error: BaseException | None) -> None:
    if error is not None:
        telemetry.failure("uncaught", error)


class _Reduced(logging.Handler):
    """Logs of other packages that another package said something, and how serious it is."""

    def __init__(self, telemetry: Telemetry) -> None:
        super().__init__(logging.WARNING)
        self._telemetry = telemetry

    def emit(self, record: logging.LogRecord) -> None:
        """Write the logger's name, and the type of the error that came with the record."""
        error = record.exc_info[1] if record.exc_info else None
        fields: dict[str, Value] = {"logger": record.name}
        if error is not None:
            self._telemetry.failure("package_logged", error, fields)
        else:
            self._telemetry.record("package_logged", fields, level="warning")


def _allow(_logger: Any, _method: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """Keep the fields of the allow-list, with values that are ids, codes or numbers."""
    kept: structlog.typing.EventDict = {"level": event["level"], "event": _named(event.get("event"))}
    for name, value in event.items():
        if name in FIELDS:
            kept[name] = _plain(value)
    return kept


def _named(event: Any) -> str:
    return event if isinstance(event, str) and _NAME.fullmatch(event) else _WITHHELD


def _plain(value: Any) -> Value:
    if isinstance(value, (bool, int, float)) and math.isfinite(value):
        return value
    return value if isinstance(value, str) and _TEXT.fullmatch(value) else _WITHHELD
