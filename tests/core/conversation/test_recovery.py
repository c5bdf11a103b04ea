"""Maya stays on the line: every fault of the stand-in, at every moment of every part, and what must hold in each case."""

from collections.abc import Callable, Sequence
from typing import Final

import pytest

from gateway.core.conversation import State
from gateway.core.conversation.course import Alarm
from gateway.core.messages import Part, Status
from infra.local.nova.faults import KINDS, Effect
from infra.local.nova.settings import Settings
from tests.world.checks import check_heard, check_played, check_transcript
from tests.world.moments import ALL_PARTS, ASSESSING, MOMENTS, Inside, act_at
from tests.world.world import World, tiny

type Act = Callable[[Inside], None]

FRAME_MS: Final = 200
"""Half as many frames as usual, for the sake of the suite's length."""

FAULTS: Final = sorted(name for name, kind in KINDS.items() if kind.effect is not Effect.DELAY)


def strike(*names: str) -> Act:
    """Faults that happen to Maya's stream, the later ones to its successors as they are opened."""

    def act(inside: Inside) -> None:
        stream = inside.target
        assert stream is not None
        inside.world.nova.spoil.clear()
        inside.world.nova.strike(stream.stream_id, names[0])
        for name in names[1:]:
            inside.world.nova.spoil_next(name)

    return act


def renew(inside: Inside) -> None:
    """Maya's stream is about to end: it is changed at once, whatever goes on."""
    current = inside.line.current
    if current is not None:
        current.ends_at_ms = inside.world.clock.now_ms + 5_000.0
        inside.world.conversation._alarms.set(Alarm.RENEW, inside.world.clock.now_ms)


def away_and(act: Act) -> Act:
    """The phone is away for a while, and something happens meanwhile."""

    def happen(inside: Inside) -> None:
        inside.world.go_away(6_000.0)
        inside.world.clock.after(1_500.0, lambda: act(inside) if inside.target is not None else None)

    return happen


def hold(moment: str, act: Act, *, seed: int = 3) -> tuple[World, list[int]]:
    """Hold a whole conversation in which something happens at a moment of each part."""
    world = World(seed, frame_ms=FRAME_MS)
    if moment == "part is over":
        world.nova.opening_ms = 2_500.0  # else the next part has its stream at once
    parts = act_at(world, moment, act)
    return world.run(until_s=600), parts


def check(world: World) -> None:
    """Whatever happened: heard, played and written down once, held to the end, assessed whole, saved once."""
    check_heard(world)
    check_played(world)
    check_transcript(world)
    assert [part.part for part in world.messages(Part)] == [1, 2, 3]
    assert [saved.status for saved in world.saves] == ["complete"]
    assert world.over is not None
    assert world.over.bye == "finished"
    _check_told(world)


def _check_told(world: World) -> None:
    """`reconnecting` is told of an outage of more than a second, and of no other."""
    told = [at for message, at in zip(world.shown, world.shown_at_ms, strict=True) if _is_reconnecting(message)]
    for lost, back in world.outages():
        is_told = any(lost < at < back + 500 for at in told)
        assert is_told or back - lost < 1_100 or world.was_away(lost, back), f"not told of {lost} to {back}"
        assert not is_told or back - lost >= 1_000, f"told of {lost} to {back}"
    for status in world.messages(Status):
        if status.state == "reconnecting":
            assert status.attempt is not None
            assert status.retry_in_ms is not None


def _is_reconnecting(message: object) -> bool:
    return isinstance(message, Status) and message.state == "reconnecting"


def asked(world: World) -> list[int]:
    """How often each question of the test was asked in full."""
    maya = " ".join(said.text for said in world.conversation.transcript.utterances if said.who == "maya")
    return [maya.count(question) for part in world.settings.plan.parts for question in part.questions]


LOST: Final = ("rst",)
DEAD: Final = ("half_open",)
OVERLOADED: Final = ("instability", "http_throttling", "throttling")
NOT_OPENED: Final = ("headers_never",)


@pytest.mark.parametrize("names", [LOST, DEAD], ids=["lost", "dead"])
@pytest.mark.parametrize("moment", [*MOMENTS, ASSESSING])
def test_a_loss_at_any_moment(moment: str, names: Sequence[str]) -> None:
    """In each part that has the moment: the test goes on, and nothing said is lost or written down twice."""
    world, parts = hold(moment, strike(*names))
    assert tuple(parts) == (MOMENTS[moment][1] if moment in MOMENTS else (1, 2, 3))
    check(world)


