"""The examiner: a table of what to do in each state of a part, and the few things that can be done.

::

    WAITING --begin--> ASKING --last answer--> CLOSED          a part of questions
    WAITING --begin--> PREPARING --time over--> TALKING --talk over--> ASKING --> CLOSED      a part with a talk
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum, auto
from typing import Final
from zlib import crc32

from infra.local.nova.interfaces import HistoryMessage, Modality, Reply
from infra.local.nova.minds import phrases
from infra.local.nova.minds.evidence import count_words
from infra.local.nova.minds.recall import Recalled, recall
from infra.local.nova.minds.script import Direction, PartScript, read_direction

_SHORT_TALK_WORDS: Final = 8
"""Fewer words than this are no talk yet."""
_LONGEST_REQUEST_WORDS: Final = 12
_REPEAT_REQUEST: Final = re.compile(
    r"\b(?:(?:repeat|say)\b.{0,20}\b(?:question|that|again)|pardon|what was the question"
    r"|did ?n[o']t (?:understand|hear|catch) (?:you|that|the question))\b",
    re.IGNORECASE,
)


class State(Enum):
    """Where the part is."""

    WAITING = auto()
    PREPARING = auto()
    TALKING = auto()
    ASKING = auto()
    CLOSED = auto()


class Event(Enum):
    """What the examiner reacts to."""

    BEGIN = auto()
    PREPARED = auto()
    TIME_UP = auto()
    NUDGE = auto()
    WRAP_UP = auto()
    CONTINUE = auto()
    ANSWER = auto()
    """The learner said something."""
    UNHEARD = auto()
    """The learner made sounds that were not understood."""
    REPEAT = auto()
    """The learner asks to hear the question again."""
    REMARK = auto()
    """Something was typed, or a stage direction is unknown."""


_DIRECTED: Final[Mapping[Direction, Event]] = {
    Direction.BEGIN: Event.BEGIN,
    Direction.PREPARED: Event.PREPARED,
    Direction.TIME_UP: Event.TIME_UP,
    Direction.NUDGE: Event.NUDGE,
    Direction.WRAP_UP: Event.WRAP_UP,
    Direction.CONTINUE: Event.CONTINUE,
    Direction.OTHER: Event.REMARK,
}


def read_event(text: str, kind: Modality) -> Event:
    """Tell what an utterance or an interactive text is to the examiner."""
    if kind == "text":
        direction = read_direction(text)
        return Event.REMARK if direction is None else _DIRECTED.get(direction, Event.REMARK)
    if not text.strip():
        return Event.UNHEARD
    if count_words(text) <= _LONGEST_REQUEST_WORDS and _REPEAT_REQUEST.search(text):
        return Event.REPEAT
    return Event.ANSWER


@dataclass(frozen=True, slots=True)
class Place:
    """How far the examiner has come.

    Attributes:
        state: where the part is.
        asked: questions asked so far; the last of them waits for its answer.
        pressed: whether the learner has been asked once already to say it again, or to say more.
    """

    state: State
    asked: int = 0
    pressed: bool = False


class Examiner:
    """Holds one part of a test as its script says.

    Args:
        script: the part.
        history: the conversation so far; the examiner goes on where it ends.
    """

    def __init__(self, script: PartScript, history: Sequence[HistoryMessage] = ()) -> None:
        self._script = script
        recalled = recall(script, history)
        seed = crc32(" ".join(script.briefing).encode()) + len(history)
        self._variety = phrases.Variety(seed, recalled.last_said)
        self._before = self._place = _place_in(script, recalled)
        self._briefed = recalled.briefed
        self._answered = recalled.answered
        self._key_sentence = 0

    @property
    def place(self) -> Place:
        """How far the part has come."""
        return self._place

    def reply(self, event: Event, text: str = "") -> Reply:
        """React to an event; `text` is what the learner said."""
        self._before = self._place
        spoken = TABLE[self._place.state, event](self, text)
        self._answered = self._answered and not spoken
        self._key_sentence = len(spoken)
        return Reply(sentences=spoken)

    def interrupted(self, sentences_begun: int) -> None:
        """Take back the last reply if its last sentence, the one that asks or closes, was never begun."""
        if sentences_begun < self._key_sentence:
            self._place = self._before

    def silent(self, _text: str) -> tuple[str, ...]:
        """Say nothing, change nothing."""
        return ()

    def open(self, _text: str) -> tuple[str, ...]:
        """Say the opening; then either the first question or, before a talk, nothing more."""
        return self._brief_from(0)

    def resume_opening(self, _text: str) -> tuple[str, ...]:
        """Say what is left of the opening."""
        return self._brief_from(self._briefed)

    def early_talk(self, _text: str) -> tuple[str, ...]:
        """Take speech during the preparation as the beginning of the talk."""
        self._place = Place(State.TALKING)
        return ()

    def invite(self, _text: str) -> tuple[str, ...]:
        """Ask the learner to start the talk."""
        self._place = Place(State.TALKING)
        return (self._pick(phrases.INVITE),)

    def go_on(self, _text: str) -> tuple[str, ...]:
        """Encourage the learner to keep talking."""
        return (self._pick(phrases.GO_ON),)

    def take_your_time(self, _text: str) -> tuple[str, ...]:
        """Assure the learner that there is time to prepare."""
        return (self._pick(phrases.TAKE_YOUR_TIME),)

    def card_again(self, _text: str) -> tuple[str, ...]:
        """Say again what the talk is about."""
        return (self._pick(phrases.REPEAT), *self._script.card)

    def end_talk(self, _text: str) -> tuple[str, ...]:
        """Stop the talk and ask the next question."""
        return (self._pick(phrases.STOP), *self._next())

    def talk_heard(self, text: str) -> tuple[str, ...]:
        """Go on to the questions after a talk; once, ask for more after a very short one."""
        if count_words(text) < _SHORT_TALK_WORDS and not self._place.pressed:
            self._place = replace(self._place, pressed=True)
            return (self._pick(phrases.GO_ON),)
        return self.answered(text)

    def continue_talk(self, _text: str) -> tuple[str, ...]:
        """Go on after a talk that the history shows to be over, else let the learner talk."""
        return self.answered("") if self._answered else (self._pick(phrases.GO_ON),)

    def answered(self, _text: str) -> tuple[str, ...]:
        """Show that the answer was heard and ask the next question, or close."""
        if self._place.asked >= len(self._script.questions):
            return self._next()
        return (self._pick(phrases.ACKNOWLEDGE), *self._next())

    def continue_asking(self, text: str) -> tuple[str, ...]:
        """Go on where the history ends: the rest of the opening, the next question, or the one not answered yet."""
        if self._place.asked == 0:
            return self.resume_opening(text)
        return self.answered(text) if self._answered else self.ask_again(text)

    def ask_again(self, _text: str) -> tuple[str, ...]:
        """Ask the question that waits for its answer once more."""
        return (self._pick(phrases.REPEAT), *self._current())

    def not_understood(self, _text: str) -> tuple[str, ...]:
        """Ask once to say it again; then go on."""
        if self._place.pressed:
            return self.answered("")
        self._place = replace(self._place, pressed=True)
        return (self._pick(phrases.ASK_AGAIN),)

    def time_up_asking(self, _text: str) -> tuple[str, ...]:
        """Ask the next question, unless the talk has only just been followed by its first one."""
        if self._script.is_talk and self._place.asked == 1:
            return ()
        return self.answered("")

    def close(self, _text: str) -> tuple[str, ...]:
        """Say the closing line, and nothing after it."""
        self._place = replace(self._place, state=State.CLOSED)
        return self._script.closing

    def remark(self, _text: str) -> tuple[str, ...]:
        """Answer something that does not belong to the test, then come back to the question."""
        return (self._pick(phrases.REMARK), *self._current())

    def _brief_from(self, first: int) -> tuple[str, ...]:
        rest = self._script.briefing[first:]
        self._briefed = len(self._script.briefing)
        if self._script.is_talk:
            self._place = Place(State.PREPARING)
            return rest or (self._pick(phrases.TAKE_YOUR_TIME),)
        return (*rest, *self._next())

    def _current(self) -> tuple[str, ...]:
        return self._script.questions[self._place.asked - 1] if self._place.asked else self._next()

    def _next(self) -> tuple[str, ...]:
        asked = self._place.asked
        if asked >= len(self._script.questions):
            return self.close("")
        self._place = Place(State.ASKING, asked + 1)
        return self._script.questions[asked]

    def _pick(self, bank: phrases.Bank) -> str:
        return self._variety.pick(bank)


def _place_in(script: PartScript, recalled: Recalled) -> Place:
    if recalled.closed:
        return Place(State.CLOSED, recalled.asked)
    if not recalled.begun:
        return Place(State.WAITING)
    if recalled.asked or not script.is_talk:
        return Place(State.ASKING, recalled.asked)
    return Place(State.TALKING if recalled.invited or recalled.answers else State.PREPARING)


type _Action = Callable[[Examiner, str], tuple[str, ...]]

TABLE: Final[Mapping[tuple[State, Event], _Action]] = {
    (State.WAITING, Event.BEGIN): Examiner.open,
    (State.WAITING, Event.PREPARED): Examiner.invite,
    (State.WAITING, Event.TIME_UP): Examiner.end_talk,
    (State.WAITING, Event.NUDGE): Examiner.open,
    (State.WAITING, Event.WRAP_UP): Examiner.close,
    (State.WAITING, Event.CONTINUE): Examiner.resume_opening,
    (State.WAITING, Event.ANSWER): Examiner.open,
    (State.WAITING, Event.UNHEARD): Examiner.silent,
    (State.WAITING, Event.REPEAT): Examiner.open,
    (State.WAITING, Event.REMARK): Examiner.open,
    (State.PREPARING, Event.BEGIN): Examiner.open,
    (State.PREPARING, Event.PREPARED): Examiner.invite,
    (State.PREPARING, Event.TIME_UP): Examiner.end_talk,
    (State.PREPARING, Event.NUDGE): Examiner.take_your_time,
    (State.PREPARING, Event.WRAP_UP): Examiner.close,
    (State.PREPARING, Event.CONTINUE): Examiner.resume_opening,
    (State.PREPARING, Event.ANSWER): Examiner.early_talk,
    (State.PREPARING, Event.UNHEARD): Examiner.silent,
    (State.PREPARING, Event.REPEAT): Examiner.card_again,
    (State.PREPARING, Event.REMARK): Examiner.take_your_time,
    (State.TALKING, Event.BEGIN): Examiner.invite,
    (State.TALKING, Event.PREPARED): Examiner.invite,
    (State.TALKING, Event.TIME_UP): Examiner.end_talk,
    (State.TALKING, Event.NUDGE): Examiner.go_on,
    (State.TALKING, Event.WRAP_UP): Examiner.close,
    (State.TALKING, Event.CONTINUE): Examiner.continue_talk,
    (State.TALKING, Event.ANSWER): Examiner.talk_heard,
    (State.TALKING, Event.UNHEARD): Examiner.silent,
    (State.TALKING, Event.REPEAT): Examiner.card_again,
    (State.TALKING, Event.REMARK): Examiner.go_on,
    (State.ASKING, Event.BEGIN): Examiner.ask_again,
    (State.ASKING, Event.PREPARED): Examiner.silent,
    (State.ASKING, Event.TIME_UP): Examiner.time_up_asking,
    (State.ASKING, Event.NUDGE): Examiner.ask_again,
    (State.ASKING, Event.WRAP_UP): Examiner.close,
    (State.ASKING, Event.CONTINUE): Examiner.continue_asking,
    (State.ASKING, Event.ANSWER): Examiner.answered,
    (State.ASKING, Event.UNHEARD): Examiner.not_understood,
    (State.ASKING, Event.REPEAT): Examiner.ask_again,
    (State.ASKING, Event.REMARK): Examiner.remark,
    # A closing line that is asked for again was not heard: saying it twice ends the part, saying nothing would not.
    (State.CLOSED, Event.BEGIN): Examiner.close,
    (State.CLOSED, Event.PREPARED): Examiner.silent,
    (State.CLOSED, Event.TIME_UP): Examiner.close,
    (State.CLOSED, Event.NUDGE): Examiner.close,
    (State.CLOSED, Event.WRAP_UP): Examiner.close,
    (State.CLOSED, Event.CONTINUE): Examiner.close,
    (State.CLOSED, Event.ANSWER): Examiner.close,
    (State.CLOSED, Event.UNHEARD): Examiner.silent,
    (State.CLOSED, Event.REPEAT): Examiner.close,
    (State.CLOSED, Event.REMARK): Examiner.close,
}
"""Every state with every event."""


class Companion:
    """Keeps up a conversation where the prompt holds no script.

    Args:
        history: the conversation so far.
    """

    def __init__(self, history: Sequence[HistoryMessage] = ()) -> None:
        self._variety = phrases.Variety(len(history))

    def reply(self, event: Event, text: str = "") -> Reply:
        """Answer anything: what was not understood with a request to say it again, all else with a question."""
        del text
        bank = phrases.ASK_AGAIN if event is Event.UNHEARD else phrases.CHAT
        lead = () if event is Event.UNHEARD else (self._variety.pick(phrases.ACKNOWLEDGE),)
        return Reply(sentences=(*lead, self._variety.pick(bank)))

    def interrupted(self, sentences_begun: int) -> None:
        """Nothing to take back: every reply stands for itself."""
