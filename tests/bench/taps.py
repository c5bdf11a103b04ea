"""What the Nova Sonic stand-in noted: when how much speech was heard and said on each stream."""

import json
from dataclasses import dataclass, field
from pathlib import Path

from tests.bench.figures import Moment


@dataclass(slots=True)
class TapStream:
    """One stream: moments at which its cumulative bytes were reached."""

    heard: list[Moment] = field(default_factory=list)
    said: list[Moment] = field(default_factory=list)


def read_tap(path: Path, offset: int = 0) -> list[TapStream]:
    """Read a tap from a byte offset on; streams that heard anything come in the order in which they were opened.

    The stand-in counts its streams: s1, s2 and so on. A line that is not whole yet is left out.
    """
    streams: dict[str, TapStream] = {}
    with path.open("rb") as file:
        file.seek(offset)
        for line in file:
            if not line.endswith(b"\n"):
                break
            at_ns, name, direction, position = json.loads(line)
            stream = streams.setdefault(name, TapStream())
            (stream.heard if direction == "heard" else stream.said).append((at_ns, position))
    return [streams[name] for name in sorted(streams, key=_number) if streams[name].heard]


def _number(name: str) -> int:
    return int(name.removeprefix("s"))
