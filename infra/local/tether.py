"""Runs a command whose life is tied to its parent's: ``python -I -S tether.py PARENT_PID COMMAND...``.

On Linux the kernel is asked to kill this process when its parent dies (``prctl(2)``, ``PR_SET_PDEATHSIG``), then the
command replaces it, which keeps that wish. Elsewhere the command runs as it is and the watchdog (``watchdog.py``) is
the only guard. The standard library alone is used, so that ``-I -S`` starts it in some 15 ms.
"""

import ctypes
import os
import signal
import sys
from collections.abc import Sequence

_PR_SET_PDEATHSIG = 1
_EXIT_ORPHAN = 125


def tethered(command: Sequence[str]) -> list[str]:
    """Return the command line that runs ``command`` tied to the life of the calling process.

    The kernel counts the death of the thread that started the child as the parent's, so start it from a thread that
    lasts, as an asyncio loop in the main thread does.
    """
    return [sys.executable, "-I", "-S", __file__, str(os.getpid()), *command]


def _die_with_parent(parent_pid: int) -> bool:
    """Ask the kernel to kill this process with its parent; False when the parent is already gone."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
    # The parent may have died before the request, in which case nobody would ever send the signal.
    return os.getppid() == parent_pid


def main(arguments: Sequence[str]) -> int:
    """Tie this process to its parent and become the command; the exit code says that it could not."""
    parent_pid, command = int(arguments[0]), list(arguments[1:])
    if not _die_with_parent(parent_pid):
        return _EXIT_ORPHAN
    try:
        os.execvp(command[0], command)  # noqa: S606  # no shell is wanted
    except OSError as error:
        sys.stderr.write(f"{command[0]}: {error.strerror}\n")
    return 127


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
