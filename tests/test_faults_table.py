"""The fault table's counting; nothing is broken here but the figures themselves."""

import io
import json
import random
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

from client_sim.playback import Playback
from infra.local.nova.faults import KINDS, Effect
from infra.local.nova.voices import speak_plain
from tests.e2e.maya import HeldStream, Said
from tests.faults import report, selftest
from tests.faults.account import Account, Row
from tests.faults.rows import FAULTS
from tests.faults.silence import END, LEARNER, MAYA, Silence, Sound, heard_nothing_ms, natural_ms, silences
from tests.faults.sound import Count, Due, Spoken, count_heard, count_played, due_of, frames
from tests.faults.stage import Held

RATE = 8000
FRAME = 1_600
CAPTURED = random.Random(7).randbytes(20 * FRAME)
FIRST_ANSWER, SECOND_ANSWER = 5 * FRAME, 15 * FRAME


def held(
    heard: bytes, *, part: int = 1, ending: str = "finished", events: Sequence[Any] = (), said: bytes = b""
) -> HeldStream:
    """Make a stream as the stand-in knows it."""
    document = {"id": "s", "ending": ending, "events": list(events), "system_prompt": f"Part: {part}"}
    return HeldStream(document, heard, said, [])


def out(name: str, **fields: Any) -> dict[str, Any]:
    """An event of the stand-in's."""
    return {"direction": "out", "name": name, **fields}


def counted(*streams: HeldStream, heard_to: int = SECOND_ANSWER) -> tuple[float, float]:
    """Frames that are lost and doubled of what was captured."""
    begins, ends = (2 * FRAME, 10 * FRAME), (FIRST_ANSWER, SECOND_ANSWER)
    spoken = Spoken(pcm=CAPTURED, rate=RATE, begins=begins, ends=ends, heard_to=heard_to)
    count = count_heard(spoken, streams)
    return count.lost_ms / 100, count.doubled_ms / 100


def test_what_is_heard_once_and_in_order_is_neither_lost_nor_doubled():
    """Over a planned change too, and with digital silence in between."""
    assert counted(held(CAPTURED)) == (0, 0)
    assert counted(held(CAPTURED[: 4 * FRAME]), held(bytes(FRAME) + CAPTURED[4 * FRAME :], part=2)) == (0, 0)


@pytest.mark.parametrize(
    ("streams", "count"),
    [
        ([held(CAPTURED[: 3 * FRAME] + CAPTURED[4 * FRAME :])], (1, 0)),
        ([held(CAPTURED[: 4 * FRAME] + CAPTURED[3 * FRAME :])], (0, 1)),
        ([held(CAPTURED[:FRAME] + random.Random(1).randbytes(FRAME) + CAPTURED[FRAME:])], (0, 1)),
        ([held(CAPTURED[: 13 * FRAME])], (2, 0)),
        ([], (15, 0)),
        ([held(CAPTURED[: 6 * FRAME]), held(CAPTURED[7 * FRAME :], part=2)], (1, 0)),
        ([held(CAPTURED[: 6 * FRAME]), held(CAPTURED[4 * FRAME :], part=2)], (0, 2)),
        ([held(CAPTURED[: 6 * FRAME], ending="rst"), held(CAPTURED[7 * FRAME :])], (5, 0)),
    ],
    ids=["lost", "doubled", "strange", "end", "all", "lost at a change", "doubled at a change", "lost with a stream"],
)
def test_what_is_lacking_or_too_much_is_counted(streams: Sequence[HeldStream], count: tuple[float, float]):
    """Within a stream and between two."""
    assert counted(*streams) == count


def test_the_successor_of_a_lost_stream_hears_again_what_had_no_final_transcript():
    """And nothing of what had one."""
    first_answer = [
        out("userSpeechEnd", inputAudioOffsetMs=500),
        out("textOutput", role="USER", content="yes"),
        out("userSpeechEnd", inputAudioOffsetMs=900),
    ]
    lost = held(CAPTURED[: 8 * FRAME], ending="rst", events=first_answer)
    assert counted(lost, held(CAPTURED[FIRST_ANSWER:])) == (0, 0)
    assert counted(lost, held(CAPTURED[FIRST_ANSWER:], ending="rst"), held(CAPTURED[FIRST_ANSWER:])) == (0, 0)
    assert counted(lost, held(CAPTURED[FIRST_ANSWER - FRAME :])) == (0, 1)
    assert counted(lost, held(CAPTURED[FIRST_ANSWER + FRAME :])) == (0, 0)
    in_the_second = held(CAPTURED[: 12 * FRAME], ending="rst", events=first_answer[:2])
    assert counted(in_the_second, held(CAPTURED[10 * FRAME :])) == (0, 0)
    assert counted(in_the_second, held(CAPTURED[11 * FRAME :])) == (1, 0)
    assert counted(in_the_second, held(CAPTURED[12 * FRAME :])) == (2, 0)
    assert counted(held(CAPTURED[: 8 * FRAME], ending="rst"), held(CAPTURED)) == (0, 0)


