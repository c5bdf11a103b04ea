"""Requests to stop, by signal."""

import asyncio
import os
import signal

import pytest

from infra.local.signals import until_signal


def never() -> None:
    """The hurry of tests in which nobody hurries."""
    raise AssertionError("nobody pressed Ctrl-C twice")


async def test_work_that_ends_by_itself_gives_its_result() -> None:
    """Without a signal the exit code is the work's own."""

    async def work() -> int:
        return 3

    assert await until_signal(work(), hurry=never) == 3


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
async def test_a_signal_lets_the_work_tidy_up(number: signal.Signals) -> None:
    """The first signal cancels the work, which may still await; the exit code is the one wanted, and the handlers are gone."""
    tidied = []

    async def work() -> int:
        try:
            os.kill(os.getpid(), number)
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            tidied.append(number)
        return 1

    assert await until_signal(work(), hurry=never, stopped=130) == 130
    assert tidied == [number]
    assert asyncio.get_running_loop().remove_signal_handler(number) is False


async def test_a_second_signal_hurries_but_does_not_break_off() -> None:
    """A person who presses again gets a quick end, in which the tidying is still completed."""
    hurried = asyncio.Event()
    tidied = []

    async def work() -> int:
        try:
            os.kill(os.getpid(), signal.SIGINT)
            await asyncio.Event().wait()
        finally:
            os.kill(os.getpid(), signal.SIGINT)
            await asyncio.wait_for(hurried.wait(), 10)
            tidied.append("all")
        return 1

    assert await until_signal(work(), hurry=hurried.set) == 0
    assert tidied == ["all"]


async def test_an_error_while_stopping_is_not_swallowed() -> None:
    """What goes wrong in the tidying is the result."""

    async def work() -> int:
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            await asyncio.Event().wait()
        finally:
            raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        await until_signal(work(), hurry=never)


async def test_being_cancelled_from_outside_is_no_request_of_a_person() -> None:
    """A caller that cancels gets its cancellation back."""
    task = asyncio.ensure_future(until_signal(_forever(), hurry=never))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_the_parents_death_is_a_request_where_that_is_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another parent than at the start means that the first is gone."""
    parents = iter([100, 100])
    monkeypatch.setattr("os.getppid", lambda: next(parents, 1))
    monkeypatch.setattr("infra.local.signals._PARENT_POLL_S", 0)
    assert await asyncio.wait_for(until_signal(_forever(), hurry=never, with_parent=True), 10) == 0


async def _forever() -> int:
    await asyncio.Event().wait()
    return 1
