"""Figures of a report, from runs in which every one is known."""

import math
import statistics as python_statistics
from random import Random

import pytest

from client_sim.report.document import document, groups_of
from client_sim.report.figures import corrected
from client_sim.report.gates import GATES, judge, with_limits
from client_sim.report.mos import mos, rating
from client_sim.report.reading import RunError, read_run
from client_sim.report.statistics import interval, needed, percentile, proportion, summary
from tests.client_sim.report.made import busy, call, event, run, second, trip, turn, write


def figures_of(*runs):
    told = document(list(runs))
    return {group["name"]: group for target in told["targets"] for group in target["groups"]}


# --- Statistics


def test_percentiles_need_enough_samples():
    """10 / (1 - p) of them; nothing is told below."""
    assert [needed(share) for share in (0.5, 0.75, 0.9, 0.95, 0.99, 0.999)] == [20, 40, 100, 200, 1_000, 10_000]
    assert percentile(list(range(19)), 0.5) is None
    assert percentile(list(range(20)), 0.5) == 9
    assert interval(list(range(19)), 0.5) is None
    told = summary([float(n) for n in range(1, 201)])
    assert (told["n"], told["min"], told["max"], told["mean"]) == (200, 1, 200, 100.5)
    assert (told["p50"], told["p95"], told["p99"]) == (100, 190, None)
    assert summary([]) == {"n": 0}


def test_intervals_hold_the_truth_as_often_as_they_say():
    """Of 400 sets of samples from a known distribution, about 95 in 100 intervals hold its percentile."""
    chance = Random(5)
    for share in (0.5, 0.95):
        truth = -math.log(1 - share)
        held = 0
        for _ in range(400):
            low, high = interval(sorted(chance.expovariate(1) for _ in range(250)), share)
            held += low <= truth <= high
        assert 0.92 <= held / 400 <= 0.99


def test_intervals_of_many_samples_do_not_fail():
    """Where the terms of the binomial distribution are smaller than any number of a computer."""
    many = [float(n) for n in range(50_000)]
    low, high = interval(many, 0.5)
    assert low == pytest.approx(25_000 - 1.96 * math.sqrt(50_000) / 2, abs=3)
    assert high == pytest.approx(25_000 + 1.96 * math.sqrt(50_000) / 2, abs=3)
    low, high = interval(many, 0.999)
    assert low < 49_950 < high


def test_shares_have_intervals():
    """Wilson's; none of none."""
    told = proportion(1, 100)
    assert told["share"] == 0.01
    assert told["interval"] == pytest.approx([0.0018, 0.0545], abs=2e-4)
    assert proportion(0, 0)["share"] is None
    assert proportion(0, 10)["interval"][0] == 0


def test_the_e_model_is_that_of_the_recommendation():
    """Known points: nothing in the way; 150 ms; 400 ms; late pieces."""
    assert rating(0, 0) == 93.2
    assert mos(0, 0) == pytest.approx(4.41, abs=0.01)
    assert rating(177.3, 0) == pytest.approx(93.2 - 4.2552)
    assert rating(400, 0) == pytest.approx(93.2 - 9.6 - 24.497)
    assert mos(400, 0) == pytest.approx(3.053, abs=0.001)
    assert rating(0, 0.043) == pytest.approx(93.2 - 47.5)
    assert mos(5_000, 1) == 1.0


# --- Reading


def test_a_file_that_was_cut_off_is_read_to_its_last_whole_line(tmp_path):
    """As when its writer was killed; and it is said."""
    path = write(tmp_path / "run.jsonl", [turn(20, 900.0)], ended=None)
    path.write_text(path.read_text() + '{"kind":"turn","at_s":21')
    read = read_run(path)
    assert (read.ended, read.cut_off) == (None, True)
    assert len(read.of("turn")) == 1
    whole = tmp_path / "whole.jsonl"
    whole.write_text(write(tmp_path / "x.jsonl", [turn(20, 900.0)]).read_text().rstrip("\n"))
    assert (read_run(whole).ended, read_run(whole).cut_off) == ("time", False)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "does not begin"),
        ('{"kind":"turn"}\n', "does not begin"),
        ('{"kind":"run","format":"maya-load/9"}\n', "does not begin"),
        ("{}\n", "line 1 is no record"),
        ("[]\n", "line 1 is no record"),
        ('{"kind":"run","format":"maya-load/1"}\nnonsense\n{"kind":"end"}\n', "line 2 is not JSON"),
    ],
)
def test_other_files_are_refused(tmp_path, text, says):
    """With the line that is wrong."""
    path = tmp_path / "other.jsonl"
    path.write_text(text)
    with pytest.raises(RunError, match=says):
        read_run(path)


# --- Merging and comparing