def test_a_relay_that_follows_a_lost_one_begins_where_nothing_was_acknowledged():
    """Even if the lost one's stream had understood what is said again."""
    settled = [out("userSpeechEnd", inputAudioOffsetMs=500), out("textOutput", role="USER", content="yes")]
    lost = held(CAPTURED[: 8 * FRAME], ending="connection_lost", events=settled)
    spoken = Spoken(
        pcm=CAPTURED,
        rate=RATE,
        begins=(2 * FRAME,),
        ends=(FIRST_ANSWER,),
        heard_to=FIRST_ANSWER,
        taken_up=[4 * FRAME],
    )
    assert count_heard(spoken, [lost, held(CAPTURED[4 * FRAME :])]) == Count()
    assert count_heard(spoken, [lost, held(CAPTURED[3 * FRAME :])]) == Count(doubled_ms=200)
    # The lost relay was only frozen, wakes, and hears more than its successor had in this part.
    successors = [held(CAPTURED[4 * FRAME : 6 * FRAME]), held(CAPTURED[6 * FRAME :], part=2)]
    assert count_heard(spoken, [lost, *successors]) == Count()


def test_what_was_played_is_matched_to_what_was_said():
    """Turn by turn, in order; what was cut off or lost with a stream may lack its end."""
    one, two, three = (random.Random(seed).randbytes(4 * FRAME) for seed in range(3))
    due = [Due(one, open=False), Due(two, open=True), Due(three, open=False)]

    def count(*played: bytes, cut: bool = False) -> tuple[float, float]:
        result = count_played([Said(pcm, cut) for pcm in played], due, RATE)
        return result.lost_ms / 100, result.doubled_ms / 100

    assert count(one, two, three) == count(one, three) == count(one, two[:FRAME], three) == (0, 0)
    assert count(one, two[:FRAME], three[:FRAME], cut=True) == (0, 0)
    assert count(one, two) == (4, 0)
    assert count(one, two, three[: 3 * FRAME]) == (1, 0)
    assert count(one, two, three[:FRAME] + three[2 * FRAME :]) == (1, 0)
    assert count(one, two, three[: 2 * FRAME] + three[FRAME:]) == (0, 1)
    assert count(one, two, two, three) == (0, 4)
    assert count(two, one, three) == (0, 4)
    assert count(one, two, three, three[:FRAME]) == (0, 1)


def test_the_last_turn_of_a_lost_stream_is_open():
    """Its sound may have been lost with it; that of the turns before it may not."""
    sentences = ("good day to you.", "do you work.")
    events = [
        event
        for number, text in enumerate(sentences)
        for event in (
            out("contentStart", contentId=str(number), additionalModelFields='{"generationStage":"SPECULATIVE"}'),
            out("textOutput", contentId=str(number), content=text),
            out("contentEnd", type="AUDIO", stopReason="END_TURN"),
        )
    ]
    said = b"".join(speak_plain(text, RATE) for text in sentences)
    assert [due.open for due in due_of([held(b"", events=events, said=said)], RATE)] == [False, False]
    assert [due.open for due in due_of([held(b"", ending="rst", events=events, said=said)], RATE)] == [False, True]


def test_a_relay_that_wakes_too_late_changes_nothing():
    """What its stream hears and says once another has been opened concerns nobody."""
    text = "good day to you."
    turn = [
        out("contentStart", contentId="0", additionalModelFields='{"generationStage":"SPECULATIVE"}'),
        out("textOutput", contentId="0", role="ASSISTANT", content=text),
        out("contentEnd", type="AUDIO", stopReason="END_TURN"),
    ]
    answer = [
        out("userSpeechEnd", inputAudioOffsetMs=500),
        out("textOutput", contentId="1", role="USER", content="yes"),
    ]
    events = [
        {"at_ms": at_ms, **event}
        for at_ms, events in ((100, turn), (200, turn), (900, answer), (1_000, turn))
        for event in events
    ]
    pcm = speak_plain(text, RATE)
    old = held(CAPTURED[: 8 * FRAME], events=events, said=pcm * 3)
    new = held(CAPTURED[2 * FRAME :])
    new.document["opened_at_ms"] = 800.0
    assert counted(old, new) == (0, 0)
    assert [due.open for due in due_of([old, new], RATE)] == [False, True, True]
    new.document["opened_at_ms"] = 1_100.0
    assert counted(old, new) == (0, 3)
    assert [due.open for due in due_of([old, new], RATE)] == [False, False, True]


def test_frames_that_have_begun_count_whole():
    """Rounding errors do not."""
    assert [frames(ms) for ms in (0, 0.0001, 1, 100, 100.0001, 101)] == [0, 0, 1, 1, 1, 2]


TALK = [
    Sound(MAYA, 0, 1_000, 1),
    Sound(LEARNER, 1_200, 3_000, 1),
    Sound(MAYA, 3_400, 4_000, 1),
    Sound(MAYA, 6_000, 7_000, 2),
    Sound(END, 7_500, 7_500, 2),
]


