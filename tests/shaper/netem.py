"""The same line made by the kernel: two network namespaces, a pair of veth, `tc netem` on either side."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

from client_sim.regions.path import Region
from tests.shaper import namespaces


def impossible() -> str | None:
    """Why there can be no such line here, None where there can."""
    why = namespaces.impossible()
    if why is not None:
        return why
    name = f"maya-netem-{os.getpid()}"
    namespaces.run("ip", "netns", "add", name)
    try:
        works = namespaces.run(
            "ip", "netns", "exec", name, "tc", "qdisc", "add", "dev", "lo", "root", "netem", "delay", "1ms", check=False
        )
    finally:
        namespaces.run("ip", "netns", "del", name, check=False)
    return None if works.returncode == 0 else f"this kernel has no netem: {works.stderr.strip()}"


@contextmanager
def line(region: Region) -> Iterator[tuple[str, str]]:
    """Two namespaces with the line of a region between them; yields the phone's and the gateway's."""
    run = namespaces.run
    with namespaces.two() as (phone, gateway):
        run("ip", "link", "add", "line0", "netns", phone, "type", "veth", "peer", "name", "line0", "netns", gateway)
        for name, address, lane in ((phone, 1, region.up), (gateway, 2, region.down)):
            namespaces.configure(name, "line0", address)
            # Offloads would make segments of 64 KB, of which netem would lose all at once.
            run("ip", "-n", name, "link", "set", "line0", "gso_max_segs", "1", check=False)
            shape = ["delay", f"{lane.delay_ms}ms"]
            if lane.jitter_ms:
                shape += [f"{lane.jitter_ms}ms", "distribution", "normal"]
            if lane.loss:
                shape += ["loss", f"{100 * lane.loss}%"]
            if lane.kbit_s:
                shape += ["rate", f"{lane.kbit_s:g}kbit"]
            command = ("tc", "qdisc", "add", "dev", "line0", "root", "netem", "limit", "5000", *shape)
            run("ip", "netns", "exec", name, *command)
        yield phone, gateway
