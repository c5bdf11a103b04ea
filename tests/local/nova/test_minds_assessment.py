"""What the mind writes: bands from what it heard, arguments for any schema, corrections, and Converse."""

import json
import re
from collections.abc import Mapping
from typing import Any

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from infra.local.nova.interfaces import HistoryMessage, Reply, ToolSpec
from infra.local.nova.minds import ScriptedMind, make_mind
from infra.local.nova.minds.evidence import Criterion, Evidence, count_words
from infra.local.nova.minds.form import Findings, fill_in
from infra.local.nova.minds.wording import word

ASSESS = "[The part is over: assess the part now with the tool, and say nothing.]"
PROMPT = "Part: 3\n\nOpening:\nHello.\n\nQuestions:\n1. Why?\n\nClosing:\nBye.\n"

JUDGEMENT = {
    "type": "object",
    "properties": {"band": {"type": "integer", "minimum": 0, "maximum": 9}, "comment": {"type": "string"}},
    "required": ["band", "comment"],
}
SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "fluency_coherence": JUDGEMENT,
        "lexical_resource": JUDGEMENT,
        "grammatical_range_accuracy": JUDGEMENT,
        "pronunciation": JUDGEMENT,
        "strengths": {"type": "array", "items": {"type": "string"}},
        "next_steps": {"type": "array", "items": {"type": "string"}},
    },
    "required": ["fluency_coherence", "strengths"],
}
TOOL = ToolSpec("assess_part", "Write the notes.", SCHEMA)

RICH = (
    "Although I grew up in a village where nothing much happened, I remember those summers fondly, because my "
    "grandmother, who was an excellent storyteller, invented adventures for us while we gathered cherries. If I could "
    "choose again, I would probably stay there, since the quiet which surrounded us shaped whatever patience I have."
)
POOR = "Um, er, home. Uh. Good. Um, food good."


def only_call(reply: Reply) -> Mapping[str, Any]:
    """Return the arguments of the one tool call in a reply that says nothing."""
    assert reply.sentences == ()
    (call,) = reply.tool_calls
    return call.arguments


def mind(*tools: ToolSpec, history: tuple[HistoryMessage, ...] = ()) -> ScriptedMind:
    return ScriptedMind(system_prompt=PROMPT, history=history, tools=tools or (TOOL,))


def findings(*turns: str, heard: bool = True, part: int | None = 2) -> Findings:
    evidence = Evidence()
    for turn in turns:
        evidence.add(turn)
    bands = evidence.bands()
    return Findings(bands=bands, wording=word(bands), part=part, heard=heard)


# Evidence.


def bands_of(*turns: str, speech_ms: float | None = None) -> dict[Criterion, int]:
    evidence = Evidence()
    for turn in turns:
        evidence.add(turn, speech_ms)
    return evidence.bands()


def test_a_rich_talk_scores_higher_than_a_poor_one() -> None:
    """In every criterion."""
    rich, poor = bands_of(RICH, RICH), bands_of(POOR)

    assert all(rich[criterion] > poor[criterion] for criterion in Criterion)
    assert all(0 <= band <= 9 for band in (*rich.values(), *poor.values()))


def test_nothing_said_is_band_nought() -> None:
    """Silence and sounds that nobody understood cannot be judged."""
    assert set(bands_of().values()) == {0}
    assert set(bands_of("", " ").values()) == {0}


def test_a_few_words_stay_at_the_bottom() -> None:
    """Fewer than five words are never more than band 3."""
    assert max(bands_of("Magnificent architecture.").values()) <= 3


def test_pace_counts() -> None:
    """The same words at an easy pace are more fluent than very slow ones."""
    easy, slow = bands_of(RICH, speech_ms=25_000), bands_of(RICH, speech_ms=200_000)

    assert easy[Criterion.FLUENCY] > slow[Criterion.FLUENCY]


def test_hesitation_counts() -> None:
    """Fillers lower fluency."""
    halting = RICH.replace(", ", ", um, er, um, uh, ")

    assert bands_of(halting)[Criterion.FLUENCY] < bands_of(RICH)[Criterion.FLUENCY]


def test_what_was_not_understood_counts_against_pronunciation() -> None:
    """Half of the utterances lost is worse than none."""
    assert bands_of(RICH, "", "", "")[Criterion.PRONUNCIATION] < bands_of(RICH)[Criterion.PRONUNCIATION]


def test_speech_of_known_length_only_is_judged_by_its_length() -> None:
    """What plain ears write about a person gives middling bands, and more for more."""
    short, long = bands_of("speech of 1.2 seconds"), bands_of("speech of 40.0 seconds")

    assert count_words("speech of 40.0 seconds") == 80
    assert short[Criterion.FLUENCY] < long[Criterion.FLUENCY]


