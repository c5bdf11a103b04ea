"""The session as Redis holds it: ids, numbers and written notes, never words that were spoken.

A relay writes it, and the relay that follows a lost one reads it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, get_args

from gateway.core.assessment import PartNotes
from gateway.core.conversation.examiner import Phase
from gateway.core.messages import ByeReason, Start

_OPEN: Final = "open"
_DELIVERING: Final = "delivering"
"""Saved, or queued to be, and the phone is being told; its next message wakes a relay if this one is lost."""
_ENDED: Final = "ended"
_STORED_OF_START: Final = ("session_id", "module", "voice", "language", "rate", "out_rate", "region")


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """How far a part of the test has come.

    Attributes:
        phase: of the part.
        answers: questions that the learner has answered.
        elapsed_ms: how long the part has lasted.
        phase_elapsed_ms: how long the phase has.
    """

    phase: Phase = Phase.OPENING
    answers: int = 0
    elapsed_ms: float = 0.0
    phase_elapsed_ms: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenSession:
    """A session that was open when its progress was last written.

    Attributes:
        start: what the app began with, without its free text.
        epoch: of the relay that wrote it.
        connection_id: the phone's last connection.
        connected_at_ms: when API Gateway opened that, wall clock.
        seq: the phone was told that every frame up to this one is taken.
        captured_ms: capture time at the end of that frame.
        plan: name of the test's plan.
        choice: which of its questions are asked.
        part: the part under way, 0 before the first.
        standing: how far that is.
        elapsed_ms: how long the conversation has lasted.
        spoken_ms: how long the learner has spoken in each part.
        notes: of the parts that were assessed.
        lag_noticed: the learner has been told what lag to expect.
        reason: why the test is over, None while it goes on.
        written_at_ms: when this was written, wall clock.
        heard_at_ms: when the phone was last heard, wall clock.
    """

    start: Start
    epoch: int
    connection_id: str
    connected_at_ms: int
    seq: int
    captured_ms: float
    plan: str
    choice: int
    part: int
    standing: Standing
    elapsed_ms: float
    spoken_ms: Mapping[int, float] = field(default_factory=dict)
    notes: Mapping[int, PartNotes] = field(default_factory=dict)
    lag_noticed: bool = False
    reason: ByeReason | None = None
    written_at_ms: float = 0.0
    heard_at_ms: float = 0.0


def session_progress(
    start: Start,
    *,
    ended: bool,
    delivering: bool = False,
    connection_id: str | None,
    epoch: int,
    seq: int,
    n: int,
    part: int,
    elapsed_ms: float,
    spoken_ms: Mapping[int, float],
    notes: Mapping[int, PartNotes],
    connected_at_ms: int = 0,
    captured_ms: float = 0.0,
    plan: str = "full",
    choice: int = 0,
    standing: Standing = Standing(),
    lag_noticed: bool = False,
    reason: ByeReason | None = None,
    written_at_ms: float = 0.0,
    heard_at_ms: float = 0.0,
    unsaved: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Return the progress of a session as a JSON document; `OpenSession` says what the fields mean.

    `unsaved` is its written assessment, where nothing else took it.

    The free text `client` of `start` is left out: nothing is known about its content.
    """
    return {
        "version": 1,
        "state": _ENDED if ended else _DELIVERING if delivering else _OPEN,
        **{name: getattr(start, name) for name in _STORED_OF_START},
        "connection_id": connection_id or "",
        "connected_at_ms": connected_at_ms,
        "epoch": epoch,
        "seq": seq,
        "captured_ms": round(captured_ms, 3),
        "n": n,
        "plan": plan,
        "choice": choice,
        "part": part,
        "phase": standing.phase.value,
        "answers": standing.answers,
        "part_elapsed_ms": round(standing.elapsed_ms),
        "phase_elapsed_ms": round(standing.phase_elapsed_ms),
        "elapsed_ms": round(elapsed_ms),
        "spoken_ms": {str(number): round(spoken) for number, spoken in spoken_ms.items()},
        "notes": [notes[number].model_dump(mode="json") for number in sorted(notes)],
        "lag_noticed": lag_noticed,
        "reason": reason,
        "written_at_ms": round(written_at_ms),
        "heard_at_ms": round(heard_at_ms),
        **({} if unsaved is None else {"unsaved": unsaved}),
    }


def open_session(progress: Mapping[str, Any] | None) -> OpenSession | None:
    """Read the progress of a session that has not ended; None for any other, and for what is no progress of this version."""
    if progress is None or progress.get("version") != 1 or progress.get("state") not in (_OPEN, _DELIVERING):
        return None
    try:
        return _read(progress)
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


def _read(progress: Mapping[str, Any]) -> OpenSession:
    reason = progress["reason"]
    if reason is not None and reason not in get_args(ByeReason):
        raise ValueError("reason: unknown")
    notes = [PartNotes.model_validate(document) for document in progress["notes"]]
    return OpenSession(
        start=Start.model_validate({name: progress.get(name) for name in _STORED_OF_START}),
        epoch=int(progress["epoch"]),
        connection_id=str(progress["connection_id"]),
        connected_at_ms=int(progress["connected_at_ms"]),
        seq=int(progress["seq"]),
        captured_ms=float(progress["captured_ms"]),
        plan=str(progress["plan"]),
        choice=int(progress["choice"]),
        part=int(progress["part"]),
        standing=Standing(
            phase=Phase(progress["phase"]),
            answers=int(progress["answers"]),
            elapsed_ms=float(progress["part_elapsed_ms"]),
            phase_elapsed_ms=float(progress["phase_elapsed_ms"]),
        ),
        elapsed_ms=float(progress["elapsed_ms"]),
        spoken_ms={int(part): float(spoken) for part, spoken in progress["spoken_ms"].items()},
        notes={note.part: note for note in notes},
        lag_noticed=bool(progress["lag_noticed"]),
        reason=reason,
        written_at_ms=float(progress["written_at_ms"]),
        heard_at_ms=float(progress["heard_at_ms"]),
    )
