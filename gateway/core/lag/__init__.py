"""The lag that a learner feels: measured, named, and answered. Pure: samples and `now_ms` in, decisions out.

::

    ping and pong -------> RoundTripGauge --+
    frames of speech ----> UplinkGauge -----+--> felt lag and its cause --> LagMonitor --> Notice, Ask, Clear
    who speaks when -----> ResponseGauge ---+                                   ^
    what waits to be sent ------------------+                        the learner's answer
"""

from gateway.core.lag.monitor import Ask, Clear, Decision, Felt, LagMonitor, Notice
from gateway.core.lag.pace import PACES, USUAL, Pace, frame_ms_within, next_pace
from gateway.core.lag.regions import ROUND_TRIP_MS, known_region
from gateway.core.lag.settings import LagSettings
from gateway.core.lag.states import LAG_TABLE, LagEvent, LagState
from gateway.core.lag.wording import notice_text, prompt_text

__all__ = [
    "LAG_TABLE",
    "PACES",
    "ROUND_TRIP_MS",
    "USUAL",
    "Ask",
    "Clear",
    "Decision",
    "Felt",
    "LagEvent",
    "LagMonitor",
    "LagSettings",
    "LagState",
    "Notice",
    "Pace",
    "frame_ms_within",
    "known_region",
    "next_pace",
    "notice_text",
    "prompt_text",
]
