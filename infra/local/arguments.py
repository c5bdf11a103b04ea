"""The command line of ``python -m infra.local``."""

import argparse
import dataclasses
import json
from pathlib import Path

from infra.local.cloud_config import ApiLimits
from infra.local.deployment import Disorder
from infra.local.options import Options, Ports
from infra.local.up import SPEECH

_PORTS = {
    "websocket": "phones",
    "connections": "API Gateway's @connections",
    "lambda-api": "Lambda's API",
    "redis": "Redis",
    "aws": "DynamoDB and SQS",
    "bedrock": "Amazon Bedrock",
    "nova-control": "the control of Nova's stand-in",
    "issuer": "the token issuer's keys",
}

_VOICES = (
    "how Maya hears and speaks: English (human), or tones, hearing only how long somebody spoke (plain); auto takes human "
    "where it is installed"
)


def parser() -> argparse.ArgumentParser:
    """Return the parser; ``command`` says which command was given."""
    top = argparse.ArgumentParser(prog="python -m infra.local", description="The cloud on one machine.")
    commands = top.add_subparsers(dest="command", required=True)
    _add_up(commands.add_parser("up", help="start everything and keep it until Ctrl-C"))
    _add_token(commands.add_parser("token", help="print a token for a learner"))
    _add_demo(commands.add_parser("demo", help="one learner holds a short speaking test, live"))
    return top


def up_options(given: argparse.Namespace) -> Options:
    """Return what the ``up`` command was asked for."""
    return Options(
        state=given.state,
        ports=Ports(**{name.replace("-", "_"): getattr(given, f"{name.replace('-', '_')}_port") for name in _PORTS}),
        voice=given.voice,
        timing=given.timing,
        record=given.record,
        plan=given.plan,
        lines=given.lines,
        disorder=Disorder(
            delivery_jitter_ms=given.delivery_jitter_ms, post_jitter_ms=given.post_jitter_ms, seed=given.seed
        ),
        redis_restarts=given.redis_restarts,
        nova_restarts=given.nova_restarts,
        lazy=given.lazy,
        nova=tuple(given.nova),
        limits=dict(given.limit),
    )


def _add_up(up: argparse.ArgumentParser) -> None:
    up.add_argument("--state", type=Path, metavar="FILE", help="appears, as JSON, when all is ready; gone afterwards")
    for name, what in _PORTS.items():
        up.add_argument(
            f"--{name}-port", type=_port, default=0, metavar="PORT", help=f"{what}; a free port unless given"
        )
    up.add_argument("--voice", choices=("auto", "human", "plain"), default="auto", help=_VOICES)
    up.add_argument(
        "--timing",
        choices=("service", "instant"),
        default="service",
        help="when Maya answers: after the time that the service takes (default), or at once",
    )
    up.add_argument(
        "--plan",
        choices=("full", "demo", "tiny"),
        default="",
        help="the exam's length: some 13 minutes (default), one and a half, or less",
    )
    up.add_argument(
        "--lines",
        type=_positive,
        default=0,
        metavar="N",
        help="conversations at once (18); Nova's stand-in takes as many streams as they need",
    )
    up.add_argument("--with-parent", action="store_true", help="stop when the process that started this one is gone")
    tests = up.add_argument_group("for tests")
    tests.add_argument("--record", action="store_true", help="Maya keeps in memory what she heard and said")
    tests.add_argument(
        "--delivery-jitter-ms", type=float, default=0.0, metavar="MS", help="shuffle the phone's messages"
    )
    tests.add_argument("--post-jitter-ms", type=float, default=0.0, metavar="MS", help="shuffle what is sent to phones")
    tests.add_argument("--seed", type=int, default=0, metavar="N", help="of the shuffling")
    tests.add_argument("--redis-restarts", type=int, default=0, metavar="N", help="start Valkey again when it dies")
    tests.add_argument(
        "--nova-restarts", type=int, default=0, metavar="N", help="start Nova's stand-in again when it dies"
    )
    tests.add_argument("--lazy", action="store_true", help="import each function at its first use, for a quick start")
    tests.add_argument("--nova", action="append", default=[], metavar="NAME=VALUE", help="a setting of Nova's stand-in")
    tests.add_argument(
        "--limit", action="append", default=[], type=_limit, metavar="NAME=NUMBER", help="a limit of API Gateway"
    )


def _add_token(token: argparse.ArgumentParser) -> None:
    token.add_argument("--state", type=Path, required=True, metavar="FILE", help="the running cloud's state file")
    token.add_argument("--learner", required=True, metavar="ID")
    token.add_argument(
        "--unlock",
        action="extend",
        nargs="+",
        default=[],
        metavar="MODULE",
        help="modules to unlock: academic_speaking, general_speaking",
    )
    token.add_argument("--expires-s", type=float, default=3600.0, metavar="N", help="seconds it is valid (3600)")


def _add_demo(demo: argparse.ArgumentParser) -> None:
    demo.add_argument("--speech", type=Path, default=SPEECH, metavar="FILE.wav", help="what the learner says")
    demo.add_argument("--voice", choices=("auto", "human", "plain"), default="auto", help=_VOICES)


def _port(text: str) -> int:
    number = int(text)
    if not 0 <= number <= 65535:
        raise argparse.ArgumentTypeError("a port is a number from 0 to 65535")
    return number


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be 1 or more")
    return number


def _limit(text: str) -> tuple[str, int | float]:
    name, _, value = text.partition("=")
    if name not in {field.name for field in dataclasses.fields(ApiLimits)}:
        raise argparse.ArgumentTypeError(f"API Gateway has no limit {name!r}")
    number = json.loads(value or "null")
    if not isinstance(number, int | float):
        raise argparse.ArgumentTypeError(f"{name} needs a number")
    return name, number
