"""A process that ends when the one that needs it ends, however that happens."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import threading

_PR_SET_PDEATHSIG = 1


def die_with_parent(parent_pid: int, life_fd: int) -> None:
    """Have this process killed when its parent is gone.

    Linux sends SIGKILL at once (``PR_SET_PDEATHSIG``). Elsewhere a thread waits for the end of ``life_fd``, a pipe whose
    other end only the service holds.

    Args:
        parent_pid: Who must live; the process ends here if it has died already.
        life_fd: The reading end of the service's pipe.
    """
    if not die_by_signal(parent_pid):
        threading.Thread(target=_wait_for_end, args=(life_fd,), daemon=True).start()


def die_by_signal(parent_pid: int) -> bool:
    """On Linux, have this process killed when its parent is gone; elsewhere answer False and start no thread."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent_pid:
        os._exit(1)
    return sys.platform == "linux"


def _wait_for_end(life_fd: int) -> None:
    os.read(life_fd, 1)
    os._exit(1)
