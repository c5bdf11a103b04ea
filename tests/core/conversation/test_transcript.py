"""Turns and their text: as planned, as said, as heard; and the transcript made of them."""

import pytest

from gateway.core.conversation.transcript import MayaTurn, Transcript
from gateway.core.nova_events import HistoryTurn, Role


def turn(*sentences: tuple[str, float]) -> MayaTurn:
    made = MayaTurn(0, 1)
    for text, sound_ms in sentences:
        made.add_text(text)
        made.add_sound(sound_ms)
    return made


def test_without_final_text_the_turn_says_what_was_planned():
    """A short session may end before any final text has come."""
    assert turn(("One. ", 100.0), (" Two.", 100.0)).text == "One. Two."


def test_final_text_in_any_order_finds_its_sentence():
    """Each once; what does not fit any is taken for the first that lacks its own."""
    said = turn(("One.", 1.0), ("Two.", 1.0), ("Three.", 1.0))
    assert said.add_final("Three.")
    assert said.add_final("One, indeed.")
    assert said.text == "One, indeed. Two. Three."


@pytest.mark.parametrize("text", ["One.", "One. Two."])
def test_final_text_that_came_before_is_not_taken_again(text):
    """The same sentence twice, or all of them in one."""
    said = turn(("One.", 1.0), ("Two.", 1.0))
    said.add_final("One.")
    assert not said.add_final(text)
    assert said.text == "One. Two."


def test_final_text_of_another_turn_is_refused_by_a_complete_one():
    """It belongs to the next."""
    said = turn(("One.", 1.0))
    said.add_final("One.")
    assert not said.add_final("Two.")


@pytest.mark.parametrize(
    ("heard_ms", "text"),
    [
        (0.0, ""),
        (50.0, "one"),
        (100.0, "one two"),
        (150.0, "one two three"),
        (199.0, "one two three"),
        (500.0, "one two three four"),
    ],
)
def test_an_interrupted_turn_says_what_was_heard(heard_ms, text):
    """Whole words, in proportion to each sentence's sound."""
    said = turn(("one two", 100.0), ("three four", 100.0))
    said.complete = said.interrupted = True
    said.heard_ms = heard_ms
    assert said.text == text


@pytest.mark.parametrize(
    ("sound_ms", "text"), [(0.0, "one two"), (50.0, "one two three"), (140.0, "one two three four")]
)
def test_a_sentence_that_breaks_off_is_cut_where_its_sound_would_have_been(sound_ms, text):
    """The rest of its sound never came: how long it takes follows from the sentences before."""
    said = turn(("one two", 70.0), ("three four", sound_ms))
    said.interrupted = True
    assert said.text == text


def test_a_first_sentence_that_breaks_off_is_cut_as_one_speaks_usually():
    """Or as Maya spoke before."""
    said = turn(("one two three four", 500.0))
    said.interrupted = True
    assert said.text == "one"
    said.letter_ms = 40.0
    assert said.text == "one two"


def test_an_interrupted_turn_of_which_nothing_is_known_was_heard_as_far_as_it_came():
    """The phone did not say how much it played."""
    said = turn(("one two", 100.0))
    said.complete = said.interrupted = True
    assert said.text == "one two"


def test_sound_before_any_text_belongs_to_the_turn():
    """A service that sends sound first."""
    said = MayaTurn(0, 1)
    said.add_sound(40.0)
    assert (said.sound_ms, said.text) == (40.0, "")


def test_the_transcript_keeps_order_and_parts():
    """Blank utterances are none."""
    transcript = Transcript()
    transcript.add("maya", 1, " Hello. ")
    transcript.add("learner", 1, "  ")
    transcript.add("learner", 2, "hi")
    assert [(said.who, said.part, said.text) for said in transcript.utterances] == [
        ("maya", 1, "Hello."),
        ("learner", 2, "hi"),
    ]
    assert [said.text for said in transcript.of_part(2)] == ["hi"]
    assert transcript.history() == [HistoryTurn(Role.ASSISTANT, "Hello."), HistoryTurn(Role.USER, "hi")]
    assert transcript.texts() == ["hi", "Hello."]


def test_words_are_never_printed():
    """An utterance in a traceback or a log line says nothing (I1)."""
    transcript = Transcript()
    transcript.add("learner", 1, "secret words")
    assert "secret" not in repr(transcript.utterances)
