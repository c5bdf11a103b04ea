"""What the pieces of a conversation share: its state, its alarms, and the actions it asks for."""

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum, auto

from gateway.core.conversation.actions import Action, Record
from gateway.core.conversation.settings import ConversationSettings
from gateway.core.conversation.states import Event, State, next_state


class Alarm(Enum):
    """What a conversation waits for by the clock."""

    NOBODY = auto()  # nobody has begun
    AWAY = auto()  # the phone has not been heard for too long
    GO_AWAY = auto()  # the time limit is near
    TIME_LIMIT = auto()
    STOP = auto()  # frames before `stop` are waited for
    REOPEN = auto()  # a lost stream gets its successor
    TELL_RECONNECTING = auto()  # a recovery takes long
    RENEW = auto()  # the stream nears its age limit
    FINISH = auto()  # the assessment is joined from the notes that are there
    DELIVER = auto()  # the last messages had their time to arrive
    PART = auto()  # the app had its time to close


class Alarms:
    """Moments to come, one of each kind."""

    def __init__(self) -> None:
        self._at_ms: dict[Alarm, float] = {}

    def set(self, alarm: Alarm, at_ms: float) -> None:
        """Ring then, instead of when it was set before."""
        self._at_ms[alarm] = at_ms

    def bring_forward(self, alarm: Alarm, at_ms: float) -> None:
        """Ring then if it was going to ring later; an alarm that is not set stays so."""
        if alarm in self._at_ms:
            self._at_ms[alarm] = min(self._at_ms[alarm], at_ms)

    def cancel(self, alarm: Alarm) -> None:
        """Do not ring."""
        self._at_ms.pop(alarm, None)

    def only(self, alarm: Alarm, at_ms: float) -> None:
        """Ring for this and for nothing else."""
        self._at_ms = {alarm: at_ms}

    def clear(self) -> None:
        """Ring for nothing."""
        self._at_ms.clear()

    def is_set(self, alarm: Alarm) -> bool:
        """Whether it is going to ring."""
        return alarm in self._at_ms

    def at_ms(self, alarm: Alarm) -> float | None:
        """When it is going to ring, None if it is not."""
        return self._at_ms.get(alarm)

    def take_due(self, now_ms: float) -> Alarm | None:
        """Return an alarm that is due, once."""
        for alarm, at_ms in self._at_ms.items():
            if at_ms <= now_ms:
                del self._at_ms[alarm]
                return alarm
        return None

    def next_ms(self) -> float | None:
        """When the next one rings."""
        return min(self._at_ms.values(), default=None)


@dataclass(slots=True)
class Course:
    """Where a conversation stands.

    Attributes:
        settings: its numbers.
        support_code: what the learner quotes when asking for help.
        epoch: of its relay.
        store_progress: writes the session's progress, given `now_ms`.
    """

    settings: ConversationSettings
    epoch: int
    support_code: str
    state: State = State.IDLE
    alarms: Alarms = field(default_factory=Alarms)
    actions: list[Action] = field(default_factory=list)
    store_progress: Callable[[float], None] = lambda _now_ms: None

    def go(self, event: Event) -> None:
        """Go where the table of states leads."""
        self.state = next_state(self.state, event)

    def act(self, action: Action) -> None:
        """Ask the shell for something."""
        self.actions.append(action)

    def record(self, event: str, **fields: str | float) -> None:
        """Have an event logged."""
        self.act(Record(event, fields))
