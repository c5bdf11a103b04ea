"""What can happen to a conversation: everything its core is ever told."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

from gateway.core.assessment import Assessment
from gateway.core.conversation.progress import OpenSession
from gateway.core.nova_events import Fault, OutputEvent


@dataclass(frozen=True, slots=True)
class TookOver:
    """This relay follows a lost one, whose session goes on here; told once, before anything else.

    Attributes:
        session: how far it had come.
        document: its assessment, if that was saved before the relay was lost.
    """

    session: OpenSession
    document: Assessment | None = None


@dataclass(frozen=True, slots=True)
class PhoneSaid:
    """A message from the phone, as API Gateway passed it on.

    Attributes:
        connection_id: the WebSocket connection it came by.
        connected_at_ms: when API Gateway opened that connection, wall clock; the newest connection wins.
        received_at_ms: when API Gateway took the message, wall clock.
        body: the message, unparsed.
    """

    connection_id: str
    connected_at_ms: int
    received_at_ms: int
    body: bytes


@dataclass(frozen=True, slots=True)
class PhoneLeft:
    """API Gateway says that a connection is gone."""

    connection_id: str


class PostOutcome(Enum):
    """How a post to the phone ended."""

    DELIVERED = "delivered"
    GONE = "gone"  # HTTP 410: the connection is closed
    SLOW = "slow"  # HTTP 429 or 5xx: wait and go on
    REFUSED = "refused"  # HTTP 413: the same would never be taken


@dataclass(frozen=True, slots=True)
class PostSettled:
    """The post that was under way on a connection has ended."""

    connection_id: str
    outcome: PostOutcome
    retry_after_ms: float = 0.0


class Admission(Enum):
    """Whether a learner may begin."""

    GRANTED = "granted"  # the module is unlocked and a Maya line is held
    LOCKED = "locked"
    BUSY = "busy"
    UNKNOWN = "unknown"  # it could not be found out


@dataclass(frozen=True, slots=True)
class AdmissionSettled:
    """The answer to `Admit`."""

    admission: Admission
    retry_after_s: float | None = None


@dataclass(frozen=True, slots=True)
class StreamOpened:
    """Nova Sonic has answered the opening events of a stream.

    Attributes:
        stream_id: which.
        lives_ms: how long until the service ends it since its credentials end, None where that is not known.
    """

    stream_id: int
    lives_ms: float | None = None


@dataclass(frozen=True, slots=True)
class StreamSaid:
    """An event of Nova Sonic."""

    stream_id: int
    event: OutputEvent


@dataclass(frozen=True, slots=True)
class StreamEnded:
    """A stream is over, or could not be opened; nothing more comes from it."""

    stream_id: int
    fault: Fault


@dataclass(frozen=True, slots=True)
class MicroAnswered:
    """Nova Micro has called the tool of a request.

    Attributes:
        part: the part it assessed, 0 for the summary.
        arguments: the tool's arguments, None when it failed after all retries.
    """

    part: int
    arguments: Mapping[str, Any] | None


class SaveOutcome(Enum):
    """Where the assessment went."""

    SAVED = "saved"
    QUEUED = "queued"
    LOST = "lost"


@dataclass(frozen=True, slots=True)
class SaveSettled:
    """The assessment has been saved, or queued to be saved, or neither could be done."""

    outcome: SaveOutcome


@dataclass(frozen=True, slots=True)
class ProgressSettled:
    """A write of the session's progress has ended, well or not.

    Attributes:
        seq: as `StoreProgress` had it.
    """

    seq: int


@dataclass(frozen=True, slots=True)
class ShutdownAsked:
    """The relay must end soon: its environment is stopping or another relay took the lease."""

    replaced: bool


type Input = (
    TookOver
    | PhoneSaid
    | PhoneLeft
    | PostSettled
    | AdmissionSettled
    | StreamOpened
    | StreamSaid
    | StreamEnded
    | MicroAnswered
    | SaveSettled
    | ProgressSettled
    | ShutdownAsked
)
