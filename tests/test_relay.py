"""The relay: a whole conversation, the end of Lambda's time, and faults of our own; nothing here waits for a clock."""

import asyncio
from typing import Any

import pytest
import uvloop

from gateway.core.errors import ServiceUnavailable
from tests.relay_stage import LEARNER, START, WITHIN_S, Held, holding

# --- A whole conversation -------------------------------------------------------------------------------------------


async def test_a_conversation_from_start_to_finish():
    """Admitted, opened, spoken, assessed, saved, told, parted; line and lease are given back."""
    async with holding() as held:
        stream = await held.talk()
        held.stop()
        await held.world.until(lambda: any(b"assess the part" in event for event in stream.sent))
        stream.ends()
        await held.world.until(lambda: held.relay.ended)
    assert [names for (names,) in held.world.of("ask_micro")] == ["assess_part"]
    [(learner, saved)] = held.world.of("save")
    assert (learner, saved.spoken_s) == (LEARNER, 40)
    assert [message["saved"] for message in held.world.posts("assessment")] == [True]
    assert held.world.posts("bye")
    assert held.world.of("disconnect") == [("a",)]
    assert [call[0] for call in held.world.calls[-2:]] == ["leave_line", "release_lease"]


async def test_a_locked_module_takes_no_line():
    """And none is given back."""
    async with holding() as held:
        held.world.unlocked = False
        held.say(START)
    assert [error["code"] for error in held.world.posts("error")] == ["module_locked"]
    assert not held.world.of("take_line")
    assert not held.world.of("leave_line")


@pytest.mark.parametrize("broken", ["module_unlocked", "take_line"])
@pytest.mark.parametrize("error", [ServiceUnavailable("away"), ValueError("quotes something")])
async def test_an_admission_that_fails_is_told(broken, error):
    """Whatever it fails with, nobody waits for it."""
    async with holding() as held:
        held.world.errors[broken] = error
        held.say(START)
    assert [message["code"] for message in held.world.posts("error")] == ["internal"]
    assert ("admission_failed", type(error).__name__) in held.world.of("failure")


# --- The end of Lambda's time ---------------------------------------------------------------------------------------


async def test_the_end_begins_a_minute_before_lambdas():
    """The learner is told, what was said is saved."""
    async with holding(hurry_s=0.0) as held:
        await held.talk()
        held.relay._shut_down()
    assert [bye["reason"] for bye in held.world.posts("bye")] == ["maintenance"]
    assert held.world.of("save")


async def test_a_relay_without_time_ends_at_once():
    """Nobody has begun yet."""
    async with holding(within_s=60.0) as held:
        pass
    assert held.world.of("release_lease")


def break_core(held: Held, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    def broken(*_args: Any) -> None:
        raise ValueError("quotes something")

    monkeypatch.setattr(held.relay.conversation, name, broken)


# --- Faults of our own ----------------------------------------------------------------------------------------------


async def test_a_fault_in_the_core_ends_the_conversation_in_order(monkeypatch):
    """Logged by its type; what was said is saved, and the phone is told an id to quote."""
    async with holding(finish_within_s=0.0) as held:
        await held.talk()
        monkeypatch.setattr(held.relay.conversation._phone.uplink, "receive", None)
        held.audio()
    assert ("relay_broke", "TypeError") in held.world.of("failure")
    assert [error["code"] for error in held.world.posts("error")] == ["internal"]
    assert held.world.of("save")


async def test_a_fault_at_a_timer_leaves_the_timer_wound(monkeypatch):
    """What rings once must ring again: nothing else happens in this conversation."""
    async with holding(finish_within_s=0.0, ack_every_ms=1.0) as held:
        await held.talk()
        monkeypatch.setattr(type(held.relay.conversation._invigilator), "follow", None)
    assert ("relay_broke", "TypeError") in held.world.of("failure")
    assert held.world.of("save")


@pytest.mark.parametrize("names", [("handle", "fail"), ("handle", "tick"), ("handle", "next_timer_ms")])
async def test_a_core_that_cannot_even_end_ends_the_relay_with_an_error(monkeypatch, names):
    """The invocation fails, so that its record leads to the notes in Redis; all that was open is closed."""
    others = asyncio.all_tasks()
    held = Held()
    running = asyncio.create_task(held.relay.run(900.0))
    await held.talk()
    for name in names:
        break_core(held, monkeypatch, name)
    held.audio()
    held.relay.broke(OSError("quotes"))
    async with asyncio.timeout(WITHIN_S):
        with pytest.raises((ValueError, OSError)):
            await running
    assert asyncio.all_tasks() == others
    assert held.world.streams[0].closed.is_set()
    assert held.world.of("release_lease")


async def test_a_task_that_fails_is_not_forgotten():
    """Whatever runs beside the conversation."""

    async def fails() -> None:
        raise RuntimeError("quotes something")

    async with holding() as held:
        held.relay.spawn(fails())
        held.say(START)
    assert ("relay_broke", "RuntimeError") in held.world.of("failure")


async def test_an_action_that_fails_does_not_hold_up_the_others(monkeypatch):
    """Those asked for in the same breath are done."""
    async with holding(finish_within_s=0.0) as held:
        monkeypatch.setattr(held.world, "record", None)
        held.say(START)
    assert held.world.posts("bye")
    assert held.world.of("release_lease")


# --- Time -----------------------------------------------------------------------------------------------------------


def test_a_timer_rings_once():
    """Also under uvloop, whose clock has whole milliseconds: none rings early and again and again until its time."""

    async def count() -> list[int]:
        counts = []
        for delay_ms in (1.25, 3.4, 7.999, 10.3):
            held = Held()
            due_ms: list[float] = [held.relay._now_ms() + delay_ms]
            rung = asyncio.Event()
            steps = 0

            def tick(now_ms: float, due_ms: list[float] = due_ms, rung: asyncio.Event = rung) -> None:
                nonlocal steps
                steps += 1
                if now_ms >= due_ms[0]:
                    due_ms.clear()
                    rung.set()

            held.relay.conversation.tick = tick  # type: ignore[method-assign]
            held.relay.conversation.next_timer_ms = lambda _now_ms, due_ms=due_ms: min(due_ms, default=None)  # type: ignore[method-assign,misc]
            held.relay._arm(held.relay._now_ms())
            await rung.wait()
            counts.append(steps)
        return counts

    for factory in (uvloop.new_event_loop, asyncio.new_event_loop):
        with asyncio.Runner(loop_factory=factory) as runner:
            assert runner.run(count()) == [1] * 4
