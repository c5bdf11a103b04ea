"""The scripted examiner: whole parts, stage directions, recovery, and every pair of its table."""

import pytest

from infra.local.nova.interfaces import HistoryMessage, Mind
from infra.local.nova.minds import ScriptedMind, phrases
from infra.local.nova.minds.examiner import TABLE, Event, Examiner, Place, State, read_event
from infra.local.nova.minds.script import Direction, parse_script, read_direction

INTERVIEW = """You are an examiner. Opening times do not matter here.
Part: 1
Be kind.

Opening:
Good day. I will ask you about yourself.

Questions:
1. Where do you live?
2. Let us talk about food. What do you like to eat?
3. Why?

Closing:
Thank you. That is the end of part one.

Assess: later.
"""

TALK = """Part: 2
Say that there is one minute to prepare and up to 2 minutes to speak, then be silent.

Opening:
Now you will talk about a topic. You may make notes before you begin.

Cue card:
Describe a skill that you learned.
You should say:
- what it is
- and why it is useful

Questions:
1. Do you still use it?
2. Would you teach it?

Closing:
Thank you. That is the end of part two.
"""

BEGIN = "[The candidate is ready: begin the part.]"
PREPARED = "[The preparation time is over: ask the candidate to start speaking.]"
TIME_UP = "[The time is up: stop the candidate politely and ask the next question.]"
NUDGE = "[The candidate is silent: kindly repeat the question in simpler words.]"
WRAP_UP = "[The part has used its time: say the closing line now.]"
CONTINUE = "[The line is back: continue where the conversation stopped.]"

LONG = "I learned to swim when I was seven, because my uncle took me to the lake every summer."


def mind(prompt: str = INTERVIEW, *history: tuple[str, str]) -> ScriptedMind:
    messages = [HistoryMessage("USER" if role == "U" else "ASSISTANT", text) for role, text in history]
    return ScriptedMind(system_prompt=prompt, history=messages, tools=())


def told(examiner: Mind, direction: str) -> str:
    return " ".join(examiner.reply(direction, "text").sentences)


def hears(examiner: Mind, words: str) -> str:
    return " ".join(examiner.reply(words, "speech").sentences)


@pytest.mark.parametrize("part", [1, 3])
def test_a_part_of_questions_goes_from_opening_to_closing(part: int) -> None:
    """Opening and first question, then a question after each answer, then the closing line and nothing else."""
    examiner = mind(INTERVIEW.replace("Part: 1", f"Part: {part}"))

    assert told(examiner, BEGIN) == "Good day. I will ask you about yourself. Where do you live?"
    second = hears(examiner, "I live in Lima.")
    third = hears(examiner, "I like soup.")
    last = hears(examiner, "It is warm.")

    assert second.endswith("Let us talk about food. What do you like to eat?")
    assert third.endswith("Why?")
    assert last == "Thank you. That is the end of part one."
    acknowledgements = [
        second.removesuffix("Let us talk about food. What do you like to eat?"),
        third.removesuffix("Why?"),
    ]
    assert all(text.strip() in phrases.ACKNOWLEDGE for text in acknowledgements)
    assert acknowledgements[0] != acknowledgements[1]


def test_a_talk_goes_from_card_to_closing() -> None:
    """The card is read, silence kept, the talk invited and heard, the questions asked, the part closed."""
    examiner = mind(TALK)

    briefing = told(examiner, BEGIN)
    assert briefing.startswith("Now you will talk about a topic. You may make notes before you begin.")
    assert "Describe a skill that you learned." in briefing
    assert briefing.endswith("You have one minute to prepare, and then up to 2 minutes to speak.")
    assert hears(examiner, "") == ""
    assert told(examiner, PREPARED) in phrases.INVITE
    assert hears(examiner, LONG).endswith("Do you still use it?")
    assert hears(examiner, "Yes, every week.").endswith("Would you teach it?")
    assert hears(examiner, "I would.") == "Thank you. That is the end of part two."


def test_the_end_of_the_talk_time_brings_the_first_question() -> None:
    """When the time is up the talk is stopped politely, and late again changes nothing."""
    examiner = mind(TALK)
    told(examiner, BEGIN)
    told(examiner, PREPARED)

    stopped = told(examiner, TIME_UP)

    assert stopped.endswith("Do you still use it?")
    assert stopped.removesuffix(" Do you still use it?") in phrases.STOP
    assert told(examiner, TIME_UP) == ""


def test_a_few_words_are_no_talk_once() -> None:
    """After "okay" the learner is encouraged; the next utterance counts, however short."""
    examiner = mind(TALK)
    told(examiner, BEGIN)
    told(examiner, PREPARED)

    assert hears(examiner, "Okay.") in phrases.GO_ON
    assert hears(examiner, "Swimming.").endswith("Do you still use it?")


