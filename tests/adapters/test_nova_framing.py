"""Frames and signatures of Nova Sonic's streams."""

import datetime as dt
import json
from base64 import b64encode
from contextlib import suppress
from types import SimpleNamespace
from typing import Any

import aws_sdk_signers.signers
import pytest
from aws_sdk_bedrock_runtime.models import (  # type: ignore[import-untyped, unused-ignore]
    BidirectionalInputPayloadPart,
    InvokeModelWithBidirectionalStreamInputChunk,
)
from aws_sdk_signers import AsyncEventSigner, SigV4SigningProperties
from hypothesis import given
from hypothesis import strategies as st
from smithy_aws_core.identity import AWSIdentityProperties, StaticCredentialsResolver
from smithy_aws_event_stream.aio import AWSEventPublisher, SigningConfig
from smithy_aws_event_stream.events import HEADER_VALUE, EventHeaderEncoder, EventMessage
from smithy_json import JSONCodec

from gateway.adapters.nova_framing import (
    MAX_FRAME_BYTES,
    FrameReader,
    FrameSigner,
    FramingError,
    ServiceFaultError,
    encode_event,
    encode_frame,
)
from tests.adapters.sonic_server import event_frame, exception_frame, frame

SEED = "ab" * 32
NOON = dt.datetime(2026, 11, 20, 12, 0, 0, 123_000, tzinfo=dt.UTC)


class _Written:
    def __init__(self) -> None:
        self.frames: list[bytes] = []

    async def write(self, data: bytes) -> None:
        self.frames.append(data)


async def _as_the_sdk_writes(
    events: list[bytes], moments: list[dt.datetime], monkeypatch: pytest.MonkeyPatch
) -> list[bytes]:
    """Frames of the SDK's own publisher, signing at the given moments; one more for the end."""
    clock = iter(moments)
    stopped = SimpleNamespace(datetime=SimpleNamespace(now=lambda _zone: next(clock)), UTC=dt.UTC)
    monkeypatch.setattr(aws_sdk_signers.signers, "datetime", stopped)

    signer = AsyncEventSigner(initial_signature=SEED.encode(), event_encoder_cls=EventHeaderEncoder)
    writer = _Written()
    identity = StaticCredentialsResolver()
    keys: AWSIdentityProperties = {"access_key_id": "AKID", "secret_access_key": "secret"}
    scope: SigV4SigningProperties = {"region": "us-east-1", "service": "bedrock"}
    publisher: AWSEventPublisher[Any] = AWSEventPublisher(
        JSONCodec(), writer, SigningConfig(signer, scope, identity, keys)
    )
    for event in events:
        part = BidirectionalInputPayloadPart(bytes_=event)
        await publisher.send(InvokeModelWithBidirectionalStreamInputChunk(value=part))
    await publisher.close()
    return writer.frames


async def test_frames_are_what_the_sdk_writes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three events over midnight and the end of the stream give the SDK's own bytes, signatures included."""
    events = [b'{"event":{"sessionStart":{}}}', b"x" * 5_800, "é".encode()]
    moments = [NOON, NOON, NOON + dt.timedelta(days=1), NOON + dt.timedelta(days=1, seconds=1)]
    expected = await _as_the_sdk_writes(events, moments, monkeypatch)
    clock = iter(moment.timestamp() for moment in moments)
    signer = FrameSigner(
        seed=SEED, secret_key="secret", region="us-east-1", service="bedrock", clock=lambda: next(clock)
    )
    assert [*(signer.frame(encode_event(event)) for event in events), signer.frame(b"")] == expected


@given(st.lists(st.binary(max_size=200), max_size=5), st.data())
def test_events_are_found_however_the_bytes_are_cut(events: list[bytes], data: st.DataObject) -> None:
    """Any cutting of the response gives the same events in order."""
    stream = b"".join(event_frame(event) for event in events)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=6)))
    reader, found = FrameReader(), []
    for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        reader.feed(stream[start:end])
        while (event := reader.next_event()) is not None:
            found.append(event)
    assert found == events
    assert reader.pending_bytes == 0


