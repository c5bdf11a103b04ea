"""`make hostile` without its processes: what is held against what."""

import pytest

from tests.bench.beside import Phase, _rows
from tests.bench.driver import Notes, Record
from tests.bench.runs import RunError
from tests.bench.taps import TapStream

MS = 1_000_000
S = 1_000 * MS
FRAME = 100


def conversation(delays_ms: dict[int, float]) -> tuple[Notes, TapStream]:
    """Sixty frames a second whose delay on the way depends on the second, both ways."""
    notes, stream = Notes(), TapStream()
    for number in range(60 * len(delays_ms)):
        at_ns = number * S // 60
        late_ns = round(delays_ms[at_ns // S] * MS)
        place = (number + 1) * FRAME
        notes.frames.append((at_ns, at_ns, place))
        stream.heard.append((at_ns + late_ns, place))
        stream.said.append((at_ns, place))
        notes.arrived.append((at_ns + late_ns, place))
    return notes, stream


def phase(kind: str, second: int) -> Phase:
    return Phase(kind, (second * S, (second + 1) * S - 1), 0.5, 0.0)


def test_a_phase_is_held_against_its_neighbours():
    """Three times as long beside the client as right before and after; other phases are not looked at."""
    notes, stream = conversation({0: 2.0, 1: 6.0, 2: 2.0, 3: 50.0, 4: 2.0})
    phases = [phase("", 0), phase("flood", 1), phase("", 2), phase("mute", 3), phase("", 4)]
    flood, mute = _rows(phases, Record([notes], []), [stream])
    assert (flood.kind, mute.kind) == ("flood", "mute")
    assert flood.ratios()["up_p50"] == pytest.approx(3.0)
    assert flood.ratios()["down_p50"] == pytest.approx(3.0)
    assert mute.ratios()["up_p50"] == pytest.approx(25.0)
    assert flood.ratios()["up_p99"] is None  # too few frames carry it
    assert flood.beside.missing == 0


def test_streams_that_are_missing_are_no_result():
    """Nothing can be matched then."""
    with pytest.raises(RunError, match="had 0 streams"):
        _rows([phase("", 0)], Record([Notes()], []), [])