def test_the_words_heard_are_not_printed() -> None:
    """Evidence in a message shows no words."""
    evidence = Evidence()
    evidence.add("secret plans")

    assert "secret" not in repr(evidence)


# The tool call.


def test_assessing_calls_the_tool_and_says_nothing() -> None:
    """The arguments satisfy the schema, and the bands follow what was heard."""
    good, bad = mind(), mind()
    good.reply(RICH, "speech", speech_ms=25_000)
    bad.reply(POOR, "speech")

    high, low = only_call(good.reply(ASSESS, "text")), only_call(bad.reply(ASSESS, "text"))

    jsonschema.validate(high, SCHEMA)
    jsonschema.validate(low, SCHEMA)
    assert set(high) == set(SCHEMA["properties"])
    assert high["fluency_coherence"]["band"] > low["fluency_coherence"]["band"]
    assert high["fluency_coherence"]["comment"] != low["fluency_coherence"]["comment"]


def test_comments_share_no_run_of_words_with_the_learner() -> None:
    """Five words in a row of what was said appear nowhere."""
    examiner = mind()
    examiner.reply(RICH, "speech")

    written = json.dumps(only_call(examiner.reply(ASSESS, "text"))).lower()

    words = re.findall(r"\w+", RICH.lower())
    assert not [words[i : i + 5] for i in range(len(words) - 4) if " ".join(words[i : i + 5]) in written]


def test_history_of_the_part_is_evidence_and_that_of_others_is_not() -> None:
    """After a recovery the bands rest on the whole part, as far as this part goes."""
    mine = (
        HistoryMessage("USER", "[joined]"),
        HistoryMessage("ASSISTANT", "Hello. Why?"),
        HistoryMessage("USER", RICH),
    )
    others = (HistoryMessage("USER", RICH), HistoryMessage("ASSISTANT", "Bye. See you in part three."))

    def band_after(history: tuple[HistoryMessage, ...]) -> int:
        band: int = only_call(mind(history=history).reply(ASSESS, "text"))["fluency_coherence"]["band"]
        return band

    assert band_after(mine) > 0
    assert band_after(others) == 0


def test_an_error_is_corrected_once() -> None:
    """The second call has another id and valid arguments; a second error is met with silence."""
    examiner = mind()
    examiner.reply(RICH, "speech")
    (first,) = examiner.reply(ASSESS, "text").tool_calls

    complaint = "fluency_coherence.comment must not be blank; pronunciation.band must be a whole number"
    (second,) = examiner.tool_result(first.tool_use_id, {"error": complaint}).tool_calls

    assert second.tool_use_id != first.tool_use_id
    jsonschema.validate(second.arguments, SCHEMA)
    assert second.arguments["fluency_coherence"]["comment"].count(".") == 1
    assert "pronunciation" not in second.arguments
    assert examiner.tool_result(second.tool_use_id, {"error": "still wrong"}) == Reply()


@pytest.mark.parametrize("document", [{"ok": True}, [], "fine", None])
def test_a_good_result_is_met_with_silence(document: Any) -> None:
    """Nothing more is said or called."""
    examiner = mind()
    (call,) = examiner.reply(ASSESS, "text").tool_calls

    assert examiner.tool_result(call.tool_use_id, document) == Reply()


def test_an_unknown_result_is_ignored() -> None:
    """A result of no call of ours changes nothing."""
    assert mind().tool_result("tooluse_99", {"error": "what?"}) == Reply()


def test_the_right_tool_is_chosen() -> None:
    """`assess_part` first, then one that is named, then any; without tools nothing happens."""
    other, named = ToolSpec("look_up", "", {"type": "object"}), ToolSpec("write_notes", "", {"type": "object"})
    direction = "[assess the part now with write_notes]"

    assert mind(other, TOOL).reply(direction, "text").tool_calls[0].name == "assess_part"
    assert mind(other, named).reply(direction, "text").tool_calls[0].name == "write_notes"
    assert mind(other).reply(ASSESS, "text").tool_calls[0].name == "look_up"
    assert ScriptedMind(system_prompt="", history=(), tools=()).reply(ASSESS, "text") == Reply()


# Any schema.

