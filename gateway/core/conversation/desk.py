"""Where the notes of the parts come together: by the stream that heard a part, else by Nova Micro from its words."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Final

from gateway.core.assessment import (
    Basis,
    PartNotes,
    QuotationGuard,
    TranscriptLine,
    micro_assess_request,
    parse_part_notes,
)
from gateway.core.conversation.actions import Action, AskMicro
from gateway.core.conversation.transcript import Transcript
from gateway.core.errors import BadToolInput

_TRIES: Final = 2
"""A stream's call of the tool, and one correction."""


class Source(Enum):
    """Who is writing the notes of a part."""

    STREAM = "stream"
    MICRO = "micro"


@dataclass(slots=True)
class AssessmentDesk:
    """Notes written, and notes still being written.

    Attributes:
        notes: by part, quotation-free.
        pending: who is writing the notes of a part, and until when.
    """

    transcript: Transcript
    act: Callable[[Action], None]
    notes: dict[int, PartNotes] = field(default_factory=dict)
    pending: dict[int, tuple[Source, float]] = field(default_factory=dict)
    _tries: dict[int, int] = field(default_factory=dict)

    @property
    def complete(self) -> bool:
        """Whether nobody is writing notes any more."""
        return not self.pending

    def asked_stream(self, part: int, until_ms: float) -> None:
        """The stream that heard the part has been asked to assess it."""
        self.pending[part] = (Source.STREAM, until_ms)

    def ask_micro(self, part: int, until_ms: float) -> None:
        """Have Nova Micro assess the part from its words; without any of the learner's there are no notes."""
        lines = [TranscriptLine(who=said.who, text=said.text) for said in self.transcript.of_part(part)]
        if not any(line.who == "learner" for line in lines):
            self.pending.pop(part, None)
            return
        self.pending[part] = (Source.MICRO, until_ms)
        self.act(AskMicro(part, micro_assess_request(part, lines)))

    def tool_called(self, part: int, arguments: Mapping[str, Any] | None) -> tuple[dict[str, object], bool]:
        """A stream has assessed its part; return the tool's result and whether the stream is still needed."""
        try:
            notes = parse_part_notes(arguments, part=part, basis=Basis.HEARD)
        except BadToolInput as error:
            self._tries[part] = self._tries.get(part, 0) + 1
            return {"error": str(error)}, self._tries[part] < _TRIES
        self._write(notes)
        return {"status": "saved"}, False

    def micro_answered(self, part: int, arguments: Mapping[str, Any] | None) -> None:
        """Nova Micro has assessed a part, or failed to."""
        self.pending.pop(part, None)
        if arguments is None or part in self.notes:
            return
        try:
            self._write(parse_part_notes(arguments, part=part, basis=Basis.TRANSCRIPT))
        except BadToolInput:
            return

    def overdue(self, now_ms: float) -> list[tuple[int, Source]]:
        """Return the parts whose notes did not come in time."""
        return [(part, source) for part, (source, until_ms) in self.pending.items() if now_ms >= until_ms]

    def give_up(self, part: int) -> None:
        """Nobody writes the notes of this part any more."""
        self.pending.pop(part, None)

    def next_timer_ms(self) -> float | None:
        """When the next notes are overdue."""
        return min((until_ms for _, until_ms in self.pending.values()), default=None)

    def _write(self, notes: PartNotes) -> None:
        guard = QuotationGuard(self.transcript.texts())
        self.notes[notes.part] = guard.clean_notes(notes)
        self.pending.pop(notes.part, None)
