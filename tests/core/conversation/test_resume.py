"""A drop, step by step (maya.v1): whatever goes wrong on the way back, the conversation goes on where it was."""

import json
from collections.abc import Callable
from typing import Any, Final

import pytest

from gateway.core.conversation import State
from gateway.core.conversation.inputs import PhoneSaid
from gateway.core.messages import Bye, Error, LagNotice, Part, Ready
from tests.core.conversation.scene import SESSION, START, Scene
from tests.world.checks import check_heard, check_played, said_by_learner, spoken
from tests.world.network import WILD, Line
from tests.world.world import World

MOMENTS: Final[dict[str, Callable[[World], bool]]] = {
    "maya speaks": lambda world: world.phone.speaker.playing(world.clock.now_ms) is not None,
    "the learner speaks": lambda world: bool(world.learner.spoken_ms),
}
RESUME: Final = {"type": "resume", "session_id": SESSION, "n": 0}


def swallow(world: World, kind: str, times: int) -> None:
    """Lose the next messages of a type."""
    left = [times]

    def swallows(text: str) -> bool:
        if left[0] and f'"type":"{kind}"' in text:
            left[0] -= 1
            return True
        return False

    world.network.swallows = swallows


def ready_is_lost(world: World) -> None:
    """And the one that is sent again."""
    world.drop()
    swallow(world, "ready", 2)


def resume_is_lost(world: World) -> None:
    """Twice."""
    world.drop()
    swallow(world, "resume", 2)


def torn(world: World) -> None:
    """In the middle of messages both ways: none of those under way arrives."""
    world.drop(torn=True)


def half_open(world: World) -> None:
    """API Gateway takes the old connection for open long after the phone is back."""
    world.drop(known_after_ms=25_000.0)


def two_networks(world: World) -> None:
    """The phone is back twice within a second, and the words of the first connection come last."""
    usual, world.network.line = world.network.line, Line(delay_ms=1_500.0)
    world.drop()

    def another() -> None:
        world.network.line = usual
        world.drop(known_after_ms=4_000.0)

    world.clock.after(150, another)


def many_drops(world: World) -> None:
    """Before each of them is answered."""
    for number in range(6):
        world.clock.after(number * 110.0, world.drop)


def and_the_relay(world: World) -> None:
    """It is lost in the same moment."""
    world.drop()
    world.relay.kill()


def and_later_the_relay(world: World) -> None:
    """It is lost while it waits."""
    world.go_away(4_000.0)
    world.clock.after(2_000.0, world.relay.kill)


def then_the_relay(world: World) -> None:
    """It is lost as soon as the phone is back, before that is written down."""
    world.drop()

    def look() -> None:
        relay = world.relay
        if relay.alive and relay.epoch == 1_000 and relay.conversation._phone.connected_at_ms > 1:
            world.clock.after(0.5, relay.kill)
            world.after_step.clear()

    world.after_step.append(look)


DROPS: Final = (ready_is_lost, resume_is_lost, torn, half_open, two_networks, many_drops)
WITH_RELAYS: Final = (and_the_relay, and_later_the_relay, then_the_relay)


def comes_to(world: World, part: int, moment: str) -> bool:
    """Let time pass until a moment in a part, or the end."""

    def is_there() -> bool:
        return world.over is not None or (world.dialogue_part == part and MOMENTS[moment](world))

    return world.go_on(until_s=300, done=is_there)


def held(drop: Callable[[World], None], moment: str, *, line: Line, seed: int) -> World:
    """A conversation that drops in each of its parts."""
    world = World(seed, line=line)
    world.start()
    for part in (1, 2, 3):
        assert comes_to(world, part, moment)
        if world.over is None:
            drop(world)
            world.go_on(until_s=world.clock.now_ms / 1000 + 9, done=lambda: world.over is not None)
    assert world.go_on(until_s=600, done=lambda: world.over is not None and world.relay_is_done), world.replay
    return world


@pytest.mark.parametrize(
    ("line", "moment"),
    [(Line(), "maya speaks"), (WILD, "the learner speaks")],
    ids=["good line, maya speaks", "bad line, the learner speaks"],
)
@pytest.mark.parametrize("drop", DROPS)
def test_whatever_goes_wrong_on_the_way_back(drop: Callable[[World], None], line: Line, moment: str) -> None:
    """Nothing is lost or heard twice, either way, and every word is written once."""
    world = held(drop, moment, line=line, seed=5)
    check_heard(world)
    check_played(world)
    assert spoken(world).startswith(said_by_learner(world))
    assert [part.part for part in world.messages(Part)] == [1, 2, 3]
    assert world.assessment == world.saves[-1]
    assert world.assessment.status == "complete"
    assert world.messages(Error) == []
    # One that lost its farewell, too, wakes a relay that tells it once more.
    assert world.redis.launches == sum(record.event == "assessment_recalled" for record in world.records)


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("drop", WITH_RELAYS)
def test_the_phone_and_the_relay_are_lost_together(drop: Callable[[World], None], moment: str) -> None:
    """The phone comes back to a relay that it does not know, which does not know where the phone is."""
    world = held(drop, moment, line=Line(), seed=6)
    check_heard(world)
    check_played(world)
    assert len(world.saves) == 1
    assert world.assessment == world.saves[-1]
    assert world.messages(Error) == []
    lost = sum(relay.lost for relay in world.relays)
    assert lost >= 1
    assert world.redis.launches in (lost, lost - 1)


