"""How large the pieces of sound are, both ways: small near, larger far.

A small frame leaves the phone sooner after it was spoken, and a small piece of Maya's is soon cut when she is interrupted.
A large one costs less on every hop, and where a round trip takes long anyway, nobody hears the difference. Phone and
gateway choose from the same table, each by the round trip it has measured itself; nothing has to be agreed on, since
every piece says how long it is. How far ahead Maya's speech is sent does not depend on the distance: a lost message is
sent again after 2 s, and what lies ahead has to last until then, near as well as far.
"""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Pace:
    """One row of the table.

    Attributes:
        from_round_trip_ms: it serves round trips from here on.
        frame_ms: the phone's frames.
        piece_ms: the gateway's longest pieces (maya.v1: 250 ms).
    """

    from_round_trip_ms: float
    frame_ms: int
    piece_ms: float


PACES: Final = (
    Pace(0.0, 60, 160.0),
    Pace(150.0, 100, 200.0),
    Pace(350.0, 200, 250.0),
)
"""From near to far. 60 ms is as short as a call for each frame is worth; a frame of 250 ms is the longest that maya.v1 takes."""

USUAL: Final = PACES[1]
"""Where nothing is measured yet."""

_STAY: Final = 0.8
"""A nearer row is taken only below this share of where its farther neighbour begins: the pace does not flutter."""


def next_pace(pace: Pace, round_trip_ms: float, spread_ms: float = 0.0) -> Pace:
    """Return the pace for a round trip.

    Args:
        pace: the one now.
        round_trip_ms: as it is measured.
        spread_ms: how far the last round trips lie apart: an unsteady line is treated like a longer one.
    """
    length_ms = round_trip_ms + spread_ms
    row = max(place for place, each in enumerate(PACES) if length_ms >= each.from_round_trip_ms)
    now = PACES.index(pace)
    while row < now and length_ms >= _STAY * PACES[row + 1].from_round_trip_ms:
        row += 1
    return PACES[row]


def frame_ms_within(frame_ms: float, limits: tuple[int, int]) -> int:
    """Return a frame length that the gateway takes."""
    return round(min(max(frame_ms, limits[0]), limits[1]))
