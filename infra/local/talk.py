"""One conversation, held by the phone simulator as a process of its own in this terminal."""

import asyncio
import contextlib
import sys
from collections.abc import Mapping
from pathlib import Path

from infra.local.deployment import ROOT
from infra.local.tether import tethered

_LEAVE_S = 5.0


async def talk(
    url: str, speech: Path, module: str, environment: Mapping[str, str], *, longest_s: float, plain: bool = False
) -> str | None:
    """Run the phone simulator until its conversation is over; return why it failed, None where it did not.

    Args:
        url: of the gateway.
        speech: what the learner says, a recording.
        module: what is practised.
        environment: of the process; the token is in it, which other users of this machine cannot see.
        longest_s: it fails when it takes longer.
        plain: show it line by line.
    """
    command = [
        *(sys.executable, "-m", "client_sim", "talk"),
        *("--url", url, "--speech", str(speech), "--module", module),
        *(["--plain"] if plain else []),
    ]
    process = await asyncio.create_subprocess_exec(*tethered(command), env=environment, cwd=ROOT)
    try:
        code = await asyncio.wait_for(process.wait(), longest_s)
    except TimeoutError:
        return f"the conversation was not over after {longest_s:g} s"
    finally:
        if process.returncode is None:
            await _end(process)
    return f"the conversation failed (client_sim ended with {code})" if code else None


async def _end(process: asyncio.subprocess.Process) -> None:
    """End the phone simulator, which a Ctrl-C in this terminal may have reached as well."""
    with contextlib.suppress(ProcessLookupError):
        process.terminate()
    try:
        await asyncio.wait_for(process.wait(), _LEAVE_S)
    except TimeoutError:
        process.kill()
        await process.wait()
