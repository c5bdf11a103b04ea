"""A speaker that plays by the clock it is given: what sounds at `now`, what was heard of a turn, where sound was missing.

Times are milliseconds of one monotonic clock, handed in with every call; sound is 16-bit mono PCM.
"""

import sys
from array import array
from collections import deque
from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Final

BYTES_PER_SAMPLE: Final = 2
AUDIBLE_LEVEL: Final = 300
"""Samples beyond this count as audible: about -41 dB of full scale, above the hiss of a synthetic voice."""

KEPT_TURNS: Final = 512
"""Turns whose figures are kept; older ones are forgotten."""

KEPT_GAPS: Final = 4096
"""Gaps that are kept one by one; later ones are only counted."""

_SCAN_SAMPLES: Final = 48


@dataclass(slots=True)
class TurnHeard:
    """What was heard of one turn.

    Attributes:
        heard_ms: sound that was played.
        queued_ms: sound that was handed in.
        first_piece_ms: when the first piece was handed in.
        first_sound_ms: when its first sample was, or will be, played.
        first_audible_ms: when the first sample above `AUDIBLE_LEVEL` was played, None while there is none.
        last_sound_ms: when its last sample so far was played.
        cut: whether barge-in cut it.
    """

    heard_ms: float = 0.0
    queued_ms: float = 0.0
    first_piece_ms: float = 0.0
    first_sound_ms: float | None = None
    first_audible_ms: float | None = None
    last_sound_ms: float | None = None
    cut: bool = False


@dataclass(frozen=True, slots=True)
class Gap:
    """Silence within a turn, because the next piece was late."""

    turn: Hashable
    at_ms: float
    gap_ms: float


@dataclass(slots=True)
class _Piece:
    turn: Hashable
    rate: int
    pcm: bytes
    start_ms: float

    @property
    def duration_ms(self) -> float:
        return len(self.pcm) / BYTES_PER_SAMPLE * 1000 / self.rate

    @property
    def end_ms(self) -> float:
        return self.start_ms + self.duration_ms


@dataclass(slots=True)
class Gaps:
    """Where sound was missing within a turn (an underrun of the speaker)."""

    count: int = 0
    total_ms: float = 0.0
    longest_ms: float = 0.0
    each: list[Gap] = field(default_factory=list)

    def add(self, gap: Gap) -> None:
        """Count a gap."""
        self.count += 1
        self.total_ms += gap.gap_ms
        self.longest_ms = max(self.longest_ms, gap.gap_ms)
        if len(self.each) < KEPT_GAPS:
            self.each.append(gap)


