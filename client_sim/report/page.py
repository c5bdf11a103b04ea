"""One page that needs nothing but itself: verdict first, then where it comes from, tables, plots."""

from collections.abc import Sequence
from html import escape
from typing import Any

from client_sim.report import tables
from client_sim.report.document import groups_of
from client_sim.report.figures import Group
from client_sim.report.html import NOTHING, card, cell, ms, table
from client_sim.report.plots import latency, line
from client_sim.report.plots.latency import Plot
from client_sim.report.reading import UNFINISHED, Run
from client_sim.report.style import SCRIPT, STYLE

_VERDICTS = {
    "pass": ("PASS", "Every run is valid, and no gate that could be judged has failed."),
    "fail": ("FAIL", "At least one gate has failed."),
    "invalid": (
        "NOT VALID",
        "At least one run does not measure the gateway:",
    ),
}


def page(runs: Sequence[Run], told: dict[str, Any], *, command: str) -> str:
    """The page.

    Args:
        runs: for the plots, which draw every sample.
        told: the document of the same runs.
        command: builds the page anew.
    """
    labels = ", ".join(dict.fromkeys(str(run.manifest["label"]) for run in runs))
    begun = min(str(run.manifest["started_at"]) for run in runs)
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:\">"
        f"<title>Maya under load: {escape(labels)}</title><style>{STYLE}</style></head><body><main>"
        f"<header><div><h1>Maya under load</h1><p class=soft>{escape(labels)} · {escape(begun)}</p></div>"
        '<button id="theme" type="button">light / dark</button></header>'
        f"{_verdict(told)}{tables.gates(told['verdict']['gates'])}"
        f"{''.join(_target(runs, each) for each in told['targets'])}"
        f"<h2>The tester</h2>{tables.testers(told['runs'])}"
        f"<h2>Where this comes from</h2>{''.join(_manifest(each) for each in told['runs'])}{_rules(told, command)}"
        f"</main><script>{SCRIPT}</script></body></html>\n"
    )


def _verdict(told: dict[str, Any]) -> str:
    verdict = told["verdict"]
    kind = "invalid" if not verdict["valid"] else "pass" if verdict["passed"] else "fail"
    word, says = _VERDICTS[kind]
    counts = [judged["verdict"] for judged in verdict["gates"]]
    summary = f"{counts.count('pass')} gates kept, {counts.count('fail')} not, {counts.count('too few')} too few."
    if "too few" in counts:
        summary += (
            " Too few: there are not enough samples to judge by. A median needs 20, p95 200, p99 1000; run longer, or with "
            "more phones."
        )
    told_of = [f"{each['file']}: {each['tester']['why_not']}" for each in told["runs"] if not each["tester"]["valid"]]
    told_of += [f"{each['file']}: {UNFINISHED}" for each in told["runs"] if each["ended"] is None]
    lines = "".join(f"<br>{escape(each)}" for each in told_of)
    tone = "pass" if kind == "pass" else "fail"
    return (
        f'<div class="verdict {tone}"><b>{word}</b><div>{escape(says)}{lines}<br>'
        f'<span class="soft">{escape(summary)}</span></div></div>'
    )


def _target(runs: Sequence[Run], told: dict[str, Any]) -> str:
    groups = groups_of(runs, told["target"])
    figures = told["groups"]
    plots = (
        latency.over_time(groups),
        latency.load_curve(groups),
        latency.percentile_curve(groups),
        latency.distance(groups),
        latency.hops(groups),
        latency.heat_map(groups),
        line.round_trips(groups),
        line.gaps(groups),
        line.outages(groups),
        line.session(groups),
    )
    return (
        f"<h2>Measured against: {escape(told['target'])}</h2>{_tiles(groups, figures)}"
        f'<h2>Pictures</h2><div class="grid">{"".join(_plot(plot) for plot in plots)}</div>'
        f'<h2>Figures</h2><div class="stack"><div class="grid">{tables.latencies(figures)}</div>{tables.network(figures)}'
        f"{tables.audio(figures)}{tables.conversations(figures)}</div>"
    )


