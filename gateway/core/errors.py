"""Everything that can go wrong on purpose, as one tree.

::

    MayaError
     +- ProtocolError           told to the app as an ``error`` message of maya.v1
     |   +- BadMessage          bad_message
     |   +- BadAudio            bad_audio
     |   +- NotStarted          not_started
     |   +- AlreadyStarted      already_started
     |   +- TooFast             too_fast
     |   +- ModuleLocked        module_locked       fatal
     |   +- SessionGone         session_gone        fatal
     |   +- Busy                busy                fatal
     |   +- ModelUnavailable    model_unavailable   fatal
     |   +- Internal            internal            fatal
     +- RemoteError             something outside did not do what it was asked
     |   +- StreamLost          a Nova Sonic stream ended, fell silent or broke
     |   +- StreamRejected      Nova Sonic refuses what was sent; the same again fails again
     |   +- Throttled           too many requests at once
     |   +- ServiceUnavailable  the service is there but cannot serve now
     |   +- AccessRefused       credentials, permissions or an unknown model or region
     |   +- RemoteTimeout       no answer within the time limit of the call
     |   +- PhoneGone           the connection no longer exists (API Gateway: 410)
     |   +- PhoneSlow           the connection cannot take more now (API Gateway: 429)
     |   +- PhoneRefused        this message will never be taken (API Gateway: 413)
     |   +- SaveFailed          an assessment could not be saved
     +- BadToolInput            the model called a tool with arguments that do not fit its schema

Texts name what was wrong and never quote audio, words of a conversation or credentials: they travel to phones and logs.
"""

# ruff: noqa: N818 - the names are those of the protocol's error codes and of the outside world's answers

from typing import ClassVar, Self


class MayaError(Exception):
    """Base of all errors raised on purpose; never raised itself.

    Attributes:
        code: a short name for logs and, for protocol errors, the ``code`` of the ``error`` message.
        retryable: whether the same request may succeed later.
        fatal: whether the conversation ends.
    """

    code: ClassVar[str] = "internal"
    retryable: ClassVar[bool] = False
    fatal: bool = False

    def __new__(cls, *args: object, **kwargs: object) -> Self:
        """Refuse the tree's inner nodes, which say too little to be acted upon."""
        if cls in (MayaError, ProtocolError, RemoteError):
            raise TypeError(f"{cls.__name__} is a base class: raise one of its subclasses")
        return super().__new__(cls, *args, **kwargs)


class ProtocolError(MayaError):
    """What the app is told by an ``error`` message (protocol.md: Errors).

    Args:
        message: one sentence for the developer of the app.
        ref: the ``seq`` or the type of the message that this is about.
        fatal: given only where one code covers both cases (``too_fast``).
        retry_after_s: seconds after which trying again makes sense.
    """

    def __init__(
        self,
        message: str,
        *,
        ref: int | str | None = None,
        fatal: bool | None = None,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.ref = ref
        self.retry_after_s = retry_after_s
        if fatal is not None:
            self.fatal = fatal


class BadMessage(ProtocolError):
    """Not JSON, not an object, an unknown type, or a missing, extra or wrong field."""

    code = "bad_message"


class BadAudio(ProtocolError):
    """Audio that is not base64, has an odd number of bytes, or is shorter than 20 or longer than 250 ms."""

    code = "bad_audio"


class NotStarted(ProtocolError):
    """A message that needs an open conversation came before ``start``."""

    code = "not_started"
    retryable = True


class AlreadyStarted(ProtocolError):
    """A ``start`` for the open session that differs from the first one."""

    code = "already_started"


class TooFast(ProtocolError):
    """Audio arrives faster than it can have been captured."""

    code = "too_fast"
    retryable = True


class ModuleLocked(ProtocolError):
    """The learner has not unlocked this speaking module."""

    code = "module_locked"
    fatal = True


class SessionGone(ProtocolError):
    """The session is another learner's, unknown, or over for too long."""

    code = "session_gone"
    fatal = True


class Busy(ProtocolError):
    """All of Maya's lines are taken, or none is for this learner just now."""

    code = "busy"
    retryable = True
    fatal = True

    def __init__(self, message: str = "all of Maya's lines are taken", *, retry_after_s: float) -> None:
        super().__init__(message, retry_after_s=retry_after_s)

    @classmethod
    def too_many_messages(cls, *, retry_after_s: float) -> Self:
        """Return what a learner hears at `start` whose connection has just sent more messages than any app has to."""
        return cls("a connection of this learner sent too many messages", retry_after_s=round(retry_after_s, 1))


class ModelUnavailable(ProtocolError):
    """Maya could not be reached after all retries."""

    code = "model_unavailable"
    retryable = True
    fatal = True


class Internal(ProtocolError):
    """A fault of the gateway; the text carries an id to quote and nothing else."""

    code = "internal"
    retryable = True
    fatal = True


class RemoteError(MayaError):
    """Something outside the gateway did not do what it was asked."""


class StreamLost(RemoteError):
    """A Nova Sonic stream ended, fell silent or broke; a new one may do."""

    code = "stream_lost"
    retryable = True


class StreamRejected(RemoteError):
    """Nova Sonic refuses what was sent to it; sending the same again fails again."""

    code = "stream_rejected"


class Throttled(RemoteError):
    """A quota or rate limit of a service is used up for now."""

    code = "throttled"
    retryable = True


class ServiceUnavailable(RemoteError):
    """A service is there but cannot serve now."""

    code = "service_unavailable"
    retryable = True


class AccessRefused(RemoteError):
    """Credentials or permissions are missing or expired, or the model or region is unknown."""

    code = "access_refused"


class RemoteTimeout(RemoteError):
    """A call had no answer within its time limit."""

    code = "remote_timeout"
    retryable = True


class PhoneGone(RemoteError):
    """The phone's connection no longer exists (API Gateway: 410 Gone)."""

    code = "phone_gone"


class PhoneSlow(RemoteError):
    """The phone's connection cannot take more now (API Gateway: 429 and 5xx).

    Args:
        message: what was answered.
        retry_after_ms: how long to wait before the next post.
    """

    code = "phone_slow"
    retryable = True

    def __init__(self, message: str = "the connection cannot take more now", *, retry_after_ms: float) -> None:
        super().__init__(message)
        self.retry_after_ms = retry_after_ms


class PhoneRefused(RemoteError):
    """This message will never be taken for the phone, however often it is posted (API Gateway: 413)."""

    code = "phone_refused"


class SaveFailed(RemoteError):
    """An assessment could not be saved where it belongs."""

    code = "save_failed"
    retryable = True


class BadToolInput(MayaError):
    """The model called a tool with arguments that do not fit its schema; the text goes back to the model."""

    code = "bad_tool_input"
    retryable = True
