"""Shaping a conversation's text into the history that a new Nova Sonic stream is seeded with.

Limits since 22 June 2026: 50 KB per message, 200 KB in all; the first message must be USER, roles alternate, text only
(Amazon Nova user guide, nova2-userguide/doc-history.md).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

from gateway.core.nova_events.build import Role, utf8

MAX_MESSAGE_BYTES: Final = 50_000
"""Most UTF-8 bytes of one history message."""

MAX_TOTAL_BYTES: Final = 200_000
"""Most UTF-8 bytes of all history messages together."""


@dataclass(frozen=True, slots=True)
class HistoryTurn:
    """What one side said; role USER or ASSISTANT, the text kept out of the representation."""

    role: Role
    text: str = field(repr=False)


def shape_history(
    turns: Sequence[HistoryTurn],
    *,
    first_user_line: str,
    max_message_bytes: int = MAX_MESSAGE_BYTES,
    max_total_bytes: int = MAX_TOTAL_BYTES,
) -> list[HistoryTurn]:
    """Return the turns as history messages that the service accepts, each to be sent as one text block.

    Runs of one role become one message, joined by line breaks. Where a limit is passed the oldest words go, never part
    of a character. Blank turns are left out; no turns give no history.

    Args:
        turns: What was said, oldest first.
        first_user_line: A short neutral line, put first when the history would otherwise begin with ASSISTANT.
        max_message_bytes: Most UTF-8 bytes of a message.
        max_total_bytes: Most UTF-8 bytes of all messages, ``first_user_line`` among them.

    Raises:
        ValueError: A role is neither USER nor ASSISTANT, ``first_user_line`` is blank, or it does not fit a limit.
    """
    reserved = len(utf8(first_user_line))
    if not first_user_line.strip() or reserved > max_message_bytes or reserved + 4 > max_total_bytes:
        raise ValueError("first_user_line must not be blank and must fit the limits")
    merged = [HistoryTurn(turn.role, keep_end(turn.text, max_message_bytes)) for turn in _merge(turns)]
    kept = _keep_newest(merged, max_total_bytes - reserved)
    if kept and kept[0].role is Role.ASSISTANT:
        kept.insert(0, HistoryTurn(Role.USER, first_user_line))
    return kept


def keep_end(text: str, max_bytes: int) -> str:
    """Return the longest end of the text that fits into ``max_bytes`` of UTF-8, never part of a character."""
    data = utf8(text)
    start = max(0, len(data) - max_bytes)
    while start < len(data) and data[start] & 0xC0 == 0x80:
        start += 1
    return data[start:].decode()


def _merge(turns: Iterable[HistoryTurn]) -> list[HistoryTurn]:
    runs: list[tuple[Role, list[str]]] = []
    for turn in turns:
        if turn.role not in (Role.USER, Role.ASSISTANT):
            raise ValueError(f"history holds USER and ASSISTANT turns, not {turn.role.value}")
        text = turn.text.strip()
        if not text:
            continue
        if runs and runs[-1][0] is turn.role:
            runs[-1][1].append(text)
        else:
            runs.append((turn.role, [text]))
    return [HistoryTurn(role, "\n".join(texts)) for role, texts in runs]


def _keep_newest(messages: Sequence[HistoryTurn], max_bytes: int) -> list[HistoryTurn]:
    kept: list[HistoryTurn] = []
    left = max_bytes
    for message in reversed(messages):
        size = len(utf8(message.text))
        if size > left:
            if not kept:
                kept = [HistoryTurn(message.role, keep_end(message.text, left))]
            break
        kept.append(message)
        left -= size
    kept.reverse()
    return kept
