"""``python -m client_sim report``: reads runs, writes a page and a document, and says whether the gates were kept."""

import argparse
import json
import sys
from pathlib import Path
from typing import Any, Final

from client_sim.report.document import document
from client_sim.report.gates import GATES, with_limits
from client_sim.report.page import page
from client_sim.report.reading import UNFINISHED, Run, read_run

FAILED: Final = 1
MISUSED: Final = 2
PAGE: Final = "report.html"
DOCUMENT: Final = "report.json"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of the command."""
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN.jsonl", help="written by client_sim load")
    parser.add_argument("--out", required=True, type=Path, metavar="DIR", help=f"gets {PAGE} and {DOCUMENT}")
    parser.add_argument("--json", action="store_true", help="print every figure as JSON")
    parser.add_argument(
        "--gate",
        action="append",
        default=[],
        type=_limit,
        metavar="NAME=LIMIT",
        help=f"another limit for a gate: {', '.join(gate.name for gate in GATES)}",
    )


def run(options: argparse.Namespace) -> int:
    """Run the command; returns the exit status: 0 only if every run is valid and no gate has failed."""
    try:
        gates = with_limits(dict(options.gate))
        runs = [read_run(path) for path in options.runs]
        told = document(runs, gates)
        options.out.mkdir(parents=True, exist_ok=True)
        _write(options.out / DOCUMENT, json.dumps(told, indent=1) + "\n")
        _write(options.out / PAGE, page(runs, told, command=_command(options)))
    except OSError as error:
        print(f"client_sim: {error.filename}: {error.strerror}", file=sys.stderr)
        return MISUSED
    except ValueError as error:
        print(f"client_sim: {error}", file=sys.stderr)
        return MISUSED
    if options.json:
        print(json.dumps(told, indent=1))
    else:
        print("\n".join(_words(told, runs, options.out)))
    return 0 if told["verdict"]["passed"] else FAILED


def _words(told: dict[str, Any], runs: list[Run], out: Path) -> list[str]:
    lines = [
        f"NOT VALID  {each['file']}: {each['tester']['why_not']}"
        for each in told["runs"]
        if not each["tester"]["valid"]
    ]
    lines += [f"CUT OFF    {each['file']}: {UNFINISHED}" for each in told["runs"] if each["ended"] is None]
    for judged in told["verdict"]["gates"]:
        if judged["verdict"] == "fail":
            sign = ">=" if judged["least"] else "<="
            lines.append(
                f"FAIL       {judged['group']}: {judged['gate']} is {judged['value']:.4g}, must be {sign} {judged['limit']:g}"
            )
    counts = [judged["verdict"] for judged in told["verdict"]["gates"]]
    lines.append(
        f"{'PASS' if told['verdict']['passed'] else 'FAIL'}: {counts.count('pass')} gates kept, "
        f"{counts.count('fail')} not, {counts.count('too few')} without enough samples; {len(runs)} runs"
    )
    lines.append(f"{out / PAGE}")
    return lines


def _command(options: argparse.Namespace) -> str:
    names = " ".join(path.name for path in options.runs)
    gates = "".join(f" --gate {name}={limit:g}" for name, limit in options.gate)
    return f"python -m client_sim report {names}{gates} --out DIR"


def _write(path: Path, text: str) -> None:
    """Write a file whole or not at all."""
    unfinished = path.with_name(f".{path.name}.unfinished")
    unfinished.write_text(text, encoding="utf-8")
    unfinished.replace(path)


def _limit(text: str) -> tuple[str, float]:
    name, _, number = text.partition("=")
    try:
        return name, float(number)
    except ValueError:
        raise argparse.ArgumentTypeError("NAME=LIMIT with a number is needed") from None
