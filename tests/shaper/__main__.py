"""``python -m tests.shaper``: tables of what was asked for and what was measured; exit status 1 where they differ by over 10 %."""

import argparse
import asyncio
import json
import math
import sys
from collections.abc import Callable, Coroutine
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any, Final

from rich.console import Console
from rich.table import Table
from websockets.asyncio.server import serve

from client_sim.load.worker import loop_factory
from client_sim.regions.lane import LaneProfile
from client_sim.regions.path import Region
from client_sim.regions.profiles import REGIONS
from tests.shaper import namespaces, netem, packets
from tests.shaper.probe import FRAME_BYTES, FRAME_EVERY_S, PROBE_EVERY_S, Seen, answer, measure, summary, without

ALLOWED: Final = 0.10
_LINES: Final = 120
_PROBES: Final = 24
_BURST: Final = 160
_BESIDE: Final = replace(
    REGIONS["ap-southeast-1"],
    name="Singapore, 1 % lost",
    up=LaneProfile(delay_ms=120, jitter_ms=6, jitter_memory_ms=30, kbit_s=8_000, loss=0.01),
    down=LaneProfile(delay_ms=120, jitter_ms=6, jitter_memory_ms=30, kbit_s=8_000, loss=0.01),
)
"""For the comparison with the kernel, whose netem draws each packet's delay by itself."""

type Row = dict[str, Any]


async def from_outside(regions: list[Region]) -> list[Row]:
    """Measure regions through sockets on this machine, one after the other."""
    rows: list[Row] = []
    async with serve(answer, "127.0.0.1", 0, subprotocols=["maya.v1"], compression=None, max_queue=None) as server:  # type: ignore[list-item]
        url = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/dev"
        for region in regions:
            small = {"lines": _LINES, "count": _PROBES, "every_s": PROBE_EVERY_S, "size": 60}
            # What the machine itself adds is measured beside, in the same seconds, on lines without jitter.
            together = asyncio.Barrier(2)
            steady, machine = await asyncio.gather(
                measure(url, without(region, losses=True), small, together=together),
                measure(url, without(region, losses=True, jitter=True), small, together=together),
            )
            full = await measure(url, without(region, losses=True, jitter=True), {"lines": 1, "burst": _BURST})
            lossy = await measure(url, replace(region, outages=()), {**small, "size": FRAME_BYTES, "count": 12})
            rows += [_row(region, way, steady, machine, full) for way in ("up", "down")]
            rows[-2] |= {
                "loss_asked": region.up.loss,
                "loss_counted": lossy.lost / lossy.segments,
                "segments": lossy.segments,
            }
    return rows


def _row(region: Region, way: str, steady: Seen, machine: Seen, full: Seen) -> Row:
    lane: LaneProfile = getattr(region, way)
    seen = summary(getattr(steady, f"{way}_ms"))
    noise_ms = summary(getattr(machine, f"{way}_ms"))["deviation"]
    row = {
        "line": region.name,
        "way": way,
        "n": seen["n"],
        "delay_asked": lane.delay_ms,
        "delay": seen["mean"],
        "jitter_asked": lane.jitter_ms,
        "jitter": math.sqrt(max(0.0, seen["deviation"] ** 2 - noise_ms**2)),
        "machine": noise_ms,
        "kbit_s_asked": lane.kbit_s,
        "kbit_s": getattr(full, f"{way}_kbit_s"),
    }
    row["off"] = {name: _off(row[name], row[f"{name}_asked"]) for name in ("delay", "jitter", "kbit_s")}
    return row


def _off(measured: float, asked: float | None) -> float:
    return measured / asked - 1 if asked else 0.0


type MakeLine = Callable[[Region], AbstractContextManager[tuple[str, str]]]


def _measured_over(line: MakeLine, region: Region, plan: dict[str, Any]) -> Seen:
    with line(region) as (phone, gateway):
        return namespaces.measure(phone, gateway, plan)


