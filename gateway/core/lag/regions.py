"""How far away learners are: what to expect before anything has been measured.

The region is the app's own guess in `start`. The table serves two ends: the expected lag in the first notice, which a
measured round trip replaces, and the closed list of values that a metric's dimension may have.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

OTHER_REGION: Final = "other"
"""Where the app named no region, or none of the list."""

ROUND_TRIP_MS: Final[Mapping[str, int]] = MappingProxyType(
    {
        "us-east-1": 10,
        "us-east-2": 20,
        "ca-central-1": 25,
        "us-west-1": 70,
        "us-west-2": 80,
        "ca-west-1": 70,
        "mx-central-1": 70,
        "eu-west-1": 80,
        "eu-west-2": 80,
        "eu-west-3": 85,
        "eu-central-1": 90,
        "eu-central-2": 100,
        "eu-north-1": 110,
        "eu-south-1": 105,
        "eu-south-2": 95,
        "sa-east-1": 120,
        "il-central-1": 145,
        "ap-northeast-1": 160,
        "ap-northeast-3": 170,
        "ap-northeast-2": 180,
        "me-south-1": 180,
        "me-central-1": 190,
        "ap-south-1": 200,
        "ap-south-2": 210,
        "ap-east-1": 210,
        "ap-southeast-1": 220,
        "ap-southeast-2": 215,
        "ap-southeast-3": 235,
        "ap-southeast-4": 220,
        "ap-southeast-5": 225,
        "ap-southeast-7": 230,
        "af-south-1": 230,
    }
)
"""Round trip of the network alone between a region and us-east-1 in ms, to the nearest ten or so.

From published averages of two clouds' inter-region networks (IBM Cloud, Washington DC to eleven cities, September 2024; a
table of AWS regions, 2017); regions that neither has stand between their neighbours by distance. A learner's own access
line and the gateway's hops come on top, which is why a measurement replaces it.
"""

ACCESS_MS: Final = 60
"""What a home or mobile line and the gateway's own hops add to that."""


def known_region(region: str | None) -> str:
    """Return the region if it is of the list, else `OTHER_REGION`."""
    return region if region is not None and region in ROUND_TRIP_MS else OTHER_REGION


def expected_round_trip_ms(region: str | None, unknown_ms: float) -> float:
    """Return what to expect of a learner's region, `unknown_ms` of one that is not known."""
    network_ms = ROUND_TRIP_MS.get(region or "")
    return unknown_ms if network_ms is None else float(network_ms + ACCESS_MS)
