"""Writing the assessment: calls the tool that is there, and once more, corrected, when it was refused."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from infra.local.nova.interfaces import Reply, ToolCall, ToolSpec
from infra.local.nova.minds.evidence import Evidence
from infra.local.nova.minds.form import Findings, fill_in
from infra.local.nova.minds.wording import word

ASSESS_TOOL: Final = "assess_part"


def choose_tool(tools: Sequence[ToolSpec], request: str) -> ToolSpec | None:
    """Return the tool to assess with: `assess_part`, else one that the request names, else the first of all."""
    ranked = sorted(tools, key=lambda tool: (tool.name != ASSESS_TOOL, tool.name not in request))
    return ranked[0] if ranked else None


class Assessor:
    """Calls the tool for one session.

    Args:
        tools: the tools of promptStart.
        part: number of the part, None where the prompt does not say.
        evidence: what was heard; read when the assessment is asked for.
    """

    def __init__(self, tools: Sequence[ToolSpec], *, part: int | None, evidence: Evidence) -> None:
        self._tools = tools
        self._part = part
        self._evidence = evidence
        self._calls = 0
        self._open: dict[str, tuple[ToolSpec, bool]] = {}

    def assess(self, request: str) -> Reply:
        """Answer the request to assess; without any tool there is nothing to say."""
        tool = choose_tool(self._tools, request)
        return Reply() if tool is None else self._call(tool)

    def result(self, tool_use_id: str, document: Any) -> Reply:
        """Take a tool's result; after an error call it once more, with the fault mended."""
        tool, corrected = self._open.pop(tool_use_id, (None, True))
        if tool is None or corrected or not isinstance(document, Mapping) or "error" not in document:
            return Reply()
        return self._call(tool, complaint=str(document["error"]))

    def _call(self, tool: ToolSpec, complaint: str | None = None) -> Reply:
        bands = self._evidence.bands()
        findings = Findings(bands=bands, wording=word(bands), part=self._part, heard=True)
        self._calls += 1
        call = ToolCall(
            tool_use_id=f"tooluse_{self._calls}",
            name=tool.name,
            arguments=fill_in(tool.schema, findings, complaint=complaint or ""),
        )
        self._open[call.tool_use_id] = (tool, complaint is not None)
        return Reply(tool_calls=(call,))
