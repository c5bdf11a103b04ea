"""Numbers, acknowledgement and sending again."""

import heapq
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.sequencing import Inbox, Outbox


def outbox(**changes):
    """An outbox of 1 s."""
    return Outbox(**{"hold_ms": 1000, **changes})


def filled(count, **changes):
    """An outbox with `count` items of 100 ms, one sent every 100 ms from 0."""
    box = outbox(**changes)
    for number in range(count):
        assert box.append(f"item {number}", duration_ms=100, now_ms=number * 100) == number
    return box


# Outbox


def test_an_empty_outbox():
    """Nothing held, nothing due, number 0 next."""
    box = outbox()
    assert (box.next_number, box.oldest, box.held_ms, len(box)) == (0, None, 0, 0)
    assert box.unacknowledged == []
    assert box.next_due_ms is None
    assert box.next_due(1e9) == []
    assert box.get(0) is None


def test_numbers_can_begin_anywhere():
    """An app that was killed goes on where the gateway says."""
    box = outbox(first=40)
    assert box.append("a", duration_ms=1, now_ms=0) == 40
    assert box.get(40) == "a"
    assert box.get(39) is None


def test_acknowledging_is_cumulative():
    """Everything up to a number is let go of."""
    box = filled(5)
    assert box.acknowledge(2) == 3
    assert box.unacknowledged == [(3, "item 3"), (4, "item 4")]
    assert box.held_ms == 200
    assert box.oldest == 3


@pytest.mark.parametrize("through", [-1, 1, 5, 10**9])
def test_late_and_hostile_acknowledgements_change_nothing(through):
    """Lower values than before, and numbers never given, are ignored."""
    box = filled(5)
    box.acknowledge(2)
    assert box.acknowledge(through) == 0
    assert box.oldest == 3
    assert box.next_number == 5


def test_what_exceeds_the_bound_is_dropped_from_the_oldest_and_counted():
    """The buffer holds so much sound and no more."""
    box = filled(25)
    assert box.held_ms == 1000
    assert (box.oldest, box.next_number, box.dropped) == (15, 25, 15)


def test_items_without_duration_are_bounded_too():
    """A bound in items holds where no sound counts."""
    box = outbox(max_items=3)
    for number in range(5):
        box.append(number, duration_ms=0, now_ms=0)
    assert [item for _, item in box.unacknowledged] == [2, 3, 4]
    assert box.dropped == 2


def test_the_newest_item_is_kept_whatever_its_length():
    """One item beyond the bound is still worth sending."""
    box = outbox(hold_ms=10)
    box.append("long", duration_ms=50, now_ms=0)
    assert box.unacknowledged == [(0, "long")]


def test_replacing_keeps_the_number():
    """Barge-in empties an item that was sent; its length no longer counts."""
    box = filled(3)
    assert box.replace(1, "cut")
    assert box.unacknowledged == [(0, "item 0"), (1, "cut"), (2, "item 2")]
    assert box.held_ms == 200
    box.acknowledge(1)
    assert not box.replace(1, "late")
    assert not box.replace(9, "never given")
    assert box.held_ms == 100


def test_nothing_is_due_before_the_oldest_is_two_seconds_old():
    """A young item may simply not have been answered yet."""
    box = filled(5)
    assert box.next_due_ms == 2000
    assert box.next_due(1999) == []
    assert box.next_due(2000) == [(0, "item 0")]
    assert box.next_due(2150) == [(0, "item 0"), (1, "item 1")]


def test_what_was_sent_again_is_due_again_only_after_as_long():
    """Each sending starts the two seconds anew."""
    box = filled(3)
    for number, _ in box.next_due(2500):
        box.mark_sent(number, 2500)
    assert box.next_due(4499) == []
    assert [number for number, _ in box.next_due(4500)] == [0, 1, 2]
    assert [number for number, _ in box.next_due(4500, limit=2)] == [0, 1]


def test_a_sent_oldest_keeps_the_others_back():
    """What follows the oldest is not due by itself, since it may have arrived."""
    box = filled(3)
    box.mark_sent(0, 2500)
    assert box.next_due(3000) == []


def test_marking_what_is_gone_changes_nothing():
    """An acknowledgement may have come meanwhile."""
    box = filled(2)
    box.acknowledge(0)
    box.mark_sent(0, 500)
    assert box.next_due_ms == 2100


@pytest.mark.parametrize(("last", "lacks"), [(-1, [0, 1, 2]), (0, [1, 2]), (2, []), (7, [0, 1, 2])])
def test_resuming_gives_what_the_other_end_lacks(last, lacks):
    """The last number without a gap is acknowledged, the rest comes back in order."""
    assert [number for number, _ in filled(3).resume(last)] == lacks


# Inbox


def test_items_in_order_pass_through():
    """Nothing waits when nothing is missing."""
    inbox: Inbox[Any] = Inbox(window=8)
    assert inbox.acknowledged == -1
    assert [inbox.receive(number, number) for number in range(3)] == [[0], [1], [2]]
    assert inbox.acknowledged == 2


def test_items_out_of_order_wait():
    """An early item waits for the one before it, and is not acknowledged."""
    inbox: Inbox[Any] = Inbox(window=8)
    assert inbox.receive(1, "b") == []
    assert (inbox.acknowledged, inbox.early) == (-1, 1)
    assert inbox.receive(0, "a") == ["a", "b"]
    assert (inbox.acknowledged, inbox.early) == (1, 0)


