"""One conversation with faults in it: when something breaks, and who knows how to break it."""

import asyncio
import json
import os
import signal
import urllib.request
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Literal
from urllib.parse import urlsplit

from client_sim.clock import RealClock
from tests.e2e.callers import Caller
from tests.e2e.clouds import Cloud, eventually
from tests.e2e.maya import Nova
from tests.e2e.relays import Relays
from tests.faults.account import ends_talk
from tests.faults.tables import Tables

type Moment = Literal["maya", "learner", "pause"]
"""Maya sounds, the learner speaks, or neither after Maya has been heard."""

MOMENTS: tuple[tuple[int, Moment], ...] = ((1, "maya"), (2, "learner"), (3, "pause"))
"""In each part something breaks once."""

_FOUND_WITHIN_S = 30.0
_AFTER_MS = 250.0
"""So long after a moment began, in the middle of what is going on."""


class Missed(Exception):  # noqa: N818 - what happened, not a fault of the program
    """The conversation was over before something could be broken in it."""


class TooLate(Missed):
    """There is nothing left of the talk that could be broken."""


@dataclass(slots=True)
class Scene:
    """One conversation, the cloud it is held on, and everything that can be broken.

    Attributes:
        strikes_ms: when something was broken, by the phone's clock.
        pids: the processes of relays that were killed or frozen.
    """

    cloud: Cloud
    nova: Nova
    relays: Relays
    tables: Tables
    queue: Tables
    caller: Caller
    strikes_ms: list[float] = field(default_factory=list)
    pids: list[int] = field(default_factory=list)

    def strike(self) -> None:
        """Note that something breaks now."""
        self.strikes_ms.append(RealClock().now_ms())

    async def at(self, part: int, moment: Moment) -> None:
        """Wait until a moment of a part has come.

        Raises:
            Missed: it never will.
        """
        caller = self.caller
        began_ms: list[float] = []

        def come() -> bool:
            now_ms = RealClock().now_ms()
            if caller.over is not None:
                return True
            if caller.part < part:
                return False
            if not began_ms and caller.hears_maya:
                began_ms.append(now_ms)
            going_on = {
                "maya": caller.hears_maya,
                "learner": caller.speaks,
                "pause": not (caller.hears_maya or caller.speaks),
            }[moment]
            return bool(began_ms) and going_on and now_ms >= began_ms[0] + _AFTER_MS

        await caller.until(come, f"{moment} in part {part}")
        if caller.over is not None:
            raise Missed(f"over before part {part}: {caller}")

    @property
    def talk_is_over(self) -> bool:
        """Whether what was said is being assessed, or has been."""
        return any(ends_talk(message) for message, _ in self.caller.shown)

    async def in_each_part(self, break_it: Callable[[], Awaitable[None]]) -> None:
        """Break something in each part, then hold the conversation to its end."""
        async with self.caller.calling():
            for part, moment in MOMENTS:
                await self.at(part, moment)
                self.strike()
                try:
                    await break_it()
                except TooLate:
                    self.strikes_ms.pop()
            await self.caller.ends()

    async def relay_pid(self) -> int:
        """Process id of the conversation's relay."""
        return await asyncio.to_thread(self.relays.pid_of, self.caller.learner)

    # Maya

    async def lose_stream(self, fault: str, **fields: Any) -> None:
        """Have a fault happen to the stream that hears the learner."""
        await asyncio.to_thread(self._order_for_stream, fault, fields)

    async def order_openings(self, fault: str, **fields: Any) -> None:
        """Have a fault happen to what the conversation's relay opens next."""
        pid = await self.relay_pid()
        await asyncio.to_thread(lambda: self.nova.order(fault, client_pid=pid, **fields))

    def _order_for_stream(self, fault: str, fields: dict[str, Any]) -> None:
        found: list[str] = []

        def ordered() -> bool:
            stream = self.nova.newest_stream_of(self.caller)
            if stream is not None:
                try:
                    self.nova.order(fault, scope=stream, **fields)
                except urllib.error.HTTPError:
                    return False  # closed meanwhile
                found.append(stream)
            return bool(found) or self.talk_is_over

        eventually(ordered, within_s=_FOUND_WITHIN_S)
        if not found:
            raise TooLate

    # The phone's way

    async def refuse_posts(self, status: int, count: int) -> None:
        """Have the next posts to the phone fail."""
        document = {"who": self.caller.learner, "status": status, "count": count}
        parts = urlsplit(self.cloud.state.connections_url)
        url = f"{parts.scheme}://{parts.netloc}/_local/post-faults"
        await asyncio.to_thread(_tell, url, document)

    # The relay

    async def kill_relay(self) -> None:
        """Kill the conversation's relay."""
        self.pids.append(await asyncio.to_thread(self.relays.kill, self.caller.learner))

    async def freeze_relay(self, for_s: float) -> None:
        """Stop the conversation's relay for a while; it wakes while the conversation goes on."""
        pid = await self.relay_pid()
        self.pids.append(pid)
        os.kill(pid, signal.SIGSTOP)
        try:
            await asyncio.sleep(for_s)
        finally:
            os.kill(pid, signal.SIGCONT)


def _tell(url: str, document: Any) -> None:
    request = urllib.request.Request(url, json.dumps(document).encode())  # noqa: S310 - the local cloud's own address
    with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310 - as above
        answer.read()
