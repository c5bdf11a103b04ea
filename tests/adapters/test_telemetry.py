"""Logs and metrics: what gets into a line, and what never does."""

import gc
import io
import json
import logging
import sys
import threading
import warnings
from collections.abc import Iterator
from typing import Any

import pytest

from gateway.adapters import telemetry as module
from gateway.adapters.telemetry import FIELDS, METRICS, Telemetry, code_of, take_over
from gateway.adapters.traces import place
from gateway.core.errors import StreamLost
from gateway.core.nova_events import Fault
from gateway.settings import redis_settings

SPOKEN = "i was born in a small town"


class Log:
    """A telemetry and the lines that it wrote."""

    def __init__(self, **options: Any) -> None:
        self.out = io.StringIO()
        self.telemetry = Telemetry("relay", out=self.out, **options)

    @property
    def lines(self) -> list[dict[str, Any]]:
        """Return all lines that are no metrics."""
        return [line for line in map(json.loads, self.out.getvalue().splitlines()) if "_aws" not in line]

    @property
    def metrics(self) -> list[dict[str, Any]]:
        """Return all lines that are metrics."""
        return [line for line in map(json.loads, self.out.getvalue().splitlines()) if "_aws" in line]


@pytest.fixture
def log() -> Log:
    """Return a log."""
    return Log()


def test_a_line(log: Log) -> None:
    """Event, level, time, function and the fields of the allow-list, as one line of JSON."""
    log.telemetry.record("part_done", {"learner": "l-1", "part": 2, "epoch": 7, "lag_ms": 1.5})
    (line,) = log.lines
    assert line.pop("timestamp").endswith("Z")
    assert line == {
        "event": "part_done",
        "level": "info",
        "function": "relay",
        "learner": "l-1",
        "part": 2,
        "epoch": 7,
        "lag_ms": 1.5,
    }
    assert log.out.getvalue().count("\n") == 1


def test_other_fields_are_dropped(log: Log) -> None:
    """A field that nobody put on the list does not get out, whatever it holds."""
    log.telemetry.record("x", {"text": SPOKEN, "token": "abc", "body": "abc", "pcm": "AAAA", "timestamp": "abc"})
    assert set(log.lines[0]) == {"event", "level", "function", "timestamp"}
    assert "abc" not in log.out.getvalue()


@pytest.mark.parametrize(
    "value",
    [
        SPOKEN,
        "x" * 129,
        "AAAA+AAA/AAAA",
        "line\nline",
        "\u00e9",
        ["a"],
        {"a": 1},
        None,
        b"x",
        float("nan"),
        float("inf"),
    ],
)
def test_values_are_ids_codes_and_numbers(log: Log, value: Any) -> None:
    """What could be words, audio or a document is replaced, even in a field of the list."""
    log.telemetry.record("x", {"code": value})
    assert log.lines[0]["code"] == "withheld"


@pytest.mark.parametrize("event", [SPOKEN, "", "Upper", "x" * 49, "a%s"])
def test_events_have_fixed_names(log: Log, event: str) -> None:
    """An event's name is no place for a text."""
    log.telemetry.record(event)
    assert log.lines[0]["event"] == "withheld"


def test_bound_fields_are_in_every_line(log: Log) -> None:
    """Ids are bound once; a line's own fields win; the log they were bound to stays as it was."""
    bound = log.telemetry.bind(learner="l-1", part=1, text=SPOKEN)
    bound.bind(session_id="s-1").record("x", {"part": 2})
    log.telemetry.record("y")
    first, second = log.lines
    assert (first["learner"], first["session_id"], first["part"]) == ("l-1", "s-1", 2)
    assert "learner" not in second
    assert SPOKEN not in log.out.getvalue()


def test_the_level_is_kept() -> None:
    """Lines below the level are not written; metrics are."""
    log = Log(level="WARNING")
    log.telemetry.record("stream_recovered")
    log.telemetry.record("x", level="warning")
    assert [line["level"] for line in log.lines] == ["warning"]
    assert len(log.metrics) == 1


def caught(error: BaseException) -> BaseException:
    """Return an error as it is when it was raised and caught in our code."""
    try:
        _raise(error)
    except type(error) as raised:
        return raised
    raise AssertionError