def test_silences_lie_between_sounds_of_either_side():
    """Sounds at the same time are no silence."""
    overlapping = [Sound(MAYA, 0, 1_000, 1), Sound(LEARNER, 500, 700, 1), Sound(MAYA, 1_100, 1_200, 1)]
    assert list(silences(overlapping)) == [Silence((MAYA, MAYA, 1), 1_000, 1_100)]
    assert [silence.length_ms for silence in silences(TALK)] == [200, 400, 2_000, 500]


def test_only_what_is_beyond_natural_counts():
    """Each fault has the silences up to the next fault; the one that it falls into is its own."""
    natural = natural_ms([TALK])
    assert natural == {
        (MAYA, LEARNER, 1): 200,
        (LEARNER, MAYA, 1): 400,
        (MAYA, MAYA, 2): 2_000,
        (MAYA, END, 2): 500,
    }
    struck = [
        Sound(MAYA, 0, 400, 1),
        Sound(MAYA, 900, 1_500, 1),
        Sound(LEARNER, 1_700, 3_000, 1),
        Sound(MAYA, 6_400, 7_000, 1),
        Sound(END, 7_500, 7_500, 1),
    ]
    assert heard_nothing_ms(struck, [300, 2_000], natural) == [500, 3_000]
    assert heard_nothing_ms(TALK, [300], natural) == [0]


def account(*, lost_ms: float = 0, doubled_ms: float = 0, assessment_lost: bool = False, complaints=()) -> Account:
    """What a conversation came to."""
    count = Count(lost_ms, doubled_ms)
    return Account(
        name="x",
        strikes_ms=[300.0],
        sounds=TALK,
        learner=count,
        maya=Count(),
        assessment_lost=assessment_lost,
        complaints=complaints,
    )


@pytest.mark.parametrize(
    ("spoilt", "holds"),
    [
        ({}, True),
        ({"lost_ms": 1}, False),
        ({"doubled_ms": 1}, False),
        ({"assessment_lost": True}, False),
        ({"complaints": ["the transcript does not have every word once"]}, False),
    ],
)
def test_a_row_that_does_not_hold_makes_the_table_fail(spoilt: Any, holds: bool):
    """Whatever it is: it is seen in the table, and by a program."""
    row = Row(fault="x")
    row.add(account(), {}, comes_back=True)
    row.add(account(**spoilt), {}, comes_back=True)
    table = Held(rows=[row])
    assert report.holds(table) is holds
    assert json.loads(json.dumps(report.document(table)))["holds"] is holds
    printed = io.StringIO()
    report.show(table, Console(file=printed, width=110))
    assert ("transcript" in printed.getvalue()) is bool(spoilt.get("complaints"))
    assert (row.tried, row.p50_ms, row.worst_ms) == (2, 2_000, 2_000)


def calm_conversation() -> tuple[Any, list[HeldStream]]:
    """A conversation without a fault: two parts, a turn of Maya's in each."""
    text = "good day to you, my name is maya."
    pcm = speak_plain(text, RATE)
    turn = [
        out("contentStart", contentId="0", additionalModelFields='{"generationStage":"SPECULATIVE"}'),
        out("textOutput", contentId="0", role="ASSISTANT", content=text),
        out("contentEnd", type="AUDIO", stopReason="END_TURN"),
    ]
    streams = [
        held(CAPTURED[:FIRST_ANSWER], events=turn, said=pcm),
        held(CAPTURED[FIRST_ANSWER:], part=2, events=turn, said=pcm),
    ]
    speaker = Playback(record=True)
    for number in range(2):
        assert speaker.add((1, number), RATE, pcm, now_ms=10_000.0 * number)
    caller = SimpleNamespace(
        captured=CAPTURED,
        spoken_from=[2 * FRAME, 10 * FRAME, 17 * FRAME],
        spoken_to=[FIRST_ANSWER, SECOND_ANSWER, len(CAPTURED)],
        habits=SimpleNamespace(rate=RATE, out_rate=RATE, frame_ms=100),
        speaker=speaker,
        messages=lambda _kind: [],
    )
    return caller, streams


@pytest.mark.parametrize(("counter", "unseen"), [(None, 0), ("count_heard", 5), ("count_played", 5)])
def test_a_counter_that_does_not_count_is_noticed(monkeypatch, counter, unseen):
    """Each spoils a good conversation in ways that it must see."""
    if counter is not None:
        monkeypatch.setattr(selftest, counter, lambda *_: Count())
    blind = selftest.blind_counters(*calm_conversation())
    assert len(blind) == unseen, blind


def test_a_fault_that_was_never_tried_makes_the_table_fail():
    """So does a table without rows."""
    assert not report.holds(Held(rows=[Row(fault="x")]))
    assert not report.holds(Held())


def test_every_fault_of_the_stand_in_has_a_row():
    """A new kind must not be forgotten."""
    names = " ".join(fault.name for fault in FAULTS)
    for name, kind in KINDS.items():
        assert name in names or kind.effect is Effect.DELAY
    assert len({fault.name for fault in FAULTS}) == len(FAULTS)
