"""Scales, axes and marks: just enough to draw honest plots as SVG."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Final

COLOURS: Final = 8
"""Classes ``c0`` to ``c7`` are defined by the page, for light and dark."""

_FACTORS: Final = ((1, 2, 5), (1, 1.5, 2, 3, 4, 5, 7), (1, 1.2, 1.4, 1.6, 1.8, 2, 2.5, 3, 3.5, 4, 5, 6, 7, 8, 9))
_LEAST_TICKS: Final = 5
_TOP: Final = 14
_RIGHT: Final = 18
_BOTTOM: Final = 40
_LEFT: Final = 74


def tag(name: str, content: str = "", /, **attributes: object) -> str:
    """An element; ``class_`` stands for class, other underscores for hyphens. Content is SVG already."""
    told = "".join(f' {_attribute(key)}="{_value(value)}"' for key, value in attributes.items() if value is not None)
    return f"<{name}{told}>{content}</{name}>" if content else f"<{name}{told}/>"


def text(words: str, x: float, y: float, /, **attributes: object) -> str:
    """Words at a place."""
    return tag("text", escape(words), x=x, y=y, **attributes)


def hint(words: str) -> str:
    """What a pointer that rests on a mark is told."""
    return f"<title>{escape(words)}</title>"


def path_of(points: Iterable[tuple[float, float]]) -> str:
    """The data of a line through points."""
    return "M" + "L".join(f"{x:.1f},{y:.1f}" for x, y in points)


@dataclass(frozen=True, slots=True)
class Scale:
    """From values to places.

    Attributes:
        low: the least value.
        high: the greatest.
        start: the place of the least.
        end: the place of the greatest.
        logarithmic: whether equal factors are equally far apart.
    """

    low: float
    high: float
    start: float
    end: float
    logarithmic: bool = False

    def __call__(self, value: float) -> float:
        """The place of a value; values beyond the ends stay at them."""
        low, high = self._seen(self.low), self._seen(self.high)
        share = (self._seen(max(value, self.low)) - low) / ((high - low) or 1.0)
        return self.start + min(1.0, max(0.0, share)) * (self.end - self.start)

    def ticks(self, about: int = 6) -> list[float]:
        """Round values across the scale."""
        if self.logarithmic:
            return log_ticks(self.low, self.high)
        return round_ticks(self.low, self.high, about)

    def _seen(self, value: float) -> float:
        return math.log10(max(value, 1e-9)) if self.logarithmic else value


def round_ticks(low: float, high: float, about: int = 6) -> list[float]:
    """Multiples of 1, 2 or 5 times a power of ten between two values."""
    span = high - low
    if span <= 0:
        return [low]
    raw = span / about
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= raw * 0.999)
    first = math.ceil(low / step - 1e-9)
    return [round(step * index, 10) for index in range(first, math.floor(high / step + 1e-9) + 1)]


def log_ticks(low: float, high: float) -> list[float]:
    """Round values between two, at about equal factors: the fewer decades there are, the more of each."""
    powers = range(math.floor(math.log10(max(low, 1e-9))), math.ceil(math.log10(max(high, 1e-9))) + 1)
    ticks: list[float] = []
    for factors in _FACTORS:
        ticks = [factor * 10.0**power for power in powers for factor in factors if low <= factor * 10.0**power <= high]
        if len(ticks) >= _LEAST_TICKS:
            break
    return ticks


@dataclass(slots=True)
class Canvas:
    """A plot in the making.

    Attributes:
        width: in units of the picture.
        height: as above.
        x: the scale across.
        y: the scale upwards.
        marks: what is drawn, in order.
    """

    width: int = 720
    height: int = 320
    left: int = _LEFT
    x: Scale = field(default_factory=lambda: Scale(0, 1, 0, 1))
    y: Scale = field(default_factory=lambda: Scale(0, 1, 0, 1))
    marks: list[str] = field(default_factory=list)

    def across(self, low: float, high: float, *, logarithmic: bool = False) -> None:
        """Lay out the scale across."""
        self.x = Scale(low, high, self.left, self.width - _RIGHT, logarithmic)

    def upwards(
        self, low: float, high: float, *, logarithmic: bool = False, top: float = _TOP, bottom: float | None = None
    ) -> None:
        """Lay out the scale upwards."""
        self.y = Scale(low, high, self.height - _BOTTOM if bottom is None else bottom, top, logarithmic)

    def grid(self, ticks: Sequence[tuple[float, str]], label: str) -> None:
        """Horizontal lines with their values."""
        for value, words in ticks:
            at = self.y(value)
            self.add(tag("line", class_="grid", x1=self.x.start, x2=self.x.end, y1=round(at, 1), y2=round(at, 1)))
            self.add(text(words, self.left - 8, round(at + 4, 1), class_="tick", text_anchor="end"))
        middle = (self.y.start + self.y.end) / 2
        self.add(
            text(label, 0, 0, class_="axis", text_anchor="middle", transform=f"translate(14 {middle:.0f}) rotate(-90)")
        )

    def bottom(self, ticks: Sequence[tuple[float, str]], label: str) -> None:
        """The axis below."""
        base = self.y.start
        self.add(tag("line", class_="base", x1=self.x.start, x2=self.x.end, y1=base, y2=base))
        for value, words in ticks:
            at = round(self.x(value), 1)
            self.add(tag("line", class_="base", x1=at, x2=at, y1=base, y2=base + 4))
            self.add(text(words, at, base + 17, class_="tick", text_anchor="middle"))
        self.add(text(label, (self.x.start + self.x.end) / 2, base + 34, class_="axis", text_anchor="middle"))

    def add(self, mark: str) -> None:
        """Draw something."""
        self.marks.append(mark)

    def line(
        self, points: Sequence[tuple[float, float]], colour: int, *, dashed: bool = False, words: str = ""
    ) -> None:
        """A line through values."""
        if len(points) < 2:
            return
        data = path_of((self.x(x), self.y(y)) for x, y in points)
        self.add(
            tag(
                "path",
                hint(words) if words else "",
                class_=f"line c{colour % COLOURS}{' dashed' if dashed else ''}",
                d=data,
            )
        )

    def dot(self, x: float, y: float, colour: int, *, words: str = "", size: float = 4, hollow: bool = False) -> None:
        """A dot at values."""
        kind = "ring" if hollow else "dot"
        self.add(
            tag(
                "circle",
                hint(words) if words else "",
                class_=f"{kind} c{colour % COLOURS}",
                cx=round(self.x(x), 1),
                cy=round(self.y(y), 1),
                r=size,
            )
        )

    def faint(self, points: Iterable[tuple[float, float]], colour: int) -> None:
        """Many small dots as one mark."""
        data = "".join(f"M{self.x(x):.1f},{self.y(y):.1f}h0" for x, y in points)
        if data:
            self.add(tag("path", class_=f"faint c{colour % COLOURS}", d=data))

    def picture(self, says: str) -> str:
        """The whole; ``says`` is read to those who do not see it."""
        return tag(
            "svg",
            f"<title>{escape(says)}</title>{''.join(self.marks)}",
            viewBox=f"0 0 {self.width} {self.height}",
            role="img",
            xmlns="http://www.w3.org/2000/svg",
        )


def seconds_label(milliseconds: float) -> str:
    """A latency as people say it."""
    if milliseconds >= 1000:
        return f"{milliseconds / 1000:g} s"
    return f"{milliseconds:g} ms"


def clock_label(seconds: float) -> str:
    """A time within a run."""
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"


def time_ticks(until_s: float) -> list[tuple[float, str]]:
    """Round times within a run."""
    step = next((step for step in (5, 10, 15, 30, 60, 120, 300, 600, 1800, 3600, 7200) if until_s / step <= 9), 14_400)
    return [(float(at), clock_label(at)) for at in range(0, int(until_s) + 1, step)]


def _attribute(name: str) -> str:
    return "class" if name == "class_" else name if name == "viewBox" else name.replace("_", "-")


def _value(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else escape(str(value), quote=True)
