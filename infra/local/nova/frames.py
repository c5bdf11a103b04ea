"""The frames of an invocation: input events out of their two wrappings, output events into theirs. SERVICE.md W2."""

from __future__ import annotations

import binascii
import json
import random
from collections.abc import Mapping
from typing import Any

from infra.local.nova import eventstream
from infra.local.nova.eventstream import Decoder, EventStreamError, Message
from infra.local.nova.service_errors import ServiceError, Text

_CHUNK = eventstream.encode_headers(
    ((":event-type", "chunk"), (":content-type", "application/json"), (":message-type", "event"))
)
_PADDING = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"


class InputFrames:
    """Turns the request body into the JSON bytes of input events."""

    def __init__(self) -> None:
        self._decoder = Decoder()
        self._ended = False

    @property
    def ended(self) -> bool:
        """Whether the empty frame that ends the input has come."""
        return self._ended

    def feed(self, data: bytes) -> list[bytes]:
        """Return the events that are now complete.

        Raises:
            ServiceError: the body is no event stream of signed chunks.
        """
        try:
            return [event for outer in self._decoder.feed(data) for event in self._unwrapped(outer)]
        except EventStreamError:
            raise ServiceError(Text.UNPARSABLE) from None

    def _unwrapped(self, outer: Message) -> list[bytes]:
        if ":chunk-signature" not in outer.headers or ":date" not in outer.headers:
            raise EventStreamError("an outer frame is not signed")
        if not outer.payload:
            self._ended = True
            return []
        inner = eventstream.decode(outer.payload)
        wanted = {":message-type": "event", ":event-type": "chunk"}
        if any(inner.headers.get(name) != value for name, value in wanted.items()):
            raise EventStreamError("an inner frame is no chunk event")
        return [_chunk_bytes(inner.payload)]


def _chunk_bytes(payload: bytes) -> bytes:
    try:
        return binascii.a2b_base64(json.loads(payload)["bytes"], strict_mode=True)
    except (ValueError, KeyError, TypeError, RecursionError):
        raise EventStreamError("a chunk holds no base64 bytes") from None


def output_event(name: str, body: Mapping[str, Any], rng: random.Random) -> bytes:
    """Return the frame of one output event that holds no audio; the padding `p` hides its length, as the service's does."""
    return _chunk(json.dumps({"event": {name: body}}, separators=(",", ":")).encode(), rng)


def audio_event(body: Mapping[str, Any], pcm: bytes, rng: random.Random) -> bytes:
    """Return the frame of one audioOutput; `body` lacks its role and content."""
    head = json.dumps(body, separators=(",", ":"))[:-1].encode()
    content = binascii.b2a_base64(pcm, newline=False)
    return _chunk(b'{"event":{"audioOutput":' + head + b',"role":"ASSISTANT","content":"' + content + b'"}}}', rng)


def _chunk(event: bytes, rng: random.Random) -> bytes:
    encoded = binascii.b2a_base64(event, newline=False)
    padding = _PADDING[: int(rng.random() * len(_PADDING))].encode()
    return eventstream.encode(_CHUNK, b'{"bytes":"' + encoded + b'","p":"' + padding + b'"}')


def exception_frame(exception_type: str, message: str) -> bytes:
    """Return the frame of an in-stream exception."""
    headers = (
        (":exception-type", exception_type),
        (":content-type", "application/json"),
        (":message-type", "exception"),
    )
    return eventstream.encode(eventstream.encode_headers(headers), json.dumps({"message": message}).encode())


def error_frame(code: str, message: str) -> bytes:
    """Return an unmodelled error."""
    headers = ((":error-code", code), (":error-message", message), (":message-type", "error"))
    return eventstream.encode(eventstream.encode_headers(headers), b"")


def unknown_event_frame() -> bytes:
    """Return an event of a type that no client knows."""
    headers = ((":event-type", "novelty"), (":content-type", "application/json"), (":message-type", "event"))
    return eventstream.encode(eventstream.encode_headers(headers), b"{}")
