"""Converse with boto3, as the product calls it."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError, ConnectionClosedError

from infra.local.nova.faults import parse_order
from tests.local.nova.conftest import Sim

MICRO = "amazon.nova-micro-v1:0"
MESSAGES = [{"role": "user", "content": [{"text": "Hello"}]}]
TOOL = {"toolSpec": {"name": "sum_up", "description": "sums", "inputSchema": {"json": {"type": "object"}}}}
MALFORMED = "Malformed input request"


@pytest.fixture
async def bedrock(sim: Sim) -> AsyncIterator[Any]:
    """A client that asks once, and does not check what it sends."""
    config = Config(retries={"total_max_attempts": 1}, parameter_validation=False)
    client = boto3.client(
        "bedrock-runtime", region_name="us-east-1", endpoint_url=sim.url, verify=str(sim.authority), config=config
    )
    yield client
    client.close()


async def call(client: Any, **request: Any) -> Any:
    """boto3 blocks, the server runs in this very loop."""
    return await asyncio.to_thread(lambda: client.converse(**{"modelId": MICRO, "messages": MESSAGES, **request}))


async def refused(client: Any, **request: Any) -> tuple[int, str, str]:
    with pytest.raises(ClientError) as caught:
        await call(client, **request)
    response = caught.value.response
    error = response["Error"]
    return response["ResponseMetadata"]["HTTPStatusCode"], error["Code"], error["Message"]


async def test_an_answer(bedrock: Any) -> None:
    """The document is what boto3 promises: message, stop reason, usage, metrics."""
    answer = await call(bedrock, system=[{"text": "Be kind."}], inferenceConfig={"maxTokens": 100, "temperature": 0})
    assert answer["output"]["message"] == {"role": "assistant", "content": [{"text": "1 messages"}]}
    assert answer["stopReason"] == "end_turn"
    assert answer["usage"]["totalTokens"] == answer["usage"]["inputTokens"] + answer["usage"]["outputTokens"]
    assert answer["metrics"]["latencyMs"] >= 0


async def test_a_forced_tool(bedrock: Any, sim: Sim) -> None:
    """toolChoice names the tool, and the answer calls it."""
    tools = {"tools": [TOOL], "toolChoice": {"tool": {"name": "sum_up"}}}
    answer = await call(bedrock, toolConfig=tools)
    assert answer["stopReason"] == "tool_use"
    assert answer["output"]["message"]["content"][0]["toolUse"]["name"] == "sum_up"
    assert [tool.name for tool in sim.talent.minds[0].tools] == ["sum_up"]


async def test_a_conversation_with_a_tool_result(bedrock: Any) -> None:
    """Tool use and tool result are messages like others."""
    use = {"toolUse": {"toolUseId": "u1", "name": "sum_up", "input": {}}}
    result = {"toolResult": {"toolUseId": "u1", "content": [{"json": {"error": "no"}}], "status": "error"}}
    messages = [*MESSAGES, {"role": "assistant", "content": [use]}, {"role": "user", "content": [result]}]
    answer = await call(bedrock, messages=messages, toolConfig={"tools": [TOOL]})
    assert answer["output"]["message"]["content"] == [{"text": "3 messages"}]


@pytest.mark.parametrize(
    ("request_", "text"),
    [
        ({"messages": []}, MALFORMED),
        ({"messages": [{"role": "user", "content": []}]}, "messages.0 is empty"),
        ({"messages": [{"role": "assistant", "content": [{"text": "Hi"}]}]}, "must start with a user message"),
        ({"messages": MESSAGES * 2}, "must alternate"),
        ({"messages": [{"role": "system", "content": [{"text": "Hi"}]}]}, MALFORMED),
        ({"messages": [{"role": "user", "content": [{"text": 5}]}]}, MALFORMED),
        ({"inferenceConfig": {"temperature": 2}}, MALFORMED),
        ({"inferenceConfig": {"maxTokens": 0}}, MALFORMED),
        ({"toolConfig": {"tools": []}}, MALFORMED),
        ({"toolConfig": {"tools": [TOOL, TOOL]}}, MALFORMED),
        ({"toolConfig": {"tools": [TOOL], "toolChoice": {"tool": {"name": "other"}}}}, MALFORMED),
        ({"toolConfig": {"tools": [TOOL], "toolChoice": {"auto": {}, "any": {}}}}, MALFORMED),
    ],
)
async def test_what_is_refused(bedrock: Any, request_: dict[str, Any], text: str) -> None:
    """A wrong request is a ValidationException that boto3 understands."""
    status, code, message = await refused(bedrock, **request_)
    assert (status, code) == (400, "ValidationException")
    assert text in message


async def test_an_unknown_model(bedrock: Any) -> None:
    """A model that Converse does not have."""
    assert (await refused(bedrock, modelId="amazon.nova-nano-v1:0"))[:2] == (404, "ResourceNotFoundException")


@pytest.mark.parametrize(
    ("fault", "status", "code"),
    [
        ("http_throttling", 429, "ThrottlingException"),
        ("unavailable", 503, "ServiceUnavailableException"),
        ("expired_token", 403, "ExpiredTokenException"),
        ("model_not_ready", 429, "ModelNotReadyException"),
    ],
)
async def test_faults(bedrock: Any, sim: Sim, fault: str, status: int, code: str) -> None:
    """A call fails as ordered, the next one passes."""
    sim.fault(fault, operation="converse")
    assert (await refused(bedrock))[:2] == (status, code)
    assert (await call(bedrock))["stopReason"] == "end_turn"


async def test_a_dropped_connection(bedrock: Any, sim: Sim) -> None:
    """The connection ends without an answer."""
    sim.fault("tcp_abort", operation="converse")
    with pytest.raises(ConnectionClosedError):
        await call(bedrock)


async def test_a_late_answer(bedrock: Any, sim: Sim) -> None:
    """An answer can be delayed; here by as little as possible."""
    sim.service.order(parse_order({"fault": "delay", "ms": 1, "operation": "converse"}))
    assert (await call(bedrock))["stopReason"] == "end_turn"


async def test_a_mind_that_fails(bedrock: Any, sim: Sim, capsys: pytest.CaptureFixture[str]) -> None:
    """An internal error is a 500 without words."""

    def broken(**_given: Any) -> Any:
        raise RuntimeError("secret words")

    sim.talent.make_mind = broken  # type: ignore[method-assign]
    object.__setattr__(sim.service.talents, "make_mind", broken)
    assert (await refused(bedrock))[:2] == (500, "InternalServerException")
    assert "secret" not in capsys.readouterr().err


@pytest.mark.parametrize("path", ["/model/x/converse-stream", "/model/x/invoke", "/"])
async def test_other_operations(sim: Sim, path: str) -> None:
    """What is not there says so."""
    context = ssl.create_default_context(cafile=str(sim.authority))
    async with aiohttp.ClientSession() as session, session.post(sim.url + path, ssl=context) as answer:
        assert answer.status == 404
        assert answer.headers["x-amzn-errortype"].startswith("UnknownOperationException:")


async def test_a_call_without_credentials(sim: Sim) -> None:
    """A request that is not signed is refused."""
    context = ssl.create_default_context(cafile=str(sim.authority))
    url = f"{sim.url}/model/{MICRO}/converse"
    async with aiohttp.ClientSession() as session, session.post(url, data=b"{}", ssl=context) as answer:
        assert answer.status == 403
        assert answer.headers["x-amzn-errortype"].startswith("MissingAuthenticationTokenException:")