class Playback:
    """The queue of a speaker.

    Args:
        lead_ms: a turn, and what follows a gap, begins this long after its first piece, so that small delays of the
            next pieces are not heard.
        max_queue_ms: pieces beyond this much waiting sound are refused and counted in `refused`.
        record: keep every played sample by turn, for tests; grows with what is played.
    """

    def __init__(self, *, lead_ms: float = 0.0, max_queue_ms: float = 60_000.0, record: bool = False) -> None:
        self._lead_ms = lead_ms
        self._max_queue_ms = max_queue_ms
        self._queue: deque[_Piece] = deque()
        self._busy_until_ms = 0.0
        self._last_turn: Hashable = None
        self.turns: dict[Hashable, TurnHeard] = {}
        self.gaps = Gaps()
        self.refused = 0
        self.recording: dict[Hashable, bytearray] | None = {} if record else None

    def add(self, turn: Hashable, rate: int, pcm: bytes, now_ms: float) -> bool:
        """Queue a piece of a turn; returns whether it will be played.

        Pieces of a turn that was dropped are not, nor is what exceeds the bound of the queue.
        """
        self.advance(now_ms)
        heard = self._turn(turn, now_ms)
        if heard.cut or not pcm:
            return False
        if self.queue_ms(now_ms) > self._max_queue_ms:
            self.refused += 1
            return False
        piece = _Piece(turn, rate, pcm, self._start_of(turn, now_ms))
        if heard.first_sound_ms is None:
            heard.first_sound_ms = piece.start_ms
        if heard.first_audible_ms is None:
            heard.first_audible_ms = _audible_from(piece)
        heard.queued_ms += piece.duration_ms
        self._queue.append(piece)
        self._busy_until_ms = piece.end_ms
        self._last_turn = turn
        return True

    def advance(self, now_ms: float) -> None:
        """Play up to `now_ms`."""
        while self._queue and self._queue[0].end_ms <= now_ms:
            piece = self._queue.popleft()
            self._played(piece, len(piece.pcm))

    def drop(self, turn: Hashable, now_ms: float) -> float:
        """Stop a turn at once: what is unplayed of it is never played; returns how much that was in ms."""
        self.advance(now_ms)
        kept: deque[_Piece] = deque()
        dropped_ms = 0.0
        end_ms = now_ms
        for index, piece in enumerate(self._queue):
            if piece.turn == turn:
                heard_bytes = self._bytes_by(piece, now_ms)
                dropped_ms += piece.duration_ms - self._played(piece, heard_bytes)
                continue
            if index and piece.start_ms > end_ms:
                self._bring_forward(piece, end_ms)
            end_ms = piece.end_ms
            kept.append(piece)
        self._queue = kept
        self._busy_until_ms = end_ms if kept else min(self._busy_until_ms, now_ms)
        self._turn(turn, now_ms).cut = True
        return dropped_ms

    def silence(self, now_ms: float) -> None:
        """Stop every turn that sounds or waits."""
        self.advance(now_ms)
        for turn in {piece.turn: None for piece in self._queue}:
            self.drop(turn, now_ms)

    def queue_ms(self, now_ms: float) -> float:
        """Sound that waits to be played, with what is left of the piece that is playing."""
        return sum(
            piece.duration_ms - max(0.0, now_ms - piece.start_ms) for piece in self._queue if piece.end_ms > now_ms
        )

    def playing(self, now_ms: float) -> Hashable | None:
        """The turn that sounds now, None in silence."""
        self.advance(now_ms)
        return self._queue[0].turn if self._queue and self._queue[0].start_ms <= now_ms else None

    def idle_at_ms(self) -> float:
        """When the last sound ended, or will end; 0 when nothing was ever played."""
        return self._busy_until_ms

    def heard_ms(self, turn: Hashable, now_ms: float) -> float:
        """How much of a turn was heard."""
        self.advance(now_ms)
        heard = self.turns.get(turn)
        if heard is None:
            return 0.0
        underway = self._queue[0] if self._queue and self._queue[0].turn == turn else None
        return heard.heard_ms + (max(0.0, now_ms - underway.start_ms) if underway else 0.0)

    def _start_of(self, turn: Hashable, now_ms: float) -> float:
        if self._busy_until_ms > now_ms:
            return self._busy_until_ms
        start_ms = now_ms + self._lead_ms
        if turn == self._last_turn:
            self.gaps.add(Gap(turn, self._busy_until_ms, start_ms - self._busy_until_ms))
        return start_ms

    def _turn(self, turn: Hashable, now_ms: float) -> TurnHeard:
        if turn not in self.turns:
            self.turns[turn] = TurnHeard(first_piece_ms=now_ms)
            if len(self.turns) > KEPT_TURNS:
                del self.turns[next(iter(self.turns))]
        return self.turns[turn]

    def _played(self, piece: _Piece, byte_count: int) -> float:
        """Book the first bytes of a piece as heard; returns their ms."""
        heard_ms = byte_count / BYTES_PER_SAMPLE * 1000 / piece.rate
        if byte_count:
            heard = self._turn(piece.turn, piece.start_ms)
            heard.heard_ms += heard_ms
            heard.last_sound_ms = piece.start_ms + heard_ms
            if self.recording is not None:
                self.recording.setdefault(piece.turn, bytearray()).extend(piece.pcm[:byte_count])
        return heard_ms

    def _bring_forward(self, piece: _Piece, start_ms: float) -> None:
        """Play a piece earlier than planned, since what was before it is gone."""
        heard = self.turns.get(piece.turn)
        if heard is not None and heard.first_audible_ms is not None and heard.first_audible_ms >= piece.start_ms:
            heard.first_audible_ms = min(heard.first_audible_ms, heard.first_audible_ms + start_ms - piece.start_ms)
        if heard is not None and heard.first_sound_ms == piece.start_ms:
            heard.first_sound_ms = start_ms
        piece.start_ms = start_ms

    @staticmethod
    def _bytes_by(piece: _Piece, now_ms: float) -> int:
        """Bytes of a piece played by `now_ms`, whole samples."""
        samples = int(max(0.0, now_ms - piece.start_ms) * piece.rate / 1000)
        return min(len(piece.pcm), samples * BYTES_PER_SAMPLE)


def _audible_from(piece: _Piece) -> float | None:
    """When the first audible sample of a piece is played."""
    samples = array("h", piece.pcm[: len(piece.pcm) // BYTES_PER_SAMPLE * BYTES_PER_SAMPLE])
    if sys.byteorder == "big":
        samples.byteswap()
    for index in range(0, len(samples), _SCAN_SAMPLES):
        few = samples[index : index + _SCAN_SAMPLES]
        if max(few) > AUDIBLE_LEVEL or min(few) < -AUDIBLE_LEVEL:
            return piece.start_ms + index * 1000 / piece.rate
    return None
