"""One way at one frame length: conversations are added step by step, and each step is measured for a while."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from tests.bench.driver import Notes, Record
from tests.bench.figures import Moment, Spread, Window, delays_ms, passed
from tests.bench.processes import Groups, Reading, Spent, per_minute, pss_bytes
from tests.bench.speech import BYTES_PER_SAMPLE, OUT_RATE, RATE
from tests.bench.stage import Child, Children, Nova
from tests.bench.taps import TapStream, read_tap

SLIP_LIMIT_MS: Final = 5.0
"""A generator whose frames are captured later than this, at the 99th percentile, cannot be believed."""

_RAMP_S: Final = 20.0
"""Conversations that have not begun by then do not begin at all: the machine is full."""

_AT_A_TIME: Final = 5
_DRAIN_S: Final = 0.5
"""What left within a window arrives before anything else begins."""
_BEFORE_CUT_NS: Final = 1_000_000_000
"""What is dropped when Maya is cut short left the stand-in within this before."""
_NS_PER_MS: Final = 1_000_000


class RunError(Exception):
    """What was measured cannot be used; the text says why."""


@dataclass(frozen=True, slots=True)
class Step:
    """How many conversations there are to be, and how long they are measured.

    Attributes:
        conversations: all of them, with those of the steps before.
        measure_s: how long.
        option: what is set for this step alone; empty for nothing.
    """

    conversations: int
    measure_s: float
    option: str = ""


@dataclass(frozen=True, slots=True)
class Measured:
    """One step, before its figures are worked out.

    Attributes:
        step: what was asked for.
        live: how many conversations there were.
        window: what is measured.
        spent: CPU within it.
        memory_bytes: of the processes that hold the conversations, per conversation.
    """

    step: Step
    live: int
    window: Window
    spent: Spent
    memory_bytes: float


@dataclass(frozen=True, slots=True)
class Cell:
    """The figures of one way at one frame length with so many conversations.

    Attributes:
        conversations: as many as were wanted.
        live: as many as there were; fewer where the machine could not carry more.
        way: which way, or with which option.
        up_ms: frame captured at the phone until its last byte is at the Nova Sonic stand-in.
        down_ms: piece of speech leaves the stand-in until its last byte is at the phone.
        missing: frames and pieces that were never seen to arrive.
        slip_ms: capture of a frame against its place on the audio clock.
        lag_ms: how late the generator's event loop woke up.
        cpu_s_per_minute: CPU seconds per minute of phone audio, by kind of process.
        memory_mb: of the processes that hold the conversations, per conversation.
        maya_share: part of the time in which Maya spoke.
        interruptions: turns of Maya's cut short, which there should not be; what she said afterwards in that
            conversation is left out of `down_ms`.
        others_share: part of the machine that processes outside the measurement used.
        busy_share: part of the machine that was busy at all.
    """

    conversations: int
    live: int
    frame_ms: int
    way: str
    up_ms: Spread
    down_ms: Spread
    missing: int
    slip_ms: Spread
    lag_ms: Spread
    cpu_s_per_minute: dict[str, float]
    memory_mb: float
    maya_share: float
    interruptions: int
    others_share: float
    busy_share: float

    @property
    def believable(self) -> bool:
        """Whether the generator kept up."""
        return self.slip_ms.most is not None and (self.slip_ms.p99 or self.slip_ms.most) <= SLIP_LIMIT_MS


def run(
    child: Child | Children,
    nova: Nova,
    steps: Sequence[Step],
    *,
    frame_ms: int,
    warm_up_s: float,
    groups: Groups,
    memory_of: str,
    way: str,
) -> list[Cell]:
    """Hold conversations step by step and return the figures of each step.

    Args:
        child: holds the conversations.
        nova: whose tap is read.
        steps: ascending.
        frame_ms: of the phone's audio.
        warm_up_s: what is dropped after the last conversation of a step has become live.
        groups: which process is what.
        memory_of: the group whose memory counts.
        way: what to call it.

    Raises:
        RunError: a stream or a piece of speech got lost, so that nothing can be matched.
    """
    nova.flushed()
    offset = nova.tap.stat().st_size
    measured: list[Measured] = []
    live = 0
    for before, step in pairwise((Step(0, 0.0), *steps)):
        live = _prepare(child, before, step, live)
        time.sleep(warm_up_s)
        first = Reading.take(groups)
        time.sleep(step.measure_s)
        last = Reading.take(groups)
        time.sleep(_DRAIN_S)
        holders = groups.members()[memory_of]
        # One process holds all conversations, or each its own.
        memory = pss_bytes(holders) / (len(holders) if len(holders) > 1 else live)
        measured.append(Measured(step, live, (first.at_ns, last.at_ns), Spent.between(first, last), memory))
    record = child.record()
    nova.flushed()
    streams = read_tap(nova.tap, offset)
    if len(streams) != len(record.conversations):
        raise RunError(f"{len(record.conversations)} conversations had {len(streams)} streams")
    return [_cell(one, record, streams, frame_ms, way) for one in measured]


def _prepare(child: Child | Children, before: Step, step: Step, live: int) -> int:
    """Set what the step wants and add conversations; return how many there are then."""
    if before.option and before.option != step.option:
        child.set(before.option, on=False)
    until_s = time.monotonic() + _RAMP_S
    while step.conversations > max(live, before.conversations) and time.monotonic() < until_s:
        count = min(_AT_A_TIME, step.conversations - live)
        child.add(count)
        live += count
    if step.option:
        child.set(step.option, on=True)
    return live


def _cell(measured: Measured, record: Record, streams: Sequence[TapStream], frame_ms: int, way: str) -> Cell:
    window, count = measured.window, measured.live
    pairs = list(zip(record.conversations[:count], streams[:count], strict=True))
    up = [delays_ms(captured(notes), stream.heard, window) for notes, stream in pairs]
    down = [delays_ms(uncut(notes, stream), notes.arrived, window) for notes, stream in pairs]
    slips = [slip for notes, _ in pairs for slip in _slips_ms(notes, window)]
    lags = [lag_ns / _NS_PER_MS for at_ns, lag_ns in record.lags if window[0] <= at_ns < window[1]]
    audio_s = sum(passed(captured(notes), window) for notes, _ in pairs) / (RATE * BYTES_PER_SAMPLE)
    maya_s = sum(passed(stream.said, window) for _, stream in pairs) / (OUT_RATE * BYTES_PER_SAMPLE)
    return Cell(
        conversations=measured.step.conversations,
        live=count,
        frame_ms=frame_ms,
        way=measured.step.option or way,
        up_ms=Spread.of([delay for delays, _ in up for delay in delays]),
        down_ms=Spread.of([delay for delays, _ in down for delay in delays]),
        missing=sum(missing for _, missing in (*up, *down)),
        slip_ms=Spread.of(slips),
        lag_ms=Spread.of(lags),
        cpu_s_per_minute=per_minute(measured.spent.cpu_s, audio_s / 60),
        memory_mb=measured.memory_bytes / 1e6,
        maya_share=maya_s / audio_s if audio_s else 0.0,
        interruptions=sum(len(notes.interruptions) for notes, _ in pairs),
        others_share=measured.spent.others_share,
        busy_share=measured.spent.busy_share,
    )


def uncut(notes: Notes, stream: TapStream) -> list[Moment]:
    """What was said until Maya was first cut short: what is dropped then makes all later positions differ."""
    until_ns = min(notes.interruptions, default=None)
    return stream.said if until_ns is None else [one for one in stream.said if one[0] < until_ns - _BEFORE_CUT_NS]


def captured(notes: Notes) -> list[Moment]:
    """When which byte of the learner's speech was captured."""
    return [(at_ns, position) for _, at_ns, position in notes.frames]


def _slips_ms(notes: Notes, window: Window) -> list[float]:
    return [
        (at_ns - planned_ns) / _NS_PER_MS for planned_ns, at_ns, _ in notes.frames if window[0] <= at_ns < window[1]
    ]
