"""The bench's arithmetic and its matching; no time is measured here."""

import json
import os
import subprocess
import sys
from dataclasses import replace

import pytest

from infra.local.nova.voices import hear_plain
from tests.bench import functions, report, warm
from tests.bench.driver import Notes, Record
from tests.bench.figures import Spread, UnmatchedError, delays_ms, needed, passed, percentile
from tests.bench.processes import RUNTIME, Groups, Reading, Spent, cpu_s, pss_bytes
from tests.bench.runs import Cell
from tests.bench.speech import RATE, TURN_MS, Speech, frame_bytes
from tests.bench.stage import CLIENT, DIRECT, GATEWAY, NO_DELAY, RELAYS, STREAM_HANDLERS
from tests.bench.taps import read_tap

MS = 1_000_000
EVER = (0, 10**18)


def test_percentiles_are_nearest_rank_and_given_only_where_ten_values_lie_beyond():
    assert (needed(0.5), needed(0.95), needed(0.99)) == (20, 200, 1000)
    hundred = [float(number) for number in range(1, 101)]
    assert percentile(hundred, 0.5) == 50
    assert percentile(hundred, 0.95) is None
    spread = Spread.of([float(number) for number in range(1000, 0, -1)])
    assert (spread.n, spread.p50, spread.p95, spread.p99, spread.most) == (1000, 500, 950, 990, 1000)
    assert Spread.of([]) == Spread(0, None, None, None, None)


def test_a_piece_has_arrived_when_its_last_byte_has_however_it_was_cut_and_joined():
    left = [(0, 100), (10 * MS, 200), (20 * MS, 300)]
    # The first came in two; the rest as one.
    arrived = [(1 * MS, 60), (3 * MS, 100), (25 * MS, 300)]
    assert delays_ms(left, arrived, EVER) == ([3, 15, 5], 0)
    assert delays_ms(left, arrived, (10 * MS, 20 * MS)) == ([15], 0)


def test_what_never_arrived_is_counted_with_the_least_delay_that_it_can_have():
    assert delays_ms([(0, 100), (1 * MS, 200)], [(5 * MS, 100)], EVER) == ([5, 4], 1)
    assert delays_ms([(1 * MS, 100)], [], (0, 9 * MS)) == ([8], 1)


def test_what_cannot_belong_together_is_an_error():
    with pytest.raises(UnmatchedError, match=r"byte 100 arrived 2\.000 ms before it left"):
        delays_ms([(5 * MS, 100)], [(3 * MS, 100)], EVER)


def test_bytes_within_a_window():
    assert passed([(0, 10), (5, 30), (9, 70)], (5, 9)) == 20
    assert passed([(0, 10), (5, 30), (9, 70)], (0, 10)) == 70
    assert passed([], EVER) == 0


def test_differences_and_ratios_stay_empty_where_a_percentile_is_missing():
    slow, quick = Spread(30, 6.0, None, None, 9.0), Spread(2000, 2.0, 3.0, 4.0, 5.0)
    assert slow.minus(quick) == {"p50": 4.0, "p95": None, "p99": None}
    assert slow.over(quick) == {"p50": 3.0, "p95": None, "p99": None}


def test_a_tap_is_read_from_where_a_run_began_in_the_order_in_which_streams_were_opened(tmp_path):
    tap = tmp_path / "tap.jsonl"
    before = '[1,"s1","heard",640]\n'
    lines = [
        '[5,"s10","said",10]',
        '[6,"s10","heard",640]',
        '[7,"s9","heard",640]',
        '[8,"s10","heard",1280]',
        '[8,"s11","said",5]',
        '[9,"s10",',
    ]
    tap.write_text(before + "\n".join(lines))
    streams = read_tap(tap, len(before))
    assert [stream.heard for stream in streams] == [[(7, 640)], [(6, 640), (8, 1280)]]
    assert [stream.said for stream in streams] == [[], [(5, 10)]]


def test_a_record_is_read_back_as_it_was_noted(tmp_path):
    notes = Notes()
    assert [notes.capture(1, 640), notes.capture(2, 640)] == [0, 640]
    notes.arrive(7, 100)
    notes.arrive(8, 50)
    assert notes.arrived == [(7, 100), (8, 150)]
    path = tmp_path / "record.json"
    document = {"frames": notes.frames, "arrived": notes.arrived, "interruptions": [4]}
    path.write_text(json.dumps({"conversations": [document], "lags": [[3, 4]]}))
    assert Record.read(path) == Record([replace(notes, interruptions=[4])], [(3, 4)])


