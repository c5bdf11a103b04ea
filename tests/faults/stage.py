"""Local clouds, and on them one conversation after the other for each row, as many side by side as the machine carries."""

import asyncio
import contextlib
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tests.e2e.callers import Caller, Habits
from tests.e2e.clouds import QUICK, Cloud, eventually, launch, services
from tests.e2e.maya import Nova
from tests.e2e.relays import Relays
from tests.e2e.stored import stored_items
from tests.e2e.talks import MAYA
from tests.faults.account import Account, Row, account
from tests.faults.course import MOMENTS, Missed, Scene
from tests.faults.rows import CALM, FAULTS, Fault, Where
from tests.faults.selftest import blind_counters
from tests.faults.silence import natural_ms
from tests.faults.tables import Tables

AT_ONCE: Final = 12
TOGETHER: Final = 3
"""Conversations that have a part of their cloud broken together."""

_CALM_ONES: Final = 3
_FRAME_MS: Final = 200
"""Long frames cost the machine half as much as usual ones."""

_HELD_WITHIN_S: Final = 120.0
"""No conversation of half a minute takes this long, whatever happens three times to it."""

_SAVED_WITHIN_S: Final = 30.0
_THREADS: Final = 64
_LINES: Final = 40
_SETTINGS: Final[Mapping[str, str]] = {
    # Learners who speak in tones need a quarter of the time of people.
    "MAYA_ASSESS_FROM_S": "0.25",
    # Longer than the lines of phones are slow; a phone that misses `bye` comes back, and has a relay started.
    "MAYA_PART_WITH_MS": "600",
    # How long a relay waits for a phone that stays away; nobody else notices.
    "MAYA_RESUME_WITHIN_S": "20",
}
_CLOUDS: Final[Mapping[Where, Sequence[str]]] = {
    "one": (),
    "redis": ("--redis-restarts", "100"),
    "nova": ("--nova-restarts", "100"),
}


@dataclass(slots=True)
class Held:
    """All that was held.

    Attributes:
        rows: of the table, in order.
        accounts: what each conversation came to.
        complaints: what is not as it should be and belongs to no row.
        took_s: how long it all took.
    """

    rows: list[Row] = field(default_factory=list)
    accounts: list[Account] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)
    took_s: float = 0.0


def hold_all(only: str = "", *, tell: Callable[[str], None] = lambda _line: None) -> Held:
    """Hold the conversations of all rows, or of those whose names have `only` in them; `tell` hears of each that is over."""
    began_s = time.monotonic()
    faults = [fault for fault in FAULTS if only.lower() in fault.name.lower()]
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        houses = {
            where: stack.enter_context(_house(Path(name) / where, where, tell))
            for where in _CLOUDS
            if where == "one" or any(fault.where == where for fault in faults)
        }
        held = asyncio.run(_hold(houses, faults))
    held.took_s = time.monotonic() - began_s
    return held


@dataclass(slots=True)
class _House:
    """A cloud and what is needed to break it."""

    cloud: Cloud
    nova: Nova
    relays: Relays
    tables: Tables
    queue: Tables
    tell: Callable[[str], None]
    held: list[Account] = field(default_factory=list)

    async def scene(self, fault: Fault) -> Scene:
        """Have a learner with a phone, ready to call."""
        name = "".join(letter if letter.isalnum() else "-" for letter in fault.name)
        habits = Habits(frame_ms=_FRAME_MS)
        caller = await asyncio.to_thread(Caller, self.cloud, name, habits=habits, line=fault.line())
        return Scene(self.cloud, self.nova, self.relays, self.tables, self.queue, caller)

    async def look_back(self, fault: Fault, scene: Scene, failure: BaseException | None) -> Account:
        """See what a conversation came to; one without a fault also shows that what is lacking is noticed."""
        complaints = [] if failure is None else [f"{type(failure).__name__}: {failure}"]
        saved = await asyncio.to_thread(self._is_saved, scene.caller)
        streams = await asyncio.to_thread(self.nova.streams_of, scene.caller)
        if fault is CALM and failure is None:
            unseen = await asyncio.to_thread(blind_counters, scene.caller, streams)
            complaints += [f"the counters are blind: {what}" for what in unseen]
        held = await asyncio.to_thread(
            lambda: account(
                fault.name,
                scene.caller,
                streams,
                strikes_ms=scene.strikes_ms,
                claims=fault.claims,
                saved=saved,
                complaints=complaints,
            )
        )
        self.held.append(held)
        self.tell(
            f"{held.name}: {len(held.strikes_ms)} times, lost {held.learner.lost_ms:.0f} + {held.maya.lost_ms:.0f} ms, doubled"
            f" {held.learner.doubled_ms:.0f} + {held.maya.doubled_ms:.0f} ms{'; '.join(['', *held.complaints])}"
        )
        return held

    def _is_saved(self, caller: Caller) -> bool:
        try:
            eventually(lambda: stored_items(self.cloud, caller.learner), within_s=_SAVED_WITHIN_S)
        except AssertionError:
            return False
        return True


