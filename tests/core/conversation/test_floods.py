"""A connection that floods, in a conversation; and the sending again after a drop, which is no flood."""

import pytest

from gateway.core.conversation import State
from gateway.core.conversation.actions import Disconnect, RefuseStarts
from gateway.core.messages import Ready
from tests.core.conversation.scene import OTHER_SESSION, SESSION, START, Scene
from tests.world.checks import check_heard
from tests.world.world import World

PING = {"type": "ping", "id": 1, "at": 0}
RESUME = {"type": "resume", "session_id": SESSION, "n": -1, "seq": 0}


@pytest.fixture
def scene() -> Scene:
    """Maya has asked her first question on connection `a`, which was opened a while ago."""
    return Scene().talk()


def flood(scene: Scene, connection: str = "a", opened: int = 1, messages: int = 1_000) -> None:
    for _ in range(messages):
        scene.say(PING, connection, opened)


def codes(scene: Scene, connection: str) -> list[str]:
    return [error["code"] for error in scene.told("error", connection)]


def test_its_connection_is_deleted_and_its_learner_refused_for_a_minute(scene):
    """At once, before posts that wait; the conversation waits for the phone as after any drop."""
    flood(scene)
    assert Disconnect("a", at_once=True) in scene.actions
    assert scene.of(RefuseStarts)[0] == RefuseStarts(60.0)
    assert scene.recorded("flood")[0].fields == {"connection_id": "a"}
    assert scene.state is State.TALKING
    before = len(scene.posts)
    scene.wait(5_000)
    assert len(scene.posts) == before


def test_nothing_more_of_it_is_heard(scene):
    """Not even its audio, and it does not keep the conversation waiting either."""
    flood(scene)
    heard = scene.conversation._uplink.acknowledged
    scene.audio()
    assert scene.conversation._uplink.acknowledged == heard
    for _ in range(70):
        scene.wait(1_000)
        scene.audio()
    assert scene.state is not State.TALKING


def test_a_flood_of_what_cannot_be_read_is_one_too(scene):
    """The messages are counted before they are looked at."""
    for _ in range(1_000):
        scene.say("[" * 1_000)
    assert scene.disconnected()[:1] == ["a"]
    assert len(scene.told("error")) <= 1


@pytest.mark.parametrize("session_id", [SESSION, OTHER_SESSION])
def test_start_is_refused_for_a_minute_with_the_time_that_is_left(scene, session_id):
    """Of this session or another one; the conversation here is left alone."""
    flood(scene)
    scene.wait(20_000)
    scene.say({**START, "session_id": session_id}, "b", 2)
    [error] = scene.told("error", "b")
    assert (error["code"], error["fatal"], error["retry_after_s"]) == ("busy", True, 40.0)
    assert [bye["reason"] for bye in scene.told("bye", "b")] == ["failed"]
    assert scene.state is State.TALKING
    scene.wait(2_100)
    assert "b" in scene.disconnected()


def test_after_the_minute_start_is_taken(scene):
    """The learner may come back."""
    flood(scene)
    scene.wait(30_000)
    scene.say(RESUME, "b", 2)
    scene.wait(30_100)
    scene.say(START, "c", 3)
    assert codes(scene, "c") == []
    assert scene.told("ready", "c")


def test_resume_is_not_refused(scene):
    """Whoever has an app gone wild may still end the test."""
    flood(scene)
    scene.say(RESUME, "b", 2)
    assert scene.told("ready", "b")


def test_a_repeated_start_on_the_connection_in_use_is_no_offence(scene):
    """It was sent before `ready` was heard."""
    flood(scene)
    scene.say(RESUME, "b", 2)
    scene.say(START, "b", 2)
    assert codes(scene, "b") == []


def test_another_connection_that_floods_costs_the_phone_nothing(scene):
    """Of the same learner, opened beside the one in use: only that one is deleted."""
    flood(scene, "b", 2)
    assert set(scene.disconnected()) == {"b"}
    scene.audio()
    scene.wait(600)
    assert scene.told("ack", "a")[-1]["seq"] == scene.conversation._uplink.acknowledged


def test_frames_that_fit_no_real_time_are_not_forgiven():
    """Who resumes and then sends new sound without end, with a `t` that stands still, floods like anybody."""
    scene = Scene().talk()
    scene.leave("a")
    scene.say(RESUME, "b", 2)
    for _ in range(2_500):
        scene.audio("b", 2, t=0)
    assert "b" in scene.disconnected()


@pytest.mark.parametrize("frame_ms", [20, 100])
def test_what_was_captured_during_a_minute_away_may_come_at_once(frame_ms):
    """As fast as the line carries is what maya.v1 says: with frames of 20 ms that is some 2,700 messages in a moment."""
    world = World(seed=5, frame_ms=frame_ms)
    world.start()
    world.go_on(until_s=6, done=lambda: False)
    world.drop()
    world.network.cut_off = True
    world.clock.after(55_000, lambda: setattr(world.network, "cut_off", False))
    before = world.phone.uplink.sent
    assert world.go_on(until_s=66, done=lambda: len(world.messages(Ready)) == 2)
    assert world.phone.uplink.sent - before > 50_000 / frame_ms
    world.go_on(until_s=66, done=lambda: False)
    assert world.phone.uplink.held_ms < 1_000
    assert not [record for record in world.records if record.event == "flood"]
    world.stop()
    assert world.go_on(until_s=200, done=lambda: world.assessment is not None)
    check_heard(world)
