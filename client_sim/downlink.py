"""What comes from the gateway: read, sorted by relay, put in order."""

from dataclasses import dataclass, field
from typing import Final

from client_sim.phone_settings import PhoneFigures
from gateway.core import messages as maya
from gateway.core.errors import BadMessage
from gateway.core.sequencing import Inbox
from gateway.core.wire import parse_down

_WINDOW: Final = 4096
"""Messages that may wait for an earlier one."""

type Passing = maya.AckDown | maya.PingDown | maya.PongDown | maya.Error | maya.Bye


@dataclass(slots=True)
class Arrival:
    """What one text of the gateway amounts to.

    Attributes:
        urgent: a message that does not wait for what is missing before it: the line is open, or barge-in.
        in_order: numbered messages whose turn it is.
        passing: a message without number.
        from_another: it is the first of another relay, which follows a lost one.
    """

    urgent: maya.Ready | maya.Interrupted | None = None
    in_order: list[maya.NumberedMessage] = field(default_factory=list)
    passing: Passing | None = None
    from_another: bool = False


class Downlink:
    """The app's receiving side: one relay at a time, the newest known; each numbered message once and in order."""

    def __init__(self, figures: PhoneFigures) -> None:
        self._figures = figures
        self._epoch: int | None = None
        self._inbox: Inbox[maya.NumberedMessage] = Inbox(window=_WINDOW)
        self._ready_seen = False

    @property
    def acknowledged(self) -> int:
        """The last `n` up to which everything has arrived, -1 for none."""
        return self._inbox.acknowledged

    def receive(self, text: str | bytes) -> Arrival:
        """Take a text; what breaks the contract, is unknown or comes from an older relay amounts to nothing."""
        try:
            message = parse_down(text)
        except BadMessage:
            self._figures.bad += 1
            return Arrival()
        if message is None:
            self._figures.ignored += 1
            return Arrival()
        known = self._epoch
        if not self._current(message):
            self._figures.stale += 1
            return Arrival()
        arrival = self._sort(message)
        arrival.from_another = known is not None and self._epoch != known
        return arrival

    def _sort(self, message: maya.DownMessage) -> Arrival:
        if not isinstance(message, maya.NumberedDown):
            return Arrival(passing=message)
        if isinstance(message, maya.Ready) and not self._ready_seen:
            # The answer to `start`. What was numbered before it went to an app that was killed, or does not matter now.
            self._ready_seen = True
            self._inbox.skip_to(message.n)
        duplicates = self._inbox.duplicates
        in_order = self._inbox.receive(message.n, message)
        if self._inbox.duplicates > duplicates:
            self._figures.duplicates += 1
            return Arrival(in_order=in_order)
        urgent = message if isinstance(message, maya.Ready | maya.Interrupted) else None
        return Arrival(urgent, in_order)

    def _current(self, message: maya.DownMessage) -> bool:
        """Whether a message is of the newest relay known; a newer one counts its `n` from 0."""
        if message.epoch == maya.NO_RELAY_EPOCH and isinstance(message, maya.Error | maya.Bye):
            return True
        if self._epoch is not None and message.epoch <= self._epoch:
            return message.epoch == self._epoch
        self._epoch = message.epoch
        self._figures.epochs += 1
        self._inbox = Inbox(window=_WINDOW)
        return True
