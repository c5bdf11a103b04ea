"""The mind behind Maya's voice in the Nova Sonic stand-in: follows the script in its prompt, understands nothing else.

It is deterministic: the same prompt, history and words give the same answers.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from infra.local.nova.interfaces import HistoryMessage, Mind, Modality, Reply, ToolSpec
from infra.local.nova.minds import converse
from infra.local.nova.minds.assessor import Assessor
from infra.local.nova.minds.evidence import Evidence
from infra.local.nova.minds.examiner import Companion, Examiner, read_event
from infra.local.nova.minds.recall import recall
from infra.local.nova.minds.script import Direction, parse_script, read_direction

__all__ = ["ScriptedMind", "make_mind"]


class ScriptedMind:
    """The `Mind` of one session or Converse call; see `infra.local.nova.interfaces`.

    Args:
        system_prompt: holds the script of a part (`script`); without one the mind just keeps up a conversation.
        history: the conversation so far; the mind goes on where it ends.
        tools: what it may call.
    """

    def __init__(self, *, system_prompt: str, history: Sequence[HistoryMessage], tools: Sequence[ToolSpec]) -> None:
        script = parse_script(system_prompt)
        self._evidence = Evidence()
        self._talk: Examiner | Companion = Companion(history)
        if script is not None:
            self._talk = Examiner(script, history)
            for answer in recall(script, history).answers:
                self._evidence.add(answer)
        self._assessor = Assessor(tools, part=script.part if script else None, evidence=self._evidence)

    def reply(self, user_text: str, kind: Modality, *, speech_ms: float | None = None) -> Reply:
        """Answer an utterance or an interactive text.

        Args:
            user_text: its words; of an utterance that was not understood, none.
            kind: whether it was spoken or sent as text.
            speech_ms: how long the utterance was, where that is known; the pace of speech is judged by it.
        """
        if kind == "text" and read_direction(user_text) is Direction.ASSESS:
            return self._assessor.assess(user_text)
        if kind == "speech":
            self._evidence.add(user_text, speech_ms)
        return self._talk.reply(read_event(user_text, kind), user_text)

    def interrupted(self, sentences_begun: int) -> None:
        """Take note that the last reply was cut off after so many of its sentences had begun to be spoken.

        A question that was never begun is then asked later. Without this call the mind takes every reply as said.
        """
        self._talk.interrupted(sentences_begun)

    def tool_result(self, tool_use_id: str, document: Any) -> Reply:
        """Go on after the result of a tool call: silent, or with one corrected call after an error."""
        return self._assessor.result(tool_use_id, document)

    def reply_converse(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Answer a Converse request from what stands in its messages."""
        return converse.answer(request)


def make_mind(*, system_prompt: str, history: Sequence[HistoryMessage], tools: Sequence[ToolSpec]) -> Mind:
    """Return a new mind for one session or one Converse call."""
    return ScriptedMind(system_prompt=system_prompt, history=history, tools=tools)
