"""Waiting for the end of processes that are not this one's children."""

import contextlib
import os
import select
import sys
import time
from collections.abc import Iterable

import psutil


def gone(pids: Iterable[int], *, within_s: float = 20.0) -> bool:
    """Wait until processes have ended; False when one of them has not in time."""
    deadline = time.monotonic() + within_s
    return all(_gone(pid, deadline) for pid in pids)


def _gone(pid: int, deadline: float) -> bool:
    if sys.platform != "linux":
        with contextlib.suppress(psutil.NoSuchProcess):
            return not psutil.wait_procs([psutil.Process(pid)], timeout=max(0.0, deadline - time.monotonic()))[1]
        return True
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        # A process descriptor becomes readable when its process ends.
        return bool(select.select([descriptor], [], [], max(0.0, deadline - time.monotonic()))[0])
    finally:
        os.close(descriptor)
