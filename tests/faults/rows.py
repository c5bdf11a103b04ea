"""The rows of the table: every fault that can be made, by name."""

import asyncio
import functools
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from gateway.core.messages import AssessmentMessage
from infra.local.nova.faults import KINDS, Effect
from tests.e2e.clouds import eventually
from tests.e2e.lines import BadLine
from tests.e2e.stored import stored_items
from tests.faults.account import Claims
from tests.faults.course import Scene

type Where = Literal["one", "redis", "nova"]
"""Whose cloud: one on which faults are one conversation's own, or one on which all have Redis or Nova Sonic broken."""

_FROZEN_S: Final = 9.0
"""Longer than a lease lasts, so that there is another relay when this one wakes."""

_STOPPED_S: Final = 3.0
_TUNNEL_S: Final = 5.0
_SAVED_WITHIN_S: Final = 60.0
_NEVER: Final = 1_000
_SOME_POSTS: Final = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One row.

    Attributes:
        name: in the table.
        hold: holds one conversation to its end and breaks something in it; None where all of a cloud's are broken together.
        break_all: breaks something for all conversations of the cloud at once, with one of them given.
        where: on which cloud.
        line: makes the phone's way to its gateway.
        claims: what is claimed of each conversation.
    """

    name: str
    hold: Callable[[Scene], Awaitable[None]] | None = None
    break_all: Callable[[Scene], Awaitable[None]] | None = None
    where: Where = "one"
    line: Callable[[], BadLine] = BadLine
    claims: Claims = field(default_factory=Claims)


def _in_each_part(break_it: Callable[[Scene], Awaitable[None]]) -> Callable[[Scene], Awaitable[None]]:
    async def hold(scene: Scene) -> None:
        await scene.in_each_part(lambda: break_it(scene))

    return hold


_TAKEN_UP: Final = Claims(every_word=False, relays=4)
"""What a dead relay had heard and nobody had written down is gone with it."""

_NOBODY: Final = Claims(comes_back=False, every_word=False)


async def nothing(_scene: Scene) -> None:
    """Break nothing."""


# --- Nova Sonic and Nova Micro ------------------------------------------------------------------------------------------


async def _loses_stream(scene: Scene, *, fault: str, **fields: Any) -> None:
    await scene.lose_stream(fault, **fields)


async def _cannot_open(scene: Scene, *, fault: str) -> None:
    """The stream is lost, and so is the first attempt to open another."""
    await scene.order_openings(fault)
    await scene.lose_stream("rst", code=2)


async def _misbehaves(scene: Scene, *, fault: str, **fields: Any) -> None:
    """All streams of the conversation behave so, from the open one on."""
    async with scene.caller.calling():
        for part in (1, 2, 3):
            await scene.at(part, "maya")
            scene.strike()
            await scene.lose_stream(fault, **fields)
        await scene.caller.ends()


async def _micro_is_away(scene: Scene) -> None:
    async with scene.caller.calling():
        await scene.at(1, "maya")
        scene.strike()
        await scene.order_openings("unavailable", operation="converse", scope="all")
        await scene.caller.ends()


async def _micro_is_slow(scene: Scene) -> None:
    async with scene.caller.calling():
        await scene.at(1, "maya")
        scene.strike()
        await scene.order_openings("delay", operation="converse", ms=3_000, count=_NEVER)
        await scene.caller.ends()


async def _maya_stays_away(scene: Scene, *, fault: str = "unavailable", scope: str = "all") -> None:
    async with scene.caller.calling():
        await scene.at(3, "maya")
        scene.strike()
        await scene.order_openings(fault, scope=scope)
        await scene.lose_stream("rst", code=2)
        await scene.caller.ends()


_STREAM_EFFECTS: Final = frozenset(
    {
        Effect.RESET,
        Effect.ABORT,
        Effect.GOAWAY,
        Effect.MUTE,
        Effect.PARTIAL_FRAME,
        Effect.BAD_CRC,
        Effect.EXCEPTION,
        Effect.ERROR_FRAME,
        Effect.UNKNOWN_EVENT,
    }
)
_OPENING_EFFECTS: Final = frozenset({Effect.REFUSE, Effect.REFUSE_CONNECTION, Effect.NO_HEADERS})
_VARIANTS: Final[Mapping[str, Sequence[Mapping[str, Any]]]] = {
    "rst": ({"code": 0}, {"code": 2}, {"code": 7}),
    "partial_frame": ({"then": "rst"}, {"then": "end"}),
}
"""Faults that have more than one form."""

_FATAL: Final = ("unrecognized_client",)
"""No other try can mend these: the test ends, and what was said is assessed."""


def _of_nova() -> list[Fault]:
    rows: list[Fault] = []
    for name, kind in KINDS.items():
        if kind.effect in _STREAM_EFFECTS:
            for fields in _VARIANTS.get(name, ({},)):
                title = " ".join(["Nova Sonic:", name, *map(str, fields.values())])
                rows.append(
                    Fault(name=title, hold=_in_each_part(functools.partial(_loses_stream, fault=name, **fields)))
                )
        elif name in _FATAL:
            hold = functools.partial(_maya_stays_away, fault=name, scope="next")
            rows.append(Fault(name=f"Nova Sonic: {name}, at the opening", hold=hold, claims=_NOBODY))
        elif kind.effect in _OPENING_EFFECTS:
            rows.append(
                Fault(
                    name=f"Nova Sonic: {name}, at the opening",
                    hold=_in_each_part(functools.partial(_cannot_open, fault=name)),
                )
            )
        elif kind.effect is Effect.BEHAVE:
            rows.append(Fault(name=f"Nova Sonic: {name}", hold=functools.partial(_misbehaves, fault=name)))
    return rows


# --- The phone's way ----------------------------------------------------------------------------------------------------


async def _cut(scene: Scene) -> None:
    scene.caller.line.cut()


async def _in_a_tunnel(scene: Scene) -> None:
    scene.caller.line.cut(for_good=True)
    await asyncio.sleep(_TUNNEL_S)
    scene.caller.line.come_back()


async def _hang_up(scene: Scene) -> None:
    await scene.caller.line.hang_up()


async def _reset_in_frame(scene: Scene) -> None:
    await scene.caller.line.reset_in_frame()


async def _leave_open(scene: Scene) -> None:
    scene.caller.line.leave_open()


async def _change_networks(scene: Scene) -> None:
    scene.caller.line.change_networks()


async def _posts_fail(scene: Scene, *, status: int, count: int) -> None:
    await scene.refuse_posts(status, count)


async def _phone_stays_away(scene: Scene) -> None:
    async with scene.caller.calling():
        await scene.at(2, "learner")
        scene.strike()
        scene.caller.line.cut(for_good=True)
        await _is_saved(scene)


async def _is_saved(scene: Scene) -> None:
    await asyncio.to_thread(
        eventually, lambda: stored_items(scene.cloud, scene.caller.learner), within_s=_SAVED_WITHIN_S
    )


# --- The relay, and what it needs ----------------------------------------------------------------------------------------


async def _kill_relay(scene: Scene) -> None:
    await scene.kill_relay()


async def _freeze_relay(scene: Scene) -> None:
    await scene.freeze_relay(_FROZEN_S)


async def _all_are_gone(scene: Scene) -> None:
    async with scene.caller.calling():
        await scene.at(2, "learner")
        scene.strike()
        scene.caller.line.cut(for_good=True)
        await scene.kill_relay()
        await _is_saved(scene)


async def _tables_are_away(scene: Scene) -> None:
    async with scene.caller.calling():
        await scene.at(3, "maya")
        scene.strike()
        scene.tables.away.add(scene.caller.learner)
        try:
            await scene.caller.ends()
        finally:
            scene.tables.away.discard(scene.caller.learner)


async def _nothing_takes_it(scene: Scene) -> None:
    """Neither the tables nor the queue take the assessment when it is written; later they do."""
    learner = scene.caller.learner
    async with scene.caller.calling():
        await scene.at(3, "maya")
        scene.strike()
        scene.tables.away.add(learner)
        scene.queue.away.add(learner)
        try:
            await scene.caller.until(
                lambda: scene.caller.over or scene.caller.messages(AssessmentMessage), "the assessment, unsaved"
            )
            await asyncio.sleep(_STOPPED_S)
        finally:
            scene.queue.away.discard(learner)
            scene.tables.away.discard(learner)
        await scene.caller.ends()


async def _tables_throttle(scene: Scene) -> None:
    async with scene.caller.calling():
        await scene.at(3, "maya")
        scene.strike()
        scene.tables.throttled.add(scene.caller.learner)
        failed = scene.tables.failed
        try:
            await scene.caller.until(lambda: scene.tables.failed >= failed + 2 or scene.caller.over, "two throttled")
        finally:
            scene.tables.throttled.discard(scene.caller.learner)
        await scene.caller.ends()


async def _kill_redis(scene: Scene) -> None:
    before = scene.cloud.state.pids["valkey"]
    scene.cloud.kill("valkey")
    await asyncio.to_thread(eventually, lambda: scene.cloud.state.pids["valkey"] != before)


async def _stop_redis(scene: Scene) -> None:
    with scene.cloud.without("valkey"):
        await asyncio.sleep(_STOPPED_S)


async def _kill_nova(scene: Scene) -> None:
    before = scene.cloud.state.pids["nova"]
    await asyncio.to_thread(scene.nova.die)
    await asyncio.to_thread(eventually, lambda: scene.cloud.state.pids["nova"] != before and scene.nova.answers)


async def _stop_nova(scene: Scene) -> None:
    with scene.cloud.without("nova"):
        await asyncio.sleep(_STOPPED_S)


CALM: Final = Fault(name="no fault", hold=_in_each_part(nothing))

FAULTS: Final[Sequence[Fault]] = (
    Fault(name="relay: kill -9", hold=_in_each_part(_kill_relay), claims=_TAKEN_UP),
    Fault(name="relay: kill -STOP, -CONT after 9 s", hold=_in_each_part(_freeze_relay), claims=_TAKEN_UP),
    Fault(name="relay: kill -9, and nobody comes back", hold=_all_are_gone, claims=_NOBODY),
    Fault(name="Redis: kill -9, restart", break_all=_kill_redis, where="redis"),
    Fault(name="Redis: kill -STOP, -CONT after 3 s", break_all=_stop_redis, where="redis"),
    Fault(name="Nova: kill -9, restart", break_all=_kill_nova, where="nova"),
    Fault(name="Nova: kill -STOP, -CONT after 3 s", break_all=_stop_nova, where="nova"),
    Fault(name="phone: radio dies", hold=_in_each_part(_cut)),
    Fault(name="phone: no network for 5 s", hold=_in_each_part(_in_a_tunnel)),
    Fault(name="phone: hangs up", hold=_in_each_part(_hang_up)),
    Fault(name="phone: reset in mid-frame", hold=_in_each_part(_reset_in_frame)),
    Fault(name="phone: old connection half open", hold=_in_each_part(_leave_open)),
    Fault(name="phone: two networks, overtaking", hold=_in_each_part(_change_networks)),
    Fault(name="phone: stays away", hold=_phone_stays_away, claims=_NOBODY),
    Fault(name="messages: 1 in 40 lost", hold=_in_each_part(nothing), line=functools.partial(BadLine, drop_every=40)),
    Fault(name="messages: all doubled", hold=_in_each_part(nothing), line=functools.partial(BadLine, copies=2)),
    Fault(
        name="messages: up to 200 ms late, shuffled",
        hold=_in_each_part(nothing),
        line=functools.partial(BadLine, late_ms=200),
    ),
    *(
        Fault(
            name=f"posts: {status}",
            hold=_in_each_part(functools.partial(_posts_fail, status=status, count=count)),
            # A connection that is said to be gone is not used again, and its phone notices late.
            claims=Claims(recalls=status == 410),
        )
        for status, count in ((410, 1), (413, 1), (429, _SOME_POSTS), (500, _SOME_POSTS), (503, _SOME_POSTS))
    ),
    *_of_nova(),
    Fault(name="Nova Sonic: stays away", hold=_maya_stays_away, claims=_NOBODY),
    Fault(name="Nova Micro: away", hold=_micro_is_away),
    Fault(name="Nova Micro: 3 s late", hold=_micro_is_slow),
    Fault(name="DynamoDB: away at the end", hold=_tables_are_away),
    Fault(name="DynamoDB and SQS: away at the end", hold=_nothing_takes_it),
    Fault(name="DynamoDB: throttled at the end", hold=_tables_throttle),
)
"""All rows, those that take long first."""
