"""What a person sees."""

import io

import pytest
from rich.console import Console

from client_sim.events import Connect, Dropped, Measured, Over, RefreshToken, Resumed, Show
from client_sim.outcome import Caption, Captions, Frames, Outcome, median_ms
from client_sim.screen import LiveScreen, PlainScreen, Subtitles, describe
from client_sim.talk import Said
from gateway.core import examples
from gateway.core.messages import (
    DOWN_MESSAGES,
    AssessmentMessage,
    Bye,
    Error,
    GoAway,
    Interrupted,
    LagCleared,
    LagNotice,
    LagPrompt,
    Part,
    Ready,
    Status,
    Transcript,
)
from tests.client_sim.stub import ASSESSMENT

HOSTILE = "Hi\x1b[2J\x07 [red]there[/red]\r\n"


def outcome(**changes):
    """What came of a conversation."""
    fields = {
        "session_id": "x",
        "assessment": ASSESSMENT,
        "saved": True,
        "bye": "finished",
        "setup_ms": 812.4,
        "round_trips_ms": [40.0, 60.0, 50.0],
        "frames": Frames(300, 300, 2, 0),
    }
    return Outcome(**{**fields, **changes})


def console(*, terminal):
    """A console that writes into memory."""
    return Console(file=io.StringIO(), force_terminal=terminal, width=100, highlight=False, color_system=None)


def shown_by(screen_of, observations, result=None, *, terminal=False):
    """All that a screen writes."""
    where = console(terminal=terminal)
    screen = screen_of(where)
    for index, observation in enumerate(observations):
        screen.see(observation, 1_000.0 + index * 1_500)
    screen.say("-- ending the test")
    screen.close()
    if result is not None:
        screen.finish(result)
    return where.file.getvalue()


STORY = [
    Connect(1),
    Show(examples.of(Ready)),
    Show(Part(epoch=1, n=1, part=2, title="Long turn", cue_card="A skill\n- what it is", prepare_s=60, speak_s=120)),
    Said(Caption(1, "maya", "Tell me about a skill.", final=False)),
    Said(Caption(1, "maya", "Tell me about a skill.", final=True)),
    Said(Caption(2, "learner", "I can sail.", final=True)),
    Measured(123.4),
    Dropped(1006),
    RefreshToken(),
    Resumed(2_345.0, 17),
    Show(examples.of(Ready)),
    Show(Status(epoch=1, n=2, state="speaking")),
    Show(Status(epoch=1, n=3, state="assessing")),
    Show(Bye(epoch=1, reason="finished")),
    Over("finished"),
]


@pytest.mark.parametrize(("screen_of", "terminal"), [(PlainScreen, False), (LiveScreen, True)])
def test_who_said_what_and_what_happened(screen_of, terminal):
    """Captions once, part changes with the card, the lost line, the assessment and where it is."""
    text = shown_by(screen_of, STORY, outcome(), terminal=terminal)
    assert text.count("Maya: Tell me about a skill.") == 1
    assert text.count("Maya's line is open") == 1
    for words in (
        "You: I can sail.",
        "== Part 2: Long turn",
        "| A skill",
        "| - what it is",
        "60 s to prepare, up to 120 s to speak",
        "support code K7QX-2M9D",
        "the line is lost (1006)",
        "back after 2.3 s, 17 frames sent again",
        "bye: finished",
        "ending the test",
        "6.5",
        "Grammatical range and accuracy",
        "Varied.",
        "A good test.",
        "Long answers",
        "Past tenses",
        "saved in the learner's profile",
        "set up 812 ms, lag (median round trip) 50 ms, 0 gaps in Maya's voice, 300 frames sent, 2 again, 0 reconnects",
    ):
        assert words in text.replace("\n", " ").replace("  ", " ") or words in text, words


def test_plain_lines_have_times():
    """Seconds since the first event."""
    text = shown_by(PlainScreen, STORY)
    assert "[   1.5 s] -- Maya's line is open" in text
    assert "\x1b" not in text


