"""Nova Micro's part: answers one Converse request, with a forced tool or in words.

What it is given is read simply. Lines with a speaker (`Candidate: ...`) are a transcript, judged by the same measures as
speech that was heard. Other lines are notes: `- went well: ...` and `- to practise: ...` become strengths and next steps,
and the summary is put together from them.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final
from zlib import crc32

from infra.local.nova.interfaces import ToolSpec
from infra.local.nova.minds.evidence import Criterion, Evidence
from infra.local.nova.minds.form import Findings, fill_in
from infra.local.nova.minds.wording import Wording, word

_LEARNER_LINE: Final = re.compile(r"^\s*(?:candidate|learner|student|user)\s*:\s*(.*)$", re.IGNORECASE)
_PART: Final = re.compile(r"\bpart:?\s*(\d+)", re.IGNORECASE)
_NOTE: Final = re.compile(r"^\s*[-*]\s*([^:]{1,40}):\s*(.+)$")
_WENT_WELL: Final = re.compile(r"went well|strength|good", re.IGNORECASE)
_TO_PRACTISE: Final = re.compile(r"practi[cs]e|next|improve", re.IGNORECASE)
_BAND: Final = re.compile(r"\bband\D{0,3}(\d)", re.IGNORECASE)
_USUAL_BAND: Final = 5


def answer(request: Mapping[str, Any]) -> dict[str, Any]:
    """Return `output` and `stopReason` for a Converse request body."""
    asked = "\n".join(_texts(request.get("messages", ())))
    findings = read(asked)
    tool = _forced_tool(request)
    if tool is None:
        content: dict[str, Any] = {"text": findings.wording.summary}
    else:
        arguments = fill_in(tool.schema, findings, complaint=_complaint(request.get("messages", ())))
        content = {"toolUse": {"toolUseId": _tool_use_id(asked), "name": tool.name, "input": arguments}}
    return {
        "output": {"message": {"role": "assistant", "content": [content]}},
        "stopReason": "end_turn" if tool is None else "tool_use",
    }


def read(text: str) -> Findings:
    """Return what can be found out from a transcript or from notes."""
    spoken = [match[1] for line in text.splitlines() if (match := _LEARNER_LINE.match(line))]
    part = _PART.search(text)
    number = int(part[1]) if part else None
    if spoken:
        evidence = Evidence()
        for turn in spoken:
            evidence.add(turn)
        bands = evidence.bands()
        return Findings(bands=bands, wording=word(bands), part=number, heard=False)
    named = [int(band) for band in _BAND.findall(text)]
    bands = dict.fromkeys(Criterion, round(sum(named) / len(named)) if named else _USUAL_BAND)
    return Findings(bands=bands, wording=_from_notes(text, word(bands)), part=number, heard=False)


def _from_notes(text: str, usual: Wording) -> Wording:
    """Replace the usual wording by what the notes say."""
    notes = [(match[1], match[2].strip()) for line in text.splitlines() if (match := _NOTE.match(line))]
    strengths = list(dict.fromkeys(note for label, note in notes if _WENT_WELL.search(label)))
    steps = list(dict.fromkeys(note for label, note in notes if _TO_PRACTISE.search(label)))
    parts = sorted(set(_PART.findall(text)))
    wording = replace(usual, strengths=strengths or usual.strengths, next_steps=steps or usual.next_steps)
    where = f"This looks back on {_listed([f'part {part}' for part in parts])} of your test." if parts else ""
    best = f"What stood out: {_inside(wording.strengths[0])}"
    most = f"What will help you most: {_inside(wording.next_steps[0])}"
    return replace(wording, summary=" ".join(filter(None, (where, best, most))))


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _inside(sentence: str) -> str:
    """Write a sentence as it stands after a colon."""
    return f"{sentence[:1].lower()}{sentence[1:].rstrip('.')}."


def _texts(messages: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    for message in messages:
        if message.get("role") == "user":
            for block in message.get("content", ()):
                if "text" in block:
                    yield str(block["text"])


def _complaint(messages: Sequence[Mapping[str, Any]]) -> str:
    """Return what the last message says was wrong with the tool call before it, if it says so."""
    results = [
        block["toolResult"] for block in (messages[-1].get("content", ()) if messages else ()) if "toolResult" in block
    ]
    return json.dumps([result.get("content") for result in results], ensure_ascii=False) if results else ""


def _forced_tool(request: Mapping[str, Any]) -> ToolSpec | None:
    """Return the tool that must be called: the named one, or the first where any will do."""
    config = request.get("toolConfig") or {}
    choice = config.get("toolChoice") or {}
    specs = [tool["toolSpec"] for tool in config.get("tools", ()) if "toolSpec" in tool]
    name = (choice.get("tool") or {}).get("name")
    wanted = [spec for spec in specs if spec["name"] == name] if name else specs if "any" in choice else []
    if not wanted:
        return None
    spec = wanted[0]
    return ToolSpec(spec["name"], spec.get("description", ""), spec["inputSchema"]["json"])


def _tool_use_id(asked: str) -> str:
    return f"tooluse_{crc32(asked.encode(errors='replace')):08x}"
