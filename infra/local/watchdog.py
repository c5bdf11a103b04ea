"""Ends the parts of a local cloud whose supervisor was killed: ``python -I -S watchdog.py``.

The supervisor holds the other end of standard input and writes what it started. End of file without ``end`` means that
the supervisor is gone without having tidied up, also by ``kill -9``: the watchdog then ends every process group it was
told about, and on Linux every process that carries the cloud's mark in its environment, and removes the private
directory and the state file. It uses the standard library alone.

Lines, one a fact: ``group PID``, ``forget PID``, ``mark NAME=VALUE``, ``remove PATH``, ``end``.
"""

import contextlib
import os
import shutil
import signal
import sys
import time
from collections.abc import Container, Iterable, Iterator
from pathlib import Path

_GRACE_S = 1.0
_POLL_S = 0.02


def marked_processes(mark: str) -> Iterator[int]:
    """Yield the ids of this user's other processes that have ``mark`` (``NAME=VALUE``) in their environment.

    Only Linux shows it (``/proc/PID/environ``); elsewhere nothing is yielded.
    """
    wanted = mark.encode()
    for environ in Path("/proc").glob("[0-9]*/environ"):
        pid = int(environ.parent.name)
        with contextlib.suppress(OSError):
            if pid != os.getpid() and wanted in environ.read_bytes().split(b"\0"):
                yield pid


def kill_group(pid: int, number: int) -> bool:
    """Send a signal, or 0 to ask only, to a process group; False when the group has no member left."""
    try:
        os.killpg(pid, number)
    except ProcessLookupError:
        return False
    except PermissionError:  # macOS says this of a group that holds only zombies
        return False
    return True


def kill_marked(mark: str, *, spare: Container[int] = ()) -> None:
    """Kill every process that carries the mark, but for those to spare, until none is left."""
    for _ in range(100):
        pids = [pid for pid in marked_processes(mark) if pid not in spare]
        if not pids:
            return
        for pid in pids:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(_POLL_S)


def end_groups(pids: Iterable[int], *, grace_s: float = _GRACE_S) -> None:
    """End process groups: first asked, then, after ``grace_s``, killed."""
    left = [pid for pid in pids if kill_group(pid, signal.SIGTERM)]
    deadline = time.monotonic() + grace_s
    while left and time.monotonic() < deadline:
        time.sleep(_POLL_S)
        left = [pid for pid in left if kill_group(pid, 0)]
    for pid in left:
        kill_group(pid, signal.SIGKILL)


def remove(path: Path) -> None:
    """Remove a file or a directory with all it holds; one that is not there is no error."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with contextlib.suppress(OSError):
            path.unlink()


def watch(lines: Iterable[str]) -> None:
    """Follow the supervisor's lines until it says ``end`` or is gone, and tidy up after it in the latter case."""
    groups: list[int] = []
    marks: list[str] = []
    paths: list[Path] = []
    for line in lines:
        word, _, rest = line.rstrip("\n").partition(" ")
        match word:
            case "group":
                groups.append(int(rest))
            case "forget":
                groups.remove(int(rest))
            case "mark":
                marks.append(rest)
            case "remove":
                paths.append(Path(rest))
            case "end":
                return
            case _:
                sys.stderr.write(f"watchdog: unknown word {word!r}\n")
    end_groups(groups)
    for mark in marks:
        kill_marked(mark)
    for path in paths:
        remove(path)


def main() -> None:
    """Watch over standard input; a signal meant for the supervisor's terminal changes nothing."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    watch(sys.stdin)


if __name__ == "__main__":
    main()