def test_the_live_line_tells_part_status_and_lag():
    """The line at the bottom is renewed with what is known."""
    text = shown_by(LiveScreen, STORY, terminal=True)
    assert "connecting  lag ..." in text
    assert "part 2 of 3  speaking  lag 123 ms" in text
    assert "part 2 of 3  line lost  lag 123 ms" in text


PROMPT = LagPrompt(epoch=1, n=3, prompt_id="p", lag_ms=3_000, cause="network", text="Too slow?", expires_s=20)


def question(*after, asks=True):
    """The footer of a live screen after a question and what follows."""
    screen = LiveScreen(console(terminal=True), asks=asks)
    for message in (PROMPT, *after):
        screen.see(Show(message), 1_000.0)
    screen.close()
    return screen._footer().plain


def test_how_to_answer_stands_at_the_bottom_while_a_question_is_open():
    """Where a person can answer; it goes with the question, or with the relay that asked it."""
    assert question().endswith("too slow? c: continue, s: skip")
    assert question(asks=False).endswith("too slow?")
    again = examples.of(Ready).model_copy(update={"epoch": 1})
    assert "too slow" in question(again)
    assert "too slow" not in question(again.model_copy(update={"epoch": 2}))
    for why in ("answered", "expired", "lag_gone"):
        assert "too slow" not in question(LagCleared(epoch=1, n=4, prompt_id="p", why=why))


@pytest.mark.parametrize(("screen_of", "terminal"), [(PlainScreen, False), (LiveScreen, True)])
def test_lag_is_told(screen_of, terminal):
    """Notice, question, and how it ended."""
    story = [
        Show(LagNotice(epoch=1, n=2, expected_ms=1_300, text="About 1.3 s.")),
        Show(PROMPT),
        Show(LagCleared(epoch=1, n=4, prompt_id="p", why="expired")),
        Show(LagCleared(epoch=1, n=5, prompt_id="p", why="answered")),
        Show(LagCleared(epoch=1, n=6, prompt_id="p", why="lag_gone")),
    ]
    text = shown_by(screen_of, story, terminal=terminal)
    for words in ("About 1.3 s.", "Too slow?", "the test goes on", "the answer is taken", "the lag is gone"):
        assert words in text


@pytest.mark.parametrize(("screen_of", "terminal"), [(PlainScreen, False), (LiveScreen, True)])
def test_text_from_the_network_does_not_steer_the_terminal(screen_of, terminal):
    """Control characters become spaces, and markup stays text."""
    notes = {**ASSESSMENT, "summary": HOSTILE, "criteria": {HOSTILE: {"band": 5, "comment": HOSTILE}}}
    story = [
        Said(Caption(1, "maya", HOSTILE, final=True)),
        Show(Part(epoch=1, n=1, part=1, title=HOSTILE, cue_card=HOSTILE)),
        Show(LagNotice(epoch=1, n=2, expected_ms=900, text=HOSTILE)),
        Show(Error(epoch=1, code="internal", message=HOSTILE, retryable=True, fatal=True)),
    ]
    text = shown_by(screen_of, story, outcome(assessment=notes), terminal=terminal)
    assert "\x1b[2J\x07" not in text
    assert "\x07" not in text
    assert text.count("[red]there[/red]") >= 4


@pytest.mark.parametrize(
    ("message", "says"),
    [
        (Interrupted(epoch=1, n=1, turn=2), "interrupted"),
        (examples.of(LagNotice), "North America"),
        (examples.of(LagPrompt), "Continue, or skip?"),
        (GoAway(epoch=1, n=1, time_left_s=30), "30 s left"),
        (examples.of(Error), "error bad_audio: pcm"),
        (Status(epoch=1, n=1, state="reconnecting"), "reconnecting"),
    ],
)
def test_what_a_person_should_know(message, says):
    """One line each."""
    line = describe(Show(message), Subtitles())
    assert line is not None
    assert says in line.plain


