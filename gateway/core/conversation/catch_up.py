"""Whether a phone that sends its buffer again has come to the present."""

from collections import deque
from dataclasses import dataclass, field
from typing import Final

from gateway.core.conversation.ear import Ear

_NEAR_MS: Final = 1_500.0
"""Sound that is taken no later than this after it was captured is the present: the way up, and a frame's length."""

_STEADY_MS: Final = 500.0
_STEADY_RATIO: Final = 2.0
"""Sound that has come for so long, at less than this many times real time, is the present, whatever its capture time says:
that of an app which was killed lacks the time in which it was not there."""

_MOST_MISSING: Final = 3
"""Fewer frames than speech takes, as long as those about them are quiet."""


@dataclass(slots=True)
class CatchUp:
    """Follows the frames that come, in whatever order."""

    _lately: deque[tuple[float, float]] = field(default_factory=deque)
    _since_ms: float | None = None
    _captured_to_ms: float = 0.0
    _newest: int = -1
    _ear: Ear = field(default_factory=Ear)

    def begin(self) -> None:
        """The phone is about to send its buffer again."""
        self._lately.clear()
        self._since_ms, self._captured_to_ms, self._newest = None, 0.0, -1
        self._ear.forget()

    def came(self, seq: int, sound_ms: float, captured_to_ms: float, now_ms: float) -> None:
        """A frame is here for the first time; its sound ends at `captured_to_ms` of capture time."""
        if self._since_ms is None:
            self._since_ms = now_ms
        self._newest = max(self._newest, seq)
        self._captured_to_ms = max(self._captured_to_ms, captured_to_ms)
        self._lately.append((now_ms, sound_ms))
        self._forget(now_ms)

    def waits(self, pcm: str, sound_ms: float) -> None:
        """A frame, base64, has to wait for earlier ones."""
        self._ear.hear(pcm, sound_ms)

    def all_is_in_order(self) -> None:
        """No frame waits for another."""
        self._ear.forget()

    def is_behind(self, elapsed_ms: float, taken_to: int, early: int, now_ms: float) -> bool:
        """Whether there is more to come that was captured before, and may be speech.

        Args:
            elapsed_ms: how long ago capture time began.
            taken_to: every frame up to this one is taken.
            early: so many of those behind it are here.
            now_ms: the time.
        """
        if self._since_ms is None:
            return True
        if early and (self._ear.loud_ms > 0 or self._newest - taken_to - early > _MOST_MISSING):
            return True
        return elapsed_ms - self._captured_to_ms > _NEAR_MS and not self._is_steady(self._since_ms, now_ms)

    def _is_steady(self, since_ms: float, now_ms: float) -> bool:
        self._forget(now_ms)
        came_ms = sum(sound_ms for _, sound_ms in self._lately)
        return now_ms >= since_ms + _STEADY_MS and 0.0 < came_ms <= _STEADY_RATIO * _STEADY_MS

    def _forget(self, now_ms: float) -> None:
        while self._lately and self._lately[0][0] <= now_ms - _STEADY_MS:
            self._lately.popleft()
