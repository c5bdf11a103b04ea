"""The two wrappings of Nova Sonic's events: event-stream frames and their signatures, as bytes.

The SDK's own publisher and receiver walk a schema for each event and spend ten times what the work needs. Here each
event is written and read in one pass; what is written is byte for byte what the SDK writes.

A frame is ``u32 length | u32 headers length | u32 crc | headers | payload | u32 crc``, big-endian. What goes to the
service is framed twice: the inner frame holds ``{"bytes": "<base64 of the event>"}``; the outer one carries the time, a
signature that continues the chain begun by the request's own signature, and the inner frame as its payload.

Sources: AWS SDK reference, "Event stream encoding" (application/vnd.amazon.eventstream); Signature Version 4,
``AWS4-HMAC-SHA256-PAYLOAD``.
"""

import json
import struct
import time
from binascii import a2b_base64, b2a_base64, crc32
from collections.abc import Callable
from hashlib import sha256
from typing import Any, Final

import pydantic_core

from gateway.adapters.sigv4 import Second, Seconds

MAX_FRAME_BYTES: Final = 1024 * 1024
"""Longest frame taken from the service; its events are a hundredth of this."""

_OVERHEAD_BYTES: Final = 16
_PRELUDE_BYTES: Final = 12
_LENGTHS: Final = struct.Struct("!II")
_U32: Final = struct.Struct("!I")
_MILLISECONDS: Final = struct.Struct("!q")
_STRING: Final = 7
# Length in bytes of a header's value by its type; the types that are missing here carry their own length.
_FIXED_VALUE_BYTES: Final = {0: 0, 1: 0, 2: 1, 3: 2, 4: 4, 5: 8, 8: 8, 9: 16}
_LENGTH_PREFIXED: Final = frozenset({6, _STRING})


class FramingError(Exception):
    """What came is not a frame: wrong checksum, impossible length, malformed headers or payload."""


class ServiceFaultError(Exception):
    """The service ended the stream with an exception or an error.

    Attributes:
        fault_type: its name as the service spells it, e.g. ``validationException``.
        message: the service's text, which may quote what was sent to it: to be classified, never logged.
    """

    def __init__(self, fault_type: str, message: str) -> None:
        super().__init__(fault_type)
        self.fault_type = fault_type
        self.message = message


def _string_header(name: bytes, value: bytes) -> bytes:
    return bytes([len(name)]) + name + bytes([_STRING]) + struct.pack("!H", len(value)) + value


_CHUNK_HEADERS: Final = (
    _string_header(b":message-type", b"event")
    + _string_header(b":event-type", b"chunk")
    + _string_header(b":content-type", b"application/json")
)
_DATE_HEADER: Final = b"\x05:date\x08"
_SIGNATURE_HEADER: Final = b"\x10:chunk-signature\x06\x00\x20"


def encode_frame(headers: bytes, payload: bytes) -> bytes:
    """Build one frame from encoded headers and a payload."""
    prelude = _LENGTHS.pack(len(headers) + len(payload) + _OVERHEAD_BYTES, len(headers))
    prelude_crc = crc32(prelude)
    prelude_crc_bytes = _U32.pack(prelude_crc)
    # The checksum of everything equals the prelude's continued over its own bytes.
    crc = crc32(payload, crc32(headers, crc32(prelude_crc_bytes, prelude_crc)))
    return b"".join((prelude, prelude_crc_bytes, headers, payload, _U32.pack(crc)))


def encode_event(event: bytes) -> bytes:
    """Build the inner frame of an input event given as JSON bytes."""
    return encode_frame(_CHUNK_HEADERS, b'{"bytes":"' + b2a_base64(event, newline=False) + b'"}')


class FrameSigner:
    """Signs the frames of one stream, each signature continuing the one before.

    Args:
        seed: hex signature of the request that opened the stream.
        secret_key: of the credentials that signed it.
        region: of the signature.
        service: of the signature.
        clock: wall clock in Unix seconds.
    """

    def __init__(
        self, *, seed: str, secret_key: str, region: str, service: str, clock: Callable[[], float] = time.time
    ) -> None:
        self._prior = seed
        self._secret_key = secret_key
        self._seconds = Seconds(region, service)
        self._clock = clock
        self._second: Second | None = None
        self._lead = ""

    def frame(self, payload: bytes) -> bytes:
        """Wrap an inner frame, or nothing for the last frame of a stream, into a signed one."""
        now_s = self._clock()
        second = self._seconds.at(now_s, self._secret_key)
        if second is not self._second:
            self._second = second
            self._lead = f"AWS4-HMAC-SHA256-PAYLOAD\n{second.stamp}\n{second.scope}\n"
        date_header = _DATE_HEADER + _MILLISECONDS.pack(int(now_s * 1000))
        signature = second.mac.digest(
            f"{self._lead}{self._prior}\n{sha256(date_header).hexdigest()}\n{sha256(payload).hexdigest()}"
        )
        self._prior = signature.hex()
        return encode_frame(date_header + _SIGNATURE_HEADER + signature, payload)


