"""The phone's connection: opened, lost, tried again, given up; the table is in `states.py`."""

from collections.abc import Callable
from typing import Final

from client_sim.events import Action, Begin, Close, Closed, Connect, Dropped, Opened, Over, RefreshToken, Refused
from client_sim.heartbeat import Heartbeat
from client_sim.phone_settings import PhoneSettings
from client_sim.repeats import Repeats, Request
from client_sim.states import CONNECTED, State, Step, after
from gateway.core.messages import ByeReason

_UNAUTHORIZED: Final = 401
_FORBIDDEN: Final = 403


class Connection:
    """One conversation's connections, one after another.

    Args:
        settings: of the conversation.
        heartbeat: begins anew with each connection.
        repeats: says `start` or `resume` on each, and nothing when all is over.
        act: asks the shell for something.

    Attributes:
        state: where the phone stands.
        number: of the newest connection.
        dropped_at_ms: when the last one was lost, or found to be of no use.
    """

    def __init__(
        self, settings: PhoneSettings, heartbeat: Heartbeat, repeats: Repeats, act: Callable[[Action], None]
    ) -> None:
        self.state = State.NEW
        self.number = 0
        self.dropped_at_ms = 0.0
        self._settings = settings
        self._heartbeat = heartbeat
        self._repeats = repeats
        self._act = act
        self._resume_within_ms = settings.resume_within_ms
        self._began = False
        self._unwanted = False
        self._bye: ByeReason | None = None
        self._failure: str | None = None
        self._fatal = False
        self._refused_status: int | None = None
        # Deadlines; None where nothing is awaited.
        self._retry_at_ms: float | None = None
        self._give_up_at_ms: float | None = None
        self._heard_at_ms = 0.0
        self._tries = 0

    # From the network

    def handle(self, event: Begin | Opened | Refused | Closed, now_ms: float) -> None:
        """Take in what happened to a connection; one that another has replaced does not matter."""
        if isinstance(event, Begin):
            if self._step(Step.BEGIN) and not (self._unwanted and self._step(Step.GIVE_UP)):
                self._give_up_at_ms = now_ms + self._settings.start_within_ms
                self._connect()
        elif event.connection != self.number:
            pass
        elif isinstance(event, Opened):
            self._opened(now_ms)
        elif isinstance(event, Refused):
            self._refused(event, now_ms)
        else:
            self._closed(event, now_ms)

    def hears(self, connection: int, now_ms: float) -> bool:
        """Something has come by a connection; returns whether that one counts."""
        if connection != self.number or self.state not in CONNECTED:
            return False
        self._heard_at_ms = now_ms
        return True

    # From the gateway

    def ready(self, resume_within_ms: float) -> bool:
        """The gateway listens; returns whether it did not before."""
        self._began = True
        self._resume_within_ms = resume_within_ms
        if not self._step(Step.READY):
            return False
        self._repeats.answered(Request.OPEN)
        self._give_up_at_ms = None
        self._failure = self._refused_status = None
        return True

    def forgotten(self, now_ms: float) -> None:
        """The gateway knows of no open conversation: say again what opens it."""
        if self._step(Step.FORGOTTEN):
            self._repeats.open(Request.OPEN)
            self._give_up_at_ms = now_ms + self._settings.answer_within_ms
            self.dropped_at_ms = now_ms

    def failed(self, why: str, now_ms: float) -> None:
        """The gateway ends the conversation for an error; `bye` follows."""
        self._fatal = True
        self._failure = why
        self._repeats.clear()
        # A test that was under way is assessed before `bye`; who has not begun has nothing to wait for.
        wait_ms = self._settings.assess_within_ms if self.state is State.LIVE else self._settings.bye_within_ms
        self._give_up_at_ms = now_ms + wait_ms

    def turned_away(self, why: str, now_ms: float) -> None:
        """The gateway does not take `start` or `resume`."""
        self._failure = why
        self._give_up_at_ms = now_ms

    def bye(self, reason: ByeReason, now_ms: float) -> None:
        """The gateway has said `bye`: close."""
        self._bye = reason
        self._act(Close(self.number))
        self._step(Step.BYE)
        self._give_up_at_ms = now_ms + self._settings.bye_within_ms

    # From the learner

    def unwanted(self, now_ms: float) -> None:
        """The learner stops before the test has begun."""
        self._unwanted = True
        self._failure = "stopped before the test had begun"
        self._give_up_at_ms = now_ms

    # By the clock

    def check_deadlines(self, now_ms: float) -> None:
        """Do what is due by now."""
        if self._give_up_at_ms is not None and now_ms >= self._give_up_at_ms:
            self._give_up_at_ms = None
            self._give_up()
        if self._retry_at_ms is not None and now_ms >= self._retry_at_ms:
            self._retry_at_ms = None
            if self._step(Step.RETRY):
                self._connect()
        silent_at_ms = self._silent_at_ms()
        if silent_at_ms is not None and now_ms >= silent_at_ms:
            self._act(Close(self.number))
            self._closed(Closed(self.number), now_ms)

    def next_timer_ms(self) -> float | None:
        """When a deadline is to be looked at though nothing happens."""
        moments = [self._retry_at_ms, self._give_up_at_ms, self._silent_at_ms()]
        return min((moment for moment in moments if moment is not None), default=None)

    # What follows

    def _step(self, step: Step) -> bool:
        """Move along the table; returns whether the step means anything here."""
        state = after(self.state, step)
        if state is None:
            return False
        self.state = state
        if state is State.OVER:
            self._retry_at_ms = self._give_up_at_ms = None
            self._repeats.clear()
            self._act(Over(self._bye, self._failure, self._refused_status))
        return True

    def _connect(self) -> None:
        self.number += 1
        self._act(Connect(self.number))

    def _opened(self, now_ms: float) -> None:
        if not self._step(Step.OPENED):
            return
        self._heard_at_ms = now_ms
        self._heartbeat.connected()
        self._repeats.open(Request.OPEN)
        if self.state is State.RESUMING:
            patience_ms = now_ms + self._settings.answer_within_ms
            self._give_up_at_ms = max(self._give_up_at_ms or 0.0, patience_ms)

    def _refused(self, event: Refused, now_ms: float) -> None:
        self._failure = event.reason
        self._refused_status = event.status
        if event.status == _FORBIDDEN:
            self._step(Step.DENIED)
        elif self._step(Step.REFUSED) and self.state is State.AWAY:
            if event.status == _UNAUTHORIZED:
                self._act(RefreshToken())
            self._retry_at_ms = now_ms + self._back_off_ms()

    def _closed(self, event: Closed, now_ms: float) -> None:
        if self._fatal and self._step(Step.GIVE_UP):
            return
        if not self._step(Step.DROPPED) or self.state is State.OVER:
            return
        self._act(Dropped(event.code))
        self.dropped_at_ms = now_ms
        self._tries = 0
        self._retry_at_ms = now_ms
        if self._began:
            self._give_up_at_ms = now_ms + self._resume_within_ms

    def _back_off_ms(self) -> float:
        wait_ms = min(self._settings.retry_first_ms * 2.0**self._tries, self._settings.retry_longest_ms)
        self._tries += 1
        return wait_ms * (0.5 + 0.5 * self._settings.jitter)

    def _silent_at_ms(self) -> float | None:
        return self._heard_at_ms + self._settings.silent_line_ms if self.state is State.LIVE else None

    def _give_up(self) -> None:
        if self._bye is None and self._failure is None:
            self._failure = "the gateway did not answer in time"
        connected = self.state in CONNECTED
        if self._step(Step.GIVE_UP) and connected:
            self._act(Close(self.number))