@pytest.mark.parametrize("names", [OVERLOADED, NOT_OPENED], ids=["overloaded", "not opened"])
@pytest.mark.parametrize("moment", ["maya speaks", "learner speaks", "part is over"])
def test_a_loss_that_takes_several_attempts(moment: str, names: Sequence[str]) -> None:
    """The learner is told that Maya is called back, and everything else holds."""
    world, _ = hold(moment, strike(*names))
    check(world)
    assert any(_is_reconnecting(message) for message in world.shown)


@pytest.mark.parametrize("number", range(0, len(FAULTS), 3), ids=lambda number: " ".join(FAULTS[number : number + 3]))
def test_every_fault_of_the_stand_in(number: int) -> None:
    """Three kinds in each test, one a part, at a moment that differs from test to test."""
    names = iter(FAULTS[number : number + 3] * 2)
    moments = [name for name, (_, parts) in MOMENTS.items() if parts == ALL_PARTS]

    def strike_next(inside: Inside) -> None:
        strike(next(names))(inside)

    world, parts = hold(moments[number // 3 % len(moments)], strike_next)
    assert parts == [1, 2, 3]
    check(world)


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_planned_change_at_any_moment(moment: str) -> None:
    """Nothing is cut, lost or said twice, and each question is asked once."""
    world, parts = hold(moment, renew)
    assert parts
    check(world)
    assert set(asked(world)) == {1}
    assert not world.outages()


@pytest.mark.parametrize(
    ("moment", "name"), [("maya speaks", "half_open"), ("learner speaks", "rst"), ("maya thinks", "half_open")]
)
def test_a_loss_while_the_phone_is_away(moment: str, name: str) -> None:
    """It comes back to a Maya who knows all that was said."""
    world, parts = hold(moment, away_and(strike(name)))
    assert parts
    check(world)


@pytest.mark.parametrize("moment", ["learner speaks", "maya speaks"])
def test_a_successor_that_is_lost_while_it_hears_the_replay(moment: str) -> None:
    """The next one hears it, too."""

    def strike_twice(inside: Inside) -> None:
        strike("rst")(inside)
        inside.world.clock.after(180.0, lambda: strike("rst")(inside) if inside.line.current else None)

    world, _ = hold(moment, strike_twice)
    check(world)


@pytest.mark.parametrize("moment", ["learner speaks", "maya speaks"])
def test_a_replay_at_the_speed_that_the_service_takes(moment: str) -> None:
    """What had no transcript is played at three times the speed of speech, and what is said meanwhile behind it."""
    world = World(3, frame_ms=FRAME_MS, settings=tiny(replay_speed=3.0))
    act_at(world, moment, strike("rst"))
    world.run(until_s=600)
    check_played(world)
    check_transcript(world)
    assert [saved.status for saved in world.saves] == ["complete"]


def test_a_phone_that_is_away_for_longer_than_a_stream_lives_without_sound() -> None:
    """Stream after stream ends for want of sound; that is nobody's failure, and the learner comes back to Maya."""
    nova = Settings().with_overrides({"idle_ms": 2_000, "first_idle_ms": 2_000})
    world = World(3, frame_ms=FRAME_MS, nova_settings=nova)
    parts = act_at(world, "learner is silent", lambda inside: inside.world.go_away(15_000.0))
    world.run(until_s=600)
    assert parts == [1, 2, 3]
    assert [record.fields["fault"] for record in world.records if record.event == "stream_lost"].count("idle") > 15
    check(world)


def test_maya_who_stays_down_is_unavailable_and_what_was_said_is_assessed() -> None:
    """After all attempts; the learner was told of each."""
    world = World(3, frame_ms=FRAME_MS)
    act_at(world, "maya thinks", strike("rst", *["unavailable"] * 10))
    world.run(until_s=600)
    assert [saved.status for saved in world.saves] == ["partial"]
    assert world.conversation.state is State.ENDED
    attempts = [status.attempt or 0 for status in world.messages(Status) if status.state == "reconnecting"]
    assert attempts == sorted(set(attempts))
    assert attempts[-1] == world.settings.retries