def test_runs_of_one_label_are_merged_by_samples(tmp_path):
    """The median of all samples, which is not the mean of medians."""
    fast = run(tmp_path, [turn(20 + n, 1_000.0) for n in range(30)], "a.jsonl")
    slow = run(tmp_path, [turn(20 + n, 2_000.0) for n in range(31)], "b.jsonl")
    told = figures_of(fast, slow)["near"]["latency"]["v2v_ms"]
    assert (told["n"], told["p50"]) == (61, 2_000)
    assert told["p50"] != python_statistics.mean([1_000, 2_000])


def test_labels_and_regions_are_compared_apart(tmp_path):
    """A label of its own names its group; several regions under a label are groups each; nearest first."""
    mixed = [turn(20, 900.0, region="near"), turn(20, 950.0, region="bad-mobile")]
    runs = [
        run(tmp_path, mixed, "a.jsonl", regions=("bad-mobile", "near"), label="monday"),
        run(tmp_path, mixed[:1], "b.jsonl", label="tuesday"),
        run(tmp_path, [], "c.jsonl", regions=("here",), label="VPN Singapore"),
    ]
    assert list(figures_of(*runs)) == ["VPN Singapore", "monday: near", "tuesday", "monday: bad-mobile"]


def test_the_local_cloud_and_a_real_one_are_never_in_one_table(tmp_path):
    """Each has groups of its own."""
    runs = [
        run(tmp_path, [turn(20, 900.0)], "a.jsonl"),
        run(tmp_path, [turn(20, 900.0)], "b.jsonl", url="wss://nova-sonic.example.org/prod"),
    ]
    told = [(each["target"], [group["runs"] for group in each["groups"]]) for each in document(runs)["targets"]]
    assert told == [("local cloud (emulator)", [["a.jsonl"]]), ("real cloud", [["b.jsonl"]])]


def test_the_warm_up_is_left_out_of_latency_and_kept_in_counts(tmp_path):
    """Samples of the ramp are no samples of the load."""
    early = [turn(5, 9_000.0), trip(5, 900.0), event("error", 5, code="busy", fatal=True)]
    told = figures_of(run(tmp_path, [*early, turn(20, 1_000.0)]))["near"]
    assert told["latency"]["v2v_ms"]["max"] == 1_000
    assert told["network"]["round_trip_ms"]["n"] == 0
    assert told["errors"] == {"busy": 1}


def test_turns_without_answer_count_for_as_long_as_the_learner_waited(tmp_path):
    """What a tester that waits for answers would leave out; a turn that interrupts is no wait."""
    turns = [turn(20, 1_000.0), turn(30, None, waited_ms=8_000.0), turn(40, None), turn(50, 400.0, interrupting=True)]
    assert corrected(turns[:3]) == [1_000, 8_000]
    told = figures_of(run(tmp_path, turns))["near"]
    assert told["latency"]["v2v_ms"]["n"] == 1
    assert told["latency"]["v2v_corrected_ms"]["max"] == 8_000
    assert told["unanswered"]["hits"] == 2


# --- The parts


def test_hops_add_up_to_the_wait(tmp_path):
    """Means of the turns around a percentile; the network's part is the conversation's own round trip."""
    told = figures_of(run(tmp_path, busy()))["near"]["hops"]
    parts = told["p50"]
    total = sum(value for name, value in parts.items() if name != "n")
    assert total == pytest.approx(1_850, abs=40)
    assert parts["network"] == pytest.approx(24, abs=2)
    assert (parts["thinking"], parts["play-out buffer"], parts["leading silence"]) == (740, 60, 0)
    assert told["p95"] is None


def test_continuity_and_sound(tmp_path):
    """Outages, replayed frames, late pieces, gaps a minute of what was heard."""
    told = figures_of(run(tmp_path, busy()))["near"]
    assert told["continuity"]["drops"] == 1
    assert told["continuity"]["close_codes"] == {"1006": 1}
    assert told["continuity"]["resumed"]["share"] == 1
    assert told["continuity"]["frames_replayed"] == 41
    assert told["audio"]["late_pieces"]["share"] == 0.01
    assert told["audio"]["gaps_per_minute_heard"] == 3.0
    assert told["audio"]["frames"] == {"captured": 2_400, "sent": 2_400, "resent": 8, "lost": 0}
    assert told["network"]["jitter_ms"]["n"] == 4


def test_a_drop_that_nobody_came_back_from_is_not_resumed(tmp_path):
    """The conversation failed, and its last drop has no resume."""
    records = [event("drop", 20, code=1006), call(90, ended="failed")]
    told = figures_of(run(tmp_path, records))["near"]["continuity"]
    assert (told["resumed"]["hits"], told["resumed"]["n"]) == (0, 1)


