"""Whether the counters count: a conversation that was held well is spoilt in every way, and each must be noticed.

Nothing is worth less than a table of zeros that could show nothing else.
"""

import random
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Final

from tests.e2e.callers import Caller
from tests.e2e.maya import HeldStream, Said
from tests.faults.account import played_of, spoken_by
from tests.faults.sound import FRAME_MS, Count, count_heard, count_played, due_of

_NONE: Final = Count()
_LOST: Final = Count(lost_ms=FRAME_MS)
_DOUBLED: Final = Count(doubled_ms=FRAME_MS)


def blind_counters(caller: Caller, streams: Sequence[HeldStream]) -> list[str]:
    """Return what the counters did not notice, or saw where it was not."""
    return [what for what, counted, true in _trials(caller, streams) if not _same(counted, true)]


def _trials(caller: Caller, streams: Sequence[HeldStream]) -> Iterator[tuple[str, Count, Count]]:
    spoken = spoken_by(caller, to_its_end=True)
    frame_bytes = _bytes(FRAME_MS, caller.habits.rate)
    first, *others = streams

    def heard(pcm: bytes) -> Count:
        return count_heard(spoken, [replace(first, heard=pcm), *others])

    pcm = first.heard
    middle = len(pcm) // frame_bytes // 2 * frame_bytes
    head, frame, tail = pcm[:middle], pcm[middle : middle + frame_bytes], pcm[middle + frame_bytes :]
    strange = random.Random(2).randbytes(frame_bytes)
    yield "the learner, as it was", heard(pcm), _NONE
    yield "the learner, a frame lost", heard(head + tail), _LOST
    yield "the learner, a frame doubled", heard(head + frame + frame + tail), _DOUBLED
    yield "the learner, a frame of somebody else's", heard(head + frame + strange + tail), _DOUBLED
    yield "the learner, a frame lost at a change of streams", heard(pcm[:-frame_bytes]), _LOST
    again = [first, replace(others[0], heard=pcm[-frame_bytes:] + others[0].heard), *others[1:]]
    yield "the learner, a frame heard again after a planned change", count_heard(spoken, again), _DOUBLED

    rate = caller.habits.out_rate
    due = due_of(streams, rate)
    played = played_of(caller)
    turn = max(range(len(played)), key=lambda number: 0 if played[number].cut else len(played[number].pcm))
    sound = played[turn].pcm
    piece = _bytes(FRAME_MS, rate)
    half = len(sound) // piece // 2 * piece
    whole_ms = len(sound) / 2 / rate * 1000

    def with_turn(*turns: bytes) -> Count:
        spoilt = [*played[:turn], *(Said(pcm, cut=False) for pcm in turns), *played[turn + 1 :]]
        return count_played(spoilt, due, rate)

    yield "Maya, as she was", with_turn(sound), _NONE
    yield "Maya, a piece lost", with_turn(sound[:half] + sound[half + piece :]), _LOST
    yield "Maya, the end lost", with_turn(sound[:-piece]), _LOST
    yield "Maya, a piece doubled", with_turn(sound[: half + piece] + sound[half:]), _DOUBLED
    yield "Maya, a turn lost", with_turn(), Count(lost_ms=whole_ms)
    yield "Maya, a turn doubled", with_turn(sound, sound), Count(doubled_ms=whole_ms)


def _same(one: Count, other: Count) -> bool:
    return abs(one.lost_ms - other.lost_ms) < 1 and abs(one.doubled_ms - other.doubled_ms) < 1


def _bytes(ms: float, rate: int) -> int:
    return int(ms * rate / 1000) * 2
