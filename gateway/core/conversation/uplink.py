"""From the phone to Maya: frames put in order, gaps known, too much refused."""

import base64
from dataclasses import dataclass
from typing import Final

from gateway.core.conversation.catch_up import CatchUp
from gateway.core.conversation.settings import ConversationSettings
from gateway.core.errors import TooFast
from gateway.core.messages import AudioUp
from gateway.core.sequencing import Inbox
from gateway.core.wire import pcm_duration_ms

_BUCKET_MS: Final = 1_000.0
_SILENCE_PIECE_MS: Final = 100.0

_MISSING_MS: Final = 5_000.0
"""A frame that the phone holds has come by then, though it was lost twice."""

_THERE_MS: Final = 3_000.0
"""A phone that is there is heard by then: what is not acknowledged comes again after 2 s."""

_SAME_OFFENCE_MS: Final = 5_000.0
"""A refused frame comes again after 2 s: offences that lie further apart than this are not one that goes on."""


@dataclass(frozen=True, slots=True)
class Frame:
    """Speech of the learner in its right place.

    Attributes:
        pcm: base64, 16-bit little-endian mono.
        sound_ms: its length.
    """

    pcm: str
    sound_ms: float


@dataclass(frozen=True, slots=True)
class _Arrived:
    """A frame that has come: `captured_ms` is where it begins in capture time."""

    pcm: str
    sound_ms: float
    captured_ms: float


class RateGuard:
    """Notices a phone that sends faster than anybody speaks.

    Two rules (maya.v1, `too_fast`): capture time runs too far ahead of real time, or new sound comes at over
    three times real time for too long. Sound that is sent again after a drop is not new.
    """

    def __init__(self, settings: ConversationSettings) -> None:
        self._settings = settings
        self._started_at_ms: float | None = None
        self._bucket_ends_ms = 0.0
        self._bucket_sound_ms = 0.0
        self._fast_since_ms: float | None = None
        self._offending_since_ms = 0.0
        self._offended_at_ms: float | None = None
        self._replay_until_ms = 0.0
        self._taken_ms = 0.0

    def start(self, began_ms: float, now_ms: float) -> None:
        """`ready` was first sent at `began_ms`: since then capture time is real time."""
        if self._started_at_ms is None:
            self._started_at_ms = began_ms
            self._bucket_ends_ms = now_ms + _BUCKET_MS

    def is_replay(self, now_ms: float) -> bool:
        """Whether the phone may be sending its buffer again."""
        return now_ms < self._replay_until_ms

    def elapsed_ms(self, now_ms: float) -> float:
        """How long ago capture time began, 0 before it has."""
        return 0.0 if self._started_at_ms is None else now_ms - self._started_at_ms

    def replay(self, now_ms: float) -> None:
        """The phone sends its buffer again: for its length, speed says nothing."""
        self._replay_until_ms = now_ms + self._settings.phone_buffer_s * 1000.0
        self._fast_since_ms = None

    def took(self, sound_ms: float, now_ms: float) -> bool:
        """Note new sound; return whether it may have come as fast as the line carries.

        It may while the buffer is sent again, and if there is no more of it than a full buffer and what was captured
        since `ready`, whatever `t` says.
        """
        self._taken_ms += sound_ms
        elapsed_ms = now_ms - (now_ms if self._started_at_ms is None else self._started_at_ms)
        most_ms = elapsed_ms + self._settings.too_far_ahead_ms + self._settings.phone_buffer_s * 1000.0
        return now_ms < self._replay_until_ms and self._taken_ms <= most_ms

    def check(self, captured_ms: float, sound_ms: float, now_ms: float) -> None:
        """Look at one new frame.

        Raises:
            TooFast: the frame must not be taken; `fatal` when it has gone on for too long.
        """
        if self._started_at_ms is None:
            return
        self._count(sound_ms, now_ms)
        elapsed_ms = now_ms - self._started_at_ms
        too_far = captured_ms > elapsed_ms + self._settings.too_far_ahead_ms
        too_long = self._fast_since_ms is not None and now_ms - self._fast_since_ms > self._settings.too_fast_s * 1000.0
        if not (too_far or too_long):
            return
        if self._offended_at_ms is None or now_ms - self._offended_at_ms > _SAME_OFFENCE_MS:
            self._offending_since_ms = now_ms
        self._offended_at_ms = now_ms
        fatal = now_ms - self._offending_since_ms > self._settings.too_fast_s * 1000.0
        what = "capture time runs ahead of real time" if too_far else "audio comes faster than real time"
        raise TooFast(what, fatal=fatal)

    def _count(self, sound_ms: float, now_ms: float) -> None:
        if now_ms >= self._bucket_ends_ms:
            elapsed_ms = now_ms - self._bucket_ends_ms + _BUCKET_MS
            fast = self._bucket_sound_ms > elapsed_ms * self._settings.too_fast_ratio
            if not fast or now_ms < self._replay_until_ms:
                self._fast_since_ms = None
            elif self._fast_since_ms is None:
                self._fast_since_ms = now_ms - elapsed_ms
            self._bucket_sound_ms = 0.0
            self._bucket_ends_ms = now_ms + _BUCKET_MS
        self._bucket_sound_ms += sound_ms