@pytest.mark.parametrize("with_relay", [False, True], ids=["app", "app and relay"])
@pytest.mark.parametrize("line", [Line(), WILD], ids=["good line", "bad line"])
def test_the_app_is_killed(line: Line, with_relay: bool) -> None:
    """It knows its session's id and nothing else: it goes on with `next_seq`; what only the killed one held is lost."""
    world = World(8, line=line)
    world.start()
    for part in (1, 2, 3):
        assert comes_to(world, part, "the learner speaks")
        world.restart_app()
        if with_relay:
            world.relay.kill()
        world.go_on(until_s=world.clock.now_ms / 1000 + 9, done=lambda: world.over is not None)
    assert world.go_on(until_s=600, done=lambda: world.over is not None and world.relay_is_done)
    check_heard(world)
    assert world.assessment == world.saves[-1]
    assert len(world.saves) == 1
    assert world.messages(Error) == []


@pytest.mark.parametrize(
    "state", [State.ASSESSING, State.SUMMARISING, State.SAVING, State.DELIVERING], ids=lambda state: state.value
)
def test_a_relay_is_lost_at_the_end(state: State) -> None:
    """The phone, which just waits, is told its assessment within seconds; it is saved once."""
    world = World(12)
    lost_ms: list[float] = []

    def look() -> None:
        if world.conversation.state is state and not lost_ms:
            lost_ms.append(world.clock.now_ms)
            world.relay.kill()

    world.after_step.append(look)
    world.start()
    assert world.go_on(until_s=300, done=lambda: world.over is not None and world.relay_is_done)
    assert world.shown_at_ms[-1] - lost_ms[0] < 10_000
    assert world.phone.figures.reconnects == 0
    assert world.redis.launches == 1
    assert world.over is not None
    assert world.over.bye == "finished"
    [saved] = world.saves
    assert world.assessment == saved
    assert {1, 2} <= set(saved.parts_assessed)


@pytest.mark.parametrize("told", [True, False], ids=["told", "not told yet"])
def test_the_lag_is_told_once_over_two_relays(told: bool) -> None:
    """The one that follows knows whether the learner has heard of it."""
    world = World(14, line=Line(delay_ms=260.0))
    world.start()
    assert world.go_on(until_s=60, done=lambda: bool(world.messages(LagNotice) if told else world.dialogue_part))
    world.go_on(until_s=world.clock.now_ms / 1000 + (1.0 if told else 0.2), done=lambda: False)
    world.relay.kill()
    assert world.go_on(until_s=300, done=lambda: world.over is not None and world.relay_is_done)
    assert len(world.messages(LagNotice)) == 1


def test_a_deaf_relay_is_followed_by_one_that_hears() -> None:
    """It gives its lease away, so that the next message of the phone wakes another, which goes on at once."""
    world = World(10)
    world.start()
    for part in (1, 2, 3):
        assert comes_to(world, part, "maya speaks")
        deaf_ms, deaf = world.clock.now_ms, world.relay
        deaf.deafen()
        assert world.go_on(until_s=300, done=lambda deaf=deaf: world.relay is not deaf)  # type: ignore[misc]
        assert world.clock.now_ms - deaf_ms < 5_500, "no longer than the lock of the last start"
    assert world.go_on(until_s=600, done=lambda: world.over is not None and world.relay_is_done)
    check_heard(world)
    check_played(world)
    assert world.redis.launches == 3
    assert world.assessment == world.saves[0]
    assert len(world.saves) == 1
    assert world.messages(Error) == []


