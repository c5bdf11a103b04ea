"""What a tester sees while a run is under way."""

import io

from rich.console import Console

from client_sim.load.board import Board
from tests.client_sim.report.made import busy, call, second


def board(*, plain):
    written = io.StringIO()
    console = Console(file=written, force_terminal=not plain, width=200, highlight=False)
    return Board(console, plain=plain, title="4 phones", lasts_s=150, regions=("near", "eu-west-1")), written


def test_the_table_tells_of_every_region():
    """Counts, median, the tester's own figures; a percentile only where samples carry it."""
    shown, written = board(plain=False)
    for record in busy("near"):
        shown.take(record)
    shown.say("tokens: 4 of 4")
    shown.close()
    said = written.getvalue()
    assert "1:40 of 2:30" in said
    last = [line for line in said.splitlines() if "near" in line][-1].split()
    assert last[last.index("near") : last.index("near") + 5] == ["near", "1", "4", "0", "81"]
    assert "1843 ms" in last or any(cell.startswith("18") for cell in last)
    assert "eu-west-1" in said
    assert "NOT VALID" not in said


def test_a_late_tester_is_told_at_once():
    """Not only in the report."""
    shown, written = board(plain=True)
    shown.take(second(12, slip=[9.0] * 50))
    shown.close()
    assert "NOT VALID" in written.getvalue()


def test_why_conversations_fail_is_told_once():
    """Each reason by itself, as soon as it is known; their number with every line."""
    shown, written = board(plain=True)
    for failure in ("refused with 401", "unreachable", "refused with 401", None):
        shown.take(call(5, ended="failed", failure=failure, bye=None))
    shown.take(second(12))
    lines = written.getvalue().splitlines()
    reasons = [line for line in lines if line.startswith("a conversation failed: ")]
    assert [line.partition(": ")[2] for line in reasons] == ["refused with 401", "unreachable", "no assessment"]
    assert "4 failed" in lines[-1]


def test_plain_lines_come_now_and_then():
    """Every ten seconds, and each sentence by itself."""
    shown, written = board(plain=True)
    for at in range(1, 41):
        shown.take(second(at))
    shown.say("a core is full: 2 processes now")
    lines = written.getvalue().splitlines()
    assert len([line for line in lines if " of 2:30" in line]) == 4
    assert lines[-1] == "a core is full: 2 processes now"
