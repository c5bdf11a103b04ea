"""The table of turn-taking."""

import pytest

from infra.local.nova.turns import TURNS, Cue, Effect, Floor


def test_every_floor_and_cue_is_decided() -> None:
    """The table covers each pair."""
    assert set(TURNS) == {(floor, cue) for floor in Floor for cue in Cue}


@pytest.mark.parametrize("cue", [Cue.SPEECH_START, Cue.SPEECH_END, Cue.TEXT])
def test_whatever_the_learner_says_stops_maya(cue: Cue) -> None:
    """While Maya speaks, speech and text interrupt."""
    floor, effect = TURNS[Floor.SPEAKING, cue]
    assert floor is not Floor.SPEAKING
    assert effect is Effect.INTERRUPT


@pytest.mark.parametrize("floor", Floor)
def test_tool_results_never_interrupt(floor: Floor) -> None:
    """A result is no reason to cut a sentence."""
    assert TURNS[floor, Cue.TOOL_RESULT][1] is not Effect.INTERRUPT


@pytest.mark.parametrize("floor", Floor)
def test_speech_leaves_the_floor_to_the_learner(floor: Floor) -> None:
    """From its first sound on, the learner has the floor."""
    assert TURNS[floor, Cue.SPEECH_START][0] is Floor.LISTENING
