"""Phones that talk with the gateway: ``python -m tests.bench.phones``. The simulator's core and shell, one process for all."""

import argparse
import asyncio
import json
import sys
import uuid
from collections.abc import Callable, Hashable
from pathlib import Path
from typing import Final

from client_sim.clock import RealClock
from client_sim.events import Action, Over, Show, StopAsked
from client_sim.network import Connector, connector
from client_sim.phone import Phone
from client_sim.phone_settings import PhoneSettings
from client_sim.playback import Playback
from client_sim.shell import Line, Shell
from gateway.core.messages import Interrupted, Ready
from tests.bench.driver import Notes, drive
from tests.bench.speech import Speech, frame_bytes

_LIVE_WITHIN_S: Final = 30.0


class NotedPlayback(Playback):
    """A speaker that notes when what arrives."""

    def __init__(self, notes: Notes) -> None:
        super().__init__(lead_ms=60)
        self._notes = notes

    def add(self, turn: Hashable, rate: int, pcm: bytes, now_ms: float) -> bool:
        """Note a piece and play it."""
        self._notes.arrive(round(now_ms * 1e6), len(pcm))
        return super().add(turn, rate, pcm, now_ms)


class PhoneFailedError(Exception):
    """A phone's conversation has ended; the text says how."""


class Caller:
    """One phone."""

    def __init__(self, url: str, token: str, connect: Connector, speech: Speech, frame_ms: int) -> None:
        self.notes = Notes()
        self._speech = speech
        self._size = frame_bytes(frame_ms)
        self._live = asyncio.Event()
        phone = Phone(PhoneSettings(session_id=str(uuid.uuid4()), client="bench"), NotedPlayback(self.notes))
        self._shell = Shell(
            phone,
            Line(url=url, token=token, connector=connect),
            clock=RealClock(),
            frame_ms=frame_ms,
            microphone=self._frame,
            observe=self._observe,
        )
        self._task: asyncio.Task[Over] | None = None

    async def begin(self) -> None:
        """Call, and return when Maya's line is open."""
        self._task = asyncio.create_task(self._shell.run())
        live = asyncio.create_task(self._live.wait())
        await asyncio.wait([self._task, live], timeout=_LIVE_WITHIN_S, return_when=asyncio.FIRST_COMPLETED)
        live.cancel()
        self.check()
        if not self._live.is_set():
            raise PhoneFailedError(f"not live within {_LIVE_WITHIN_S:g} s")

    def stop(self) -> None:
        """End the test."""
        self._shell.tell(StopAsked())

    def check(self) -> None:
        """Raise what ended the conversation, if anything did."""
        if self._task is not None and self._task.done():
            raise PhoneFailedError(str(self._task.result()))

    def _frame(self, planned_ms: float) -> bytes:
        return self._speech.frame(self.notes.capture(round(planned_ms * 1e6), self._size), self._size)

    def _observe(self, action: Action, _now_ms: float) -> None:
        if isinstance(action, Show):
            if isinstance(action.message, Ready):
                self._live.set()
            elif isinstance(action.message, Interrupted):
                self.notes.interrupt()


class Callers:
    """All phones of the process.

    Args:
        url: of the gateway.
        tokens: of as many learners as there will be phones.
        frame_ms: length of a frame.
    """

    def __init__(self, url: str, tokens: list[str], frame_ms: int) -> None:
        self._url = url
        self._tokens = tokens
        self._frame_ms = frame_ms
        self._connect = connector()
        self._speech = Speech.scripted()
        self._callers: list[Caller] = []

    async def add(self) -> Notes:
        """Begin one more."""
        token = self._tokens[len(self._callers)]
        caller = Caller(self._url, token, self._connect, self._speech, self._frame_ms)
        await caller.begin()
        self._callers.append(caller)
        return caller.notes

    def set(self, name: str, *, on: bool) -> None:
        """Have every learner end the test: ``stop``; there is no going back."""
        if name != "stop" or not on:
            raise NotImplementedError(name)
        for caller in self._callers:
            caller.stop()

    def check(self) -> None:
        """Raise what has ended a conversation, if anything has."""
        for caller in self._callers:
            caller.check()


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """Return uvloop's where there is one: the phones are not what is measured."""
    if sys.platform == "win32":
        return None
    import uvloop  # noqa: PLC0415 - not on Windows

    return uvloop.new_event_loop


def main() -> None:
    """Run with this process's command line."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--url", required=True)
    parser.add_argument("--tokens", type=Path, required=True)
    parser.add_argument("--frame-ms", type=int, required=True)
    parser.add_argument("--record", type=Path, required=True)
    options = parser.parse_args()

    async def run() -> None:
        tokens = json.loads(options.tokens.read_text())
        await drive(Callers(options.url, tokens, options.frame_ms), options.record)

    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        runner.run(run())


if __name__ == "__main__":
    main()
