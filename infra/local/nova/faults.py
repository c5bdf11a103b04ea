"""Faults that can be ordered while the stand-in runs: what, which streams, when. Pure. SERVICE.md W2, W4, W5, A9.

A fault as the control API takes it (`POST /faults`):

    {"fault": "rst", "code": 2,                      the kind and its parameters, see KINDS
     "scope": "next", "count": 1,                    "next" `count` streams (default), "all" from now on, or a stream's id
     "client_pid": 4711,                             next or all of this process only; every client's when it is left out
     "when": {"after_ms": 500}}                      the trigger; at once when it is left out

Triggers: `{"after_ms": t}` of the stream's life, `{"after_audio_inputs": n}`, `{"after_outputs": n}`,
`{"at_first_audio": true}` (before the first audio output leaves).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum, auto
from types import MappingProxyType
from typing import Any

from infra.local.nova import service_errors
from infra.local.nova.service_errors import ExceptionType, Text
from infra.local.nova.settings import Behaviour


class BadFault(ValueError):  # noqa: N818  # reads as what it is where it is raised
    """The order for a fault is wrong; the text names the field."""


class Effect(Enum):
    """What has to be done when a fault fires."""

    REFUSE = auto()  # answer the request with an HTTP error; needs no input from the client
    RESET = auto()
    ABORT = auto()
    GOAWAY = auto()
    NO_HEADERS = auto()
    MUTE = auto()
    PARTIAL_FRAME = auto()
    BAD_CRC = auto()
    EXCEPTION = auto()
    ERROR_FRAME = auto()
    UNKNOWN_EVENT = auto()
    BEHAVE = auto()
    DELAY = auto()  # Converse only
    REFUSE_CONNECTION = auto()


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of fault: its effect, and its parameters with their defaults."""

    effect: Effect
    defaults: Mapping[str, Any] = field(default_factory=dict)


def _http(refusal: tuple[int, str, str]) -> Kind:
    return Kind(Effect.REFUSE, {"status": refusal[0], "type": refusal[1], "message": refusal[2]})


def _exception(exception_type: str, text: str) -> Kind:
    return Kind(Effect.EXCEPTION, {"type": exception_type, "message": text})


KINDS: Mapping[str, Kind] = MappingProxyType(
    {
        "http_error": _http(service_errors.UNAVAILABLE),
        "unavailable": _http(service_errors.UNAVAILABLE),
        "http_throttling": _http(service_errors.THROTTLED),
        "unrecognized_client": _http(service_errors.UNRECOGNIZED_CLIENT),
        "expired_token": _http(service_errors.EXPIRED_TOKEN),
        "quota_exceeded": _http(service_errors.TOO_MANY_STREAMS),
        "model_not_ready": _http(service_errors.MODEL_NOT_READY),
        "refuse_connection": Kind(Effect.REFUSE_CONNECTION),
        "headers_never": Kind(Effect.NO_HEADERS),
        "rst": Kind(Effect.RESET, {"code": 0}),
        "tcp_abort": Kind(Effect.ABORT),
        "goaway_silence": Kind(Effect.GOAWAY),
        "half_open": Kind(Effect.MUTE),
        "mute": Kind(Effect.MUTE),
        "partial_frame": Kind(Effect.PARTIAL_FRAME, {"then": "rst", "code": 2}),
        "bad_crc": Kind(Effect.BAD_CRC),
        "exception": _exception(ExceptionType.INTERNAL_SERVER, Text.INTERNAL),
        "instability": _exception(ExceptionType.VALIDATION, Text.INSTABILITY),
        "internal_reset": _exception(ExceptionType.VALIDATION, Text.INTERNAL_RESET),
        "content_filter": _exception(ExceptionType.VALIDATION, Text.CONTENT_FILTER),
        "timed_out": _exception(ExceptionType.MODEL_TIMEOUT, Text.TIMED_OUT),
        "throttling": _exception(ExceptionType.THROTTLING, service_errors.THROTTLED[2]),
        "model_stream_error": _exception(ExceptionType.MODEL_STREAM_ERROR, Text.INTERNAL),
        "service_unavailable": _exception(ExceptionType.SERVICE_UNAVAILABLE, service_errors.UNAVAILABLE[2]),
        "unknown_exception": _exception("novelException", Text.INTERNAL),
        "error_frame": Kind(Effect.ERROR_FRAME, {"code": "InternalFailure", "message": Text.INTERNAL}),
        "unknown_event": Kind(Effect.UNKNOWN_EVENT),
        "late_final": Kind(Effect.BEHAVE, {"ms": 10_000}),
        "missing_final": Kind(Effect.BEHAVE),
        "duplicate_final": Kind(Effect.BEHAVE),
        "audio_gaps": Kind(Effect.BEHAVE, {"probability": 0.1, "ms": 400}),
        "no_interrupted": Kind(Effect.BEHAVE),
        "no_user_speech_events": Kind(Effect.BEHAVE),
        "double_encoded_tool": Kind(Effect.BEHAVE),
        "bad_tool_arguments": Kind(Effect.BEHAVE, {"calls": 1}),
        "no_tool": Kind(Effect.BEHAVE),
        "delay": Kind(Effect.DELAY, {"ms": 1000}),
    }
)
"""Every kind of fault by name."""

