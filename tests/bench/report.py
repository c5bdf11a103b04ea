"""The results as a document, as tables for a person, and held against what is wanted."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Final

from rich.console import Console
from rich.table import Table

from tests.bench.figures import Spread, difference, ratio
from tests.bench.functions import Functions
from tests.bench.runs import Cell
from tests.bench.stage import CLIENT, DIRECT, EACH, GATEWAY, NO_DELAY, OTHER_HANDLERS, RELAYS, STREAM_HANDLERS
from tests.bench.stage import STAND_INS as STAND_INS_OF_THE_CLOUD

OURS: Final = "handlers + relays"
STAND_INS: Final = "stand-ins"

_BUSY_OTHERS: Final = 0.05
"""Others who use more of the machine than this may have been measured, too."""

_FULL: Final = 0.97
"""A machine that is busier than this has a queue of its own in every delay."""

type Document = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Place:
    """All ways at one frame length with so many conversations.

    Attributes:
        frame_ms: the frame length.
        conversations: how many.
        ways: their figures, by name, in the order in which they were measured.
    """

    frame_ms: int
    conversations: int
    ways: dict[str, Cell]

    @property
    def gateway(self) -> Cell | None:
        """The gateway, if it was measured."""
        return self.ways.get(GATEWAY)

    @property
    def up_ms(self) -> Spread:
        """Direct's delays up: the quicker of its two ways in one process, percentile by percentile."""
        return _quickest([cell.up_ms for cell in self._direct])

    @property
    def down_ms(self) -> Spread:
        """As above, down."""
        return _quickest([cell.down_ms for cell in self._direct])

    @property
    def cpu_s_per_minute(self) -> float:
        """Direct's CPU: the cheaper of its two ways in one process."""
        return min(cell.cpu_s_per_minute[CLIENT] for cell in self._direct)

    @property
    def memory_mb(self) -> float:
        """Direct's memory per conversation, in one process."""
        return self.ways[DIRECT].memory_mb

    @property
    def _direct(self) -> list[Cell]:
        return [self.ways[name] for name in (DIRECT, NO_DELAY) if name in self.ways]


@dataclass(frozen=True, slots=True)
class Target:
    """Something wanted, and what came out.

    Attributes:
        wanted: in words.
        figure: what was measured, None when it was not.
        limit: the most it may be.
        unit: of both.
        doubt: why the figure is not to be believed, empty if it is.
    """

    wanted: str
    figure: float | None
    limit: float
    unit: str
    doubt: str = ""

    @property
    def met(self) -> bool | None:
        """Whether it is; None when it was not measured."""
        return None if self.figure is None else self.figure <= self.limit


def _quickest(spreads: Sequence[Spread]) -> Spread:
    def least(name: str) -> float | None:
        found = [value for value in (getattr(spread, name) for spread in spreads) if value is not None]
        return min(found, default=None)

    return replace(spreads[0], p50=least("p50"), p95=least("p95"), p99=least("p99"), most=least("most"))


def ours(cell: Cell) -> float:
    """CPU seconds per audio minute of the handlers and the relays together, or of direct's client."""
    return sum(seconds for name, seconds in cell.cpu_s_per_minute.items() if _is_ours(name))


def stand_ins(cell: Cell) -> float:
    """CPU seconds per audio minute of everything else."""
    return sum(seconds for name, seconds in cell.cpu_s_per_minute.items() if not _is_ours(name))


def doubts(cell: Cell) -> list[str]:
    """Why the figures of a cell are not to be believed."""
    marks = [] if cell.believable else ["generator late"]
    if cell.live < cell.conversations:
        marks.append(f"only {cell.live} live")
    if cell.others_share > _BUSY_OTHERS:
        marks.append("disturbed")
    if cell.busy_share > _FULL:
        marks.append("machine full")
    return marks


def places(cells: Sequence[Cell]) -> list[Place]:
    """Put together what belongs together; what was not measured in direct's usual way has nothing to be compared with."""
    found: dict[tuple[int, int], Place] = {}
    for cell in cells:
        key = (cell.frame_ms, cell.conversations)
        found.setdefault(key, Place(*key, {})).ways[cell.way] = cell
    return [place for place in found.values() if DIRECT in place.ways]


