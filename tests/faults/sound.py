"""What of the learner's sound Maya heard, and what of hers the phone played: what is lacking, and what is there twice."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise, zip_longest
from typing import Any, Final

import numpy as np

from tests.e2e.maya import HeldStream, Said

FRAME_MS: Final = 100
_WINDOW_BYTES: Final = 128
"""So much noise of a microphone is nowhere else."""

_NEVER_MS: Final = float("inf")
_AFTER_SPEECH_MS: Final = 300
"""The ears say where speech ended no more exactly than this."""


@dataclass(frozen=True, slots=True)
class Count:
    """Milliseconds of sound that are lacking, and that are too many."""

    lost_ms: float = 0.0
    doubled_ms: float = 0.0

    def __add__(self, other: "Count") -> "Count":
        return Count(self.lost_ms + other.lost_ms, self.doubled_ms + other.doubled_ms)


def frames(ms: float) -> int:
    """How many frames that is; one begun is one."""
    return -int(-round(ms, 3) // FRAME_MS)


def are_lost(streams: Sequence[HeldStream]) -> list[bool]:
    """Whether each stream was lost, or its relay: it came to no end of its own, or the next one was for the same part again.

    A frozen relay that wakes ends its stream in order, when another one has long gone on in its place.
    """
    again = [one.part == other.part for one, other in pairwise(streams)]
    ends = [bool(stream.document["ending"] != "finished") for stream in streams]
    return [ended or repeated for ended, repeated in zip_longest(ends, again, fillvalue=False)]


# --- The learner's -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Spoken:
    """What the microphone captured.

    Attributes:
        pcm: all of it.
        rate: of it.
        begins: where each utterance in it begins, in bytes.
        ends: where the frame begins in which each utterance ends, in bytes: frames are heard whole.
        heard_to: Maya must have heard everything up to here.
        taken_up: where relays that followed lost ones took the talk up: at the first frame that nobody had acknowledged.
    """

    pcm: bytes
    rate: int
    begins: Sequence[int]
    ends: Sequence[int]
    heard_to: int
    taken_up: Collection[int] = ()


def count_heard(spoken: Spoken, streams: Sequence[HeldStream]) -> Count:
    """Count what is lacking, and too many, of the learner's sound in what the streams heard, in the order they were opened."""
    lost = doubled = covered_to = settled_to = 0
    before_lost = False
    for stream, lost_too, left_ms in zip(streams, are_lost(streams), _left_at_ms(streams), strict=True):
        first = 0
        for number, (begin, end) in enumerate(_pieces(stream.heard, spoken.pcm)):
            if begin < 0:
                doubled += end - begin
                continue
            if before_lost and not number and begin not in spoken.taken_up:
                # What only the lost stream has heard, and not understood, is lost with it.
                lost += max(0, min(begin, covered_to) - _unsettled_from(spoken, settled_to))
            lost += max(0, begin - covered_to)
            if before_lost and not number and begin in spoken.taken_up:
                # What the lost relay hears from here on, should it wake, concerns nobody.
                covered_to = settled_to = begin
            again_from = settled_to if before_lost and not number else covered_to
            doubled += max(0, min(end, covered_to, again_from) - begin)
            covered_to = max(covered_to, end)
            first = first or begin
        settled_to = max(settled_to, _settled_to(stream, first, spoken, left_ms))
        before_lost = lost_too
    lost += max(0, spoken.heard_to - covered_to)
    return Count(_ms(lost, spoken.rate), _ms(doubled, spoken.rate))


