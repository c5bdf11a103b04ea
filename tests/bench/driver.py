"""The child processes that hold conversations, and what they write down.

A child is told on standard input, a JSON line each: ``{"add": 9}`` begins nine more conversations, one after the
other, each when the one before is live, and is answered ``{"live": 10}``; ``{"set": NAME, "on": true}`` sets an option and
is answered ``{"set": NAME}``; ``{"write": true}`` writes the record and is answered ``{"written": true}``. The end of standard
input ends the child at once, conversations and all: how they end is measured by nobody.
"""

import asyncio
import json
import os
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Protocol

from tests.bench.figures import Moment

_LAG_EVERY_S: Final = 0.25
"""Seldom, since each look costs as much as a frame."""


@dataclass(slots=True)
class Notes:
    """What one conversation notes while it goes on.

    Attributes:
        frames: of each frame the moment planned on the audio clock, the moment of capture, and its end in bytes.
        arrived: when how much of Maya's speech had arrived.
        interruptions: when Maya was cut short; there should be none.
    """

    frames: list[tuple[int, int, int]] = field(default_factory=list)
    arrived: list[Moment] = field(default_factory=list)
    interruptions: list[int] = field(default_factory=list)

    def capture(self, planned_ns: int, size: int) -> int:
        """Note a frame captured now; return the place of its first byte."""
        place = self.frames[-1][2] if self.frames else 0
        self.frames.append((planned_ns, time.monotonic_ns(), place + size))
        return place

    def interrupt(self) -> None:
        """Note that Maya was cut short."""
        self.interruptions.append(time.monotonic_ns())

    def arrive(self, at_ns: int, size: int) -> None:
        """Note a piece of Maya's speech."""
        self.arrived.append((at_ns, size + (self.arrived[-1][1] if self.arrived else 0)))


class Conversations(Protocol):
    """One way to hold conversations."""

    async def add(self) -> Notes:
        """Begin one more; returns when it is live. It goes on until `stop`."""

    def set(self, name: str, *, on: bool) -> None:
        """Set an option of theirs, or take it away."""

    def check(self) -> None:
        """Raise what has ended a conversation, if anything has."""


async def drive(conversations: Conversations, record: Path) -> None:
    """Do what standard input says until it ends."""
    notes: list[Notes] = []
    lags: list[tuple[int, int]] = []
    watch = asyncio.create_task(_watch(lags))
    lines = await standard_input()
    while line := await lines.readline():
        command: dict[str, Any] = json.loads(line)
        if "add" in command:
            notes += [await conversations.add() for _ in range(command["add"])]
            answer({"live": len(notes)})
        elif "set" in command:
            conversations.set(command["set"], on=command["on"])
            answer({"set": command["set"]})
        else:
            conversations.check()
            _write(record, notes, lags)
            answer({"written": True})
    watch.cancel()
    os._exit(0)


async def _watch(lags: list[tuple[int, int]]) -> None:
    """Note how late the event loop wakes up."""
    loop = asyncio.get_running_loop()
    while True:
        due_s = loop.time() + _LAG_EVERY_S
        await asyncio.sleep(_LAG_EVERY_S)
        lags.append((time.monotonic_ns(), round((loop.time() - due_s) * 1e9)))


async def standard_input() -> asyncio.StreamReader:
    """Return standard input, to be read line by line."""
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    return reader


def answer(document: dict[str, Any]) -> None:
    """Write a JSON line on standard output."""
    sys.stdout.write(json.dumps(document) + "\n")
    sys.stdout.flush()


def _write(path: Path, notes: list[Notes], lags: list[tuple[int, int]]) -> None:
    conversations = [
        {"frames": one.frames, "arrived": one.arrived, "interruptions": one.interruptions} for one in notes
    ]
    path.write_text(json.dumps({"conversations": conversations, "lags": lags}))


@dataclass(frozen=True, slots=True)
class Record:
    """What a child wrote.

    Attributes:
        conversations: in the order in which they began.
        lags: when the event loop woke up, and how many ns late.
    """

    conversations: list[Notes]
    lags: list[tuple[int, int]]

    @classmethod
    def read(cls, path: Path) -> "Record":
        """Read it back."""
        document = json.loads(path.read_text())
        return cls(
            [
                Notes(
                    [(planned, at, position) for planned, at, position in one["frames"]],
                    [(at, position) for at, position in one["arrived"]],
                    one["interruptions"],
                )
                for one in document["conversations"]
            ],
            [(at, lag) for at, lag in document["lags"]],
        )