def _raise(error: BaseException) -> None:
    raise error


def test_an_error_is_its_type_and_code(log: Log) -> None:
    """No text of an exception gets into a line; ours have a code, others are internal."""
    log.telemetry.failure("x", caught(StreamLost(SPOKEN)), {"part": 1})
    log.telemetry.failure("x", caught(ValueError(SPOKEN)))
    first, second = log.lines
    assert (first["level"], first["error"], first["code"], first["part"]) == ("error", "StreamLost", "stream_lost", 1)
    assert (second["error"], second["code"]) == ("ValueError", "internal")
    assert "small town" not in log.out.getvalue()
    assert code_of(StreamLost(SPOKEN)) == "stream_lost"


def test_the_place_is_in_our_code() -> None:
    """The innermost of our frames is named, whatever it called; without one there is none."""
    with pytest.raises(ValueError, match="REDIS_URL") as raised:
        redis_settings({})
    assert place(raised.value.__traceback__).startswith("gateway.settings:")
    assert place(caught(ValueError()).__traceback__) == ""


def test_metrics_follow_from_events(log: Log) -> None:
    """One embedded metric with one dimension beside the service, from the event's own fields."""
    log.telemetry.record("stream_lost", {"fault": "throttled", "part": 2})
    (metric,) = log.metrics
    (declared,) = metric["_aws"]["CloudWatchMetrics"]
    assert declared["Namespace"] == "Maya"
    assert declared["Metrics"] == [{"Name": "StreamsLost", "Unit": "Count"}]
    assert sorted(declared["Dimensions"][0]) == ["fault", "service"]
    assert (metric["fault"], metric["service"], metric["StreamsLost"]) == ("throttled", "relay", [1.0])


def test_measured_values(log: Log) -> None:
    """A metric of a field takes its value and unit; without a number there is none."""
    log.telemetry.record("lag_measured", {"lag_ms": 412.5})
    log.telemetry.record("lag_measured", {"lag_ms": "much"})
    log.telemetry.record("lag_measured", {"lag_ms": True})
    log.telemetry.record("lag_measured", {"lag_ms": float("nan")})
    (metric,) = log.metrics
    assert metric["Lag"] == [412.5]
    assert metric["_aws"]["CloudWatchMetrics"][0]["Metrics"] == [{"Name": "Lag", "Unit": "Milliseconds"}]


def test_felt_lag_and_its_parts(log: Log) -> None:
    """One line by the learner's region; a part that was not measured is left out, and an unknown region is other."""
    parts = {"network_ms": 300.0, "uplink_ms": 20.0, "downlink_ms": 0.0, "model_ms": 900.0}
    log.telemetry.record("lag_measured", {"lag_ms": 1_200.0, "region": "ap-southeast-1", **parts})
    log.telemetry.record("lag_measured", {"lag_ms": 1_200.0, "region": "moon-base-1", "model_ms": float("inf")})
    whole, rest = log.metrics
    names = [each["Name"] for each in whole["_aws"]["CloudWatchMetrics"][0]["Metrics"]]
    assert names == ["Lag", "LagNetwork", "LagUplink", "LagDownlink", "LagModel"]
    assert [whole[name] for name in names] == [[1_200.0], [300.0], [20.0], [0.0], [900.0]]
    # Over all regions for alarms, and by region.
    assert whole["_aws"]["CloudWatchMetrics"][0]["Dimensions"] == [["service"], ["service", "region"]]
    assert whole["service"] == "relay"
    assert (whole["region"], rest["region"]) == ("ap-southeast-1", "other")
    assert "LagModel" not in rest


def test_questions_and_answers_are_counted_by_region(log: Log) -> None:
    """Each of them under a name of its own."""
    for event in ("lag_prompted", "lag_continued", "lag_skipped", "lag_expired", "lag_gone"):
        log.telemetry.record(event, {"region": "af-south-1", "cause": "model"})
    names = [metric["_aws"]["CloudWatchMetrics"][0]["Metrics"][0]["Name"] for metric in log.metrics]
    assert names == ["LagPrompts", "LagContinued", "LagSkipped", "LagUnanswered", "LagGone"]
    assert {metric["region"] for metric in log.metrics} == {"af-south-1"}
    assert log.lines[0]["cause"] == "model"


