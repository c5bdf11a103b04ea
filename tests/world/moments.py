"""Moments of a conversation at which something can be made to happen, once in each part of the test."""

from collections.abc import Callable, Mapping
from typing import Final

from gateway.core.conversation import State
from gateway.core.conversation.dialogue import Dialogue
from gateway.core.conversation.examiner import Phase
from gateway.core.conversation.line import MayaLine, Stream
from gateway.core.conversation.watch import Owed
from tests.world.world import World

ALL_PARTS: Final = (1, 2, 3)


class Inside:
    """The gateway's side of a world, as tests look at it."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.dialogue: Dialogue = world.conversation._dialogue
        self.line: MayaLine = world.conversation._line

    @property
    def phase(self) -> Phase | None:
        return None if self.dialogue.examiner is None else self.dialogue.examiner.phase

    @property
    def playing(self) -> bool:
        return self.world.phone.speaker.playing(self.world.clock.now_ms) is not None

    @property
    def spoken_ms(self) -> float:
        """How much of an utterance has been spoken, 0 while the learner is silent."""
        return self.world.learner.spoken_ms

    @property
    def turn_ms(self) -> float:
        """How much of Maya's turn has come, 0 between her turns."""
        turn = self.dialogue._open
        return 0.0 if turn is None else turn.sound_ms

    @property
    def target(self) -> Stream | None:
        """The stream that is to be struck: Maya's, or the one that is assessing when there is none."""
        retired = list(self.line.retired.values())
        return self.line.current or (retired[-1] if retired else None)


def _assessing(inside: Inside) -> bool:
    return bool(inside.line.retired)


MOMENTS: Final[Mapping[str, tuple[Callable[[Inside], bool], tuple[int, ...]]]] = {
    "asked to begin": (lambda at: at.phase is Phase.OPENING and at.line.watch.owed is Owed.ANSWER, ALL_PARTS),
    "maya speaks": (lambda at: at.turn_ms > 600 and at.playing and at.phase is not Phase.CLOSING, ALL_PARTS),
    "maya is heard": (lambda at: not at.dialogue.maya_speaks and at.playing and at.phase is Phase.ASKING, ALL_PARTS),
    "learner is silent": (
        lambda at: at.phase is Phase.ASKING and at.dialogue.quiet and not at.playing and not at.spoken_ms,
        ALL_PARTS,
    ),
    "learner speaks": (lambda at: at.spoken_ms > 500 and at.phase is Phase.ASKING, ALL_PARTS),
    "end of speech": (lambda at: at.line.watch.owed is Owed.WORDS, ALL_PARTS),
    "maya thinks": (lambda at: at.phase is Phase.ASKING and at.line.watch.owed is Owed.ANSWER, ALL_PARTS),
    "closing line": (lambda at: at.phase is Phase.CLOSING and at.dialogue.maya_speaks, ALL_PARTS),
    "next part opens": (lambda at: at.line.successor is not None, (1, 2)),
    "part is over": (lambda at: at.phase is Phase.OVER and at.world.conversation.state is State.TALKING, (1, 2)),
    "preparing": (lambda at: at.phase is Phase.PREPARING and not at.dialogue.maya_speaks, (2,)),
    "asked to start": (lambda at: at.phase is Phase.TALKING and at.line.watch.owed is Owed.ANSWER, (2,)),
    "the talk": (lambda at: at.phase is Phase.TALKING and at.spoken_ms > 500, (2,)),
}
"""By name: when it is, and in which parts it comes."""

ASSESSING: Final = "assessing"
"""The moment that no current stream has: the one that heard a part is writing its notes."""


def act_at(world: World, name: str, act: Callable[[Inside], None]) -> list[int]:
    """Have something done at a moment of each part; returns the parts in which it was, filled as they come."""
    inside = Inside(world)
    done: list[int] = []
    is_now, parts = (_assessing, ALL_PARTS) if name == ASSESSING else MOMENTS[name]

    def look() -> None:
        part = inside.dialogue.part
        if name == ASSESSING and inside.line.retired:
            part = max(stream.plan.part for stream in inside.line.retired.values())
        if part in parts and part not in done and inside.target is not None and is_now(inside):
            done.append(part)
            act(inside)

    world.after_step.append(look)
    return done
