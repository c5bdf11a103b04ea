"""What a person sees of a conversation: captions, part changes, lag and status while it runs, then the assessment."""

from collections.abc import Mapping
from typing import Any, Final, Protocol, assert_never

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from client_sim.events import Close, Connect, Dropped, Measured, Over, RefreshToken, Resumed, Show
from client_sim.outcome import Caption, Outcome, median_ms
from client_sim.talk import Observation, Said
from gateway.core import messages as maya

_NAMES: Final = {"maya": "Maya", "learner": "You"}
_COLOURS: Final = {"maya": "cyan", "learner": "green"}
_TURNS_ON_SCREEN: Final = 64
_CLEARED: Final[Mapping[maya.LagClearedWhy, str]] = {
    "answered": "the answer is taken",
    "expired": "no answer: the test goes on",
    "lag_gone": "the lag is gone",
}
_CRITERIA: Final = {
    "fluency_coherence": "Fluency and coherence",
    "lexical_resource": "Lexical resource",
    "grammatical_range_accuracy": "Grammatical range and accuracy",
    "pronunciation": "Pronunciation",
}


class Screen(Protocol):
    """Shows a conversation."""

    def see(self, observation: Observation, now_ms: float) -> None:
        """Show what happened."""

    def say(self, text: str) -> None:
        """Show a line of the program's own."""

    def finish(self, outcome: Outcome) -> None:
        """Show what came of it."""

    def close(self) -> None:
        """Leave the terminal as it was; lines may still follow."""


