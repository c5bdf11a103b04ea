"""The learner's speech that no stream has understood yet, and what waits to be played to a stream that follows."""

from collections import deque
from dataclasses import dataclass, field

from gateway.core.conversation.uplink import Frame


@dataclass(frozen=True, slots=True)
class _Sent:
    """A frame that was sent to the current stream; `end_ms` is where it ends in the sound of that stream."""

    frame: Frame
    end_ms: float


@dataclass(slots=True)
class Replay:
    """Frames in their order: those sent to the current stream without a final transcript, then those that wait.

    Attributes:
        most_ms: more sound than this is not kept; the oldest goes.
        speed: what waits is sent so many times faster than real time, 0 for all at once.
        sound_ms: how much is kept.
    """

    most_ms: float
    speed: float
    sound_ms: float = 0.0
    _sent: deque[_Sent] = field(default_factory=deque)
    _waiting: deque[Frame] = field(default_factory=deque)
    _next_ms: float = 0.0

    @property
    def waits(self) -> bool:
        """Whether frames wait to be sent."""
        return bool(self._waiting)

    @property
    def next_ms(self) -> float | None:
        """When the next frame that waits is due, None if none waits."""
        return self._next_ms if self._waiting else None

    def frames(self) -> list[Frame]:
        """Return everything that is kept, oldest first."""
        return [*(item.frame for item in self._sent), *self._waiting]

    def wait(self, frame: Frame) -> None:
        """Keep a frame until it can be sent."""
        self._waiting.append(frame)
        self._grow(frame.sound_ms)

    def sent(self, frame: Frame, end_ms: float) -> None:
        """Keep a frame that was sent."""
        self._sent.append(_Sent(frame, end_ms))
        self._grow(frame.sound_ms)

    def take_due(self, now_ms: float) -> Frame | None:
        """Return the next frame that waits, if it is due; it is kept no more until `sent` says so."""
        if not self._waiting or (self.speed and now_ms < self._next_ms):
            return None
        frame = self._waiting.popleft()
        self.sound_ms -= frame.sound_ms
        if self.speed:
            self._next_ms = max(now_ms, self._next_ms) + frame.sound_ms / self.speed
        return frame

    def settle(self, heard_to_ms: float | None) -> None:
        """The transcript is final up to a place in the current stream's sound (None: up to now)."""
        while self._sent and (heard_to_ms is None or self._sent[0].end_ms <= heard_to_ms):
            self.sound_ms -= self._sent.popleft().frame.sound_ms

    def begin_again(self, from_ms: float, now_ms: float) -> None:
        """Another stream follows: what was sent and ends after `from_ms` in the sound of the last one waits again."""
        self.settle(from_ms)
        self._waiting.extendleft(item.frame for item in reversed(self._sent))
        self._sent.clear()
        self._next_ms = now_ms

    def _grow(self, sound_ms: float) -> None:
        self.sound_ms += sound_ms
        while self.sound_ms > self.most_ms:
            oldest = self._sent.popleft().frame if self._sent else self._waiting.popleft()
            self.sound_ms -= oldest.sound_ms
