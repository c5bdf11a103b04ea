"""What the session validator accepts and refuses, with the service's texts (SERVICE.md A2, A6, A7, A9)."""

import copy
import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.local.nova.inputs import (
    AudioClosed,
    AudioOpened,
    AudioReceived,
    InputEvent,
    PromptEnded,
    PromptStarted,
    SessionEnded,
    SessionStarted,
    SystemGiven,
    TextGiven,
    ToolResultReceived,
)
from infra.local.nova.interfaces import ToolSpec
from infra.local.nova.service_errors import ServiceError, Text
from infra.local.nova.settings import PROFILES, Limits
from infra.local.nova.validator import ORDER, Phase, SessionValidator, Step
from tests.local.nova import events as ev
from tests.local.nova.refusals import BAD_TOOL_RESULTS, REFUSALS, Refusal

NOVA_2 = PROFILES["amazon.nova-2-sonic-v1:0"]
NOVA_25 = PROFILES["amazon.nova-2-5-sonic"]
NOVA_1 = PROFILES["amazon.nova-sonic-v1:0"]


def run(
    items: list[ev.Event], *, profile: Any = NOVA_2, limits: Limits | None = None, calls: tuple[str, ...] = ()
) -> list[InputEvent]:
    """Check events in order; what a tool call needs is expected from the start."""
    validator = SessionValidator(profile, limits or Limits())
    for tool_use_id in calls:
        validator.tool_called(tool_use_id)
    results = [validator.event(ev.raw(item))[1] for item in items]
    return [result for result in results if result is not None]


def test_the_aws_sample_is_accepted() -> None:
    """The order of the AWS sample passes from end to end, audio beside an interactive text block included."""
    assert [type(result) for result in run(ev.aws_sample())] == [
        SessionStarted,
        PromptStarted,
        SystemGiven,
        TextGiven,
        AudioOpened,
        *[AudioReceived] * 3,
        TextGiven,
        AudioReceived,
        AudioClosed,
        PromptEnded,
        SessionEnded,
    ]


def test_everything_the_engine_needs_is_read() -> None:
    """Endpointing, voice, rates, tools, texts in several pieces, history and tool results arrive as values."""
    detection = {"endpointingSensitivity": "LOW"}
    items = [
        ev.session_start(turnDetectionConfiguration=detection),
        ev.prompt_start(ev.tool(), rate=16000, voice="amy"),
        ev.text_start("system", "SYSTEM"),
        ev.text_input("system", "Be "),
        ev.text_input("system", "kind."),
        ev.content_end("system"),
        *ev.text_block("h1", "USER", "Hello"),
        *ev.text_block("h2", "ASSISTANT", "Hi", interactive=True),
        ev.audio_start(rate=8000),
        ev.audio_input(b"\x01\x00\x02"),
        *ev.text_block("typed", "USER", "And?", interactive=True),
        *ev.tool_block("t1", '{"ok": true}'),
    ]
    results = run(items, calls=("t1",))
    assert results == [
        SessionStarted("LOW"),
        PromptStarted(ev.PROMPT, "amy", 16000, (ToolSpec("count", "counts", ev.SCHEMA),)),
        SystemGiven("Be kind."),
        TextGiven("USER", "Hello", interactive=False),
        TextGiven("ASSISTANT", "Hi", interactive=False),
        AudioOpened(8000),
        AudioReceived(b"\x01\x00\x02"),
        TextGiven("USER", "And?", interactive=True),
        ToolResultReceived("t1", {"ok": True}),
    ]


@pytest.mark.parametrize("refusal", REFUSALS, ids=lambda refusal: refusal.name)
def test_what_the_service_refuses(refusal: Refusal) -> None:
    """Every trigger of SERVICE.md A9 and every broken rule of A2, A6, A7 ends the session with the service's text."""
    validator = SessionValidator(NOVA_2, Limits())
    for item in refusal.before:
        validator.event(ev.raw(item))
    with pytest.raises(ServiceError) as caught:
        validator.event(refusal.raw)
    assert caught.value.exception_type == "validationException"
    assert refusal.text in caught.value.message


def test_every_phase_and_step_is_decided() -> None:
    """The table of order covers each pair."""
    assert set(ORDER) == {(phase, step) for phase in Phase for step in Step}


