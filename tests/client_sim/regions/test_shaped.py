"""Connections through a simulated line, in virtual time against an echo."""

import asyncio
import statistics

import pytest

from client_sim.network import ConnectionLost, ConnectionRefused
from client_sim.regions.lane import LaneProfile
from client_sim.regions.outages import OutageProfile
from client_sim.regions.path import Path, Region
from client_sim.regions.shaped import shaped
from tests.client_sim.virtual import VirtualClock, run


class Echo:
    """The other end: answers at once, notes what came when."""

    def __init__(self):
        self.heard = []
        self.closed = 0
        self._back = asyncio.Queue()

    async def connect(self, url, token):
        assert (url, token) == ("ws://x/dev", "t")
        return self

    async def send(self, text):
        self.heard.append((asyncio.get_running_loop().time() * 1000, text))
        self._back.put_nowait(text)

    async def receive(self):
        item = await self._back.get()
        if isinstance(item, ConnectionLost):
            raise item
        return item

    def drop(self, code):
        self._back.put_nowait(ConnectionLost(code))

    async def close(self):
        self.closed += 1


def place(*outages, **lane):
    return Region(
        name="x", says="x", up=LaneProfile(**lane), down=LaneProfile(**lane), outages=tuple(outages), source="test"
    )


async def opened(region, echo):
    clock = VirtualClock()
    path = Path(region, seed=1, phone=1, begin_ms=clock.now_ms())
    return clock, await shaped(echo.connect, path, clock)("ws://x/dev", "t")


def test_delay_and_jitter_both_ways():
    """Round trips are those of the profile, and order is kept."""

    async def work():
        echo = Echo()
        clock, line = await opened(place(delay_ms=80, jitter_ms=10, jitter_memory_ms=100), echo)
        assert clock.now_ms() == pytest.approx(2 * 160, abs=80)
        trips = []
        for number in range(3_000):
            sent_ms = clock.now_ms()
            await line.send(str(number))
            assert await line.receive() == str(number)
            trips.append(clock.now_ms() - sent_ms)
        assert statistics.mean(trips) == pytest.approx(160, rel=0.05)
        assert statistics.stdev(trips) == pytest.approx(10 * 2**0.5, rel=0.1)
        await line.close()
        assert echo.closed == 1

    run(work())


def test_a_full_line_makes_the_writer_wait():
    """No more than a socket holds is taken at once; all of it arrives at the line's rate."""

    async def work():
        echo = Echo()
        clock, line = await opened(place(delay_ms=10, kbit_s=1_000), echo)
        begin_ms = clock.now_ms()
        for _ in range(100):
            await line.send("x" * 4_000)
        waited_ms = clock.now_ms() - begin_ms
        assert waited_ms > 2_500, "the writer never waited"
        await asyncio.sleep(10)
        assert len(echo.heard) == 100
        took_ms = echo.heard[-1][0] - begin_ms
        assert took_ms == pytest.approx(100 * 4_008 * 8 / 1_000 * 1.04, rel=0.1)
        await line.close()

    run(work())


def test_a_drop_loses_what_is_under_way_and_refuses_until_it_is_over():
    """The phone learns it at once; the other end stays half open, and is closed when there is a line again."""

    async def work():
        echo = Echo()
        region = place(OutageProfile(kind="drop", every_s=5, shortest_s=3, longest_s=3), delay_ms=50)
        clock = VirtualClock()
        path = Path(region, seed=1, phone=1, begin_ms=0)
        connect = shaped(echo.connect, path, clock)
        line = await connect("ws://x/dev", "t")
        drop = path.drop(clock.now_ms())
        with pytest.raises(ConnectionLost):
            await line.receive()
        assert clock.now_ms() == pytest.approx(drop.from_ms, abs=2)
        with pytest.raises(ConnectionLost):
            await line.receive()
        with pytest.raises(ConnectionRefused, match="dead"):
            await connect("ws://x/dev", "t")
        assert echo.closed == 0
        await asyncio.sleep(3.1)
        assert echo.closed == 1
        again = await connect("ws://x/dev", "t")
        await again.send("back")
        assert await again.receive() == "back"
        await again.close()

    run(work())


def test_the_gateways_close_comes_after_what_it_said():
    """With its code, and later by the delay."""

    async def work():
        echo = Echo()
        clock, line = await opened(place(delay_ms=50), echo)
        await line.send("last words")
        await asyncio.sleep(0.2)
        sent_ms = clock.now_ms()
        echo.drop(1001)
        assert await line.receive() == "last words"
        with pytest.raises(ConnectionLost) as lost:
            await line.receive()
        assert lost.value.code == 1001
        assert clock.now_ms() == pytest.approx(sent_ms + 50, abs=1)
        await asyncio.sleep(0)
        assert len(asyncio.all_tasks()) == 1, "tasks stay behind"

    run(work())


def test_a_refusal_comes_from_afar():
    """With its status, after the same round trips."""

    async def work():
        async def refuse(url, token):
            raise ConnectionRefused("no", 403)

        clock = VirtualClock()
        path = Path(place(delay_ms=50), seed=1, phone=1, begin_ms=0)
        with pytest.raises(ConnectionRefused) as refused:
            await shaped(refuse, path, clock)("wss://x/dev", "t")
        assert refused.value.status == 403
        assert clock.now_ms() == pytest.approx(300, abs=1)

    run(work())