_BEHAVIOURS: Mapping[str, Callable[[Behaviour, Mapping[str, Any]], Behaviour]] = MappingProxyType(
    {
        "late_final": lambda now, given: replace(now, final_extra_ms=given["ms"]),
        "missing_final": lambda now, _: replace(now, final_text="never"),
        "duplicate_final": lambda now, _: replace(now, final_text="twice"),
        "audio_gaps": lambda now, given: replace(
            now, extra_gap_probability=given["probability"], extra_gap_ms=given["ms"]
        ),
        "no_interrupted": lambda now, _: replace(now, interrupted_marker=False, interrupted_audio=False),
        "no_user_speech_events": lambda now, _: replace(now, user_speech_events=False),
        "double_encoded_tool": lambda now, _: replace(now, double_encoded_tool=True),
        "bad_tool_arguments": lambda now, given: replace(now, bad_tool_calls=given["calls"]),
        "no_tool": lambda now, _: replace(now, tools_called=False),
    }
)

CONVERSE_EFFECTS = frozenset({Effect.REFUSE, Effect.ABORT, Effect.DELAY})
"""Effects that a Converse call can show."""

type Client = Callable[[int], bool]
"""Says whether the client is the process of that id."""


def anybody(_pid: int) -> bool:
    """Be a client of which no process is known."""
    return False


@dataclass(frozen=True, slots=True)
class Trigger:
    """When a fault fires; all None: at once."""

    after_ms: float | None = None
    after_audio_inputs: int | None = None
    after_outputs: int | None = None
    at_first_audio: bool = False

    @property
    def at_once(self) -> bool:
        """Whether nothing has to happen before."""
        return self == Trigger()


@dataclass(frozen=True, slots=True)
class Fault:
    """One ordered fault."""

    name: str
    effect: Effect
    parameters: Mapping[str, Any]
    trigger: Trigger

    def behave(self, behaviour: Behaviour) -> Behaviour:
        """Return `behaviour` with this fault in it."""
        return _BEHAVIOURS[self.name](behaviour, self.parameters)


@dataclass(frozen=True, slots=True)
class Order:
    """A fault and the streams (or Converse calls) it is for.

    Attributes:
        operation: `"sonic"` or `"converse"`.
        scope: `"next"`, `"all"` or a stream's id.
        count: how many with `"next"`.
        client_pid: whose, with `"next"` and `"all"`; None: everybody's.
    """

    fault: Fault
    operation: str
    scope: str
    count: int
    client_pid: int | None = None

    def is_for(self, client: Client) -> bool:
        """Whether it is for what this client opens."""
        return self.client_pid is None or client(self.client_pid)


def parse_order(document: Any) -> Order:
    """Return the order that a control request describes.

    Raises:
        BadFault: naming the field that is unknown or wrong.
    """
    if not isinstance(document, dict):
        raise BadFault("the order is a JSON object")
    name = document.get("fault")
    kind = KINDS.get(name) if isinstance(name, str) else None
    if kind is None or not isinstance(name, str):
        raise BadFault(f"fault is one of {', '.join(sorted(KINDS))}")
    unknown = document.keys() - kind.defaults.keys() - {"fault", "scope", "count", "when", "operation", "client_pid"}
    if unknown:
        raise BadFault(f"{name} has no field {min(unknown)}")
    parameters = {key: _parameter(key, default, document.get(key, default)) for key, default in kind.defaults.items()}
    operation = document.get("operation", "sonic")
    allowed = kind.effect in CONVERSE_EFFECTS if operation == "converse" else kind.effect is not Effect.DELAY
    if operation not in {"sonic", "converse"} or not allowed:
        raise BadFault(f"operation is sonic or converse, and {name} must exist for it")
    scope, count = document.get("scope", "next"), document.get("count", 1)
    if not isinstance(scope, str) or not scope:
        raise BadFault("scope is next, all or a stream's id")
    if not isinstance(count, int) or isinstance(count, bool) or count < 1:
        raise BadFault("count is a whole number from 1 on")
    client_pid = document.get("client_pid")
    if client_pid is not None and (not isinstance(client_pid, int) or isinstance(client_pid, bool) or client_pid < 1):
        raise BadFault("client_pid is the id of a process")
    fault = Fault(name, kind.effect, parameters, _trigger(document.get("when", {})))
    return Order(fault, operation, scope, count, client_pid)


