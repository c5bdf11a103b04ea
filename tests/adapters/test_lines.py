"""Maya's lines in a real Valkey, alone and as a cluster: who gets one, and what the others are told."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from gateway.adapters import lines as lines_module
from gateway.adapters.lines import CHANGE_MS, ENDS_KEY, HELD_KEY, LINE_MS, SILENT_MS, STREAMS_KEY, WAITING_KEY, Lines
from gateway.adapters.redis_client import RedisClient, make_client
from gateway.core.errors import ServiceUnavailable
from gateway.settings import redis_settings

LONGEST_S = 855.0
BEGAN_S = 1_790_000_000.0


class Clock:
    """The relays' wall clock, which stands until it is set."""

    def __init__(self) -> None:
        self.now_s = BEGAN_S

    def time(self) -> float:
        return self.now_s


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(lines_module, "time", clock)
    monkeypatch.setattr(lines_module, "_JITTER", 0.0)
    return clock


@pytest.fixture(params=["standalone", "cluster"])
async def client(request: pytest.FixtureRequest) -> AsyncIterator[RedisClient]:
    cluster = request.param == "cluster"
    url = request.getfixturevalue("valkey_cluster" if cluster else "valkey")
    made = make_client(redis_settings({"REDIS_URL": url, "MAYA_REDIS_CLUSTER": str(int(cluster))}))
    yield made
    await made.aclose()


def lines_of(client: RedisClient, count: int) -> Lines:
    return Lines(client, lines=count, longest_s=LONGEST_S)


async def test_lines_are_counted(client: RedisClient, clock: Clock) -> None:
    """As many conversations as there are lines; one that was left is the next one's; one's own is renewed."""
    lines = lines_of(client, 3)
    assert [await lines.take(f"learner{n}") for n in range(3)] == [None] * 3
    assert await lines.take("late") is not None
    assert await lines.take("learner1") is None
    await lines.leave("learner1")
    assert await lines.take("late") is None
    assert await client.zcard(HELD_KEY) == 3


async def test_learners_that_race_for_lines(client: RedisClient, clock: Clock) -> None:
    """Of many at once, from many relays, exactly as many get a line as there are."""
    relays = [lines_of(client, 7) for _ in range(4)]
    found = await asyncio.gather(*(relays[n % 4].take(f"learner{n}") for n in range(40)))
    assert found.count(None) == 7
    assert await client.zcard(HELD_KEY) == 7


async def test_a_crash_frees_its_line_within_its_lease(client: RedisClient, clock: Clock) -> None:
    """Whoever waits is told so, and gets it then; a relay that lives keeps its own."""
    lines = lines_of(client, 2)
    await lines.take("dead")
    await lines.take("alive")
    clock.now_s += 20
    await lines.keep("alive")
    assert await lines.take("next") == pytest.approx(LINE_MS / 1000 - 20)
    clock.now_s += LINE_MS / 1000 - 20 - 0.01
    assert await lines.take("next") is not None
    clock.now_s += 0.02
    assert await lines.take("next") is None
    assert sorted(await client.zrange(HELD_KEY, 0, -1)) == [b"alive", b"next"]


async def test_what_is_told_is_when_the_first_conversation_will_be_over(client: RedisClient, clock: Clock) -> None:
    """And who is refused next is told of the second, for the first is promised; asking again changes no promise."""
    lines = lines_of(client, 3)
    for learner in ("first", "second", "third"):
        await lines.take(learner)
        clock.now_s += 60
        for held in ("first", "second", "third")[: ("first", "second", "third").index(learner) + 1]:
            await lines.keep(held)
    first_over_s = LONGEST_S - 180
    assert await lines.take("a") == pytest.approx(first_over_s)
    assert await lines.take("b") == pytest.approx(first_over_s + 60)
    assert await lines.take("c") == pytest.approx(first_over_s + 120)
    assert await lines.take("d") == pytest.approx(first_over_s + LONGEST_S)
    # Whoever asks again goes to the end of those who wait.
    assert await lines.take("a") == pytest.approx(first_over_s + LONGEST_S)
    await lines.leave("second")
    assert await lines.take("c") is None


