"""What the mind has still to answer, in order, and when its answer is due. Pure. SERVICE.md A4 to A6."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from infra.local.nova.interfaces import Mind, Reply
from infra.local.nova.listener import Listener
from infra.local.nova.turns import Asked, Pending, Reported, Utterance

_MAX_PENDING = 64


@dataclass(frozen=True, slots=True)
class Due:
    """When an answer is decided, written and heard, each by the engine's clock.

    Attributes:
        think_ms: not before this is the mind asked.
        text_ms: not before this does the SPECULATIVE text leave.
        audio_ms: not before this does the sound leave.
    """

    think_ms: float
    text_ms: float
    audio_ms: float


class Awaited:
    """Utterances, interactive texts and tool results without an answer.

    Attributes:
        due: of the answer to all of it; None while the learner speaks on, or nothing waits.
    """

    def __init__(self) -> None:
        self.due: Due | None = None
        self._pending: deque[Pending] = deque()

    def __bool__(self) -> bool:
        """Whether anything waits."""
        return bool(self._pending)

    def add(self, pending: Pending, due: Due) -> bool:
        """Have something answered, and all before it with it; returns whether there was room."""
        if len(self._pending) >= _MAX_PENDING:
            return False
        self._pending.append(pending)
        self.due = due
        return True

    def hold(self) -> None:
        """Let the answer wait until something more has come."""
        self.due = None

    def clear(self) -> None:
        """Leave all of it unanswered."""
        self._pending.clear()
        self.due = None

    @property
    def understood(self) -> bool:
        """Whether something waits, and every utterance of it has its FINAL text."""
        return bool(self._pending) and all(not isinstance(item, Utterance) or item.final_sent for item in self._pending)

    def reply(self, mind: Mind, listener: Listener) -> Reply:
        """Put all of it to the mind, in order; speech that follows on speech is one utterance to it."""
        replies: list[Reply] = []
        while self._pending:
            match self._pending.popleft():
                case Utterance() as utterance:
                    replies.append(self._reply_to_speech(mind, [*listener.take_overheard(), utterance]))
                case Asked(text):
                    replies.append(mind.reply(text, "text"))
                case Reported(tool_use_id, document):
                    replies.append(mind.tool_result(tool_use_id, document))
        return Reply(
            tuple(sentence for reply in replies for sentence in reply.sentences if sentence),
            tuple(call for reply in replies for call in reply.tool_calls),
        )

    def _reply_to_speech(self, mind: Mind, utterances: list[Utterance]) -> Reply:
        while self._pending and isinstance(following := self._pending[0], Utterance):
            self._pending.popleft()
            utterances.append(following)
        words = " ".join(utterance.words for utterance in utterances if utterance.words)
        speech_ms = sum(utterance.end_ms - utterance.start_ms for utterance in utterances)
        return mind.reply(words, "speech", speech_ms=speech_ms)
