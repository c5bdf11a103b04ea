"""The mind against what the gateway really sends: its prompts, stage directions, history, tools and Converse requests."""

import pytest

from gateway.core.assessment import (
    Basis,
    TranscriptLine,
    assess_part_tool,
    correction,
    micro_assess_request,
    micro_summary_request,
    parse_part_notes,
    parse_summary,
)
from gateway.core.assessment.micro import MicroRequest
from gateway.core.errors import BadToolInput
from gateway.core.exam import PartPlan, build_plan
from gateway.core.nova_events import HistoryTurn, Role
from gateway.core.nova_events.history import shape_history
from gateway.core.prompts import FIRST_HISTORY_LINE, Direction, says_closing, system_prompt
from infra.local.nova.interfaces import HistoryMessage, ToolSpec
from infra.local.nova.minds import ScriptedMind

ANSWER = "I spend most of my time in the kitchen, because my family cooks together every evening."
PLANS = [
    build_plan(name, choice).part(part)
    for name, choice in (("full", 0), ("full", 4), ("demo", 1))
    for part in (1, 2, 3)
]


def tools() -> tuple[ToolSpec, ...]:
    tool = assess_part_tool()
    return (ToolSpec(tool.name, tool.description, tool.schema),)


def examiner(plan: PartPlan, *said: tuple[Role, str]) -> ScriptedMind:
    shaped = shape_history([HistoryTurn(role, text) for role, text in said], first_user_line=FIRST_HISTORY_LINE)
    history = [HistoryMessage("USER" if turn.role is Role.USER else "ASSISTANT", turn.text) for turn in shaped]
    return ScriptedMind(system_prompt=system_prompt(plan), history=history, tools=tools())


def hold(maya: ScriptedMind, plan: PartPlan) -> list[tuple[Role, str]]:
    """Hold a whole part and return what was said."""
    said: list[tuple[Role, str]] = []

    def speak(*sentences: str) -> None:
        said.append((Role.ASSISTANT, " ".join(sentences)))

    speak(*maya.reply(Direction.BEGIN, "text").sentences)
    if plan.cue_card is not None:
        speak(*maya.reply(Direction.START_TALK, "text").sentences)
    while not says_closing(plan, said[-1][1]):
        assert len(said) < 30
        said.append((Role.USER, ANSWER))
        speak(*maya.reply(ANSWER, "speech").sentences)
    return said


@pytest.mark.parametrize("plan", PLANS, ids=lambda plan: f"{plan.part}-{len(plan.questions)}")
def test_every_plan_is_held_word_for_word(plan: PartPlan) -> None:
    """Opening, topic, each question once in its order, and the closing line exactly."""
    said = [text for role, text in hold(examiner(plan), plan) if role is Role.ASSISTANT]

    everything = " ".join(said)
    wanted = [plan.opening, *([plan.cue_card.topic] if plan.cue_card else []), *plan.questions, plan.closing]
    places = [everything.find(text) for text in wanted]
    assert -1 not in places
    assert places == sorted(places)
    assert all(everything.count(question) == 1 for question in plan.questions)
    assert said[0].startswith(plan.opening)
    assert said[-1] == plan.closing


@pytest.mark.parametrize("plan", PLANS[:3], ids=lambda plan: str(plan.part))
def test_a_part_goes_on_after_a_loss_at_any_place(plan: PartPlan) -> None:
    """With the conversation up to any answer as history, the next thing said is what would have been said."""
    said = hold(examiner(plan), plan)
    for cut in [index + 1 for index, (role, _) in enumerate(said) if role is Role.USER]:
        successor = examiner(plan, *said[:cut])

        words = " ".join(successor.reply(Direction.CONTINUE, "text").sentences)

        wanted = next((question for question in plan.questions if question in said[cut][1]), plan.closing)
        assert words.endswith(wanted)


def test_notes_are_accepted_by_the_gateway() -> None:
    """The arguments of the real tool become notes without loss."""
    plan = PLANS[0]
    maya = examiner(plan)
    hold(maya, plan)
    (call,) = maya.reply(Direction.ASSESS, "text").tool_calls

    notes = parse_part_notes(call.arguments, part=1, basis=Basis.HEARD)

    assert notes.criteria.pronunciation is not None
    assert notes.criteria.fluency_coherence.band >= 3
    assert notes.strengths
    assert notes.next_steps


def test_a_correction_of_the_gateway_is_followed() -> None:
    """The text that names the faults brings arguments without them."""
    maya = examiner(PLANS[0])
    (call,) = maya.reply(Direction.ASSESS, "text").tool_calls
    with pytest.raises(BadToolInput) as refused:
        parse_part_notes({"unexpected": True}, part=1, basis=Basis.HEARD)

    (second,) = maya.tool_result(call.tool_use_id, correction(refused.value)).tool_calls

    assert parse_part_notes(second.arguments, part=1, basis=Basis.HEARD).part == 1


def converse(request: MicroRequest) -> dict[str, object]:
    body = {
        "system": [{"text": request.system}],
        "messages": [{"role": "user", "content": [{"text": request.user}]}],
        "toolConfig": {
            "tools": [{"toolSpec": {"name": request.tool.name, "inputSchema": {"json": dict(request.tool.schema)}}}],
            "toolChoice": {"tool": {"name": request.tool.name}},
        },
    }
    answer = ScriptedMind(system_prompt=request.system, history=(), tools=()).reply_converse(body)
    written: dict[str, object] = answer["output"]["message"]["content"][0]["toolUse"]["input"]
    return written


def test_nova_micro_assesses_and_sums_up_as_asked() -> None:
    """A transcript becomes notes, and the notes a summary that holds their points."""
    lines = [TranscriptLine("maya", "Where do you live?"), TranscriptLine("learner", ANSWER)]

    notes = parse_part_notes(converse(micro_assess_request(1, lines)), part=1, basis=Basis.TRANSCRIPT)
    summary = parse_summary(converse(micro_summary_request([notes])))

    assert notes.criteria.pronunciation is None
    assert summary.strengths == notes.strengths
    assert "part 1" in summary.summary
