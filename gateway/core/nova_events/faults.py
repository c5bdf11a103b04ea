"""What an error of Nova Sonic means for the conversation, in one table.

The service hides passing troubles among its validation errors, so the message decides before the type does. Messages
are matched, never repeated: they may quote what was sent.

Fatal is only what another try cannot mend; every other fault is worth a new stream, within the caller's bound of tries.
"""

from dataclasses import dataclass
from enum import Enum
from typing import Final

from gateway.core.errors import AccessRefused, RemoteError, ServiceUnavailable, StreamLost, StreamRejected, Throttled

_MAX_MESSAGE_CHARS: Final = 4_096


@dataclass(frozen=True, slots=True)
class _Meaning:
    label: str
    error: type[RemoteError]
    retryable: bool = True
    with_history: bool = True


class Fault(Enum):
    """Kinds of failure of a stream, with what is to be done about each."""

    STREAM_LOST = _Meaning("stream_lost", StreamLost)
    """The connection broke or the service reset the stream."""

    TIME_LIMIT = _Meaning("time_limit", StreamLost)
    """The stream is 8 minutes old, or the model has stalled."""

    IDLE = _Meaning("idle", StreamLost)
    """No audio and no interactive text reached the service for too long."""

    CREDENTIALS_EXPIRED = _Meaning("credentials_expired", StreamLost)
    """The credentials that signed the stream have ended; fresh ones will do."""

    OVERLOADED = _Meaning("overloaded", ServiceUnavailable)
    """The service cannot serve now."""

    THROTTLED = _Meaning("throttled", Throttled)
    """Too many streams or requests for the account's quota."""

    HISTORY_REJECTED = _Meaning("history_rejected", StreamRejected, with_history=False)
    """The seeded history is refused; a stream without it will do."""

    CONTENT_FILTERED = _Meaning("content_filtered", StreamRejected, with_history=False)
    """A content policy blocked what was said; history would carry it into the next stream."""

    INPUT_REJECTED = _Meaning("input_rejected", StreamRejected)
    """An event came at a moment the service does not accept; a new stream starts clean."""

    MISCONFIGURED = _Meaning("misconfigured", StreamRejected, retryable=False)
    """What every stream is opened with is refused."""

    ACCESS_REFUSED = _Meaning("access_refused", AccessRefused, retryable=False)
    """Credentials, permissions, model or region are wrong."""

    @property
    def label(self) -> str:
        """A short name for logs and metrics."""
        return self.value.label

    @property
    def error(self) -> type[RemoteError]:
        """The error to raise for it."""
        return self.value.error

    @property
    def retryable(self) -> bool:
        """Whether a new stream may do."""
        return self.value.retryable

    @property
    def with_history(self) -> bool:
        """Whether the new stream may be seeded with the conversation so far."""
        return self.value.with_history


_BY_MESSAGE: Final[tuple[tuple[str, Fault], ...]] = (
    ("internalerrorcode=531", Fault.STREAM_LOST),
    ("rst_stream", Fault.STREAM_LOST),
    ("system instability", Fault.OVERLOADED),
    ("model has timed out", Fault.TIME_LIMIT),
    ("timed out waiting for", Fault.IDLE),
    ("first message in chat history", Fault.HISTORY_REJECTED),
    ("chat history is over max limit", Fault.HISTORY_REJECTED),
    ("chat history should be sent", Fault.HISTORY_REJECTED),
    ("content filters", Fault.CONTENT_FILTERED),
    ("duplicate system content", Fault.MISCONFIGURED),
    ("unable to parse input chunk", Fault.MISCONFIGURED),
    ("tool response parsing error", Fault.INPUT_REJECTED),
    ("cannot end content", Fault.INPUT_REJECTED),
    ("all contents must be closed", Fault.INPUT_REJECTED),
    ("at least one audio content", Fault.INPUT_REJECTED),
    ("invalid input request", Fault.INPUT_REJECTED),
    ("expiredtoken", Fault.CREDENTIALS_EXPIRED),
    ("token included in the request is expired", Fault.CREDENTIALS_EXPIRED),
    ("unrecognizedclient", Fault.ACCESS_REFUSED),
    ("token included in the request is invalid", Fault.ACCESS_REFUSED),
    ("accessdenied", Fault.ACCESS_REFUSED),
    ("is not authorized to perform", Fault.ACCESS_REFUSED),
    ("model identifier is invalid", Fault.ACCESS_REFUSED),
    ("end of its life", Fault.ACCESS_REFUSED),
)

_BY_TYPE: Final[dict[str, Fault]] = {
    "throttling": Fault.THROTTLED,
    "toomanyrequests": Fault.THROTTLED,
    "servicequotaexceeded": Fault.THROTTLED,
    "serviceunavailable": Fault.OVERLOADED,
    "modelnotready": Fault.OVERLOADED,
    "model": Fault.OVERLOADED,
    "internalserver": Fault.OVERLOADED,
    "modelstream": Fault.STREAM_LOST,
    "modeltimeout": Fault.TIME_LIMIT,
    "validation": Fault.INPUT_REJECTED,
    "expiredtoken": Fault.CREDENTIALS_EXPIRED,
    "accessdenied": Fault.ACCESS_REFUSED,
    "unrecognizedclient": Fault.ACCESS_REFUSED,
    "invalidsignature": Fault.ACCESS_REFUSED,
    "missingauthenticationtoken": Fault.ACCESS_REFUSED,
    "resourcenotfound": Fault.ACCESS_REFUSED,
}


def classify(error_type: str, message: str) -> Fault:
    """Return what an error of a stream means.

    Args:
        error_type: The error's type in any of its spellings: ``validationException``, ``ValidationException``,
            ``ValidationException:http://...``, a class name of the SDK, or empty where a stream just ended.
        message: The service's text, empty if none.
    """
    text = message[:_MAX_MESSAGE_CHARS].lower()
    for fragment, fault in _BY_MESSAGE:
        if fragment in text:
            return fault
    return _BY_TYPE.get(_plain_type(error_type), Fault.STREAM_LOST)


def _plain_type(error_type: str) -> str:
    name = error_type.partition(":")[0].rpartition("#")[2].rpartition(".")[2].lower()
    for ending in ("exception", "error"):
        name = name.removesuffix(ending)
    return name
