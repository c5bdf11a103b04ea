"""Numbers, acknowledgement and sending again, the same for both ends of maya.v1 (protocol.md: Numbers).

The sender keeps each item in an `Outbox` until the other end acknowledges it; the receiver puts items in order with an
`Inbox`. Together they turn a line that loses, repeats and reorders into one that delivers each item once and in order.
Acknowledgements are cumulative, so one that got lost is made good by the next.
"""

from collections import deque
from dataclasses import dataclass
from itertools import islice
from typing import Final

from gateway.core.messages import RESEND_AFTER_MS

MAX_HELD_ITEMS: Final = 8192
"""Bound of an `Outbox` in items: twice 75 s of the shortest frames, so that sound runs into its own bound first."""


@dataclass(slots=True)
class _Held[T]:
    item: T
    duration_ms: float
    sent_ms: float


class Outbox[T]:
    """What was sent and is not acknowledged yet.

    Args:
        hold_ms: how much sound is kept; beyond it the oldest items are dropped and counted in `dropped`.
        resend_after_ms: an item that is not acknowledged for this long after it was last sent is due again.
        first: number of the first item.
        max_items: bound for items without duration.
    """

    def __init__(
        self,
        *,
        hold_ms: float,
        resend_after_ms: float = RESEND_AFTER_MS,
        first: int = 0,
        max_items: int = MAX_HELD_ITEMS,
    ) -> None:
        self._hold_ms = hold_ms
        self._resend_after_ms = resend_after_ms
        self._max_items = max_items
        # Consecutive numbers: item i of the deque has number `_base + i`.
        self._held: deque[_Held[T]] = deque()
        self._base = first
        self._held_ms = 0.0
        self.dropped = 0

    @property
    def next_number(self) -> int:
        """The number that the next item gets."""
        return self._base + len(self._held)

    @property
    def oldest(self) -> int | None:
        """The lowest number still held, None when nothing is."""
        return self._base if self._held else None

    @property
    def held_ms(self) -> float:
        """Sound still held."""
        return self._held_ms

    @property
    def unacknowledged(self) -> list[tuple[int, T]]:
        """What is still held, in order of the numbers."""
        return [(self._base + index, held.item) for index, held in enumerate(self._held)]

    @property
    def next_due_ms(self) -> float | None:
        """When the oldest item has to be sent again, None when nothing is held."""
        return self._held[0].sent_ms + self._resend_after_ms if self._held else None

    def __len__(self) -> int:
        """How many items are held."""
        return len(self._held)

    def get(self, number: int) -> T | None:
        """The item of a number, None when it is acknowledged, dropped or not sent yet."""
        held = self._find(number)
        return held.item if held else None

    def append(self, item: T, *, duration_ms: float, now_ms: float) -> int:
        """Keep an item that is being sent now; returns its number."""
        number = self.next_number
        self._held.append(_Held(item, duration_ms, now_ms))
        self._held_ms += duration_ms
        while len(self._held) > 1 and (self._held_ms > self._hold_ms or len(self._held) > self._max_items):
            self._drop_oldest()
            self.dropped += 1
        return number

    def acknowledge(self, through: int) -> int:
        """Let go of everything up to a number; returns how many items that were.

        Lower numbers than before, and numbers never given, change nothing: the other end may be late, or hostile.
        """
        if through >= self.next_number:
            return 0
        freed = max(0, through - self._base + 1)
        for _ in range(freed):
            self._drop_oldest()
        return freed

    def replace(self, number: int, item: T, *, duration_ms: float = 0.0) -> bool:
        """Put another item in the place of one that is held; returns whether it was held."""
        held = self._find(number)
        if held is None:
            return False
        self._held_ms += duration_ms - held.duration_ms
        held.item = item
        held.duration_ms = duration_ms
        return True

    def mark_sent(self, number: int, now_ms: float) -> None:
        """Note that an item was sent once more."""
        held = self._find(number)
        if held is not None:
            held.sent_ms = now_ms

    def next_due(self, now_ms: float, *, limit: int | None = None) -> list[tuple[int, T]]:
        """What to send again now, oldest first, at most ``limit``; the caller marks each as sent.

        Nothing is due before the oldest item is: as long as it is young, the other end may simply not have answered yet.
        """
        # Added, not subtracted, as in `next_due_ms`: at that very moment both must agree.
        wait_ms = self._resend_after_ms
        if not self._held or self._held[0].sent_ms + wait_ms > now_ms:
            return []
        due = ((self._base + i, held.item) for i, held in enumerate(self._held) if held.sent_ms + wait_ms <= now_ms)
        return list(islice(due, limit))

    def resume(self, last_received: int) -> list[tuple[int, T]]:
        """What the other end lacks when ``last_received`` is the last number it has without a gap, -1 for none."""
        self.acknowledge(last_received)
        return self.unacknowledged

    def _find(self, number: int) -> _Held[T] | None:
        index = number - self._base
        return self._held[index] if 0 <= index < len(self._held) else None

    def _drop_oldest(self) -> None:
        self._held_ms -= self._held.popleft().duration_ms
        self._base += 1
        if not self._held:
            self._held_ms = 0.0  # floating point leaves crumbs


class Inbox[T]:
    """Puts numbered items in order, each once.

    Args:
        first: the number expected first.
        window: how far ahead of the expected number an item may be to be kept; others are refused.
    """

    def __init__(self, *, first: int = 0, window: int) -> None:
        self._next = first
        self._window = window
        self._early: dict[int, T] = {}
        self._ready: list[T] = []
        self.duplicates = 0
        self.refused = 0

    @property
    def acknowledged(self) -> int:
        """The last number up to which nothing is missing; one less than ``first`` at the beginning."""
        return self._next - 1

    @property
    def early(self) -> int:
        """How many items wait for one before them."""
        return len(self._early)

    def has(self, number: int) -> bool:
        """Whether the item of a number has come, in order or early."""
        return number < self._next or number in self._early

    def receive(self, number: int, item: T) -> list[T]:
        """Take an item; returns all that are in order now, perhaps none."""
        if self.has(number):
            self.duplicates += 1
        elif number >= self._next + self._window:
            self.refused += 1
        else:
            self._early[number] = item
        return self.release()

    def skip_to(self, number: int) -> int:
        """Give up on what is missing below a number; returns how many items that are.

        What had arrived early below it is kept, and comes out of `release` or the next `receive`.
        """
        if number <= self._next:
            return 0
        below = sorted(early for early in self._early if early < number)
        gap = number - self._next - len(below)
        self._ready.extend(self._early.pop(early) for early in below)
        self._next = number
        return gap

    def release(self) -> list[T]:
        """All items that are in order now."""
        released, self._ready = self._ready, []
        while self._early and self._next in self._early:
            released.append(self._early.pop(self._next))
            self._next += 1
        return released
