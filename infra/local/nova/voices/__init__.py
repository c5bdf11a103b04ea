"""Ears and voices for the Nova Sonic stand-in.

`plain` needs no models: its voice spells words in tones which its ears read back exactly, so a test can follow every
word through real audio. `human` understands people and sounds like one, where its wheels exist.
"""

import functools
import sys
from typing import Final

from infra.local.nova.interfaces import Ears, Endpointing, Voice, VoiceKind
from infra.local.nova.voices import models, plain, tones

__all__ = [
    "PLAIN_RATES",
    "available",
    "hear_plain",
    "make_ears",
    "make_voice",
    "speak_plain",
    "warm_up",
    "why_unavailable",
]

PLAIN_RATES: Final = tones.RATES

speak_plain = tones.encode
hear_plain = plain.hear


def why_unavailable(kind: VoiceKind) -> str:
    """Say why ears and voice of this kind cannot be had on this machine; empty when they can."""
    return models.missing() if kind == "human" else ""


def available(kind: VoiceKind) -> bool:
    """Tell whether ears and voice of this kind can be had on this machine."""
    return not why_unavailable(kind)


def make_ears(kind: VoiceKind, *, rate: int, endpointing: Endpointing, tempo: float = 1.0) -> Ears:
    """Return new ears for one session; plain ones, said once on stderr, where human ones cannot be had.

    Args:
        kind: plain or human.
        rate: sample rate of the microphone: 8000, 16000 or 24000 Hz.
        endpointing: sensitivity of turn detection.
        tempo: 2.0 halves the pauses that end a turn; 1.0 is the service's.

    Raises:
        ValueError: the rate, the sensitivity or the tempo is out of range.
    """
    if _or_plain(kind) == "plain":
        return plain.PlainEars(rate=rate, endpointing=endpointing, tempo=tempo)
    from infra.local.nova.voices.human import HumanEars  # noqa: PLC0415 - not needed by the plain kind

    return HumanEars(models.models(), rate=rate, endpointing=endpointing, tempo=tempo)


def make_voice(kind: VoiceKind) -> Voice:
    """Return the voice that all sessions share; plain, said once on stderr, where the human one cannot be had.

    The human voice begins to load its models and those of the ears at once, in the background.
    """
    if _or_plain(kind) == "plain":
        return plain.PlainVoice()
    from infra.local.nova.voices.human import HumanVoice  # noqa: PLC0415 - not needed by the plain kind

    return HumanVoice(models.models())


async def warm_up(kind: VoiceKind) -> None:
    """Wait until the first word can be heard and spoken without delay; at once for the plain kind."""
    if _or_plain(kind) == "human":
        await models.models().loaded()


@functools.cache
def _or_plain(kind: VoiceKind) -> VoiceKind:
    reason = why_unavailable(kind)
    if not reason:
        return kind
    print(  # noqa: T201 - the one who started this process must read it
        f"Maya's human voice and ears are not available here ({reason}). "
        "She uses the plain ones: she speaks in tones, and of human speech she hears only how long it was.",
        file=sys.stderr,
    )
    return "plain"
