"""Speech that needs no file: words as tones, which the plain ears of the local cloud write down letter by letter.

Each byte of a word sounds for 20 ms as two tones, one of sixteen from 400 Hz for its upper four bits and one of sixteen
from 2000 Hz for its lower four; words are 40 ms apart. A recogniser of human speech hears noise in it: against Nova
Sonic itself, or human ears on this machine, a recording is needed.
"""

import math
import sys
from array import array
from functools import cache
from typing import Final

from client_sim.speech import Utterance
from gateway.core.messages import Rate

ANSWERS: Final = (
    "I am a student here, and I like it very much.",
    "There is a quiet river near my home where we walk on Sundays.",
    "I think that people read less than they did before.",
    "My sister taught me how to cook when I was ten.",
    "It depends on the weather, but mostly I take the bus.",
    "In my country most families eat together in the evening.",
)
"""What the learner says, in turn."""

_SYMBOL_MS: Final = 20
_WORD_GAP_MS: Final = 40
_LOWEST_HZ: Final = 400
_MIDDLE_HZ: Final = 2000
_STEP_HZ: Final = 100
_PEAK: Final = 9_000


def plain_utterances(rate: Rate) -> list[Utterance]:
    """What a learner can say, at ``rate`` samples a second."""
    return [Utterance.of(spoken(text, rate)) for text in ANSWERS]


def spoken(text: str, rate: Rate) -> bytes:
    """A text as tones, 16-bit little-endian mono."""
    gap = bytes(2 * rate * _WORD_GAP_MS // 1000)
    return gap.join(b"".join(_symbol(byte, rate) for byte in word.encode()) for word in text.split())


@cache
def _symbol(byte: int, rate: int) -> bytes:
    low = 2 * math.pi * (_LOWEST_HZ + _STEP_HZ * (byte >> 4)) / rate
    high = 2 * math.pi * (_MIDDLE_HZ + _STEP_HZ * (byte & 15)) / rate
    count = rate * _SYMBOL_MS // 1000
    samples = array("h", (round(_PEAK * (math.sin(low * i) + math.sin(high * i))) for i in range(count)))
    if sys.byteorder == "big":
        samples.byteswap()
    return samples.tobytes()
