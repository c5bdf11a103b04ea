"""What the examiner says beside the script: short, kind, and never the same twice in a row.

None of these may hold the words of a closing line: they would end the part.
"""

from collections.abc import Sequence
from math import gcd
from typing import Final

type Bank = tuple[str, ...]

ACKNOWLEDGE: Final[Bank] = (
    "Thank you.",
    "I see.",
    "All right.",
    "Thank you for telling me.",
    "That is clear.",
    "Right, I understand.",
    "Good, let us go on then.",
    "Mm, I follow you.",
    "Fine.",
    "I understand.",
    "Very well.",
)
ASK_AGAIN: Final[Bank] = (
    "I am sorry, I did not catch that.",
    "Excuse me, could you say that again?",
    "I am afraid I could not hear you well.",
)
REPEAT: Final[Bank] = ("Of course.", "Let me ask you that again.", "Here is the question once more.")
GO_ON: Final[Bank] = (
    "Please go on.",
    "You still have some time, please go on.",
    "Please tell me a little more about it.",
)
INVITE: Final[Bank] = ("All right, please start speaking now.", "Now please start your talk.")
TAKE_YOUR_TIME: Final[Bank] = ("Please take your time to prepare.", "You may go on preparing.")
STOP: Final[Bank] = ("Thank you, I have to stop you there.", "Thank you, that is all the time we have for your talk.")
REMARK: Final[Bank] = ("I can only talk about the test here.", "Let us stay with the test, please.")
CHAT: Final[Bank] = ("Could you tell me more about that?", "What do you think about it?", "How did that come about?")


class Variety:
    """Picks from banks so that a phrase comes again only after all others of its bank.

    Args:
        seed: where to start; the same seed gives the same phrases.
        said: what was said last, of which nothing is to be repeated at once.
    """

    def __init__(self, seed: int, said: str = "") -> None:
        self._seed = seed
        self._said = said
        self._picked: dict[Bank, int] = {}

    def pick(self, bank: Bank) -> str:
        """Return the next phrase of a bank."""
        order = _order(bank, self._seed)
        index = self._picked.get(bank, 0)
        if index == 0 and order[0] in self._said and len(order) > 1:
            index = 1
        self._picked[bank] = index + 1
        return order[index % len(order)]


def _order(bank: Bank, seed: int) -> Sequence[str]:
    """Walk through the bank in steps that reach every phrase once."""
    step = next(step for step in range(1 + seed % len(bank), 2 * len(bank) + 2) if gcd(step, len(bank)) == 1)
    return [bank[(seed + i * step) % len(bank)] for i in range(len(bank))]