async def beside(line: MakeLine) -> list[Row]:
    """Measure one line as the client simulates it, and below the kernel's TCP."""
    small = {"lines": 60, "count": 30, "every_s": PROBE_EVERY_S, "size": 60}
    speech = {"lines": 30, "count": 150, "every_s": FRAME_EVERY_S, "size": FRAME_BYTES}
    plans: dict[str, tuple[Region, dict[str, Any]]] = {
        "probes": (without(_BESIDE, losses=True), small),
        # All phones share one line between namespaces, so for speech it is not the narrowest link.
        "speech": (_wide(without(_BESIDE, jitter=True)), speech),
        "burst": (without(_BESIDE, losses=True, jitter=True), {"lines": 1, "burst": _BURST}),
    }
    ours, kernels = {}, {}
    async with serve(answer, "127.0.0.1", 0, subprotocols=["maya.v1"], compression=None, max_queue=None) as server:  # type: ignore[list-item]
        url = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/dev"
        for name, (region, plan) in plans.items():
            ours[name] = await measure(url, region, plan)
    for name, (region, plan) in plans.items():
        kernels[name] = await asyncio.to_thread(_measured_over, line, region, plan)
    rows: list[Row] = []
    for way in ("up_ms", "down_ms"):
        pairs = [(summary(getattr(of["probes"], way)), summary(getattr(of["speech"], way))) for of in (ours, kernels)]
        late = [_late(getattr(of["speech"], way)) for of in (ours, kernels)]
        rows += [
            _pair(way, "delay, ms", pairs[0][0]["mean"], pairs[1][0]["mean"], judged=True),
            _pair(way, "jitter, ms", pairs[0][0]["deviation"], pairs[1][0]["deviation"], judged=True),
            _pair(way, "speech: median, ms", pairs[0][1]["p50"], pairs[1][1]["p50"], judged=True),
            _pair(way, "speech: late messages, %", late[0][0], late[1][0]),
            _pair(way, "speech: mean lateness of those, ms", late[0][1], late[1][1]),
            _pair(way, "speech: p99, ms", pairs[0][1]["p99"], pairs[1][1]["p99"]),
        ]
    for way in ("up_kbit_s", "down_kbit_s"):
        rows.append(
            _pair(way, "rate, kbit/s", getattr(ours["burst"], way), getattr(kernels["burst"], way), judged=True)
        )
    return rows


def _wide(region: Region) -> Region:
    return replace(region, up=replace(region.up, kbit_s=None), down=replace(region.down, kbit_s=None))


def _late(samples: list[float]) -> tuple[float, float]:
    """Share of messages that came later than the line alone explains, and by how much: loss, as TCP shows it."""
    usual = sorted(samples)[len(samples) // 2]
    late = [sample - usual for sample in samples if sample > usual + 30]
    return 100 * len(late) / len(samples), sum(late) / max(1, len(late))


def _pair(way: str, what: str, ours: float, kernels: float, *, judged: bool = False) -> Row:
    return {
        "way": way.split("_", maxsplit=1)[0],
        "what": what,
        "ours": ours,
        "theirs": kernels,
        "off": ours / kernels - 1,
        "judged": judged,
    }


def _show(console: Console, rows: list[Row]) -> None:
    table = Table(title="Asked for, and measured from outside through real sockets", box=None, padding=(0, 2, 0, 0))
    for head in ("line", "way", "n", "delay ms", "", "jitter ms", "", "machine's own", "kbit/s", "", "segments lost"):
        table.add_column(head, justify="left" if head in ("line", "way") else "right")
    for row in rows:
        cells = [row["line"], row["way"], f"{row['n']:.0f}"]
        for name in ("delay", "jitter", "kbit_s"):
            cells += [f"{row[f'{name}_asked']:g} -> {row[name]:.1f}", _percent(row["off"][name])]
            if name == "jitter":
                cells.append(f"{row['machine']:.2f}")
        lost = f"{100 * row['loss_asked']:.2f} -> {100 * row['loss_counted']:.2f} %" if "loss_asked" in row else ""
        table.add_row(*cells, lost)
    console.print(table)


def _show_beside(console: Console, name: str, rows: list[Row]) -> None:
    table = Table(title=f"{_BESIDE.name}: the client's line beside {name}", box=None, padding=(0, 2, 0, 0))
    for head in ("way", "figure", "client", name, ""):
        table.add_column(head, justify="left" if head in ("way", "figure") else "right")
    for row in rows:
        table.add_row(row["way"], row["what"], f"{row['ours']:.1f}", f"{row['theirs']:.1f}", _percent(row["off"]))
    console.print(table)


def _percent(off: float) -> str:
    return f"[{'red' if abs(off) > ALLOWED else 'green'}]{100 * off:+.1f} %[/]"


def _run[T](work: Coroutine[Any, Any, T]) -> T:
    """On the event loop that load runs use."""
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        return runner.run(work)


def main() -> int:
    """Measure, print, judge."""
    parser = argparse.ArgumentParser(prog="python -m tests.shaper", description=__doc__)
    parser.add_argument("--region", action="append", choices=list(REGIONS), default=[], help="only these")
    parser.add_argument("--json", action="store_true", help="print figures as JSON")
    parser.add_argument("--alone", action="store_true", help="without lines between network namespaces")
    options = parser.parse_args()
    console = Console(width=150, stderr=options.json)
    rows = _run(from_outside([REGIONS[name] for name in options.region or REGIONS]))
    _show(console, rows)
    others: list[Row] = []
    if not options.alone:
        for name, impossible, line in (
            ("tc netem", netem.impossible, netem.line),
            ("packets lost below TCP", packets.impossible, packets.line),
        ):
            why = impossible()
            if why is not None:
                console.print(f"{name}: skipped ({why})")
                continue
            compared = _run(beside(line))
            _show_beside(console, name, compared)
            others += compared
    if options.json:
        sys.stdout.write(json.dumps({"outside": rows, "beside": others}, indent=1) + "\n")
    off = [value for row in rows for value in row["off"].values()] + [row["off"] for row in others if row["judged"]]
    bad = sum(abs(value) > ALLOWED for value in off)
    console.print(f"{len(off) - bad} of {len(off)} figures within {100 * ALLOWED:.0f} %")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