def _parameter(key: str, default: Any, value: Any) -> Any:
    wanted: type | tuple[type, ...] = str if isinstance(default, str) else (int, float)
    if not isinstance(value, wanted) or isinstance(value, bool):
        raise BadFault(f"{key} is a {'text' if wanted is str else 'number'}")
    if key == "then" and value not in {"rst", "end"}:
        raise BadFault("then is rst or end")
    return value


def _trigger(when: Any) -> Trigger:
    checks: Mapping[str, tuple[type, ...]] = {
        "after_ms": (int, float),
        "after_audio_inputs": (int,),
        "after_outputs": (int,),
        "at_first_audio": (bool,),
    }
    if not isinstance(when, dict) or len(when) > 1 or not when.keys() <= checks.keys():
        raise BadFault(f"when is an object with one of {', '.join(checks)}")
    for key, value in when.items():
        is_number = isinstance(value, bool) is (bool in checks[key]) and isinstance(value, checks[key])
        if not is_number or value < 0:
            raise BadFault(f"when.{key} has a wrong value")
    return Trigger(**when)


class StreamFaults:
    """The faults of one stream that have not fired yet; each fires once."""

    def __init__(self, faults: Sequence[Fault], opened_ms: float) -> None:
        self._waiting = list(faults)
        self._opened_ms = opened_ms
        self._audio_inputs = 0
        self._outputs = 0

    def add(self, fault: Fault) -> None:
        """Order one more for this stream."""
        self._waiting.append(fault)

    def next_timer_ms(self) -> float | None:
        """Return when the next one fires by time."""
        dues = [fault.trigger.after_ms for fault in self._waiting if fault.trigger.after_ms is not None]
        return min(dues) + self._opened_ms if dues else None

    def due(self, now_ms: float) -> list[Fault]:
        """Return those that fire at once or whose time has come."""
        age_ms = now_ms - self._opened_ms
        return self._fire(
            lambda trigger: trigger.at_once or (trigger.after_ms is not None and trigger.after_ms <= age_ms)
        )

    def audio_input(self) -> list[Fault]:
        """Count one audioInput and return the faults that fire after it."""
        self._audio_inputs += 1
        return self._fire(
            lambda trigger: trigger.after_audio_inputs is not None and trigger.after_audio_inputs <= self._audio_inputs
        )

    def output(self, *, audio: bool) -> list[Fault]:
        """Count one output about to leave and return the faults that fire before it."""
        fired = self._fire(
            lambda trigger: (
                (trigger.at_first_audio and audio)
                or (trigger.after_outputs is not None and trigger.after_outputs <= self._outputs)
            )
        )
        self._outputs += 1
        return fired

    def _fire(self, chosen: Callable[[Trigger], bool]) -> list[Fault]:
        if not self._waiting:
            return []
        fired = [fault for fault in self._waiting if chosen(fault.trigger)]
        self._waiting = [fault for fault in self._waiting if fault not in fired]
        return fired


class FaultBook:
    """Faults ordered for streams that are still to open."""

    def __init__(self) -> None:
        self._orders: list[Order] = []

    @property
    def orders(self) -> Sequence[Order]:
        """What is still to be assigned."""
        return tuple(self._orders)

    def add(self, order: Order) -> None:
        """Order a fault for the next or all streams, calls or connections."""
        self._orders.append(order)

    def clear(self) -> None:
        """Forget all orders."""
        self._orders.clear()

    def for_connection(self, client: Client = anybody) -> bool:
        """Return whether the connection that is being made is to be refused."""
        return bool(self._take(lambda order: order.fault.effect is Effect.REFUSE_CONNECTION and order.is_for(client)))

    def for_operation(self, operation: str, client: Client = anybody) -> list[Fault]:
        """Return the faults of the stream or Converse call that opens now."""
        return self._take(
            lambda order: (
                order.operation == operation
                and order.fault.effect is not Effect.REFUSE_CONNECTION
                and order.is_for(client)
            )
        )

    def _take(self, chosen: Callable[[Order], bool]) -> list[Fault]:
        taken = [order for order in self._orders if chosen(order)]
        kept: list[Order] = []
        for order in self._orders:
            if order not in taken or order.scope == "all":
                kept.append(order)
            elif order.count > 1:
                kept.append(replace(order, count=order.count - 1))
        self._orders = kept
        return [order.fault for order in taken]
