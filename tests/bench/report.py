"""The results as a document, as tables for a person, and held against what is wanted."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Final

from rich.console import Console
from rich.table import Table

from tests.bench.figures import Spread, difference, ratio
from tests.bench.functions import Functions
from tests.bench.runs import SLIP_LIMIT_MS, Cell
from tests.bench.stage import CLIENT, OTHER_HANDLERS, RELAYS, STREAM_HANDLERS
from tests.bench.stage import STAND_INS as STAND_INS_OF_THE_CLOUD

OURS: Final = "handlers + relays"
STAND_INS: Final = "stand-ins"

_BUSY_OTHERS: Final = 0.05
"""Others who use more of the machine than this may have been measured, too."""

type Document = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Pair:
    """Both ways, at one frame length with so many conversations.

    Attributes:
        direct: the SDK as its user has it.
        prompt: the same with TCP_NODELAY.
        gateway: the whole gateway.
    """

    direct: Cell
    prompt: Cell | None
    gateway: Cell | None

    @property
    def up_ms(self) -> Spread:
        """Direct's delays up: the quicker of its two ways, percentile by percentile."""
        return _quicker(self.direct.up_ms, self.prompt.up_ms if self.prompt else None)

    @property
    def down_ms(self) -> Spread:
        """As above, down."""
        return _quicker(self.direct.down_ms, self.prompt.down_ms if self.prompt else None)

    @property
    def cpu_s_per_minute(self) -> float:
        """Direct's CPU: the cheaper of its two ways."""
        return min(cell.cpu_s_per_minute[CLIENT] for cell in (self.direct, self.prompt) if cell)


@dataclass(frozen=True, slots=True)
class Target:
    """Something wanted, and what came out.

    Attributes:
        wanted: in words.
        figure: what was measured, None when it was not.
        limit: the most it may be.
        unit: of both.
    """

    wanted: str
    figure: float | None
    limit: float
    unit: str

    @property
    def met(self) -> bool | None:
        """Whether it is; None when it was not measured."""
        return None if self.figure is None else self.figure <= self.limit


def _quicker(one: Spread, other: Spread | None) -> Spread:
    if other is None:
        return one

    def least(name: str) -> float | None:
        found = [value for value in (getattr(one, name), getattr(other, name)) if value is not None]
        return min(found, default=None)

    return replace(one, p50=least("p50"), p95=least("p95"), p99=least("p99"), most=least("most"))


def ours(cell: Cell) -> float:
    """CPU seconds per audio minute of the handlers and the relays together."""
    return sum(seconds for name, seconds in cell.cpu_s_per_minute.items() if _is_ours(name))


def stand_ins(cell: Cell) -> float:
    """CPU seconds per audio minute of everything else."""
    return sum(seconds for name, seconds in cell.cpu_s_per_minute.items() if not _is_ours(name) and name != CLIENT)


def pairs(direct: Sequence[Cell], gateway: Sequence[Cell]) -> list[Pair]:
    """Put together what belongs together, in direct's order."""
    found = []
    for cell in direct:
        if cell.option:
            continue
        same = [one for one in direct if one.option and _place(one) == _place(cell)]
        theirs = [one for one in gateway if _place(one) == _place(cell)]
        found.append(Pair(cell, same[0] if same else None, theirs[0] if theirs else None))
    return found


