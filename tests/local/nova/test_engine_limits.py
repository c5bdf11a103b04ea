"""The end of a session: its limits, its idle time, its orderly end (SERVICE.md A4, A8)."""

import pytest

from infra.local.nova.actions import Fail, Finish
from infra.local.nova.inputs import AudioClosed, AudioReceived, PromptEnded, SessionEnded
from infra.local.nova.service_errors import ServiceError
from infra.local.nova.settings import PROFILES, Limits
from tests.local.nova.engine_scenes import MARKER, SERVICE, talking
from tests.local.nova.fakes import SILENCE, World, with_settings


def _failure(world: World) -> tuple[float, ServiceError]:
    return next((at - 1_000_000, action.error) for at, action in world.log if isinstance(action, Fail))


def test_a_stream_lives_for_eight_minutes() -> None:
    """Then it dies with a modelTimeoutException, whatever goes on."""
    world = World()
    world.hear(SILENCE, 4801)
    at_ms, error = _failure(world)
    assert (at_ms, error.exception_type) == (480_000, "modelTimeoutException")
    assert error.message == "Model has timed out in processing the request. Try your request again."
    assert world.engine.next_timer_ms() is None


@pytest.mark.parametrize(
    ("model", "heard", "limit_s"),
    [
        ("amazon.nova-2-sonic-v1:0", False, 55),
        ("amazon.nova-2-sonic-v1:0", True, 295),
        ("amazon.nova-2-5-sonic", True, 55),
    ],
)
def test_idle_limits(model: str, heard: bool, limit_s: int) -> None:
    """Without audio the session ends after 55 s, or 295 s once Nova 2 has heard some; the text names the limit."""
    world = World(profile=PROFILES[model])
    if heard:
        world.do(AudioReceived(SILENCE))
    world.advance(limit_s * 1000 - 1)
    assert not [action for _, action in world.log if isinstance(action, Fail)]
    world.advance(1)
    at_ms, error = _failure(world)
    assert at_ms == limit_s * 1000
    assert error.message == (
        "Timed out waiting for audio bytes or interactive content. Please ensure gaps between audio bytes and "
        f"interactive content are less than {limit_s} seconds"
    )


def test_typed_text_is_activity() -> None:
    """Interactive content puts the idle limit off."""
    world = World()
    world.advance(50_000)
    world.type("begin")
    world.advance(50_000)
    assert not [action for _, action in world.log if isinstance(action, Fail)]


def test_whether_silence_counts_is_a_switch() -> None:
    """Streamed digital silence keeps a session alive, unless it is told not to."""
    for counts in (True, False):
        world = World(settings=with_settings(limits=Limits(silence_counts=counts, idle_ms=10_000)))
        world.hear(SILENCE, 150)
        assert any(isinstance(action, Fail) for _, action in world.log) is not counts


def test_a_client_that_asks_without_end_is_stopped() -> None:
    """What waits for an answer is bounded."""
    world = World(settings=SERVICE)
    for _ in range(70):
        world.type("?")
    assert _failure(world)[1].text.name == "INVALID"


def test_prompt_end_completes_and_session_end_finishes() -> None:
    """completionEnd answers promptEnd, the end of the stream answers sessionEnd, and nothing comes after."""
    world = World(settings=SERVICE)
    world.utter("hello")
    world.hear(SILENCE, 16)
    world.log.clear()
    world.do(AudioClosed())
    world.do(PromptEnded())
    assert world.story() == ["ASSISTANT FINAL", "You said hello.", "completionEnd"]
    assert world.bodies("completionEnd")[0]["stopReason"] == "END_TURN"
    world.do(SessionEnded())
    assert isinstance(world.log[-1][1], Finish)
    world.log.clear()
    world.do(SessionEnded())
    world.advance(600_000)
    assert world.log == []


def test_prompt_end_stops_speech() -> None:
    """Speech that is under way ends with the prompt."""
    world = talking()
    world.do(PromptEnded())
    story = world.story()
    assert story[0] == "AUDIO ends PARTIAL_TURN"
    assert story[-1] == "completionEnd"
    assert MARKER not in story
    world.log.clear()
    world.advance(20_000)
    assert world.log == []


def test_a_session_without_a_turn_has_no_completion() -> None:
    """completionEnd closes only what completionStart has opened."""
    world = World()
    world.hear(SILENCE, 5)
    world.do(AudioClosed())
    world.do(PromptEnded())
    assert world.story() == []