NUMBERS = st.one_of(
    st.builds(
        lambda low, span: {"type": "integer", "minimum": low, "maximum": low + span},
        st.integers(-50, 50),
        st.integers(0, 30),
    ),
    st.builds(
        lambda low, span: {"type": "number", "exclusiveMinimum": low, "maximum": low + span},
        st.integers(-50, 50),
        st.integers(1, 30),
    ),
    st.builds(lambda low: {"type": "number", "minimum": low, "maximum": low + 9, "multipleOf": 0.5}, st.integers(0, 3)),
    st.builds(lambda low: {"type": "integer", "exclusiveMaximum": low}, st.integers(-5, 500)),
    st.just({"type": "integer", "multipleOf": 5, "minimum": 1}),
)
TEXTS = st.one_of(
    st.builds(
        lambda least, span: {"type": "string", "minLength": least, "maxLength": least + span},
        st.integers(0, 400),
        st.integers(0, 300),
    ),
    st.just({"type": "string"}),
    st.just({"type": "string", "pattern": r"^\d{4}-\d\d-\d\d$"}),
)
SIMPLE = st.one_of(
    NUMBERS,
    TEXTS,
    st.just({"type": "boolean"}),
    st.just({"type": "null"}),
    st.just({"type": ["null", "string"]}),
    st.just({"oneOf": [{"type": "null"}, {"type": "integer", "minimum": 3, "maximum": 4}]}),
    st.just({"const": {"a": 1}}),
    st.lists(st.sampled_from(["heard", "transcript", "x", 2]), min_size=1, max_size=4, unique=True).map(
        lambda options: {"enum": options}
    ),
)
NAMES = st.sampled_from(
    ["band", "comment", "fluency", "vocabulary", "pronunciation", "strengths", "next_steps", "summary", "part", "basis"]
)


def _composed(inner: st.SearchStrategy[dict[str, Any]]) -> st.SearchStrategy[dict[str, Any]]:
    objects = st.builds(
        lambda properties, optional: {
            "type": "object",
            "properties": properties,
            "required": [name for name in properties if name not in optional],
            "additionalProperties": False,
        },
        st.dictionaries(NAMES, inner, max_size=4),
        st.sets(NAMES),
    )
    arrays = st.builds(
        lambda items, least, span: {"type": "array", "items": items, "minItems": least, "maxItems": least + span},
        inner,
        st.integers(0, 4),
        st.integers(0, 3),
    )
    return st.one_of(
        objects,
        arrays,
        inner.map(lambda schema: {"anyOf": [schema, {"type": "null"}]}),
        inner.map(lambda schema: {"allOf": [schema, {"description": "anything"}]}),
    )


@settings(max_examples=150, deadline=None)
@given(
    schema=st.recursive(SIMPLE, _composed, max_leaves=12),
    heard=st.booleans(),
    complaint=st.sampled_from(["", "band part"]),
)
def test_arguments_satisfy_any_schema(schema: dict[str, Any], heard: bool, complaint: str) -> None:
    """Whatever the tool asks for, the arguments are valid, at the first try and at the corrected one."""
    filled = fill_in(schema, findings(RICH, heard=heard), complaint=complaint)

    jsonschema.validate(filled, schema)
    json.dumps(filled)


def test_references_and_self_references_are_followed() -> None:
    """Shared definitions are found, and a schema that contains itself comes to an end."""
    schema = {
        "$defs": {
            "Band": {"type": "integer", "minimum": 0, "maximum": 9},
            "Node": {
                "type": "object",
                "properties": {
                    "band": {"$ref": "#/$defs/Band", "description": "0 to 9"},
                    "child": {"anyOf": [{"$ref": "#/$defs/Node"}, {"type": "null"}]},
                    "children": {"type": "array", "items": {"$ref": "#/$defs/Node"}},
                },
                "required": ["band", "child"],
            },
        },
        "$ref": "#/$defs/Node",
    }

    filled = fill_in(schema, findings(RICH))

    jsonschema.validate(filled, schema)
    assert filled["band"] > 0
    assert len(json.dumps(filled)) < 200_000


def test_lists_without_repetition() -> None:
    """Unique items are made where the item's schema allows them."""
    schema = {"type": "array", "items": {"enum": ["a", "b", "c"]}, "minItems": 3, "uniqueItems": True}
    bands = {
        "type": "array",
        "items": {"type": "integer", "minimum": 0, "maximum": 9},
        "minItems": 4,
        "uniqueItems": True,
    }

    assert sorted(fill_in(schema, findings(RICH))) == ["a", "b", "c"]
    assert len(set(fill_in(bands, findings(RICH)))) == 4


def test_values_mean_what_their_names_say() -> None:
    """The part is the part, the basis tells whether anybody heard, pronunciation is null where nobody did."""
    schema = {
        "type": "object",
        "properties": {
            "part": {"type": "integer", "minimum": 1, "maximum": 3},
            "basis": {"enum": ["heard", "transcript"]},
            "pronunciation": {"anyOf": [JUDGEMENT, {"type": "null"}]},
            "share": {"type": "number", "minimum": 0, "maximum": 100},
        },
    }

    heard, read = fill_in(schema, findings(RICH)), fill_in(schema, findings(RICH, heard=False))

    assert (heard["part"], heard["basis"], read["basis"]) == (2, "heard", "transcript")
    assert heard["pronunciation"]["band"] > 0
    assert read["pronunciation"] is None
    assert 30 < heard["share"] < 100