def targets(found: Sequence[Place], functions: Functions | None) -> list[Target]:
    """What is wanted of the gateway, with its figures."""
    place = next((one for one in found if (one.conversations, one.frame_ms) == (50, 100)), None)
    cell = place.gateway if place else None
    wanted: list[Target] = []
    compared = [one for name, one in place.ways.items() if name != EACH] if place else []
    doubt = ", ".join(sorted({mark for one in compared for mark in doubts(one)}))
    for share, limit in (("p50", 5.0), ("p99", 25.0)):
        for way in ("up", "down"):
            base = getattr(getattr(place, f"{way}_ms"), share) if place else None
            added = difference(getattr(getattr(cell, f"{way}_ms"), share), base) if cell else None
            wanted.append(Target(f"50 conversations, 100 ms: {share} {way} beyond direct", added, limit, "ms", doubt))
    own = ours(cell) if cell else None
    wanted += [
        Target(f"50 conversations, 100 ms: CPU of {OURS} per audio minute", own, 0.45, "s", doubt),
        Target(
            "the same as a multiple of direct", ratio(own, place.cpu_s_per_minute) if place else None, 1.29, "x", doubt
        ),
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


def document(found: Sequence[Place], functions: Functions | None, settings: Document) -> Document:
    """Everything, for programs."""
    wanted = targets(found, functions)
    return {
        "settings": settings,
        "places": [_place_document(place) for place in found],
        "handlers": _functions_document(functions, found) if functions else None,
        "targets": [{**asdict(target), "met": target.met} for target in wanted],
    }


def _place_document(place: Place) -> Document:
    described: Document = {
        "conversations": place.conversations,
        "frame_ms": place.frame_ms,
        "ways": {name: _cell_document(cell) for name, cell in place.ways.items()},
        "ratio_to_direct": {name: _ratios(cell, place) for name, cell in place.ways.items()},
    }
    if place.gateway is not None:
        described["gateway_beyond_direct"] = {
            "up_ms": place.gateway.up_ms.minus(place.up_ms),
            "down_ms": place.gateway.down_ms.minus(place.down_ms),
        }
    return described


def _ratios(cell: Cell, place: Place) -> Document:
    base = place.cpu_s_per_minute
    return {
        "up_ms": cell.up_ms.over(place.up_ms),
        "down_ms": cell.down_ms.over(place.down_ms),
        "ours_cpu_s_per_minute": ratio(ours(cell), base),
        "cpu_s_per_minute": {name: ratio(seconds, base) for name, seconds in cell.cpu_s_per_minute.items()},
        "memory_mb": ratio(cell.memory_mb, place.memory_mb),
    }


def _cell_document(cell: Cell) -> Document:
    return {**asdict(cell), "ours_cpu_s_per_minute": ours(cell), "believable": cell.believable}


def _functions_document(functions: Functions, found: Sequence[Place]) -> Document:
    sdk_s = functions.sdk.cpu_s
    frame_ms = direct_cpu_ms_per_frame(found)
    return {
        **asdict(functions),
        "ratio_to_direct": {
            "cold": {name: ratio(cold.cpu_s, sdk_s) for name, cold in functions.cold.items()},
            "warm_call_cpu": ratio(functions.warm["call_cpu_ms"], frame_ms),
        },
    }


def direct_cpu_ms_per_frame(found: Sequence[Place]) -> float | None:
    """CPU that direct takes for a frame of 100 ms, with as many conversations as were measured."""
    cells = [place for place in found if place.frame_ms == 100]
    return cells[-1].cpu_s_per_minute * 1000 / 600 if cells else None


def show(console: Console, found: Sequence[Place], functions: Functions | None, settings: Document) -> None:
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


def _latency(found: Sequence[Place]) -> Table:
    table = _table(
        "Delay in ms: p50 / p95 / p99 (n)",
        ("frames", "conv.", "way", "up: frame captured → at Nova Sonic", "down: leaves Nova Sonic → at the phone"),
    )
    for place in found:
        for head, cell in _rows(place):
            table.add_row(*head, cell.way, _spread(cell.up_ms), _spread(cell.down_ms))
        gateway = place.gateway
        if gateway is not None:
            added = (gateway.up_ms.minus(place.up_ms), gateway.down_ms.minus(place.down_ms))
            times = (gateway.up_ms.over(place.up_ms), gateway.down_ms.over(place.down_ms))
            table.add_row("", "", "gateway - direct", *(_three(one, "{:+.2f}") for one in added), style="bold")
            table.add_row("", "", "gateway / direct", *(_three(one, "{:.1f}x") for one in times))
        table.add_section()
    return table


def _cpu(found: Sequence[Place]) -> Table:
    table = _table(
        "CPU seconds per minute of phone audio; memory (PSS) per conversation",
        ("frames", "conv.", "way", OURS, "/ direct", "stream", "relays", "others", STAND_INS, "MB", "/ direct"),
    )
    for place in found:
        for head, cell in _rows(place):
            each, own_s = cell.cpu_s_per_minute, ours(cell)
            split = ["", "", ""]
            if CLIENT not in each:
                others_s = own_s - each[STREAM_HANDLERS] - each[RELAYS]
                split = [_number(s, 3) for s in (each[STREAM_HANDLERS], each[RELAYS], others_s)]
            table.add_row(
                *head,
                cell.way,
                f"{own_s:.3f}",
                _times(own_s, place.cpu_s_per_minute),
                *split,
                _number(stand_ins(cell), 3),
                _number(cell.memory_mb, 1),
                _times(cell.memory_mb, place.memory_mb),
                style="bold" if cell.way == GATEWAY else None,
            )
        table.add_section()
    return table


def _stand_ins(found: Sequence[Place]) -> Table:
    table = _table(
        "Stand-ins apart: CPU seconds per minute of phone audio (/ direct's client)",
        ("frames", "conv.", "way", *STAND_INS_OF_THE_CLOUD),
    )
    for place in found:
        for head, cell in _rows(place):
            each = [cell.cpu_s_per_minute.get(part) for part in STAND_INS_OF_THE_CLOUD]
            row = [f"{s:.3f} ({_times(s, place.cpu_s_per_minute)})" if s is not None else "" for s in each]
            table.add_row(*head, cell.way, *row)
    return table


def _honesty(found: Sequence[Place]) -> Table:
    columns = ("slip p99", "slip max", "lag max", "Maya", "cut", "lost", "busy", "others", "")
    table = _table("The measurement itself", ("frames", "conv.", "way", *columns))
    for place in found:
        for head, cell in _rows(place):
            marks = doubts(cell)
            table.add_row(
                *head,
                cell.way,
                _number(cell.slip_ms.p99, 2),
                _number(cell.slip_ms.most, 2),
                _number(cell.lag_ms.most, 2),
                f"{cell.maya_share:.0%}",
                str(cell.interruptions),
                str(cell.missing),
                f"{cell.busy_share:.0%}",
                f"{cell.others_share:.0%}",
                ", ".join(marks),
                style="yellow" if marks else None,
            )
    return table


def _rows(place: Place) -> Iterator[tuple[tuple[str, str], Cell]]:
    head = (f"{place.frame_ms} ms", str(place.conversations))
    for cell in place.ways.values():
        yield head, cell
        head = ("", "")


def _table(title: str, columns: Sequence[str]) -> Table:
    table = Table(title=title, title_justify="left")
    for name in columns:
        table.add_column(name, justify="left" if name in ("", "way") else "right", no_wrap=name == "way")
    return table


def _handlers(functions: Functions, found: Sequence[Place]) -> Table:
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
        doubt = f" ({target.doubt})" if target.doubt and target.met is not None else ""
        table.add_row(target.wanted, f"{target.limit:g} {target.unit}", figure, words[target.met] + doubt)
    return table


def _is_ours(name: str) -> bool:
    return name in (CLIENT, STREAM_HANDLERS, RELAYS) or name.startswith(OTHER_HANDLERS)


def _spread(spread: Spread, digits: int = 2) -> str:
    return f"{' / '.join(_number(v, digits) for v in (spread.p50, spread.p95, spread.p99))} ({spread.n})"


def _three(values: dict[str, float | None], form: str) -> str:
    return " / ".join("-" if value is None else form.format(value) for value in values.values())


def _number(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def _times(value: float | None, base: float | None) -> str:
    found = ratio(value, base)
    return "-" if found is None else f"{found:.2f}x"
