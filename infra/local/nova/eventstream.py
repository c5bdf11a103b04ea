"""The `application/vnd.amazon.eventstream` encoding, both ways, with strict checks.

A message is `u32 total length | u32 headers length | u32 CRC-32 of these eight bytes | headers | payload | u32 CRC-32 of
all before`, big-endian. Source: the Amazon event stream specification in the Smithy documentation; SERVICE.md W2.
Pure: no I/O.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType

type HeaderValue = bool | int | bytes | str

MAX_HEADERS_BYTES = 128 * 1024
MAX_PAYLOAD_BYTES = 16 * 1024 * 1024
_OVERHEAD_BYTES = 16
_PRELUDE = struct.Struct(">III")
_U32 = struct.Struct(">I")
_TWO_U32 = struct.Struct(">II")

_TRUE, _FALSE, _BYTES, _STRING = 0, 1, 6, 7
_INTEGERS = {2: struct.Struct(">b"), 3: struct.Struct(">h"), 4: struct.Struct(">i"), 5: struct.Struct(">q")}
_TIMESTAMP, _UUID = 8, 9
_I64 = struct.Struct(">q")
_U16 = struct.Struct(">H")


class EventStreamError(Exception):
    """The bytes are no event stream message; the text names the part that is wrong and never its content."""


@dataclass(frozen=True, slots=True)
class Message:
    """One decoded message.

    Attributes:
        headers: by name; timestamps are ms since the epoch, UUIDs are their 16 bytes.
        payload: as sent, may be empty.
    """

    headers: Mapping[str, HeaderValue]
    payload: bytes


def encode_headers(headers: Sequence[tuple[str, str]]) -> bytes:
    """Return the block of string headers that `encode` takes."""
    parts: list[bytes] = []
    for name, value in headers:
        raw_name, raw_value = name.encode(), value.encode()
        parts.append(bytes((len(raw_name),)) + raw_name + bytes((_STRING,)) + _U16.pack(len(raw_value)) + raw_value)
    return b"".join(parts)


def encode(headers_block: bytes, payload: bytes) -> bytes:
    """Return one whole message around a block made by `encode_headers`."""
    lengths = _TWO_U32.pack(_OVERHEAD_BYTES + len(headers_block) + len(payload), len(headers_block))
    body = lengths + _U32.pack(zlib.crc32(lengths)) + headers_block + payload
    return body + _U32.pack(zlib.crc32(body))


def decode(message: bytes) -> Message:
    """Return the one message that fills `message` exactly.

    Raises:
        EventStreamError: a length, checksum or header is wrong, or bytes are left over.
    """
    if len(message) < _OVERHEAD_BYTES:
        raise EventStreamError("message is shorter than its fixed parts")
    total, headers_length, prelude_crc = _PRELUDE.unpack_from(message)
    if zlib.crc32(message[:8]) != prelude_crc:
        raise EventStreamError("prelude checksum does not match")
    if total != len(message) or headers_length > total - _OVERHEAD_BYTES:
        raise EventStreamError("lengths do not fit the message")
    if zlib.crc32(message[:-4]) != _U32.unpack_from(message, total - 4)[0]:
        raise EventStreamError("message checksum does not match")
    headers_end = 12 + headers_length
    block = message[12:headers_end]
    # Blocks with a signature differ every time; the others are few.
    headers = _read_headers(block) if b":chunk-signature" in block else _known_headers(block)
    return Message(headers, message[headers_end:-4])


class Decoder:
    """Cuts a byte stream into messages; feed it whatever arrived."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    @property
    def partial(self) -> bool:
        """Whether the bytes so far end inside a message."""
        return bool(self._buffer)

    def feed(self, data: bytes) -> list[Message]:
        """Return the messages that are now complete.

        Raises:
            EventStreamError: the stream is broken; nothing after that can be decoded.
        """
        buffer = self._buffer
        buffer += data
        messages: list[Message] = []
        start = 0
        while len(buffer) - start >= _OVERHEAD_BYTES:
            total = self._checked_length(start)
            if len(buffer) - start < total:
                break
            messages.append(decode(bytes(buffer[start : start + total])))
            start += total
        if start:
            del buffer[:start]
        return messages

    def _checked_length(self, start: int) -> int:
        """Return the length of the message at `start`, refusing before a huge or broken one is collected."""
        total, headers_length, prelude_crc = _PRELUDE.unpack_from(self._buffer, start)
        if zlib.crc32(self._buffer[start : start + 8]) != prelude_crc:
            raise EventStreamError("prelude checksum does not match")
        if total < _OVERHEAD_BYTES or headers_length > MAX_HEADERS_BYTES:
            raise EventStreamError("lengths do not fit the message")
        if total - headers_length - _OVERHEAD_BYTES > MAX_PAYLOAD_BYTES:
            raise EventStreamError("payload is over 16 MB")
        return int(total)


@lru_cache(maxsize=64)
def _known_headers(block: bytes) -> Mapping[str, HeaderValue]:
    return _read_headers(block)


def _read_headers(block: bytes) -> Mapping[str, HeaderValue]:
    headers: dict[str, HeaderValue] = {}
    position = 0
    try:
        while position < len(block):
            name_end = position + 1 + block[position]
            name = block[position + 1 : name_end].decode()
            value, position = _read_value(block, name_end + 1, block[name_end])
            if not name or name in headers:
                raise EventStreamError("a header name is empty or used twice")
            headers[name] = value
    except (IndexError, struct.error, UnicodeDecodeError):
        raise EventStreamError("headers are malformed") from None
    if position != len(block):
        raise EventStreamError("headers are malformed")
    return MappingProxyType(headers)


def _read_value(block: bytes, position: int, kind: int) -> tuple[HeaderValue, int]:
    """Return the value at `position` and where it ends."""
    if kind in {_BYTES, _STRING}:
        start = position + 2
        end = start + _U16.unpack_from(block, position)[0]
        raw = block[start:end]
        return (raw.decode() if kind == _STRING else raw), end
    if kind in {_TRUE, _FALSE}:
        return kind == _TRUE, position
    if kind == _TIMESTAMP:
        return int(_I64.unpack_from(block, position)[0]), position + 8
    if kind == _UUID:
        return block[position : position + 16], position + 16
    if kind in _INTEGERS:
        integer = _INTEGERS[kind]
        return int(integer.unpack_from(block, position)[0]), position + integer.size
    raise EventStreamError("a header has an unknown type")
