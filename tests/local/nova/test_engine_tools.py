"""The session engine's tools: called, awaited, answered (SERVICE.md A6)."""

import json
from typing import Any

import pytest

from infra.local.nova.actions import ExpectToolResult
from infra.local.nova.interfaces import Reply, ToolCall
from tests.local.nova.engine_scenes import COUNT, MARKER, SERVICE, talking
from tests.local.nova.fakes import SILENCE, World, speech_of, with_settings


def _call(world: World) -> None:
    world.talent.replies.append(Reply(("Let me see.",), (ToolCall("t1", "count", {"n": 2}),)))
    world.utter("count")


def test_a_tool_call_waits_for_its_result() -> None:
    """Maya is silent until the result is there; the words she had in mind come before what follows from it."""
    world = World(tools=(COUNT,))
    _call(world)
    assert 'call count {"n": 2}' in world.story()
    assert "TOOL ends TOOL_USE" in world.story()
    assert [action for _, action in world.log if isinstance(action, ExpectToolResult)] == [ExpectToolResult("t1")]
    world.hear(SILENCE, 100)
    assert world.said() == b""
    world.result("t1", {"total": 3})
    assert world.the_mind.results == [("t1", {"total": 3})]
    assert world.said() == speech_of("Let me see.") + speech_of("You said result of t1.")


def test_the_services_time_with_tools() -> None:
    """The call comes 290 ms after the end of speech, the first audio 525 ms after the result."""
    world = World(settings=SERVICE, tools=(COUNT,))
    _call(world)
    world.hear(SILENCE, 10)
    assert world.times()['call count {"n": 2}'] == 500 + 450 + 290
    at_ms = world.now_ms - 1_000_000
    world.result("t1", {})
    world.hear(SILENCE, 10)
    assert world.times()["audio"] == at_ms + 525


def test_two_calls_are_both_awaited() -> None:
    """With two calls, Maya speaks after the second result."""
    world = World(tools=(COUNT,))
    calls = (ToolCall("t1", "count", {"n": 1}), ToolCall("t2", "count", {"n": 2}))
    world.talent.replies += [Reply((), calls), Reply(("One.",)), Reply(("Two.",))]
    world.utter("count")
    world.result("t1", {})
    assert world.said() == b""
    world.result("t2", {})
    assert world.said() == speech_of("One.") + speech_of("Two.")


def test_a_result_while_maya_speaks_waits() -> None:
    """A late result never cuts a sentence."""
    world = talking()
    world.result("t9", {})
    assert world.story() == []
    world.hear(SILENCE, 60)
    assert world.said().endswith(speech_of("You said result of t9."))
    assert MARKER not in world.story()


@pytest.mark.parametrize(
    ("behaviour", "expected"),
    [
        ({"double_encoded_tool": True}, json.dumps('{"n": 2}')),
        ({"bad_tool_calls": 1}, '{"unexpected": true}'),
    ],
)
def test_bad_arguments(behaviour: dict[str, Any], expected: str) -> None:
    """Arguments can be encoded twice, or wrong the first time."""
    world = World(settings=with_settings(**behaviour), tools=(COUNT,))
    _call(world)
    assert [body["content"] for body in world.bodies("toolUse")] == [expected]


def test_arguments_are_bad_only_as_often_as_ordered() -> None:
    """The second call is right again."""
    world = World(settings=with_settings(bad_tool_calls=1), tools=(COUNT,))
    world.talent.replies += [Reply((), (ToolCall(f"t{n}", "count", {"n": n}),)) for n in (1, 2)]
    world.utter("count")
    world.result("t1", {"error": "no"})
    assert [body["content"] for body in world.bodies("toolUse")] == ['{"unexpected": true}', '{"n": 2}']


def test_a_tool_that_is_never_called() -> None:
    """Calls can be swallowed; what else the mind says is said."""
    world = World(settings=with_settings(tools_called=False), tools=(COUNT,))
    _call(world)
    assert world.bodies("toolUse") == []
    assert world.said() == speech_of("Let me see.")
