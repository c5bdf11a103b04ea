"""Model profiles, timings, limits and switches of the stand-in, each a frozen value.

Any single field can be set by name (`--set idle_ms=60000`, or `POST /settings`), see `Settings.with_overrides`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal

_NOVA_2_VOICES = frozenset(
    [
        "matthew",
        "tiffany",
        "amy",
        "olivia",
        "lupe",
        "carlos",
        "ambre",
        "florian",
        "tina",
        "lennart",
        "beatrice",
        "lorenzo",
        "carolina",
        "leo",
        "arjun",
        "kiara",
    ]
)
_V1_VOICES = frozenset(
    ["matthew", "tiffany", "amy", "lupe", "carlos", "ambre", "florian", "greta", "lennart", "beatrice", "lorenzo"]
)


class BadSetting(ValueError):  # noqa: N818  # reads as what it is where it is raised
    """A setting is unknown or has a wrong value; the text names it."""


@dataclass(frozen=True, slots=True)
class Profile:
    """What differs from model to model (SERVICE.md A1, A6, A8).

    Attributes:
        model_id: as in the request path.
        voices: accepted `voiceId`s.
        end_of_life: requests are answered with 404.
        turn_detection: `turnDetectionConfiguration` is understood.
        speech_system: the role SYSTEM_SPEECH is understood.
        idle_ms: limit without audio or interactive content once audio has come.
        audio_kills_pending_tool: audioInput while a toolUse is unanswered ends the stream (SERVICE.md A6, disputed).
    """

    model_id: str
    voices: frozenset[str]
    end_of_life: bool = False
    turn_detection: bool = True
    speech_system: bool = True
    idle_ms: float = 295_000
    audio_kills_pending_tool: bool = False


PROFILES: Mapping[str, Profile] = MappingProxyType(
    {
        profile.model_id: profile
        for profile in (
            Profile("amazon.nova-2-sonic-v1:0", _NOVA_2_VOICES),
            Profile("amazon.nova-2-5-sonic", _NOVA_2_VOICES, idle_ms=55_000, audio_kills_pending_tool=True),
            Profile("amazon.nova-sonic-v1:0", _V1_VOICES, end_of_life=True, turn_detection=False, speech_system=False),
        )
    }
)

TEXT_MODELS = frozenset(
    prefix + name
    for prefix in ("", "us.")
    for name in ("amazon.nova-micro-v1:0", "amazon.nova-lite-v1:0", "amazon.nova-2-lite-v1:0")
)
"""Models that Converse answers for."""


@dataclass(frozen=True, slots=True)
class Timing:
    """When answers leave, in ms; the defaults are the service's (SERVICE.md A10, A4).

    Attributes:
        speech_end_ms: end of speech to `userSpeechEnd`.
        user_final_ms: `userSpeechEnd` to the learner's FINAL text.
        think_ms: `userSpeechEnd` to the decision, and so to a tool call.
        speculative_ms: `userSpeechEnd` to the first SPECULATIVE text.
        first_audio_ms: `userSpeechEnd` to the first audio.
        text_think_ms, text_speculative_ms, text_first_audio_ms: the same from an interactive text block.
        tool_speculative_ms, tool_first_audio_ms: the same from the last tool result.
        piece_ms: speech in one audioOutput.
        speed_min, speed_max: audio leaves this many times faster than real time; 0 is all at once.
        gap_probability, gap_min_ms, gap_max_ms: pauses between pieces.
        final_min_ms, final_max_ms: end of a sentence's audio to its FINAL text.
        playback_scale: how long speech is taken to play, in parts of its real duration; barge-in is possible until then.
        ears_tempo: 2.0 halves the pauses that end the learner's turn.
    """

    speech_end_ms: float = 450
    user_final_ms: float = 150
    think_ms: float = 290
    speculative_ms: float = 620
    first_audio_ms: float = 750
    text_think_ms: float = 400
    text_speculative_ms: float = 790
    text_first_audio_ms: float = 920
    tool_speculative_ms: float = 400
    tool_first_audio_ms: float = 525
    piece_ms: float = 80
    speed_min: float = 2.0
    speed_max: float = 3.0
    gap_probability: float = 0.02
    gap_min_ms: float = 200
    gap_max_ms: float = 400
    final_min_ms: float = 3_000
    final_max_ms: float = 9_000
    playback_scale: float = 1.0
    ears_tempo: float = 1.0


SERVICE_TIMING = Timing()
_KEPT_WHEN_INSTANT = {"piece_ms", "ears_tempo"}
INSTANT_TIMING = Timing(
    **{item.name: 0.0 for item in dataclasses.fields(Timing) if item.name not in _KEPT_WHEN_INSTANT}
)


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of a session (SERVICE.md A2, A7, A8, A11).

    Attributes:
        max_streams: concurrent streams of one model.
        lifetime_ms: after this a stream dies with a modelTimeoutException.
        first_idle_ms: limit without audio or interactive content as long as no audio has come.
        idle_ms: the same later; None takes the profile's.
        silence_counts: digital silence (all samples zero) counts as audio for the idle limit (SERVICE.md A8, disputed).
        min_audio_ms: audio needed before anything is generated.
        history_message_bytes, history_total_bytes: of seeded history, in UTF-8.
        system_chunk_bytes: of one textInput of the SYSTEM block.
        headers_after: the input event that brings the response headers.
    """

    max_streams: int = 20
    lifetime_ms: float = 480_000
    first_idle_ms: float = 55_000
    idle_ms: float | None = None
    silence_counts: bool = True
    min_audio_ms: float = 68
    history_message_bytes: int = 50 * 1024
    history_total_bytes: int = 200 * 1024
    system_chunk_bytes: int = 32 * 1024
    headers_after: Literal["sessionStart", "promptStart"] = "sessionStart"