def _pieces(heard: bytes, captured: bytes) -> Iterator[tuple[int, int]]:
    """Where in what was captured each unbroken piece of what was heard lies; a negative place for what is nowhere in it.

    Digital silence is passed over: no microphone gives it, and a stream may be kept awake with it.
    """
    sound, all_of_it = np.frombuffer(heard, "<i2"), np.frombuffer(captured, "<i2")
    place = 0
    while place < len(sound):
        if not sound[place]:
            voiced = np.flatnonzero(sound[place:])
            quiet = int(voiced[0]) if len(voiced) else len(sound) - place
            if quiet * 2 >= _WINDOW_BYTES:
                place += quiet
                continue
        begin = captured.find(heard[2 * place : 2 * place + _WINDOW_BYTES])
        if begin < 0 or begin % 2:
            yield -2, 0
            place += 1
            continue
        length = min(len(sound) - place, len(all_of_it) - begin // 2)
        differs = np.flatnonzero(sound[place : place + length] != all_of_it[begin // 2 : begin // 2 + length])
        same = int(differs[0]) if len(differs) else length
        yield begin, begin + 2 * same
        place += same


def _unsettled_from(spoken: Spoken, settled_to: int) -> int:
    """Where the first utterance begins that has no final transcript."""
    unsettled = [begin for begin, end in zip(spoken.begins, spoken.ends, strict=True) if end > settled_to]
    return min(unsettled, default=len(spoken.pcm))


def _left_at_ms(streams: Sequence[HeldStream]) -> list[float]:
    """When the next stream was opened: a relay that was frozen and wakes may go on with its own, but nobody listens."""
    opened_ms = [stream.document.get("opened_at_ms", _NEVER_MS) for stream in streams]
    return [*opened_ms[1:], _NEVER_MS][: len(streams)]


def _settled_to(stream: HeldStream, first: int, spoken: Spoken, left_ms: float) -> int:
    """Where the last utterance ends of which the stream has given the final transcript before it was left."""
    ended_ms = settled_ms = 0.0
    for event in stream.document["events"]:
        if event["direction"] != "out" or event.get("at_ms", 0.0) > left_ms:
            continue
        if event["name"] == "userSpeechEnd":
            ended_ms = event["inputAudioOffsetMs"]
        elif event["name"] == "textOutput" and event["role"] == "USER":
            settled_ms = ended_ms
    if not settled_ms:
        return 0
    place = first + int((settled_ms + _AFTER_SPEECH_MS) * spoken.rate / 1000) * 2
    return max((end for end in spoken.ends if end <= place), default=0)


# --- Maya's ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Due:
    """One turn of Maya's as it was said; of an `open` one the phone need not have played the end, or any of it."""

    pcm: bytes
    open: bool


def due_of(streams: Sequence[HeldStream], rate: int) -> list[Due]:
    """What the phone should have played.

    Open is a turn that the learner cut off, and the last of a stream that was lost, with all that it said after it was left.
    """
    turns: list[Due] = []
    for stream, lost, left_ms in zip(streams, are_lost(streams), _left_at_ms(streams), strict=True):
        said = stream.turns(rate)
        lost_from = len(said)
        if lost:
            unheard = sum(event.get("at_ms", 0.0) > left_ms for event in stream.document["events"] if _ends_turn(event))
            lost_from = len(said) - 1 - unheard
        turns += [Due(turn.pcm, turn.cut or number >= lost_from) for number, turn in enumerate(said)]
    return turns


def _ends_turn(event: Mapping[str, Any]) -> bool:
    ending = (event.get("type"), event.get("stopReason"))
    return event["name"] == "contentEnd" and ending in (("AUDIO", "END_TURN"), ("TEXT", "INTERRUPTED"))


def count_played(played: Sequence[Said], due: Sequence[Due], rate: int) -> Count:
    """Count what is lacking, and too many, in the turns that were played: the best way to match them to those said, in order."""
    rows = [[Count()]]
    for turn in played:
        rows[0].append(rows[0][-1] + _extra(turn, rate))
    for said in due:
        row = [rows[-1][0] + _missing(said, rate)]
        for number, turn in enumerate(played, 1):
            ways = (
                rows[-1][number - 1] + _compared(turn, said, rate),
                rows[-1][number] + _missing(said, rate),
                row[-1] + _extra(turn, rate),
            )
            row.append(min(ways, key=lambda way: way.lost_ms + way.doubled_ms))
        rows.append(row)
    return rows[-1][-1]


def _compared(played: Said, said: Due, rate: int) -> Count:
    """What differs between a turn as it was played and as it was said."""
    head = _alike(played.pcm, said.pcm)
    if head == len(played.pcm) and (said.open or played.cut):
        return Count()
    tail = _alike(played.pcm[head:][::-1], said.pcm[head:][::-1])
    return Count(_ms(len(said.pcm) - head - tail, rate), _ms(len(played.pcm) - head - tail, rate))


def _alike(one: bytes, other: bytes) -> int:
    """How many bytes are the same from the beginning."""
    length = min(len(one), len(other))
    differs = np.flatnonzero(np.frombuffer(one[:length], "u1") != np.frombuffer(other[:length], "u1"))
    return int(differs[0]) if len(differs) else length


def _missing(said: Due, rate: int) -> Count:
    return Count() if said.open else Count(lost_ms=_ms(len(said.pcm), rate))


def _extra(played: Said, rate: int) -> Count:
    return Count(doubled_ms=_ms(len(played.pcm), rate))


def _ms(byte_count: int, rate: int) -> float:
    return byte_count / 2 / rate * 1000