# Converse.

TRANSCRIPT = f"Part 2 of 3.\n<transcript>\nExaminer: Tell me.\nCandidate: {RICH}\nExaminer: Why?\nCandidate: Because.\n</transcript>"
NOTES = """Part 1:
- fluency and coherence: You kept going, band 6.
- went well: You answered every question.
- to practise: Practise longer answers.
Part 3:
- went well: You gave reasons.
- to practise: Use linking words.
"""
SUMMARY_SCHEMA = {
    "type": "object",
    "properties": {
        "summary": {"type": "string"},
        "strengths": {"type": "array", "items": {"type": "string"}},
        "next_steps": {"type": "array", "items": {"type": "string"}},
    },
    "required": ["summary", "strengths", "next_steps"],
}


def converse(
    text: str, schema: Mapping[str, Any] | None, *more: dict[str, Any], choice: str = "tool"
) -> dict[str, Any]:
    request: dict[str, Any] = {
        "system": [{"text": "You are an examiner."}],
        "messages": [{"role": "user", "content": [{"text": text}]}, *more],
    }
    if schema is not None:
        request["toolConfig"] = {
            "tools": [{"toolSpec": {"name": "write", "description": "", "inputSchema": {"json": schema}}}],
            "toolChoice": {"tool": {"name": "write"}} if choice == "tool" else {choice: {}},
        }
    return make_mind(system_prompt="", history=(), tools=()).reply_converse(request)


def tool_input(answer: dict[str, Any]) -> Any:
    assert answer["stopReason"] == "tool_use"
    (block,) = answer["output"]["message"]["content"]
    assert answer["output"]["message"]["role"] == "assistant"
    assert re.fullmatch(r"[a-zA-Z0-9_-]{1,64}", block["toolUse"]["toolUseId"])
    assert block["toolUse"]["name"] == "write"
    return block["toolUse"]["input"]


def test_converse_judges_a_transcript() -> None:
    """Only the candidate's lines count, and the input satisfies the schema."""
    poor = TRANSCRIPT.replace(RICH, POOR).replace("Tell me.", RICH)

    high, low = tool_input(converse(TRANSCRIPT, SCHEMA)), tool_input(converse(poor, SCHEMA))

    jsonschema.validate(high, SCHEMA)
    assert high["fluency_coherence"]["band"] > low["fluency_coherence"]["band"]


def test_converse_sums_up_notes() -> None:
    """Strengths and next steps are those of the notes, and the summary names the parts and rests on them."""
    written = tool_input(converse(NOTES, SUMMARY_SCHEMA))

    assert written["strengths"] == ["You answered every question.", "You gave reasons."]
    assert written["next_steps"] == ["Practise longer answers.", "Use linking words."]
    assert written["summary"].startswith("This looks back on part 1 and part 3 of your test.")
    assert "you answered every question" in written["summary"]


def test_converse_with_notes_takes_the_bands_they_name() -> None:
    """Where notes are judged, their own bands are the evidence."""
    assert tool_input(converse(NOTES, SCHEMA))["fluency_coherence"]["band"] == 6
    assert tool_input(converse("Nothing at all.", SCHEMA))["fluency_coherence"]["band"] == 5


def test_converse_corrects_itself() -> None:
    """A tool result that complains about a field brings input without that fault."""
    complaint = {
        "role": "user",
        "content": [
            {"toolResult": {"toolUseId": "x", "content": [{"text": "next_steps is wrong"}], "status": "error"}}
        ],
    }

    written = tool_input(converse(TRANSCRIPT, SCHEMA, {"role": "assistant", "content": []}, complaint))

    jsonschema.validate(written, SCHEMA)
    assert "next_steps" not in written


@pytest.mark.parametrize(("schema", "choice"), [(None, "tool"), (SUMMARY_SCHEMA, "auto")])
def test_converse_without_a_forced_tool_answers_in_words(schema: Mapping[str, Any] | None, choice: str) -> None:
    """The message holds one text."""
    answer = converse(NOTES, schema, choice=choice)

    assert answer["stopReason"] == "end_turn"
    assert "part 1 and part 3" in answer["output"]["message"]["content"][0]["text"]


def test_converse_with_any_tool_takes_the_first() -> None:
    """`any` forces a tool without naming one."""
    jsonschema.validate(tool_input(converse(NOTES, SUMMARY_SCHEMA, choice="any")), SUMMARY_SCHEMA)
