"""The figures of one group of phones: those of one label and region, merged by samples over all runs."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import Any, Final

from client_sim.report.mos import SOURCE, mos
from client_sim.report.reading import CallKey, Run, call_key, failure_of
from client_sim.report.statistics import proportion, summary

type Record = dict[str, Any]

LATENCIES: Final = {
    "v2v_ms": "voice to voice",
    "first_byte_ms": "first byte",
    "noticed_ms": "end of turn noticed",
    "buffer_ms": "play-out buffer",
    "leading_ms": "leading silence",
}
"""Of turns, each by its own samples."""

_USUAL_FRAME_MS: Final = 100
"""Of a frame whose length follows the lag (maya.v1: 100 ms usual)."""
_LAG_SEEN_WITHIN_S: Final = 40.0
_LAG_LASTS_S: Final = 20.0
"""A line that is too slow for so long deserves a prompt."""
_JITTER_GAIN: Final = 16
"""RFC 3550, section 6.4.1."""
PERCENTILE_WINDOW: Final = 0.05


class Group:
    """Phones that are compared as one.

    Args:
        name: of the group.
        members: the runs it is in, with the region of its phones there.
    """

    def __init__(self, name: str, members: Sequence[tuple[Run, str]]) -> None:
        self.name = name
        self.members = members

    def records(self, kind: str, *, warm: bool = True) -> list[Record]:
        """Records of a kind; those of the warm-up (each run's ramp) are left out unless asked for."""
        return [
            record
            for run, region in self.members
            for record in run.of(kind, region)
            if not warm or record["at_s"] >= run.ramp_s
        ]

    @property
    def turns(self) -> list[Record]:
        """Turns after the warm-up in which the learner waited for Maya to end."""
        return [turn for turn in self.records("turn") if not turn["interrupting"]]

    @property
    def line_ms(self) -> float | None:
        """Round trip of the simulated line; None where nothing was added."""
        run, region = self.members[0]
        told = run.manifest["regions"][region]["round_trip_ms"]
        return None if told is None else float(told)

    def figures(self) -> Record:
        """All figures, for a program."""
        calls = self.records("call", warm=False)
        return {
            "name": self.name,
            "region": self.members[0][1],
            "runs": [run.file for run, _ in self.members],
            "line_round_trip_ms": self.line_ms,
            "conversations": _conversations(calls),
            "latency": self._latency(calls),
            "unanswered": proportion(sum(turn["v2v_ms"] is None for turn in self.turns), len(self.turns)),
            "hops": {name: self.hops(share) for name, share in (("p50", 0.5), ("p95", 0.95))},
            "network": self._network(),
            "audio": self._audio(calls),
            "continuity": self._continuity(),
            "lag": self._lag(calls),
            "errors": dict(Counter(error["code"] for error in self.records("error", warm=False))),
            "mos_estimate": {**summary(self.mos()), "source": SOURCE},
        }

    def hops(self, share: float) -> Record | None:
        """What voice to voice is made of, as means over the turns around a percentile; None where too few have all parts.

        The network's part is the round trip of the conversation's pings; what the gateway and the service need to notice
        the end of the turn is what remains until ``thinking`` is shown.
        """
        trips = self._trip_by_call()
        whole = [turn for turn in self.turns if _parts(turn, trips) is not None]
        whole.sort(key=lambda turn: float(turn["v2v_ms"]))
        around = whole[
            int((share - PERCENTILE_WINDOW) * len(whole)) : int((share + PERCENTILE_WINDOW) * len(whole)) + 1
        ]
        if len(whole) < 10 / (1 - share):
            return None
        parts = [part for turn in around if (part := _parts(turn, trips)) is not None]
        return {"n": len(parts), **{name: round(sum(p[name] for p in parts) / len(parts), 1) for name in parts[0]}}

    def mos(self) -> list[float]:
        """One estimate for each conversation: its median round trip, a frame, the speaker's lead, its late pieces."""
        trips = self._trip_by_call()
        found = []
        for run, region in self.members:
            settings = run.manifest["settings"]
            for call in run.of("call", region):
                trip_ms = trips.get(call_key(call))
                if trip_ms is not None and call["pieces"]:
                    one_way_ms = trip_ms / 2 + (settings["frame_ms"] or _USUAL_FRAME_MS) / 2 + settings["lead_ms"]
                    found.append(round(mos(one_way_ms, call["late_pieces"] / call["pieces"]), 2))
        return found

    def _latency(self, calls: Sequence[Record]) -> Record:
        told: Record = {
            name: summary([turn[name] for turn in self.turns if turn.get(name) is not None]) for name in LATENCIES
        }
        told["v2v_corrected_ms"] = summary(corrected(self.turns))
        first = [call for call in calls if call["call"] == 0]
        again = [call for call in calls if call["call"] > 0]
        told["setup_first_ms"] = summary(_values(first, "setup_ms"))
        told["setup_again_ms"] = summary(_values(again, "setup_ms"))
        told["first_speech_ms"] = summary(_values(calls, "first_speech_ms"))
        told["barge_in_stop_ms"] = summary(_values(self.records("barge_in"), "stop_ms"))
        return told

    def _network(self) -> Record:
        trips = self.records("round_trip")
        return {
            "round_trip_ms": summary(_values(trips, "ms")),
            "line_alone_ms": summary(_values(trips, "true_ms")),
            "jitter_ms": summary([_jitter(call) for call in _by_call(trips) if len(call) > 1]),
        }

    def _audio(self, calls: Sequence[Record]) -> Record:
        heard_min = sum(call["heard_ms"] for call in calls) / 60_000
        gaps = _values(self.records("gap", warm=False), "ms")
        return {
            "late_pieces": proportion(_sum(calls, "late_pieces"), _sum(calls, "pieces")),
            "gap_ms": summary(gaps),
            "pause_between_sentences_ms": summary(_values(self.records("pause", warm=False), "ms")),
            "gaps_per_minute_heard": round(len(gaps) / heard_min, 3) if heard_min else None,
            "silent_share": round(sum(gaps) / (sum(gaps) + heard_min * 60_000), 5) if heard_min else None,
            "frames": {
                name: sum(call["frames"][name] for call in calls) for name in ("captured", "sent", "resent", "lost")
            },
        }

    def _continuity(self) -> Record:
        drops, resumes = self.records("drop", warm=False), self.records("resume", warm=False)
        # A drop while a conversation is being closed or cut has nothing to come back to.
        given_up = sum(
            call["ended"] == "failed" and call["reconnects"] < len(run.of_call("drop", call))
            for run, region in self.members
            for call in run.of("call", region)
        )
        return {
            "drops": len(drops),
            "close_codes": dict(Counter(str(drop["code"]) for drop in drops)),
            "resumed": proportion(len(resumes), len(resumes) + given_up),
            "outage_ms": summary(_values(resumes, "outage_ms")),
            "frames_replayed": _sum(resumes, "frames"),
        }

    def _lag(self, calls: Sequence[Record]) -> Record:
        prompts = [(run, prompt) for run, region in self.members for prompt in run.of("lag_prompt", region)]
        seen_s = [_seen_before_s(run, prompt) for run, prompt in prompts]
        minutes = sum(call["duration_ms"] for call in calls) / 60_000
        missed, deserved = self._missed()
        return {
            "notices": len(self.records("lag_notice", warm=False)),
            "prompts": len(prompts),
            "causes": dict(Counter(prompt["cause"] for _, prompt in prompts)),
            "prompts_per_minute": round(len(prompts) / minutes, 4) if minutes else None,
            "false_prompts": proportion(seen_s.count(None), len(prompts)),
            "seen_before_prompt_s": summary([each for each in seen_s if each is not None]),
            "missed": proportion(missed, deserved),
        }

    def _missed(self) -> tuple[int, int]:
        """Stretches in which the line alone was too slow for long enough; how many got no prompt, and how many there were."""
        missed = stretches = 0
        for run, region in self.members:
            threshold_ms = run.manifest["settings"]["lag_threshold_ms"]
            prompted = {call_key(prompt) for prompt in run.of("lag_prompt", region)}
            for call in _by_call(run.of("round_trip", region)):
                for stretch in _stretches(call, threshold_ms):
                    stretches += 1
                    missed += call_key(stretch) not in prompted
        return missed, stretches

    def _trip_by_call(self) -> dict[CallKey, float]:
        """The median round trip of each conversation."""
        medians = {}
        for run, region in self.members:
            for trips in _by_call(run.of("round_trip", region)):
                rising = sorted(trip["ms"] for trip in trips)
                medians[call_key(trips[0])] = rising[len(rising) // 2]
        return medians


def corrected(turns: Iterable[Record]) -> list[float]:
    """Waits, with those of turns that Maya never answered: as long as the learner waited before speaking again."""
    return [
        float(turn["v2v_ms"] if turn["v2v_ms"] is not None else turn["waited_ms"])
        for turn in turns
        if turn["v2v_ms"] is not None or turn["waited_ms"] is not None
    ]


def _parts(turn: Record, trips: dict[CallKey, float]) -> dict[str, float] | None:
    trip_ms = trips.get(call_key(turn))
    known = (turn["v2v_ms"], turn["noticed_ms"], turn["first_byte_ms"], turn["buffer_ms"], turn["leading_ms"])
    if trip_ms is None or any(value is None for value in known):
        return None
    network_ms = min(trip_ms, turn["noticed_ms"])
    return {
        "network": network_ms,
        "turn end noticed": turn["noticed_ms"] - network_ms,
        "thinking": turn["first_byte_ms"] - turn["noticed_ms"],
        "play-out buffer": turn["buffer_ms"],
        "leading silence": turn["leading_ms"],
    }


def _conversations(calls: Sequence[Record]) -> Record:
    ended = Counter(call["ended"] for call in calls)
    judged = ended["finished"] + ended["failed"]
    return {
        "n": len(calls),
        **{name: ended[name] for name in ("finished", "stopped", "cut", "failed")},
        "failed_share": proportion(ended["failed"], judged + ended["stopped"]),
        "failures": dict(Counter(failure_of(call) for call in calls if call["ended"] == "failed")),
        "relays_replaced": sum(max(0, call["relays"] - 1) for call in calls),
    }


def _seen_before_s(run: Run, prompt: Record) -> float | None:
    """How long before a prompt the phone itself had first seen such lag: on the line, in a turn, a gap, an outage; None if never."""
    threshold_ms = run.manifest["settings"]["lag_threshold_ms"]
    seen = {"turn": ("v2v_ms", "waited_ms"), "round_trip": ("ms", "true_ms"), "gap": ("ms",), "resume": ("outage_ms",)}
    before_s = [0.0] if (prompt["true_ms"] or 0.0) >= threshold_ms else []
    for kind, names in seen.items():
        before_s += [
            round(prompt["at_s"] - record["at_s"], 2)
            for record in run.of_call(kind, prompt)
            if any((record.get(name) or 0.0) >= threshold_ms for name in names)
        ]
    return max((each for each in before_s if 0 <= each <= _LAG_SEEN_WITHIN_S), default=None)


def _stretches(trips: Sequence[Record], threshold_ms: float) -> Iterator[Record]:
    """The first record of every stretch in which the line alone was over the threshold for long enough."""
    first: Record | None = None
    told = False
    for trip in trips:
        if (trip["true_ms"] or 0.0) < threshold_ms:
            first, told = None, False
            continue
        first = first or trip
        if not told and trip["at_s"] - first["at_s"] >= _LAG_LASTS_S:
            told = True
            yield first


def _jitter(trips: Sequence[Record]) -> float:
    """RFC 3550's running estimate, of round trips."""
    jitter_ms = 0.0
    for before, after in pairwise(trips):
        jitter_ms += (abs(after["ms"] - before["ms"]) - jitter_ms) / _JITTER_GAIN
    return round(jitter_ms, 2)


def _by_call(records: Iterable[Record]) -> list[list[Record]]:
    found: dict[CallKey, list[Record]] = {}
    for record in records:
        found.setdefault(call_key(record), []).append(record)
    return list(found.values())


def _values(records: Iterable[Record], name: str) -> list[float]:
    return [record[name] for record in records if record.get(name) is not None]


def _sum(records: Iterable[Record], name: str) -> int:
    return sum(record[name] for record in records)
