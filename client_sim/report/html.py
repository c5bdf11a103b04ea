"""Pieces of HTML."""

from collections.abc import Sequence
from html import escape
from typing import Any, Final

NOTHING: Final = "\N{EN DASH}"
"""Stands where too few samples were taken."""


def cell(words: str, note: str = "") -> str:
    """What stands in a table's cell, with a small note below."""
    return escape(words) + (f"<small>{escape(note)}</small>" if note else "")


def table(heads: Sequence[str], rows: Sequence[Sequence[str]], *, words: Sequence[int] = ()) -> str:
    """A table; cells are HTML already.

    Args:
        heads: of the columns, plain text.
        rows: cells as `cell` makes them.
        words: columns that hold sentences.
    """

    def line(kind: str, cells: Sequence[str]) -> str:
        told = (f"<{kind}{' class=words' if n in words else ''}>{each}</{kind}>" for n, each in enumerate(cells))
        return f"<tr>{''.join(told)}</tr>"

    head = line("th", [escape(name) for name in heads])
    body = "".join(line("td", row) for row in rows)
    return f'<div class="scroll"><table><thead>{head}</thead><tbody>{body}</tbody></table></div>'


def card(title: str, content: str, note: str = "") -> str:
    """A framed piece of the page."""
    said = f'<p class="soft small">{escape(note)}</p>' if note else ""
    return f'<section class="card"><h3>{escape(title)}</h3>{said}{content}</section>'


def ms(value: float | None, digits: int = 0) -> str:
    """Milliseconds, or a dash where too few samples were taken."""
    return NOTHING if value is None else f"{value:,.{digits}f}"


def percent(proportion: dict[str, Any]) -> str:
    """A share as a cell, with its interval and count."""
    if proportion["share"] is None:
        return cell(NOTHING, "none")
    low, high = proportion["interval"]
    return cell(
        f"{100 * proportion['share']:.3g} %", f"{_short(100 * low)} to {_short(100 * high)}, n {proportion['n']:,}"
    )


def _short(number: float) -> str:
    """Two digits, and none behind the point from ten on."""
    return f"{number:.0f}" if number >= 10 else f"{number:.2g}"


def figure(summary: dict[str, Any], name: str, digits: int = 0) -> str:
    """A percentile as a cell, with its interval where it has one."""
    between = summary.get(f"{name}_interval")
    note = f"{between[0]:,.{digits}f} to {between[1]:,.{digits}f}" if between else ""
    return cell(ms(summary.get(name), digits), note)
