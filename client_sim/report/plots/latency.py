"""Plots of latency: against load, over time, as a curve, as a heat map, by its parts, against distance."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, groupby
from typing import Any, Final

from client_sim.report.figures import Group, corrected
from client_sim.report.plots.svg import Canvas, clock_label, hint, seconds_label, tag, text, time_ticks
from client_sim.report.statistics import interval, percentile

type Record = dict[str, Any]

_MOST_DOTS: Final = 4_000
_LEAST_MS: Final = 50.0
_BINS: Final = 40
_HEAT_ROWS: Final = 28
_HOP_CLASSES: Final = {
    "network": 0,
    "turn end noticed": 1,
    "thinking": 2,
    "play-out buffer": 3,
    "leading silence": 4,
}


@dataclass(frozen=True, slots=True)
class Plot:
    """One plot of the page.

    Attributes:
        title: what is drawn.
        says: how to read it, and of how many samples.
        picture: SVG; empty where nothing was measured.
        legend: names by colour.
    """

    title: str
    says: str
    picture: str
    legend: Sequence[tuple[int, str]] = ()


def load_curve(groups: Sequence[Group]) -> Plot:
    """Voice to voice against how many were talking at that moment: where is the knee?"""
    dots = [(talking, turn["v2v_ms"], colour) for colour, g in enumerate(groups) for talking, turn in _at_load(g)]
    title = "Voice to voice against load"
    if not dots:
        return Plot(title, "No turn was answered.", "")
    most = max(talking for talking, _, _ in dots)
    canvas = _latency_canvas([ms for _, ms, _ in dots])
    canvas.across(0, most * 1.04 or 1)
    _latency_axes(canvas, "voice to voice")
    canvas.bottom([(tick, f"{tick:g}") for tick in canvas.x.ticks(8) if tick == int(tick)], "conversations at once")
    _scatter(canvas, dots)
    width = max(1, math.ceil(most / 8))
    binned = sorted(dots, key=lambda dot: dot[0])
    for name, share, dashed in (("p50", 0.5, False), ("p95", 0.95, True), ("p99", 0.99, True)):
        points = []
        for number, of_bin in groupby(binned, key=lambda dot: max(0, dot[0] - 1) // width):
            told = percentile(sorted(ms for _, ms, _ in of_bin), share)
            if told is not None:
                points.append((min(most, number * width + (width + 1) / 2), told))
        canvas.add(tag("g", _ink(canvas, points, dashed=dashed), class_="ink"))
        if points:
            canvas.add(text(name, canvas.x(points[-1][0]) + 6, canvas.y(points[-1][1]) - 6, class_="mark"))
    says = f"Each dot is one of {len(dots)} turns, warm-up included. Lines: p50, p95 and p99 of every {width} conversations, where 20, 200 and 1000 turns carry them."
    return Plot(title, says, canvas.picture(title), _legend(groups))


def over_time(groups: Sequence[Group]) -> Plot:
    """Voice to voice, conversations and errors on one time axis."""
    title = "The run from beginning to end"
    turns = [(t["at_s"], t["v2v_ms"], c) for c, g in enumerate(groups) for t in _answered(g)]
    talking = talking_by_second(groups)
    until_s = max([at for at, _, _ in turns] + [float(at) for at in talking] + [1.0])
    if not turns:
        return Plot(title, "No turn was answered.", "")
    canvas = _latency_canvas([ms for _, ms, _ in turns], top=92)
    canvas.across(0, until_s)
    _latency_axes(canvas, "voice to voice")
    canvas.bottom(time_ticks(until_s), "time since the beginning")
    _scatter(canvas, turns)
    window_s = max(10.0, until_s / 30)
    points = []
    for number, within in groupby(sorted(turns), key=lambda turn: int(turn[0] // window_s)):
        told = percentile(sorted(ms for _, ms, _ in within), 0.5)
        if told is not None:
            points.append((min(until_s, (number + 0.5) * window_s), told))
    canvas.add(tag("g", _ink(canvas, points, dashed=False), class_="ink"))
    _talking_band(canvas, talking, until_s)
    errors = [(e["at_s"], e["code"]) for g in groups for e in g.records("error", warm=False)]
    drops = [(d["at_s"], "line lost") for g in groups for d in g.records("drop", warm=False)]
    for at, words in (*errors, *drops):
        kind = "error" if words != "line lost" else "drop"
        x = round(canvas.x(at), 1)
        canvas.add(tag("line", hint(f"{clock_label(at)} {words}"), class_=kind, x1=x, x2=x, y1=76, y2=86))
    ramp_s = max(run.ramp_s for group in groups for run, _ in group.members)
    canvas.add(
        tag(
            "line",
            hint("end of the warm-up"),
            class_="limit",
            x1=canvas.x(ramp_s),
            x2=canvas.x(ramp_s),
            y1=14,
            y2=canvas.y.start,
        )
    )
    says = (
        f"Above: conversations at once; ticks: {len(drops)} lines lost, {len(errors)} errors. Below: turns, and their median "
        f"in windows of {window_s:.0f} s. The dashed upright ends the warm-up."
    )
    return Plot(title, says, canvas.picture(title), _legend(groups))


def percentile_curve(groups: Sequence[Group]) -> Plot:
    """The whole distribution, its tail stretched; solid as answered, dashed with the turns that never were."""
    title = "Voice to voice by percentile"
    waits = [
        (sorted(t["v2v_ms"] for t in g.turns if t["v2v_ms"] is not None), sorted(corrected(g.turns))) for g in groups
    ]
    if not any(answered for answered, _ in waits):
        return Plot(title, "No turn was answered after the warm-up.", "")
    most = max(len(all_of) for _, all_of in waits)
    canvas = _latency_canvas([ms for _, all_of in waits for ms in all_of])
    canvas.across(0, max(1.0, math.log10(most) if most else 1.0))
    _latency_axes(canvas, "voice to voice")
    marks = [(0, "0"), (0.301, "50 %"), (1, "90 %"), (2, "99 %"), (3, "99.9 %"), (4, "99.99 %")]
    canvas.bottom([mark for mark in marks if mark[0] <= canvas.x.high], "share of turns that were no slower")
    for colour, (answered, all_of) in enumerate(waits):
        canvas.line(_tail(answered), colour, words=f"{groups[colour].name}: {len(answered)} answered turns")
        if len(all_of) > len(answered):
            canvas.line(_tail(all_of), colour, dashed=True, words=f"{groups[colour].name}, with unanswered turns")
    says = (
        "Every sample is drawn, so the end of each line is its slowest turn. Dashed where learners had to speak again: their waits "
        "count for as long as they lasted, which a tester that waits for answers would leave out."
    )
    return Plot(title, says, canvas.picture(title), _legend(groups))


def heat_map(groups: Sequence[Group]) -> Plot:
    """How often which wait came when."""
    title = "Voice to voice as a heat map"
    turns = [(turn["at_s"], turn["v2v_ms"]) for group in groups for turn in _answered(group)]
    if not turns:
        return Plot(title, "No turn was answered.", "")
    until_s = max(at for at, _ in turns) or 1.0
    canvas = _latency_canvas([ms for _, ms in turns])
    canvas.across(0, until_s)
    _latency_axes(canvas, "voice to voice")
    low, high = math.log(canvas.y.low), math.log(canvas.y.high)
    cells = Counter(
        (
            min(_BINS - 1, int(at / until_s * _BINS)),
            min(_HEAT_ROWS - 1, int((math.log(ms) - low) / (high - low) * _HEAT_ROWS)),
        )
        for at, ms in turns
    )
    most = max(cells.values())
    width = (canvas.x.end - canvas.x.start) / _BINS
    height = (canvas.y.start - canvas.y.end) / _HEAT_ROWS
    for (column, row), count in sorted(cells.items()):
        ms = math.exp(low + (row + 0.5) / _HEAT_ROWS * (high - low))
        words = f"{clock_label(column * until_s / _BINS)}: {count} turns of about {seconds_label(round(ms))}"
        canvas.add(
            tag(
                "rect",
                hint(words),
                class_="heat",
                x=round(canvas.x.start + column * width, 1),
                y=round(canvas.y.start - (row + 1) * height, 1),
                width=round(width - 0.6, 1),
                height=round(height - 0.6, 1),
                fill_opacity=round(0.15 + 0.85 * count / most, 3),
            )
        )
    canvas.bottom(time_ticks(until_s), "time since the beginning")
    return Plot(title, f"{len(turns)} turns, warm-up included; the darkest cell holds {most}.", canvas.picture(title))


def hops(groups: Sequence[Group]) -> Plot:
    """What the wait is made of, in the middle and at the end of the distribution."""
    title = "What the wait is made of"
    bars = [
        (f"{g.name}, {name}", told)
        for g in groups
        for name, share in (("p50", 0.5), ("p95", 0.95))
        if (told := g.hops(share))
    ]
    if not bars:
        return Plot(title, "Fewer than 20 turns of any group show all their parts.", "")
    canvas = Canvas(height=54 + 26 * len(bars), left=170)
    most = max(sum(told[name] for name in _HOP_CLASSES) for _, told in bars)
    canvas.across(0, most * 1.02)
    canvas.upwards(0, 1, top=8, bottom=canvas.height - 40)
    canvas.bottom([(tick, seconds_label(tick)) for tick in canvas.x.ticks(7)], "voice to voice")
    for index, (label, told) in enumerate(bars):
        top = 10 + 26 * index
        canvas.add(text(label, canvas.left - 8, top + 14, class_="tick", text_anchor="end"))
        ends = list(accumulate((told[name] for name in _HOP_CLASSES), initial=0.0))
        for name, start, end in zip(_HOP_CLASSES, ends, ends[1:], strict=False):
            x = canvas.x(start)
            words = f"{label}: {name} {told[name]:.0f} ms (mean of {told['n']} turns)"
            width = max(0.0, canvas.x(end) - x)
            canvas.add(
                tag(
                    "rect",
                    hint(words),
                    class_=f"bar c{_HOP_CLASSES[name]}",
                    x=round(x, 1),
                    y=top,
                    width=round(width, 1),
                    height=18,
                )
            )
            if width > 34:
                canvas.add(text(f"{told[name]:.0f}", x + width / 2, top + 13, class_="inbar", text_anchor="middle"))
    says = (
        "As a phone sees it, in ms: means of the turns within 5 points around p50 and p95. Network is the conversation's round trip; "
        "the end of the turn is noticed when the gateway says that Maya thinks."
    )
    return Plot(title, says, canvas.picture(title), [(number, name) for name, number in _HOP_CLASSES.items()])


def distance(groups: Sequence[Group]) -> Plot:
    """Voice to voice and lag prompts against the round trip of the line."""
    title = "What distance costs"
    told = []
    for colour, group in enumerate(groups):
        trips = sorted(r["ms"] for r in group.records("round_trip"))
        waits = sorted(t["v2v_ms"] for t in group.turns if t["v2v_ms"] is not None)
        middle = percentile(trips, 0.5)
        if middle is not None and percentile(waits, 0.5) is not None:
            told.append((colour, group, middle, waits))
    if not told:
        return Plot(title, "Too few round trips or turns.", "")
    canvas = Canvas()
    highest = max(percentile(waits, 0.95) or 1.5 * (percentile(waits, 0.5) or 0.0) for _, _, _, waits in told)
    canvas.across(0, max(middle for _, _, middle, _ in told) * 1.15)
    canvas.upwards(0, highest * 1.1, top=14, bottom=218)
    canvas.grid([(tick, seconds_label(tick)) for tick in canvas.y.ticks(5)], "voice to voice")
    for colour, group, middle, waits in told:
        for name, share, hollow in (("p50", 0.5, False), ("p95", 0.95, True)):
            value = percentile(waits, share)
            if value is None:
                continue
            between = interval(waits, share) or (value, value)
            x = round(canvas.x(middle), 1)
            canvas.add(
                tag(
                    "line",
                    class_=f"whisker c{colour}",
                    x1=x,
                    x2=x,
                    y1=round(canvas.y(between[0]), 1),
                    y2=round(canvas.y(between[1]), 1),
                )
            )
            words = f"{group.name}: {name} {value:.0f} ms ({between[0]:.0f} to {between[1]:.0f}), n {len(waits)}"
            canvas.dot(middle, value, colour, words=words, size=5, hollow=hollow)
    _prompt_panel(canvas, told)
    says = "Dots: p50 and rings: p95 of voice to voice with 95 % intervals, at the measured median round trip. Below: lag prompts a minute."
    return Plot(title, says, canvas.picture(title), _legend(groups))


def _prompt_panel(canvas: Canvas, told: Sequence[tuple[int, Group, float, list[float]]]) -> None:
    rates = []
    for colour, group, middle, _ in told:
        calls = group.records("call", warm=False)
        minutes = sum(call["duration_ms"] for call in calls) / 60_000
        rates.append(
            (colour, group, middle, len(group.records("lag_prompt", warm=False)) / minutes if minutes else 0.0)
        )
    canvas.upwards(0, max(0.1, *(rate for *_, rate in rates)) * 1.1, top=236, bottom=280)
    canvas.grid([(canvas.y.low, "0"), (canvas.y.high / 1.1, f"{canvas.y.high / 1.1:.2g}")], "prompts")
    canvas.bottom([(tick, seconds_label(tick)) for tick in canvas.x.ticks(8)], "round trip through the whole path")
    for colour, group, middle, rate in rates:
        canvas.dot(middle, rate, colour, words=f"{group.name}: {rate:.2f} lag prompts a minute", size=4)


def talking_by_second(groups: Sequence[Group]) -> dict[int, int]:
    """How many talked in each second, over all processes of all runs: the most of them where runs overlap in time."""
    most: dict[int, int] = {}
    for run in {id(run): run for group in groups for run, _ in group.members}.values():
        of_run: dict[int, dict[int, int]] = {}
        for second in run.of("second"):
            of_run.setdefault(int(second["at_s"]), {})[second["process"]] = sum(second["phones"].values())
        for at, processes in of_run.items():
            most[at] = max(most.get(at, 0), sum(processes.values()))
    return most


def _at_load(group: Group) -> list[tuple[int, Record]]:
    found = []
    for run, region in group.members:
        talking = talking_by_second([Group("", [(run, region)])])
        for turn in run.of("turn", region):
            if turn["v2v_ms"] is not None and not turn["interrupting"]:
                at = int(turn["at_s"])
                found.append((talking.get(at) or talking.get(at + 1) or 1, turn))
    return found


def _answered(group: Group) -> list[Record]:
    return [t for t in group.records("turn", warm=False) if t["v2v_ms"] is not None and not t["interrupting"]]


def _latency_canvas(values: Sequence[float], *, top: float = 14) -> Canvas:
    canvas = Canvas()
    low = max(_LEAST_MS, min(values) / 1.15)
    canvas.upwards(low, max(max(values) * 1.15, low * 2), logarithmic=True, top=top)
    return canvas


def _latency_axes(canvas: Canvas, label: str) -> None:
    canvas.grid([(tick, seconds_label(tick)) for tick in canvas.y.ticks()], label)


def _scatter(canvas: Canvas, dots: Sequence[tuple[float, float, int]]) -> None:
    step = max(1, math.ceil(len(dots) / _MOST_DOTS))
    for colour in sorted({colour for *_, colour in dots}):
        canvas.faint([(x, y) for x, y, c in dots[::step] if c == colour], colour)


def _ink(canvas: Canvas, points: Sequence[tuple[float, float]], *, dashed: bool) -> str:
    if len(points) == 1:
        return tag(
            "circle", class_="inkdot", cx=round(canvas.x(points[0][0]), 1), cy=round(canvas.y(points[0][1]), 1), r=3.5
        )
    if not points:
        return ""
    data = "L".join(f"{canvas.x(x):.1f},{canvas.y(y):.1f}" for x, y in points)
    return tag("path", class_="inkline dashed" if dashed else "inkline", d=f"M{data}")


def _talking_band(canvas: Canvas, talking: dict[int, int], until_s: float) -> None:
    if not talking:
        return
    most = max(talking.values()) or 1
    base, top = 72.0, 18.0
    corners = [(at, talking[at]) for at in sorted(talking) if at <= until_s]
    data = "".join(f"L{canvas.x(at):.1f},{base - (base - top) * count / most:.1f}" for at, count in corners)
    end = canvas.x(corners[-1][0])
    canvas.add(
        tag(
            "path",
            hint(f"at most {most} at once"),
            class_="band",
            d=f"M{canvas.x(corners[0][0]):.1f},{base}{data}L{end:.1f},{base}Z",
        )
    )
    canvas.add(text(str(most), canvas.left - 8, top + 6, class_="tick", text_anchor="end"))
    canvas.add(text("talking", canvas.left - 8, base, class_="tick", text_anchor="end"))


def _tail(rising: Sequence[float]) -> list[tuple[float, float]]:
    count = len(rising)
    return [(-math.log10(1 - index / count), ms) for index, ms in enumerate(rising)]


def _legend(groups: Sequence[Group]) -> list[tuple[int, str]]:
    return [(colour, group.name) for colour, group in enumerate(groups)]
