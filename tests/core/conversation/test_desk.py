"""The desk where the notes of the parts come together."""

import pytest

from gateway.core.assessment import Basis
from gateway.core.conversation.actions import Action, AskMicro
from gateway.core.conversation.desk import AssessmentDesk, Source
from gateway.core.conversation.transcript import Transcript
from tests.core.conversation.scene import GOOD_CALL

TRANSCRIBED = {name: value for name, value in GOOD_CALL.items() if name != "pronunciation"}
WORDS = "i went to the market with my sister and we bought some fresh bread there"


@pytest.fixture
def desk(actions) -> AssessmentDesk:
    """Something was said by both in part 1, and by Maya alone in part 2."""
    transcript = Transcript()
    transcript.add("maya", 1, "Where did you go?")
    transcript.add("learner", 1, WORDS)
    transcript.add("maya", 2, "Please start.")
    return AssessmentDesk(transcript, actions.append)


@pytest.fixture
def actions() -> list[Action]:
    """What the desk asks for."""
    return []


def test_a_stream_writes_the_notes_of_its_part(desk):
    """What it heard counts as heard."""
    desk.asked_stream(1, 25_000.0)
    assert not desk.complete
    result, again = desk.tool_called(1, GOOD_CALL)
    assert (result, again) == ({"status": "saved"}, False)
    assert desk.notes[1].criteria.pronunciation.basis is Basis.HEARD
    assert desk.complete


def test_a_wrong_call_is_corrected_once(desk):
    """The answer names the fields; after a second wrong one the stream is not needed any more."""
    desk.asked_stream(1, 25_000.0)
    result, again = desk.tool_called(1, {**GOOD_CALL, "pronunciation": {"band": 11, "comment": "x"}})
    assert "pronunciation.band" in result["error"]
    assert again
    assert desk.tool_called(1, None)[1] is False
    assert desk.notes == {}
    assert not desk.complete


def test_corrections_are_counted_for_each_part(desk):
    """A mistake in one part takes nothing from the next."""
    desk.tool_called(1, None)
    assert desk.tool_called(2, None)[1] is True


def test_nova_micro_assesses_from_words(desk, actions):
    """Of both sides, of this part alone; pronunciation nobody heard."""
    desk.ask_micro(1, 25_000.0)
    [asked] = actions
    assert isinstance(asked, AskMicro)
    assert WORDS in asked.request.user
    assert "Please start." not in asked.request.user
    desk.micro_answered(1, TRANSCRIBED)
    assert desk.notes[1].criteria.fluency_coherence.basis is Basis.TRANSCRIPT
    assert desk.notes[1].criteria.pronunciation is None


def test_a_part_without_words_of_the_learner_has_no_notes(desk, actions):
    """There is nothing to judge, so nobody is asked."""
    desk.asked_stream(2, 25_000.0)
    desk.ask_micro(2, 25_000.0)
    assert actions == []
    assert desk.complete


@pytest.mark.parametrize("arguments", [None, {}, {"fluency_coherence": "good"}])
def test_an_answer_that_is_none_leaves_the_part_without_notes(desk, arguments):
    """Nova Micro failed, or wrote something else."""
    desk.ask_micro(1, 25_000.0)
    desk.micro_answered(1, arguments)
    assert desk.complete
    assert desk.notes == {}


def test_the_first_notes_stay(desk):
    """An answer that comes late replaces nothing."""
    desk.tool_called(1, GOOD_CALL)
    desk.micro_answered(1, TRANSCRIBED)
    assert desk.notes[1].criteria.pronunciation is not None


def test_an_answer_after_it_was_given_up_is_still_welcome(desk):
    """There are no other notes of this part."""
    desk.ask_micro(1, 25_000.0)
    desk.give_up(1)
    desk.micro_answered(1, TRANSCRIBED)
    assert 1 in desk.notes


def test_what_is_overdue_is_told(desk):
    """Who was to write, and for which part."""
    desk.asked_stream(1, 10_000.0)
    desk.asked_stream(2, 20_000.0)
    assert desk.next_timer_ms() == 10_000.0
    assert desk.overdue(9_999.0) == []
    assert desk.overdue(10_000.0) == [(1, Source.STREAM)]
    desk.give_up(1)
    desk.give_up(2)
    assert desk.next_timer_ms() is None
    assert desk.complete


def test_notes_quote_nobody(desk):
    """Not more than eight words in a row (I1)."""
    quoting = {**GOOD_CALL, "strengths": [f"You said: {WORDS}."]}
    desk.tool_called(1, quoting)
    assert "fresh bread" not in desk.notes[1].model_dump_json()
