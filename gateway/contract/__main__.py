"""Write the published contract, or check that it is up to date.

``python -m gateway.contract --write [DIRECTORY]`` writes the AsyncAPI document and the JSON Schemas;
``python -m gateway.contract --check [DIRECTORY]`` exits with 1 and names the files that differ, are missing or are left over.
"""

import argparse
import sys
from pathlib import Path

from gateway.core.contract import documents

_HERE = Path(__file__).parent


def main(arguments: list[str] | None = None) -> int:
    """Run the command; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m gateway.contract", description=(__doc__ or "").splitlines()[0])
    job = parser.add_mutually_exclusive_group(required=True)
    job.add_argument("--check", metavar="DIRECTORY", nargs="?", const=_HERE, type=Path)
    job.add_argument("--write", metavar="DIRECTORY", nargs="?", const=_HERE, type=Path)
    options = parser.parse_args(arguments)
    if options.write is not None:
        write(options.write)
        return 0
    faults = differences(options.check)
    for fault in faults:
        print(fault, file=sys.stderr)  # noqa: T201 - a command-line program
    if faults:
        print("run: python -m gateway.contract --write", file=sys.stderr)  # noqa: T201 - as above
    return 1 if faults else 0


def write(directory: Path) -> None:
    """Write all documents below a directory, and remove schemas of messages that no longer exist."""
    wanted = documents()
    for path in _left_over(directory, set(wanted)):
        path.unlink()
    for name, text in wanted.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


def differences(directory: Path) -> list[str]:
    """What is wrong below a directory, one line each; empty when all is up to date."""
    wanted = documents()
    faults = []
    for name, text in wanted.items():
        path = directory / name
        if not path.is_file():
            faults.append(f"{path}: missing")
        elif path.read_text(encoding="utf-8") != text:
            faults.append(f"{path}: differs from the message models")
    faults += [f"{path}: no such message" for path in _left_over(directory, set(wanted))]
    return faults


def _left_over(directory: Path, wanted: set[str]) -> list[Path]:
    found = sorted(directory.glob("schemas/**/*.json"))
    return [path for path in found if path.relative_to(directory).as_posix() not in wanted]


if __name__ == "__main__":
    sys.exit(main())
