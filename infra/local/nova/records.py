"""What is known about each stream, for tests: counts always; words and speech only when recording was asked for.

Everything is in memory and bounded; nothing is written but the tap, which holds no more than times and byte counts.
"""

from __future__ import annotations

import base64
import json
from collections import Counter, OrderedDict, deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TextIO

_KEPT_STREAMS = 1_000
_KEPT_EVENTS = 20_000
_KEPT_PCM_BYTES = 1 << 30
_FIRST_BYTES = 640


@dataclass(slots=True)
class StreamRecord:
    """One stream, open or closed.

    Attributes:
        stream_id: short and unique in this process.
        model_id: as requested.
        opened_at_ms: Unix time.
        recording: words and speech are kept.
        closed_at_ms: Unix time; None while it is open.
        ending: how it ended: `finished`, the exception type it died of, a fault's name, `client_reset`, `connection_lost`.
        inputs, outputs: counts of events by name.
        heard_bytes, said_bytes: PCM received and sent.
        system_prompt, history, events, heard, said, cuts: kept only when recording.
    """

    stream_id: str
    model_id: str
    opened_at_ms: float
    recording: bool
    closed_at_ms: float | None = None
    ending: str = ""
    inputs: Counter[str] = field(default_factory=Counter)
    outputs: Counter[str] = field(default_factory=Counter)
    heard_bytes: int = 0
    said_bytes: int = 0
    system_prompt: str = ""
    history: list[dict[str, str]] = field(default_factory=list)
    events: deque[dict[str, Any]] = field(default_factory=lambda: deque(maxlen=_KEPT_EVENTS))
    heard: bytearray = field(default_factory=bytearray)
    said: bytearray = field(default_factory=bytearray)
    cuts: list[int] = field(default_factory=list)

    def summary(self) -> dict[str, Any]:
        """Return times and counts, and the first bytes that were heard, by which a recorded stream's learner is known."""
        return {
            "id": self.stream_id,
            "model": self.model_id,
            "opened_at_ms": self.opened_at_ms,
            "closed_at_ms": self.closed_at_ms,
            "ending": self.ending,
            "inputs": dict(self.inputs),
            "outputs": dict(self.outputs),
            "heard_bytes": self.heard_bytes,
            "said_bytes": self.said_bytes,
            "heard_first": base64.b64encode(self.heard[:_FIRST_BYTES]).decode(),
        }

    def document(self) -> dict[str, Any]:
        """Return it for the control API, without speech."""
        summary = self.summary()
        del summary["heard_first"]
        return {
            **summary,
            "system_prompt": self.system_prompt,
            "history": self.history,
            "cuts": self.cuts,
            "events": list(self.events),
        }


class Tap:
    """Writes one JSON line for each piece of speech: `[monotonic_ns, stream, "heard" or "said", cumulative bytes]`.

    Args:
        path: created or overwritten.
    """

    def __init__(self, path: Path) -> None:
        self._file: TextIO = path.open("w", encoding="utf-8")

    def note(self, at_ns: int, stream_id: str, direction: Literal["heard", "said"], cumulative_bytes: int) -> None:
        """Add a line; it reaches the file at the next `flush` at the latest."""
        self._file.write(f'[{at_ns},{json.dumps(stream_id)},"{direction}",{cumulative_bytes}]\n')

    def flush(self) -> None:
        """Write what is buffered."""
        self._file.flush()

    def close(self) -> None:
        """Write what is buffered and close the file."""
        self._file.close()


class Records:
    """All streams of the process; the oldest closed ones are forgotten first.

    Args:
        recording: keep words and speech.
        tap: gets a line for each piece of speech.
    """

    def __init__(self, *, recording: bool, tap: Tap | None = None) -> None:
        self._recording = recording
        self._tap = tap
        self._streams: OrderedDict[str, StreamRecord] = OrderedDict()
        self._opened = 0
        self._pcm_bytes = 0

    @property
    def recording(self) -> bool:
        """Whether words and speech are kept."""
        return self._recording

    @property
    def opened(self) -> int:
        """Count of streams opened since the process began."""
        return self._opened

    def open(self, model_id: str, at_ms: float) -> StreamRecord:
        """Begin the record of a new stream."""
        self._opened += 1
        record = StreamRecord(f"s{self._opened}", model_id, at_ms, self._recording)
        self._streams[record.stream_id] = record
        self._forget_oldest()
        return record

    def get(self, stream_id: str) -> StreamRecord | None:
        """Return one record."""
        return self._streams.get(stream_id)

    def documents(self) -> list[dict[str, Any]]:
        """Return all records, the oldest first."""
        return [record.document() for record in self._streams.values()]

    def summaries(self) -> list[dict[str, Any]]:
        """Return all records in brief, the oldest first."""
        return [record.summary() for record in self._streams.values()]

    def whole(self) -> list[dict[str, Any]]:
        """Return all records with their speech, in base64."""
        return [
            {
                **record.document(),
                "heard": base64.b64encode(record.heard).decode(),
                "said": base64.b64encode(record.said).decode(),
            }
            for record in self._streams.values()
        ]

    def forget_closed(self) -> None:
        """Drop the records of closed streams."""
        for record in [record for record in self._streams.values() if record.closed_at_ms is not None]:
            self._drop(record)

    def heard(self, record: StreamRecord, pcm: bytes, at_ns: int) -> None:
        """Note speech received."""
        record.heard_bytes += len(pcm)
        if record.recording:
            record.heard += pcm
            self._keep(len(pcm))
        if self._tap is not None:
            self._tap.note(at_ns, record.stream_id, "heard", record.heard_bytes)

    def said(self, record: StreamRecord, pcm: bytes, at_ns: int) -> None:
        """Note speech sent."""
        record.said_bytes += len(pcm)
        if record.recording:
            record.said += pcm
            self._keep(len(pcm))
        if self._tap is not None:
            self._tap.note(at_ns, record.stream_id, "said", record.said_bytes)

    def cut(self, record: StreamRecord) -> None:
        """Note that the learner interrupted: what follows is another reply."""
        if record.recording:
            record.cuts.append(record.said_bytes)

    def event(
        self, record: StreamRecord, direction: Literal["in", "out"], name: str, body: Mapping[str, Any], at_ms: float
    ) -> None:
        """Count an event, and keep it when recording; `body` must hold no audio."""
        counts = record.inputs if direction == "in" else record.outputs
        counts[name] += 1
        if record.recording:
            record.events.append({"at_ms": at_ms, "direction": direction, "name": name, **body})

    def flush(self) -> None:
        """Write the tap."""
        if self._tap is not None:
            self._tap.flush()

    def _keep(self, size_bytes: int) -> None:
        self._pcm_bytes += size_bytes
        if self._pcm_bytes > _KEPT_PCM_BYTES:
            oldest = next((record for record in self._streams.values() if record.closed_at_ms is not None), None)
            if oldest is not None:
                self._drop(oldest)

    def _forget_oldest(self) -> None:
        while len(self._streams) > _KEPT_STREAMS:
            oldest = next((record for record in self._streams.values() if record.closed_at_ms is not None), None)
            if oldest is None:
                return
            self._drop(oldest)

    def _drop(self, record: StreamRecord) -> None:
        del self._streams[record.stream_id]
        self._pcm_bytes -= len(record.heard) + len(record.said)