@dataclass(frozen=True, slots=True)
class Behaviour:
    """How a session speaks, with a switch for each thing that differs in the field or goes wrong (SERVICE.md A3 to A6).

    Attributes:
        user_speech_events: send `userSpeechStart` and `userSpeechEnd`.
        interrupted_marker: on barge-in, send the text `{ "interrupted" : true }`.
        interrupted_audio: on barge-in, end the audio block with INTERRUPTED instead of PARTIAL_TURN.
        final_text: send FINAL texts of Maya's speech once, twice or never.
        final_extra_ms: added to the time of each FINAL text.
        extra_gap_probability, extra_gap_ms: further pauses between audio pieces.
        double_encoded_tool: tool arguments are a JSON string that holds JSON.
        bad_tool_calls: this many of the next tool calls carry arguments that fit no schema.
        tools_called: False: tool calls are swallowed.
    """

    user_speech_events: bool = True
    interrupted_marker: bool = True
    interrupted_audio: bool = True
    final_text: Literal["once", "twice", "never"] = "once"
    final_extra_ms: float = 0
    extra_gap_probability: float = 0
    extra_gap_ms: float = 0
    double_encoded_tool: bool = False
    bad_tool_calls: int = 0
    tools_called: bool = True


@dataclass(frozen=True, slots=True)
class Settings:
    """All of the above for the streams that open from now on."""

    timing: Timing = field(default=SERVICE_TIMING)
    limits: Limits = field(default=Limits())
    behaviour: Behaviour = field(default=Behaviour())

    def with_overrides(self, overrides: Mapping[str, Any]) -> Settings:
        """Return settings with single fields replaced, by field name.

        Values are JSON values, or the strings of a command line.

        Raises:
            BadSetting: no setting has that name, or its value has the wrong type.
        """
        changed = self
        for name, value in overrides.items():
            changed = changed._with(name, value)
        return changed

    def _with(self, name: str, value: Any) -> Settings:
        for group in ("timing", "limits", "behaviour"):
            current = getattr(self, group)
            types = {item.name: item.type for item in dataclasses.fields(current)}
            if name in types:
                converted = _converted(name, str(types[name]), value)
                return dataclasses.replace(self, **{group: dataclasses.replace(current, **{name: converted})})
        raise BadSetting(f"there is no setting {name!r}")


_CHOICES: Mapping[str, frozenset[str]] = MappingProxyType(
    {
        "headers_after": frozenset({"sessionStart", "promptStart"}),
        "final_text": frozenset({"once", "twice", "never"}),
    }
)
_BOOLEANS: Mapping[str, bool] = MappingProxyType({"true": True, "1": True, "false": False, "0": False})


def _converted(name: str, wanted: str, value: Any) -> bool | float | int | str:
    """Return `value` with the type that the setting is declared with."""
    if name in _CHOICES:
        if isinstance(value, str) and value in _CHOICES[name]:
            return value
        raise BadSetting(f"{name} is one of {', '.join(sorted(_CHOICES[name]))}")
    if wanted == "bool":
        truth = _BOOLEANS.get(str(value).lower())
        if truth is None:
            raise BadSetting(f"{name} is true or false")
        return truth
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise BadSetting(f"{name} is a number") from None
    if not 0 <= number < float("inf") or (number == 0 and name in _KEPT_WHEN_INSTANT):
        raise BadSetting(
            f"{name} is a number above 0" if name in _KEPT_WHEN_INSTANT else f"{name} is a number from 0 on"
        )
    return int(number) if wanted == "int" else number
