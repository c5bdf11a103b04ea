"""``python -m client_sim load``: its arguments, its end, its interruption."""

import argparse
import asyncio
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any, Final, get_args

from rich.console import Console

from client_sim.load.board import Board
from client_sim.load.crew import Crew, CrewError
from client_sim.load.records import RunFile, fail_early, manifest
from client_sim.load.settings import HERE, LAG_THRESHOLD_MS, LoadSettings
from client_sim.load.speech import utterances_of
from client_sim.load.tokens import TokenError
from client_sim.network import address
from client_sim.regions.profiles import REGIONS, region
from client_sim.report.document import document, tester
from client_sim.report.reading import read_run
from gateway.core.messages import MAX_FRAME_MS, MIN_FRAME_MS, LagAnswer, Module, Rate

FAILED: Final = 1
MISUSED: Final = 2
INTERRUPTED: Final = 130
_TONES: Final = "learners speak in tones, which only a local cloud with --voice plain understands; against any other, give --speech FILE.wav"
_REMEDY: Final = (
    "The tester was late: use fewer phones, longer frames (--frame-ms 200), or a machine with more idle cores."
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of the command."""
    parser.add_argument("--url", required=True, type=address, help="of the gateway: wss://host/stage")
    parser.add_argument(
        "--token-command", required=True, metavar="CMD", help="prints a learner's token; {i} is the phone's number"
    )
    parser.add_argument("--phones", required=True, type=_count, metavar="N")
    parser.add_argument("--minutes", required=True, type=_positive, metavar="M")
    parser.add_argument("--out", required=True, type=Path, metavar="RUN.jsonl", help="every sample goes here")
    parser.add_argument("--ramp", type=_not_negative, default=10.0, metavar="S", help="phones come in over S (10)")
    where = parser.add_mutually_exclusive_group()
    where.add_argument(
        "--region",
        action="append",
        default=[],
        metavar="NAME",
        help=f"simulate a line from there; several, with commas, share the phones: {', '.join(REGIONS)}",
    )
    where.add_argument("--here", action="store_true", help="add nothing: the line is that of this machine (default)")
    parser.add_argument("--label", metavar="TEXT", help="what the report compares by (default: the regions)")
    parser.add_argument("--speech", type=Path, metavar="FILE.wav", help="what learners say; else tones for plain ears")
    parser.add_argument("--seed", type=int, default=1, help="of all chance in simulated lines (1)")
    parser.add_argument("--module", choices=get_args(Module), default="academic_speaking")
    parser.add_argument("--rate", type=int, choices=get_args(Rate), default=16000, help="microphone, Hz")
    parser.add_argument("--frame-ms", type=_frame, metavar="MS", help="length of a frame (follows the lag)")
    parser.add_argument("--barge-in", type=_share, default=0.2, metavar="SHARE", help="of phones that interrupt (0.2)")
    parser.add_argument(
        "--lag-answer",
        choices=(*get_args(LagAnswer), "none"),
        default="continue",
        help="to every lag question (continue)",
    )
    parser.add_argument(
        "--lag-threshold-ms",
        type=_positive,
        default=LAG_THRESHOLD_MS,
        metavar="MS",
        help="lag that deserves a prompt, for judging prompts (%(default)g)",
    )
    parser.add_argument("--drain", type=_not_negative, default=40.0, metavar="S", help="time for last assessments (40)")
    parser.add_argument("--processes", type=_count, default=os.cpu_count() or 1, metavar="N", help="at most (cores)")
    parser.add_argument("--ca", type=Path, metavar="PEM", help="certificates to trust")
    parser.add_argument("--plain", action="store_true", help="plain lines, also on a terminal")
    parser.add_argument("--json", action="store_true", help="print every figure as JSON in the end")


def run(options: argparse.Namespace) -> int:
    """Run the command; returns the exit status: 0 where something was measured, and the tester kept up with it."""
    try:
        settings = _settings(options)
        fail_early(options.out)
        corpus = b"".join(utterance.pcm for utterance in utterances_of(settings))
        file = RunFile(options.out)
    except (ValueError, OSError) as error:
        print(f"client_sim: {error}", file=sys.stderr)
        return MISUSED
    if options.speech is None:
        print(f"client_sim: {_TONES}", file=sys.stderr)
    console = Console(highlight=False, stderr=options.json)
    board = Board(
        console,
        plain=options.plain or not console.is_terminal,
        title=f"{settings.phones} phones, {settings.minutes:g} min, {settings.label}",
        lasts_s=settings.minutes * 60,
        regions=settings.regions,
    )
    load = _Load(settings, board, file)
    file.write(manifest(settings, corpus))
    try:
        why = asyncio.run(load.run())
    except (TokenError, CrewError) as error:
        load.end("failed")
        print(f"client_sim: {error}", file=sys.stderr)
        return FAILED
    except KeyboardInterrupt:
        load.end("interrupted")
        return INTERRUPTED
    finally:
        board.close()
        file.close()
    return _verdict(why, options)


def _verdict(why: str, options: argparse.Namespace) -> int:
    told = sys.stderr if options.json else sys.stdout
    print(f"written to {options.out}; look at it with: python -m client_sim report {options.out} --out DIR", file=told)
    run = read_run(options.out)
    if options.json:
        print(json.dumps(document([run]), indent=2))
    if why == "failed":
        print("client_sim: a process of phones ended by itself; what was measured before is kept", file=sys.stderr)
        return FAILED
    honest = tester(run)
    if not honest["valid"]:
        remedy = f". {_REMEDY}" if honest["late"] else ""
        print(f"client_sim: this run is not valid: {honest['why_not']}{remedy}", file=sys.stderr)
        return FAILED
    return INTERRUPTED if why == "interrupted" else 0


class _Load:
    """Joins the crew, the file and the board."""

    def __init__(self, settings: LoadSettings, board: Board, file: RunFile) -> None:
        self._settings = settings
        self._board = board
        self._file = file
        self._last_s = 0.0

    async def run(self) -> str:
        crew = Crew(self._settings, take=self._take, say=self._board.say)
        loop = asyncio.get_running_loop()

        def interrupt() -> None:
            if crew.stop.is_set():
                crew.cut.set()
            else:
                self._board.say("ending: conversations are being assessed; Ctrl-C once more to leave at once")
                crew.stop.set()

        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, interrupt)
        why = await crew.run(self._begun)
        self.end(why)
        return why

    def end(self, why: str) -> None:
        self._file.write({"kind": "end", "at_s": self._last_s, "why": why})
        self._file.flush()

    def _begun(self, began_at: float) -> None:
        self._file.write({"kind": "begun", "at_s": 0.0, "began_at": round(began_at, 3)})

    def _take(self, record: dict[str, Any]) -> None:
        self._last_s = max(self._last_s, record["at_s"])
        self._file.write(record)
        if record["kind"] == "second":
            self._file.flush()
        self._board.take(record)


def _settings(options: argparse.Namespace) -> LoadSettings:
    names = tuple(name.strip() for given in options.region for name in given.split(",") if name.strip())
    for name in names:
        region(name)
    regions = names or (HERE,)
    return LoadSettings(
        url=options.url,
        token_command=options.token_command,
        phones=options.phones,
        minutes=options.minutes,
        ramp_s=options.ramp,
        regions=regions,
        label=options.label or ", ".join(regions),
        out=str(options.out),
        seed=options.seed,
        speech=str(options.speech) if options.speech else None,
        module=options.module,
        rate=options.rate,
        frame_ms=options.frame_ms,
        barge_in=options.barge_in,
        on_lag=None if options.lag_answer == "none" else options.lag_answer,
        lag_threshold_ms=options.lag_threshold_ms,
        drain_s=options.drain,
        processes=options.processes,
        ca=str(options.ca) if options.ca else None,
    )


def _count(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be 1 or more")
    return number


def _positive(text: str) -> float:
    number = float(text)
    if not 0 < number < float("inf"):
        raise argparse.ArgumentTypeError("must be greater than 0")
    return number


def _not_negative(text: str) -> float:
    number = float(text)
    if not 0 <= number < float("inf"):
        raise argparse.ArgumentTypeError("must be 0 or more")
    return number


def _share(text: str) -> float:
    number = float(text)
    if not 0 <= number <= 1:
        raise argparse.ArgumentTypeError("a share lies between 0 and 1")
    return number


def _frame(text: str) -> int:
    number = int(text)
    if not MIN_FRAME_MS <= number <= MAX_FRAME_MS:
        raise argparse.ArgumentTypeError(f"a frame lasts {MIN_FRAME_MS} to {MAX_FRAME_MS} ms")
    return number