def test_thinking_aloud_while_preparing_begins_the_talk() -> None:
    """Nothing is said to it; the next utterance is followed by a question."""
    examiner = mind(TALK)
    told(examiner, BEGIN)

    assert hears(examiner, "Let me think, I could take swimming, or perhaps cooking.") == ""
    assert hears(examiner, LONG).endswith("Do you still use it?")


def test_what_was_not_understood_is_asked_for_once() -> None:
    """Twice in a row the examiner does not ask to say it again."""
    examiner = mind()
    told(examiner, BEGIN)

    assert hears(examiner, "") in phrases.ASK_AGAIN
    assert hears(examiner, "").endswith("What do you like to eat?")


@pytest.mark.parametrize(
    "request_",
    ["Sorry, can you repeat the question?", "Could you say that again please?", "I didn't catch that", "Pardon?"],
)
def test_a_request_to_repeat_is_met(request_: str) -> None:
    """The same question comes again, and the one after it is not lost."""
    examiner = mind()
    told(examiner, BEGIN)

    assert hears(examiner, request_).endswith("Where do you live?")
    assert hears(examiner, "In Lima.").endswith("What do you like to eat?")


def test_a_long_answer_with_the_word_repeat_is_an_answer() -> None:
    """Only short utterances are requests."""
    examiner = mind()
    told(examiner, BEGIN)
    answer = "I live in a place where we repeat the question of who cooks every single evening of the week."

    assert hears(examiner, answer).endswith("What do you like to eat?")


def test_silence_is_met_with_the_same_question() -> None:
    """The nudge repeats the question that waits."""
    examiner = mind()
    told(examiner, BEGIN)

    assert told(examiner, NUDGE).endswith("Where do you live?")


def test_wrapping_up_says_the_closing_line_and_nothing_else() -> None:
    """Also when the learner's answer comes after it, no question follows any more."""
    examiner = mind()
    told(examiner, BEGIN)

    assert told(examiner, WRAP_UP) == "Thank you. That is the end of part one."
    assert hears(examiner, "and one more thing") == "Thank you. That is the end of part one."


@pytest.mark.parametrize("typed", ["What is the weather?", "[Do a somersault.]"])
def test_anything_else_is_answered_politely(typed: str) -> None:
    """The examiner stays with the test and with the question."""
    examiner = mind()
    told(examiner, BEGIN)

    answer = told(examiner, typed)

    assert answer.removesuffix(" Where do you live?") in phrases.REMARK
    assert answer.endswith("Where do you live?")


def test_acknowledgements_come_again_only_after_all_others() -> None:
    """As many answers as there are phrases get all different ones."""
    count = len(phrases.ACKNOWLEDGE)
    questions = "\n".join(f"{n}. Question number {n}?" for n in range(1, count + 2))
    examiner = mind(f"Part: 1\n\nOpening:\nHello.\n\nQuestions:\n{questions}\n\nClosing:\nBye.\n")
    told(examiner, BEGIN)

    said = [examiner.reply("Yes.", "speech").sentences[0] for _ in range(count)]

    assert sorted(said) == sorted(phrases.ACKNOWLEDGE)


def test_no_phrase_holds_a_closing_mark() -> None:
    """Only the closing line may end a part."""
    banks = [value for name, value in vars(phrases).items() if name.isupper()]

    assert banks
    assert not [
        phrase for bank in banks for phrase in bank if "end of" in phrase.lower() or "closing" in phrase.lower()
    ]


# Recovery: a new stream with the history.

OPENED = ("A", "Good day. I will ask you about yourself. Where do you live?")
JOINED = ("U", "[The candidate has joined the test.]")


def test_recovery_after_an_answer_goes_to_the_next_question() -> None:
    """The history ends with the learner: an acknowledgement and the next question, not the opening."""
    examiner = mind(INTERVIEW, JOINED, OPENED, ("U", "In Lima."))

    assert told(examiner, CONTINUE).endswith("Let us talk about food. What do you like to eat?")
    assert hears(examiner, "Soup.").endswith("Why?")


def test_recovery_with_a_question_unanswered_asks_it_again() -> None:
    """Nothing is skipped."""
    examiner = mind(INTERVIEW, JOINED, OPENED)

    assert told(examiner, CONTINUE).endswith("Where do you live?")


def test_recovery_without_a_direction_takes_the_next_utterance_as_the_answer() -> None:
    """A renewed stream waits for the learner, who answers the question in the history."""
    examiner = mind(INTERVIEW, JOINED, OPENED)

    assert hears(examiner, "In Lima.").endswith("What do you like to eat?")