def _tiles(groups: Sequence[Group], figures: Sequence[dict[str, Any]]) -> str:
    told = []
    for number, (group, of_group) in enumerate(zip(groups, figures, strict=True)):
        wait = of_group["latency"]["v2v_ms"]
        calls = of_group["conversations"]
        middle = wait.get("p50")
        value = f"{ms(middle)} ms" if middle is not None else "too few"
        told.append(
            f'<div class="card tile c{number % 8}"><div class=soft>{escape(group.name)}</div><div class=value>{value}</div>'
            f'<div class="soft small">median voice to voice, n {wait["n"]}<br>'
            f"p95 {ms(wait.get('p95'))} ms, round trip {ms(of_group['network']['round_trip_ms'].get('p50'))} ms<br>"
            f"{calls['n']} conversations, {calls['failed']} failed</div></div>"
        )
    return f'<div class="tiles">{"".join(told)}</div>'


def _plot(plot: Plot) -> str:
    keys = "".join(
        f'<span><span class="dotkey c{number % 8}"></span>{escape(name)}</span>' for number, name in plot.legend
    )
    legend = f'<div class="legend">{keys}</div>' if keys else ""
    return (
        f'<section class="card"><figure><h3>{escape(plot.title)}</h3>{legend}{plot.picture}'
        f"<figcaption>{escape(plot.says)}</figcaption></figure></section>"
    )


def _manifest(each: dict[str, Any]) -> str:
    manifest = each["manifest"]
    settings, versions, machine = manifest["settings"], manifest["versions"], manifest["machine"]
    frames = f"{settings['frame_ms']} ms" if settings["frame_ms"] else "length follows the lag,"
    facts = {
        "label": manifest["label"],
        "target": f"{manifest['target']}, {settings['url']}",
        "began": manifest["started_at"],
        "phones": f"{settings['phones']} for {settings['minutes']:g} min, coming in over {settings['ramp_s']:g} s",
        "frames": f"{frames} at {settings['rate']} Hz; speaker's lead {settings['lead_ms']:g} ms",
        "speech": f"{settings['speech'] or 'generated plain speech'}, SHA-256 {manifest['corpus']['sha256'][:16]}...",
        "seed": settings["seed"],
        "program": f"client_sim {versions['client_sim'] or 'unreleased'}, commit {versions['commit'] or 'unknown'}, Python {versions['python']}, websockets {versions['websockets']}",
        "machine": f"{machine['system']} {machine['processor']}, {machine['cores']} cores",
    }
    listed = "".join(f"<dt>{escape(name)}</dt><dd>{escape(str(fact))}</dd>" for name, fact in facts.items())
    rows = [[cell(name), *_line(region)] for name, region in manifest["regions"].items()]
    heads = ["region", "stands for", "up", "down", "outages"]
    sources = "".join(
        f"<dt>{escape(name)}</dt><dd>{escape(region['source'])}</dd>"
        for name, region in manifest["regions"].items()
        if region["source"]
    )
    origin = (
        f"<details><summary>Where the lines' figures come from</summary><dl>{sources}</dl></details>" if sources else ""
    )
    return card(
        each["file"],
        f"<dl>{listed}</dl>{table(heads, rows, words=(1,))}{origin}<pre>{escape(manifest['command'])}</pre>",
    )


def _line(region: dict[str, Any]) -> list[str]:
    if "up" not in region:
        return [cell(region["says"]), cell(NOTHING), cell(NOTHING), cell(NOTHING)]
    outages = "; ".join(
        f"{o['kind']} every {o['every_s']:g} s for {o['shortest_s']:g} to {o['longest_s']:g} s"
        for o in region["outages"]
    )
    return [cell(region["says"]), *(_lane(region[way]) for way in ("up", "down")), cell(outages or "none")]


def _lane(lane: dict[str, Any]) -> str:
    rate = "unlimited" if lane["kbit_s"] is None else f"{lane['kbit_s']:,.0f} kbit/s"
    return cell(f"{lane['delay_ms']:g} ± {lane['jitter_ms']:g} ms", f"{rate}, {100 * lane['loss']:g} % lost")


def _rules(told: dict[str, Any], command: str) -> str:
    rules = "".join(
        f"<dt>{escape(name.replace('_', ' '))}</dt><dd>{escape(rule)}</dd>" for name, rule in told["rules"].items()
    )
    note = "report.json beside this page has every figure; the RUN.jsonl files have every sample. Built anew with:"
    return card("Rules", f"<dl>{rules}</dl><p class='soft small'>{note}</p><pre>{escape(command)}</pre>")
