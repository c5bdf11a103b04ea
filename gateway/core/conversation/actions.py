"""What a conversation asks its shell to do."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from gateway.core.assessment import Assessment, MicroRequest


@dataclass(frozen=True, slots=True)
class Post:
    """Post `data` to the phone. One post at a time is under way on a connection; answer with `PostSettled`."""

    connection_id: str
    data: str


@dataclass(frozen=True, slots=True)
class Disconnect:
    """Have API Gateway close a connection, after all that was to be posted to it.

    Attributes:
        connection_id: which.
        at_once: do not wait for posts that are under way.
    """

    connection_id: str
    at_once: bool = False


@dataclass(frozen=True, slots=True)
class Admit:
    """Find out whether the module is unlocked and take a Maya line; answer with `AdmissionSettled`."""

    module: str


@dataclass(frozen=True, slots=True)
class OpenStream:
    """Open a Nova Sonic stream with these events; answer with `StreamOpened` or `StreamEnded`."""

    stream_id: int
    events: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class SendEvents:
    """Send events on a stream, after all that were sent on it before."""

    stream_id: int
    events: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class CloseStream:
    """Close a stream, when what was sent before is on its way; nothing more is wanted from it."""

    stream_id: int


@dataclass(frozen=True, slots=True)
class AskMicro:
    """Ask Nova Micro; answer with `MicroAnswered`."""

    part: int
    request: MicroRequest


@dataclass(frozen=True, slots=True)
class Save:
    """Save the assessment, or queue it where that fails; answer with `SaveSettled`."""

    assessment: Assessment


@dataclass(frozen=True, slots=True)
class StoreProgress:
    """Write the session's progress, whole: ids, numbers and written notes, never words that were spoken.

    Answer with `ProgressSettled` of this `seq`. Of several that wait, the newest is enough.
    """

    progress: Mapping[str, Any]
    seq: int = -1


@dataclass(frozen=True, slots=True)
class ReleaseLease:
    """Stop listening for the learner: another conversation of theirs may begin elsewhere."""


@dataclass(frozen=True, slots=True)
class RefuseStarts:
    """Have the learner refused at `start` for a while, also by others than this relay."""

    for_s: float


@dataclass(frozen=True, slots=True)
class Finish:
    """The conversation is over: the relay ends."""


@dataclass(frozen=True, slots=True)
class Record:
    """Log an event by name, with fields of the allow-list."""

    event: str
    fields: Mapping[str, str | int | float | bool] = field(default_factory=dict)


type Action = (
    Post
    | Disconnect
    | Admit
    | OpenStream
    | SendEvents
    | CloseStream
    | AskMicro
    | Save
    | StoreProgress
    | ReleaseLease
    | RefuseStarts
    | Finish
    | Record
)
