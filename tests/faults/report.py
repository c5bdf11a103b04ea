"""The table, for people; the same for programs; and the exit status."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from tests.faults.account import Row
from tests.faults.stage import Held

_COLUMNS = (
    "times\ntried",
    "heard nothing\np50, s",
    "heard nothing\nworst, s",
    "frames\nlost",
    "frames\ndoubled",
    "assessments\nlost",
)


def show(held: Held, console: Console) -> None:
    """Print the table and everything that is not as it should be."""
    table = Table(title="Faults", title_justify="left")
    table.add_column("fault", no_wrap=True)
    for name in _COLUMNS:
        table.add_column(name, justify="right", no_wrap=True)
    for row in held.rows:
        table.add_row(row.fault, *_cells(row), style=None if row.holds else "bold red")
    console.print(table)
    for row in held.rows:
        for complaint in row.complaints:
            console.print(f"{row.fault}: {complaint}", style="red", markup=False, highlight=False)
    for complaint in held.complaints:
        console.print(complaint, style="red", markup=False, highlight=False)
    tried = sum(row.tried for row in held.rows)
    conversations = sum(row.conversations for row in held.rows)
    console.print(
        f"{tried} faults in {conversations} conversations took {held.took_s:.0f} s. Heard nothing: the longest silence of"
        " both sides after the fault, beyond the longest natural one of its kind. A frame is 100 ms; both sides' count."
    )


def document(held: Held) -> dict[str, Any]:
    """The same for a program."""
    return {
        "holds": holds(held),
        "took_s": held.took_s,
        "complaints": held.complaints,
        "rows": [row.as_document() for row in held.rows],
        "conversations": [asdict(each) for each in held.accounts],
    }


def write(held: Held, path: Path) -> None:
    """Write the document as JSON."""
    path.write_text(json.dumps(document(held), indent=2) + "\n", encoding="utf-8")


def holds(held: Held) -> bool:
    """Whether every row is as it should be."""
    return bool(held.rows) and all(row.holds for row in held.rows) and not held.complaints


def _cells(row: Row) -> list[str]:
    return [
        str(row.tried),
        _seconds(row.p50_ms),
        _seconds(row.worst_ms),
        str(row.frames_lost),
        str(row.frames_doubled),
        str(row.assessments_lost),
    ]


def _seconds(ms: float | None) -> str:
    return "-" if ms is None else f"{max(0.0, ms) / 1000:.1f}"
