"""Ctrl-C and SIGTERM as a request to stop in order, and the death of the parent where that is wanted."""

import asyncio
import os
import signal
from collections.abc import Callable, Coroutine
from typing import Any

_PARENT_POLL_S = 0.25


async def until_signal(
    work: Coroutine[Any, Any, int], *, hurry: Callable[[], None], stopped: int = 0, with_parent: bool = False
) -> int:
    """Run ``work`` until it ends or a signal asks to stop, in which case it is cancelled and may tidy up.

    Args:
        work: what to do; its result is returned.
        hurry: called at each further signal, by a person who will not wait for the tidying.
        stopped: the exit code when it was asked to stop and did.
        with_parent: whether the parent's death is such a signal too.

    Returns:
        The exit code: that of ``work``, or ``stopped``.
    """
    task = asyncio.ensure_future(work)
    loop = asyncio.get_running_loop()
    asked = False

    def ask() -> None:
        nonlocal asked
        if asked:
            hurry()
        else:
            asked = True
            task.cancel()

    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    for number in numbers:
        loop.add_signal_handler(number, ask)
    watch = asyncio.ensure_future(_parent_gone()) if with_parent else None
    if watch is not None:
        watch.add_done_callback(lambda done: None if done.cancelled() else ask())
    try:
        return await task
    except asyncio.CancelledError:
        if asked:
            return stopped
        raise
    finally:
        if watch is not None:
            watch.cancel()
        for number in numbers:
            loop.remove_signal_handler(number)


async def _parent_gone() -> None:
    """Return when the process that started this one is gone, by which time another has become the parent."""
    parent = os.getppid()
    while os.getppid() == parent:  # noqa: ASYNC110  # no event tells of it on every platform
        await asyncio.sleep(_PARENT_POLL_S)