@pytest.mark.parametrize("away_ms", [0.0, 90_000.0], ids=["at once", "after the window"])
def test_another_session_begins_after_a_relay_was_lost(away_ms: float) -> None:
    """The lost one is brought home from its notes by a relay of its own; the new one has another, and all its parts."""
    world = World(11)
    world.start()
    assert comes_to(world, 2, "maya speaks")
    assert world.go_on(until_s=60, done=lambda: bool((world.redis.progress or {}).get("notes")))
    before = world.phone._settings.session_id
    world.relay.kill()
    world.network.cut_off = True
    world.go_on(until_s=(world.clock.now_ms + away_ms) / 1000, done=lambda: False)
    world.network.cut_off = False
    world.restart_app(session_id="0b9f3a52-6f0e-4c1d-9a57-2f6f0c9d1e11")
    assert world.go_on(until_s=600, done=lambda: world.over is not None and world.relay_is_done)
    assert [(saved.session_id == before, saved.parts_assessed) for saved in world.saves] == [
        (True, (1,)),
        (False, (1, 2, 3)),
    ]
    assert world.saves[1].status == "complete"
    assert world.assessment == world.saves[1]
    assert world.redis.launches == 2


def test_what_a_killed_app_had_sent_is_not_taken_for_what_the_next_one_says() -> None:
    """Its frames that came early, or come late by its old connection, have numbers that now mean other speech."""
    scene = Scene().talk()
    first = scene._seq
    heard = scene.frames()
    scene.audio(seq=first + 1)
    scene.say(START, "b", 2)
    assert scene.told("ready", "b")[0]["next_seq"] == first
    scene.audio("a", 1, seq=first)
    assert scene.frames() == heard
    scene.audio("b", 2, seq=first)
    assert scene.frames() == heard + 1
    scene.audio("b", 2, seq=first + 1)
    assert scene.frames() == heard + 2


@pytest.mark.parametrize(("after_s", "goes_on"), [(59.9, True), (60.0, True), (60.1, False)])
def test_the_last_second_of_the_window(after_s: float, goes_on: bool) -> None:
    """It counts from the last message that was heard; a phone that comes at its very end is back."""
    scene = Scene().talk()
    heard_ms = scene.now_ms
    scene.learner(to_ms=30_000.0)
    scene.leave()
    # The message is there at that very moment, as the alarm is.
    scene.wait(heard_ms + after_s * 1000 - scene.now_ms - 0.01)
    scene.now_ms = heard_ms + after_s * 1000
    scene.say({**RESUME, "seq": scene._seq}, "b", 2)
    scene.wait(50)
    assert (scene.state is State.TALKING) is goes_on
    assert scene.told("ready", "b")


def _into(state: State) -> Scene:
    scene = Scene().talk()
    scene.learner(to_ms=30_000.0)
    steps: dict[State, Callable[[], Any]] = {
        State.ASSESSING: scene.stop,
        State.SUMMARISING: lambda: scene.call_tool(1),
        State.SAVING: lambda: scene.tell_micro_failed(0),
    }
    for reached, step in steps.items():
        step()
        if reached is state:
            break
    assert scene.state is state
    return scene


@pytest.mark.parametrize("message", [START, {**RESUME, "seq": 9}], ids=["start", "resume"])
@pytest.mark.parametrize("state", [State.ASSESSING, State.SUMMARISING, State.SAVING])
def test_coming_back_while_the_assessment_is_written(state: State, message: dict[str, Any]) -> None:
    """The line is ready again, and the assessment comes by the new connection."""
    scene = _into(state)
    scene.leave()
    scene.say(message, "b", 2)
    assert scene.told("ready", "b")
    if state is State.ASSESSING:
        scene.call_tool(1)
    scene.save()
    scene.acknowledge_all("b", 2)
    scene.wait(100)
    assert scene.told("assessment", "b")
    assert [bye["reason"] for bye in scene.told("bye", "b")] == ["finished"]


def test_the_words_of_an_older_connection_are_still_the_phones() -> None:
    """Frames and acknowledgements count by whatever way they come; what only a connection may say does not."""
    scene = Scene().talk()
    scene.say({**RESUME, "seq": scene._seq}, "c", 3)
    heard = scene.frames()
    scene.audio("b", 2)
    assert scene.frames() == heard + 1
    scene.say({"type": "ping", "id": 1, "at": 0}, "b", 2)
    assert not scene.told("pong")


def test_a_phone_with_two_live_connections_hears_by_one() -> None:
    """The newest; the other is told that it is replaced, and closed."""
    world = World(9)
    world.start()
    assert world.go_on(until_s=60, done=lambda: world.dialogue_part == 2)
    now_ms = int(world.clock.now_ms)
    resume = {"action": "stream", "type": "resume", "session_id": world.phone._settings.session_id, "n": -1, "seq": 0}
    world.feed(PhoneSaid("77", 77, now_ms, json.dumps(resume).encode()))
    assert world.go_on(until_s=300, done=lambda: world.over is not None)
    assert [bye.reason for bye in world.messages(Bye)] == ["replaced"]
    assert len(world.messages(Ready)) == 1
