"""Free text, bounded."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.core.assessment.text import json_bytes, one_line, shorten


@pytest.mark.parametrize(
    ("text", "max_bytes", "short"),
    [
        ("A short one.", 40, "A short one."),
        ("  two\n lines\t", 40, "two lines"),
        ("one two three four", 12, "one two…"),
        ("one two three four", 10, "one two…"),
        ("one two three four", 9, "one…"),
        ("unbreakable", 8, "unbre…"),
        ("", 8, ""),
    ],
)
def test_shorten(text, max_bytes, short):
    """Text is cut after a word and marked; a single long word is cut within."""
    assert shorten(text, max_bytes) == short


@settings(deadline=None)
@given(st.text(), st.integers(20, 60))
def test_shortened_text_fits(text, max_bytes):
    """For any text the result is one line, within the limit as JSON, stable, and whole when it fits."""
    short = shorten(text, max_bytes)
    assert len(json.dumps(short, ensure_ascii=False).encode()) - 2 <= max_bytes
    assert short == one_line(short)
    assert shorten(short, max_bytes) == short
    if json_bytes(one_line(text)) <= max_bytes:
        assert short == one_line(text)