class FrameReader:
    """Finds the events in the bytes of a response, however they were cut.

    Feed what arrives, then take events until there are none.
    """

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._chunk_headers: bytes | None = None

    @property
    def pending_bytes(self) -> int:
        """Bytes of a frame that has not arrived whole."""
        return len(self._buffer)

    def feed(self, data: bytes) -> None:
        """Take more bytes of the response."""
        self._buffer += data

    def next_event(self) -> bytes | None:
        """Return the JSON of the next event, None if no whole frame is here.

        Frames of other kinds than events of type ``chunk`` are passed over, since the service adds kinds.

        Raises:
            FramingError: the bytes are no frames; nothing after them can be read.
            ServiceFaultError: the service ended the stream with an error.
        """
        while (frame := self._next_frame()) is not None:
            event = self._event(frame)
            if event is not None:
                return event
        return None

    def _next_frame(self) -> bytes | None:
        buffer = self._buffer
        if len(buffer) < _PRELUDE_BYTES:
            return None
        total, headers_bytes = _LENGTHS.unpack_from(buffer)
        if not headers_bytes + _OVERHEAD_BYTES <= total <= MAX_FRAME_BYTES:
            raise FramingError("impossible length of a frame")
        if crc32(buffer[:8]) != _U32.unpack_from(buffer, 8)[0]:
            raise FramingError("wrong checksum of a frame's lengths")
        if len(buffer) < total:
            return None
        frame = bytes(memoryview(buffer)[:total])
        del buffer[:total]
        if crc32(memoryview(frame)[:-4]) != _U32.unpack_from(frame, total - 4)[0]:
            raise FramingError("wrong checksum of a frame")
        return frame

    def _event(self, frame: bytes) -> bytes | None:
        headers_end = _PRELUDE_BYTES + _LENGTHS.unpack_from(frame)[1]
        raw_headers, payload = frame[_PRELUDE_BYTES:headers_end], frame[headers_end:-4]
        # The headers of events never differ within a stream, so they are parsed once.
        if raw_headers == self._chunk_headers:
            return _chunk_bytes(payload)
        headers = _decode_headers(raw_headers)
        kind = headers.get(":message-type")
        if kind == "event":
            if headers.get(":event-type") != "chunk":
                return None
            self._chunk_headers = raw_headers
            return _chunk_bytes(payload)
        if kind == "exception":
            raise ServiceFaultError(headers.get(":exception-type", ""), _fault_message(payload))
        if kind == "error":
            raise ServiceFaultError(headers.get(":error-code", ""), headers.get(":error-message", ""))
        raise FramingError("frame of an unknown message type")


def _chunk_bytes(payload: bytes) -> bytes | None:
    try:
        encoded = pydantic_core.from_json(payload).get("bytes")
        return None if encoded is None else a2b_base64(encoded)
    except (ValueError, AttributeError, TypeError, RecursionError):
        raise FramingError("payload of an event is malformed") from None


def _fault_message(payload: bytes) -> str:
    try:
        document: Any = json.loads(payload)
    except (ValueError, RecursionError):
        return ""
    message = document.get("message") if isinstance(document, dict) else None
    return message if isinstance(message, str) else ""


def _decode_headers(data: bytes) -> dict[str, str]:
    """Decode the headers that are strings; the others are passed over."""
    headers: dict[str, str] = {}
    at = 0
    try:
        while at < len(data):
            name_end = at + 1 + data[at]
            name, kind, at = data[at + 1 : name_end], data[name_end], name_end + 1
            if kind in _LENGTH_PREFIXED:
                size = int.from_bytes(data[at : at + 2])
                at += 2
            else:
                size = _FIXED_VALUE_BYTES[kind]
            if at + size > len(data):
                raise FramingError("headers of a frame are cut short")
            if kind == _STRING:
                headers[name.decode()] = data[at : at + size].decode()
            at += size
    except (IndexError, KeyError, UnicodeDecodeError):
        raise FramingError("headers of a frame are malformed") from None
    return headers
