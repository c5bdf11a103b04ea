"""Maya takes up the talk after a relay was lost: what the phone captured meanwhile comes first, and the learner before her cue."""

import random
from collections.abc import Sequence
from dataclasses import replace

import pytest

from client_sim.events import Event
from gateway.core.conversation.examiner import Phase
from gateway.core.conversation.inputs import TookOver
from gateway.core.conversation.progress import Standing
from gateway.core.conversation.resumption import resumption
from gateway.core.exam import build_plan
from gateway.core.messages import Ready, Status
from gateway.core.nova_events import Role, TextOutput, UserSpeechEnd, UserSpeechStart
from gateway.core.prompts import Direction
from tests.core.conversation.lost_relay import AWAY_MS, NEXT_EPOCH, successor, written
from tests.core.conversation.scene import _LOUD_FRAME as LOUD
from tests.core.conversation.scene import Scene
from tests.world.learner import ANSWERS
from tests.world.moments import Inside
from tests.world.network import PERFECT, WILD, Line
from tests.world.world import World

BUFFERED = round(AWAY_MS / 100)


@pytest.fixture
def scene() -> Scene:
    """A relay that has taken up part 1, after Maya's first question; its stream is open, and the phone has yet to send."""
    lost = Scene().talk()
    lost.wait(1_000, talking=True)
    taken_up = successor(lost)
    taken_up.open()
    return taken_up


def send(scene: Scene, frames: int, **fields) -> None:
    """The phone sends again what it holds."""
    for _ in range(frames):
        scene.audio(**fields)


def part_two_taken_up(phase: Phase) -> Scene:
    """A relay that has taken up part 2 in a phase."""
    lost = Scene().begin()
    lost.part_two()
    lost.wait(600, talking=True)
    session = replace(written(lost), standing=Standing(phase=phase, elapsed_ms=20_000))
    scene = Scene(now_ms=lost.now_ms + AWAY_MS, epoch=NEXT_EPOCH)
    scene._seq = session.seq + 1
    scene.tell(TookOver(session))
    scene.open()
    return scene


# --- What the phone captured meanwhile ------------------------------------------------------------------------------


def test_maya_begins_when_the_phone_has_caught_up(scene):
    """What it sends after her first word would cut her short."""
    send(scene, BUFFERED - 30)
    assert scene.directions() == []
    send(scene, 30)
    assert scene.directions() == [Direction.BEGIN]
    assert scene.frames() == BUFFERED


def test_she_waits_at_most_five_seconds(scene):
    """However much is missing still; and the timer of it rings by itself."""
    send(scene, 20)
    scene._seq += 5
    send(scene, BUFFERED - 25)
    scene.wait(4_800)
    assert scene.directions() == []
    scene.wait(500)
    assert scene.directions() == [Direction.BEGIN]
    assert scene.ticks < 60


def test_frames_that_lack_in_silence_are_not_waited_for(scene):
    """They come when they come: nothing in them will cut her short."""
    send(scene, 20)
    scene._seq += 1
    send(scene, BUFFERED - 21)
    assert scene.directions() == [Direction.BEGIN]


def test_the_learner_is_told_that_maya_comes(scene):
    """Who is told to go on would speak over her first words."""
    send(scene, BUFFERED)
    assert [message["state"] for message in scene.told("status")] == ["reconnecting", "thinking"]


# --- What the learner said meanwhile --------------------------------------------------------------------------------


def test_what_the_learner_said_is_answered_instead(scene):
    """She is not asked for anything while she hears the learner, nor when she has answered."""
    send(scene, BUFFERED)
    scene = successor(scene)
    scene.open()
    send(scene, 20)
    scene.hear(UserSpeechStart(1_000.0))
    send(scene, BUFFERED - 20, pcm=LOUD)
    scene.wait(8_000, talking=True, loud=True)
    assert scene.directions() == []
    scene.hear(UserSpeechEnd(9_000.0, 9_500.0), TextOutput("u", Role.USER, "my answer"))
    scene.wait(1_000, talking=True)
    scene.maya()
    scene.wait(4_000, talking=True)
    assert scene.directions() == []


