"""Connections beside the phone's own: told, closed later, never many."""

import json

import pytest

from gateway.core.conversation.actions import Disconnect, Post
from gateway.core.conversation.asides import Asides
from gateway.core.messages import PongDown


@pytest.fixture
def asides() -> Asides:
    return Asides(epoch=7, part_with_ms=2_000.0)


def test_something_is_told_once(asides):
    """In order, and without a connection being closed for it."""
    asides.tell("b", PongDown(epoch=7, id=1, at=0.0))
    [post] = asides.take(0.0)
    assert isinstance(post, Post)
    assert (post.connection_id, json.loads(post.data)["type"]) == ("b", "pong")
    assert asides.take(1e9) == []
    assert asides.next_timer_ms() is None


def test_a_connection_is_closed_after_its_time(asides):
    """`bye` at once, the deletion two seconds later, once."""
    asides.part_from("b", "replaced", 100.0)
    assert [type(action) for action in asides.take(100.0)] == [Post]
    assert asides.is_parting("b")
    assert asides.next_timer_ms() == 2_100.0
    assert asides.take(2_099.0) == []
    assert asides.take(2_100.0) == [Disconnect("b")]
    assert not asides.is_parting("b")
    assert asides.take(9_000.0) == []


def test_a_connection_in_use_again_stays_open(asides):
    """It said something that counts before its time was over."""
    asides.part_from("b", "failed", 0.0)
    asides.keep("b")
    asides.keep("never seen")
    assert Disconnect("b") not in asides.take(9_000.0)


def test_at_the_end_nothing_is_waited_for(asides):
    """All are closed."""
    asides.part_from("b", "failed", 0.0)
    asides.part_from("c", "replaced", 1_000.0)
    assert [action for action in asides.take_all() if isinstance(action, Disconnect)] == [
        Disconnect("b"),
        Disconnect("c"),
    ]
    assert asides.next_timer_ms() is None


def test_no_more_than_a_few_are_left_open(asides):
    """The oldest gives way at once."""
    for number in range(20):
        asides.part_from(f"c{number}", "replaced", 0.0)
    closed = [action.connection_id for action in asides.take(0.0) if isinstance(action, Disconnect)]
    assert closed == ["c0", "c1", "c2", "c3"]
