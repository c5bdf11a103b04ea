"""What a tester sees while a run is under way: one table, a line for each region, renewed each second."""

from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from client_sim.load.histogram import Histogram
from client_sim.report.gates import SLIP_LIMIT_MS
from client_sim.report.reading import failure_of
from client_sim.report.statistics import percentile

_RECENT: Final = 2_000
_PLAIN_EVERY_S: Final = 10.0
_REASONS: Final = 10
_COLUMNS: Final = (
    "region",
    "talking",
    "done",
    "failed",
    "turns",
    "voice to voice p50",
    "p95",
    "round trip p50",
    "gaps",
    "resumed",
    "lag prompts",
    "errors",
)


@dataclass(slots=True)
class _Row:
    """What is known of a region by now."""

    counts: Counter[str] = field(default_factory=Counter)
    v2v_ms: deque[float] = field(default_factory=lambda: deque(maxlen=_RECENT))
    round_trip_ms: deque[float] = field(default_factory=lambda: deque(maxlen=_RECENT))


class Board:
    """Shows a run.

    Args:
        console: where.
        plain: a line now and then in place of a table that moves.
        title: of the run.
        lasts_s: how long it will take.
        regions: in the order of the table.
    """

    def __init__(self, console: Console, *, plain: bool, title: str, lasts_s: float, regions: tuple[str, ...]) -> None:
        self._console = console
        self._title = title
        self._lasts_s = lasts_s
        self._rows = {name: _Row() for name in dict.fromkeys(regions)}
        self._talking: dict[int, Mapping[str, int]] = {}
        self._cpu: dict[int, float] = {}
        self._slip = Histogram()
        self._loop = Histogram()
        self._note = ""
        self._failures: set[str] = set()
        self._told_s = 0.0
        self._at_s = 0.0
        self._live = None if plain else Live(console=console, auto_refresh=False)
        if self._live is not None:
            self._live.start()

    @property
    def slip_p99_ms(self) -> float | None:
        """How late frames were written by now."""
        return self._slip.quantile(0.99)

    def take(self, record: Mapping[str, Any]) -> None:
        """Take in what was measured."""
        kind = record["kind"]
        if kind == "second":
            self._second(record)
            return
        row = self._rows.get(record.get("region", ""))
        if row is None:
            return
        row.counts[kind] += 1
        if kind == "turn" and record["v2v_ms"] is not None and not record["interrupting"]:
            row.v2v_ms.append(record["v2v_ms"])
        elif kind == "round_trip":
            row.round_trip_ms.append(record["ms"])
        elif kind == "call":
            row.counts[f"call {record['ended']}"] += 1
            if record["ended"] == "failed":
                self._failed(failure_of(record))

    def say(self, text: str) -> None:
        """Show a sentence below the table; by itself where nothing moves."""
        self._note = text
        if self._live is None:
            self._console.print(Text(text))
        else:
            self._draw()

    def _failed(self, failure: str) -> None:
        """Show why a conversation failed, each reason once; a run that goes on for minutes may be aimed at a wrong address."""
        if failure not in self._failures and len(self._failures) < _REASONS:
            self.say(f"a conversation failed: {failure}")
        self._failures.add(failure)

    def close(self) -> None:
        """Leave the last table standing."""
        if self._live is not None:
            self._note = ""
            self._draw()
            self._live.stop()

    def _second(self, record: Mapping[str, Any]) -> None:
        self._at_s = max(self._at_s, record["at_s"])
        self._talking[record["process"]] = record["phones"]
        self._cpu[record["process"]] = record["cpu"]
        self._slip.merge(Histogram.read(record["slip"]))
        self._loop.merge(Histogram.read(record["loop"]))
        if self._live is not None:
            self._draw()
        elif self._at_s >= self._told_s + _PLAIN_EVERY_S:
            self._told_s = self._at_s
            self._console.print(Text(self._head()), soft_wrap=True)

    def _draw(self) -> None:
        assert self._live is not None
        self._live.update(self._picture(), refresh=True)

    def _picture(self) -> RenderableType:
        table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
        for name in _COLUMNS:
            table.add_column(name, justify="left" if name == "region" else "right")
        for name, row in self._rows.items():
            table.add_row(*self._cells(name, row))
        return Group(Text(self._title, style="bold cyan"), Text(self._head()), table, Text(self._note, style="dim"))

    def _cells(self, name: str, row: _Row) -> list[str]:
        v2v, trips = sorted(row.v2v_ms), sorted(row.round_trip_ms)
        return [
            name,
            str(sum(phones.get(name, 0) for phones in self._talking.values())),
            str(row.counts["call finished"] + row.counts["call stopped"]),
            str(row.counts["call failed"]),
            str(row.counts["turn"]),
            _ms(percentile(v2v, 0.5)),
            _ms(percentile(v2v, 0.95)),
            _ms(percentile(trips, 0.5)),
            str(row.counts["gap"]),
            str(row.counts["resume"]),
            str(row.counts["lag_prompt"]),
            str(row.counts["error"]),
        ]

    def _head(self) -> str:
        talking = sum(sum(phones.values()) for phones in self._talking.values())
        turns = sum(row.counts["turn"] for row in self._rows.values())
        failed = sum(row.counts["call failed"] for row in self._rows.values())
        cpu = " + ".join(f"{100 * share:.0f} %" for share in self._cpu.values()) or "-"
        slip = self.slip_p99_ms
        warning = "  NOT VALID: the tester itself is late" if slip is not None and slip > SLIP_LIMIT_MS else ""
        return (
            f"{_clock(self._at_s)} of {_clock(self._lasts_s)}   {talking} talking   {turns} turns   {failed} failed   "
            f"tester: cpu {cpu}, send slip p99 {_ms(slip, 1)}, event loop p99 {_ms(self._loop.quantile(0.99), 1)}{warning}"
        )


def _ms(value: float | None, digits: int = 0) -> str:
    return "-" if value is None else f"{value:.{digits}f} ms"


def _clock(seconds: float) -> str:
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"
