"""Watches that a stream which is open also lives: what Nova Sonic owes by now, as a table, and how long that may take.

A dead stream and one whose learner is silent look alike: the service hears sound without end and may say nothing for
minutes (SERVICE.md W4). So it is judged only by what it owes: an answer to a stage direction or to the learner's words,
the rest of a turn that it began, a word about speech that the gateway's own ear has heard the end of.

::

    NOTHING --learner starts--> END --ends--> WORDS --understood--> ANSWER --Maya speaks--> REST --done--> NOTHING
       |                                                              ^
       +--------------------- stage direction ------------------------+
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from typing import Final

from gateway.core.conversation.ear import Ear
from gateway.core.conversation.settings import ConversationSettings
from gateway.core.conversation.uplink import Frame


class Owed(Enum):
    """What the service has to say next."""

    NOTHING = "nothing"  # it is the learner's turn
    END = "end"  # of the learner's utterance
    WORDS = "words"  # of the learner's utterance; or at once an answer
    ANSWER = "answer"
    LATER = "later"  # an answer to a stage direction that came while the learner speaks
    REST = "rest"  # of Maya's turn


class Sign(Enum):
    """What happened on the stream."""

    ASKED = "asked"  # a stage direction was given
    STARTED = "started"  # the learner has begun to speak
    ENDED = "ended"  # the learner has finished, and is to be answered
    WORDS = "words"  # the learner's words, which are to be answered
    LISTENED = "listened"  # the learner was heard, and nobody has to answer
    SPOKE = "spoke"  # text or sound of Maya's
    DONE = "done"  # Maya's turn is over


class Verdict(Enum):
    """What to think of a stream that owes something for too long."""

    ASK = "ask"  # it may have heard a noise: tell Maya to go on, which she must answer
    SUSPECT = "suspect"  # it should have told of speech; replace it unheard, it may be alive
    DEAD = "dead"


_LEARNER_SPEAKS: Final = {Sign.STARTED: Owed.END, Sign.ENDED: Owed.WORDS, Sign.WORDS: Owed.ANSWER}

WATCH_TABLE: Final[dict[Owed, dict[Sign, Owed]]] = {
    Owed.NOTHING: {
        **_LEARNER_SPEAKS,
        Sign.ASKED: Owed.ANSWER,
        Sign.LISTENED: Owed.NOTHING,
        Sign.SPOKE: Owed.REST,
        Sign.DONE: Owed.NOTHING,
    },
    Owed.END: {
        **_LEARNER_SPEAKS,
        Sign.ASKED: Owed.LATER,
        Sign.LISTENED: Owed.NOTHING,
        Sign.SPOKE: Owed.REST,
        Sign.DONE: Owed.END,
    },
    Owed.WORDS: {
        **_LEARNER_SPEAKS,
        Sign.ASKED: Owed.ANSWER,
        Sign.LISTENED: Owed.NOTHING,
        Sign.SPOKE: Owed.REST,
        Sign.DONE: Owed.WORDS,
    },
    Owed.ANSWER: {
        **_LEARNER_SPEAKS,
        Sign.ENDED: Owed.ANSWER,
        Sign.ASKED: Owed.ANSWER,
        Sign.LISTENED: Owed.ANSWER,
        Sign.SPOKE: Owed.REST,
        Sign.DONE: Owed.ANSWER,
    },
    Owed.LATER: {
        Sign.STARTED: Owed.LATER,
        Sign.ENDED: Owed.ANSWER,
        Sign.WORDS: Owed.ANSWER,
        Sign.ASKED: Owed.LATER,
        Sign.LISTENED: Owed.ANSWER,
        Sign.SPOKE: Owed.REST,
        Sign.DONE: Owed.LATER,
    },
    Owed.REST: {
        **_LEARNER_SPEAKS,
        Sign.ASKED: Owed.ANSWER,
        Sign.LISTENED: Owed.REST,
        Sign.SPOKE: Owed.REST,
        Sign.DONE: Owed.NOTHING,
    },
}
"""Every state has every sign."""

_LEARNERS_TURN: Final = (Owed.NOTHING, Owed.END, Owed.LATER)
_ABOUT_THE_LEARNER: Final = (Sign.STARTED, Sign.ENDED, Sign.WORDS, Sign.LISTENED)

_LOOK_AGAIN_MS: Final = 1_000.0
_FROZEN_MS: Final = 2_000.0
"""Nobody looked for longer than this: the relay stood still, and the stream was not at fault."""

_LEAST_SPEECH_MS: Final = 600.0
"""Less than this may be a cough, as long as the service has not called it speech."""


@dataclass(slots=True)
class Watch:
    """Watches the current stream of a conversation.

    Attributes:
        settings: the limits.
        learner_has_floor: whether what the microphone hears now can be the learner only.
        owed: see the table.
        directed: a stage direction was given, and neither Maya nor the learner has spoken since.
    """

    settings: ConversationSettings
    learner_has_floor: Callable[[float], bool] = lambda _now_ms: True
    owed: Owed = Owed.NOTHING
    directed: bool = False
    _since_ms: float = 0.0
    _looked_ms: float = 0.0
    _cold: bool = True
    _limit: tuple[float, Verdict] | None = None
    _ear: Ear = field(default_factory=Ear)
    _unheard_since_ms: float | None = None
    _suspect_again_ms: float = 0.0
    _suspicions: int = 0

    @property
    def hears_speech(self) -> bool:
        """Whether the gateway's own ear has heard something loud that the stream has not told the end of."""
        return self._ear.loud_ms > 0

    def is_with_learner(self, now_ms: float, *, may_be_told_yet: bool) -> bool:
        """Whether the learner is being heard, or has been and Maya is about to answer without being asked to.

        Args:
            now_ms: the time.
            may_be_told_yet: what the gateway's own ear has heard may be something that the service has still to tell of.
        """
        match self.owed:
            case Owed.END:
                pause_ms = self.settings.pause_ms
                return self._ear.still_ms < pause_ms or now_ms < self._since_ms + pause_ms
            case Owed.WORDS | Owed.ANSWER:
                return now_ms < self._since_ms + self.settings.unasked_within_ms
            case _:
                return may_be_told_yet and self._hears_the_learner

    @property
    def _hears_the_learner(self) -> bool:
        """Whether what the gateway's own ear has heard is speech, or may become speech."""
        ear = self._ear
        return ear.loud_ms >= _LEAST_SPEECH_MS or (ear.loud_ms > 0 and ear.still_ms < _LEAST_SPEECH_MS)

    def begin(self, now_ms: float) -> None:
        """Another stream is current: it owes nothing yet."""
        self.owed, self.directed = Owed.NOTHING, False
        self._since_ms = self._looked_ms = now_ms
        self._cold, self._limit = True, None
        self._forget()

    def note(self, sign: Sign, now_ms: float) -> None:
        """Something happened on the stream."""
        owed = WATCH_TABLE[self.owed][sign]
        if sign in (Sign.ASKED, Sign.STARTED, Sign.SPOKE):
            self.directed = sign is Sign.ASKED
        if sign is Sign.SPOKE:
            self._cold, self._since_ms = False, now_ms
        if owed is not self.owed:
            self.owed, self._since_ms, self._limit = owed, now_ms, self._limit_of(owed)
        if sign in _ABOUT_THE_LEARNER:
            self._suspicions, self._suspect_again_ms = 0, 0.0
        if sign is not Sign.STARTED:
            self._forget()

    def hear(self, frame: Frame, now_ms: float) -> None:
        """The stream is sent what the microphone hears."""
        if self.owed in _LEARNERS_TURN and self.learner_has_floor(now_ms):
            self._ear.hear(frame.pcm, frame.sound_ms)

    def look(self, now_ms: float) -> Verdict | None:
        """Return what is to be thought of the stream, None as long as all is well.

        Time in which nobody looked does not count: a relay that was frozen finds what was said to it only afterwards.
        """
        gap_ms, self._looked_ms = now_ms - self._looked_ms, now_ms
        if gap_ms > _FROZEN_MS:
            self._since_ms += gap_ms
            self._unheard_since_ms = None
        if self._limit is not None and now_ms >= self._since_ms + self._limit[0]:
            self._since_ms = now_ms
            return self._limit[1]
        return self._listen(now_ms)

    def next_timer_ms(self) -> float | None:
        """When `look` is due though nothing happens."""
        unheard = self._unheard_since_ms is not None
        if self._limit is None and not unheard:
            return None
        at_ms = self._looked_ms + _LOOK_AGAIN_MS
        if self._limit is not None:
            at_ms = min(at_ms, self._since_ms + self._limit[0])
        return min(at_ms, self._suspect_at_ms) if unheard else at_ms

    def _limit_of(self, owed: Owed) -> tuple[float, Verdict] | None:
        """For how many milliseconds something may be owed, and what is to be thought after that."""
        settings = self.settings
        answer_s = settings.first_answer_within_s if self._cold else settings.answer_within_s
        limits_s = {
            Owed.END: (settings.longest_speech_s, Verdict.SUSPECT),
            Owed.WORDS: (answer_s, Verdict.ASK),
            Owed.ANSWER: (answer_s, Verdict.DEAD),
            Owed.LATER: (settings.answer_over_speech_within_s, Verdict.DEAD),
            Owed.REST: (settings.turn_gap_s, Verdict.DEAD),
        }
        limit = limits_s.get(owed)
        return None if limit is None else (limit[0] * 1000, limit[1])

    def _listen(self, now_ms: float) -> Verdict | None:
        """Whether the learner has spoken and long been quiet, and the service has not told."""
        settings, ear = self.settings, self._ear
        least_ms = _LEAST_SPEECH_MS if self.owed is Owed.NOTHING else 1.0
        unheard = ear.loud_ms >= least_ms and ear.still_ms >= settings.pause_ms
        if self.owed not in _LEARNERS_TURN or not unheard:
            self._unheard_since_ms = None
        elif self._unheard_since_ms is None:
            self._unheard_since_ms = now_ms
        elif now_ms >= self._suspect_at_ms:
            self._suspicions += 1
            wait_ms = settings.suspect_again_s * 1000 * 2.0 ** (self._suspicions - 1)
            self._suspect_again_ms = now_ms + wait_ms
            self._forget()
            return Verdict.SUSPECT
        return None

    @property
    def _suspect_at_ms(self) -> float:
        since_ms = self._unheard_since_ms or 0.0
        return max(since_ms + self.settings.tell_within_s * 1000, self._suspect_again_ms)

    def _forget(self) -> None:
        self._ear.forget()
        self._unheard_since_ms = None
