"""What a load run is asked to do, as one value that processes hand to each other."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from gateway.core.messages import LagAnswer, Module, Rate

HERE: Final = "here"
"""The region of phones whose line is left as it is."""

LAG_THRESHOLD_MS: Final = 2_500.0
"""The product asks its learners from this felt lag on (`gateway.core.lag`)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadSettings:
    """One run.

    Attributes:
        url: of the gateway.
        token_command: prints a token; ``{i}`` in it is the phone's number.
        phones: how many.
        minutes: how long new conversations are begun, and conversations go on.
        ramp_s: over this time the phones come in, evenly.
        regions: names of profiles, dealt to the phones in turn; `HERE` for none.
        label: what the run is compared by.
        out: the file it is written to.
        seed: of all chance in the lines.
        speech: a recording that learners speak with; generated plain speech when None.
        module: which module is practised.
        rate: microphone, Hz.
        frame_ms: length of a frame of speech; it follows the lag, as the app's does, when None.
        lead_ms: what the speaker gathers before a turn is played.
        barge_in: share of the phones whose learners speak over Maya.
        on_lag: answer to every lag question; none is given when None.
        lag_threshold_ms: a lag prompt is true where the line's own lag is at least so much.
        ping_every_ms: how often the round trip is measured.
        drain_s: at the end, conversations are given this long to be assessed.
        processes: at most so many; a further one is begun when one's core is full.
        ca: certificates to trust.
    """

    url: str
    token_command: str
    phones: int
    minutes: float
    ramp_s: float
    regions: tuple[str, ...]
    label: str
    out: str
    seed: int = 1
    speech: str | None = None
    module: Module = "academic_speaking"
    rate: Rate = 16000
    frame_ms: int | None = None
    lead_ms: float = 60.0
    barge_in: float = 0.2
    on_lag: LagAnswer | None = "continue"
    lag_threshold_ms: float = LAG_THRESHOLD_MS
    ping_every_ms: float = 2_000.0
    drain_s: float = 40.0
    processes: int = 1
    ca: str | None = None

    @property
    def ca_path(self) -> Path | None:
        """Certificates to trust."""
        return Path(self.ca) if self.ca else None

    def region_of(self, phone: int) -> str:
        """Where a phone is."""
        return self.regions[phone % len(self.regions)]

    def interrupts(self, phone: int) -> bool:
        """Whether a phone's learner speaks over Maya: an even share of every region's."""
        turn = phone // len(self.regions)
        return int((turn + 1) * self.barge_in) > int(turn * self.barge_in)

    def as_line(self) -> str:
        """For another process, on one line."""
        return json.dumps(asdict(self))

    @classmethod
    def from_line(cls, line: str) -> "LoadSettings":
        """What `as_line` wrote."""
        fields = json.loads(line)
        return cls(**{**fields, "regions": tuple(fields["regions"])})