async def test_who_did_not_come_again_is_waited_for_no_longer(client: RedisClient, clock: Clock) -> None:
    """A promise is over with its moment."""
    lines = lines_of(client, 1)
    await lines.take("held")
    assert await lines.take("a") == pytest.approx(LONGEST_S)
    assert await lines.take("b") == pytest.approx(2 * LONGEST_S)
    for _ in range(100):
        clock.now_s += 10
        await lines.keep("held")
    # That of `a` is over, and the conversation still is not: any moment now, and then it is the turn of `b`.
    assert await lines.take("c") == pytest.approx(LONGEST_S)
    assert await client.zrange(WAITING_KEY, 0, -1) == [b"b", b"c"]


async def test_a_second_stream_takes_a_line_too(client: RedisClient, clock: Clock) -> None:
    """While a part changes, `start` waits for the little that it takes; the change itself asks nobody."""
    lines = lines_of(client, 3)
    await lines.take("ann")
    await lines.take("bob")
    await lines.note_streams("ann", 2)
    assert await lines.take("next") == pytest.approx(CHANGE_MS / 1000)
    await lines.note_streams("bob", 3)
    assert await lines.take("ann") is None
    await lines.note_streams("ann", 1)
    await lines.note_streams("bob", 1)
    assert await lines.take("next") is None


async def test_the_streams_of_a_crash_are_forgotten_with_its_line(client: RedisClient, clock: Clock) -> None:
    """Nothing of it is left in any key."""
    lines = lines_of(client, 2)
    await lines.take("dead")
    await lines.note_streams("dead", 2)
    clock.now_s += LINE_MS / 1000 + 1
    assert await lines.take("next") is None
    assert await client.hgetall(STREAMS_KEY) == {}
    assert await client.zrange(ENDS_KEY, 0, -1) == [b"next"]
    await lines.leave("next")
    assert not await client.exists(HELD_KEY, ENDS_KEY, STREAMS_KEY)


async def test_redis_forgets_and_the_conversations_take_their_lines_again(client: RedisClient, clock: Clock) -> None:
    """Each does so when it hears that Redis is back, even where others were quicker; then nobody new is let in."""
    lines = lines_of(client, 2)
    await lines.take("ann")
    await lines.take("bob")
    await client.delete(HELD_KEY, ENDS_KEY, STREAMS_KEY, WAITING_KEY)
    await lines.keep("ann")
    assert await lines.take("quick") is None
    await lines.keep("bob")
    assert await client.zcard(HELD_KEY) == 3
    assert await lines.take("late") is not None
    await lines.leave("quick")
    assert await lines.take("late") is not None


async def test_no_key_stays_for_ever(client: RedisClient, clock: Clock) -> None:
    """All of them expire when nobody speaks with Maya for an hour."""
    lines = lines_of(client, 1)
    await lines.take("ann")
    await lines.note_streams("ann", 2)
    await lines.take("bob")
    for key in (HELD_KEY, ENDS_KEY, STREAMS_KEY, WAITING_KEY):
        assert 0 < await client.pttl(key) <= 3_600_000


async def test_a_line_is_renewed_before_it_counts_as_silent(client: RedisClient) -> None:
    """A relay renews every 8 s: one renewal may fail before its line is taken for lost."""
    assert 16_000 < SILENT_MS < LINE_MS


async def test_those_who_come_again_do_not_come_at_once(client: RedisClient) -> None:
    """Up to a fifth is added to what is known, nothing is taken from it."""
    lines = lines_of(client, 1)
    await lines.take("ann")
    waits = []
    for _ in range(20):
        wait_s = await lines.take("late")
        assert wait_s is not None
        waits.append(wait_s)
    assert all(LONGEST_S - 5 <= wait_s <= LONGEST_S * 1.2 for wait_s in waits)
    assert len(set(waits)) > 5


async def test_redis_away() -> None:
    """Without Redis the error names its kind and nothing else."""
    client = make_client(redis_settings({"REDIS_URL": "redis://127.0.0.1:1"}))
    with pytest.raises(ServiceUnavailable, match="ConnectionError"):
        await lines_of(client, 1).keep("ann")
    await client.aclose()
