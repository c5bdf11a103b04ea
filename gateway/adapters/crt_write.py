"""Writing to a stream of awscrt, many times a second.

awscrt's `write_data` makes a future with a lock and a condition for each write, and wraps what is written in two objects
whose methods it looks up again for each read. None of that is used here, and it costs three times what the native call does.
So the native call is made directly where it is known to be what it was when this was written, and `write_data` elsewhere.
"""

import io
from collections.abc import Callable
from typing import Any, Final

import _awscrt
import awscrt
from awscrt.http import Http2ClientStream
from awscrt.io import InputStream

_READ_VERSIONS: Final = frozenset({"0.32.2"})
"""Those whose `Http2ClientStream.write_data` and `InputStream` are what `_Piece` and `_write_direct` stand in for."""

type Write = Callable[[Any, bytes | None, Callable[[object], None]], None]
"""Takes a stream, what to write (None for the end of the body), and what to call from awscrt's thread when it is written."""


class _Piece(InputStream):  # type: ignore[misc, unused-ignore]
    """Bytes as awscrt's thread reads them."""

    __slots__ = ("_at", "_data")

    def __init__(self, data: bytes) -> None:
        # Not that of `InputStream`, which wants a file; its parent's only serves awscrt's own tests for leaks.
        self._data = data
        self._at = 0
        self._binding = _awscrt.input_stream_new(self)  # type: ignore[misc, unused-ignore]

    def _read_into_memoryview(self, target: memoryview) -> int:
        """Fill `target` with what comes next; return how many bytes that are, 0 at the end."""
        piece = self._data[self._at : self._at + len(target)]
        target[: len(piece)] = piece
        self._at += len(piece)
        return len(piece)

    def _seek(self, offset: int, whence: int) -> None:
        """Go back, as awscrt does to send a request again; never called for a write."""
        bases = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: len(self._data)}
        self._at = bases[whence] + offset


def _write_direct(stream: Any, data: bytes | None, written: Callable[[object], None]) -> None:
    _awscrt.http2_client_stream_write_data(stream, None if data is None else _Piece(data), data is None, written)


def _write_public(stream: Any, data: bytes | None, written: Callable[[object], None]) -> None:
    stream.write_data(None if data is None else io.BytesIO(data), data is None).add_done_callback(written)


def choose_write(version: str) -> Write:
    """Return how to write with a version of awscrt."""
    known = version in _READ_VERSIONS
    calls = "http2_client_stream_write_data" in Http2ClientStream.write_data.__code__.co_names
    reads = {"_read_into_memoryview", "_seek"} <= vars(InputStream).keys() and hasattr(_awscrt, "input_stream_new")
    return _write_direct if known and calls and reads else _write_public


write: Final = choose_write(awscrt.__version__)
