"""A connection that wants back into another session than the open one."""

import json
import uuid

import pytest

from gateway.core.conversation import State
from gateway.core.conversation.actions import Disconnect, Post
from gateway.core.conversation.inputs import PhoneSaid
from gateway.core.messages import Bye, Error, Resume
from gateway.core.wire import encode
from tests.world.checks import check_heard, check_played
from tests.world.network import STEADY
from tests.world.world import World


def stray_resume(world: World, connection_id: str, connected_at_ms: int) -> PhoneSaid:
    body = encode(Resume(session_id=str(uuid.UUID(int=7)), n=-1, seq=0)).encode()
    return PhoneSaid(connection_id, connected_at_ms, int(world.clock.now_ms), body)


@pytest.fixture
def world() -> World:
    """A conversation in its second part."""
    world = World(21)
    world.start()
    assert world.go_on(until_s=60, done=lambda: world.dialogue_part == 2)
    return world


@pytest.mark.parametrize("connected_at_ms", [0, 99], ids=["older connection", "newer connection"])
def test_it_is_turned_away_and_the_open_session_goes_on(world, connected_at_ms):
    """The stray connection alone hears `session_gone` and `bye`; the test goes on to its end as if nothing had been."""
    now_ms = world.clock.now_ms
    world.conversation.handle(stray_resume(world, "99", connected_at_ms), now_ms)
    actions = world.conversation.take_actions()
    told = [json.loads(action.data) for action in actions if isinstance(action, Post) and action.connection_id == "99"]
    assert [message["type"] for message in told] == ["error", "bye"]
    assert (told[0]["code"], told[0]["fatal"], told[1]["reason"]) == ("session_gone", True, "failed")
    assert Disconnect("99") not in actions
    assert world.conversation.state is State.TALKING
    assert world.go_on(until_s=300, done=lambda: world.finished and world.over is not None)
    assert not world.messages(Error)
    assert [bye.reason for bye in world.messages(Bye)] == ["finished"]
    assert world.assessment.status == "complete"
    check_heard(world)
    check_played(world)


def test_on_the_sessions_own_connection_it_ends_the_conversation(world):
    """An app that has lost track of its own session cannot go on; what was said is assessed."""
    world.network.line = STEADY
    world.feed(stray_resume(world, world.conversation._phone.connection_id, 1))
    assert world.go_on(until_s=100, done=lambda: world.finished and world.over is not None)
    assert [error.code for error in world.messages(Error)] == ["session_gone"]
    assert [bye.reason for bye in world.messages(Bye)] == ["failed"]
    assert len(world.saves) == 1
