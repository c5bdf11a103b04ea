"""Whatever learner and client do, in whatever order: the session's output keeps its form."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from infra.local.nova.actions import Emit, EmitAudio
from infra.local.nova.inputs import AudioReceived, PromptEnded
from infra.local.nova.interfaces import Reply, ToolCall, ToolSpec
from infra.local.nova.settings import INSTANT_TIMING, SERVICE_TIMING
from tests.local.nova.fakes import FRAME_MS, SILENCE, SPEECH, World, with_settings

LONG = "word " * 120
CALLS = (ToolCall("t1", "count", {}),)
REPLIES = st.sampled_from(
    [
        Reply(),
        Reply(("Yes.",)),
        Reply(("Yes.", LONG)),
        Reply((LONG, "", "Yes.")),
        Reply((), CALLS),
        Reply(("Yes.",), CALLS),
    ]
)
STEPS = st.one_of(
    st.tuples(st.just("hear"), st.booleans(), st.integers(1, 15)),
    st.tuples(st.just("type"), st.just(""), st.just(0)),
    st.tuples(st.just("result"), st.sampled_from(["t1", "t2", "t3"]), st.just(0)),
    st.tuples(st.just("wait"), st.just(""), st.integers(0, 5000)),
    st.tuples(st.just("deliver"), st.just(""), st.just(0)),
    st.tuples(st.just("turn"), REPLIES, st.sampled_from([0, 500, 2000, 9000])),
    st.tuples(st.just("talk over"), REPLIES, st.integers(1, 14)),
)


def _do(world: World, what: str, detail: Any, amount: int) -> None:
    match what:
        case "hear":
            for _ in range(amount):
                world.do(AudioReceived(SPEECH if detail else SILENCE))
                world.advance(FRAME_MS)
        case "type":
            world.type("Hm?")
        case "result":
            world.result(detail, {})
        case "wait":
            world.advance(amount)
        case "deliver":
            world.deliver()
        case "turn":
            world.talent.replies.append(detail)
            world.utter("Well.", frames=3)
            world.advance(amount)
        case "talk over":  # the examiner is told to go on while the learner still speaks
            world.talent.replies.append(detail)
            world.hear(SPEECH, 5)
            world.type("Time is up.")
            world.hear(SPEECH, amount)
            world.hear(SILENCE)


def _check_form(world: World) -> None:
    """Blocks follow one another, each with its own content, and everything comes between the completion's ends."""
    opened: str | None = None
    starts = 0
    for action in world.emitted():
        if isinstance(action, EmitAudio):
            assert opened == "AUDIO"
        elif isinstance(action, Emit):
            starts += action.name == "completionStart"
            if action.name == "contentStart":
                assert opened is None
                assert starts == 1
                opened = action.body["type"]
            elif action.name == "contentEnd":
                assert opened == action.body["type"]
                opened = None
            elif action.name in {"textOutput", "toolUse"}:
                assert opened == {"textOutput": "TEXT", "toolUse": "TOOL"}[action.name]
    assert opened is None
    assert starts <= 1


@settings(max_examples=300, deadline=None)
@given(
    steps=st.lists(STEPS, min_size=5, max_size=30),
    talkative=st.booleans(),
    service_timing=st.booleans(),
    behaviour=st.fixed_dictionaries(
        {},
        optional={
            "user_speech_events": st.booleans(),
            "interrupted_marker": st.booleans(),
            "interrupted_audio": st.booleans(),
            "final_text": st.sampled_from(["once", "twice", "never"]),
        },
    ),
)
def test_output_keeps_its_form(
    steps: list[tuple[str, Any, int]], talkative: bool, service_timing: bool, behaviour: dict[str, Any]
) -> None:
    """No crash, no timer that never moves on, no block inside another, one completion, whatever happens."""
    timing = SERVICE_TIMING if service_timing else INSTANT_TIMING
    world = World(
        settings=with_settings(timing=timing, **behaviour), tools=(ToolSpec("count", "", {}),), talkative=talkative
    )
    for step in steps:
        _do(world, *step)
    world.do(PromptEnded())
    _check_form(world)
