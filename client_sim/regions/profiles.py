"""Regions by name, with the source of their figures.

Each line is the way between AWS regions plus an access network of its own. Round trips between regions are medians
over a day, from us-east-1, where Nova Sonic answers. What no source gives is said to be assumed.
"""

from collections.abc import Mapping
from typing import Final

from client_sim.regions.lane import LaneProfile
from client_sim.regions.outages import OutageProfile
from client_sim.regions.path import Region

_BETWEEN_REGIONS: Final = "cloudping.co, median round trip to us-east-1, February 2026"
_FIXED: Final = (
    "access: fixed line with Wi-Fi, 14 ms, 0.2 % lost (codavel.com, Real-world latency and packet loss, read in November 2026: "
    "Wi-Fi 10 to 25 ms, 0.2 %); 25 Mbit/s down, 8 up, jitter and its memory assumed"
)
_ACCESS_MS: Final = 14.0


def _fixed(name: str, says: str, between_ms: float, *, jitter_ms: float) -> Region:
    """A learner on a fixed line, as far away as an AWS region is from us-east-1."""
    one_way_ms = (between_ms + _ACCESS_MS) / 2
    lane = {"delay_ms": one_way_ms, "jitter_ms": jitter_ms, "jitter_memory_ms": 400.0, "loss": 0.002}
    return Region(
        name=name,
        says=says,
        up=LaneProfile(**lane, kbit_s=8_000),
        down=LaneProfile(**lane, kbit_s=25_000),
        source=f"{_BETWEEN_REGIONS}: {between_ms:g} ms; {_FIXED}" if between_ms else _FIXED,
    )


REGIONS: Final[Mapping[str, Region]] = {
    region.name: region
    for region in (
        _fixed("near", "a fixed line beside us-east-1", 0.0, jitter_ms=2.0),
        _fixed("eu-west-1", "Ireland, fixed line", 69.7, jitter_ms=3.0),
        _fixed("sa-east-1", "Sao Paulo, fixed line", 113.3, jitter_ms=5.0),
        _fixed("ap-south-1", "Mumbai, fixed line", 185.9, jitter_ms=8.0),
        _fixed("ap-southeast-1", "Singapore, fixed line", 226.0, jitter_ms=6.0),
        _fixed("af-south-1", "Cape Town, fixed line", 228.8, jitter_ms=8.0),
        Region(
            name="bad-mobile",
            says="a slow and shaky mobile line in South Asia",
            up=LaneProfile(delay_ms=168, jitter_ms=45, jitter_memory_ms=800, kbit_s=750, loss=0.005, loss_burst=2.0),
            down=LaneProfile(
                delay_ms=168, jitter_ms=35, jitter_memory_ms=800, kbit_s=1_600, loss=0.005, loss_burst=2.0
            ),
            outages=(
                OutageProfile(kind="stall", every_s=60, shortest_s=0.5, longest_s=3),
                OutageProfile(kind="drop", every_s=150, shortest_s=2, longest_s=8),
            ),
            source=f"{_BETWEEN_REGIONS}: ap-south-1 185.9 ms; access: Lighthouse's slow 4G, 150 ms, 1.6 Mbit/s down, "
            "0.75 up (about the worst quarter of 4G lines), 0.5 % lost (codavel.com, as above, 4G); jitter, bursts and outages "
            "assumed",
        ),
    )
}
"""By name, nearest first."""


def region(name: str) -> Region:
    """The region of a name.

    Raises:
        ValueError: there is none; the text names those there are.
    """
    found = REGIONS.get(name)
    if found is None:
        raise ValueError(f"no region {name!r}; there are {', '.join(REGIONS)}")
    return found
