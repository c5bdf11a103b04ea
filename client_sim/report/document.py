"""Every figure of a report as one JSON document."""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, Final

from client_sim.load.histogram import Histogram, merged
from client_sim.report.figures import Group
from client_sim.report.gates import GATES, SLIP_LIMIT_MS, Gate, judge
from client_sim.report.reading import Run, failure_of
from client_sim.report.statistics import SHARES, needed

FORMAT: Final = "maya-report/1"


def document(runs: Sequence[Run], gates: Sequence[Gate] = GATES) -> dict[str, Any]:
    """All figures of some runs.

    Args:
        runs: to be merged by label and region; runs against the local cloud and against a real one are kept apart.
        gates: to hold them against.
    """
    targets: list[dict[str, Any]] = [
        {"target": target, "groups": [group.figures() for group in groups_of(runs, target)]}
        for target in targets_of(runs)
    ]
    testers = [tester(run) for run in runs]
    judged = [judge(gate, figures) for gate in gates for target in targets for figures in target["groups"]]
    valid = all(each["valid"] for each in testers)
    return {
        "format": FORMAT,
        "verdict": {
            "passed": valid and not any(each["verdict"] == "fail" for each in judged),
            "valid": valid,
            "gates": judged,
        },
        "runs": [_run(run, each) for run, each in zip(runs, testers, strict=True)],
        "targets": targets,
        "rules": {
            "percentiles": "nearest rank over merged samples; told from 10 / (1 - p) samples on",
            "intervals": "95 %: order statistics for percentiles, Wilson for shares",
            "warm_up": "samples of the ramp are left out of latency, network and barge-in; counts are of the whole run",
        },
    }


def targets_of(runs: Iterable[Run]) -> list[str]:
    """What the runs were held against."""
    return list(dict.fromkeys(str(run.manifest["target"]) for run in runs))


def groups_of(runs: Iterable[Run], target: str) -> list[Group]:
    """The groups of a target, nearest line first."""
    members: dict[str, list[tuple[Run, str]]] = {}
    for run in runs:
        if run.manifest["target"] == target:
            for region in run.regions:
                members.setdefault(run.group_name(region), []).append((run, region))
    groups = [Group(name, of) for name, of in members.items()]
    return sorted(groups, key=lambda group: group.line_ms or 0.0)


def tester(run: Run) -> dict[str, Any]:
    """How honest the tester itself was."""
    seconds = run.of("second")
    slip = merged(Histogram.read(second["slip"]) for second in seconds)
    loop = merged(Histogram.read(second["loop"]) for second in seconds)
    slip_ms, loop_ms = quantiles(slip), quantiles(loop)
    # A run too short for a p99 is judged by its worst frame.
    judged = "p99" if slip_ms["p99"] is not None else "max"
    late = slip_ms[judged] is not None and bool(slip_ms[judged] > SLIP_LIMIT_MS)
    why = f"send slip {judged} is {slip_ms[judged]:.1f} ms; the limit is {SLIP_LIMIT_MS:g} ms" if late else None
    if not slip.total:
        why = _why_nothing(run)
    return {
        "valid": why is None,
        "why_not": why,
        "late": late,
        "send_slip_ms": slip_ms,
        "event_loop_lag_ms": loop_ms,
        "cpu_of_a_core": {
            "mean": round(sum(second["cpu"] for second in seconds) / len(seconds), 3) if seconds else None,
            "max": max((second["cpu"] for second in seconds), default=None),
        },
        "processes": len({second["process"] for second in seconds}),
    }


def _why_nothing(run: Run) -> str:
    """That nothing was sent, and what most conversations failed by."""
    calls = run.of("call")
    failures = Counter(failure_of(call) for call in calls if call["ended"] == "failed")
    if not failures:
        return "nothing was sent"
    ((failure, count),) = failures.most_common(1)
    return f"nothing was sent; {count} of {len(calls)} conversations: {failure}"


def quantiles(histogram: Histogram) -> dict[str, Any]:
    """Count and percentiles of a histogram, where there are enough."""
    total = histogram.total
    told: dict[str, Any] = {"n": total}
    for name, share in SHARES.items():
        told[name] = histogram.quantile(share) if total >= needed(share) else None
    told["max"] = histogram.most
    return told


def _run(run: Run, honesty: dict[str, Any]) -> dict[str, Any]:
    return {
        "file": run.file,
        "ended": run.ended,
        "cut_off": run.cut_off,
        "manifest": {key: value for key, value in run.manifest.items() if key not in ("kind", "at_s")},
        "tester": honesty,
    }
