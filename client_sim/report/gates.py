"""What a run must keep to. The first lines of a report, and its exit status."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

SLIP_LIMIT_MS: Final = 5.0
"""A run whose frames left later than this at p99 measured its own tester."""

type Verdict = Literal["pass", "fail", "too few"]


@dataclass(frozen=True, slots=True)
class Gate:
    """One limit.

    Attributes:
        name: as ``--gate NAME=LIMIT`` takes it.
        says: what it means, and why this limit.
        path: where the figure is in those of a group.
        limit: the figure's limit.
        least: whether it is a lower limit.
        unit: of the limit.
    """

    name: str
    says: str
    path: tuple[str, ...]
    limit: float
    least: bool = False
    unit: str = "ms"


GATES: Final = (
    Gate("failed_share", "conversations that failed", ("conversations", "failed_share", "share"), 0.01, unit=""),
    Gate(
        "v2v_p50_ms",
        "median voice to voice (800 ms there and back by ITU-T G.114, 2 s in which Nova Sonic waits whether the learner goes on, "
        "900 ms to its first sound)",
        ("latency", "v2v_corrected_ms", "p50"),
        3_700,
    ),
    Gate(
        "v2v_p95_ms",
        "voice to voice at p95 (of voice agents in production, 4.3 to 5.4 s is claimed)",
        ("latency", "v2v_corrected_ms", "p95"),
        4_300,
    ),
    Gate("setup_p50_ms", "median time to set up", ("latency", "setup_first_ms", "p50"), 4_000),
    Gate("late_share", "pieces of Maya's speech that came too late", ("audio", "late_pieces", "share"), 0.01, unit=""),
    Gate("barge_in_p50_ms", "median time until Maya is silent", ("latency", "barge_in_stop_ms", "p50"), 1_500),
    Gate(
        "resumed_share",
        "drops after which the conversation went on",
        ("continuity", "resumed", "share"),
        0.99,
        True,
        "",
    ),
    Gate("lost_frames", "frames of the learner's speech that were lost", ("audio", "frames", "lost"), 0, unit="frames"),
    Gate("false_prompt_share", "lag prompts without lag", ("lag", "false_prompts", "share"), 0.05, unit=""),
    Gate("missed_prompt_share", "long lag without a prompt", ("lag", "missed", "share"), 0.05, unit=""),
)


def with_limits(limits: Mapping[str, float]) -> tuple[Gate, ...]:
    """The gates, some with other limits.

    Raises:
        ValueError: there is no such gate.
    """
    known = {gate.name for gate in GATES}
    unknown = sorted(set(limits) - known)
    if unknown:
        raise ValueError(f"no gate {unknown[0]!r}; there are {', '.join(sorted(known))}")
    return tuple(
        Gate(gate.name, gate.says, gate.path, limits.get(gate.name, gate.limit), gate.least, gate.unit)
        for gate in GATES
    )


def judge(gate: Gate, figures: Mapping[str, Any]) -> dict[str, Any]:
    """Hold one group's figures against a gate; what has too few samples is neither passed nor failed."""
    value: Any = figures
    for step in gate.path:
        value = value.get(step) if isinstance(value, Mapping) else None
    verdict: Verdict = "too few"
    if value is not None:
        kept = value >= gate.limit if gate.least else value <= gate.limit
        verdict = "pass" if kept else "fail"
    return {
        "gate": gate.name,
        "says": gate.says,
        "group": figures["name"],
        "limit": gate.limit,
        "least": gate.least,
        "unit": gate.unit,
        "value": value,
        "verdict": verdict,
    }
