"""The tables of a report."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any, Final

from client_sim.report.html import NOTHING, card, cell, figure, ms, percent, table

type Figures = Mapping[str, Any]

_PERCENTILES: Final = ("p50", "p75", "p90", "p95", "p99", "p99.9")
_FAR_TAIL: Final = ("p99", "p99.9")
_LATENCIES: Final = {
    "v2v_ms": "Voice to voice: the learner's last voiced sample to Maya's first audible one, ms",
    "v2v_corrected_ms": "Voice to voice, unanswered turns counted for as long as the learner waited, ms",
    "first_byte_ms": "First byte of Maya's answer, ms",
    "first_speech_ms": "From calling to Maya's first word, ms",
    "setup_first_ms": "Set-up, first call of each phone (cold), ms",
    "setup_again_ms": "Set-up, later calls, ms",
    "barge_in_stop_ms": "Barge-in: the learner's onset to silence at the speaker, ms",
}


def gates(judged: Sequence[Figures]) -> str:
    """Every gate with its verdict, a row for each gate and a column for each group."""
    groups = list(dict.fromkeys(each["group"] for each in judged))
    rows = []
    for name in dict.fromkeys(each["gate"] for each in judged):
        of_gate = {each["group"]: each for each in judged if each["gate"] == name}
        first = next(iter(of_gate.values()))
        sign = "at least" if first["least"] else "at most"
        limit = _limit(first["limit"], first["unit"])
        rows.append(
            [cell(name), cell(first["says"]), cell(f"{sign} {limit}"), *(_chip(of_gate.get(g)) for g in groups)]
        )
    return card("Gates", table(["gate", "what", "limit", *groups], rows, words=(1,)))


def latencies(groups: Sequence[Figures]) -> str:
    """One table for each latency: groups below each other."""
    told = []
    for key, title in _LATENCIES.items():
        # The far tail is left out where nobody has the samples for it; up to p95 a dash says so.
        shown = [
            name
            for name in _PERCENTILES
            if name not in _FAR_TAIL or any(group["latency"][key].get(name) is not None for group in groups)
        ]
        rows = [
            [_name(number, group), cell(f"{s['n']:,}"), *(figure(s, name) for name in shown), cell(ms(s.get("max")))]
            for number, group in enumerate(groups)
            if (s := group["latency"][key])["n"]
        ]
        if rows:
            told.append(card(title, table(["", "n", *shown, "max"], rows)))
    return "".join(f"{each}" for each in told)


def network(groups: Sequence[Figures]) -> str:
    """The line: what was asked for, and what the whole path measured."""
    rows = []
    for number, group in enumerate(groups):
        trip, jitter, line = (group["network"][key] for key in ("round_trip_ms", "jitter_ms", "line_alone_ms"))
        asked = group["line_round_trip_ms"]
        rows.append(
            [
                _name(number, group),
                cell("nothing added" if asked is None else f"{asked:,.0f}"),
                cell(ms(line.get("p50"))),
                cell(f"{trip['n']:,}"),
                *(figure(trip, name) for name in ("p50", "p95", "p99")),
                cell(ms(trip.get("max"))),
                cell(ms(jitter.get("p50"), 1), f"n {jitter['n']}"),
                _mos(group["mos_estimate"]),
            ]
        )
    heads = [
        "",
        "line asked for",
        "line alone p50",
        "n",
        "round trip p50",
        "p95",
        "p99",
        "max",
        "jitter p50",
        "MOS estimate p50",
    ]
    note = f"Round trips by ping and pong through the whole path. Jitter: RFC 3550's estimate on them. MOS: {groups[0]['mos_estimate']['source']}; no listener was asked."
    return card("Network, ms", table(heads, rows), note)


def audio(groups: Sequence[Figures]) -> str:
    """What was heard, and what was lost."""
    rows = []
    for number, group in enumerate(groups):
        sound, going = group["audio"], group["continuity"]
        frames, pauses = sound["frames"], sound["pause_between_sentences_ms"]
        rows.append(
            [
                _name(number, group),
                percent(sound["late_pieces"]),
                cell(f"{sound['gap_ms']['n']:,}", _each_minute(sound["gaps_per_minute_heard"])),
                cell(ms(sound["gap_ms"].get("p50"))),
                cell(ms(sound["gap_ms"].get("max"))),
                cell(f"{pauses['n']:,}", f"p50 {ms(pauses.get('p50'))} ms"),
                cell(f"{frames['captured']:,}"),
                cell(f"{frames['resent']:,}"),
                cell(f"{frames['lost']:,}"),
                cell(f"{going['drops']:,}", ", ".join(f"{n} x {code}" for code, n in going["close_codes"].items())),
                percent(going["resumed"]),
                cell(ms(going["outage_ms"].get("p50")), f"max {ms(going['outage_ms'].get('max'))}"),
            ]
        )
    heads = [
        "",
        "late pieces",
        "gaps",
        "gap p50, ms",
        "max, ms",
        "pauses",
        "frames captured",
        "sent again",
        "lost",
        "lines lost",
        "resumed",
        "outage p50, ms",
    ]
    return card(
        "Sound and continuity",
        table(heads, rows),
        (
            "TCP loses nothing: what is late is the loss. Late pieces and gaps lie within a sentence; a pause, before a new one, may be "
            "Maya's own. Counts are of the whole run."
        ),
    )


def conversations(groups: Sequence[Figures]) -> str:
    """How conversations ended, errors, lag prompts."""
    rows = []
    listed: list[str] = []
    for number, group in enumerate(groups):
        calls, lag = group["conversations"], group["lag"]
        reasons = [*calls["failures"].items(), *((f"error {code}", count) for code, count in group["errors"].items())]
        causes = ", ".join(f"{count} {cause}" for cause, count in lag["causes"].items())
        seen = lag["seen_before_prompt_s"]
        after = f"{seen['min']:.0f} to {seen['max']:.0f} s" if seen["n"] else NOTHING
        rows.append(
            [
                _name(number, group),
                cell(str(calls["n"])),
                cell(str(calls["finished"])),
                cell(str(calls["stopped"]), f"{calls['cut']} cut" if calls["cut"] else ""),
                percent(calls["failed_share"]),
                percent(group["unanswered"]),
                cell(str(lag["notices"])),
                cell(str(lag["prompts"]), causes),
                cell(after),
                percent(lag["false_prompts"]),
                percent(lag["missed"]),
            ]
        )
        listed += [f"{escape(str(group['name']))}: {count} x {escape(reason)}" for reason, count in reasons]
    heads = [
        "",
        "n",
        "finished",
        "by time",
        "failed",
        "unanswered",
        "lag notices",
        "lag prompts",
        "seen before",
        "false",
        "missed",
    ]
    note = (
        "A prompt is false if the phone itself had seen no such lag in the 40 s before; a prompt is missed if the line alone was over the "
        "threshold for 20 s."
    )
    failures = "".join(f"<li>{each}</li>" for each in listed)
    told = (
        f'<details open><summary>Failures and errors</summary><ul class="small">{failures}</ul></details>'
        if listed
        else ""
    )
    return card("Conversations and lag prompts", table(heads, rows) + told, note)


def testers(runs: Sequence[Figures]) -> str:
    """How honest the tester itself was."""
    rows = []
    for each in runs:
        honest = each["tester"]
        slip, loop, cpu = honest["send_slip_ms"], honest["event_loop_lag_ms"], honest["cpu_of_a_core"]
        rows.append(
            [
                cell(each["file"]),
                f'<span class="chip {"pass" if honest["valid"] else "fail"}">{"valid" if honest["valid"] else "not valid"}</span>',
                cell(f"{slip['n']:,}"),
                *(cell(ms(slip[name], 2)) for name in ("p50", "p99", "p99.9", "max")),
                *(cell(ms(loop[name], 2)) for name in ("p50", "p99", "max")),
                cell(
                    NOTHING if cpu["mean"] is None else f"{100 * cpu['mean']:.0f} %",
                    f"max {100 * (cpu['max'] or 0):.0f} %",
                ),
                cell(str(honest["processes"])),
                cell(str(each["ended"] or "killed"), "last line cut off" if each["cut_off"] else ""),
            ]
        )
    heads = [
        "run",
        "",
        "frames",
        "send slip p50",
        "p99",
        "p99.9",
        "max",
        "event loop lag p50",
        "p99",
        "max",
        "CPU of a core",
        "processes",
        "ended",
    ]
    note = "Send slip: how late a frame was written, against the audio clock. A run whose p99 is over 5 ms measured its own tester and is not valid."
    return card("The tester itself, ms", table(heads, rows), note)


def _name(number: int, group: Figures) -> str:
    return f'<span class="dotkey c{number % 8}"></span>{escape(str(group["name"]))}'


def _mos(estimate: Figures) -> str:
    if estimate["n"] == 0:
        return cell(NOTHING)
    middle = estimate.get("p50")
    note = f"{estimate['min']:.2f} to {estimate['max']:.2f}, n {estimate['n']}"
    return cell(NOTHING if middle is None else f"{middle:.2f}", note)


def _each_minute(rate: float | None) -> str:
    return "" if rate is None else f"{rate:.2f} a minute of speech"


def _limit(limit: float, unit: str) -> str:
    return f"{100 * limit:g} %" if unit == "" else f"{limit:,.0f} {unit}"


def _chip(judged: Figures | None) -> str:
    if judged is None:
        return NOTHING
    tone = {"pass": "pass", "fail": "fail"}.get(judged["verdict"], "few")
    value = judged["value"]
    told = (
        "too few"
        if value is None
        else _limit(round(value, 4), judged["unit"])
        if judged["unit"] == ""
        else f"{value:,.0f} {judged['unit']}"
    )
    return f'<span class="chip {tone}">{escape(told)}</span>'
