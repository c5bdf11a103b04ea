"""Reads RUN.jsonl files: every whole line; a last line that was cut off is left out, and said so."""

import json
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

FORMAT: Final = "maya-load/1"
UNFINISHED: Final = "has no end: the run was killed, or the file was not copied whole"

type CallKey = tuple[int, int, str]


class RunError(ValueError):
    """A file is no run; the text says why."""


@dataclass(frozen=True, slots=True)
class Run:
    """One run.

    Attributes:
        file: where it was read from.
        manifest: its first record.
        records: the others, by kind, as they happened.
        by_call: those of each conversation, by kind; its key is phone, number and region.
        ended: why it ended; None when it was killed.
        cut_off: whether the last line was not whole.
    """

    file: str
    manifest: dict[str, Any]
    records: dict[str, list[dict[str, Any]]] = field(repr=False)
    by_call: dict[CallKey, dict[str, list[dict[str, Any]]]] = field(repr=False)
    ended: str | None
    cut_off: bool

    def of(self, kind: str, region: str | None = None) -> list[dict[str, Any]]:
        """The records of a kind, and of a region where one is given."""
        records = self.records.get(kind, [])
        return records if region is None else [record for record in records if record.get("region") == region]

    def of_call(self, kind: str, record: dict[str, Any]) -> list[dict[str, Any]]:
        """The records of a kind from the conversation that a record is of."""
        return self.by_call.get(call_key(record), {}).get(kind, [])

    @property
    def ramp_s(self) -> float:
        """Samples of the first so many seconds are warm-up."""
        return float(self.manifest["settings"]["ramp_s"])

    @property
    def regions(self) -> list[str]:
        """Where its phones were."""
        return list(self.manifest["regions"])

    def group_name(self, region: str) -> str:
        """What the phones of a region are compared as."""
        label = str(self.manifest["label"])
        if label == ", ".join(self.manifest["settings"]["regions"]):
            return region
        return label if len(self.regions) == 1 else f"{label}: {region}"


def read_run(path: Path) -> Run:
    """Read a file.

    Raises:
        RunError: it is no run, or damaged in the middle.
        OSError: it cannot be read.
    """
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except UnicodeDecodeError:
        raise RunError(f"{path}: is not text") from None
    cut_off = bool(lines and lines[-1].strip())
    whole = [line for line in lines[:-1] if line.strip()]
    if cut_off:
        try:
            json.loads(lines[-1])
            whole.append(lines[-1])
            cut_off = False
        except ValueError:
            pass
    records = [_record(path, number, line) for number, line in enumerate(whole, start=1)]
    if not records or records[0].get("kind") != "run" or records[0].get("format") != FORMAT:
        raise RunError(f"{path}: does not begin with the manifest of a run ({FORMAT})")
    by_kind: dict[str, list[dict[str, Any]]] = defaultdict(list)
    by_call: dict[CallKey, dict[str, list[dict[str, Any]]]] = {}
    for record in records[1:]:
        by_kind[record["kind"]].append(record)
        if "call" in record:
            by_call.setdefault(call_key(record), {}).setdefault(record["kind"], []).append(record)
    ended = by_kind["end"][-1]["why"] if by_kind["end"] else None
    return Run(path.name, records[0], dict(by_kind), by_call, ended, cut_off)


def failure_of(call: Mapping[str, Any]) -> str:
    """Why a conversation failed, in the words that its phone had for it."""
    return str(call["failure"] or call["bye"] or "no assessment")


def call_key(record: dict[str, Any]) -> CallKey:
    """Which conversation a record is of."""
    return (record["phone"], record["call"], record["region"])


def _record(path: Path, number: int, line: str) -> dict[str, Any]:
    try:
        record = json.loads(line)
    except ValueError:
        raise RunError(f"{path}: line {number} is not JSON") from None
    if not isinstance(record, dict) or not isinstance(record.get("kind"), str):
        raise RunError(f"{path}: line {number} is no record")
    return record