@contextlib.contextmanager
def _house(folder: Path, where: Where, tell: Callable[[str], None]) -> Iterator[_House]:
    folder.mkdir()
    arguments = (*QUICK, *MAYA, "--lines", str(_LINES), "--nova", f"max_streams={3 * _LINES}", *_CLOUDS[where])
    with contextlib.ExitStack() as stack:
        upstream = stack.enter_context(services(folder))
        tables, queue = (stack.enter_context(Tables(upstream)) for _ in range(2))
        settings = {**_SETTINGS, "AWS_ENDPOINT_URL_DYNAMODB": tables.url, "AWS_ENDPOINT_URL_SQS": queue.url}
        cloud = stack.enter_context(launch(folder / "state.json", *arguments, environment=settings))
        # What the finish function could not save comes again at once.
        cloud.client("sqs").set_queue_attributes(
            QueueUrl=cloud.state.finish_queue_url, Attributes={"VisibilityTimeout": "2"}
        )
        yield _House(cloud, Nova(cloud), Relays(cloud), tables, queue, tell)


async def _hold(houses: Mapping[Where, _House], faults: Sequence[Fault]) -> Held:
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(_THREADS))
    places = asyncio.Semaphore(AT_ONCE)
    alone = [fault for fault in faults if fault.hold is not None]
    calm = [_one(houses["one"], CALM, places) for _ in range(_CALM_ONES)]
    # The calm ones run beside all kinds of others: at the beginning, in the middle and at the end.
    ones = [_one(houses["one"], fault, places) for fault in alone]
    spread = len(ones) // max(1, len(calm) - 1)
    for number, each in enumerate(calm):
        ones.insert(min(len(ones), number * (spread + 1)), each)
    batches = [
        _together(houses[where], [fault for fault in faults if fault.where == where], places)
        for where in houses
        if where != "one"
    ]
    accounts_of_ones, *accounts_of_batches = await asyncio.gather(asyncio.gather(*ones), *batches)
    accounts = [*accounts_of_ones, *(each for batch in accounts_of_batches for each in batch)]
    return _held(houses, faults, accounts)


def _held(houses: Mapping[Where, _House], faults: Sequence[Fault], accounts: Sequence[Account]) -> Held:
    calm = [each for each in accounts if each.name == CALM.name]
    natural = natural_ms([each.sounds for each in calm])
    held = Held(accounts=list(accounts))
    for fault in (CALM, *faults):
        row = Row(fault=fault.name)
        for each in accounts:
            if each.name == fault.name:
                row.add(each, natural, comes_back=fault.claims.comes_back)
        held.rows.append(row)
    for where, house in houses.items():
        turned_away = house.cloud.log("functions/maya-relay").count('"lease_taken"')
        started, met = house.relays.started, sum(each.relays for each in house.held)
        if started - turned_away != met or turned_away > met:
            held.complaints.append(
                f"cloud {where!r}: {started} relays were started; phones met {met}, and {turned_away} found another one there"
            )
    return held


async def _one(house: _House, fault: Fault, places: asyncio.Semaphore) -> Account:
    """Hold a conversation with a fault of its own."""
    assert fault.hold is not None
    async with places:
        scene = await house.scene(fault)
        failure: BaseException | None = None
        try:
            async with asyncio.timeout(_HELD_WITHIN_S):
                await fault.hold(scene)
        except (AssertionError, Missed, OSError) as error:  # a timeout is an OSError, too
            failure = error
    return await house.look_back(fault, scene, failure)


async def _together(house: _House, faults: Sequence[Fault], places: asyncio.Semaphore) -> list[Account]:
    """Hold conversations of which all have the same broken at the same time, fault after fault."""
    accounts: list[Account] = []
    for fault in faults:
        assert fault.break_all is not None
        scenes = [await house.scene(fault) for _ in range(TOGETHER)]
        for _ in scenes:
            await places.acquire()
        try:
            failures = await asyncio.gather(
                *(_talks(scene) for scene in scenes), _breaks(fault, scenes), return_exceptions=True
            )
        finally:
            for _ in scenes:
                places.release()
        for scene, failure in zip(scenes, failures[: len(scenes)], strict=True):
            accounts.append(await house.look_back(fault, scene, failure or failures[-1]))
    return accounts


async def _talks(scene: Scene) -> None:
    async with asyncio.timeout(_HELD_WITHIN_S), scene.caller.calling():
        await scene.caller.ends()


async def _breaks(fault: Fault, scenes: Sequence[Scene]) -> None:
    assert fault.break_all is not None
    for part, moment in MOMENTS:
        await scenes[0].at(part, moment)
        for scene in scenes:
            scene.strike()
        await fault.break_all(scenes[0])