class PlainScreen:
    """Lines of text, for pipes and logs of continuous integration."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._began_ms: float | None = None
        self._subtitles = Subtitles()

    def see(self, observation: Observation, now_ms: float) -> None:
        """Print a line for what matters."""
        if self._began_ms is None:
            self._began_ms = now_ms
        line = describe(observation, self._subtitles)
        if line is not None:
            self._print(f"[{(now_ms - self._began_ms) / 1000:6.1f} s] {line.plain}")

    def say(self, text: str) -> None:
        """Print a line."""
        self._print(text)

    def finish(self, outcome: Outcome) -> None:
        """Print the assessment and the figures."""
        for line in _assessment_lines(outcome):
            self._print(line)
        if outcome.frames.sent:
            self._print(_figures(outcome))

    def close(self) -> None:
        """Nothing to put back."""

    def _print(self, text: str) -> None:
        self._console.print(Text(text), soft_wrap=True)


class LiveScreen:
    """Captions that scroll, above a line that always tells part, status and lag, and how to answer an open question.

    Args:
        console: the terminal.
        asks: whether a person answers questions about the lag.
    """

    def __init__(self, console: Console, *, asks: bool = False) -> None:
        self._console = console
        self._asks = asks
        self._prompt: maya.LagPrompt | None = None
        self._subtitles = Subtitles()
        self._status = "connecting"
        self._part = ""
        self._lag_ms: float | None = None
        self._live = Live(self._footer(), console=console, auto_refresh=False, transient=True)
        self._live.start()

    def see(self, observation: Observation, now_ms: float) -> None:  # noqa: ARG002 - the screen scrolls by itself
        """Print what matters and renew the line at the bottom."""
        if isinstance(observation, Measured):
            self._lag_ms = observation.round_trip_ms
        elif isinstance(observation, Show):
            self._follow(observation.message)
        elif isinstance(observation, Dropped):
            self._status = "line lost"
        line = describe(observation, self._subtitles)
        if line is not None:
            self._console.print(line)
        self._live.update(self._footer(), refresh=True)

    def say(self, text: str) -> None:
        """Print a line."""
        self._console.print(Text(text, style="dim"))

    def finish(self, outcome: Outcome) -> None:
        """Print the assessment as a table, and the figures."""
        if outcome.assessment is not None:
            self._console.print(_assessment_table(outcome.assessment, saved=outcome.saved is True))
        if outcome.frames.sent:
            self._console.print(Text(_figures(outcome), style="dim"))

    def close(self) -> None:
        """Take the line at the bottom away."""
        self._live.stop()

    def _follow(self, message: maya.DownMessage) -> None:
        if isinstance(message, maya.Status):
            self._status = message.state
        elif isinstance(message, maya.Part):
            self._part = f"part {message.part} of 3"
        elif isinstance(message, maya.LagPrompt):
            self._prompt = message
        elif self._ends_the_question(message):
            self._prompt = None

    def _ends_the_question(self, message: maya.DownMessage) -> bool:
        """Whether it is taken back, or asked by a relay that is no more."""
        if isinstance(message, maya.LagCleared | maya.Bye):
            return True
        return isinstance(message, maya.Ready) and self._prompt is not None and message.epoch != self._prompt.epoch

    def _footer(self) -> RenderableType:
        lag = "lag ..." if self._lag_ms is None else f"lag {self._lag_ms:.0f} ms"
        question = ""
        if self._prompt is not None:
            question = "too slow? c: continue, s: skip" if self._asks else "too slow?"
        return Text("  ".join(filter(None, (self._part, self._status, lag, question))), style="reverse")


class Subtitles:
    """What has been shown: captions as they come, what a turn has grown by, each word once.

    Attributes:
        opened: whether it has been said that Maya's line is open; after a drop it is not said again.
    """

    def __init__(self) -> None:
        self._shown: dict[tuple[int, int, str], str] = {}
        self.opened = False

    def line(self, caption: Caption) -> Text | None:
        """What is new in a caption, None when nothing is."""
        whose = (caption.epoch, caption.turn, caption.who)
        before = self._shown.pop(whose, "")
        text = _clean(caption.text)
        if before.startswith(text):
            # A final text that is shorter says what was heard before barge-in; the rest has been read all the same.
            self._shown[whose] = before
            return None
        self._shown[whose] = text
        if len(self._shown) > _TURNS_ON_SCREEN:
            del self._shown[next(iter(self._shown))]
        name = Text(f"{_NAMES.get(caption.who, caption.who)}: ", style=f"bold {_COLOURS.get(caption.who, 'white')}")
        return name + Text(text.removeprefix(before).strip(), style="default")


def describe(observation: Observation, subtitles: Subtitles) -> Text | None:
    """One line about what happened, None for what a person need not read."""
    match observation:
        case Said(caption):
            return subtitles.line(caption)
        case Show(message):
            again = isinstance(message, maya.Ready) and subtitles.opened
            subtitles.opened = subtitles.opened or isinstance(message, maya.Ready)
            return None if again else _message(message)
        case Dropped(code):
            return Text(f"-- the line is lost ({code}); coming back", style="yellow")
        case Resumed(away_ms, frames):
            return Text(f"-- back after {away_ms / 1000:.1f} s, {frames} frames sent again", style="yellow")
        case RefreshToken():
            return Text("-- the token was refused", style="yellow")
        case Measured() | Connect() | Close() | Over():
            return None
        case _:
            assert_never(observation)


def _message(message: maya.DownMessage) -> Text | None:
    if isinstance(message, maya.Part):
        return _part(message)
    words, style = _words(message)
    return Text(f"-- {words}", style=style) if words else None


def _words(message: maya.DownMessage) -> tuple[str, str]:
    """What a message says to a person and the style it is shown in; nothing for what need not be read."""
    words, style = "", "dim"
    match message:
        case maya.Ready(support_code=code):
            words = f"Maya's line is open (support code {_clean(code)})"
        case maya.Status(state="reconnecting" | "assessing" as state):
            words = state
        case maya.Interrupted():
            words = "interrupted"
        case maya.LagNotice(text=text) | maya.LagPrompt(text=text):
            words, style = _clean(text), "yellow"
        case maya.LagCleared(why=why):
            words = _CLEARED[why]
        case maya.GoAway(time_left_s=left_s):
            words, style = f"the time limit is near: {left_s:.0f} s left", "yellow"
        case maya.Error(code=error, message=text):
            words, style = f"error {error}: {_clean(text)}", "red"
        case maya.Bye(reason=reason):
            words = f"bye: {reason}"
        case _:
            pass
    return words, style


def _part(message: maya.Part) -> Text:
    text = Text(f"== Part {message.part}: {_clean(message.title)}", style="bold magenta")
    if message.cue_card:
        card = "\n".join(f"   | {_clean(line)}" for line in message.cue_card.splitlines())
        text.append(f"\n{card}")
    if message.prepare_s is not None and message.speak_s is not None:
        text.append(f"\n   | {message.prepare_s:g} s to prepare, up to {message.speak_s:g} s to speak")
    return text


def _assessment_table(assessment: Mapping[str, Any], *, saved: bool) -> RenderableType:
    table = Table(box=None, padding=(0, 2, 0, 0))
    for heading in ("Criterion", "Band", "Basis", "Comment"):
        table.add_column(heading, justify="right" if heading == "Band" else "left", header_style="bold")
    for name, note in _criteria(assessment):
        table.add_row(name, str(note.get("band", "-")), _field(note, "basis"), _field(note, "comment"))
    sections: list[RenderableType] = [table, Text(_field(assessment, "summary"))]
    for heading, key in (("Strengths", "strengths"), ("Next steps", "next_steps")):
        sections += [Text(heading, style="bold"), *(Text(f"- {point}") for point in _points(assessment, key))]
    title = f"Overall band {assessment.get('overall', '-')} - {_field(assessment, 'status')}"
    return Panel(
        Group(*sections), title=title, subtitle=_where(saved=saved), border_style="green" if saved else "yellow"
    )


def _assessment_lines(outcome: Outcome) -> list[str]:
    assessment = outcome.assessment
    if assessment is None:
        return []
    lines = [f"Assessment: overall band {assessment.get('overall', '-')} ({_field(assessment, 'status')})"]
    for name, note in _criteria(assessment):
        lines.append(f"  {name}: {note.get('band', '-')} ({_field(note, 'basis')}): {_field(note, 'comment')}")
    lines.append(f"  {_field(assessment, 'summary')}")
    for heading, key in (("Strength", "strengths"), ("Next step", "next_steps")):
        lines += [f"  {heading}: {point}" for point in _points(assessment, key)]
    return [*lines, _where(saved=outcome.saved is True)]


def _where(*, saved: bool) -> str:
    return "saved in the learner's profile" if saved else "not saved yet: the gateway keeps trying"


def _figures(outcome: Outcome) -> str:
    def shown(name: str, value_ms: float | None) -> str | None:
        return None if value_ms is None else f"{name} {value_ms:.0f} ms"

    figures = (
        shown("set up", outcome.setup_ms),
        shown("lag (median round trip)", median_ms(outcome.round_trips_ms)),
        shown("voice to voice (median)", median_ms(outcome.voice_to_voice_ms)),
        f"{outcome.gaps.count} gaps in Maya's voice",
        f"{outcome.frames.sent} frames sent, {outcome.frames.resent} again",
        f"{outcome.reconnects} reconnects",
    )
    return ", ".join(figure for figure in figures if figure)


def _criteria(assessment: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    criteria = assessment.get("criteria")
    notes = criteria.items() if isinstance(criteria, Mapping) else ()
    return [(_CRITERIA.get(str(name), _clean(str(name))), note) for name, note in notes if isinstance(note, Mapping)]


def _points(assessment: Mapping[str, Any], key: str) -> list[str]:
    points = assessment.get(key)
    return [_clean(str(point)) for point in points] if isinstance(points, list | tuple) else []


def _field(document: Mapping[str, Any], key: str) -> str:
    return _clean(str(document.get(key, "")))


def _clean(text: str) -> str:
    """Text from the network without characters that would steer the terminal."""
    return "".join(character if character.isprintable() else " " for character in text)
