"""``python -m tests.browser REPORT.html --out DIR``: looks at a report in a real browser and keeps pictures of it."""

import argparse
import sys
from pathlib import Path

from tests.browser.look import browser, look


def main() -> int:
    """Look; the exit status is 1 where something is wrong."""
    parser = argparse.ArgumentParser(prog="python -m tests.browser", description=__doc__)
    parser.add_argument("report", type=Path, metavar="REPORT.html")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="pictures go here")
    options = parser.parse_args()
    if not options.report.is_file():
        parser.error(f"{options.report}: there is no such file")
    options.out.mkdir(parents=True, exist_ok=True)
    with browser() as running:
        told = look(running, options.report, options.out)
    for fault in told["faults"]:
        print(fault)  # noqa: T201 - a command-line program prints
    print(f"{told['plots']} plots, {len(told['faults'])} faults; pictures in {options.out}")  # noqa: T201 - as above
    return 1 if told["faults"] else 0


if __name__ == "__main__":
    sys.exit(main())
