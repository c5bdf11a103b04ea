"""What can happen to a phone, and what it asks its shell to do."""

from dataclasses import dataclass

from gateway.core.messages import ByeReason, DownMessage, LagAnswer


@dataclass(frozen=True, slots=True)
class Begin:
    """The learner opens the test."""


@dataclass(frozen=True, slots=True)
class Opened:
    """A connection is open and speaks maya.v1."""

    connection: int


@dataclass(frozen=True, slots=True)
class Refused:
    """A connection could not be opened.

    Attributes:
        connection: which.
        status: HTTP status of the refused upgrade, None when nobody answered.
        reason: one sentence without secrets.
    """

    connection: int
    status: int | None
    reason: str


@dataclass(frozen=True, slots=True)
class Closed:
    """An open connection is gone.

    Attributes:
        connection: which.
        code: WebSocket close code (RFC 6455, section 7.4), 1006 when there was no closing handshake.
    """

    connection: int
    code: int = 1006


@dataclass(frozen=True, slots=True)
class Received:
    """Text has arrived on a connection."""

    connection: int
    text: str | bytes


@dataclass(frozen=True, slots=True)
class Captured:
    """The microphone has a frame: whole 16-bit samples at the session's rate, 20 to 250 ms."""

    pcm: bytes


@dataclass(frozen=True, slots=True)
class Suspended:
    """The microphone was off for a while (the app was in the background): `t` goes on by that much."""

    gap_ms: float


@dataclass(frozen=True, slots=True)
class Chosen:
    """The learner has answered the lag prompt that is on the screen."""

    choice: LagAnswer


@dataclass(frozen=True, slots=True)
class StopAsked:
    """The learner ends the test."""


@dataclass(frozen=True, slots=True)
class Tick:
    """Time has passed."""


type Event = Begin | Opened | Refused | Closed | Received | Captured | Suspended | Chosen | StopAsked | Tick


@dataclass(frozen=True, slots=True)
class Connect:
    """Open a connection; answer with `Opened` or `Refused`."""

    connection: int


@dataclass(frozen=True, slots=True)
class Close:
    """Close a connection; answer with `Closed`."""

    connection: int


@dataclass(frozen=True, slots=True)
class RefreshToken:
    """The token was refused when coming back: get another one before the next `Connect`."""


@dataclass(frozen=True, slots=True)
class Show:
    """A message of the gateway for the learner, in order and once; speech goes to the speaker instead."""

    message: DownMessage


@dataclass(frozen=True, slots=True)
class Measured:
    """A round trip through the whole path."""

    round_trip_ms: float


@dataclass(frozen=True, slots=True)
class Dropped:
    """The connection was lost; the phone goes on capturing and comes back."""

    code: int


@dataclass(frozen=True, slots=True)
class Resumed:
    """The conversation goes on after a drop.

    Attributes:
        away_ms: how long it was away.
        frames: held frames that the gateway lacks.
    """

    away_ms: float
    frames: int


@dataclass(frozen=True, slots=True)
class Over:
    """The conversation has ended for this phone.

    Attributes:
        bye: the gateway's reason, None when it ended without.
        failure: what went wrong in one sentence, None when nothing did.
        status: HTTP status where an upgrade was refused.
    """

    bye: ByeReason | None
    failure: str | None = None
    status: int | None = None


type Action = Connect | Close | RefreshToken | Show | Measured | Dropped | Resumed | Over
