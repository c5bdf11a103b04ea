"""``python -m infra.package [--machine arm64|x86_64]``: make the artefacts and say how large they are."""

import argparse
import sys
import time
from pathlib import Path

from infra.package.build import LAMBDA, build_all
from infra.package.functions import MEGABYTE
from infra.package.wheels import HERE, PLATFORMS, PYTHON, PackagingError


def main() -> int:
    """Make the artefacts; 0 if all are within their sizes."""
    parser = argparse.ArgumentParser(prog="python -m infra.package", description="What Lambda runs, one zip a function")
    parser.add_argument("--machine", choices=[*sorted(PLATFORMS), "here"], default=LAMBDA)
    machine = parser.parse_args().machine
    machine = HERE if machine == "here" else machine
    if f"{sys.version_info[0]}.{sys.version_info[1]}" != PYTHON:
        print(f"Byte code for Lambda's Python {PYTHON} is made by Python {PYTHON}; this is {sys.version.split()[0]}.")
        return 1
    began_s = time.monotonic()
    print(f"{'function':<12}{'zip':>10}{'limit':>9}{'unzipped':>12}   {machine}, Python {PYTHON}")
    try:
        for made in build_all(Path(sys.executable).with_name("uv"), machine=machine):
            print(
                f"{made.name:<12}{made.zipped_bytes / MEGABYTE:7.2f} MB{made.most_bytes / MEGABYTE:6.0f} MB"
                f"{made.unzipped_bytes / MEGABYTE:9.2f} MB"
            )
    except PackagingError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"made in {time.monotonic() - began_s:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
