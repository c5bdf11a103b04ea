"""Speech on its way to the gateway: numbered, held until it is acknowledged, sent again when it has to be."""

import base64
from typing import Final

from client_sim.playback import BYTES_PER_SAMPLE
from gateway.core.messages import MAX_FRAME_MS, MIN_FRAME_MS, RESEND_AFTER_MS, AudioUp
from gateway.core.sequencing import Outbox
from gateway.core.wire import encode

RESEND_AT_ONCE: Final = 25
"""Frames sent again at one time, so that new ones still get through."""


class Uplink:
    """The app's buffer of speech.

    Frames are pulled by `take` in the order of their numbers. After a drop, `rewind` puts the next one back to the oldest
    that the gateway lacks, so that what is held and what is new leave by one way, as fast as the line takes them.

    Args:
        rate: samples a second.
        hold_ms: speech that is kept until it is acknowledged; beyond it the oldest is lost and counted in `lost`.
    """

    def __init__(self, *, rate: int, hold_ms: float) -> None:
        self._rate = rate
        self._hold_ms = hold_ms
        self._outbox: Outbox[str] = Outbox(hold_ms=hold_ms)
        self._next = 0
        self._resend: list[tuple[int, str]] = []
        self._samples: int | None = None
        self._suspended_ms = 0.0
        self._lost_before = 0
        self.captured = 0
        self.sent = 0
        self.resent = 0

    @property
    def last_seq(self) -> int:
        """Number of the last captured frame, -1 when there is none."""
        return self._outbox.next_number - 1

    @property
    def oldest_held(self) -> int:
        """The oldest frame still held; the next one to be captured when none is."""
        return self._outbox.next_number if self._outbox.oldest is None else self._outbox.oldest

    @property
    def held(self) -> int:
        """How many frames are held."""
        return len(self._outbox)

    @property
    def held_ms(self) -> float:
        """Speech that is held."""
        return self._outbox.held_ms

    @property
    def lost(self) -> int:
        """Frames that the buffer could not hold."""
        return self._lost_before + self._outbox.dropped

    def capture(self, pcm: bytes, now_ms: float) -> int:
        """Number a frame of the microphone and hold it; returns its number.

        Raises:
            ValueError: it is not whole samples, or not 20 to 250 ms.
        """
        samples = len(pcm) // BYTES_PER_SAMPLE
        duration_ms = samples * 1000 / self._rate
        if len(pcm) % BYTES_PER_SAMPLE or not MIN_FRAME_MS <= duration_ms <= MAX_FRAME_MS:
            raise ValueError(f"a frame is {MIN_FRAME_MS} to {MAX_FRAME_MS} ms of whole samples")
        seq = self._outbox.next_number
        if self._samples is None:
            # An app that was killed knows from `next_seq` alone how much it has captured.
            self._samples = seq * samples
        t = self._samples * 1000 / self._rate + self._suspended_ms
        text = encode(AudioUp(seq=seq, t=t, pcm=base64.b64encode(pcm).decode()))
        self._samples += samples
        self.captured += 1
        return self._outbox.append(text, duration_ms=duration_ms, now_ms=now_ms)

    def suspend(self, gap_ms: float) -> None:
        """The microphone was off for this long."""
        self._suspended_ms += max(0.0, gap_ms)

    def acknowledge(self, seq: int) -> None:
        """The gateway has taken every frame up to `seq`."""
        self._outbox.acknowledge(seq)

    def rewind(self, next_seq: int) -> int:
        """Go on from where the gateway is; returns how many held frames it lacks."""
        if next_seq > self._outbox.next_number:
            self._lost_before = self.lost
            self._outbox = Outbox(hold_ms=self._hold_ms, first=next_seq)
        self._outbox.acknowledge(next_seq - 1)
        self._next = self.oldest_held
        self._resend.clear()
        return self.held

    def take(self, now_ms: float, patience_ms: float = RESEND_AFTER_MS) -> str | None:
        """The next message to write: an old frame that is due again, else the next in order, else None."""
        again = self._take_again(now_ms, patience_ms)
        if again is not None:
            return again
        self._next = max(self._next, self.oldest_held)
        text = self._outbox.get(self._next)
        if text is None:
            return None
        self._outbox.mark_sent(self._next, now_ms)
        self._next += 1
        self.sent += 1
        return text

    def next_ms(self, patience_ms: float = RESEND_AFTER_MS) -> float | None:
        """When `take` has a message: 0 for at once, None for not before something happens."""
        if self._resend or max(self._next, self.oldest_held) <= self.last_seq:
            return 0.0
        oldest_sent_ms = self._oldest_sent_ms()
        return None if oldest_sent_ms is None else oldest_sent_ms + patience_ms

    def _take_again(self, now_ms: float, patience_ms: float) -> str | None:
        oldest_sent_ms = self._oldest_sent_ms()
        if not self._resend and oldest_sent_ms is not None and now_ms >= oldest_sent_ms + patience_ms:
            due = self._outbox.next_due(now_ms, limit=RESEND_AT_ONCE)
            self._resend = [pair for pair in due if pair[0] < self._next]
            self._resend.reverse()
        while self._resend:
            seq, text = self._resend.pop()
            if self._outbox.get(seq) is not None:
                self._outbox.mark_sent(seq, now_ms)
                self.resent += 1
                return text
        return None

    def _oldest_sent_ms(self) -> float | None:
        """When the oldest frame was last sent, None when nothing that was sent is held."""
        due_ms = self._outbox.next_due_ms
        if due_ms is None or self.oldest_held >= self._next:
            return None
        return due_ms - RESEND_AFTER_MS