@pytest.mark.parametrize("step", Step)
def test_nothing_is_accepted_after_the_session_has_ended(step: Step) -> None:
    """sessionEnd is the last event."""
    assert ORDER[Phase.SESSION_ENDED, step] is Text.INVALID


@pytest.mark.parametrize("phase", Phase)
def test_a_session_starts_once(phase: Phase) -> None:
    """sessionStart comes first and never again."""
    expected = Phase.STARTED if phase is Phase.OPENED else Text.INVALID
    assert ORDER[phase, Step.SESSION_START] is expected


def test_mid_session_assistant_text_is_accepted() -> None:
    """ASSISTANT text after the audio has begun is no error; the engine ignores it."""
    results = run([*ev.live(), ev.audio_input(), *ev.text_block("x", "ASSISTANT", "Hm")])
    assert results[-1] == TextGiven("ASSISTANT", "Hm", interactive=False)


def test_a_name_can_be_used_again_after_its_block_is_closed() -> None:
    """Only an open block's name is taken."""
    typed = ev.text_block("typed", "USER", "One", interactive=True)
    assert len(run([*ev.live(), *typed, *typed])) == 6


def test_an_odd_count_of_bytes_is_accepted() -> None:
    """The service does not mind half a sample; alignment is the client's business."""
    assert run([*ev.live(), ev.audio_input(b"\x01\x02\x03")])[-1] == AudioReceived(b"\x01\x02\x03")


def test_history_up_to_the_limits_is_accepted() -> None:
    """50 KB in one message and 200 KB in all are allowed, to the byte."""
    limits = Limits()
    sizes = [limits.history_message_bytes] * 4
    blocks = [item for n, size in enumerate(sizes) for item in ev.text_block(f"h{n}", "USER", "a" * size)]
    assert len(run([*ev.opening(), *blocks, ev.audio_start()])) == 8


@pytest.mark.parametrize(
    "texts",
    [["é" * 26_000], ["a" * 50_000] * 4 + ["a" * 4_801]],
    ids=["one message, counted in bytes", "all together"],
)
def test_history_over_the_limits_is_refused(texts: list[str]) -> None:
    """One byte more is refused."""
    blocks = [item for n, text in enumerate(texts) for item in ev.text_block(f"h{n}", "USER", text)]
    with pytest.raises(ServiceError, match="HISTORY_TOO_BIG"):
        run([*ev.opening(), *blocks])


def test_a_long_system_prompt_comes_in_pieces() -> None:
    """Over 32 KB is refused in one textInput and fine in several."""
    piece = ev.text_input("system", "a" * 20_000)
    start = [*ev.opening()[:2], ev.text_start("system", "SYSTEM")]
    assert run([*start, piece, piece, ev.content_end("system")])[-1] == SystemGiven("a" * 40_000)
    with pytest.raises(ServiceError, match="INVALID"):
        run([*start, ev.text_input("system", "a" * 40_000)])


def test_audio_kills_a_pending_tool_on_nova_2_5_only() -> None:
    """Nova 2 goes on listening while a tool runs; Nova 2.5 was seen to give up."""
    items = [*ev.live("Be kind.", ev.tool()), ev.audio_input()]
    assert run(items, calls=("t1",))[-1] == AudioReceived(bytes(3200))
    with pytest.raises(ServiceError, match="INVALID"):
        run(items, profile=NOVA_25, calls=("t1",))


def test_a_tool_is_answered_once() -> None:
    """A second result for the same call is refused like one that was never asked for."""
    answered = ev.tool_block("t1", "{}")
    assert len(run([*ev.live(), *answered], calls=("t1",))) == 5
    with pytest.raises(ServiceError, match="INVALID"):
        run([*ev.live(), *answered, ev.tool_start("t1", "again")], calls=("t1",))


def test_two_results_under_way_for_one_call() -> None:
    """Of two blocks open for the same call the second to end is refused."""
    both = [ev.tool_start("t1", "a"), ev.tool_start("t1", "b"), ev.tool_result("{}", "a"), ev.tool_result("{}", "b")]
    with pytest.raises(ServiceError, match="INVALID"):
        run([*ev.live(), *both, ev.content_end("a"), ev.content_end("b")], calls=("t1",))


