"""Ten conversations on a cloud whose parts are killed and frozen under them: held once, looked at by many tests.

Redis and Nova Sonic's stand-in are killed and stopped for all of them; relays and a phone's connections for some.
"""

import asyncio
import functools
import os
import signal
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

from tests.e2e.callers import Caller, Habits
from tests.e2e.clouds import eventually
from tests.e2e.relays import Relays
from tests.e2e.stored import stored_items
from tests.e2e.talks import Group, Watched, hold_group

SETTINGS: Final[Mapping[str, str]] = {
    # A relay that dies is followed by another within 8 s; on a slow machine Nova Sonic's stand-in may take longer to come back.
    "MAYA_RESUME_WITHIN_S": "20",
    "MAYA_RETRIES": "10",
}

KILLED: Final = ("killed in part 1", "killed in part 2", "killed in part 3", "killed in a drop")
FROZEN: Final = ("frozen in part 1", "frozen in part 2", "frozen in part 3")
LEFT: Final = "left"
WHOLE: Final = ("steady", "cut off", *KILLED, *FROZEN)
"""Conversations that go on to their end."""

RELAYS: Final = len(WHOLE) + len(KILLED) + len(FROZEN) + 1
"""One for each conversation, and one for each that was killed or frozen while somebody was there."""

_ANSWER: Final = (
    "the place where i grew up is a small town by the sea, and my grandmother still lives there in a white house."
)
"""Long, so that there is time for something to break in every part."""

_FRAME_MS: Final = 200
_FROZEN_S: Final = 9.0
"""Longer than a lease lasts, so that there is another relay when this one wakes."""

_STOPPED_S: Final = 2.0
_SAVED_WITHIN_S: Final = 60.0
_SETTLED_S: Final = 3.0
"""Relays write anew what Redis has lost as soon as they are connected again, and once more when they renew their lease."""


def hold_shaken(watched: Watched) -> None:
    """Hold all ten."""
    asyncio.run(_hold_shaken(watched))


async def _hold_shaken(watched: Watched) -> None:
    stage = _Stage(watched)

    def lost(name: str, part: int, moment: str) -> dict[str, Callable[[Caller], Awaitable[None]]]:
        how = stage.is_frozen if name in FROZEN else stage.is_killed
        return {name: functools.partial(how, part=part, moment=moment)}

    # Redis dies when most have begun and no relay is dead: who loses both has lost the session, which is nowhere else.
    courses: dict[str, Callable[[Caller], Awaitable[None]]] = {
        **lost(FROZEN[2], 3, "maya"),
        **lost(KILLED[2], 3, "maya"),
        **lost(FROZEN[1], 2, "learner"),
        **lost(KILLED[1], 2, "learner"),
        KILLED[3]: stage.is_killed_in_a_drop,
        LEFT: stage.leaves,
        "cut off": stage.is_cut_off,
        "steady": stage.stands_all,
        **lost(FROZEN[0], 1, "maya"),
        **lost(KILLED[0], 1, "maya"),
    }
    group: Group = {}
    for name, course in courses.items():
        caller = Caller(watched.cloud, name.replace(" ", "-"), habits=Habits(answers=(_ANSWER,), frame_ms=_FRAME_MS))
        group[name] = (caller, course)
    await hold_group(watched, group)


class _Stage:
    """What happens to each conversation."""

    def __init__(self, watched: Watched) -> None:
        self._watched = watched
        self._relays = Relays(watched.cloud)
        self._redis_is_back = asyncio.Event()

    async def is_killed(self, caller: Caller, *, part: int, moment: str) -> None:
        """The relay dies."""
        async with caller.calling():
            os.kill(await self._doomed(caller, part, moment), signal.SIGKILL)
            await caller.ends()

    async def is_killed_in_a_drop(self, caller: Caller) -> None:
        """The relay dies while the phone has no network."""
        async with caller.calling():
            pid = await self._doomed(caller, 2, "maya")
            caller.line.cut(for_good=True)
            os.kill(pid, signal.SIGKILL)
            caller.line.come_back()
            await caller.ends()

    async def is_frozen(self, caller: Caller, *, part: int, moment: str) -> None:
        """The relay wakes while another one holds the conversation."""
        async with caller.calling():
            pid = await self._doomed(caller, part, moment)
            os.kill(pid, signal.SIGSTOP)
            try:
                await asyncio.sleep(_FROZEN_S)
            finally:
                os.kill(pid, signal.SIGCONT)
            await caller.ends()

    async def is_cut_off(self, caller: Caller) -> None:
        """The phone's TCP connection is reset in the middle of a frame, in each part."""
        async with caller.calling():
            for part, moment in ((1, "learner"), (2, "maya"), (3, "learner")):
                await _come(caller, part, moment)
                await caller.line.reset_in_frame()
            await caller.ends()

    async def leaves(self, caller: Caller) -> None:
        """The relay dies, and nobody comes back: what was finished until then is saved all the same."""
        async with caller.calling():
            pid = await self._doomed(caller, 2, "learner")
            caller.line.cut(for_good=True)
            os.kill(pid, signal.SIGKILL)
            look = functools.partial(stored_items, self._watched.cloud, caller.learner)
            await asyncio.to_thread(eventually, look, within_s=_SAVED_WITHIN_S)

    async def stands_all(self, caller: Caller) -> None:
        """Redis and Nova Sonic are killed and stopped, one after the other."""
        cloud, nova = self._watched.cloud, self._watched.nova
        async with caller.calling():
            await _come(caller, 1, "maya")
            before = cloud.state.pids["valkey"]
            cloud.kill("valkey")
            await asyncio.to_thread(eventually, lambda: cloud.state.pids["valkey"] != before)
            await asyncio.sleep(_SETTLED_S)
            self._redis_is_back.set()
            await _come(caller, 2, "maya")
            with cloud.without("valkey"):
                await asyncio.sleep(_STOPPED_S)
            await _come(caller, 2, "learner")
            await asyncio.to_thread(nova.die)
            await asyncio.to_thread(eventually, lambda: nova.answers, within_s=30.0)
            await _come(caller, 3, "maya")
            with cloud.without("nova"):
                await asyncio.sleep(_STOPPED_S)
            await caller.ends()

    async def _doomed(self, caller: Caller, part: int, moment: str) -> int:
        """Wait for a moment in which a relay may die; returns the process id of this caller's."""
        await _come(caller, 1, "maya")
        pid = await asyncio.to_thread(self._relays.pid_of, caller.learner)
        await self._redis_is_back.wait()
        await _come(caller, part, moment)
        return pid


async def _come(caller: Caller, part: int, moment: str) -> None:
    """Wait until somebody sounds in a part, or it is late for it."""
    await caller.until(
        lambda: (
            caller.over
            or caller.part > part
            or (caller.part == part and (caller.hears_maya if moment == "maya" else caller.speaks))
        ),
        f"{moment} in part {part}",
    )
    assert caller.over is None, f"over before part {part}: {caller}"
