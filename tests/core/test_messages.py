"""The message models."""

import pytest
from pydantic import ValidationError

from gateway.core import examples
from gateway.core.messages import (
    DOWN_MESSAGES,
    MAX_INTEGER,
    MAX_MESSAGE_BYTES,
    MAX_TEXT_CHARS,
    UP_MESSAGES,
    AckUp,
    Down,
    LagPrompt,
    NumberedDown,
    Ping,
    Start,
    Transcript,
    Up,
)
from gateway.core.wire import encode

SESSION = "0b9f3a52-6f0e-4c1d-9a57-2f6f0c9d1e11"
UNNUMBERED = {"ack", "ping", "pong", "error", "bye"}


def test_types_are_those_of_the_contract():
    """Each direction has exactly the messages of maya.v1."""
    up = [cls.model_fields["type"].default for cls in UP_MESSAGES]
    down = [cls.model_fields["type"].default for cls in DOWN_MESSAGES]
    assert sorted(up) == sorted(["start", "resume", "audio", "ack", "ping", "pong", "lag_choice", "stop"])
    numbered = ["ready", "audio", "interrupted", "transcript", "part", "status", "lag_notice", "lag_prompt"]
    assert sorted(down) == sorted([*numbered, "lag_cleared", "go_away", "assessment", *UNNUMBERED])
    assert all(issubclass(cls, Up) for cls in UP_MESSAGES)
    assert all(issubclass(cls, Down) for cls in DOWN_MESSAGES)


def test_what_has_a_number():
    """`ack`, `ping`, `pong`, `error` and `bye` have no `n`; everything else from the gateway has."""
    numbered = {cls.model_fields["type"].default for cls in DOWN_MESSAGES if issubclass(cls, NumberedDown)}
    assert numbered == {cls.model_fields["type"].default for cls in DOWN_MESSAGES} - UNNUMBERED


def test_start_has_the_defaults_of_the_contract():
    """An app may name no more than its session and module."""
    start = Start(session_id=SESSION, module="general_speaking")
    assert (start.voice, start.language, start.rate, start.out_rate) == ("amy", "en-GB", 16000, 24000)
    assert encode(start).find("region") == -1


@pytest.mark.parametrize(
    "field",
    [
        {"session_id": "1"},
        {"session_id": SESSION + "\n"},
        {"session_id": f"{{{SESSION}}}"},
        {"module": "listening"},
        {"voice": "Amy; drop"},
        {"language": "english"},
        {"rate": 44100},
        {"rate": "16000"},
        {"out_rate": 16000.5},
        {"client": "x" * 65},
        {"region": "eu west"},
        {"extra": 1},
    ],
)
def test_start_refuses(field):
    """Wrong fields are refused, and the refusal does not repeat them."""
    fields = {"session_id": SESSION, "module": "academic_speaking", **field}
    with pytest.raises(ValidationError) as refused:
        Start(**fields)
    assert "input_value" not in str(refused.value)


@pytest.mark.parametrize("number", [-1, MAX_INTEGER + 1, True, 1.5, "1", None])
def test_numbers_are_numbers(number):
    """Counts are whole numbers that every JSON implementation keeps exact."""
    with pytest.raises(ValidationError):
        Ping(id=number, at=0)


@pytest.mark.parametrize("at", [-1, float("nan"), float("inf"), "1"])
def test_times_are_finite(at):
    """Times are finite and not negative."""
    with pytest.raises(ValidationError):
        Ping(id=1, at=at)


@pytest.mark.parametrize("character", ["\0", '"', "\U0001f600", "\u2028", "x"])
def test_the_longest_text_fits_a_message(character):
    """However its characters are written in JSON, a text within its bound stays below 24 KiB."""
    message = Transcript(
        epoch=MAX_INTEGER, n=MAX_INTEGER, turn=1, who="maya", text=character * MAX_TEXT_CHARS, final=True
    )
    assert len(encode(message).encode()) <= MAX_MESSAGE_BYTES


def test_messages_are_frozen():
    """What is held to be sent again cannot change."""
    with pytest.raises(ValidationError):
        AckUp(n=1, queue_ms=0).n = 2


def test_every_message_has_an_example():
    """The published contract shows each."""
    assert {type(example) for example in examples.EXAMPLES} == {*UP_MESSAGES, *DOWN_MESSAGES}
    assert all(examples.of(cls).type == cls.model_fields["type"].default for cls in UP_MESSAGES)


def test_a_prompt_offers_to_continue_or_to_skip():
    """The options are those of the contract."""
    prompt = examples.of(LagPrompt)
    assert isinstance(prompt, LagPrompt)
    assert prompt.options == ("continue", "skip")
