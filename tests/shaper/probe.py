"""Both ends of a measurement: an echo server that tells when a message came, and phones that ask it.

Both read one monotonic clock, that of the machine, so each direction is measured by itself.
"""

import argparse
import asyncio
import json
import statistics
import sys
import time
from dataclasses import dataclass, field, replace
from typing import Any, Final

from websockets.asyncio.server import ServerConnection, serve

from client_sim.clock import RealClock
from client_sim.load.worker import loop_factory
from client_sim.network import Connection, connector
from client_sim.regions.lane import HEADER_BYTES, SEGMENT_BYTES, LaneProfile
from client_sim.regions.path import Path, Region
from client_sim.regions.shaped import shaped

PROBE_EVERY_S: Final = 0.3
FRAME_BYTES: Final = 4_300
"""A message with 100 ms of speech at 16 kHz."""
FRAME_EVERY_S: Final = 0.1
_BURST_BYTES: Final = 8_000
_FRAMING_BYTES: Final = 8


@dataclass(slots=True)
class Seen:
    """One-way delays in ms, and rates in kbit/s on the wire, by direction."""

    up_ms: list[float] = field(default_factory=list)
    down_ms: list[float] = field(default_factory=list)
    up_kbit_s: float | None = None
    down_kbit_s: float | None = None
    segments: int = 0
    lost: int = 0


def now_ms() -> float:
    """The clock of both ends."""
    return time.monotonic() * 1000


async def answer(socket: ServerConnection) -> None:
    """Tell when each message came; send a burst when asked for one."""
    arrived: list[float] = []
    async for text in socket:
        came_ms = now_ms()
        if text.startswith("B"):  # type: ignore[arg-type]
            arrived.append(came_ms)
        elif text == "rate":
            await socket.send(json.dumps(arrived))
        elif text.startswith("send "):  # type: ignore[arg-type]
            for _ in range(int(text[5:])):
                await socket.send("B" * _BURST_BYTES)
        else:
            await socket.send(f"{text[:40]!s}".split(" ", 1)[0] + f" {came_ms:.3f}" + "x" * max(0, len(text) - 60))


async def delays(connections: list[Connection], *, count: int, every_s: float, size: int, seen: Seen) -> None:
    """Let every connection ask, again and again, at moments of its own."""

    async def one(index: int, connection: Connection) -> None:
        await asyncio.sleep(every_s * index / len(connections))
        reader = asyncio.create_task(read(connection))
        for _ in range(count):
            await connection.send(f"{now_ms():.3f} ".ljust(size, "x"))
            await asyncio.sleep(every_s)
        await reader

    async def read(connection: Connection) -> None:
        for _ in range(count):
            words = str(await connection.receive()).rstrip("x").split()
            seen.up_ms.append(float(words[1]) - float(words[0]))
            seen.down_ms.append(now_ms() - float(words[1]))

    await asyncio.gather(*(one(index, connection) for index, connection in enumerate(connections)))


async def rates(connection: Connection, *, count: int, seen: Seen) -> None:
    """Send as much as the line takes, each way."""
    for _ in range(count):
        await connection.send("B" * _BURST_BYTES)
    await connection.send("rate")
    seen.up_kbit_s = _rate(json.loads(await connection.receive()))
    await connection.send(f"send {count}")
    came = []
    for _ in range(count):
        await connection.receive()
        came.append(now_ms())
    seen.down_kbit_s = _rate(came)


def _rate(moments_ms: list[float]) -> float:
    size = _BURST_BYTES + _FRAMING_BYTES
    wire = size + -(-size // SEGMENT_BYTES) * HEADER_BYTES
    # What a buffer lets through at once at the beginning says nothing about the line.
    settled = moments_ms[len(moments_ms) // 4 :]
    return (len(settled) - 1) * wire * 8 / (settled[-1] - settled[0])


def without(region: Region, *, losses: bool = False, jitter: bool = False) -> Region:
    """A region's line without some of what makes it late."""

    def lane(profile: LaneProfile) -> LaneProfile:
        changes: dict[str, Any] = {}
        if losses:
            changes |= {"loss": 0.0, "loss_burst": 1.0}
        if jitter:
            changes |= {"jitter_ms": 0.0}
        return replace(profile, **changes)

    return replace(region, up=lane(region.up), down=lane(region.down), outages=() if losses else region.outages)


async def open_lines(url: str, region: Region | None, count: int, seed: int) -> tuple[list[Connection], list[Path]]:
    """Connections through simulated lines, or plain ones."""
    clock = RealClock()
    paths = [] if region is None else [Path(region, seed=seed, phone=n, begin_ms=clock.now_ms()) for n in range(count)]
    connects = [shaped(connector(), path, clock) for path in paths] or [connector()] * count
    return [await each for each in [asyncio.ensure_future(connect(url, "probe")) for connect in connects]], paths


async def measure(
    url: str, region: Region | None, plan: dict[str, Any], *, seed: int = 1, together: asyncio.Barrier | None = None
) -> Seen:
    """Do what a plan says: probes, frames, bursts; with others, once all have opened their lines."""
    seen = Seen()
    connections, paths = await open_lines(url, region, plan["lines"], seed)
    try:
        if together is not None:
            await together.wait()
        if plan.get("count"):
            await delays(connections, count=plan["count"], every_s=plan["every_s"], size=plan["size"], seen=seen)
        if plan.get("burst"):
            await rates(connections[0], count=plan["burst"], seen=seen)
    finally:
        await asyncio.gather(*(connection.close() for connection in connections))
    seen.segments = sum(path.up.segments for path in paths)
    seen.lost = sum(path.up.lost for path in paths)
    return seen


def summary(samples: list[float]) -> dict[str, float]:
    """Mean, deviation, and what is at the end."""
    rising = sorted(samples)
    return {
        "n": len(rising),
        "mean": statistics.mean(rising),
        "deviation": statistics.stdev(rising),
        "p50": rising[len(rising) // 2],
        "p99": rising[int(len(rising) * 0.99)],
    }


async def _serve(host: str, port: int) -> None:
    async with serve(answer, host, port, subprotocols=["maya.v1"], compression=None, max_queue=None):  # type: ignore[list-item]
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


def main() -> None:
    """One end, in a process of its own: for network namespaces."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--serve", metavar="HOST:PORT")
    parser.add_argument("--ask", metavar="URL")
    parser.add_argument("--plan", type=json.loads, default={})
    options = parser.parse_args()
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        if options.serve:
            host, port = options.serve.split(":")
            runner.run(_serve(host, int(port)))
            return
        seen = runner.run(measure(options.ask, None, options.plan))
    told = {"up": seen.up_ms, "down": seen.down_ms, "rates": [seen.up_kbit_s, seen.down_kbit_s]}
    sys.stdout.write(json.dumps(told))


if __name__ == "__main__":
    main()
