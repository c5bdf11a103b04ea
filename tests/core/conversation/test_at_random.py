"""Two hundred whole conversations with troubles at random: whatever comes, I2, I3 and I4 hold. A seed decides everything.

One that fails is held again, alone, with: .venv/bin/python -m pytest "tests/core/conversation/test_at_random.py" -k "[SEED]"
"""

from collections.abc import Sequence
from itertools import groupby
from typing import Final

import pytest

from gateway.core.messages import Part
from tests.world.checks import check_heard, check_played, said_by_learner, spoken
from tests.world.network import WILD
from tests.world.relay import VirtualRelay
from tests.world.troubles import Trouble, have, troubles
from tests.world.world import World

SEEDS: Final = range(200)
_NEW_RELAY_WITHIN_MS: Final = 8_000.0
_FRAMES_MS: Final = (100, 200, 250)


def held(seed: int) -> tuple[World, list[Trouble]]:
    """A conversation over a bad line; three of four have troubles, and every other one of them loses relays."""
    happening = troubles(seed, relays=seed % 4 > 1) if seed % 4 else []
    world = World(seed, line=WILD, barge_in=0.3, frame_ms=_FRAMES_MS[seed % 3])
    have(world, happening)
    world.start()
    done = world.go_on(until_s=600, done=lambda: world.over is not None and world.relay_is_done)
    assert done, f"{world.replay}: not over, {happening}"
    return world, happening


@pytest.mark.parametrize("seed", SEEDS)
def test_whatever_comes(seed: int) -> None:
    """Maya hears what the phone captured, the phone plays what she said, and one assessment is saved and told."""
    world, happening = held(seed)
    check_heard(world)
    app_lived = not any(trouble.kind == "app" for trouble in happening)
    if app_lived:
        check_played(world)
    _check_saved(world)
    _check_relays(world, happening)
    if len(world.relays) == 1 and app_lived:
        # A phone that was cut off before it heard `ready` starts again, and is told the part again.
        assert [part for part, _ in groupby(part.part for part in world.messages(Part))] == [1, 2, 3]
        # Who speaks over the last line of the test speaks to nobody.
        assert spoken(world).startswith(said_by_learner(world)), world.replay
        assert len(said_by_learner(world)) >= len(spoken(world)) - 80, world.replay
        assert world.saves[0].status == "complete"


def _check_saved(world: World) -> None:
    """One assessment, of the relay that came to the end, and the phone has it (I4)."""
    [saved] = world.saves
    assert saved.epoch == next(relay.epoch for relay in reversed(world.relays) if relay.saved), world.replay
    assert world.assessment == saved, world.replay
    assert saved.spoken_s > 0
    for relay in world.relays:
        if relay.session is not None:
            assert set(relay.session.session.notes) <= set(saved.parts_assessed), world.replay


def _check_relays(world: World, happening: Sequence[Trouble]) -> None:
    """Each relay that was lost was followed by one, in time, and by no more than one."""
    lost = sum(relay.lost for relay in world.relays)
    recalled = sum(record.event == "assessment_recalled" for record in world.records)
    frozen = sum(trouble.kind == "freeze" for trouble in happening)
    assert lost + recalled - 1 <= world.redis.launches <= lost + recalled + frozen, world.replay
    for relay, successor in zip(world.relays, world.relays[1:], strict=False):
        if relay.killed_at_ms is not None and _was_there(relay, happening):
            assert successor.began_ms - relay.killed_at_ms <= _NEW_RELAY_WITHIN_MS, world.replay


def _was_there(relay: VirtualRelay, happening: Sequence[Trouble]) -> bool:
    """Whether the phone spoke all the time that a new relay takes to come."""
    assert relay.killed_at_ms is not None
    until_ms = relay.killed_at_ms + _NEW_RELAY_WITHIN_MS
    absent = [trouble for trouble in happening if trouble.kind in ("drop", "away", "two networks", "app")]
    return not any(
        trouble.at_ms < until_ms and trouble.at_ms + trouble.for_ms + 3_000 > relay.killed_at_ms for trouble in absent
    )
