"""The event stream encoding."""

import struct
import uuid
import zlib
from typing import Any

import pytest
from botocore.eventstream import EventStreamBuffer
from hypothesis import given
from hypothesis import strategies as st

from infra.local.nova import eventstream
from infra.local.nova.eventstream import Decoder, EventStreamError, decode, encode, encode_headers

HEADERS = encode_headers(((":message-type", "event"), (":event-type", "chunk")))


def _message(
    block: bytes, payload: bytes = b"", *, total: int | None = None, headers_length: int | None = None
) -> bytes:
    """A message whose checksums fit, whatever its lengths say."""
    head = struct.pack(
        ">II",
        16 + len(block) + len(payload) if total is None else total,
        len(block) if headers_length is None else headers_length,
    )
    body = head + struct.pack(">I", zlib.crc32(head)) + block + payload
    return body + struct.pack(">I", zlib.crc32(body))


def _header(name: bytes, kind: int, value: bytes) -> bytes:
    return bytes((len(name),)) + name + bytes((kind,)) + value


def test_botocore_reads_what_is_encoded() -> None:
    """A message is what AWS's own decoder takes for one."""
    buffer = EventStreamBuffer()
    buffer.add_data(encode(HEADERS, b'{"a":1}'))
    message: Any = next(iter(buffer))
    assert message.headers == {":message-type": "event", ":event-type": "chunk"}
    assert message.payload == b'{"a":1}'


@given(payloads=st.lists(st.binary(max_size=200), max_size=5), cut=st.integers(1, 64))
def test_messages_survive_any_cutting(payloads: list[bytes], cut: int) -> None:
    """Messages come out whole and in order however the bytes are cut."""
    data = b"".join(encode(HEADERS, payload) for payload in payloads)
    decoder = Decoder()
    out = [message for at in range(0, len(data), cut) for message in decoder.feed(data[at : at + cut])]
    assert [message.payload for message in out] == payloads
    assert not decoder.partial


def test_every_header_type_is_read() -> None:
    """All ten header types of the specification are understood."""
    an_id = uuid.uuid4().bytes
    block = b"".join(
        (
            _header(b"yes", 0, b""),
            _header(b"no", 1, b""),
            _header(b"byte", 2, struct.pack(">b", -2)),
            _header(b"short", 3, struct.pack(">h", -300)),
            _header(b"int", 4, struct.pack(">i", -70000)),
            _header(b"long", 5, struct.pack(">q", 1 << 40)),
            _header(b"bytes", 6, struct.pack(">H", 2) + b"\x00\xff"),
            _header(b"text", 7, struct.pack(">H", 3) + "aé".encode()),
            _header(b"time", 8, struct.pack(">q", 1_700_000_000_000)),
            _header(b"uuid", 9, an_id),
        )
    )
    assert decode(_message(block)).headers == {
        "yes": True,
        "no": False,
        "byte": -2,
        "short": -300,
        "int": -70000,
        "long": 1 << 40,
        "bytes": b"\x00\xff",
        "text": "aé",
        "time": 1_700_000_000_000,
        "uuid": an_id,
    }


@pytest.mark.parametrize("at", range(len(encode(HEADERS, b"payload"))))
def test_any_changed_byte_is_noticed(at: int) -> None:
    """No single wrong byte gets through the checksums."""
    message = bytearray(encode(HEADERS, b"payload"))
    message[at] ^= 0x40
    with pytest.raises(EventStreamError):
        decode(bytes(message))


@pytest.mark.parametrize(
    "block",
    [
        _header(b"", 0, b""),
        _header(b"a", 0, b"") * 2,
        _header(b"a", 42, b""),
        _header(b"\xff", 0, b""),
        _header(b"a", 7, struct.pack(">H", 9) + b"short"),
        _header(b"a", 4, b"\x00"),
        b"\x05abc",
    ],
    ids=["nameless", "twice", "unknown type", "not UTF-8", "too long", "too short", "cut"],
)
def test_malformed_headers_are_refused(block: bytes) -> None:
    """A header block must be whole, its names unique and its types known."""
    with pytest.raises(EventStreamError):
        decode(_message(block))


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"short",
        _message(HEADERS, total=15),
        _message(HEADERS, headers_length=200),
        _message(HEADERS, b"payload") + b"more",
    ],
)
def test_lengths_must_fit(message: bytes) -> None:
    """A message fills exactly what its lengths say."""
    with pytest.raises(EventStreamError):
        decode(message)


@pytest.mark.parametrize(
    ("total", "headers_length"),
    [(8, 0), (32 << 20, 0), (1 << 20, eventstream.MAX_HEADERS_BYTES + 1)],
    ids=["below the minimum", "payload over 16 MB", "headers over 128 KB"],
)
def test_a_huge_message_is_refused_by_its_prelude(total: int, headers_length: int) -> None:
    """Nothing is collected for a message that could never be taken."""
    head = struct.pack(">II", total, headers_length)
    with pytest.raises(EventStreamError):
        Decoder().feed(head + struct.pack(">I", zlib.crc32(head)) + b"1234")


def test_a_broken_prelude_is_refused_before_the_rest_arrives() -> None:
    """A wrong checksum of the lengths ends the stream at once."""
    with pytest.raises(EventStreamError, match="prelude"):
        Decoder().feed(struct.pack(">III", 100, 0, 1) + b"1234")
