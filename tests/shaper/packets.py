"""A line below TCP: packets between two network namespaces pass through this program, which delays and loses some.

Each namespace has a TUN device; what the kernel's TCP makes of the losses (retransmissions, timers, order) is the
kernel's own. It stands in where the kernel has no netem: ``python -m tests.shaper.packets PHONE GATEWAY REGION-AS-JSON``.
"""

import fcntl
import heapq
import json
import os
import random
import select
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from typing import Any, Final

from client_sim.regions.path import Region
from tests.shaper import namespaces

_TUNSETIFF: Final = 0x400454CA
_IFF_TUN: Final = 0x0001
_IFF_NO_PI: Final = 0x1000
_CLONE_NEWNET: Final = 0x40000000
_MTU: Final = 1500


def impossible() -> str | None:
    """Why there can be no such line here."""
    why = namespaces.impossible()
    return why or (None if os.path.exists("/dev/net/tun") else "there is no /dev/net/tun")  # noqa: PTH110


@contextmanager
def line(region: Region) -> Iterator[tuple[str, str]]:
    """Two namespaces with the line of a region between them."""
    with namespaces.two() as (phone, gateway):
        shape = json.dumps({"up": asdict(region.up), "down": asdict(region.down)})
        carrier = subprocess.Popen(
            [sys.executable, "-m", "tests.shaper.packets", phone, gateway, shape],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        try:
            assert carrier.stdout is not None
            carrier.stdout.readline()
            yield phone, gateway
        finally:
            carrier.kill()
            carrier.wait()


def _tun(namespace: str, address: int) -> int:
    """A TUN device in a namespace."""
    own = os.open("/proc/self/ns/net", os.O_RDONLY)
    other = os.open(f"/run/netns/{namespace}", os.O_RDONLY)
    os.setns(other, _CLONE_NEWNET)
    device = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(device, _TUNSETIFF, struct.pack("16sH", b"line0", _IFF_TUN | _IFF_NO_PI))
    os.setns(own, _CLONE_NEWNET)
    namespaces.configure(namespace, "line0", address)
    return device


class _Lane:
    """One direction, packet by packet."""

    def __init__(self, source: int, target: int, profile: dict[str, Any]) -> None:
        self.source, self.target, self.profile = source, target, profile
        self.waiting: list[tuple[float, int, bytes]] = []
        self._free_at_s = 0.0
        self._number = 0

    def take(self) -> None:
        """Read what the kernel sends."""
        with suppress(BlockingIOError):
            while packet := os.read(self.source, _MTU + 100):
                now_s = time.monotonic()
                if random.random() < self.profile["loss"]:
                    continue
                if self.profile["kbit_s"]:
                    self._free_at_s = max(self._free_at_s, now_s) + len(packet) * 8 / self.profile["kbit_s"] / 1000
                delay_ms = max(0.0, random.gauss(self.profile["delay_ms"], self.profile["jitter_ms"]))
                self._number += 1
                heapq.heappush(self.waiting, (max(now_s, self._free_at_s) + delay_ms / 1000, self._number, packet))

    def give(self, now_s: float) -> None:
        """Hand on what is due."""
        while self.waiting and self.waiting[0][0] <= now_s:
            _, _, packet = heapq.heappop(self.waiting)
            with suppress(BlockingIOError):
                os.write(self.target, packet)


def main() -> None:
    """Carry packets until killed."""
    phone, gateway, shape = sys.argv[1:]
    near, far = _tun(phone, 1), _tun(gateway, 2)
    told = json.loads(shape)
    lanes = (_Lane(near, far, told["up"]), _Lane(far, near, told["down"]))
    poll = select.epoll()
    for lane in lanes:
        poll.register(lane.source, select.EPOLLIN)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    while True:
        due_s = min((lane.waiting[0][0] for lane in lanes if lane.waiting), default=None)
        wait_s = 1.0 if due_s is None else due_s - time.monotonic()
        # Below the poll's own resolution of a millisecond it is better to look again at once.
        poll.poll(max(0.0, wait_s - 0.0005))
        for lane in lanes:
            lane.take()
            lane.give(time.monotonic())


if __name__ == "__main__":
    main()