def test_what_she_does_not_answer_is_left_to_the_cue(scene):
    """Three seconds after the learner."""
    send(scene, BUFFERED - 20)
    scene.hear(UserSpeechStart(1_000.0), UserSpeechEnd(2_000.0, 2_500.0), TextOutput("u", Role.USER, "my answer"))
    send(scene, 20)
    scene.wait(2_800, talking=True)
    assert scene.directions() == []
    scene.wait(500, talking=True)
    assert scene.directions() == [Direction.BEGIN]


def test_speech_that_has_no_end_is_left_to_the_cue(scene):
    """The service heard something begin, and it has been quiet for three seconds."""
    send(scene, BUFFERED - 20)
    scene.hear(UserSpeechStart(1_000.0))
    send(scene, 20)
    scene.wait(2_800, talking=True)
    assert scene.directions() == []
    scene.wait(400, talking=True)
    assert scene.directions() == [Direction.BEGIN]


def test_speech_that_the_service_has_not_told_of_yet_is_waited_for(scene):
    """The gateway's own ear has heard it, in what came before the stream was open, too; at most five seconds."""
    lost = Scene().talk()
    lost.wait(1_000, talking=True)
    for early in (0, BUFFERED):
        scene = successor(lost)
        send(scene, early, pcm=LOUD)
        scene.open()
        send(scene, BUFFERED - early, pcm=LOUD)
        scene.wait(4_800, talking=True)
        assert scene.directions() == []
        scene.wait(400, talking=True)
        assert scene.directions() == [Direction.BEGIN]


def test_the_cue_is_that_of_the_phase_when_it_is_given():
    """The learner has finished the talk meanwhile: they are not asked to go on with it."""
    scene = part_two_taken_up(Phase.TALKING)
    send(scene, BUFFERED - 20)
    scene.hear(UserSpeechStart(1_000.0), UserSpeechEnd(2_000.0, 2_500.0), TextOutput("u", Role.USER, "my talk"))
    send(scene, 20)
    scene.wait(3_300, talking=True)
    assert scene.directions() == [Direction.END_TALK]


@pytest.mark.parametrize(
    ("phase", "given"),
    [
        (Phase.PREPARING, ()),
        (Phase.TALKING, (Direction.START_TALK,)),
        (Phase.ASKING, (Direction.START_TALK, Direction.END_TALK)),
    ],
)
def test_maya_knows_whether_the_talk_has_begun_and_whether_it_is_over(phase, given):
    """Else what she hears the learner say is the beginning of the talk to her, and she is silent."""
    resumed = resumption(build_plan("full"), 2, Standing(phase=phase, elapsed_ms=100_000, phase_elapsed_ms=9_000))
    assert resumed is not None
    assert [turn.text for turn in resumed.history if turn.role is Role.USER] == list(given)


# --- Whole conversations --------------------------------------------------------------------------------------------


class SlowWorld(World):
    """The way up carries three times what is captured."""

    _busy = False

    def tell_phone(self, event: Event) -> None:
        self.phone.handle(event, self.clock.now_ms)
        for action in self.phone.take_actions():
            self._do_for_phone(action)
        self._phone_timer.arm()
        self._carry_next()

    def _phone_next_ms(self) -> float | None:
        return self.phone.next_timer_ms() if self._busy else super()._phone_next_ms()

    def _carry_next(self) -> None:
        text = None if self._busy else self.phone.take_message(self.clock.now_ms)
        if text is not None:
            self._carry_up(text)
            self._busy = True
            self.clock.after(len(text) / 128.0, self._carried)

    def _carried(self) -> None:
        self._busy = False
        self._carry_next()


