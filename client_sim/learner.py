"""A simulated learner: speaks recorded utterances when it is its turn, and keeps silent otherwise.

It listens as a person does: it waits until the speaker is silent and Maya's side is listening, then a natural pause; it
prepares the long turn in silence and gives way when Maya speaks. It has no clock of its own: it is asked for one frame
of sound after the other, with the time.
"""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from itertools import cycle
from typing import Final, Literal

from client_sim.phone import Phone
from client_sim.playback import BYTES_PER_SAMPLE
from client_sim.speech import Utterance
from gateway.core.messages import DownMessage, Part

TurnTaking = Literal["auto", "interrupt"]
"""``auto`` waits for Maya to finish; ``interrupt`` speaks over every third of her turns, or the next long one, to show barge-in."""

KEPT_EXCHANGES: Final = 1024
_LONGEST_ANSWER_MS: Final = 300_000
_INTERRUPT_AFTER: Final = 3
"""Turns of Maya's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Manner:
    """How a learner takes turns.

    Attributes:
        pause_ms: natural pause between Maya's last sound and the answer.
        answer_ms: utterances are joined until an answer is this long.
        breath_ms: silence between joined utterances.
        talk_share: share of the time for the long turn that is at least used, where it lasts so long.
        talk_most: share of it that is at most used.
        talk_ms: longest long turn.
        unsure_after_ms: after so much silence the learner speaks though Maya's side says that it is thinking.
        again_after_ms: without any reaction the learner says something again after this.
        start_late_ms: the long turn begins this long after the preparation time though nobody asked for it.
        give_way_ms: the learner stops when Maya has sounded for this long while it speaks.
        interrupt_after_ms: how long Maya speaks before an interrupting learner cuts in.
        turn_taking: see `TurnTaking`.
    """

    pause_ms: float = 600
    answer_ms: float = 2_500
    breath_ms: float = 200
    talk_share: float = 0.5
    talk_most: float = 0.7
    talk_ms: float = 60_000
    unsure_after_ms: float = 6_000
    again_after_ms: float = 15_000
    start_late_ms: float = 5_000
    give_way_ms: float = 700
    interrupt_after_ms: float = 1_200
    turn_taking: TurnTaking = "auto"


@dataclass(slots=True)
class Exchange:
    """One utterance of the learner and Maya's answer to it.

    Attributes:
        spoke_from_ms: when its first sample was captured.
        spoke_until_ms: when its last voiced sample was captured.
        interrupting: whether it was spoken over Maya.
        first_piece_ms: when the first piece of Maya's answer arrived.
        first_audible_ms: when her first audible sample was played.
    """

    spoke_from_ms: float
    spoke_until_ms: float
    interrupting: bool = False
    first_piece_ms: float | None = None
    first_audible_ms: float | None = None

    @property
    def voice_to_voice_ms(self) -> float | None:
        """From the learner's last voiced sample to Maya's first audible one."""
        return None if self.first_audible_ms is None else self.first_audible_ms - self.spoke_until_ms

    @property
    def first_byte_ms(self) -> float | None:
        """From the learner's last voiced sample to the arrival of Maya's first piece."""
        return None if self.first_piece_ms is None else self.first_piece_ms - self.spoke_until_ms


@dataclass(slots=True)
class _Preparation:
    """The silence before the long turn; the clock of it starts when Maya has said what to do."""

    prepare_ms: float
    speak_ms: float
    since_ms: float
    from_ms: float | None = None
    asked_to_start: bool = False


@dataclass(slots=True)
class _Speaking:
    """An utterance being spoken: what is left of it."""

    pcm: bytes
    exchange: Exchange
    place: int = 0
    over_maya_since_ms: float | None = None


@dataclass(slots=True)
class _MayaTurn:
    """The turn of Maya's that was heard last."""

    turn: Hashable = None
    since_ms: float = 0.0
    since_interrupted: int = 0


