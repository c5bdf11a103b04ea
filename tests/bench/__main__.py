"""``python -m tests.bench``: what the gateway adds to the bare SDK, measured on this machine in under five minutes."""

import argparse
import json
import os
import platform
import sys
import tempfile
import time
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

from rich.console import Console

from tests.bench import functions, report, stage
from tests.bench.direct import NO_DELAY
from tests.bench.figures import UnmatchedError
from tests.bench.processes import Groups
from tests.bench.runs import Cell, RunError, Step, run
from tests.bench.speech import TURN_MS

WAYS: Final = ("direct", "gateway", "handlers")
_CONVERSATIONS: Final = (1, 10, 50)
_FRAMES_MS: Final = (100, 32)
_WARM_UP_S: Final = 2.0
_MEASURE_S: Final = 6.0
_FRAMES: Final = 1_020
"""Measured at least, where there is more than one conversation, so that the 99th percentile is carried."""
_QUICK_S: Final = 4.0
_IMPORTS: Final = 5
_WIDTH: Final = 130
"""Columns of the tables where they do not go to a terminal."""


def main() -> int:
    """Measure; returns 0 when everything could be measured, whether or not it is as wanted."""
    options = _parser().parse_args()
    console = Console()
    if not console.is_terminal:
        console = Console(width=_WIDTH)
    began_s = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="maya-bench-") as folder:
        try:
            direct, gateway = _conversations(Path(folder), options, console)
            found = functions.measure(3 if options.quick else _IMPORTS) if "handlers" in options.only else None
        except (stage.StageError, RunError, UnmatchedError) as error:
            console.print(f"bench: {error}", style="red", highlight=False)
            return 1
    pairs = report.pairs(direct, gateway)
    settings = _settings(options, time.monotonic() - began_s)
    report.show(console, pairs, found, settings)
    if options.json is not None:
        options.json.write_text(json.dumps(report.document(pairs, found, settings), indent=2) + "\n")
    return 0


def _conversations(folder: Path, options: argparse.Namespace, console: Console) -> tuple[list[Cell], list[Cell]]:
    began_s = time.monotonic()
    direct: list[Cell] = []
    gateway: list[Cell] = []
    if not {"direct", "gateway"} & set(options.only):
        return direct, gateway
    with stage.nova(folder) as nova:
        for frame_ms in options.frames:
            _say(console, began_s, f"direct, {frame_ms} ms frames")
            direct += _direct(folder, nova, frame_ms, _steps(options, frame_ms, prompt=True))
        if "gateway" in options.only:
            with stage.cloud(folder, nova) as cloud:
                for frame_ms in options.frames:
                    _say(console, began_s, f"gateway, {frame_ms} ms frames")
                    gateway += _gateway(folder, nova, cloud, frame_ms, _steps(options, frame_ms, prompt=False))
    return direct, gateway


def _say(console: Console, began_s: float, what: str) -> None:
    console.print(f"{time.monotonic() - began_s:4.0f} s  {what}", style="dim", highlight=False)


def _steps(options: argparse.Namespace, frame_ms: int, *, prompt: bool) -> list[Step]:
    steps: list[Step] = []
    for count in sorted(options.conversations):
        measure_s = _QUICK_S if options.quick else _MEASURE_S
        if count > 1 and not options.quick:
            measure_s = max(measure_s, _FRAMES * frame_ms / 1000 / count)
        steps.append(Step(count, measure_s))
        # A connection that one conversation has for itself waits for nobody.
        if prompt and count > 1:
            steps.append(Step(count, measure_s, option=NO_DELAY))
    return steps


def _direct(folder: Path, nova: stage.Nova, frame_ms: int, steps: Sequence[Step]) -> list[Cell]:
    arguments = ("--url", nova.url, "--authority", str(nova.authority))
    with stage.child(folder, "direct", *arguments, frame_ms=frame_ms) as child:
        groups = Groups({stage.CLIENT: (child.pid,), "Nova Sonic": (nova.pid,)}, {})
        return run(
            child,
            nova,
            steps,
            frame_ms=frame_ms,
            warm_up_s=_WARM_UP_S,
            groups=lambda: groups,
            memory_of=stage.CLIENT,
        )


def _gateway(folder: Path, nova: stage.Nova, cloud: stage.Cloud, frame_ms: int, steps: Sequence[Step]) -> list[Cell]:
    tokens = folder / "tokens.json"
    tokens.write_text(json.dumps(cloud.tokens(steps[-1].conversations)))
    arguments = ("--url", cloud.state.websocket_url, "--tokens", str(tokens))
    with stage.child(folder, "phones", *arguments, frame_ms=frame_ms) as child:
        return run(
            child,
            nova,
            steps,
            frame_ms=frame_ms,
            warm_up_s=_WARM_UP_S,
            groups=lambda: cloud.groups(child.pid),
            memory_of=stage.RELAYS,
        )


def _settings(options: argparse.Namespace, took_s: float) -> dict[str, Any]:
    return {
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "cores": os.cpu_count(),
        "sdk": version("aws-sdk-bedrock-runtime"),
        "awscrt": version("awscrt"),
        "warm_up_s": _WARM_UP_S,
        "measure_s": _QUICK_S if options.quick else _MEASURE_S,
        "took_s": round(took_s, 1),
        "notes": [
            f"{os.cpu_count()} cores carry everything: phones, gateway and all stand-ins. Took {took_s:.0f} s.",
            "direct: one process, asyncio's own loop, one client of the SDK and so one connection for all.",
            "The SDK sets no TCP_NODELAY, so frames wait for acknowledgements and travel together, late but cheaper.",
            "Delays are held against the quicker of direct with and without that option, CPU against the cheaper.",
            "gateway: phones, API Gateway's stand-in, stream Lambda, Valkey, relay Lambda, Nova Sonic's stand-in, and back.",
            f"Both: 16 kHz up, 24 kHz down, an utterance every {TURN_MS / 1000:g} s, Maya in real time, one stand-in for both.",
            f"Dropped: everything until {_WARM_UP_S:g} s after the last conversation of a step was live.",
            "Delays count from the moment a frame was captured; how late that was on the audio clock is the slip.",
            "A percentile p is given for at least 10 / (1 - p) values.",
            "CPU and memory of handlers and relays include the runtime that Lambda puts around them.",
        ],
    }


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--json", type=Path, metavar="OUT", help="write everything here, for programs")
    parser.add_argument("--quick", action="store_true", help=f"measure each step for {_QUICK_S:g} s only")
    parser.add_argument("--only", nargs="+", choices=WAYS, default=list(WAYS), help="gateway brings direct along")
    parser.add_argument("--conversations", nargs="+", type=int, default=list(_CONVERSATIONS), metavar="N")
    parser.add_argument("--frames", nargs="+", type=int, default=list(_FRAMES_MS), metavar="MS")
    return parser


if __name__ == "__main__":
    sys.exit(main())
