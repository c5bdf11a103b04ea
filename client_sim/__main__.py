"""The command line: ``talk`` holds one conversation with a gateway that speaks maya.v1, ``load`` many, ``report`` shows them."""

import argparse
import asyncio
import json
import os
import signal
import sys
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Final, get_args

from rich.console import Console

from client_sim.keys import has_keys, keys
from client_sim.learner import Manner, TurnTaking
from client_sim.load import command as load
from client_sim.network import Connector, address, connector
from client_sim.outcome import Outcome
from client_sim.report import command as report
from client_sim.screen import LiveScreen, PlainScreen, Screen
from client_sim.speech import read_wav, utterances
from client_sim.talk import TalkOptions, hold_conversation
from gateway.core.messages import LagAnswer, Module, Rate

TOKEN_VARIABLE: Final = "MAYA_TOKEN"  # noqa: S105 - the name of a variable
_FAILED: Final = 1
_MISUSED: Final = 2
_INTERRUPTED: Final = 130
_NO_ANSWER: Final = "none"
_CHOICES: Final[dict[str, LagAnswer]] = {"c": "continue", "s": "skip"}
_PING_EVERY_MS: Final = 2_000
"""The lag on the screen is this fresh."""


def main(arguments: list[str] | None = None) -> int:
    """Run the command; returns the exit status: 0 only if the test was held to its end and assessed."""
    options = _parser().parse_args(arguments)
    run: Callable[[argparse.Namespace], int] = options.run
    return run(options)


def _run_talk(options: argparse.Namespace) -> int:
    try:
        talk = _talk_options(options)
        connect = connector(options.ca)
    except (ValueError, OSError) as error:
        print(f"client_sim: {error}", file=sys.stderr)
        return _MISUSED
    console = Console(highlight=False)
    live = console.is_terminal and not options.plain
    person = live and options.lag_answer is None and has_keys()
    if options.lag_answer is None and not person:
        talk = replace(talk, on_lag="continue")
    screen: Screen = LiveScreen(console, asks=person) if live else PlainScreen(console)
    try:
        outcome = asyncio.run(_talk(talk, screen, connect, person=person))
    except (KeyboardInterrupt, asyncio.CancelledError):
        return _INTERRUPTED
    finally:
        screen.close()
    screen.finish(outcome)
    if options.json is not None:
        _write(options.json, outcome)
    if outcome.why_not is not None:
        print(f"client_sim: {outcome.why_not}", file=sys.stderr)
    return 0 if outcome.ok else _FAILED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m client_sim", description="The app's side of maya.v1, simulated.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    talk = commands.add_parser("talk", help="hold one conversation with a gateway")
    talk.add_argument("--url", required=True, type=address, help="of the gateway: wss://host/stage")
    talk.add_argument(
        "--token",
        default=os.environ.get(TOKEN_VARIABLE),
        help=f"of the learner; else taken from the variable {TOKEN_VARIABLE}, which other users cannot see",
    )
    talk.add_argument("--speech", required=True, type=Path, metavar="FILE.wav", help="what the learner says")
    talk.add_argument("--json", type=Path, metavar="OUT", help="write the outcome here, for programs")
    talk.add_argument("--module", choices=get_args(Module), default="academic_speaking")
    talk.add_argument("--voice", default="amy", help="Maya's voice (default: %(default)s)")
    talk.add_argument("--language", default="en-GB", help="default: %(default)s")
    talk.add_argument("--frame-ms", type=int, metavar="MS", help="length of a frame (default: it follows the lag)")
    talk.add_argument("--rate", type=int, choices=get_args(Rate), default=16000, help="microphone, Hz")
    talk.add_argument("--out-rate", type=int, choices=get_args(Rate), default=24000, help="speaker, Hz")
    talk.add_argument("--region", help="where the learner is, such as ap-southeast-1")
    talk.add_argument("--turn-taking", choices=get_args(TurnTaking), default="auto", help="interrupt shows barge-in")
    talk.add_argument(
        "--lag-answer",
        choices=(*get_args(LagAnswer), _NO_ANSWER),
        help="answer to every lag question (default: on a terminal the keys c and s, else continue)",
    )
    talk.add_argument("--ca", type=Path, metavar="PEM", help="certificates to trust, for a gateway on this machine")
    talk.add_argument("--plain", action="store_true", help="plain lines, also on a terminal")
    talk.set_defaults(run=_run_talk)
    many = commands.add_parser("load", help="hold many conversations at once, and measure them")
    load.add_arguments(many)
    many.set_defaults(run=load.run)
    shown = commands.add_parser("report", help="a page and a document of what was measured")
    report.add_arguments(shown)
    shown.set_defaults(run=report.run)
    return parser


def _talk_options(options: argparse.Namespace) -> TalkOptions:
    if not options.token:
        raise ValueError(f"a token is needed: --token or the variable {TOKEN_VARIABLE}")
    if options.json is not None and not options.json.absolute().parent.is_dir():
        raise ValueError(f"{options.json}: there is no such directory")
    speech = read_wav(options.speech, options.rate)
    return TalkOptions(
        url=options.url,
        token=options.token,
        utterances=utterances(speech, options.rate),
        module=options.module,
        voice=options.voice,
        language=options.language,
        rate=options.rate,
        out_rate=options.out_rate,
        frame_ms=options.frame_ms,
        region=options.region,
        manner=Manner(turn_taking=options.turn_taking),
        on_lag=None if options.lag_answer in (None, _NO_ANSWER) else options.lag_answer,
        ping_every_ms=_PING_EVERY_MS,
    )


async def _talk(options: TalkOptions, screen: Screen, connect: Connector, *, person: bool) -> Outcome:
    """Hold the conversation; the first Ctrl-C ends the test and waits for the assessment, the second leaves at once."""
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    choices: asyncio.Queue[LagAnswer] = asyncio.Queue()
    conversation = asyncio.create_task(
        hold_conversation(options, observe=screen.see, connect=connect, stop=stop, choices=choices)
    )

    def interrupt() -> None:
        if stop.is_set():
            conversation.cancel()
        else:
            screen.say("-- ending the test; once more to leave without the assessment")
            stop.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, interrupt)

    def press(key: str) -> None:
        if key.lower() in _CHOICES:
            choices.put_nowait(_CHOICES[key.lower()])

    with ExitStack() as stack:
        if person:
            stack.enter_context(keys(press))
        return await conversation


def _write(path: Path, outcome: Outcome) -> None:
    """Write the document whole or not at all."""
    text = json.dumps(outcome.as_document(), indent=2, ensure_ascii=False) + "\n"
    unfinished = path.with_name(f".{path.name}.unfinished")
    unfinished.write_text(text, encoding="utf-8")
    unfinished.replace(path)


if __name__ == "__main__":
    sys.exit(main())
