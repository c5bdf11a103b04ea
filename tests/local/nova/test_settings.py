"""Settings by name."""

import dataclasses
from typing import Any

import pytest

from infra.local.nova.settings import INSTANT_TIMING, PROFILES, BadSetting, Behaviour, Limits, Settings, Timing


@pytest.mark.parametrize(
    ("name", "given", "expected"),
    [
        ("max_streams", "50", 50),
        ("idle_ms", "60000", 60000.0),
        ("lifetime_ms", 1000, 1000.0),
        ("silence_counts", "false", False),
        ("silence_counts", True, True),
        ("headers_after", "promptStart", "promptStart"),
        ("final_text", "twice", "twice"),
        ("piece_ms", 40, 40.0),
        ("extra_gap_probability", 0.5, 0.5),
        ("bad_tool_calls", 2, 2),
    ],
)
def test_any_single_setting(name: str, given: Any, expected: Any) -> None:
    """Values of a command line or of JSON take the setting's type."""
    changed = Settings().with_overrides({name: given})
    merged: dict[str, Any] = {}
    for group in dataclasses.asdict(changed).values():
        merged |= group
    assert merged[name] == expected
    assert type(merged[name]) is type(expected)


def test_names_are_unique() -> None:
    """A name says which setting is meant."""
    names = [field.name for group in (Timing, Limits, Behaviour) for field in dataclasses.fields(group)]
    assert len(names) == len(set(names))


@pytest.mark.parametrize(
    ("name", "given"),
    [
        ("volume", 11),
        ("max_streams", "many"),
        ("max_streams", -1),
        ("idle_ms", "inf"),
        ("idle_ms", None),
        ("silence_counts", "perhaps"),
        ("headers_after", "now"),
        ("piece_ms", 0),
        ("ears_tempo", 0),
    ],
)
def test_a_wrong_setting_is_named(name: str, given: Any) -> None:
    """The error's text holds the name."""
    with pytest.raises(BadSetting, match=name):
        Settings().with_overrides({name: given})


def test_instant_timing_has_no_delays() -> None:
    """Everything but the size of pieces and the ears' tempo is zero."""
    values = dataclasses.asdict(INSTANT_TIMING)
    assert {name for name, value in values.items() if value} == {"piece_ms", "ears_tempo"}


def test_the_first_model_is_retired() -> None:
    """Of the three models one has reached its end of life."""
    assert [model for model, profile in PROFILES.items() if profile.end_of_life] == ["amazon.nova-sonic-v1:0"]
