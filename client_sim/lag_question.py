"""The gateway's question about the lag: on the screen from its prompt until it is answered, cleared, or its relay is gone."""

from client_sim.repeats import Repeats, Request
from gateway.core.messages import LagAnswer, LagChoice, LagCleared, LagPrompt


class LagQuestion:
    """At most one question, and the learner's answer, which is repeated until the gateway clears the question.

    Args:
        repeats: where the answer is repeated.

    Attributes:
        prompt: the question, None for none.
    """

    def __init__(self, repeats: Repeats) -> None:
        self.prompt: LagPrompt | None = None
        self._choice: LagAnswer | None = None
        self._repeats = repeats

    def asked(self, prompt: LagPrompt) -> None:
        """The gateway asks; an answer to an earlier question is void."""
        self._set(prompt)

    def cleared(self, message: LagCleared) -> None:
        """The gateway takes a question back, or has its answer."""
        if self.prompt is not None and self.prompt.prompt_id == message.prompt_id:
            self._set(None)

    def forget(self) -> None:
        """Another relay speaks, which knows nothing of it."""
        self._set(None)

    def taken_back(self) -> LagCleared | None:
        """Forget it; what its relay would have said had it taken the question back, None where there was none."""
        asked = self.prompt
        self._set(None)
        if asked is None:
            return None
        return LagCleared(epoch=asked.epoch, n=asked.n, prompt_id=asked.prompt_id, why="lag_gone")

    def choose(self, choice: LagAnswer) -> None:
        """The learner answers; where nothing is asked, that means nothing."""
        if self.prompt is not None:
            self._choice = choice
            self._repeats.open(Request.LAG_CHOICE)

    @property
    def answer(self) -> LagChoice | None:
        """What the gateway is to be told, None while there is no answer."""
        if self.prompt is None or self._choice is None:
            return None
        return LagChoice(prompt_id=self.prompt.prompt_id, choice=self._choice)

    def _set(self, prompt: LagPrompt | None) -> None:
        self.prompt = prompt
        self._choice = None
        self._repeats.answered(Request.LAG_CHOICE)
