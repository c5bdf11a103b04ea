"""Which process a connection comes from, so that a test can have a fault happen to one client among many."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

_LOCAL_ADDRESS, _INODE = 1, 9


def process_of(address: tuple[str, int] | None) -> Callable[[int], bool]:
    """Return a function that says whether the process of an id is at this client's end of a connection.

    It looks when it is asked, and only on Linux, where the kernel tells (proc(5): ``/proc/net/tcp``, ``/proc/[pid]/fd``); elsewhere
    the answer is no.

    Args:
        address: host and port of the client's end.
    """
    return lambda pid: address is not None and _has_socket(pid, address[1])


def _has_socket(pid: int, port: int) -> bool:
    process = Path("/proc") / str(pid)
    try:
        rows = [line.split() for line in (process / "net" / "tcp").read_text(encoding="ascii").splitlines()[1:]]
        names = {f"socket:[{row[_INODE]}]" for row in rows if int(row[_LOCAL_ADDRESS].rpartition(":")[2], 16) == port}
        return any(_target(link) in names for link in (process / "fd").iterdir())
    except OSError:
        return False


def _target(link: Path) -> str:
    try:
        return str(link.readlink())
    except OSError:
        return ""  # closed meanwhile
