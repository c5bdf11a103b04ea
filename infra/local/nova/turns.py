"""Who has the floor: the table of turn-taking, and what still has to be answered. Pure. SERVICE.md A4 to A6."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, auto
from types import MappingProxyType
from typing import Any


class Floor(Enum):
    """What Maya is doing."""

    LISTENING = auto()
    SETTLING = auto()  # something is to be answered, as soon as it is understood and its time has come
    SPEAKING = auto()  # a reply is on its way or still being played


class Cue(Enum):
    """What changes it."""

    SPEECH_START = auto()
    SPEECH_END = auto()
    TEXT = auto()
    TOOL_RESULT = auto()
    SPEAK = auto()
    STAY_SILENT = auto()
    PLAYED = auto()


class Effect(Enum):
    """What has to be done about the reply before."""

    NOTHING = auto()
    FINALS = auto()  # its FINAL texts leave, since the next input is there
    HOLD = auto()  # the answer waits until the learner has finished
    INTERRUPT = auto()


TURNS: Mapping[tuple[Floor, Cue], tuple[Floor, Effect]] = MappingProxyType(
    {
        (Floor.LISTENING, Cue.SPEECH_START): (Floor.LISTENING, Effect.FINALS),
        (Floor.LISTENING, Cue.SPEECH_END): (Floor.SETTLING, Effect.NOTHING),
        (Floor.LISTENING, Cue.TEXT): (Floor.SETTLING, Effect.INTERRUPT),
        (Floor.LISTENING, Cue.TOOL_RESULT): (Floor.SETTLING, Effect.FINALS),
        (Floor.LISTENING, Cue.SPEAK): (Floor.SPEAKING, Effect.NOTHING),
        (Floor.LISTENING, Cue.STAY_SILENT): (Floor.LISTENING, Effect.NOTHING),
        (Floor.LISTENING, Cue.PLAYED): (Floor.LISTENING, Effect.NOTHING),
        (Floor.SETTLING, Cue.SPEECH_START): (Floor.LISTENING, Effect.HOLD),
        (Floor.SETTLING, Cue.SPEECH_END): (Floor.SETTLING, Effect.NOTHING),
        (Floor.SETTLING, Cue.TEXT): (Floor.SETTLING, Effect.INTERRUPT),
        (Floor.SETTLING, Cue.TOOL_RESULT): (Floor.SETTLING, Effect.FINALS),
        (Floor.SETTLING, Cue.SPEAK): (Floor.SPEAKING, Effect.FINALS),
        (Floor.SETTLING, Cue.STAY_SILENT): (Floor.LISTENING, Effect.NOTHING),
        (Floor.SETTLING, Cue.PLAYED): (Floor.SETTLING, Effect.NOTHING),
        (Floor.SPEAKING, Cue.SPEECH_START): (Floor.LISTENING, Effect.INTERRUPT),
        (Floor.SPEAKING, Cue.SPEECH_END): (Floor.SETTLING, Effect.INTERRUPT),
        (Floor.SPEAKING, Cue.TEXT): (Floor.SETTLING, Effect.INTERRUPT),
        (Floor.SPEAKING, Cue.TOOL_RESULT): (Floor.SPEAKING, Effect.NOTHING),
        (Floor.SPEAKING, Cue.SPEAK): (Floor.SPEAKING, Effect.INTERRUPT),
        (Floor.SPEAKING, Cue.STAY_SILENT): (Floor.SPEAKING, Effect.NOTHING),
        (Floor.SPEAKING, Cue.PLAYED): (Floor.LISTENING, Effect.NOTHING),
    }
)
"""Every floor x cue. INTERRUPT does nothing where no reply is under way and no FINAL text is due."""


@dataclass(slots=True)
class Utterance:
    """One utterance of the learner on its way to words.

    Attributes:
        number: by which its words come back.
        start_ms, end_ms, detection_ms: positions in the audio.
        end_due_ms, final_due_ms: when `userSpeechEnd` and the FINAL text leave.
        answered: an answer to it is wanted; False for one that an interactive text has overtaken.
        words: None until understood.
        end_sent, final_sent: what has left.
    """

    number: int
    start_ms: float
    end_ms: float
    detection_ms: float
    end_due_ms: float
    final_due_ms: float
    answered: bool = True
    words: str | None = None
    end_sent: bool = False
    final_sent: bool = False


@dataclass(frozen=True, slots=True)
class Asked:
    """An interactive text to be answered."""

    text: str


@dataclass(frozen=True, slots=True)
class Reported:
    """A tool result to go on from."""

    tool_use_id: str
    document: Any


type Pending = Utterance | Asked | Reported
