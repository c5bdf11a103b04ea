"""Places for calls under way."""

import asyncio

from infra.local.api_gateway.integrations import Integrations
from tests.local.api_gateway.support import FakeLambda


async def for_ever() -> None:
    """Never end."""
    await asyncio.get_running_loop().create_future()


async def test_a_place_is_waited_for() -> None:
    """Who finds no place gets the next one that is given back."""
    integrations = Integrations(FakeLambda({}), 1.0, 1)
    assert await integrations.place(for_ever)
    waiting = asyncio.ensure_future(integrations.place(for_ever))
    await asyncio.sleep(0)
    assert not waiting.done()
    integrations.free_place()
    assert await waiting


async def test_who_leaves_takes_no_place() -> None:
    """A client that goes while it waits leaves the place to the next one."""
    integrations = Integrations(FakeLambda({}), 1.0, 1)
    assert await integrations.place(for_ever)
    gone = asyncio.Event()

    async def until_gone() -> None:
        await gone.wait()

    leaving = asyncio.ensure_future(integrations.place(until_gone))
    staying = asyncio.ensure_future(integrations.place(for_ever))
    await asyncio.sleep(0)
    gone.set()
    assert not await leaving
    integrations.free_place()
    assert await staying
