"""What came of one conversation, for people and for programs."""

import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Final

from client_sim.lag_log import LagLog
from client_sim.learner import Exchange
from client_sim.playback import Gaps
from gateway.core.messages import ByeReason, Transcript

KEPT_LINES: Final = 2_000
_RECENT_LINES: Final = 16
KEPT_ROUND_TRIPS: Final = 20_000
KEPT_ERRORS: Final = 100
KEPT_PARTS: Final = 100


@dataclass(slots=True)
class Caption:
    """One line of the conversation; turns are counted within the epoch of a relay."""

    turn: int
    who: str
    text: str
    final: bool
    epoch: int = 0


@dataclass(slots=True)
class Captions:
    """The conversation as it was shown: a line replaces those of its turn and speaker that were not final."""

    lines: list[Caption] = field(default_factory=list)

    def add(self, message: Transcript) -> Caption:
        """Take in a transcript message; returns its line."""
        caption = Caption(message.turn, message.who, message.text, message.final, message.epoch)
        whose = (caption.epoch, caption.turn, caption.who)
        # Only the end can be preliminary, so the whole is never searched.
        recent = self.lines[-_RECENT_LINES:]
        kept = [line for line in recent if line.final or (line.epoch, line.turn, line.who) != whose]
        self.lines[-_RECENT_LINES:] = kept
        if len(self.lines) < KEPT_LINES:
            self.lines.append(caption)
        return caption


@dataclass(slots=True)
class Frames:
    """Frames of the learner's speech."""

    captured: int = 0
    sent: int = 0
    resent: int = 0
    lost: int = 0


@dataclass(slots=True)
class Outcome:
    """What came of a conversation.

    Attributes:
        session_id: of the conversation.
        support_code: the gateway's code to quote.
        started_at: wall clock, ISO 8601.
        duration_ms: from the first try to connect to the end.
        setup_ms: from the first try to connect to `ready`.
        first_speech_ms: from the first try to connect to Maya's first audible sample.
        parts: messages of the parts that were reached.
        captions: the transcript.
        round_trips_ms: measured by ping and pong through the whole path.
        exchanges: the learner's utterances and how long Maya's answers took.
        gaps: silence within Maya's turns because sound was late.
        barge_ins: turns of Maya's that were cut.
        frames: of the learner's speech.
        reconnects: how often the phone came back after a drop.
        relays: how many relays it met.
        slip_ms: how late the measuring program itself was at worst.
        lag_prompts: how often the learner was asked to continue or skip.
        lag: what they were told and asked about the lag, and what they answered.
        assessment: the written assessment.
        saved: whether it is in the learner's profile.
        bye: the gateway's reason for the end.
        errors: `error` messages, without their texts' context.
        failure: what went wrong, in one sentence.
        status: HTTP status where an upgrade was refused.
        captured: what the microphone gave, where that was recorded.
        played: what was played, by (epoch, turn), where that was recorded.
    """

    session_id: str
    support_code: str | None = None
    started_at: str = ""
    duration_ms: float = 0.0
    setup_ms: float | None = None
    first_speech_ms: float | None = None
    parts: list[dict[str, Any]] = field(default_factory=list)
    captions: Captions = field(default_factory=Captions)
    round_trips_ms: list[float] = field(default_factory=list)
    exchanges: Sequence[Exchange] = ()
    gaps: Gaps = field(default_factory=Gaps)
    barge_ins: int = 0
    frames: Frames = field(default_factory=Frames)
    reconnects: int = 0
    relays: int = 0
    slip_ms: float = 0.0
    lag_prompts: int = 0
    lag: LagLog = field(default_factory=LagLog)
    assessment: dict[str, Any] | None = None
    saved: bool | None = None
    bye: ByeReason | None = None
    errors: list[dict[str, Any]] = field(default_factory=list)
    failure: str | None = None
    status: int | None = None
    captured: bytes | None = None
    played: dict[Any, bytes] | None = None

    @property
    def ok(self) -> bool:
        """Whether the test was held to its end and assessed, or to where the learner skipped it."""
        if self.failure is not None:
            return False
        return self.bye == "skipped" or (self.assessment is not None and self.bye == "finished")

    @property
    def why_not(self) -> str | None:
        """Why it is not `ok`, in one sentence."""
        if self.ok:
            return None
        if self.failure is not None:
            return self.failure
        if self.bye != "finished":
            return f"the gateway ended the conversation: {self.bye}" if self.bye else "the conversation did not end"
        return "no assessment came"

    @property
    def voice_to_voice_ms(self) -> list[float]:
        """For each utterance that Maya answered: from its last voiced sample to her first audible one."""
        waits = (exchange.voice_to_voice_ms for exchange in self.exchanges)
        return [wait for wait in waits if wait is not None]

    def as_document(self) -> dict[str, Any]:
        """For a program: everything but recorded sound; times are milliseconds."""
        return {
            "session_id": self.session_id,
            "support_code": self.support_code,
            "started_at": self.started_at,
            "ok": self.ok,
            "failure": self.why_not,
            "status": self.status,
            "bye": self.bye,
            "saved": self.saved,
            "assessment": self.assessment,
            "parts": self.parts,
            "transcript": [asdict(line) for line in self.captions.lines],
            "timings": self._timings(),
            "frames": asdict(self.frames),
            "reconnects": self.reconnects,
            "relays": self.relays,
            "barge_ins": self.barge_ins,
            "lag_prompts": self.lag_prompts,
            "lag": self.lag.as_document(),
            "errors": self.errors,
        }

    def _timings(self) -> dict[str, Any]:
        return {
            "duration_ms": _rounded(self.duration_ms),
            "setup_ms": _rounded(self.setup_ms),
            "first_speech_ms": _rounded(self.first_speech_ms),
            "round_trips_ms": [_rounded(each) for each in self.round_trips_ms],
            "voice_to_voice_ms": [_rounded(each) for each in self.voice_to_voice_ms],
            "turns": [self._turn(exchange) for exchange in self.exchanges],
            "gaps": {
                "count": self.gaps.count,
                "total_ms": _rounded(self.gaps.total_ms),
                "longest_ms": _rounded(self.gaps.longest_ms),
                "each_ms": [_rounded(gap.gap_ms) for gap in self.gaps.each],
            },
            "send_slip_ms": _rounded(self.slip_ms),
        }

    @staticmethod
    def _turn(exchange: Exchange) -> dict[str, Any]:
        return {
            "spoke_ms": _rounded(exchange.spoke_until_ms - exchange.spoke_from_ms),
            "interrupting": exchange.interrupting,
            "first_byte_ms": _rounded(exchange.first_byte_ms),
            "voice_to_voice_ms": _rounded(exchange.voice_to_voice_ms),
        }


def median_ms(samples: Sequence[float]) -> float | None:
    """The middle of samples, None of none."""
    return statistics.median(samples) if samples else None


def _rounded(value_ms: float | None) -> float | None:
    return None if value_ms is None else round(value_ms, 3)
