"""Free text of an assessment: one line, bounded in bytes."""

import json
from typing import Final

COMMENT_BYTES: Final = 300
"""Longest comment on a criterion."""

POINT_BYTES: Final = 160
"""Longest strength or next step."""

SUMMARY_BYTES: Final = 1_200
"""Longest summary of a test."""

MAX_POINTS: Final = 5
"""Most strengths, and most next steps, of a part or of a test."""

_ELLIPSIS: Final = "…"
_ELLIPSIS_BYTES: Final = 3


def json_bytes(text: str) -> int:
    """Return how many bytes a text takes in UTF-8 JSON, without its quotation marks."""
    return len(json.dumps(text, ensure_ascii=False).encode(errors="replace")) - 2


def one_line(text: str) -> str:
    """Return the text with every run of white space and unprintable characters as one space."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


def shorten(text: str, max_bytes: int) -> str:
    """Return the text on one line, cut after a word and marked with an ellipsis if it takes more than ``max_bytes``.

    Args:
        text: Any text.
        max_bytes: Most bytes of the result in UTF-8 JSON.
    """
    line = one_line(text)
    if json_bytes(line) <= max_bytes:
        return line
    left = max_bytes - _ELLIPSIS_BYTES
    end = 0
    while (left := left - json_bytes(line[end])) >= 0:
        end += 1
    word_end = line.rfind(" ", 0, end + 1)
    return line[: word_end if word_end > 0 else end] + _ELLIPSIS