class Talk:
    """A conversation whose relay is lost at a moment in a part; the learner, who was silent, may begin to speak meanwhile.

    Attributes:
        world: the conversation.
        ready_ms: when the phone heard of the new relay.
        heard_ms: when it began to play what Maya said and was not cut.
        cut: turns of the new relay that were cut.
        learner_ms: when the learner was last heard before that, by the phone.
    """

    def __init__(self, world: World, *, part: int, speaks: bool, begins_ms: float | None) -> None:
        self.world = world
        self.learner_ms = 0.0
        self._inside, self._part, self._speaks, self._begins_ms = Inside(world), part, speaks, begins_ms
        self._is_struck = False
        self._next_frame, world.learner.frame = world.learner.frame, self._frame  # type: ignore[method-assign]
        world.after_step.append(self._look)
        world.start()
        assert world.go_on(until_s=200, done=self._is_heard), world.replay
        epoch = world.relay.epoch
        self.ready_ms = next(
            at_ms
            for message, at_ms in zip(world.shown, world.shown_at_ms, strict=True)
            if isinstance(message, Ready) and message.epoch == epoch
        )
        turns = [turn for name, turn in world.phone.speaker.turns.items() if name[0] == epoch]  # type: ignore[index]
        self.cut = sum(turn.cut for turn in turns)
        self.heard_ms = next(turn.first_sound_ms or 0.0 for turn in turns if not turn.cut)

    def _frame(self, frame_ms: int, now_ms: float) -> bytes:
        pcm = self._next_frame(frame_ms, now_ms)
        if any(pcm):
            self.learner_ms = now_ms
        return pcm

    def _look(self) -> None:
        inside, learner = self._inside, self.world.learner
        if self._is_struck or inside.dialogue.part != self._part or inside.phase is not Phase.ASKING:
            return
        if self._speaks:
            self._is_struck = inside.spoken_ms > 500
        elif inside.dialogue.quiet and not inside.playing and not inside.spoken_ms:
            self._is_struck = learner.listens_only = True
        if self._is_struck:
            self.world.clock.after(0, self.world.relay.kill)
            if self._begins_ms is not None:
                self.world.clock.after(self._begins_ms, lambda: setattr(learner, "listens_only", False))

    def _is_heard(self) -> bool:
        """Whether a turn of the new relay was played to its end."""
        world = self.world
        world.phone.speaker.advance(world.clock.now_ms)
        turns = [turn for name, turn in world.phone.speaker.turns.items() if name[0] == world.relay.epoch]  # type: ignore[index]
        is_over = isinstance(world.phone.status, Status) and world.phone.status.state != "speaking"
        return len(world.relays) > 1 and any(
            not turn.cut and turn.heard_ms > 0 and is_over and turn.heard_ms >= turn.queued_ms - 1 for turn in turns
        )


def held(seed: int, line: Line | None, *, speaks: bool = False, answers: bool = True) -> Talk:
    """Hold a conversation over a line, or over a slow one; the learner begins within 8 s after the loss, at random."""
    kind = SlowWorld if line is None else World
    world = kind(seed, line=line or PERFECT, frame_ms=(100, 200, 250)[seed % 3])
    world.learner.answers = [" ".join([answer] * (1 + seed % 2 * 2)) for answer in ANSWERS]
    begins_ms = random.Random(seed).uniform(500, 8_000) if answers else None
    return Talk(world, part=1 + seed % 3, speaks=speaks, begins_ms=begins_ms)


def silences(talks: Sequence[Talk]) -> list[float]:
    """For how long nobody was heard: since the new relay's `ready`, or since the learner has finished."""
    return [talk.heard_ms - max(talk.ready_ms, min(talk.learner_ms, talk.heard_ms)) for talk in talks]


@pytest.mark.parametrize(
    ("line", "seeds"),
    [(PERFECT, (0, 1, 11, 17, 45)), (WILD, (0, 7, 11, 16, 34, 59)), (None, range(6))],
    ids=["perfect", "wild", "slow"],
)
def test_maya_is_not_cut_short_by_what_was_captured_before(line, seeds):
    """The learner spoke while nobody listened, long or short: they hear her soon, and whole. Two seconds of it are a lost frame's."""
    talks = [held(seed, line) for seed in seeds]
    assert [talk.cut for talk in talks] == [0] * len(talks)
    assert max(silences(talks)) <= 6_000


@pytest.mark.parametrize(("line", "seeds"), [(WILD, (9, 13, 27)), (None, range(3))], ids=["wild", "slow"])
def test_a_relay_lost_while_the_learner_speaks_or_is_silent(line, seeds):
    """The same."""
    talks = [held(seed, line, speaks=speaks, answers=False) for speaks in (True, False) for seed in seeds]
    assert [talk.cut for talk in talks] == [0] * len(talks)
    assert max(silences(talks)) <= 6_000
