"""``python -m tests.bench.beside``: conversations beside hostile clients, and without them, in turn, in one run (`make hostile`).

Everybody talks all the time. One hostile client of each kind comes for some seconds and goes, then all at once; what is measured
with it is held against what is measured right before and after it. At the end every conversation is stopped, and must come
to its assessment.
"""

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.table import Table

from infra.local import learners
from tests.bench import stage
from tests.bench.driver import Notes, Record
from tests.bench.figures import Spread, Window, delays_ms, ratio
from tests.bench.processes import Reading, Spent
from tests.bench.runs import RunError, captured, uncut
from tests.bench.taps import TapStream, read_tap
from tests.hostile import KINDS

_CONVERSATIONS: Final = 50
_FRAME_MS: Final = 250
"""The longest of maya.v1: fifty conversations then leave the two cores room for somebody who means harm."""

_AT_A_TIME: Final = 5
_SETTLE_S: Final = 2.0
_MEASURE_S: Final = 4.0
_ASSESSED_WITHIN_S: Final = 90.0
_ASK_EVERY_S: Final = 1.0
_ALL: Final = "all at once"
_WIDTH: Final = 150
_FULL: Final = 0.97
_DISTURBED: Final = 0.1


@dataclass(frozen=True, slots=True)
class Phase:
    """Some seconds of the run.

    Attributes:
        kind: who was there; empty for nobody.
        window: what is measured.
        busy_share: part of the machine that was in use.
        others_share: part of it that processes outside the measurement used; with somebody there, theirs is in it.
        seen: what became of the hostile clients, by kind.
    """

    kind: str
    window: Window
    busy_share: float
    others_share: float
    seen: dict[str, dict[str, int]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Figures:
    """What the conversations had in one or several phases.

    Attributes:
        up_ms: frame captured at the phone until its last byte is at the Nova Sonic stand-in.
        down_ms: piece of speech leaves the stand-in until its last byte is at the phone.
        missing: frames and pieces that were never seen to arrive.
        busy_share: part of the machine that was in use.
        others_share: part of it that processes outside the measurement used.
    """

    up_ms: Spread
    down_ms: Spread
    missing: int
    busy_share: float
    others_share: float


@dataclass(frozen=True, slots=True)
class Row:
    """One kind of hostile client, with it and without."""

    kind: str
    beside: Figures
    alone: Figures
    seen: dict[str, dict[str, int]]

    def ratios(self) -> dict[str, float | None]:
        """How many times longer things took beside it."""
        pairs = {"up": (self.beside.up_ms, self.alone.up_ms), "down": (self.beside.down_ms, self.alone.down_ms)}
        return {
            f"{way}_{name}": ratio(getattr(beside, name), getattr(alone, name))
            for way, (beside, alone) in pairs.items()
            for name in ("p50", "p95", "p99")
        }


def main() -> int:
    """Measure; returns 0 when everything could be measured and every conversation was assessed."""
    options = _parser().parse_args()
    console = Console()
    if not console.is_terminal:
        console = Console(width=_WIDTH)
    began_s = time.monotonic()

    def say(what: str) -> None:
        console.print(f"{time.monotonic() - began_s:4.0f} s  {what}", style="dim", highlight=False)

    try:
        with tempfile.TemporaryDirectory(prefix="maya-hostile-") as folder:
            rows, assessed = _measure(Path(folder), options, say)
    except (stage.StageError, RunError) as error:
        console.print(f"hostile: {error}", style="red", highlight=False)
        return 1
    took_s = time.monotonic() - began_s
    _show(console, rows, options, assessed, took_s)
    if options.json is not None:
        document = {
            "conversations": options.conversations,
            "frame_ms": options.frame_ms,
            "assessed": assessed,
            "cores": os.cpu_count(),
            "took_s": round(took_s, 1),
            "rows": [{**asdict(row), "ratios": row.ratios()} for row in rows],
        }
        options.json.write_text(json.dumps(document, indent=2) + "\n")
    return 0 if assessed == options.conversations else 1


def _measure(folder: Path, options: argparse.Namespace, say: Callable[[str], None]) -> tuple[list[Row], int]:
    count, frame_ms = options.conversations, options.frame_ms
    tokens, theirs = folder / "tokens.json", folder / "hostile.json"
    with stage.nova(folder) as nova, stage.cloud(folder, nova) as cloud:
        tokens.write_text(json.dumps(cloud.tokens(count)))
        theirs.write_text(json.dumps({kind.kind: _token(cloud, kind.kind) for kind in KINDS}))
        url = cloud.state.websocket_url
        offset = nova.tap.stat().st_size if nova.tap.exists() else 0
        with stage.child(folder, "phones", "--url", url, "--tokens", str(tokens), frame_ms=frame_ms) as phones:
            say(f"{count} conversations begin, {frame_ms} ms frames")
            for begun in range(0, count, _AT_A_TIME):
                phones.add(min(_AT_A_TIME, count - begun))
            with stage.asked(
                folder, "attackers", "--url", url, "--tokens", str(theirs), "--theirs", options.theirs
            ) as crew:
                run = _Run(cloud, phones, crew, options.measure_s, say)
                phases = run.phases(options.kinds)
            record = phones.record()
            nova.flushed()
            streams = read_tap(nova.tap, offset)[:count]
            say("everybody stops")
            phones.set("stop", on=True)
            assessed = _assessed(cloud, count)
    return _rows(phases, record, streams), assessed


def _token(cloud: stage.Cloud, kind: str) -> str:
    name = f"hostile-{kind.replace(' ', '-')}"
    learners.unlock(cloud.state, name, [stage.MODULE])
    return learners.token(cloud.state, name)


class _Run:
    """Phases, one after the other: nobody, a hostile client, nobody, the next one."""

    def __init__(
        self,
        cloud: stage.Cloud,
        phones: stage.Child,
        crew: stage.Asked,
        measure_s: float,
        say: Callable[[str], None],
    ) -> None:
        self._groups = cloud.groups(phones.pid)
        self._crew = crew
        self._measure_s = measure_s
        self._say = say

    def phases(self, kinds: Sequence[str]) -> list[Phase]:
        """Go through all of them."""
        found = [self._phase("")]
        for kind in (*kinds, *([_ALL] if len(kinds) > 1 else [])):
            self._say(kind)
            self._crew.ask({"begin": list(kinds) if kind == _ALL else [kind]})
            phase = self._phase(kind)
            seen = self._crew.ask({"end": True})["seen"]
            found += [replace(phase, seen=seen), self._phase("")]
        return found

    def _phase(self, kind: str) -> Phase:
        time.sleep(_SETTLE_S)
        first = Reading.take(self._groups)
        time.sleep(self._measure_s)
        last = Reading.take(self._groups)
        spent = Spent.between(first, last)
        return Phase(kind, (first.at_ns, last.at_ns), spent.busy_share, spent.others_share)


def _assessed(cloud: stage.Cloud, count: int) -> int:
    """Wait until as many assessments are stored as there were conversations; return how many are."""
    client = cloud.client("dynamodb")
    deadline_s = time.monotonic() + _ASSESSED_WITHIN_S
    while True:
        pages = client.get_paginator("scan").paginate(TableName=cloud.state.assessments_table)
        stored = {item["user_id"]["S"] for page in pages for item in page["Items"]}
        found: int = sum(name.startswith(stage.LEARNER) for name in stored)
        if found >= count or time.monotonic() > deadline_s:
            return found
        time.sleep(_ASK_EVERY_S)


def _rows(phases: Sequence[Phase], record: Record, streams: Sequence[TapStream]) -> list[Row]:
    if len(streams) != len(record.conversations):
        raise RunError(f"{len(record.conversations)} conversations had {len(streams)} streams")
    pairs = list(zip(record.conversations, streams, strict=True))
    return [
        Row(phase.kind, _figures([phase], pairs), _figures([phases[at - 1], phases[at + 1]], pairs), phase.seen)
        for at, phase in enumerate(phases)
        if phase.kind
    ]


def _figures(phases: Sequence[Phase], pairs: Sequence[tuple[Notes, TapStream]]) -> Figures:
    windows = [phase.window for phase in phases]
    up = [delays_ms(captured(notes), stream.heard, window) for window in windows for notes, stream in pairs]
    down = [delays_ms(uncut(notes, stream), notes.arrived, window) for window in windows for notes, stream in pairs]
    return Figures(
        Spread.of([delay for delays, _ in up for delay in delays]),
        Spread.of([delay for delays, _ in down for delay in delays]),
        sum(missing for _, missing in (*up, *down)),
        statistics.fmean(phase.busy_share for phase in phases),
        statistics.fmean(phase.others_share for phase in phases),
    )


def _show(console: Console, rows: Sequence[Row], options: argparse.Namespace, assessed: int, took_s: float) -> None:
    table = Table(
        title=f"{options.conversations} conversations, {options.frame_ms} ms frames: beside a hostile client, and without it"
    )
    table.add_column("beside")
    for name in ("up p50", "up p95", "down p50", "down p95", "missing", "busy"):
        table.add_column(name, justify="right")
    table.add_column("what became of it", overflow="fold")
    for row in rows:
        ratios = row.ratios()
        table.add_row(
            row.kind,
            *(
                _cell(getattr(row.beside, f"{way}_ms"), getattr(row.alone, f"{way}_ms"), name, ratios[f"{way}_{name}"])
                for way in ("up", "down")
                for name in ("p50", "p95")
            ),
            f"{row.beside.missing} / {row.alone.missing}",
            f"{row.beside.busy_share:.0%} / {row.alone.busy_share:.0%}",
            "" if row.kind == _ALL else _fate(next(iter(row.seen.values()), {})),
        )
    console.print(table)
    notes = [
        f"ms beside it / without it = times. {os.cpu_count()} cores carry everything; hostile clients run at nice 19.",
        "Without it: the seconds right before and right after. Delays count from the moment a frame was captured.",
        f"{assessed} of {options.conversations} conversations were assessed and saved. Took {took_s:.0f} s.",
    ]
    disturbed = max((row.alone.others_share for row in rows), default=0.0)
    if disturbed > _DISTURBED:
        notes.append(f"Not to be believed: other programs used up to {disturbed:.0%} of the machine meanwhile.")
    if any(max(row.beside.busy_share, row.alone.busy_share) > _FULL for row in rows):
        notes.append("The machine was full at times: a queue of its own is then in every delay.")
    for note in notes:
        console.print(note, highlight=False)


def _cell(beside: Spread, alone: Spread, name: str, times: float | None) -> str:
    figures = [getattr(spread, name) for spread in (beside, alone)]
    if None in figures or times is None:
        return "-"
    return f"{figures[0]:.1f} / {figures[1]:.1f} = {times:.2f}"


def _fate(seen: dict[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in sorted(seen.items()))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.beside", description=__doc__)
    names = [kind.kind for kind in KINDS]
    parser.add_argument("--json", type=Path, metavar="OUT", help="write everything here, for programs")
    parser.add_argument("--conversations", type=int, default=_CONVERSATIONS, metavar="N")
    parser.add_argument("--frame-ms", type=int, default=_FRAME_MS, metavar="MS")
    parser.add_argument("--measure-s", type=float, default=_MEASURE_S, metavar="S", help="of each phase")
    parser.add_argument("--kinds", nargs="+", choices=names, default=names)
    parser.add_argument("--theirs", default="00000000-0000-4000-8000-000000000000", help=argparse.SUPPRESS)
    return parser


if __name__ == "__main__":
    sys.exit(main())
