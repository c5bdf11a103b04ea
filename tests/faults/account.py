"""What a conversation with faults in it came to, and what those of one row came to together."""

import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from gateway.core.messages import Error, Part, Ready, Status
from tests.e2e.callers import Caller
from tests.e2e.maya import HeldStream, Said, check_understood
from tests.faults.silence import END, LEARNER, MAYA, Kind, Sound, heard_nothing_ms
from tests.faults.sound import Count, Spoken, count_heard, count_played, due_of, frames

_ENOUGH_SPEECH_MS = 500.0
"""Learners who speak in tones need less time than people; who said less than this has nothing to be assessed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Claims:
    """What a row claims beyond the three counts.

    Attributes:
        comes_back: the learner hears Maya again after each fault, and the test goes on to its end.
        every_word: the transcript has every word once.
        relays: how many relays the phone meets.
        recalls: how many more it may meet because it comes back when everything is over.
    """

    comes_back: bool = True
    every_word: bool = True
    relays: int = 1
    recalls: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """What one conversation came to.

    Attributes:
        name: of the row.
        strikes_ms: when something was broken.
        sounds: what sounded when.
        learner, maya: what was lost and doubled of each side's sound.
        assessment_lost: the learner spoke, and nothing is saved.
        relays: how many the phone met.
        complaints: what else is not as it should be.
    """

    name: str
    strikes_ms: Sequence[float]
    sounds: Sequence[Sound]
    learner: Count
    maya: Count
    assessment_lost: bool
    relays: int = 1
    complaints: Sequence[str] = ()


def account(
    name: str,
    caller: Caller,
    streams: Sequence[HeldStream],
    *,
    strikes_ms: Sequence[float],
    claims: Claims,
    saved: bool,
    complaints: Sequence[str] = (),
) -> Account:
    """Look through a conversation that is over."""
    complaints = list(complaints)
    if claims.comes_back and not (caller.over and caller.over.bye == "finished"):
        complaints.append(f"the test did not come to its end: {caller}")
    met = caller.phone.figures.epochs
    if not claims.relays <= met <= claims.relays + claims.recalls:
        complaints.append(f"the phone met {met} relays, and not {claims.relays}")
    if claims.every_word and not _understood(caller):
        complaints.append("the transcript does not have every word once")
    spoke = sum(exchange.spoke_until_ms - exchange.spoke_from_ms for exchange in caller.exchanges) >= _ENOUGH_SPEECH_MS
    rate = caller.habits.out_rate
    return Account(
        name=name,
        strikes_ms=strikes_ms,
        sounds=sounds_of(caller),
        learner=count_heard(spoken_by(caller, to_its_end=claims.comes_back), streams),
        maya=count_played(played_of(caller), due_of(streams, rate), rate),
        assessment_lost=spoke and not saved,
        relays=met,
        complaints=complaints,
    )


def _understood(caller: Caller) -> bool:
    if not caller.utterances:
        return not caller.captions("learner")
    try:
        check_understood(caller)
    except AssertionError:
        return False
    return True


def spoken_by(caller: Caller, *, to_its_end: bool) -> Spoken:
    """What the caller's microphone captured; who speaks over the last line of the test speaks to nobody."""
    ends, rate = caller.spoken_to, caller.habits.rate
    frame_bytes = caller.habits.frame_ms * rate // 1000 * 2
    lines = caller.messages(Ready)
    later = [line.next_seq * frame_bytes for line in lines if line.epoch > lines[0].epoch]
    heard_to = ends[-2:][0] if to_its_end and ends else 0
    return Spoken(
        pcm=bytes(caller.captured),
        rate=rate,
        begins=caller.spoken_from,
        ends=[end - frame_bytes for end in ends],
        heard_to=heard_to,
        taken_up=later,
    )