def test_every_message_can_be_shown():
    """None is too odd for the screen."""
    for cls in DOWN_MESSAGES:
        describe(Show(examples.of(cls)), Subtitles())
    assert describe(Show(examples.of(AssessmentMessage)), Subtitles()) is None


@pytest.mark.parametrize(
    "assessment", [{}, {"criteria": None, "strengths": None}, {"criteria": {"x": 3}, "overall": None}]
)
@pytest.mark.parametrize(("screen_of", "terminal"), [(PlainScreen, False), (LiveScreen, True)])
def test_any_assessment_can_be_shown(screen_of, terminal, assessment):
    """A gateway of another version may leave out what this one writes."""
    text = shown_by(screen_of, [], outcome(assessment=assessment, saved=False), terminal=terminal)
    assert "not saved yet" in text.replace("\n", " ")


@pytest.mark.parametrize(("screen_of", "terminal"), [(PlainScreen, False), (LiveScreen, True)])
def test_without_an_assessment_there_are_figures(screen_of, terminal):
    """What was measured is told all the same."""
    text = shown_by(screen_of, [], outcome(assessment=None, round_trips_ms=[]), terminal=terminal)
    assert "300 frames sent" in text
    assert "Overall" not in text


@pytest.mark.parametrize(("screen_of", "terminal"), [(PlainScreen, False), (LiveScreen, True)])
def test_of_a_conversation_that_never_began_there_are_none(screen_of, terminal):
    """Why not stands by itself."""
    text = shown_by(screen_of, [], outcome(assessment=None, frames=Frames()), terminal=terminal)
    assert "frames sent" not in text


def test_captions_grow_on_the_screen():
    """Each word is read once, as soon as it comes; a correction is read whole; a cut takes nothing back."""
    subtitles = Subtitles()

    def read(turn, who, text, *, final=False, epoch=1):
        line = subtitles.line(Caption(turn, who, text, final, epoch))
        return line.plain if line else None

    assert read(1, "maya", "Good day.") == "Maya: Good day."
    assert read(1, "maya", "Good day. My name is Maya.") == "Maya: My name is Maya."
    assert read(1, "maya", "Good day. My name is Maya.", final=True) is None
    assert read(2, "learner", "Hello.", final=True) == "You: Hello."
    assert read(2, "learner", "Hallo.", final=True) == "You: Hallo."
    assert read(3, "maya", "Tell me about your home town.") == "Maya: Tell me about your home town."
    assert read(3, "maya", "Tell me about", final=True) is None
    assert read(3, "maya", "Tell me", epoch=2) == "Maya: Tell me", "another relay's turn"
    for turn in range(1_000):
        read(turn, "maya", "x")
    assert len(subtitles._shown) <= 64


def test_captions_replace_what_was_preliminary():
    """A line takes the place of those of its turn and speaker that were not final; final ones add up."""
    captions = Captions()

    def say(turn, who, text, *, final, epoch=1):
        captions.add(Transcript(epoch=epoch, n=0, turn=turn, who=who, text=text, final=final))

    say(1, "maya", "Go", final=False)
    say(1, "maya", "Good", final=False)
    assert [line.text for line in captions.lines] == ["Good"]
    say(2, "learner", "Hel", final=False)
    say(1, "maya", "Good morning.", final=True)
    say(1, "maya", "How are you?", final=True)
    say(2, "learner", "Hello.", final=True)
    assert [line.text for line in captions.lines] == ["Good morning.", "How are you?", "Hello."]
    say(3, "maya", "Was it", final=False)
    say(3, "maya", "As I said", final=False, epoch=2)
    assert [line.text for line in captions.lines[-2:]] == ["Was it", "As I said"]


def test_captions_are_bounded():
    """A gateway that never stops talking fills no memory."""
    captions = Captions()
    for number in range(3_000):
        captions.add(Transcript(epoch=1, n=number, turn=number, who="maya", text="x", final=True))
    assert len(captions.lines) == 2_000


def test_the_middle_of_samples():
    """None of none."""
    assert median_ms([]) is None
    assert median_ms([3.0, 1.0, 2.0]) == 2.0
