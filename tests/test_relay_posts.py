"""A relay's posts: in order on each connection, and settled whatever becomes of them."""

import asyncio

import pytest

from gateway.core.conversation import State
from gateway.core.conversation.actions import Disconnect, Post
from gateway.core.errors import AccessRefused, PhoneGone, PhoneRefused, PhoneSlow, ServiceUnavailable
from tests.relay_stage import LEARNER, holding


async def test_what_is_done_on_a_connection_keeps_its_order():
    """A post that takes long holds up what follows on its own connection, and nothing on others."""
    async with holding() as held:
        relay, world = held.relay, held.world
        world.gates["post"] = asyncio.Event()
        for action in (Post("a", "1"), Post("a", "2"), Disconnect("a"), Post("a", "3"), Post("b", "4")):
            relay._doers[type(action)](action)
        await world.until(lambda: len(world.of("post")) == 2)
        assert [data for _, data in world.of("post")] == ["1", "4"]
        world.gates["post"].set()
        await world.until(lambda: len(world.of("post")) == 4)
        done = [call[1:] for call in world.calls if call[0] in ("post", "disconnect")]
        assert done == [("a", "1"), ("b", "4"), ("a", "2"), ("a",), ("a", "3")]
        for _ in range(5):
            await asyncio.sleep(0)
        assert not relay._phone.busy
        relay.deaf()


@pytest.mark.parametrize(
    ("error", "tries"),
    [
        (PhoneGone("gone"), 1),
        (PhoneSlow(retry_after_ms=0.0), 2),
        (PhoneRefused("too long"), 2),
        (AccessRefused("not allowed"), 2),
        (ServiceUnavailable("away"), 2),
        (OSError("quotes"), 2),
    ],
)
async def test_a_post_that_fails_is_settled(error, tries):
    """One that finds nobody ends the matter; after others the next message is tried, never the core left waiting."""
    async with holding(ack_every_ms=1.0) as held:
        await held.talk()
        before = len(held.world.of("post"))
        held.world.errors["post"] = error
        await held.world.until(lambda: len(held.world.of("post")) >= before + tries)
        assert held.relay.conversation.state is State.TALKING
        assert (held.relay.conversation._downlink.connection_id is None) is (tries == 1)
        held.relay.deaf()


async def test_a_post_that_cannot_even_begin_is_settled():
    """The core is told in a step of its own, and what follows on the connection is done."""
    async with holding(ack_every_ms=1.0) as held:
        await held.talk()
        before = len(held.world.of("post"))
        held.world.errors["post at once"] = OSError("quotes")
        await held.world.until(lambda: ("failure", "post_failed", "OSError") in held.world.calls)
        del held.world.errors["post at once"]
        await held.world.until(lambda: len(held.world.of("post")) > before)
        assert ("failure", "relay_broke", "RecursionError") not in held.world.calls
        held.relay.deaf()


async def test_posts_under_way_are_waited_for_at_the_end():
    """A relay that ends leaves no post behind that would speak to a closed client."""
    async with holding() as held:
        held.world.gates["post"] = asyncio.Event()
        held.relay._phone.do(Post("a", "1"))
        await held.world.until(lambda: held.world.of("post"))
        held.relay.deaf()
        await held.world.until(lambda: held.relay.ended)
        for _ in range(5):
            await asyncio.sleep(0)
        assert held.world.of("leave_line") == held.world.of("disconnect") == []
        assert held.relay._phone.busy
        held.world.gates["post"].set()


async def test_a_connection_that_floods_is_deleted_at_once():
    """Posts that hang on it hold nothing up, and Redis is told whom to refuse; without Redis only that is missing."""
    async with holding() as held:
        world = held.world
        await held.talk()
        world.gates["post"] = asyncio.Event()
        world.errors["refuse_starts"] = ServiceUnavailable("away")
        for _ in range(2_000):
            held.relay.phone_said("a", 1, held.said_ms, b"{}")
        await world.until(
            lambda: world.of("disconnect") and ("redis_unreachable", "ServiceUnavailable") in world.of("failure")
        )
        assert world.of("refuse_starts")[0] == (LEARNER, 60.0)
        assert held.relay.conversation.state is State.TALKING
        world.gates["post"].set()
        held.relay.deaf()
