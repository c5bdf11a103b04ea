"""``python -m tests.faults [--json OUT] [--only NAME]``: print the fault table; exit status 1 if anything was lost or doubled."""

import argparse
import sys
from pathlib import Path

from rich.console import Console

from tests.faults import report
from tests.faults.stage import hold_all

_WIDTH = 132
"""Of a table that is no terminal's."""


def main() -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description="The fault table.")
    parser.add_argument("--json", type=Path, metavar="OUT", help="write the table as JSON, too")
    parser.add_argument("--only", default="", metavar="NAME", help="only rows that have this in their name")
    options = parser.parse_args()
    held = hold_all(options.only, tell=_tell)
    console = Console()
    report.show(held, console if console.is_terminal else Console(width=_WIDTH))
    if options.json is not None:
        report.write(held, options.json)
    return 0 if report.holds(held) else 1


def _tell(line: str) -> None:
    """Show that it goes on."""
    sys.stderr.write(line + "\n")


if __name__ == "__main__":
    sys.exit(main())
