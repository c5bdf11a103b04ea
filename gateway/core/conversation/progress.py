"""The session as Redis holds it: ids, numbers and written notes, never words that were spoken."""

from collections.abc import Mapping
from typing import Any

from gateway.core.assessment import PartNotes
from gateway.core.messages import Start


def session_progress(
    start: Start,
    *,
    ended: bool,
    connection_id: str | None,
    epoch: int,
    seq: int,
    n: int,
    part: int,
    elapsed_ms: float,
    spoken_ms: Mapping[int, float],
    notes: Mapping[int, PartNotes],
    unsaved: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Return the progress of a session as a JSON document; `unsaved` is its written assessment, where nothing else took it.

    The free text `client` of `start` is left out: nothing is known about its content.
    """
    return {
        "version": 1,
        "state": "ended" if ended else "open",
        "session_id": start.session_id,
        "module": start.module,
        "voice": start.voice,
        "language": start.language,
        "rate": start.rate,
        "out_rate": start.out_rate,
        "connection_id": connection_id or "",
        "epoch": epoch,
        "seq": seq,
        "n": n,
        "part": part,
        "elapsed_ms": round(elapsed_ms),
        "spoken_ms": {str(number): round(spoken) for number, spoken in spoken_ms.items()},
        "notes": [notes[number].model_dump(mode="json") for number in sorted(notes)],
        **({} if unsaved is None else {"unsaved": unsaved}),
    }