def _read(data: bytes) -> bytes | None:
    reader = FrameReader()
    reader.feed(data)
    return reader.next_event()


def test_padding_beside_the_event_is_ignored() -> None:
    """The service pads payloads with a key of its own."""
    assert _read(event_frame(b"{}", p="abcdefghij")) == b"{}"


def test_other_kinds_of_events_are_passed_over() -> None:
    """An event type of the future, and an event without bytes, do not end the stream."""
    future = frame({":message-type": "event", ":event-type": "novelty"}, b"{}")
    empty = frame({":message-type": "event", ":event-type": "chunk"}, b"{}")
    assert _read(future + empty + event_frame(b"after")) == b"after"


def test_headers_of_every_type_are_understood() -> None:
    """Headers that are no strings are passed over without losing the others."""
    headers: dict[str, HEADER_VALUE] = {
        "true": True,
        "bytes": b"\x00\x01",
        "number": 5,
        "moment": NOON,
        ":message-type": "event",
        ":event-type": "chunk",
    }
    payload = json.dumps({"bytes": b64encode(b"found").decode()}).encode()
    assert _read(EventMessage(headers=headers, payload=payload).encode()) == b"found"


@pytest.mark.parametrize(
    ("data", "kind", "message"),
    [
        (exception_frame("throttlingException", "slow down"), "throttlingException", "slow down"),
        (exception_frame("brandNewException", "what"), "brandNewException", "what"),
        (frame({":message-type": "exception", ":exception-type": "x"}, b"not json"), "x", ""),
        (frame({":message-type": "exception", ":exception-type": "x"}, b"[1]"), "x", ""),
        (frame({":message-type": "exception"}, b'{"message":3}'), "", ""),
        (frame({":message-type": "error", ":error-code": "E1", ":error-message": "m"}, b""), "E1", "m"),
    ],
)
def test_faults_keep_their_type_and_text(data: bytes, kind: str, message: str) -> None:
    """Modelled, unknown and unmodelled errors come out as what the service said."""
    with pytest.raises(ServiceFaultError) as caught:
        _read(data)
    assert (caught.value.fault_type, caught.value.message) == (kind, message)
    assert message not in str(caught.value) or not message


def _flipped(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


@pytest.mark.parametrize(
    "data",
    [
        _flipped(event_frame(b"{}"), 3),
        _flipped(event_frame(b"{}"), 9),
        _flipped(event_frame(b"{}"), 40),
        _flipped(event_frame(b"{}"), -1),
        b"\xff" * 16,
        (MAX_FRAME_BYTES + 1).to_bytes(4) + bytes(12),
        b"\x00" * 16,
        frame({":message-type": "riddle"}, b"{}"),
        frame({}, b"{}"),
        frame({":message-type": "event", ":event-type": "chunk"}, b"no json"),
        frame({":message-type": "event", ":event-type": "chunk"}, b"[]"),
        frame({":message-type": "event", ":event-type": "chunk"}, b'{"bytes":7}'),
        frame({":message-type": "event", ":event-type": "chunk"}, b'{"bytes":"a"}'),
        frame({":message-type": "event", ":event-type": "chunk"}, b'{"bytes":' + b"[" * 100_000),
    ],
)
def test_what_is_no_frame_is_refused(data: bytes) -> None:
    """Damaged or nonsensical bytes raise one kind of error, which quotes nothing."""
    with pytest.raises(FramingError) as caught:
        _read(data)
    assert caught.value.__cause__ is None


@given(st.binary(max_size=40))
def test_random_headers_never_raise_anything_else(headers: bytes) -> None:
    """Headers are parsed or refused, never tripped over."""
    with suppress(FramingError, ServiceFaultError):
        _read(encode_frame(headers, b"{}"))
