"""Whole conversations on lines whose length changes: sizes of pieces follow, and nothing is lost or heard broken."""

import json
from collections.abc import Callable

import pytest

from gateway.core.conversation.actions import Post
from gateway.core.conversation.inputs import PostOutcome
from gateway.core.messages import LagNotice, LagPrompt
from infra.local.nova.settings import Settings
from tests.world.checks import check_heard, check_played
from tests.world.network import Line
from tests.world.world import World

_STEADY = Settings().with_overrides({"gap_probability": "0"})
"""Maya's voice as the service makes it has gaps of its own; here every gap would be the line's or ours."""

NEAR, FAR = Line(delay_ms=15.0, jitter_ms=5.0), Line(delay_ms=260.0, jitter_ms=30.0)


class Moving(World):
    """Notes the pieces of Maya's speech."""

    def carry_down(self, action: Post, settled: Callable[[PostOutcome], None]) -> None:
        message = json.loads(action.data)
        if message["type"] == "audio":
            self.__dict__.setdefault("pieces_ms", []).append(len(message["pcm"]) / 4 * 3 / 48)
        super().carry_down(action, settled)


def held(before: Line, after: Line) -> Moving:
    """A test whose line becomes another after 12 s."""
    world = Moving(5, line=before, frame_ms=None, nova_settings=_STEADY)
    world.clock.after(12_000, lambda: setattr(world.network, "line", after))
    world.run()
    return world


@pytest.mark.parametrize(("before", "after", "first_ms", "last_ms"), [(NEAR, FAR, 60, 200), (FAR, NEAR, 200, 60)])
def test_the_line_changes_in_mid_conversation(before, after, first_ms, last_ms):
    """Both ends follow it, and every byte is heard and played, once and in order, both ways."""
    world = held(before, after)
    check_heard(world)
    check_played(world)
    half = len(world.frame_lengths_ms) // 2
    assert first_ms in world.frame_lengths_ms[:half]
    assert world.frame_lengths_ms[-1] == last_ms
    assert max(world.pieces_ms) <= 250


def test_no_gap_opens_where_the_pace_changes():
    """In Maya's voice, within a turn, on a line that becomes longer and one that becomes shorter."""
    for before, after in ((NEAR, FAR), (FAR, NEAR)):
        changing = held(before, after).phone.speaker.gaps
        assert changing.count == 0, changing.each


def test_steady_lines_keep_their_pace():
    """After the first pings nothing changes any more."""
    for line, frame_ms in ((NEAR, 60), (FAR, 200)):
        world = held(line, line)
        settled = world.frame_lengths_ms[len(world.frame_lengths_ms) // 3 :]
        assert set(settled) == {frame_ms}


def test_the_learner_is_told_once_and_asked_nothing():
    """A round trip of half a second is lag to tell of, none to ask about."""
    world = held(FAR, FAR)
    [notice] = world.messages(LagNotice)
    assert notice.expected_ms == pytest.approx(1_560, abs=80)
    assert world.messages(LagPrompt) == []