class Learner:
    """Speaks ``utterances`` in turn, from the first again after the last.

    Args:
        phone: what it holds in its hand: the speaker it hears and the status it sees.
        utterances: what it can say; at least one.
        rate: samples a second of the microphone.
        frame_bytes: size of a frame where none is asked for.
        manner: how it takes turns.

    Raises:
        ValueError: there is no utterance.
    """

    def __init__(
        self,
        phone: Phone,
        utterances: Sequence[Utterance],
        *,
        rate: int,
        frame_bytes: int,
        manner: Manner | None = None,
    ) -> None:
        if not utterances:
            raise ValueError("a learner needs at least one utterance")
        self._phone = phone
        self._next = cycle(utterances)
        self._rate = rate
        self._frame_bytes = frame_bytes
        self._manner = manner or Manner()
        self._speaking: _Speaking | None = None
        self._preparation: _Preparation | None = None
        self._maya = _MayaTurn()
        self._last: Exchange | None = None
        self.exchanges: list[Exchange] = []

    @property
    def speaking(self) -> bool:
        """Whether an utterance is under way."""
        return self._speaking is not None

    def observe(self, message: DownMessage, now_ms: float) -> None:
        """See what the screen shows."""
        if isinstance(message, Part):
            self._preparation = None
            if message.prepare_s is not None and message.speak_s is not None:
                self._preparation = _Preparation(message.prepare_s * 1000, message.speak_s * 1000, now_ms)

    def frame(self, now_ms: float, frame_bytes: int | None = None) -> bytes:
        """The frame that was captured up to `now_ms`, of this size, else of the last one's."""
        self._frame_bytes = frame_bytes or self._frame_bytes
        self._listen(now_ms)
        if self._speaking is None:
            self._consider(now_ms)
        elif self._gives_way(self._speaking, now_ms):
            self._fall_silent(self._speaking, now_ms)
        return bytes(self._frame_bytes) if self._speaking is None else self._speak(self._speaking)

    # Listening

    def _listen(self, now_ms: float) -> None:
        turn = self._phone.speaker.playing(now_ms)
        if turn is not None and turn != self._maya.turn:
            self._maya = _MayaTurn(turn, now_ms, self._maya.since_interrupted + 1)
            self._follow_new_turn(now_ms)
        preparation = self._preparation
        if turn is not None and preparation and not preparation.asked_to_start and self._of_this_part(preparation):
            preparation.from_ms = self._phone.speaker.idle_at_ms()
        self._measure()

    def _follow_new_turn(self, now_ms: float) -> None:
        preparation = self._preparation
        if preparation is not None and preparation.from_ms is not None:
            preparation.asked_to_start = now_ms >= preparation.from_ms + preparation.prepare_ms / 2

    def _of_this_part(self, preparation: _Preparation) -> bool:
        heard = self._phone.speaker.turns.get(self._maya.turn)
        return heard is not None and heard.first_piece_ms >= preparation.since_ms

    def _measure(self) -> None:
        """Note when Maya's answer to the last utterance began."""
        heard = self._phone.speaker.turns.get(self._maya.turn)
        exchange = self._last
        if exchange is None or heard is None or exchange.first_audible_ms is not None or self._speaking is not None:
            return
        if heard.first_piece_ms >= exchange.spoke_until_ms:
            exchange.first_piece_ms = heard.first_piece_ms
            exchange.first_audible_ms = heard.first_audible_ms

    # Turn taking

    def _consider(self, now_ms: float) -> None:
        if self._wants_to_interrupt(now_ms):
            self._maya.since_interrupted = 0
            self._begin(now_ms, self._answer(0), interrupting=True)
        elif self._may_speak(now_ms):
            preparation, self._preparation = self._preparation, None
            if preparation is None:
                answer = self._answer(self._manner.answer_ms)
            else:
                speak_ms = min(preparation.speak_ms, self._manner.talk_ms)
                answer = self._answer(speak_ms * self._manner.talk_share, speak_ms * self._manner.talk_most)
            self._begin(now_ms, answer, interrupting=False)

    def _may_speak(self, now_ms: float) -> bool:
        speaker = self._phone.speaker
        silent_since_ms = speaker.idle_at_ms()
        if speaker.playing(now_ms) is not None or silent_since_ms <= 0.0:
            return False
        if now_ms < silent_since_ms + self._pause_ms():
            return False
        if self._preparation is not None:
            return self._prepared(self._preparation, now_ms)
        spoke_until_ms = self._last.spoke_until_ms if self._last else 0.0
        return silent_since_ms > spoke_until_ms or now_ms > spoke_until_ms + self._manner.again_after_ms

    def _pause_ms(self) -> float:
        """How much silence invites to speak, by what Maya's side says it is doing."""
        state = self._phone.status.state if self._phone.status else None
        pauses = {"listening": self._manner.pause_ms, "thinking": self._manner.unsure_after_ms}
        return pauses.get(state or "", float("inf"))

    def _prepared(self, preparation: _Preparation, now_ms: float) -> bool:
        if preparation.from_ms is None:
            return False
        late_ms = preparation.from_ms + preparation.prepare_ms + self._manner.start_late_ms
        return preparation.asked_to_start or now_ms >= late_ms

    def _wants_to_interrupt(self, now_ms: float) -> bool:
        state = self._phone.status.state if self._phone.status else None
        talking = state in ("speaking", "listening") and self._preparation is None
        if self._manner.turn_taking != "interrupt" or not talking:
            return False
        if self._phone.speaker.playing(now_ms) is None or self._maya.since_interrupted < _INTERRUPT_AFTER:
            return False
        return now_ms >= self._maya.since_ms + self._manner.interrupt_after_ms

    def _gives_way(self, speaking: _Speaking, now_ms: float) -> bool:
        if speaking.exchange.interrupting or self._phone.speaker.playing(now_ms) is None:
            speaking.over_maya_since_ms = None
            return False
        if speaking.over_maya_since_ms is None:
            speaking.over_maya_since_ms = now_ms
        return now_ms >= speaking.over_maya_since_ms + self._manner.give_way_ms

    # Speaking

    def _answer(self, wanted_ms: float, most_ms: float = float("inf")) -> tuple[bytes, int]:
        """Utterances joined until they last ``wanted_ms``: their sound, and where the last voiced sample ends.

        Nothing is said beyond ``most_ms``, be it in the middle of a word.
        """
        breath = bytes(self._size_of(self._manner.breath_ms))
        most_bytes = self._size_of(min(most_ms, _LONGEST_ANSWER_MS))
        wanted_bytes = min(self._size_of(wanted_ms), most_bytes)
        sound = bytearray()
        while True:
            utterance = next(self._next)
            voiced_bytes = min(len(sound) + utterance.voiced_bytes, most_bytes)
            sound += utterance.pcm
            if len(sound) >= wanted_bytes:
                return bytes(sound[:most_bytes]), voiced_bytes
            sound += breath

    def _size_of(self, duration_ms: float) -> int:
        return int(duration_ms * self._rate / 1000) * BYTES_PER_SAMPLE

    def _begin(self, now_ms: float, answer: tuple[bytes, int], *, interrupting: bool) -> None:
        sound, voiced_bytes = answer
        from_ms = now_ms - self._duration_ms(self._frame_bytes)
        exchange = Exchange(from_ms, from_ms + self._duration_ms(voiced_bytes), interrupting)
        self._speaking = _Speaking(sound, exchange)
        self._last = exchange
        if len(self.exchanges) < KEPT_EXCHANGES:
            self.exchanges.append(exchange)

    def _speak(self, speaking: _Speaking) -> bytes:
        frame = speaking.pcm[speaking.place : speaking.place + self._frame_bytes]
        speaking.place += len(frame)
        if speaking.place >= len(speaking.pcm):
            self._speaking = None
        return frame.ljust(self._frame_bytes, b"\0")

    def _fall_silent(self, speaking: _Speaking, now_ms: float) -> None:
        speaking.exchange.spoke_until_ms = now_ms - self._duration_ms(self._frame_bytes)
        self._speaking = None

    def _duration_ms(self, byte_count: int) -> float:
        return byte_count / BYTES_PER_SAMPLE * 1000 / self._rate