class Uplink:
    """The gateway's receiving side of one conversation's audio.

    A gap is filled with silence of its length, at most `replay_ms`: no phone that came back in time lacks more.

    Attributes:
        replayed: whether the last frame was wanted and came while the phone sends its buffer again.
    """

    def __init__(self, settings: ConversationSettings) -> None:
        self._settings = settings
        self._inbox: Inbox[_Arrived] = Inbox(window=settings.window_frames)
        self._guard = RateGuard(settings)
        self._rate = 16_000
        self._gap_pending = False
        self._captured_to_ms: float | None = None
        self._early_ms = 0.0
        self.replayed = False
        self._began_ms: float | None = None
        self._taking_up = False
        self._oldest_seen: int | None = None
        self._missing_since_ms = 0.0
        self._catch_up = CatchUp()
        self._seen_at_ms = 0.0

    @property
    def acknowledged(self) -> int:
        """The highest `seq` up to which every frame is taken, -1 for none."""
        return self._inbox.acknowledged

    @property
    def next_seq(self) -> int:
        """The `seq` that is wanted next."""
        return self._inbox.acknowledged + 1

    def speak_at(self, rate: int) -> None:
        """Set the sample rate of the learner's speech."""
        self._rate = rate

    @property
    def captured_ms(self) -> float:
        """Capture time at the end of the last frame taken."""
        return self._captured_to_ms or 0.0

    @property
    def taking_up(self) -> bool:
        """Whether a lost relay's session is taken up and none of its frames has come yet."""
        return self._taking_up

    def ready(self, now_ms: float) -> None:
        """The phone may send."""
        self._guard.start(now_ms if self._began_ms is None else self._began_ms, now_ms)

    def take_up(self, seq: int, captured_ms: float, began_ms: float, now_ms: float) -> None:
        """Go on where a lost relay was.

        Args:
            seq: it had taken every frame up to this one.
            captured_ms: capture time at the end of that frame.
            began_ms: when the phone was first told that it may send.
            now_ms: the time.
        """
        self._inbox = Inbox(first=seq + 1, window=self._settings.window_frames)
        self._captured_to_ms = captured_ms
        self._began_ms = began_ms
        self._taking_up = True
        self._guard.replay(now_ms)
        self._catch_up.begin()

    def forget(self) -> None:
        """The app was killed: the numbers of what had come early will be those of other speech."""
        self._inbox = Inbox(first=self.next_seq, window=self._settings.window_frames)
        self._early_ms = 0.0
        self._taking_up = False

    def give_up_missing(self) -> list[Frame]:
        """Do without what a lost relay had taken and the phone holds no more; return what is in order then.

        A phone that says `resume` tells how far its buffer goes back. Of one whose line never broke it shows when later
        frames keep coming, for long, and the next one does not; while none come it may be away, and holds it still.
        """
        if not self._taking_up or self._oldest_seen is None or self._seen_at_ms - self._missing_since_ms < _MISSING_MS:
            return []
        self._inbox.skip_to(self._oldest_seen)
        self._gap_pending = True
        return self._in_order(self._inbox.release())

    def resume(self, oldest_held: int, now_ms: float) -> None:
        """The phone came back and holds frames from `oldest_held` on; what is older is lost and becomes silence."""
        self._guard.replay(now_ms)
        self._catch_up.begin()
        if oldest_held > self.next_seq:
            self._inbox.skip_to(oldest_held)
            self._gap_pending = True
        self._oldest_seen = None

    def receive(self, audio: AudioUp, now_ms: float) -> list[Frame]:
        """Take a frame; return what is now in order, gaps filled with silence.

        Raises:
            TooFast: the phone sends faster than anybody speaks.
        """
        sound_ms = pcm_duration_ms(audio.pcm, self._rate)
        self.replayed, is_new = False, not self._inbox.has(audio.seq)
        if is_new:
            self._guard.check(audio.t, sound_ms, now_ms)
        if self._taking_up:
            self._see(audio.seq, now_ms)
        if is_new and audio.seq != self.next_seq and self._early_ms + sound_ms > self._most_early_ms:
            return []
        frames = self._in_order(self._inbox.receive(audio.seq, _Arrived(audio.pcm, sound_ms, audio.t)))
        if is_new and self._inbox.has(audio.seq):
            self._early_ms += sound_ms
            self.replayed = self._guard.took(sound_ms, now_ms)
            if self._guard.is_replay(now_ms):
                self._note_replayed(audio, sound_ms, now_ms)
        if not self._inbox.early:
            self._early_ms = 0.0
        return frames

    def _note_replayed(self, audio: AudioUp, sound_ms: float, now_ms: float) -> None:
        self._catch_up.came(audio.seq, sound_ms, audio.t + sound_ms, now_ms)
        if not self._inbox.early:
            self._catch_up.all_is_in_order()
        elif audio.seq > self.acknowledged:
            self._catch_up.waits(audio.pcm, sound_ms)

    def is_behind(self, now_ms: float) -> bool:
        """Whether the phone is still sending what it captured while nobody took it."""
        if not self._guard.is_replay(now_ms):
            return False
        elapsed_ms = self._guard.elapsed_ms(now_ms)
        return self._catch_up.is_behind(elapsed_ms, self.acknowledged, self._inbox.early, now_ms)

    @property
    def _most_early_ms(self) -> float:
        """How much sound may wait for what is missing before it: all that the phone can hold."""
        return self._settings.phone_buffer_s * 1000.0 + self._settings.too_far_ahead_ms

    def _see(self, seq: int, now_ms: float) -> None:
        if seq < self.next_seq:
            return
        if self._oldest_seen is None or now_ms - self._seen_at_ms > _THERE_MS:
            self._missing_since_ms = now_ms
        self._oldest_seen = seq if self._oldest_seen is None else min(self._oldest_seen, seq)
        self._seen_at_ms = now_ms

    def _in_order(self, released: list[_Arrived]) -> list[Frame]:
        frames: list[Frame] = []
        for taken in released:
            self._taking_up = False
            if self._gap_pending:
                frames += self._gap_before(taken)
            self._early_ms -= taken.sound_ms
            frames.append(Frame(taken.pcm, taken.sound_ms))
            self._captured_to_ms = taken.captured_ms + taken.sound_ms
        return frames

    def _gap_before(self, frame: _Arrived) -> list[Frame]:
        self._gap_pending = False
        missing_ms = min(frame.captured_ms - (self._captured_to_ms or 0.0), self._settings.replay_ms)
        pieces = max(0, round(missing_ms / _SILENCE_PIECE_MS))
        samples = int(self._rate * _SILENCE_PIECE_MS / 1000)
        silence = base64.b64encode(bytes(2 * samples)).decode("ascii")
        return [Frame(silence, _SILENCE_PIECE_MS)] * pieces
