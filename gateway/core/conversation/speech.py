"""An utterance of the learner's, as far as Nova Sonic has told of it."""

from dataclasses import dataclass


@dataclass(slots=True)
class Speech:
    """The learner's utterance under way, from its first sign to its text.

    Attributes:
        began_ms: where it begins in the sound of its stream, None where the service does not tell.
        ended_ms: where it ends, None while it lasts or where the service does not tell.
        understood_ms: up to where its text will be that of the sound, None where the service does not tell.
        over: the learner has finished, and its text is waited for.
        answer_due: whether Maya has to answer it; settled when it is over.
        overtaken: Maya has begun to speak while it lasted.
        again: its stream was lost, and the next one hears it from its beginning.
    """

    began_ms: float | None = None
    ended_ms: float | None = None
    understood_ms: float | None = None
    over: bool = False
    answer_due: bool = True
    overtaken: bool = False
    again: bool = False

    @property
    def length_ms(self) -> float | None:
        """How long it lasted, None where that is not known."""
        if self.began_ms is None or self.ended_ms is None:
            return None
        return max(0.0, self.ended_ms - self.began_ms)