def test_prompts_are_held_against_what_the_phone_saw(tmp_path):
    """Deserved by a slow turn, an outage or the line; false without; missed where the line was slow and nobody asked."""

    def prompt(at_s, phone, true_ms=14.0):
        return event("lag_prompt", at_s, phone, lag_ms=2_800, cause="network", true_ms=true_ms, v2v_ms=None)

    records = [
        turn(30, 3_000.0, phone=0),
        prompt(40, 0),
        event("resume", 30, 1, outage_ms=4_000.0, frames=1),
        prompt(40, 1),
        prompt(40, 2, true_ms=2_600.0),
        prompt(40, 3),
        *(trip(at, 3_000.0, phone=4, true_ms=2_700.0) for at in range(20, 60, 2)),
        *(trip(at, 3_000.0, phone=2, true_ms=2_700.0) for at in range(20, 60, 2)),
        *(trip(at, 3_000.0, phone=5, true_ms=2_700.0) for at in range(20, 30, 2)),
    ]
    told = figures_of(run(tmp_path, records))["near"]["lag"]
    assert told["prompts"] == 4
    assert told["false_prompts"]["hits"] == 1
    assert (told["missed"]["hits"], told["missed"]["n"]) == (1, 2)
    assert told["causes"] == {"network": 4}
    seen = told["seen_before_prompt_s"]
    # The turn and the outage were 10 s before, the slow line 20 s.
    assert (seen["n"], seen["min"], seen["max"]) == (3, 10, 20)


def test_mos_is_estimated_for_each_conversation(tmp_path):
    """From its own round trip and its own late pieces, and labelled as an estimate."""
    told = figures_of(run(tmp_path, busy()))["near"]["mos_estimate"]
    assert told["n"] == 4
    assert told["max"] == pytest.approx(mos(24 / 2 + 50 + 60, 0.01), abs=0.02)
    assert "estimate" in told["source"]
    assert "G.107" in told["source"]


# --- Honesty and gates


def test_a_run_whose_tester_was_late_is_not_valid(tmp_path):
    """Over 5 ms of slip at p99, and what has sent nothing; and then nothing passes."""
    late = run(tmp_path, [*busy(), second(50, slip=[0.1] * 900 + [9.0] * 40)], "late.jsonl")
    good = run(tmp_path, [*busy(), second(50, slip=[0.1] * 2_000 + [9.0] * 15)], "good.jsonl")
    told = document([late, good])
    assert [each["tester"]["valid"] for each in told["runs"]] == [False, True]
    assert "5 ms" in told["runs"][0]["tester"]["why_not"]
    assert not told["verdict"]["valid"]
    assert not told["verdict"]["passed"]
    empty = document([run(tmp_path, [], "empty.jsonl")])
    assert empty["runs"][0]["tester"]["why_not"] == "nothing was sent"
    assert [each["tester"]["late"] for each in (*told["runs"], *empty["runs"])] == [True, False, False]


def test_a_run_that_sent_nothing_says_what_its_conversations_failed_by(tmp_path):
    """The reason that most of them had."""
    failures = ("refused with 401", "unreachable", "refused with 401")
    calls = [call(5, number=number, ended="failed", failure=why) for number, why in enumerate(failures)]
    told = document([run(tmp_path, calls)])
    assert told["runs"][0]["tester"]["why_not"] == "nothing was sent; 2 of 3 conversations: refused with 401"


def test_gates_pass_fail_or_have_too_few_samples(tmp_path):
    """Each by its own figure; a lower limit is one."""
    group = figures_of(run(tmp_path, busy()))["near"]
    verdicts = {gate.name: judge(gate, group)["verdict"] for gate in GATES}
    assert verdicts["v2v_p50_ms"] == "pass"
    assert verdicts["v2v_p95_ms"] == "too few"
    assert verdicts["resumed_share"] == "pass"
    assert verdicts["lost_frames"] == "pass"
    strict = {gate.name: gate for gate in with_limits({"v2v_p50_ms": 1_000, "resumed_share": 1.1, "late_share": 0.009})}
    assert [judge(strict[name], group)["verdict"] for name in ("v2v_p50_ms", "resumed_share", "late_share")] == [
        "fail"
    ] * 3
    with pytest.raises(ValueError, match="no gate 'nonsense'"):
        with_limits({"nonsense": 1})
    assert {gate.path[0] for gate in GATES} <= set(group)


def test_conversations_of_a_region_are_its_own(tmp_path):
    """Groups take nothing from each other."""
    records = [*busy("near"), *busy("bad-mobile", base_ms=3_000)]
    told = run(tmp_path, records, regions=("near", "bad-mobile"), label="near, bad-mobile")
    groups = groups_of([told], "local cloud (emulator)")
    assert [group.name for group in groups] == ["near", "bad-mobile"]
    assert {turn["region"] for turn in groups[1].turns} == {"bad-mobile"}
    assert all(figures["conversations"]["n"] == 4 for figures in figures_of(told).values())
