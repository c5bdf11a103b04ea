"""The phone's audio straight to Nova Sonic by the SDK, as its user would: ``python -m tests.bench.direct``.

One process, asyncio's own event loop, and one client for all conversations, which then share one connection; each frame
a JSON event with base64, each answer decoded. The transport is the SDK's own `AWSCRTHTTPClient`; trusting the stand-in's
authority takes the place of a public certificate.

It sets no TCP_NODELAY, so on a shared connection a frame waits for the acknowledgement of the one before: up to 40 ms,
and the frames that pile up meanwhile cost less each. So each step is measured again with that option set, which a
user of the SDK cannot: the gateway's delays are held against the quicker of the two ways, and its CPU against the cheaper.
"""

import argparse
import asyncio
import base64
import json
import os
import socket
import time
import uuid
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import awscrt.io
import psutil
from aws_sdk_bedrock_runtime.client import AsyncBedrockRuntimeClient  # type: ignore[import-untyped, unused-ignore]
from aws_sdk_bedrock_runtime.config import AsyncBedrockRuntimeConfig  # type: ignore[import-untyped, unused-ignore]
from aws_sdk_bedrock_runtime.models import (  # type: ignore[import-untyped, unused-ignore]
    BidirectionalInputPayloadPart,
    InvokeModelWithBidirectionalStreamInputChunk,
    InvokeModelWithBidirectionalStreamOperationInput,
)
from smithy_http.aio.crt import AWSCRTHTTPClient

from gateway.core.assessment import assess_part_tool
from gateway.core.exam import build_plan
from gateway.core.nova_events import PromptEvents, Role, session_start
from gateway.core.prompts import Direction, system_prompt
from tests.bench.driver import Notes, drive
from tests.bench.speech import OUT_RATE, RATE, Speech, frame_bytes
from tests.bench.stage import NO_DELAY

MODEL: Final = "amazon.nova-2-sonic-v1:0"
_PATIENCE_S: Final = 20.0
_PRIME_MS: Final = 100
"""Sound that the stream has heard before the examiner is asked to begin, as in the gateway."""


class Transport(AWSCRTHTTPClient):
    """The SDK's transport, with one trusted authority; the client copies its configuration, and a copy would forget it."""

    def __init__(self, authority: Path) -> None:
        super().__init__()
        options = awscrt.io.TlsContextOptions()
        options.override_default_trust_store(authority.read_bytes())
        self._tls_ctx = awscrt.io.ClientTlsContext(options)

    def __deepcopy__(self, memo: Any) -> "Transport":
        return self


class Conversation:
    """One bidirectional stream and the microphone that feeds it."""

    def __init__(self, client: AsyncBedrockRuntimeClient, speech: Speech, frame_ms: int, choice: int) -> None:
        self._client = client
        self._speech = speech
        self._frame_ms = frame_ms
        self._plan = build_plan("full", choice).part(1)
        self._prompt = PromptEvents(str(uuid.uuid4()))
        self._content = json.loads(self._prompt.audio_start(rate=RATE))["event"]["contentStart"]["contentName"]
        self._stream: Any = None
        self._tasks: list[asyncio.Task[None]] = []
        self.notes = Notes()

    async def open(self) -> None:
        """Open the stream and begin to speak."""
        operation = InvokeModelWithBidirectionalStreamOperationInput(model_id=MODEL)
        self._stream = await self._client.invoke_model_with_bidirectional_stream(operation)
        for event in (
            session_start(max_tokens=1024),
            self._prompt.prompt_start(voice="amy", out_rate=OUT_RATE, tools=[assess_part_tool()]),
            *self._prompt.text_block(Role.SYSTEM, system_prompt(self._plan), interactive=False),
            self._prompt.audio_start(rate=RATE),
        ):
            await self._send(event)
        async with asyncio.timeout(_PATIENCE_S):
            _, receiver = await self._stream.await_output()
        self._tasks = [asyncio.create_task(self._hear(receiver)), asyncio.create_task(self._speak())]

    def check(self) -> None:
        """Raise what ended the conversation, if anything did."""
        for task in self._tasks:
            if task.done():
                task.result()
                raise RuntimeError("the stream has ended")

    async def _send(self, event: bytes) -> None:
        chunk = InvokeModelWithBidirectionalStreamInputChunk(value=BidirectionalInputPayloadPart(bytes_=event))
        await self._stream.input_stream.send(chunk)

    async def _speak(self) -> None:
        size = frame_bytes(self._frame_ms)
        primed = False
        planned_ns = time.monotonic_ns()
        while True:
            planned_ns += self._frame_ms * 1_000_000
            wait_ns = planned_ns - time.monotonic_ns()
            if wait_ns > 0:
                await asyncio.sleep(wait_ns / 1e9)
            place = self.notes.capture(planned_ns, size)
            content = base64.b64encode(self._speech.frame(place, size)).decode()
            fields = {"promptName": self._prompt.prompt_name, "contentName": self._content, "content": content}
            await self._send(json.dumps({"event": {"audioInput": fields}}).encode())
            if not primed and place + size >= frame_bytes(_PRIME_MS):
                primed = True
                for event in self._prompt.text_block(Role.USER, Direction.BEGIN, interactive=True):
                    await self._send(event)

    async def _hear(self, receiver: Any) -> None:
        while (item := await receiver.receive()) is not None:
            at_ns = time.monotonic_ns()
            event: dict[str, Any] = json.loads(item.value.bytes_)["event"]
            if "audioOutput" in event:
                pcm = base64.b64decode(event["audioOutput"]["content"])
                self.notes.arrive(at_ns, len(pcm))
            elif event.get("contentEnd", {}).get("stopReason") == "INTERRUPTED":
                self.notes.interrupt()


class Direct:
    """All conversations of one client."""

    def __init__(self, client: AsyncBedrockRuntimeClient, port: int, frame_ms: int) -> None:
        self._client = client
        self._port = port
        self._frame_ms = frame_ms
        self._speech = Speech.scripted()
        self._conversations: list[Conversation] = []

    async def add(self) -> Notes:
        """Begin one more."""
        conversation = Conversation(self._client, self._speech, self._frame_ms, len(self._conversations))
        await conversation.open()
        self._conversations.append(conversation)
        return conversation.notes

    def set(self, name: str, *, on: bool) -> None:
        """Set TCP_NODELAY on every connection to the service, or take it away again."""
        assert name == NO_DELAY
        for connection in psutil.Process().net_connections("tcp"):
            if connection.fd >= 0 and connection.raddr[1:] == (self._port,):
                with socket.socket(fileno=os.dup(connection.fd)) as duplicate:
                    duplicate.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, int(on))

    def check(self) -> None:
        """Raise what has ended a conversation, if anything has."""
        for conversation in self._conversations:
            conversation.check()


async def run(options: argparse.Namespace) -> None:
    """Hold conversations as standard input says."""
    config = await AsyncBedrockRuntimeConfig.resolve(
        region="us-east-1",
        transport=Transport(options.authority),
        endpoint_uri=options.url,
        aws_access_key_id="AKIDEXAMPLE",
        aws_secret_access_key="secret",
    )
    await drive(
        Direct(AsyncBedrockRuntimeClient(config), urlsplit(options.url).port or 443, options.frame_ms), options.record
    )


def main() -> None:
    """Run with this process's command line."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--url", required=True)
    parser.add_argument("--authority", type=Path, required=True)
    parser.add_argument("--frame-ms", type=int, required=True)
    parser.add_argument("--record", type=Path, required=True)
    asyncio.run(run(parser.parse_args()))


if __name__ == "__main__":
    main()
