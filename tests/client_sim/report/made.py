"""Runs made by hand, so that every figure is known."""

import json

from client_sim.load.histogram import Histogram
from client_sim.load.records import manifest
from client_sim.report.reading import read_run
from tests.client_sim.load.test_parts import settings


def histogram(*values):
    made = Histogram()
    for value in values:
        made.add(value)
    return made.written()


def turn(at_s, v2v_ms, phone=0, region="near", call=0, **changes):
    fields = {
        "kind": "turn",
        "at_s": at_s,
        "phone": phone,
        "call": call,
        "region": region,
        "part": 1,
        "spoke_ms": 2_000.0,
        "interrupting": False,
        "v2v_ms": v2v_ms,
        "waited_ms": None,
        "first_byte_ms": None if v2v_ms is None else v2v_ms - 60,
        "noticed_ms": None if v2v_ms is None else v2v_ms - 800,
        "buffer_ms": None if v2v_ms is None else 60.0,
        "leading_ms": None if v2v_ms is None else 0.0,
    }
    return {**fields, **changes}


def trip(at_s, ms, phone=0, region="near", *, call=0, true_ms=14.0):
    return {
        "kind": "round_trip",
        "at_s": at_s,
        "phone": phone,
        "call": call,
        "region": region,
        "ms": ms,
        "true_ms": true_ms,
    }


def event(kind, at_s, phone=0, region="near", call=0, **fields):
    return {"kind": kind, "at_s": at_s, "phone": phone, "call": call, "region": region, **fields}


def call(at_s, phone=0, region="near", number=0, ended="finished", **changes):
    fields = {
        "kind": "call",
        "at_s": at_s,
        "phone": phone,
        "call": number,
        "region": region,
        "ended": ended,
        "bye": "finished" if ended == "finished" else None,
        "failure": "refused with 429" if ended == "failed" else None,
        "status": None,
        "support_code": "K7QX",
        "duration_ms": 60_000.0,
        "setup_ms": 900.0 + phone,
        "first_speech_ms": 1_500.0,
        "saved": True,
        "parts": 3,
        "exchanges": 3,
        "frames": {"captured": 600, "sent": 600, "resent": 2, "lost": 0},
        "pieces": 100,
        "late_pieces": 1,
        "heard_ms": 30_000.0,
        "maya_spoke": [[1.0, 4.0], [7.0, None]],
        "gap_ms": 120.0,
        "reconnects": 0,
        "relays": 1,
    }
    return {**fields, **changes}


def second(at_s, *, slip=(0.1, 0.2, 0.4), loop=(0.2,), cpu=0.3, process=0, phones=None):
    return {
        "kind": "second",
        "at_s": at_s,
        "process": process,
        "phones": phones or {"near": 2},
        "cpu": cpu,
        "slip": histogram(*slip),
        "loop": histogram(*loop),
    }


def write(path, records, *, ended="time", **changes):
    """A run's file."""
    asked = settings(**{"regions": ("near",), "label": "near", "ramp_s": 10.0, **changes})
    lines = [manifest(asked, b"corpus"), *records]
    if ended is not None:
        lines.append({"kind": "end", "at_s": 100.0, "why": ended})
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def run(tmp_path, records, name="run.jsonl", **changes):
    """A run, written and read."""
    return read_run(write(tmp_path / name, records, **changes))


def busy(region="near", base_ms=1_500, phones=4, turns=80):
    """Records of some conversations, enough for every plot and table."""
    records = [second(at, phones={region: 1 + at % phones}) for at in range(1, 101)]
    for number in range(turns):
        phone = number % phones
        at_s = 11 + number * 80 / turns
        records.append(turn(at_s, base_ms + 7.0 * ((number * 37) % 100), phone, region))
        records.append(trip(at_s, 20.0 + number % 9, phone, region))
    records.append(turn(50, None, 0, region, waited_ms=6_000.0))
    records += [event("gap", 30 + n, n % phones, region, ms=80.0 + n) for n in range(6)]
    records += [
        event("part", 12, 1, region, part=1),
        event("barge_in", 40, 1, region, stop_ms=700.0),
        event("drop", 60, 1, region, code=1006),
        event("resume", 64, 1, region, outage_ms=4_000.0, frames=41),
        event("lag_notice", 12, 1, region, expected_ms=20, true_ms=14.0),
        event("lag_prompt", 66, 1, region, lag_ms=2_900, cause="network", true_ms=14.0, v2v_ms=None),
        event("error", 70, 2, region, code="too_fast", fatal=False),
    ]
    records += [call(95, phone, region, reconnects=int(phone == 1)) for phone in range(phones)]
    return sorted(records, key=lambda record: record["at_s"])


__all__ = ["busy", "call", "event", "histogram", "run", "second", "trip", "turn", "write"]
