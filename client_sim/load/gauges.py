"""What hears and sees a phone from outside without being in its way: its speaker, and what it sends."""

import json
from collections.abc import Callable, Hashable
from typing import Final

from client_sim.clock import Clock
from client_sim.load.histogram import Histogram
from client_sim.network import Connection, Connector
from client_sim.playback import BYTES_PER_SAMPLE, Playback

_AUDIO_MARK: Final = '{"type":"audio"'
_RESUME_MARK: Final = '{"type":"resume"'
_BLOCKED_MS: Final = 20.0
"""A write that took longer met a full line; what piled up behind it is the line's lateness."""


class Speaker(Playback):
    """Plays, and tells of pieces that came too late and of turns that were cut.

    A silence before a new sentence may be Maya's own, for she makes one sentence after the other: it counts as a pause, and only a
    silence within a sentence as a gap.

    Args:
        lead_ms: see `Playback`.
        late: is told of a silence within a turn: its length in ms, when it ended, and whether a new sentence follows.
        silenced: is told when sound was stopped by barge-in.
    """

    def __init__(
        self, *, lead_ms: float, late: Callable[[float, float, bool], None], silenced: Callable[[float], None]
    ) -> None:
        super().__init__(lead_ms=lead_ms)
        self._late = late
        self._silenced = silenced
        self._new_sentence = False
        self.pieces = 0
        self.late_pieces = 0

    def expect_sentence(self) -> None:
        """The text of a new sentence has come; its sound is next."""
        self._new_sentence = True

    def add(self, turn: Hashable, rate: int, pcm: bytes, now_ms: float) -> bool:
        """Play a piece, and count it."""
        gaps, total_ms = self.gaps.count, self.gaps.total_ms
        played = super().add(turn, rate, pcm, now_ms)
        if played:
            self.pieces += 1
            if self.gaps.count > gaps:
                self.late_pieces += not self._new_sentence
                self._late(self.gaps.total_ms - total_ms, now_ms, self._new_sentence)
            self._new_sentence = False
        return played

    def drop(self, turn: Hashable, now_ms: float) -> float:
        """Stop a turn, and tell of it if it was heard till now."""
        sounded = self.playing(now_ms) == turn
        dropped_ms = super().drop(turn, now_ms)
        if sounded:
            self._silenced(now_ms)
        return dropped_ms


class SendSlip:
    """How late frames are written, against the audio clock: whether the measuring program itself keeps up.

    A frame is due when its last sample has been captured: ``t`` plus its length, by a clock that began with the best frame seen.
    Frames that were captured while there was no line, or behind a write that the line held up, say nothing about
    the program and are left out; so are those behind what is sent again after a drop, until one is in time.

    Args:
        rate: samples a second of the microphone.
        histogram: takes the slips, in ms.
    """

    def __init__(self, rate: int, histogram: Histogram) -> None:
        self._bytes_per_ms = rate * BYTES_PER_SAMPLE / 1000
        self._highest_seq = -1
        self._began_ms: float | None = None
        self._not_before_ms = 0.0
        self._catching_up = False
        self._histogram = histogram

    def held_up(self, until_ms: float) -> None:
        """The line took nothing until then."""
        self._not_before_ms = until_ms

    def sent(self, text: str, now_ms: float) -> None:
        """A message is written now."""
        if text.startswith(_RESUME_MARK):
            self._catching_up = True
        if not text.startswith(_AUDIO_MARK):
            return
        frame = json.loads(text)
        if frame["seq"] <= self._highest_seq:
            return
        self._highest_seq = frame["seq"]
        due_ms = frame["t"] + len(frame["pcm"]) * 3 // 4 / self._bytes_per_ms
        self._began_ms = now_ms - due_ms if self._began_ms is None else min(self._began_ms, now_ms - due_ms)
        slip_ms = now_ms - due_ms - self._began_ms
        self._catching_up = self._catching_up and slip_ms > _BLOCKED_MS
        if not self._catching_up and self._began_ms + due_ms >= self._not_before_ms:
            self._histogram.add(slip_ms)


class _WatchedConnection:
    def __init__(self, inner: Connection, slip: SendSlip, clock: Clock) -> None:
        self._inner = inner
        self._slip = slip
        self._clock = clock

    async def send(self, text: str) -> None:
        before_ms = self._clock.now_ms()
        self._slip.sent(text, before_ms)
        await self._inner.send(text)
        after_ms = self._clock.now_ms()
        if after_ms - before_ms > _BLOCKED_MS:
            self._slip.held_up(after_ms)

    async def receive(self) -> str | bytes:
        return await self._inner.receive()

    async def close(self) -> None:
        await self._inner.close()


def watched(connect: Connector, slip: SendSlip, clock: Clock) -> Connector:
    """Connect, and measure the slip of what is sent."""

    async def connect_watched(url: str, token: str) -> Connection:
        connection = await connect(url, token)
        slip.held_up(clock.now_ms())
        return _WatchedConnection(connection, slip, clock)

    return connect_watched
