"""Orders for faults: how they are read, whom they hit, when they fire."""

from typing import Any

import pytest

from infra.local.nova.faults import (
    KINDS,
    BadFault,
    Effect,
    Fault,
    FaultBook,
    StreamFaults,
    Trigger,
    anybody,
    parse_order,
)
from infra.local.nova.settings import Behaviour


def fault(name: str = "rst", **when: Any) -> Fault:
    return parse_order({"fault": name, "when": when}).fault


@pytest.mark.parametrize("name", sorted(KINDS))
def test_every_kind_can_be_ordered_by_name_alone(name: str) -> None:
    """All parameters have defaults; the trigger is at once and the scope the next stream."""
    operation = "converse" if KINDS[name].effect is Effect.DELAY else "sonic"
    order = parse_order({"fault": name, "operation": operation})
    assert order.fault.effect is KINDS[name].effect
    assert order.fault.parameters == KINDS[name].defaults
    assert order.fault.trigger.at_once
    assert (order.scope, order.count) == ("next", 1)


@pytest.mark.parametrize("name", [name for name, kind in KINDS.items() if kind.effect is Effect.BEHAVE])
def test_every_kind_of_behaviour_changes_something(name: str) -> None:
    """A fault of behaviour makes a session differ from a good one."""
    assert fault(name).behave(Behaviour()) != Behaviour()


def test_an_order_with_everything() -> None:
    """Parameters, scope, count and trigger are taken as given."""
    order = parse_order({"fault": "rst", "code": 2, "scope": "s3", "count": 4, "when": {"after_ms": 500}})
    assert order.fault == Fault("rst", Effect.RESET, {"code": 2}, Trigger(after_ms=500))
    assert (order.scope, order.count) == ("s3", 4)


@pytest.mark.parametrize(
    ("order", "named"),
    [
        ([], "JSON object"),
        ({}, "fault is one of"),
        ({"fault": "explode"}, "fault is one of"),
        ({"fault": []}, "fault is one of"),
        ({"fault": "rst", "volume": 11}, "volume"),
        ({"fault": "rst", "code": "2"}, "code is a number"),
        ({"fault": "rst", "code": True}, "code is a number"),
        ({"fault": "exception", "message": 1}, "message is a text"),
        ({"fault": "partial_frame", "then": "wait"}, "then is rst or end"),
        ({"fault": "rst", "scope": 3}, "scope"),
        ({"fault": "rst", "scope": ""}, "scope"),
        ({"fault": "rst", "count": 0}, "count"),
        ({"fault": "rst", "count": True}, "count"),
        ({"fault": "rst", "operation": "converse"}, "operation"),
        ({"fault": "delay"}, "operation"),
        ({"fault": "rst", "operation": "invoke"}, "operation"),
        ({"fault": "rst", "when": 5}, "when is an object"),
        ({"fault": "rst", "when": {"at_noon": True}}, "when is an object"),
        ({"fault": "rst", "when": {"after_ms": 1, "after_outputs": 2}}, "when is an object"),
        ({"fault": "rst", "when": {"after_ms": -1}}, "when.after_ms"),
        ({"fault": "rst", "when": {"after_outputs": 1.5}}, "when.after_outputs"),
        ({"fault": "rst", "when": {"at_first_audio": 1}}, "when.at_first_audio"),
        ({"fault": "rst", "when": {"after_audio_inputs": True}}, "when.after_audio_inputs"),
    ],
)
def test_a_wrong_order_names_what_is_wrong(order: Any, named: str) -> None:
    """The text of the error says which field it is."""
    with pytest.raises(BadFault) as caught:
        parse_order(order)
    assert named in str(caught.value)


def test_the_next_streams_take_orders_in_turn() -> None:
    """A count is used up stream by stream; `all` never is."""
    book = FaultBook()
    book.add(parse_order({"fault": "rst", "count": 2}))
    book.add(parse_order({"fault": "mute", "scope": "all"}))
    taken = [[fault.name for fault in book.for_operation("sonic")] for _ in range(4)]
    assert taken == [["rst", "mute"], ["rst", "mute"], ["mute"], ["mute"]]
    book.clear()
    assert book.for_operation("sonic") == []
    assert book.orders == ()


def test_operations_and_connections_have_orders_of_their_own() -> None:
    """A Converse call takes no fault of a stream, and neither takes one of a connection."""
    book = FaultBook()
    book.add(parse_order({"fault": "http_throttling", "operation": "converse"}))
    book.add(parse_order({"fault": "refuse_connection", "count": 2}))
    assert book.for_operation("sonic") == []
    assert [book.for_connection() for _ in range(3)] == [True, True, False]
    assert [fault.name for fault in book.for_operation("converse")] == ["http_throttling"]


def test_an_order_for_one_client_is_taken_by_no_other() -> None:
    """Its streams, calls and connections are known by their process."""
    book = FaultBook()
    book.add(parse_order({"fault": "rst", "client_pid": 7}))
    book.add(parse_order({"fault": "refuse_connection", "client_pid": 7}))
    book.add(parse_order({"fault": "http_throttling", "operation": "converse", "client_pid": 7, "scope": "all"}))
    for other in (anybody, lambda pid: pid == 8):
        assert book.for_operation("sonic", other) == book.for_operation("converse", other) == []
        assert not book.for_connection(other)
    assert book.for_connection(lambda pid: pid == 7)
    assert [fault.name for fault in book.for_operation("sonic", lambda pid: pid == 7)] == ["rst"]
    assert [fault.name for fault in book.for_operation("converse", lambda pid: pid == 7)] == ["http_throttling"]


def test_triggers_by_time() -> None:
    """What is at once is due at once, the rest in its time, each once."""
    faults = StreamFaults([fault("mute", after_ms=500), fault("rst")], opened_ms=1000)
    assert faults.next_timer_ms() == 1500
    assert [item.name for item in faults.due(1000)] == ["rst"]
    assert faults.due(1499) == []
    assert [item.name for item in faults.due(1500)] == ["mute"]
    assert faults.due(9999) == []
    assert faults.next_timer_ms() is None


def test_triggers_by_count() -> None:
    """Inputs are counted when they have come, outputs before they leave."""
    faults = StreamFaults([fault("mute", after_audio_inputs=2), fault("rst", after_outputs=1)], opened_ms=0)
    assert faults.due(1e9) == []
    assert faults.audio_input() == []
    assert [item.name for item in faults.audio_input()] == ["mute"]
    assert faults.output(audio=False) == []
    assert [item.name for item in faults.output(audio=False)] == ["rst"]


def test_trigger_at_the_first_audio() -> None:
    """Texts do not fire it."""
    faults = StreamFaults([], opened_ms=0)
    faults.add(fault("rst", at_first_audio=True))
    assert faults.output(audio=False) == []
    assert [item.name for item in faults.output(audio=True)] == ["rst"]