def targets(found: Sequence[Pair], functions: Functions | None) -> list[Target]:
    """What is wanted (issue: what must be shown, the bench), with its figures."""
    pair = next((one for one in found if _place(one.direct) == (50, 100)), None)
    cell = pair.gateway if pair else None
    wanted: list[Target] = []
    for share, limit in (("p50", 5.0), ("p99", 25.0)):
        for way in ("up", "down"):
            base = getattr(getattr(pair, f"{way}_ms"), share) if pair else None
            added = difference(getattr(getattr(cell, f"{way}_ms"), share), base) if cell else None
            wanted.append(Target(f"50 conversations, 100 ms: {share} {way} beyond direct", added, limit, "ms"))
    own = ours(cell) if cell else None
    wanted += [
        Target(f"50 conversations, 100 ms: CPU of {OURS} per audio minute", own, 0.45, "s"),
        Target("the same as a multiple of direct", ratio(own, pair.cpu_s_per_minute) if pair else None, 1.29, "x"),
    ]
    warm = functions.warm["beside_ms"] if functions else {}
    cold = functions.cold["stream"].cpu_s * 1000 if functions else None
    unwanted = float(len(functions.unwanted)) if functions else None
    return [
        *wanted,
        Target("stream handler warm, p50 beside its Redis round trip", warm.get("p50"), 1.0, "ms"),
        Target("stream handler warm, p99 beside its Redis round trip", warm.get("p99"), 1.0, "ms"),
        Target("stream handler, CPU of its cold import", cold, 150.0, "ms"),
        Target("stream handler, packages imported that should not be", unwanted, 0.0, ""),
    ]


def document(found: Sequence[Pair], functions: Functions | None, settings: Document) -> Document:
    """Everything, for programs."""
    wanted = targets(found, functions)
    return {
        "settings": settings,
        "cells": [_pair_document(pair) for pair in found],
        "handlers": _functions_document(functions, found) if functions else None,
        "targets": [{**asdict(target), "met": target.met} for target in wanted],
    }


def _pair_document(pair: Pair) -> Document:
    described: Document = {
        "conversations": pair.direct.conversations,
        "frame_ms": pair.direct.frame_ms,
        "direct": _cell_document(pair.direct),
        "direct_no_delay": _cell_document(pair.prompt) if pair.prompt else None,
        "gateway": None,
    }
    cell = pair.gateway
    if cell is not None:
        base = pair.cpu_s_per_minute
        described["gateway"] = _cell_document(cell)
        described["beyond_direct"] = {
            "up_ms": cell.up_ms.minus(pair.up_ms),
            "down_ms": cell.down_ms.minus(pair.down_ms),
        }
        described["ratio_to_direct"] = {
            "up_ms": cell.up_ms.over(pair.up_ms),
            "down_ms": cell.down_ms.over(pair.down_ms),
            "cpu_s_per_minute": {
                OURS: ratio(ours(cell), base),
                **{name: ratio(seconds, base) for name, seconds in cell.cpu_s_per_minute.items()},
            },
            "memory_mb": ratio(cell.memory_mb, pair.direct.memory_mb),
        }
    return described


def _cell_document(cell: Cell) -> Document:
    return {**asdict(cell), "ours_cpu_s_per_minute": ours(cell), "believable": cell.believable}


def _functions_document(functions: Functions, found: Sequence[Pair]) -> Document:
    sdk_s = functions.sdk.cpu_s
    frame_ms = direct_cpu_ms_per_frame(found)
    return {
        **asdict(functions),
        "ratio_to_direct": {
            "cold": {name: ratio(cold.cpu_s, sdk_s) for name, cold in functions.cold.items()},
            "warm_call_cpu": ratio(functions.warm["call_cpu_ms"], frame_ms),
        },
    }


def direct_cpu_ms_per_frame(found: Sequence[Pair]) -> float | None:
    """CPU that direct takes for a frame of 100 ms, with as many conversations as were measured."""
    cells = [pair for pair in found if pair.direct.frame_ms == 100]
    return cells[-1].cpu_s_per_minute * 1000 / 600 if cells else None


def show(console: Console, found: Sequence[Pair], functions: Functions | None, settings: Document) -> None:
    """Print everything, for a person."""
    if found:
        console.print(_latency(found))
        console.print(_cpu(found))
        console.print(_stand_ins(found))
        console.print(_honesty(found))
    if functions:
        console.print(_handlers(functions, found))
    console.print(_targets(targets(found, functions)))
    for line in settings["notes"]:
        console.print(f"- {line}", style="dim", highlight=False)