def test_recovery_in_the_middle_of_a_question_asks_it_in_full() -> None:
    """A question that was cut off and not answered was not asked."""
    examiner = mind(INTERVIEW, JOINED, OPENED, ("U", "In Lima."), ("A", "I see. Let us talk about food. What do"))

    assert told(examiner, CONTINUE).endswith("Let us talk about food. What do you like to eat?")


def test_a_question_answered_before_its_end_counts_as_asked() -> None:
    """The learner spoke over it, and what was heard of it is in the history."""
    examiner = mind(
        INTERVIEW, JOINED, OPENED, ("U", "In Lima."), ("A", "I see. Let us talk about food. What do"), ("U", "Soup.")
    )

    assert told(examiner, CONTINUE).endswith("Why?")


def test_recovery_in_the_middle_of_the_opening_says_the_rest() -> None:
    """Sentences that were said are not said again."""
    examiner = mind(INTERVIEW, JOINED, ("A", "Good day. I will ask"))

    assert told(examiner, CONTINUE) == "I will ask you about yourself. Where do you live?"


def test_recovery_without_history_begins() -> None:
    """Where the history was given up, the part starts from its opening."""
    assert told(mind(), CONTINUE) == "Good day. I will ask you about yourself. Where do you live?"


def test_recovery_knows_joined_sentences() -> None:
    """Sentences without a space between them, or on lines of their own, are recognised."""
    examiner = mind(
        INTERVIEW, JOINED, ("A", "Good day.I will ask you about yourself.\nWhere do you live?"), ("U", "Here.")
    )

    assert told(examiner, CONTINUE).endswith("What do you like to eat?")


def test_a_short_question_inside_another_sentence_was_not_asked() -> None:
    """ "Why?" is only found where a sentence begins."""
    examiner = mind(INTERVIEW, JOINED, OPENED, ("U", "Lima."), ("A", "Tell me why?"), ("U", "Because."))

    assert told(examiner, CONTINUE).endswith("What do you like to eat?")


def test_history_of_earlier_parts_is_no_beginning() -> None:
    """Part 2 begins with its own opening after part 1's words."""
    examiner = mind(TALK, JOINED, OPENED, ("U", "In Lima."), ("A", "Thank you. That is the end of part one."))

    assert told(examiner, BEGIN).startswith("Now you will talk about a topic.")


BRIEFED = (
    "A",
    (
        "Now you will talk about a topic. You may make notes before you begin. Describe a skill that you learned. "
        "You have one minute to prepare, and then up to 2 minutes to speak."
    ),
)


@pytest.mark.parametrize(
    ("history", "said"),
    [
        ([BRIEFED], phrases.TAKE_YOUR_TIME),
        ([("A", f"{BRIEFED[1]}\n{phrases.INVITE[0]}")], phrases.GO_ON),
        ([BRIEFED, ("U", "[The preparation time is over: ask the candidate to start speaking.]")], phrases.GO_ON),
    ],
    ids=["preparing", "talking", "directed"],
)
def test_recovery_of_a_talk_before_its_questions(history: list[tuple[str, str]], said: tuple[str, ...]) -> None:
    """The examiner knows whether the learner prepares or talks."""
    assert told(mind(TALK, JOINED, *history), CONTINUE) in said


def test_recovery_after_a_talk_asks_its_first_question() -> None:
    """The talk is in the history: the first question follows, then the second."""
    examiner = mind(TALK, JOINED, ("A", f"{BRIEFED[1]} {phrases.INVITE[1]}"), ("U", LONG))

    assert told(examiner, CONTINUE).endswith("Do you still use it?")
    assert hears(examiner, "Yes.").endswith("Would you teach it?")


def test_recovery_in_the_middle_of_the_briefing_says_the_rest() -> None:
    """The card is read where it was not yet, and silence follows."""
    examiner = mind(TALK, JOINED, ("A", "Now you will talk about a topic. You may make"))

    assert told(examiner, CONTINUE).startswith("You may make notes before you begin. Describe a skill")
    assert told(examiner, PREPARED) in phrases.INVITE


def test_recovery_after_the_closing_line_says_it_again() -> None:
    """Only then does the part end for those who did not hear it."""
    closing = "Thank you. That is the end of part one."

    assert told(mind(INTERVIEW, JOINED, OPENED, ("U", "x"), ("A", closing)), CONTINUE) == closing


def test_the_last_words_are_not_repeated_at_once() -> None:
    """Whatever acknowledgement the history ends with, another one follows."""
    for phrase in phrases.ACKNOWLEDGE:
        examiner = mind(INTERVIEW, JOINED, ("A", f"{phrase} Where do you live?"), ("U", "In Lima."))
        assert not told(examiner, CONTINUE).startswith(f"{phrase} ")


