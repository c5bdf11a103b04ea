"""Posts that fail because a test ordered it."""

import asyncio
import json
import urllib.error
import urllib.request
from typing import Any

import pytest
from botocore.exceptions import ClientError

from infra.local.api_gateway.post_faults import REFUSALS
from tests.local.api_gateway.support import Gateway, StartGateway


async def control(gateway: Gateway, method: str, document: Any = None) -> tuple[int, Any]:
    """Ask the control endpoint; return status and answer."""
    data = None if document is None else json.dumps(document).encode()
    request = urllib.request.Request(gateway.connections_root + "/_local/post-faults", data, method=method)  # noqa: S310 - this test's own server

    def send() -> tuple[int, Any]:
        try:
            with urllib.request.urlopen(request) as answer:  # noqa: S310 - this test's own server
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as refused:
            with refused:
                return refused.code, json.load(refused)

    return await asyncio.to_thread(send)


@pytest.mark.parametrize("status", REFUSALS)
async def test_a_post_fails_as_often_as_was_ordered(start_gateway: StartGateway, status: int) -> None:
    """With the status and the error type of the API; the next one goes through."""
    gateway = await start_gateway(authorized=True, identity_sources=())
    async with gateway.connect() as client:
        assert await control(gateway, "POST", {"who": "learner-1", "status": status, "count": 2}) == (200, {"left": 2})
        for _ in range(2):
            with pytest.raises(ClientError) as caught:
                await gateway.post(b"lost")
            assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == status
            assert caught.value.response["Error"]["Code"] in (REFUSALS[status][0], str(status))
        assert await control(gateway, "GET") == (200, {"left": 0})
        await gateway.post(b"heard")
        assert await client.recv() == "heard"


async def test_posts_to_others_go_their_way(start_gateway: StartGateway) -> None:
    """An order names whom it is for, and can be taken back."""
    gateway = await start_gateway(authorized=True, identity_sources=())
    async with gateway.connect() as client:
        await control(gateway, "POST", {"who": "learner-2", "status": 429})
        await gateway.post(b"one")
        await control(gateway, "POST", {"who": "learner-1", "status": 429})
        assert await control(gateway, "DELETE") == (200, {"left": 0})
        await gateway.post(b"two")
        assert [await client.recv(), await client.recv()] == ["one", "two"]


@pytest.mark.parametrize(
    ("order", "named"),
    [
        ([], "object"),
        ({"who": "ann", "status": 429, "when": 1}, "object"),
        ({"status": 429}, "who"),
        ({"who": "ann", "status": 200}, "status"),
        ({"who": "ann", "status": 429, "count": 0}, "count"),
    ],
)
async def test_a_wrong_order_is_named(start_gateway: StartGateway, order: Any, named: str) -> None:
    """Nothing is ordered by it."""
    gateway = await start_gateway()
    status, answer = await control(gateway, "POST", order)
    assert status == 400
    assert named in answer["error"]
    assert await control(gateway, "GET") == (200, {"left": 0})