def test_the_first_model_knows_no_turn_detection_nor_speech_prompt() -> None:
    """What came with Nova 2 is refused by the first model."""
    detection = {"endpointingSensitivity": "LOW"}
    for items in (
        [ev.session_start(turnDetectionConfiguration=detection)],
        [*ev.opening(), ev.text_start("speech", "SYSTEM_SPEECH")],
    ):
        with pytest.raises(ServiceError, match="INVALID"):
            run(items, profile=NOVA_1)
    assert len(run(ev.live(), profile=NOVA_1)) == 4


def _drop(path: tuple[str, ...]) -> Callable[[dict[str, Any]], None]:
    def change(body: dict[str, Any]) -> None:
        for key in path[:-1]:
            body = body[key]
        del body[path[-1]]

    return change


def _paths(body: dict[str, Any], before: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    found: list[tuple[str, ...]] = []
    for key, value in body.items():
        found.append((*before, key))
        if isinstance(value, dict):
            found += _paths(value, (*before, key))
    return found


STARTS: list[tuple[list[ev.Event], ev.Event]] = [
    ([], ev.session_start(turnDetectionConfiguration={"endpointingSensitivity": "HIGH"})),
    (ev.opening()[:1], ev.prompt_start()),
    (ev.opening()[:2], ev.text_start("system", "SYSTEM")),
    (ev.opening(), ev.audio_start()),
    (ev.live(), ev.audio_input()),
    ([*ev.live(), ev.text_start("t", "USER", interactive=True)], ev.text_input("t", "Hi")),
    (ev.live(), ev.content_end("audio")),
    ([*ev.live(), ev.audio_input(), ev.content_end("audio")], ev.prompt_end()),
]
MAY_BE_LEFT_OUT = {("turnDetectionConfiguration",)}


@pytest.mark.parametrize(
    ("before", "item", "path"),
    [
        pytest.param(before, item, path, id=f"{next(iter(item['event']))}.{'.'.join(path)}")
        for before, item in STARTS
        for path in _paths(next(iter(item["event"].values())))
        if path not in MAY_BE_LEFT_OUT
    ],
)
def test_fields_must_be_there_and_no_others(before: list[ev.Event], item: ev.Event, path: tuple[str, ...]) -> None:
    """Each field of each event is required, and beside it an unknown one is refused."""
    missing = copy.deepcopy(item)
    body: dict[str, Any] = next(iter(missing["event"].values()))
    _drop(path)(body)
    with pytest.raises(ServiceError, match="INVALID"):
        run([*before, missing])
    extra = copy.deepcopy(item)
    body = next(iter(extra["event"].values()))
    for key in path[:-1]:
        body = body[key]
    body["novelty"] = 1
    with pytest.raises(ServiceError, match="INVALID"):
        run([*before, extra])


@given(
    st.binary(max_size=60)
    | st.recursive(st.none() | st.text(), lambda inner: st.dictionaries(st.text(), inner)).map(
        lambda value: json.dumps({"event": value}).encode()
    )
)
def test_nothing_but_a_service_error_comes_out_of_garbage(garbage: bytes) -> None:
    """Whatever a client sends, the answer is the service's and never a crash."""
    for before in ([], ev.live()):
        validator = SessionValidator(NOVA_2, Limits())
        for item in before:
            validator.event(ev.raw(item))
        with pytest.raises(ServiceError):
            validator.event(garbage)


def test_deep_nesting_is_no_crash() -> None:
    """JSON nested beyond Python's recursion limit is an input that cannot be parsed."""
    with pytest.raises(ServiceError, match="UNPARSABLE"):
        SessionValidator(NOVA_2, Limits()).event(b'{"event":' + b"[" * 100_000)


@pytest.mark.parametrize("content", BAD_TOOL_RESULTS.values(), ids=BAD_TOOL_RESULTS.keys())
def test_a_tool_result_must_be_a_json_document(content: str) -> None:
    """Prose, and JSON that is no document, end the session (SERVICE.md A6, A9 "bad tool result")."""
    with pytest.raises(ServiceError) as caught:
        run([*ev.live(), *ev.tool_block("t1", content)], calls=("t1",))
    assert caught.value.message == "Tool Response parsing error"


def test_an_older_clients_status_is_accepted() -> None:
    """toolResult may carry the `status` of older samples, and an array is a document too."""
    items = [ev.tool_start("t1"), ev.tool_result("[1]", status="success"), ev.content_end("tool-result")]
    assert run([*ev.live(), *items], calls=("t1",))[-1] == ToolResultReceived("t1", [1])
