"""What a learner was told and asked about the lag in one conversation, and what came of it."""

from dataclasses import asdict, dataclass, field
from typing import Any, Final

from gateway.core.messages import DownMessage, LagAnswer, LagCause, LagCleared, LagClearedWhy, LagNotice, LagPrompt

KEPT_QUESTIONS: Final = 1_000


@dataclass(slots=True)
class LagQuestion:
    """One `lag_prompt`; moments are ms since the conversation began.

    Attributes:
        prompt_id: its name.
        lag_ms: the felt lag by the gateway's word.
        cause: why, by the same.
        text: what the learner read.
        expires_s: how long an answer was waited for.
        at_ms: when it was shown.
        answer: what the learner chose, None for nothing.
        answered_at_ms: when.
        cleared: why it was taken off the screen, None where it never was.
        cleared_at_ms: when.
    """

    prompt_id: str
    lag_ms: float
    cause: LagCause
    text: str
    expires_s: float
    at_ms: float
    answer: LagAnswer | None = None
    answered_at_ms: float | None = None
    cleared: LagClearedWhy | None = None
    cleared_at_ms: float | None = None


@dataclass(slots=True)
class LagLog:
    """The notice and the questions of one conversation.

    Attributes:
        expected_ms: the lag to expect by the notice, None before it came.
        notice: what the learner read.
        noticed_at_ms: when, in ms since the conversation began.
        questions: every `lag_prompt`, in order; one that came again after the app was killed counts once.
    """

    expected_ms: float | None = None
    notice: str | None = None
    noticed_at_ms: float | None = None
    questions: list[LagQuestion] = field(default_factory=list)

    def note(self, message: DownMessage, at_ms: float) -> None:
        """Take in what was shown; what is not about lag is left alone."""
        match message:
            case LagNotice():
                self.expected_ms, self.notice, self.noticed_at_ms = message.expected_ms, message.text, at_ms
            case LagPrompt() if self._find(message.prompt_id) is None and len(self.questions) < KEPT_QUESTIONS:
                fields = message.model_dump(include={"prompt_id", "lag_ms", "cause", "text", "expires_s"})
                self.questions.append(LagQuestion(**fields, at_ms=at_ms))
            case LagCleared(prompt_id=prompt_id, why=why):
                question = self._find(prompt_id)
                if question is not None:
                    question.cleared, question.cleared_at_ms = why, at_ms
            case _:
                pass

    def answered(self, prompt_id: str, answer: LagAnswer, at_ms: float) -> None:
        """The learner has chosen."""
        question = self._find(prompt_id)
        if question is not None:
            question.answer, question.answered_at_ms = answer, at_ms

    def as_document(self) -> dict[str, Any]:
        """For a program."""
        return asdict(self)

    def _find(self, prompt_id: str) -> LagQuestion | None:
        return next((each for each in reversed(self.questions) if each.prompt_id == prompt_id), None)