def _latency(found: Sequence[Pair]) -> Table:
    table = Table(title="Delay in ms: p50 / p95 / p99 (n)", title_justify="left")
    for name in (
        "frames",
        "conv.",
        "way",
        "up: frame captured → at Nova Sonic",
        "down: leaves Nova Sonic → at the phone",
    ):
        table.add_column(name, justify="left" if name == "way" else "right")
    for pair in found:
        head = (f"{pair.direct.frame_ms} ms", str(pair.direct.conversations))
        for name, cell in (("direct", pair.direct), ("direct, TCP_NODELAY", pair.prompt), ("gateway", pair.gateway)):
            if cell is not None:
                table.add_row(*head, name, _spread(cell.up_ms), _spread(cell.down_ms))
                head = ("", "")
        if pair.gateway is not None:
            cell = pair.gateway
            added = (cell.up_ms.minus(pair.up_ms), cell.down_ms.minus(pair.down_ms))
            times = (cell.up_ms.over(pair.up_ms), cell.down_ms.over(pair.down_ms))
            table.add_row("", "", "gateway - direct", *(_three(one, "{:+.2f}") for one in added), style="bold")
            table.add_row("", "", "gateway / direct", *(_three(one, "{:.1f}x") for one in times))
        table.add_section()
    return table


def _cpu(found: Sequence[Pair]) -> Table:
    table = Table(title="CPU seconds per minute of phone audio; memory (PSS) per conversation", title_justify="left")
    for name in ("frames", "conv.", "way", OURS, "/ direct", "stream", "relays", "others", STAND_INS, "MB", "/ direct"):
        table.add_column(name, justify="left" if name == "way" else "right")
    for pair in found:
        head = (f"{pair.direct.frame_ms} ms", str(pair.direct.conversations))
        memory = pair.direct.memory_mb
        for name, cell in (("direct", pair.direct), ("direct, TCP_NODELAY", pair.prompt)):
            if cell is not None:
                own = cell.cpu_s_per_minute[CLIENT]
                parts = ("", "", "", _number(stand_ins(cell), 3))
                store = (_number(cell.memory_mb, 1), _times(cell.memory_mb, memory))
                table.add_row(*head, name, f"{own:.3f}", _times(own, pair.cpu_s_per_minute), *parts, *store)
                head = ("", "")
        if pair.gateway is not None:
            cell, each = pair.gateway, pair.gateway.cpu_s_per_minute
            others_s = ours(cell) - each[STREAM_HANDLERS] - each[RELAYS]
            split = [_number(s, 3) for s in (each[STREAM_HANDLERS], each[RELAYS], others_s, stand_ins(cell))]
            total = (f"[bold]{ours(cell):.3f}[/]", f"[bold]{_times(ours(cell), pair.cpu_s_per_minute)}[/]")
            table.add_row(*head, "gateway", *total, *split, f"{cell.memory_mb:.1f}", _times(cell.memory_mb, memory))
        table.add_section()
    return table


def _stand_ins(found: Sequence[Pair]) -> Table:
    table = Table(
        title="Stand-ins apart: CPU seconds per minute of phone audio (/ direct's client)", title_justify="left"
    )
    for name in ("frames", "conv.", "way", *STAND_INS_OF_THE_CLOUD):
        table.add_column(name, justify="left" if name == "way" else "right")
    for pair in found:
        for name, cell in (("direct", pair.direct), ("gateway", pair.gateway)):
            if cell is not None:
                each = [cell.cpu_s_per_minute.get(part) for part in STAND_INS_OF_THE_CLOUD]
                row = [f"{s:.3f} ({_times(s, pair.cpu_s_per_minute)})" if s is not None else "" for s in each]
                table.add_row(f"{cell.frame_ms} ms", str(cell.conversations), name, *row)
    return table


