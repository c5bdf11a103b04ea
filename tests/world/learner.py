"""A learner who answers when it is their turn, in the plain voice, so that what Maya hears can be read again."""

import random
from collections.abc import Sequence
from dataclasses import dataclass, field

from client_sim.phone import Phone
from gateway.core.messages import DownMessage, Part, Status
from tests.world.nova import say

ANSWERS = (
    "i live near the old harbour and i like it there.",
    "my sister taught me to repair bicycles when i was ten.",
    "people should learn from each other more than from a screen.",
    "it depends on the weather i think.",
    "the best part is the smell of fresh paint in the morning.",
    "we used to take the slow train along the river every summer.",
)
_THINKING_MS = 350.0
_TALK_AFTER_TURNS = 2
"""Maya gives the topic, and asks to begin."""


@dataclass
class Learner:
    """Speaks, waits, or speaks over Maya.

    Attributes:
        phone: what the learner holds.
        rng: decides what is said and when Maya is interrupted.
        barge_in: how likely it is that a turn of Maya's is spoken over.
        said: every utterance that was spoken, in order.
        answers: what is said, at random.
        listens_only: nothing is said at all.
        talk: what is said when the preparation time of a part is over, one of the answers if it is empty.
        spoken_ms: how much of the utterance under way has been spoken, 0 when there is none.
    """

    phone: Phone
    rng: random.Random
    rate: int
    barge_in: float = 0.0
    said: list[str] = field(default_factory=list)
    answers: Sequence[str] = ANSWERS
    talk: str = ""
    listens_only: bool = False
    spoken_ms: float = 0.0
    _speech: bytes = b""
    _speaking: bool = False
    _turns_in_part: int = 0
    _talk: bool = False
    _maya_spoke: bool = False
    _interrupt_after_ms: float | None = None
    _listening_since_ms: float | None = None

    def shown(self, message: DownMessage) -> None:
        """Follow the test on the screen."""
        if isinstance(message, Part):
            self._talk = message.cue_card is not None
            self._turns_in_part = 0
        elif isinstance(message, Status) and message.state == "speaking":
            self._turns_in_part += 1
            self._maya_spoke = True
            may_interrupt = self._turns_in_part > 2 and self.rng.random() < self.barge_in
            self._interrupt_after_ms = self.rng.uniform(100, 1500) if may_interrupt else None

    def frame(self, frame_ms: int, now_ms: float) -> bytes:
        """Return what the microphone hears next."""
        length = self.rate * frame_ms // 1000 * 2
        if not self._speech and self._decides_to_speak(now_ms):
            self._speech = say(self._next_answer(), self.rate)
            self._maya_spoke = False
            self._interrupt_after_ms = None
        self.spoken_ms = self.spoken_ms + frame_ms if self._speech else 0.0
        piece, self._speech = self._speech[:length], self._speech[length:]
        return piece + bytes(length - len(piece))

    def _next_answer(self) -> str:
        is_talk = self._talk and self._turns_in_part == _TALK_AFTER_TURNS
        answer = self.talk if is_talk and self.talk else self.rng.choice(self.answers)
        self.said.append(answer)
        return answer

    def _decides_to_speak(self, now_ms: float) -> bool:
        if self.listens_only:
            return False
        status = self.phone.status.state if self.phone.status else ""
        playing = self.phone.speaker.playing(now_ms) is not None
        if playing and self._interrupt_after_ms is not None:
            self._interrupt_after_ms -= 100
            return self._interrupt_after_ms <= 0
        quiet = status == "listening" and not playing and self.phone.speaker.queue_ms(now_ms) == 0
        if not quiet or not self._maya_spoke or (self._talk and self._turns_in_part < _TALK_AFTER_TURNS):
            self._listening_since_ms = None
            return False
        if self._listening_since_ms is None:
            self._listening_since_ms = now_ms
        return now_ms - self._listening_since_ms >= _THINKING_MS
