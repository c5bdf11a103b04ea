"""What Redis is given of a session: all that another relay needs, and nothing that was said."""

import json

import pytest

from gateway.core.assessment import Basis, PartNotes, parse_part_notes
from gateway.core.conversation.examiner import Phase
from gateway.core.conversation.progress import Standing, open_session, session_progress
from gateway.core.messages import Start
from tests.core.conversation.scene import GOOD_CALL, SESSION

START = Start(
    session_id=SESSION, module="general_speaking", voice="olivia", language="en-AU", rate=8000, client="free text"
)


def progress(**changes):
    return session_progress(
        START,
        **{
            "ended": False,
            "connection_id": "c",
            "epoch": 7,
            "seq": 41,
            "n": 12,
            "part": 2,
            "elapsed_ms": 1_234.56,
            "spoken_ms": {1: 1_500.4, 2: 20.0},
            "notes": {},
        }
        | changes,
    )


def test_an_assessment_that_nobody_took_is_part_of_it():
    """Written text; where it is kept already it is not."""
    assert "unsaved" not in progress()
    assert progress(unsaved={"status": "complete"})["unsaved"] == {"status": "complete"}


def test_progress_is_a_json_document_of_ids_and_numbers():
    """It comes back as it went."""
    document = progress()
    assert json.loads(json.dumps(document)) == document
    assert (document["state"], document["session_id"], document["module"]) == ("open", SESSION, "general_speaking")
    assert (document["voice"], document["language"], document["rate"], document["out_rate"]) == (
        "olivia",
        "en-AU",
        8000,
        24000,
    )
    assert (document["epoch"], document["seq"], document["n"], document["part"]) == (7, 41, 12, 2)
    assert (document["elapsed_ms"], document["spoken_ms"]) == (1235, {"1": 1500, "2": 20})


def test_the_free_text_of_start_is_left_out():
    """Nobody knows what an app writes there (I1)."""
    assert "free text" not in json.dumps(progress())


def test_a_session_that_has_ended_says_so():
    """Then a `resume` is answered from DynamoDB."""
    assert progress(ended=True, connection_id=None)["state"] == "ended"
    assert progress(connection_id=None)["connection_id"] == ""


def test_notes_are_written_in_the_order_of_the_parts():
    """As the finish Lambda reads them."""
    notes = {part: parse_part_notes(GOOD_CALL, part=part, basis=Basis.HEARD) for part in (2, 1)}
    document = progress(notes=notes)
    assert [PartNotes.model_validate(note).part for note in json.loads(json.dumps(document))["notes"]] == [1, 2]


def test_another_relay_reads_what_one_wrote():
    """All of it, but what `start` told about the app."""
    notes = {1: parse_part_notes(GOOD_CALL, part=1, basis=Basis.HEARD)}
    standing = Standing(phase=Phase.TALKING, answers=2, elapsed_ms=3_000, phase_elapsed_ms=1_000)
    more = {
        "connected_at_ms": 5,
        "captured_ms": 4_200.125,
        "plan": "demo",
        "choice": 123,
        "standing": standing,
        "lag_noticed": True,
        "reason": "time_limit",
        "written_at_ms": 1_790_000_000_123.0,
        "heard_at_ms": 1_790_000_000_100.0,
    }
    read = open_session(json.loads(json.dumps(progress(notes=notes, **more))))
    assert read is not None
    assert read.start == START.model_copy(update={"client": None, "region": None})
    assert {name: getattr(read, name) for name in more} == more
    assert (read.connection_id, read.epoch, read.seq, read.part, read.elapsed_ms) == ("c", 7, 41, 2, 1_235)
    assert (read.spoken_ms, read.notes) == ({1: 1_500, 2: 20}, notes)


@pytest.mark.parametrize(
    "changes",
    [
        {"state": "ended"},
        {"version": 2},
        {"seq": None},
        {"phase": "away"},
        {"reason": "boredom"},
        {"notes": [{"part": 1}]},
        {"spoken_ms": []},
        {"session_id": "7"},
    ],
)
def test_what_is_no_open_session_is_none(changes):
    """Ended, of another version, or damaged: nobody guesses."""
    assert open_session(progress()) is not None
    assert open_session(progress() | changes) is None
    assert open_session(None) is None
