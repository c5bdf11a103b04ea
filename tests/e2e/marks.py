"""Looks for what must be nowhere: sound and words of a conversation, in whatever dress.

Sound is looked for raw, in base64 wherever in a longer text it may begin, and in hexadecimal; words as a run of more than
eight, whatever stands between them, and in base64 and hexadecimal, too. All of it is looked for in what is there as it is, and
with the escapes of JSON and of Python undone.
"""

import base64
import binascii
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

WINDOW_BYTES: Final = 24
SOUND_STRIDE_BYTES: Final = 120
"""So a leak is noticed that is as long as both together: 4.5 ms at 16 kHz."""

_TEXT_STRIDE_BYTES: Final = 8
_PREFIX_BYTES: Final = 8
_FEWEST_VALUES: Final = 6
"""A window of fewer different bytes is silence, and tells nothing."""
_WORDS: Final = 9
_WORD: Final = re.compile(rb"[a-z0-9']+")
_ESCAPE: Final = re.compile(rb"\\+(?:u00([0-9a-fA-F]{2})|x([0-9a-fA-F]{2})|([/\"'\\nrt]))")
_LETTERS: Final[Mapping[bytes, bytes]] = {b"n": b"\n", b"r": b"\r", b"t": b"\t"}


@dataclass(frozen=True)
class Found:
    """A mark, and where it was found."""

    place: str
    dress: str
    around: bytes


class Marks:
    """What is looked for.

    Args:
        sounds: PCM.
        texts: what was said; shorter ones than nine words are looked for in base64 and hexadecimal only.
    """

    def __init__(self, sounds: Sequence[bytes], texts: Iterable[str]) -> None:
        texts = sorted(set(texts))
        self._secrets = [*sounds, *(text.encode() for text in texts)]
        windows = [window for sound in sounds for window in _windows(sound, SOUND_STRIDE_BYTES)]
        written = [window for text in texts for window in _windows(text.encode(), _TEXT_STRIDE_BYTES)]
        both = windows + written
        # By dress: the first bytes of everything that is looked for, sorted.
        self._prefixes = {
            "raw": _sorted(windows),
            "hexadecimal": _sorted(binascii.hexlify(window) for window in both),
            "base64": _sorted(dressed for window in both for dressed in _in_base64(window)),
        }
        runs = (run for text in texts for run in _runs(_WORD.findall(text.lower().encode())))
        self._runs = {b" ".join(run) for _, run in runs}

    def search(self, places: Iterable[tuple[str, bytes]]) -> list[Found]:
        """Look into named pieces of bytes; return at most one find for each place and dress."""
        found: dict[tuple[str, str], Found] = {}
        for place, content in places:
            for dress, around in self._look(content):
                found.setdefault((place, dress), Found(place, dress, around))
        return list(found.values())

    def _look(self, content: bytes) -> Iterator[tuple[str, bytes]]:
        plain = _unescaped(content)
        for layer in {content, content.lower(), plain}:
            for dress, prefixes in self._prefixes.items():
                for place in _places(layer, prefixes):
                    if self._is_secret(dress, layer[place:]):
                        yield dress, layer[max(0, place - 60) : place + 60]
        for layer in {content, plain}:
            for place, run in _runs(words := _WORD.findall(layer.lower())):
                if b" ".join(run) in self._runs:
                    yield "words", b" ".join(words[max(0, place - 5) : place + _WORDS + 5])

    def _is_secret(self, dress: str, rest: bytes) -> bool:
        """Whether what begins like something looked for goes on like it."""
        try:
            bare = {
                "raw": lambda: rest[:WINDOW_BYTES],
                "hexadecimal": lambda: binascii.unhexlify(rest[: 2 * WINDOW_BYTES]),
                "base64": lambda: binascii.a2b_base64(rest[: WINDOW_BYTES - 4]),
            }[dress]()
        except ValueError:
            return False
        return any(bare in secret for secret in self._secrets)


def _windows(content: bytes, stride: int) -> Iterator[bytes]:
    for place in range(0, len(content) - WINDOW_BYTES + 1, stride):
        window = content[place : place + WINDOW_BYTES]
        if len(set(window)) >= _FEWEST_VALUES:
            yield window


def _in_base64(window: bytes) -> Iterator[bytes]:
    """The three ways it looks, by how many bytes stand before it, without the characters that its neighbours change."""
    for skipped in range(3):
        yield base64.b64encode(bytes(skipped) + window)[4:-4]


def _sorted(contents: Iterable[bytes]) -> "np.ndarray[tuple[int], np.dtype[np.uint64]]":
    return np.unique(np.frombuffer(b"".join(content[:_PREFIX_BYTES] for content in contents), "<u8"))


def _places(content: bytes, prefixes: "np.ndarray[tuple[int], np.dtype[np.uint64]]") -> Iterator[int]:
    """Where one of the prefixes begins."""
    for offset in range(_PREFIX_BYTES):
        count = (len(content) - offset) // _PREFIX_BYTES
        if count > 0 and len(prefixes):
            words = np.frombuffer(content, "<u8", count, offset)
            nearest = prefixes[np.minimum(np.searchsorted(prefixes, words), len(prefixes) - 1)]
            for index in np.flatnonzero(nearest == words):
                yield offset + int(index) * _PREFIX_BYTES


def _runs(words: Sequence[bytes]) -> Iterator[tuple[int, Sequence[bytes]]]:
    for place in range(len(words) - _WORDS + 1):
        yield place, words[place : place + _WORDS]


def _unescaped(content: bytes) -> bytes:
    """Undo the escapes, of JSON within JSON, too."""

    def undone(match: re.Match[bytes]) -> bytes:
        code = match[1] or match[2]
        return bytes([int(code, 16)]) if code else _LETTERS.get(match[3], match[3])

    return _ESCAPE.sub(undone, content) if b"\\" in content else content
