"""The real SDK with the real transport, trusting the test's own authority (SERVICE.md W3)."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Iterable
from typing import Any

import awscrt.io
from aws_sdk_bedrock_runtime.client import AsyncBedrockRuntimeClient  # type: ignore[import-untyped, unused-ignore]
from aws_sdk_bedrock_runtime.config import AsyncBedrockRuntimeConfig  # type: ignore[import-untyped, unused-ignore]
from aws_sdk_bedrock_runtime.models import (  # type: ignore[import-untyped, unused-ignore]
    BidirectionalInputPayloadPart,
    InvokeModelWithBidirectionalStreamInputChunk,
    InvokeModelWithBidirectionalStreamOperationInput,
)
from smithy_http.aio.crt import AWSCRTHTTPClient

from tests.local.nova import events as ev

NOVA_2 = "amazon.nova-2-sonic-v1:0"
PATIENCE_S = 20
"""Nothing here takes longer unless it never comes."""


class Transport(AWSCRTHTTPClient):
    """Trusts one authority; the SDK copies its configuration, and a copy would forget that."""

    def __init__(self, authority: bytes) -> None:
        super().__init__()
        options = awscrt.io.TlsContextOptions()
        options.override_default_trust_store(authority)
        self._tls_ctx = awscrt.io.ClientTlsContext(options)

    def __deepcopy__(self, memo: Any) -> Transport:
        return self


class Call:
    """One bidirectional stream."""

    def __init__(self, stream: Any) -> None:
        self.stream = stream
        self._receiver: Any = None

    async def send(self, *items: ev.Event | bytes) -> None:
        for item in items:
            data = item if isinstance(item, bytes) else ev.raw(item)
            chunk = InvokeModelWithBidirectionalStreamInputChunk(value=BidirectionalInputPayloadPart(bytes_=data))
            await asyncio.wait_for(self.stream.input_stream.send(chunk), PATIENCE_S)

    async def opened(self) -> None:
        """Wait for the response headers."""
        _, self._receiver = await asyncio.wait_for(self.stream.await_output(), PATIENCE_S)

    async def receive(self) -> Any:
        """The next raw SDK event, None at the end."""
        if self._receiver is None:
            await self.opened()
        return await asyncio.wait_for(self._receiver.receive(), PATIENCE_S)

    async def next(self) -> tuple[str, dict[str, Any]] | None:
        """Name and body of the next event, None at the end."""
        item = await self.receive()
        if item is None:
            return None
        event: dict[str, Any] = json.loads(item.value.bytes_)["event"]
        ((name, body),) = event.items()
        return name, body

    async def until(self, *names: str) -> list[tuple[str, dict[str, Any]]]:
        """Events up to the first of one of these names."""
        seen: list[tuple[str, dict[str, Any]]] = []
        while (item := await self.next()) is not None:
            seen.append(item)
            if item[0] in names:
                return seen
        raise AssertionError(f"the stream ended before {names}, after {[name for name, _ in seen]}")

    async def rest(self) -> list[tuple[str, dict[str, Any]]]:
        """Events up to the end of the stream."""
        seen: list[tuple[str, dict[str, Any]]] = []
        while (item := await self.next()) is not None:
            seen.append(item)
        return seen

    async def close(self) -> None:
        """Close as the SDK does; hangs on a stream that was reset (SERVICE.md W4)."""
        await asyncio.wait_for(self.stream.close(), PATIENCE_S)


class Sdk:
    """A client for one server."""

    def __init__(self, client: AsyncBedrockRuntimeClient, transport: Transport) -> None:
        self._client = client
        self.transport = transport

    async def call(self, *first: ev.Event | bytes, model: str = NOVA_2) -> Call:
        """Open a stream and send its first events."""
        operation = InvokeModelWithBidirectionalStreamOperationInput(model_id=model)
        call = Call(await self._client.invoke_model_with_bidirectional_stream(operation))
        await call.send(*first)
        return call


@contextlib.asynccontextmanager
async def sdk_for(url: str, authority: bytes) -> AsyncIterator[Sdk]:
    transport = Transport(authority)
    config = await AsyncBedrockRuntimeConfig.resolve(
        region="us-east-1",
        transport=transport,
        endpoint_uri=url,
        aws_access_key_id="AKIDEXAMPLE",
        aws_secret_access_key="secret",
    )
    try:
        yield Sdk(AsyncBedrockRuntimeClient(config), transport)
    finally:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(transport.close(), 1)


def names(items: Iterable[tuple[str, Any]]) -> list[str]:
    return [name for name, _ in items]


async def until(condition: Any) -> None:
    """Let the event loop turn until something is so."""
    async with asyncio.timeout(PATIENCE_S):
        while not condition():  # noqa: ASYNC110  # what is waited for is plain state of the server
            await asyncio.sleep(0)


async def turns(count: int = 200) -> None:
    """Let the event loop turn so often that whatever is on its way arrives."""
    for _ in range(count):
        await asyncio.sleep(0)