def _honesty(found: Sequence[Pair]) -> Table:
    table = Table(title="The measurement itself", title_justify="left")
    for name in (
        "frames",
        "conv.",
        "way",
        "slip p99",
        "slip most",
        "loop lag most",
        "Maya spoke",
        "cut",
        "busy",
        "others",
        "",
    ):
        table.add_column(name, justify="right")
    for pair in found:
        for name, cell in (("direct", pair.direct), ("TCP_NODELAY", pair.prompt), ("gateway", pair.gateway)):
            if cell is None:
                continue
            marks = [] if cell.believable else [f"slip over {SLIP_LIMIT_MS:g} ms: not to be believed"]
            if cell.others_share > _BUSY_OTHERS:
                marks.append("others kept the machine busy")
            table.add_row(
                f"{cell.frame_ms} ms",
                str(cell.conversations),
                name,
                _number(cell.slip_ms.p99, 2),
                _number(cell.slip_ms.most, 2),
                _number(cell.lag_ms.most, 2),
                f"{cell.maya_share:.0%}",
                str(cell.interruptions),
                str(cell.missing),
                f"{cell.busy_share:.0%}",
                f"{cell.others_share:.0%}",
                "; ".join(marks),
                style="yellow" if marks else None,
            )
    return table


def _handlers(functions: Functions, found: Sequence[Pair]) -> Table:
    table = Table(title="Handlers", title_justify="left")
    for name in ("", "figure", "/ direct"):
        table.add_column(name, justify="left" if not name else "right")
    sdk_s = functions.sdk.cpu_s
    table.add_row("cold import, CPU: direct (the SDK)", f"{sdk_s * 1000:.0f} ms", "1.00x")
    for name, cold in functions.cold.items():
        figure = f"{cold.cpu_s * 1000:.0f} ms, {cold.modules} modules"
        table.add_row(f"cold import, CPU: handlers.{name}", figure, _times(cold.cpu_s, sdk_s))
    warm = functions.warm
    table.add_section()
    for name, key in (
        ("call", "call_ms"),
        ("its bare Redis round trip", "round_trip_ms"),
        ("call beside it", "beside_ms"),
    ):
        spread = Spread(**warm[key])
        table.add_row(f"stream handler warm, {name}: p50 / p95 / p99", f"{_spread(spread, 3)} ms", "")
    frame_ms = direct_cpu_ms_per_frame(found)
    cpu = f"{warm['call_cpu_ms']:.3f} ms ({warm['round_trip_cpu_ms']:.3f} of it the round trip)"
    table.add_row("stream handler warm, CPU of a call", cpu, _times(warm["call_cpu_ms"], frame_ms))
    table.add_row("stream handler imports", ", ".join(functions.unwanted) or "none of the unwanted packages", "")
    return table


def _targets(wanted: Sequence[Target]) -> Table:
    table = Table(title="Wanted", title_justify="left")
    for name in ("", "at most", "measured", ""):
        table.add_column(name, justify="left" if not name else "right")
    words = {True: "[green]yes[/]", False: "[red]no[/]", None: "not measured"}
    for target in wanted:
        figure = "" if target.figure is None else f"{target.figure:.3g} {target.unit}"
        table.add_row(target.wanted, f"{target.limit:g} {target.unit}", figure, words[target.met])
    return table


def _is_ours(name: str) -> bool:
    return name in (STREAM_HANDLERS, RELAYS) or name.startswith(OTHER_HANDLERS)


def _place(cell: Cell) -> tuple[int, int]:
    return cell.conversations, cell.frame_ms


def _spread(spread: Spread, digits: int = 2) -> str:
    return f"{' / '.join(_number(v, digits) for v in (spread.p50, spread.p95, spread.p99))} ({spread.n})"


def _three(values: dict[str, float | None], form: str) -> str:
    return " / ".join("-" if value is None else form.format(value) for value in values.values())


def _number(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def _times(value: float | None, base: float | None) -> str:
    found = ratio(value, base)
    return "-" if found is None else f"{found:.2f}x"
