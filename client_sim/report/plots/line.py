"""Plots of the line and of one conversation: round trips, gaps, outages, a session from beginning to end."""

import math
from collections.abc import Callable, Sequence
from typing import Any, Final

from client_sim.report.figures import Group
from client_sim.report.plots.latency import Plot
from client_sim.report.plots.svg import Canvas, clock_label, hint, seconds_label, tag, text, time_ticks
from client_sim.report.reading import Run

type Record = dict[str, Any]

_ROWS: Final = ("learner", "Maya", "line", "gateway")
_ROW_HEIGHT: Final = 38


def round_trips(groups: Sequence[Group]) -> Plot:
    """The share of round trips that took no longer, by group."""
    return _shares(
        groups,
        "Round trips through the whole path",
        lambda group: [record["ms"] for record in group.records("round_trip")],
        "round trip",
        "pings",
    )


def outages(groups: Sequence[Group]) -> Plot:
    """The share of outages that were over, by group."""
    return _shares(
        groups,
        "How long a lost line is felt",
        lambda group: [record["outage_ms"] for record in group.records("resume", warm=False)],
        "from the loss of the line until the conversation goes on",
        "outages",
    )


def gaps(groups: Sequence[Group]) -> Plot:
    """Gaps in Maya's voice, a minute, over time."""
    title = "Gaps in Maya's voice"
    told = [(colour, group, group.records("gap", warm=False)) for colour, group in enumerate(groups)]
    until_s = max(
        (run.of("second")[-1]["at_s"] for g in groups for run, _ in g.members if run.of("second")), default=1.0
    )
    if not any(found for _, _, found in told):
        return Plot(title, "There was none.", "")
    window_s = max(10.0, until_s / 20)
    counts = [[0] * math.ceil(until_s / window_s + 1e-9) for _ in told]
    for index, (_, _, found) in enumerate(told):
        for gap in found:
            counts[index][min(len(counts[index]) - 1, int(gap["at_s"] // window_s))] += 1
    canvas = Canvas(height=260)
    canvas.across(0, until_s)
    most = max(max(row) for row in counts) * 60 / window_s
    canvas.upwards(0, most * 1.1)
    canvas.grid([(tick, f"{tick:g}") for tick in canvas.y.ticks(5)], "gaps a minute")
    canvas.bottom(time_ticks(until_s), "time since the beginning")
    for index, (colour, group, found) in enumerate(told):
        points = [
            (min(until_s, (at + 0.5) * window_s), count * 60 / window_s) for at, count in enumerate(counts[index])
        ]
        canvas.line(points, colour, words=f"{group.name}: {len(found)} gaps")
    says = (
        f"All phones of a group together, in windows of {window_s:.0f} s. A gap is silence within a sentence, because its next "
        "piece came too late."
    )
    return Plot(title, says, canvas.picture(title), [(colour, group.name) for colour, group, _ in told])


def session(groups: Sequence[Group]) -> Plot:
    """The most eventful conversation: who spoke when, and what happened to the line."""
    title = "One conversation from beginning to end"
    found = [(run, call) for group in groups for run, region in group.members for call in run.of("call", region)]
    if not found:
        return Plot(title, "No conversation is over.", "")
    run, call = max(found, key=lambda pair: _eventful(*pair))
    own = _own(run, call)
    from_s, until_s = call["at_s"] - call["duration_ms"] / 1000, call["at_s"]
    canvas = Canvas(height=60 + _ROW_HEIGHT * len(_ROWS))
    canvas.across(0, max(1.0, until_s - from_s))
    canvas.upwards(0, 1, top=10, bottom=14 + _ROW_HEIGHT * len(_ROWS))
    for row, name in enumerate(_ROWS):
        canvas.add(text(name, canvas.left - 8, 10 + _ROW_HEIGHT * row + 22, class_="tick", text_anchor="end"))
    canvas.bottom(time_ticks(canvas.x.high), "time since the phone called")
    for turn in own("turn"):
        begin = turn["at_s"] - turn["spoke_ms"] / 1000
        wait = "no answer" if turn["v2v_ms"] is None else f"answered after {seconds_label(round(turn['v2v_ms']))}"
        _stretch(
            canvas,
            0,
            (begin - from_s, turn["at_s"] - from_s),
            f"speech c{1 if turn['interrupting'] else 0}",
            f"learner; {wait}",
        )
    for begin, end in call["maya_spoke"]:
        if begin is not None and end is not None:
            _stretch(canvas, 1, (begin - from_s, end - from_s), "speech c2", "Maya")
    for gap in own("gap"):
        _stretch(
            canvas,
            1,
            (gap["at_s"] - from_s - gap["ms"] / 1000, gap["at_s"] - from_s),
            "hole",
            f"gap of {gap['ms']:.0f} ms",
        )
    for resume in own("resume"):
        begin = resume["at_s"] - resume["outage_ms"] / 1000
        words = f"away for {resume['outage_ms'] / 1000:.1f} s, {resume['frames']} frames sent again"
        _stretch(canvas, 2, (begin - from_s, resume["at_s"] - from_s), "lost", words)
    _flags(canvas, own, from_s)
    says = (
        f"Phone {call['phone']}, {call['region']}, {call['duration_ms'] / 1000:.0f} s, {call['ended']}: the conversation with most "
        "events. Orange: the learner speaks over Maya; red: gaps and outages. Gateway: parts, errors, lag prompts."
    )
    return Plot(title, says, canvas.picture(title))


def _shares(
    groups: Sequence[Group], title: str, samples: Callable[[Group], list[float]], label: str, noun: str
) -> Plot:
    told = [(colour, group, sorted(samples(group))) for colour, group in enumerate(groups)]
    told = [each for each in told if each[2]]
    if not told:
        return Plot(title, "There was none.", "")
    canvas = Canvas(height=280)
    low = max(1.0, min(values[0] for *_, values in told) / 1.2)
    canvas.across(low, max(max(values[-1] for *_, values in told) * 1.2, low * 2), logarithmic=True)
    canvas.upwards(0, 1)
    canvas.grid([(share, f"{100 * share:.0f} %") for share in (0, 0.25, 0.5, 0.75, 1)], "share")
    canvas.bottom([(tick, seconds_label(tick)) for tick in canvas.x.ticks()], label)
    for colour, group, values in told:
        count = len(values)
        points = [(low, 0.0)]
        for index, value in enumerate(values):
            points += [(value, index / count), (value, (index + 1) / count)]
        canvas.line(points, colour, words=f"{group.name}: {count} {noun}")
    says = ", ".join(f"{group.name}: {len(values)}" for _, group, values in told) + f" {noun}. Every sample is a step."
    return Plot(title, says, canvas.picture(title), [(colour, group.name) for colour, group, _ in told])


def _own(run: Run, call: Record) -> Callable[[str], list[Record]]:
    return lambda kind: run.of_call(kind, call)


def _eventful(run: Run, call: Record) -> float:
    own = _own(run, call)
    weights = {"resume": 5.0, "lag_prompt": 5.0, "barge_in": 2.0, "gap": 1.0, "turn": 0.2}
    return sum(weight * min(5, len(own(kind))) for kind, weight in weights.items())


def _stretch(canvas: Canvas, row: int, when: tuple[float, float], kind: str, words: str) -> None:
    begin_s, end_s = when
    x = canvas.x(begin_s)
    width = max(1.5, canvas.x(end_s) - x)
    top = 12 + _ROW_HEIGHT * row
    told = f"{clock_label(begin_s)} to {clock_label(end_s)}: {words}"
    canvas.add(
        tag("rect", hint(told), class_=kind, x=round(x, 1), y=top, width=round(width, 1), height=_ROW_HEIGHT - 12, rx=2)
    )


def _flags(canvas: Canvas, own: Callable[[str], list[Record]], from_s: float) -> None:
    flags: list[tuple[float, str, str]] = [(part["at_s"], f"part {part['part']}", "flag") for part in own("part")]
    flags += [(error["at_s"], str(error["code"]), "error") for error in own("error")]
    flags += [
        (prompt["at_s"], f"lag {prompt['lag_ms']:.0f} ms ({prompt['cause']})", "limit") for prompt in own("lag_prompt")
    ]
    top = 12 + _ROW_HEIGHT * (len(_ROWS) - 1)
    for at, words, kind in flags:
        x = round(canvas.x(at - from_s), 1)
        canvas.add(tag("line", hint(words), class_=kind, x1=x, x2=x, y1=top, y2=top + _ROW_HEIGHT - 12))
        # Parts stand above, what goes wrong below, so that they do not lie upon each other.
        canvas.add(text(words, x + 3, top + (10 if kind == "flag" else 23), class_="mark"))