def played_of(caller: Caller) -> list[Said]:
    """Maya's turns as the caller's phone played them."""
    speaker = caller.speaker
    assert speaker.recording is not None
    speaker.advance(float("inf"))
    # A turn's name is its relay's epoch and its number.
    turns = sorted((turn, heard) for turn, heard in speaker.turns.items() if isinstance(turn, tuple))
    played = [Said(bytes(speaker.recording.get(turn, b"")), heard.cut) for turn, heard in turns]
    return [turn for turn in played if turn.pcm]


def sounds_of(caller: Caller) -> list[Sound]:
    """What sounded at the caller's phone, up to the end of the talk."""
    over_ms = min(
        (at_ms for message, at_ms in caller.shown if ends_talk(message)),
        default=caller.shown[-1][1] if caller.shown else 0.0,
    )
    parts = [(at_ms, message.part) for message, at_ms in caller.shown if isinstance(message, Part)]
    spans = [(LEARNER, each.spoke_from_ms, each.spoke_until_ms) for each in caller.exchanges]
    for turn, heard in caller.speaker.turns.items():
        if heard.first_sound_ms is None or heard.last_sound_ms is None:
            continue
        begin_ms = heard.first_sound_ms
        for gap in (gap for gap in caller.speaker.gaps.each if gap.turn == turn):
            spans.append((MAYA, begin_ms, gap.at_ms))
            begin_ms = gap.at_ms + gap.gap_ms
        spans.append((MAYA, begin_ms, heard.last_sound_ms))
    spans = [(who, from_ms, min(to_ms, over_ms)) for who, from_ms, to_ms in spans if from_ms < over_ms]
    spans.append((END, over_ms, over_ms))
    return [
        Sound(who, from_ms, to_ms, max((part for at_ms, part in parts if at_ms <= from_ms), default=0))
        for who, from_ms, to_ms in spans
    ]


def ends_talk(message: object) -> bool:
    """Whether the talk is over when this is shown."""
    return (isinstance(message, Status) and message.state == "assessing") or (
        isinstance(message, Error) and message.fatal
    )


@dataclass(slots=True, kw_only=True)
class Row:
    """One row of the table.

    Attributes:
        fault: its name.
        tried: how often something was broken.
        heard_nothing_ms: of each time; empty where nobody was left to hear.
        frames_lost, frames_doubled: of both sides.
        assessments_lost: conversations without one.
        conversations: how many there were.
        complaints: what else was not as it should be.
    """

    fault: str
    tried: int = 0
    heard_nothing_ms: list[float] = field(default_factory=list)
    frames_lost: int = 0
    frames_doubled: int = 0
    assessments_lost: int = 0
    conversations: int = 0
    complaints: list[str] = field(default_factory=list)

    def add(self, held: Account, natural: dict[Kind, float], *, comes_back: bool) -> None:
        """Add one conversation."""
        self.conversations += 1
        self.tried += len(held.strikes_ms)
        if comes_back:
            self.heard_nothing_ms += heard_nothing_ms(held.sounds, held.strikes_ms, natural)
        self.frames_lost += frames(held.learner.lost_ms) + frames(held.maya.lost_ms)
        self.frames_doubled += frames(held.learner.doubled_ms) + frames(held.maya.doubled_ms)
        self.assessments_lost += held.assessment_lost
        self.complaints += held.complaints

    @property
    def p50_ms(self) -> float | None:
        """Median of how long the learner heard nothing."""
        return statistics.median(self.heard_nothing_ms) if self.heard_nothing_ms else None

    @property
    def worst_ms(self) -> float | None:
        """The longest time that a learner heard nothing."""
        return max(self.heard_nothing_ms, default=None)

    @property
    def holds(self) -> bool:
        """Whether nothing was lost or doubled, and all is as it should be."""
        return not (self.frames_lost or self.frames_doubled or self.assessments_lost or self.complaints) and bool(
            self.tried
        )

    def as_document(self) -> dict[str, Any]:
        """For a program."""
        return {**asdict(self), "p50_ms": self.p50_ms, "worst_ms": self.worst_ms, "holds": self.holds}