def test_dimensions_are_closed(log: Log) -> None:
    """A value that is not on the list, such as somebody's id, counts as other."""
    for fault in (SPOKEN, "learner-1"):
        log.telemetry.record("stream_lost", {"fault": fault})
    log.telemetry.record("stream_lost")
    log.telemetry.record("part_assessed", {"part": 3})
    assert [metric.get("fault", metric.get("part")) for metric in log.metrics] == ["other", "other", "other", "3"]
    assert SPOKEN not in log.out.getvalue()


def test_the_tables_agree() -> None:
    """Dimensions and values of metrics are fields that may be logged, and all faults of Nova Sonic are known."""
    for metric in METRICS.values():
        assert not metric.dimension or metric.dimension in FIELDS
        assert bool(metric.dimension) == bool(metric.values)
        assert not metric.value_field or metric.value_field in FIELDS
        assert set(metric.parts) <= FIELDS
        assert len(metric.values) <= 40
    assert METRICS["stream_lost"].values == {fault.label for fault in Fault}


def test_it_writes_to_standard_output(capsys: pytest.CaptureFixture[str]) -> None:
    """Where nothing else is given, lines go where Lambda reads them."""
    Telemetry("finish").record("stream_recovered")
    line, metric = capsys.readouterr().out.splitlines()
    assert json.loads(line)["function"] == "finish"
    assert "_aws" in json.loads(metric)


@pytest.fixture
def taken_over(log: Log) -> Iterator[Log]:
    """Return a log that has taken over what the process prints; all is given back at the end."""
    root = logging.getLogger()
    before = root.handlers[:], root.level, logging.raiseExceptions
    hooks = sys.excepthook, sys.unraisablehook, threading.excepthook
    with warnings.catch_warnings():
        take_over(log.telemetry)
        yield log
    root.handlers[:], root.level, logging.raiseExceptions = before
    sys.excepthook, sys.unraisablehook, threading.excepthook = hooks


def test_what_packages_log_is_reduced(taken_over: Log, capfd: pytest.CaptureFixture[str]) -> None:
    """A package's warning becomes its name; its debug lines and its texts are gone."""
    logger = logging.getLogger("botocore.endpoint")
    logger.debug("sending %s", SPOKEN)
    logger.warning("received %s", SPOKEN)
    try:
        _raise(KeyError(SPOKEN))
    except KeyError:
        logger.exception("lost %s", SPOKEN)
    first, second = taken_over.lines
    assert (first["event"], first["level"], first["logger"]) == ("package_logged", "warning", "botocore.endpoint")
    assert (second["level"], second["error"], second["logger"]) == ("error", "KeyError", "botocore.endpoint")
    assert "town" not in taken_over.out.getvalue()
    assert capfd.readouterr() == ("", "")


def test_what_nobody_caught_is_reduced(taken_over: Log, capfd: pytest.CaptureFixture[str]) -> None:
    """Threads, destructors, warnings and the interpreter's end print no texts of errors."""

    class Careless:
        def __del__(self) -> None:
            _raise(RuntimeError(SPOKEN))

    thread = threading.Thread(target=_raise, args=(ValueError(SPOKEN),))
    thread.start()
    thread.join()
    Careless()
    gc.collect()
    sys.excepthook(KeyError, KeyError(SPOKEN), None)
    warnings.simplefilter("always")
    warnings.warn(SPOKEN, UserWarning, stacklevel=1)
    assert [(line["event"], line["error"]) for line in taken_over.lines] == [
        ("uncaught", "ValueError"),
        ("uncaught", "RuntimeError"),
        ("uncaught", "KeyError"),
        ("python_warning", "UserWarning"),
    ]
    assert "town" not in taken_over.out.getvalue()
    assert capfd.readouterr() == ("", "")


def test_a_thread_that_ends_itself_is_no_error(taken_over: Log) -> None:
    """A hook that is called without an error has nothing to tell."""
    module._reduce(taken_over.telemetry, None)
    assert not taken_over.lines
