"""``python -m tests.bench``: what the gateway adds to the bare SDK, measured on this machine in under five minutes."""

import argparse
import contextlib
import json
import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

from rich.console import Console

from tests.bench import functions, report, stage
from tests.bench.figures import UnmatchedError
from tests.bench.processes import Groups
from tests.bench.runs import Cell, RunError, Step, run
from tests.bench.speech import TURN_MS

WAYS: Final = ("direct", "gateway", "handlers")
_CONVERSATIONS: Final = (1, 10, 50)
_FRAMES_MS: Final = (100, 32)
_WARM_UP_S: Final = 2.0
_MEASURE_S: Final = 5.0
_FRAMES: Final = 1_020
"""Measured at least, where there is more than one conversation, so that the 99th percentile is carried."""
_QUICK_S: Final = 4.0
_IMPORTS: Final = 5
_WIDTH: Final = 140
"""Columns of the tables where they do not go to a terminal."""


def main() -> int:
    """Measure; returns 0 when everything could be measured, whether or not it is as wanted."""
    options = _parser().parse_args()
    console = Console()
    if not console.is_terminal:
        console = Console(width=_WIDTH)
    began_s = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="maya-bench-") as folder:
        bench = Bench(Path(folder), options, lambda what: _say(console, began_s, what))
        cells = bench.conversations()
        found = bench.handlers()
    places = report.places(cells)
    settings = _settings(options, time.monotonic() - began_s)
    report.show(console, places, found, settings)
    if options.json is not None:
        options.json.write_text(json.dumps(report.document(places, found, settings), indent=2) + "\n")
    for failure in bench.failures:
        console.print(f"bench: {failure}", style="red", highlight=False)
    return 1 if bench.failures else 0


def _say(console: Console, began_s: float, what: str) -> None:
    console.print(f"{time.monotonic() - began_s:4.0f} s  {what}", style="dim", highlight=False)


class Bench:
    """One run of everything that was asked for.

    Args:
        folder: for files of this run.
        options: of the command line.
        say: tells a person what is being done.

    Attributes:
        failures: what could not be measured, and why.
    """

    def __init__(self, folder: Path, options: argparse.Namespace, say: Callable[[str], None]) -> None:
        self._folder = folder
        self._options = options
        self._say = say
        self._counts = sorted(options.conversations)
        self.failures: list[str] = []

    def conversations(self) -> list[Cell]:
        """Measure both ways."""
        wanted, frames = set(self._options.only), self._options.frames
        cells: list[Cell] = []
        if not wanted & {"direct", "gateway"}:
            return cells
        with stage.nova(self._folder) as nova:
            for frame_ms in frames:
                cells += self._attempt(stage.DIRECT, self._direct, nova, frame_ms)
            if self._counts[-1] > 1:
                cells += self._attempt(stage.EACH, self._each, nova, frames[0])
            for frame_ms in frames if "gateway" in wanted else ():
                cells += self._attempt(stage.GATEWAY, self._gateway, nova, frame_ms)
        return cells

    def _attempt(
        self, way: str, measure: Callable[[stage.Nova, int], list[Cell]], nova: stage.Nova, frame_ms: int
    ) -> list[Cell]:
        """Measure one way at one frame length; what fails leaves the others as they are."""
        what = f"{way}, {frame_ms} ms frames"
        self._say(what)
        try:
            return measure(nova, frame_ms)
        except (stage.StageError, RunError, UnmatchedError) as error:
            self.failures.append(f"{what}: {error}")
            return []

    def handlers(self) -> functions.Functions | None:
        """Measure the handlers by themselves."""
        if "handlers" not in self._options.only:
            return None
        self._say("handlers")
        return functions.measure(3 if self._options.quick else _IMPORTS)

    def _direct(self, nova: stage.Nova, frame_ms: int) -> list[Cell]:
        steps: list[Step] = []
        for count in self._counts:
            steps.append(self._step(count, frame_ms))
            if count > 1:  # a connection that one conversation has for itself waits for nobody
                steps.append(self._step(count, frame_ms, stage.NO_DELAY))
        with stage.child(self._folder, "direct", *_sdk(nova), frame_ms=frame_ms) as child:
            return run(
                child,
                nova,
                steps,
                frame_ms=frame_ms,
                warm_up_s=_WARM_UP_S,
                groups=_groups(nova, child.pid),
                memory_of=stage.CLIENT,
                way=stage.DIRECT,
            )

    def _each(self, nova: stage.Nova, frame_ms: int) -> list[Cell]:
        """Measure as many processes as there are conversations, which is how Lambda would have it."""
        count = self._counts[-1]
        with contextlib.ExitStack() as stack:
            each = []
            for number in range(count):
                folder = self._folder / f"each-{number}"
                folder.mkdir()
                each.append(stack.enter_context(stage.child(folder, "direct", *_sdk(nova), frame_ms=frame_ms)))
            children = stage.Children(each)
            return run(
                children,
                nova,
                [self._step(count, frame_ms)],
                frame_ms=frame_ms,
                warm_up_s=_WARM_UP_S,
                groups=_groups(nova, *children.pids),
                memory_of=stage.CLIENT,
                way=stage.EACH,
            )

    def _gateway(self, nova: stage.Nova, frame_ms: int) -> list[Cell]:
        steps = [self._step(count, frame_ms) for count in self._counts]
        tokens = self._folder / "tokens.json"
        with stage.cloud(self._folder, nova) as cloud:
            tokens.write_text(json.dumps(cloud.tokens(self._counts[-1])))
            arguments = ("--url", cloud.state.websocket_url, "--tokens", str(tokens))
            with stage.child(self._folder, "phones", *arguments, frame_ms=frame_ms) as child:
                return run(
                    child,
                    nova,
                    steps,
                    frame_ms=frame_ms,
                    warm_up_s=_WARM_UP_S,
                    groups=cloud.groups(child.pid),
                    memory_of=stage.RELAYS,
                    way=stage.GATEWAY,
                )

    def _step(self, count: int, frame_ms: int, option: str = "") -> Step:
        if self._options.quick:
            return Step(count, _QUICK_S, option)
        enough_s = _FRAMES * frame_ms / 1000 / count if count > 1 else 0.0
        return Step(count, max(_MEASURE_S, enough_s), option)


def _sdk(nova: stage.Nova) -> tuple[str, ...]:
    return "--url", nova.url, "--authority", str(nova.authority)


def _groups(nova: stage.Nova, *clients: int) -> Groups:
    return Groups({stage.CLIENT: clients, "Nova Sonic": (nova.pid,)}, {})


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
            "no delay: with TCP_NODELAY. each alone: a process and a client each, as Lambda would run the SDK; caches are cold.",
            "Delays are held against the quicker of direct and no delay, CPU against the cheaper of them.",
            "gateway: phones, API Gateway's stand-in, stream Lambda, Valkey, relay Lambda, Nova Sonic's stand-in, and back.",
            f"Both: 16 kHz up, 24 kHz down, an utterance every {TURN_MS / 1000:g} s, Maya in real time, one stand-in for both.",
            f"Dropped: everything until {_WARM_UP_S:g} s after the last conversation of a step was live.",
            "Delays count from the moment a frame was captured; how late that was on the audio clock is the slip.",
            "A percentile p is given for at least 10 / (1 - p) values.",
            "stream: the handler itself; what its processes spend around it is the stand-in's, as 'Lambda runtime'.",
            "Memory of handlers and relays includes the runtime that Lambda puts around them.",
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