def test_each_item_once():
    """Duplicates are dropped and counted, whether delivered or waiting."""
    inbox: Inbox[Any] = Inbox(window=8)
    inbox.receive(0, "a")
    inbox.receive(2, "c")
    assert inbox.receive(0, "again") == []
    assert inbox.receive(2, "again") == []
    assert inbox.duplicates == 2
    assert inbox.receive(1, "b") == ["b", "c"]


def test_beyond_the_window_is_refused():
    """What is too far ahead is not kept: it comes again."""
    inbox: Inbox[Any] = Inbox(first=10, window=4)
    assert inbox.receive(14, "x") == []
    assert inbox.refused == 1
    assert inbox.early == 0
    assert inbox.receive(13, "x") == []
    assert inbox.refused == 1
    assert inbox.early == 1


def test_skipping_counts_only_what_is_missing():
    """What arrived early is kept when a gap is given up."""
    inbox: Inbox[Any] = Inbox(window=8)
    inbox.receive(1, "b")
    inbox.receive(4, "e")
    assert inbox.skip_to(4) == 3
    assert inbox.release() == ["b", "e"]
    assert inbox.acknowledged == 4
    assert inbox.receive(5, "f") == ["f"]


def test_skipping_back_changes_nothing():
    """What has been delivered is not expected again."""
    inbox: Inbox[Any] = Inbox(first=5, window=8)
    assert inbox.skip_to(3) == 0
    assert inbox.skip_to(5) == 0
    assert inbox.acknowledged == 4


@given(st.permutations(range(12)), st.integers(1, 12))
def test_any_order_within_the_window(order, window):
    """Whatever the order, what is refused comes again until all has been delivered in order."""
    inbox: Inbox[Any] = Inbox(window=window)
    delivered = []
    waiting = list(order)
    while waiting:
        refused = inbox.refused
        number = waiting.pop(0)
        delivered += inbox.receive(number, number)
        if inbox.refused > refused:
            waiting.append(number)
    assert delivered == list(range(12))
    assert inbox.early == 0


# Both ends


class Pipe:
    """One way of a line in virtual time: loses, doubles and delays by chance."""

    def __init__(self, rng, *, lost, doubled, jitter_ms):
        self.rng, self.lost, self.doubled, self.jitter_ms = rng, lost, doubled, jitter_ms
        self.under_way = []
        self.count = 0

    def send(self, item, now_ms):
        for _ in range(2 if self.rng.random() < self.doubled else 1):
            if self.rng.random() >= self.lost:
                self.count += 1
                arrival_ms = now_ms + 20 + self.rng.uniform(0, self.jitter_ms)
                heapq.heappush(self.under_way, (arrival_ms, self.count, item))

    def arrived(self, now_ms):
        while self.under_way and self.under_way[0][0] <= now_ms:
            yield heapq.heappop(self.under_way)[2]

    def cut(self):
        self.under_way.clear()


def exchange(seed, *, items, lost, doubled, jitter_ms, drops):
    """Send items over a wild line, acknowledge twice a second, resume after drops; returns what was delivered."""
    rng = random.Random(seed)
    there, back = (Pipe(rng, lost=lost, doubled=doubled, jitter_ms=jitter_ms) for _ in range(2))
    sender: Outbox[int] = Outbox(hold_ms=75_000)
    receiver: Inbox[int] = Inbox(window=1024)
    delivered: list[int] = []
    now_ms, away_until_ms, most_held = 0.0, 0.0, 0
    drops = sorted(drops)
    while receiver.acknowledged < items - 1:
        now_ms += 10
        assert now_ms < 600_000, f"seed {seed}: never done"
        if drops and now_ms >= drops[0]:
            drops.pop(0)
            there.cut()
            back.cut()
            away_until_ms = now_ms + rng.uniform(100, 5_000)
        away = now_ms < away_until_ms
        if sender.next_number < items and now_ms % 100 < 10:
            number = sender.append(sender.next_number, duration_ms=100, now_ms=now_ms)
            if not away:
                there.send((number, number), now_ms)
        most_held = max(most_held, len(sender))
        if away:
            continue
        if away_until_ms:
            away_until_ms = 0.0
            again = sender.resume(receiver.acknowledged)
        else:
            again = sender.next_due(now_ms)
        for number, item in again:
            sender.mark_sent(number, now_ms)
            there.send((number, item), now_ms)
        for number, item in there.arrived(now_ms):
            delivered += receiver.receive(number, item)
        if now_ms % 500 < 10:
            back.send(receiver.acknowledged, now_ms)
        for through in back.arrived(now_ms):
            sender.acknowledge(through)
    assert sender.dropped == 0, f"seed {seed}: the buffer ran over"
    return delivered, most_held


@pytest.mark.parametrize("seed", range(40))
def test_a_wild_line_delivers_everything_once_and_in_order(seed):
    """Over a line that loses, doubles, reorders and drops, each item arrives once, in order, and the buffer stays small."""
    rng = random.Random(1000 + seed)
    delivered, most_held = exchange(
        seed,
        items=150,
        lost=rng.choice((0.0, 0.05, 0.3)),
        doubled=rng.choice((0.0, 0.2)),
        jitter_ms=rng.choice((0, 150, 1500)),
        drops=[rng.uniform(0, 15_000) for _ in range(rng.randrange(4))],
    )
    assert delivered == list(range(150)), f"seed {seed}"
    assert most_held <= 150


def test_a_perfect_line_sends_nothing_twice():
    """Without loss nothing is sent again, and no more is held than two acknowledgements' worth."""
    delivered, most_held = exchange(0, items=100, lost=0, doubled=0, jitter_ms=0, drops=[])
    assert delivered == list(range(100))
    assert most_held <= 8
