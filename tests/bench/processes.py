"""CPU time and memory of processes, by what they are."""

import contextlib
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import psutil

_NS_PER_S: Final = 1_000_000_000

RUNTIME: Final = "Lambda runtime"
"""What a process that runs a handler spends outside of it, which is the stand-in's."""


def cpu_s(pid: int) -> float:
    """CPU seconds that a process has taken; 0 when it is gone.

    Where the kernel counts in nanoseconds (Linux, /proc/PID/task/*/schedstat) they are added up over its threads, since
    the usual figure comes in hundredths of a second; else it is psutil's.
    """
    total_ns = 0
    with contextlib.suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            with contextlib.suppress(OSError, ValueError):
                total_ns += int((task / "schedstat").read_bytes().split()[0])
    if total_ns:
        return total_ns / _NS_PER_S
    with contextlib.suppress(psutil.Error):
        times = psutil.Process(pid).cpu_times()
        return times.user + times.system
    return 0.0


def pss_bytes(pids: Iterable[int]) -> int:
    """Memory of processes, what they share with others shared out among all (PSS); 0 where the system does not tell."""
    total = 0
    for pid in pids:
        with contextlib.suppress(psutil.Error):
            total += getattr(psutil.Process(pid).memory_full_info(), "pss", 0)
    return total


@dataclass(frozen=True, slots=True)
class Groups:
    """Which processes count as what.

    Attributes:
        fixed: name to process ids.
        forking: name to the process whose children count as this: the execution environments of a function.
        inside: tells the CPU seconds that handlers of groups have taken so far; the rest of such a group's is `RUNTIME`.
    """

    fixed: Mapping[str, tuple[int, ...]]
    forking: Mapping[str, int]
    inside: Callable[[], Mapping[str, float]] = dict

    def members(self) -> dict[str, list[int]]:
        """Return the processes of each group that there are now."""
        groups = {name: list(pids) for name, pids in self.fixed.items()}
        if self.forking:
            children = _children()
            for name, template in self.forking.items():
                groups.setdefault(name, []).extend(children.get(template, []))
        return groups


@dataclass(frozen=True, slots=True)
class Reading:
    """CPU seconds of every process of every group, and of the whole machine, at one moment.

    Attributes:
        at_ns: monotonic.
        cpu_s: by group and process.
        machine_s: busy seconds of all cores since the machine started.
        cores: how many there are.
        inside_s: CPU seconds of the handlers, by group.
    """

    at_ns: int
    cpu_s: Mapping[str, Mapping[int, float]]
    machine_s: float
    cores: int
    inside_s: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def take(cls, groups: Groups) -> "Reading":
        """Read everything now."""
        at_ns = time.monotonic_ns()
        each = {name: {pid: cpu_s(pid) for pid in pids} for name, pids in groups.members().items()}
        times = psutil.cpu_times()
        # Time that the hypervisor gave to others counts as busy: it was not there for us either.
        return cls(
            at_ns,
            each,
            sum(times) - times.idle - getattr(times, "iowait", 0.0) - _guests(times),
            _cores(),
            groups.inside(),
        )


def _guests(times: object) -> float:
    """Guests' time is in user time already (proc_stat(5))."""
    return float(getattr(times, "guest", 0.0)) + float(getattr(times, "guest_nice", 0.0))


def _cores() -> int:
    return psutil.cpu_count() or 1


@dataclass(frozen=True, slots=True)
class Spent:
    """What was spent between two readings.

    Attributes:
        seconds: between them.
        cpu_s: by group.
        others_share: part of the machine's cores that processes of no group were using, 0 to 1.
        busy_share: part of the machine's cores that was in use at all.
    """

    seconds: float
    cpu_s: Mapping[str, float]
    others_share: float
    busy_share: float

    @classmethod
    def between(cls, first: Reading, last: Reading) -> "Spent":
        """Subtract; a process that began meanwhile counts whole, one that ended does not count."""
        seconds = (last.at_ns - first.at_ns) / _NS_PER_S
        spent = {
            name: sum(max(0.0, after - first.cpu_s.get(name, {}).get(pid, 0.0)) for pid, after in pids.items())
            for name, pids in last.cpu_s.items()
        }
        others_s = last.machine_s - first.machine_s - sum(spent.values())
        for name, inside_s in last.inside_s.items():
            around_s = max(0.0, spent[name] - (inside_s - first.inside_s[name]))
            spent[RUNTIME] = spent.get(RUNTIME, 0.0) + around_s
            spent[name] -= around_s
        machine_s = last.machine_s - first.machine_s
        available_s = seconds * last.cores
        return cls(seconds, spent, max(0.0, others_s) / available_s, machine_s / available_s)


def _children() -> dict[int, list[int]]:
    """Return the children of every process."""
    children: dict[int, list[int]] = {}
    for pid, parent in _parents():
        children.setdefault(parent, []).append(pid)
    return children


def _parents() -> Iterable[tuple[int, int]]:
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            yield process.pid, process.ppid()


def per_minute(spent: Mapping[str, float], minutes: float) -> dict[str, float]:
    """CPU seconds per minute of audio, by group."""
    return {name: seconds / minutes for name, seconds in spent.items()} if minutes else {}
