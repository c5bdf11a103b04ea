"""The frames of an invocation: two wrappings on the way in, one on the way out (SERVICE.md W2)."""

from __future__ import annotations

import base64
import json
import random
import struct
from typing import Any

import pytest
from botocore.eventstream import EventStreamBuffer

from infra.local.nova import eventstream, frames
from infra.local.nova.frames import InputFrames
from infra.local.nova.service_errors import ServiceError

CHUNK = eventstream.encode_headers(
    ((":message-type", "event"), (":event-type", "chunk"), (":content-type", "application/json"))
)


def signed(payload: bytes, *, signature: bool = True, date: bool = True) -> bytes:
    """An outer frame as the SDK makes it."""
    block = b""
    if date:
        block += b"\x05:date\x08" + struct.pack(">q", 1_700_000_000_000)
    if signature:
        block += b"\x10:chunk-signature\x06" + struct.pack(">H", 32) + bytes(32)
    return eventstream.encode(block, payload)


def chunk(event: bytes) -> bytes:
    return eventstream.encode(CHUNK, json.dumps({"bytes": base64.b64encode(event).decode()}).encode())


def only(frame: bytes) -> Any:
    buffer = EventStreamBuffer()
    buffer.add_data(frame)
    return next(iter(buffer))


def test_events_are_unwrapped_in_order() -> None:
    """Two events and the empty terminator, in whatever pieces they come."""
    data = signed(chunk(b'{"a":1}')) + signed(chunk(b'{"b":2}')) + signed(b"")
    inputs = InputFrames()
    assert [event for at in range(len(data)) for event in inputs.feed(data[at : at + 1])] == [b'{"a":1}', b'{"b":2}']
    assert inputs.ended


@pytest.mark.parametrize(
    "data",
    [
        signed(chunk(b"{}"), signature=False),
        signed(chunk(b"{}"), date=False),
        chunk(b"{}"),
        signed(b"no frame"),
        signed(chunk(b"{}")[:-1] + b"\x00"),
        signed(eventstream.encode(eventstream.encode_headers(((":message-type", "event"),)), b"{}")),
        signed(eventstream.encode(CHUNK, b"no JSON")),
        signed(eventstream.encode(CHUNK, b"[]")),
        signed(eventstream.encode(CHUNK, b"{}")),
        signed(eventstream.encode(CHUNK, b'{"bytes":1}')),
        signed(eventstream.encode(CHUNK, b'{"bytes":"@"}')),
        b"\x00" * 16,
    ],
    ids=[
        "unsigned", "undated", "wrapped once", "garbage inside", "inner checksum", "no chunk", "no JSON", "no object",
        "no bytes", "bytes no text", "no base64", "garbage",
    ],
)  # fmt: skip
def test_anything_else_cannot_be_parsed(data: bytes) -> None:
    """A body that is not made of signed chunks gets the service's text."""
    with pytest.raises(ServiceError, match="UNPARSABLE"):
        InputFrames().feed(data)


def test_outputs_are_padded_chunks() -> None:
    """An output is one unsigned frame with the event in base64 and padding of changing length."""
    rng = random.Random(3)  # the same in every run
    lengths = set()
    for _ in range(20):
        message = only(frames.output_event("textOutput", {"content": "héllo"}, rng))
        assert message.headers[":event-type"] == "chunk"
        payload = json.loads(message.payload)
        assert json.loads(base64.b64decode(payload["bytes"])) == {"event": {"textOutput": {"content": "héllo"}}}
        lengths.add(len(payload["p"]))
    assert len(lengths) > 5


def test_audio_is_an_output_like_any_other() -> None:
    """The quick way of making audioOutput gives the same JSON as the long one."""
    message = only(frames.audio_event({"contentId": "c", "promptName": 'p"'}, b"\x01\x02", random.Random(1)))
    event = json.loads(base64.b64decode(json.loads(message.payload)["bytes"]))
    body = {"contentId": "c", "promptName": 'p"', "role": "ASSISTANT", "content": "AQI="}
    assert event == {"event": {"audioOutput": body}}


def test_failures_have_their_own_frames() -> None:
    """Exceptions carry type and message, errors code and message in their headers."""
    message = only(frames.exception_frame("throttlingException", "slow"))
    assert message.headers[":message-type"] == "exception"
    assert message.headers[":exception-type"] == "throttlingException"
    assert json.loads(message.payload) == {"message": "slow"}
    message = only(frames.error_frame("Oops", "broken"))
    assert message.headers == {":error-code": "Oops", ":error-message": "broken", ":message-type": "error"}
    assert only(frames.unknown_event_frame()).headers[":event-type"] == "novelty"