# Barge-in.


def test_a_question_that_was_never_begun_is_asked_later() -> None:
    """The reply was cut during the acknowledgement: the learner's next words are not taken for its answer."""
    examiner = mind()
    told(examiner, BEGIN)
    hears(examiner, "In Lima,")
    examiner.interrupted(1)

    assert hears(examiner, "which is in Peru.").endswith("Let us talk about food. What do you like to eat?")


def test_a_question_that_was_heard_is_not_repeated() -> None:
    """Cut in its last sentence, it counts as asked."""
    examiner = mind()
    told(examiner, BEGIN)
    hears(examiner, "In Lima.")
    examiner.interrupted(3)

    assert hears(examiner, "Soup.").endswith("Why?")


def test_a_closing_line_that_was_never_begun_is_said_later() -> None:
    """The part cannot end unheard."""
    examiner = mind(INTERVIEW, JOINED, OPENED, ("U", "x"), ("A", "I see. Why?"))
    hears(examiner, "Because.")
    examiner.interrupted(0)

    assert hears(examiner, "I like it.") == "Thank you. That is the end of part one."


# Prompts and tables.


def test_without_a_script_the_mind_keeps_up_a_conversation() -> None:
    """Any prompt is answered, never twice alike in a row."""
    companion = mind("You are a friendly assistant.")

    first, second = hears(companion, "Hello."), hears(companion, "I am well.")

    assert first
    assert second
    assert first != second
    assert hears(companion, "") in phrases.ASK_AGAIN
    companion.interrupted(0)


def test_a_script_is_read_from_any_order_of_sections() -> None:
    """Sections may stand anywhere, with text on the heading's line or below it."""
    script = parse_script("Closing: Bye.\n\nQuestions:\n1) One?\n2) Two?\nPart: 3\n\nOpening: Hi. Hello.\n")

    assert script is not None
    assert (script.part, script.opening, script.closing) == (3, ("Hi.", "Hello."), ("Bye.",))
    assert script.questions == (("One?",), ("Two?",))
    assert not script.is_talk


def test_a_card_keeps_its_lines_apart_from_the_sections() -> None:
    """ "You should say:" is part of the card, and only the topic is read out."""
    script = parse_script(TALK)

    assert script is not None
    assert script.is_talk
    assert script.card[0] == "Describe a skill that you learned."
    assert len(script.questions) == 2


def test_a_talk_without_times_or_card_still_works() -> None:
    """The times are a courtesy of the prompt, no part of the format."""
    script = parse_script("Part: 2\n\nOpening:\nTalk.\n\nQuestions:\n1. Why?\n\nClosing:\nBye.")

    assert script is not None
    assert script.card == ("You have some time to prepare.",)


@pytest.mark.parametrize("prompt", ["", "Part: 1", "Closing:\nBye."])
def test_a_prompt_without_opening_and_questions_is_no_script(prompt: str) -> None:
    """Then the mind holds no test."""
    assert parse_script(prompt) is None


@pytest.mark.parametrize(
    ("text", "direction"),
    [
        (BEGIN, Direction.BEGIN),
        (PREPARED, Direction.PREPARED),
        (TIME_UP, Direction.TIME_UP),
        (NUDGE, Direction.NUDGE),
        (WRAP_UP, Direction.WRAP_UP),
        (CONTINUE, Direction.CONTINUE),
        ("[The part is over: assess the part now with the tool, and say nothing.]", Direction.ASSESS),
        ("[Begin the part]", Direction.BEGIN),
        ("[Whatever]", Direction.OTHER),
        ("continue please", None),
    ],
)
def test_directions_are_known_by_their_keywords(text: str, direction: Direction | None) -> None:
    """Only text in brackets directs."""
    assert read_direction(text) is direction


def test_speech_directs_nothing() -> None:
    """A transcript in brackets is what somebody said."""
    assert read_event(BEGIN, "speech") is Event.ANSWER


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("event", Event)
@pytest.mark.parametrize("prompt", [INTERVIEW, TALK])
def test_every_pair_of_the_table_leads_somewhere(state: State, event: Event, prompt: str) -> None:
    """No state is stuck: from wherever an event leads, wrapping up says the closing line."""
    script = parse_script(prompt)
    assert script is not None
    examiner = Examiner(script)
    examiner._place = Place(state, 1 if state in (State.ASKING, State.CLOSED) else 0)

    reply = examiner.reply(event, "some words")

    assert (state, event) in TABLE
    assert all(reply.sentences)
    assert examiner.reply(Event.WRAP_UP).sentences == script.closing
    assert examiner.place.state is State.CLOSED