def test_the_learner_answers_twice_and_then_asks_again_and_again():
    speech = Speech.scripted()
    turn = frame_bytes(TURN_MS)
    first = next(place for place in range(0, len(speech.pcm), turn // 42) if any(speech.frame(place, turn // 42)))
    said = [hear_plain(speech.frame(first + number * turn, turn), RATE) for number in range(4)]
    assert said == [
        "I am a student here.",
        "It is very quiet.",
        "Could you say that again?",
        "Could you say that again?",
    ]
    assert speech.frame(len(speech.pcm) - 2, 4)[2:] == b"\0\0"


def test_cpu_is_that_of_the_processes_between_two_readings():
    first = Reading(0, {"a": {1: 5.0, 2: 1.0}}, machine_s=100.0, cores=2)
    # Process 1 has ended, process 3 has begun.
    last = Reading(10_000 * MS, {"a": {2: 2.5, 3: 0.5}, "b": {4: 4.0}}, machine_s=108.0, cores=2)
    spent = Spent.between(first, last)
    assert spent.seconds == 10
    assert spent.cpu_s == {"a": 2.0, "b": 4.0}
    assert spent.busy_share == pytest.approx(8 / 20)
    assert spent.others_share == pytest.approx(2 / 20)


def test_what_a_process_spends_around_its_handler_is_the_stand_ins():
    first = Reading(0, {"a": {1: 5.0}, "b": {2: 1.0}}, machine_s=100.0, cores=2, inside_s={"a": 1.0})
    last = Reading(10_000 * MS, {"a": {1: 8.0}, "b": {2: 2.0}}, machine_s=108.0, cores=2, inside_s={"a": 2.25})
    spent = Spent.between(first, last)
    assert spent.cpu_s == {"a": 1.25, "b": 1.0, RUNTIME: 1.75}
    assert spent.others_share == pytest.approx(4 / 20)


def test_this_process_takes_cpu_and_memory_and_one_that_is_gone_takes_none():
    assert cpu_s(os.getpid()) > 0
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    assert cpu_s(gone.pid) == 0
    assert pss_bytes([gone.pid]) == 0


def test_children_of_a_process_make_a_group():
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        members = Groups({"fixed": (1,)}, {"forked": os.getpid()}).members()
        assert members["fixed"] == [1]
        assert process.pid in members["forked"]
        process.communicate(b"\n")


def cell(way: str, **fields) -> Cell:
    """A cell of 50 conversations at 100 ms."""
    spread = Spread(1000, 1.0, 2.0, 3.0, 4.0)
    cpu = {CLIENT: 0.4, "Nova Sonic": 0.3} if way != GATEWAY else {STREAM_HANDLERS: 0.1, RELAYS: 0.3, "Valkey": 0.05}
    values = {
        "conversations": 50,
        "live": 50,
        "frame_ms": 100,
        "way": way,
        "up_ms": spread,
        "down_ms": spread,
        "missing": 0,
        "slip_ms": spread,
        "lag_ms": spread,
        "cpu_s_per_minute": cpu,
        "memory_mb": 1.0,
        "maya_share": 0.5,
        "interruptions": 0,
        "others_share": 0.0,
        "busy_share": 0.5,
        **fields,
    }
    return Cell(**values)


def test_the_gateway_is_held_against_the_better_of_directs_two_ways():
    piled = cell(DIRECT, up_ms=Spread(1000, 3.0, 50.0, 300.0, 400.0))
    prompt = cell(NO_DELAY, cpu_s_per_minute={CLIENT: 0.5}, up_ms=Spread(1000, 0.5, 1.0, 2.0, 9.0))
    gateway = cell(GATEWAY, up_ms=Spread(1000, 4.0, 9.0, 28.0, 30.0))
    places = report.places([piled, prompt, gateway])
    assert len(places) == 1
    assert places[0].cpu_s_per_minute == 0.4
    described = report.document(places, None, {"notes": []})
    assert described["places"][0]["gateway_beyond_direct"]["up_ms"] == {"p50": 3.5, "p95": 8.0, "p99": 26.0}
    assert described["places"][0]["ratio_to_direct"][GATEWAY]["ours_cpu_s_per_minute"] == pytest.approx(1.0)
    wanted = {target.wanted: target for target in report.targets(places, None)}
    assert wanted["50 conversations, 100 ms: p50 up beyond direct"].met
    assert wanted["50 conversations, 100 ms: p99 up beyond direct"].met is False
    assert wanted["50 conversations, 100 ms: CPU of handlers + relays per audio minute"].figure == pytest.approx(0.4)
    assert wanted["stream handler, CPU of its cold import"].met is None


def test_a_generator_that_was_late_is_not_believed():
    assert cell(GATEWAY).believable
    assert not cell(GATEWAY, slip_ms=Spread(1000, 0.1, 1.0, 5.1, 9.0)).believable
    # Too few for a percentile: then the largest counts.
    assert not cell(GATEWAY, slip_ms=Spread(30, 0.1, None, None, 9.0)).believable


def test_a_target_that_was_measured_on_a_disturbed_machine_says_so():
    quiet, disturbed = cell(DIRECT), cell(GATEWAY, others_share=0.3)
    wanted = report.targets(report.places([quiet, disturbed]), None)
    assert [target.doubt for target in wanted[:6]] == ["disturbed"] * 6
    assert not report.targets(report.places([quiet, cell(GATEWAY)]), None)[0].doubt
    assert report.doubts(cell(GATEWAY, live=30, busy_share=1.0)) == ["only 30 live", "machine full"]


def test_every_table_can_be_printed(capsys):
    cold = functions.ColdImport(0.02, 48)
    values = {"n": 4000, "p50": 0.1, "p95": 0.1, "p99": 0.1, "most": 0.2}
    timed = dict.fromkeys(("call_ms", "round_trip_ms", "beside_ms"), values)
    found = functions.Functions(
        dict.fromkeys(functions.HANDLERS, cold), cold, (), {**timed, "call_cpu_ms": 0.03, "round_trip_cpu_ms": 0.02}
    )
    places = report.places([cell(DIRECT), cell(NO_DELAY), cell(GATEWAY)])
    report.show(report.Console(width=130), places, found, {"notes": ["a note"]})
    printed = capsys.readouterr().out
    assert "handlers + relays" in printed
    assert "a note" in printed
    assert json.loads(json.dumps(report.document(places, found, {"notes": []})))["handlers"]["ratio_to_direct"]


def test_the_event_of_a_warm_call_is_one_that_the_handler_takes(monkeypatch):
    published = []

    class Wire:
        def publish_and_get(self, *given):
            published.append(given)
            return b"1:relay"

    monkeypatch.setattr("handlers.stream.bus.wire", Wire)
    assert warm.stream.handler(warm.audio_event(), warm.Context()) == {"statusCode": 200}
    assert published[0][1] == b"maya:{learner-0}:up"
