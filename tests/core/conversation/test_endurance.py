"""A whole test of thirteen minutes in its real proportions, in virtual time; and what must not grow meanwhile."""

import gc
import tracemalloc
from dataclasses import replace
from itertools import pairwise
from typing import Final

import pytest

from gateway.core.conversation import ConversationSettings
from gateway.core.exam import build_plan
from gateway.core.messages import GoAway, Part, Status
from infra.local.nova.settings import Settings
from tests.core.conversation.scene import Scene
from tests.world.checks import check_heard, check_played, check_transcript
from tests.world.learner import ANSWERS
from tests.world.moments import Inside, act_at
from tests.world.world import World, tiny

ANSWER: Final = " ".join(ANSWERS * 4)
"""Half a minute in the plain voice, which speaks four times as fast as people do."""

TALK: Final = " ".join(ANSWERS * 13)
"""Nearly two minutes."""

FAULTS: Final = {1: "rst", 2: "half_open", 3: "instability"}
"""What happens to Maya's stream in each part."""


def full_test(seed: int) -> World:
    """The real test, held by a learner who has much to say."""
    world = World(seed, settings=ConversationSettings(plan=build_plan("full")), frame_ms=250)
    world.learner.answers, world.learner.talk = (ANSWER,), TALK
    return world


def test_thirteen_minutes_with_a_loss_in_each_part() -> None:
    """Maya is cut off in part 1, falls dead a minute into the talk of part 2, and is reset while part 3 is answered."""
    world = full_test(1)
    struck: list[int] = []

    def strike(inside: Inside) -> None:
        part = inside.dialogue.part
        if part not in struck and (part != 2 or inside.spoken_ms > 60_000):
            struck.append(part)
            assert inside.target is not None
            inside.world.nova.strike(inside.target.stream_id, FAULTS[part])

    act_at(world, "maya speaks", lambda inside: strike(inside) if inside.dialogue.part == 1 else None)
    world.after_step.append(lambda: strike(Inside(world)) if world.learner.spoken_ms > 60_000 else None)
    act_at(world, "learner speaks", lambda inside: strike(inside) if inside.dialogue.part == 3 else None)
    world.run(until_s=1_000)
    assert struck == [1, 2, 3]
    assert 700_000 < world.clock.now_ms < 900_000
    check_heard(world)
    check_played(world)
    check_transcript(world)
    assert [part.part for part in world.messages(Part)] == [1, 2, 3]
    assert world.assessment is not None
    assert world.assessment.status == "complete"
    assert not [status for status in world.messages(Status) if status.state == "reconnecting"]
    assert world.phone.speaker.gaps.longest_ms < 450  # the service itself pauses for up to 400 ms
    assert len(world.messages(GoAway)) <= 1


@pytest.mark.parametrize("silent", [False, True], ids=["a learner who talks", "a learner who says nothing"])
def test_no_stream_is_taken_for_dead_without_need(silent: bool) -> None:
    """Minutes of preparation and talk, or of nothing at all: each part has its one stream."""
    world = full_test(2)
    world.learner.listens_only = silent
    world.run(until_s=1_000, done=lambda: world.dialogue_part == 3)
    assert not [record for record in world.records if record.event in ("stream_lost", "stream_renewed")]
    assert len(world.nova.sessions) == 3


@pytest.mark.parametrize("seed", range(4))
def test_streams_that_may_live_for_seconds_only_are_renewed_in_time(seed: int) -> None:
    """The service ends each at its age; none is ever lost by that, and nobody notices.

    From the age at which a stream is followed, pause or not, a whole turn of Maya's must fit in before its end.
    """
    nova = Settings().with_overrides({"lifetime_ms": 9_000})
    world = World(seed, settings=tiny(renew_s=3.0, renew_by_s=4.5), nova_settings=nova).run()
    assert not world.outages()
    assert len(world.nova.sessions) > 6
    check_heard(world)
    check_played(world)
    check_transcript(world)


def test_streams_are_renewed_before_their_credentials_end() -> None:
    """Each is left well before."""
    world = World(6, settings=tiny(credentials_margin_s=4.0), credentials_live_ms=9_000.0).run()
    renewed = [record for record in world.records if record.event == "stream_renewed"]
    assert len(renewed) >= 3
    assert all(float(record.fields["duration_ms"]) < 9_000 for record in renewed)
    check_heard(world)
    check_transcript(world)


def test_a_service_to_which_silence_is_nothing_loses_only_silence() -> None:
    """Where digital silence does not count as sound, a stream ends in each long pause; the test goes on unheard."""
    nova = Settings().with_overrides({"silence_counts": "false", "idle_ms": 2_500, "first_idle_ms": 2_500})
    world = World(7, nova_settings=nova).run(until_s=600)
    assert len([record for record in world.records if record.event == "stream_lost"]) >= 3
    check_heard(world)
    check_played(world)
    check_transcript(world)


FRAMES: Final = 300
"""In one measure of what is held: half a minute of speech."""


def allocated_bytes_after(scene: Scene) -> int:
    """Let the phone send `FRAMES` frames, and return how many bytes are held then."""
    for _ in range(FRAMES):
        scene.wait(100, talking=True)
        scene.actions.clear()
        scene.posts.clear()
    gc.collect()
    return tracemalloc.get_traced_memory()[0]


def test_nothing_grows_with_the_frames() -> None:
    """Half a minute more, and less than one byte a frame more is held (I6).

    What is kept for each frame is kept in every half minute. The runner's own threads and caches, which the
    same counter sees, add theirs now and then: so the quietest of six half minutes decides.
    """
    plan = replace(build_plan("full").part(1), time_limit_s=10_000.0)
    never = 1e6
    scene = Scene(
        plan=replace(build_plan("full"), parts=(plan,)),
        replay_ms=5_000.0,
        nudge_s=never,
        time_limit_s=never,
        go_away_s=never,
        renew_s=never,
        renew_by_s=never,
    ).talk()
    tracemalloc.start()
    try:
        held = [allocated_bytes_after(scene) for _ in range(7)]
    finally:
        tracemalloc.stop()
    assert min(after - before for before, after in pairwise(held)) < FRAMES
