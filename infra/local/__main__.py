"""The local cloud's commands: ``python -m infra.local up | token | demo``."""

import argparse
import asyncio
import os
import sys
from collections.abc import Mapping

from infra.local.arguments import parser, up_options
from infra.local.demo import DemoError, demo
from infra.local.environment import isolate
from infra.local.learners import LearnerError, token, unlock
from infra.local.options import Options
from infra.local.outside import OutsideError
from infra.local.signals import until_signal
from infra.local.state import State, StateUnreadableError
from infra.local.supervisor import PartFailedError
from infra.local.up import Hurry, describe, local_cloud
from infra.local.valkey import ValkeyMissingError

# What a shell makes of a program that Ctrl-C ended.
_INTERRUPTED = 130
_FAILURES = (PartFailedError, OutsideError, ValkeyMissingError, StateUnreadableError, LearnerError, DemoError, OSError)


async def _up(options: Options, environment: Mapping[str, str], hurry: Hurry) -> int:
    """Keep a local cloud until it is asked to stop or a part of it dies."""
    async with local_cloud(options, environment, hurry) as cloud:
        sys.stdout.write(describe(cloud, environment) + "\n")
        sys.stdout.flush()
        raise await cloud.supervisor.failure()


def _token(given: argparse.Namespace) -> int:
    """Print a token, and nothing else, on standard output."""
    state = State.read(given.state)
    if "aws" in state.pids:
        isolate(os.environ)
    text = token(state, given.learner, expires_s=given.expires_s)
    unlock(state, given.learner, given.unlock)
    sys.stdout.write(text + "\n")
    return 0


def main() -> int:
    """Run the command that was given; returns the exit code."""
    given = parser().parse_args()
    hurry = Hurry()
    try:
        match given.command:
            case "up":
                work = _up(up_options(given), os.environ, hurry)
                return asyncio.run(until_signal(work, hurry=hurry, with_parent=given.with_parent))
            case "demo":
                work = demo(given.speech.absolute(), given.voice, os.environ, hurry)
                return asyncio.run(until_signal(work, hurry=hurry, stopped=_INTERRUPTED))
            case _:
                return _token(given)
    except _FAILURES as error:
        sys.stderr.write(f"infra.local: {error}\n")
        return 1


if __name__ == "__main__":
    sys.exit(main())
