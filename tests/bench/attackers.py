"""The hostile clients of the bench, in a process of their own: ``python -m tests.bench.attackers``.

They give way to everything else on the machine (nice 19): what is measured is what the gateway does about them, not that two cores
are shared. A JSON line each on standard input: ``{"begin": ["flood"]}`` has clients of these kinds begin and is answered when
each has had a connection; ``{"end": true}`` ends them and is answered with what became of each. The end of standard input
ends the process.
"""

import argparse
import asyncio
import contextlib
import json
import os
import uuid
from pathlib import Path
from typing import Any, Final

from tests.bench.driver import answer, standard_input
from tests.hostile import KINDS, Hostile

_NICE: Final = 19
_BEGUN_WITHIN_S: Final = 10.0


class Crew:
    """Clients that come and go.

    Args:
        url: of the gateway.
        tokens: one for each kind.
        theirs: a session of somebody else's.
    """

    def __init__(self, url: str, tokens: dict[str, str], theirs: str) -> None:
        self._url = url
        self._tokens = tokens
        self._theirs = theirs
        self._running: dict[str, tuple[Hostile, asyncio.Task[None]]] = {}

    async def begin(self, kinds: list[str]) -> None:
        """Have one of each kind begin."""
        for kind in KINDS:
            if kind.kind in kinds:
                session_id = str(uuid.uuid4())
                client = kind(self._url, self._tokens[kind.kind], session_id=session_id, theirs=self._theirs)
                self._running[kind.kind] = client, asyncio.create_task(client.run())
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_BEGUN_WITHIN_S):
                await asyncio.gather(*(client.began.wait() for client, _ in self._running.values()))

    async def end(self) -> dict[str, dict[str, int]]:
        """End all of them; return what became of each."""
        seen = {}
        for name, (client, task) in self._running.items():
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            seen[name] = dict(client.seen)
        self._running.clear()
        return seen


async def drive(crew: Crew) -> None:
    """Do what standard input says until it ends."""
    lines = await standard_input()
    while line := await lines.readline():
        command: dict[str, Any] = json.loads(line)
        if "begin" in command:
            await crew.begin(command["begin"])
            answer({"begun": command["begin"]})
        else:
            answer({"seen": await crew.end()})
    # Whatever it holds ends with it.
    os._exit(0)


def main() -> None:
    """Run with this process's command line."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--url", required=True)
    parser.add_argument("--tokens", type=Path, required=True)
    parser.add_argument("--theirs", required=True)
    options = parser.parse_args()
    os.nice(_NICE)
    tokens = json.loads(options.tokens.read_text())
    asyncio.run(drive(Crew(options.url, tokens, options.theirs)))


if __name__ == "__main__":
    main()
