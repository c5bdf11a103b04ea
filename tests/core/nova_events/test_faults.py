"""Errors of Nova Sonic and what they mean."""

import pytest

from gateway.core.errors import AccessRefused, RemoteError, ServiceUnavailable, StreamLost, StreamRejected, Throttled
from gateway.core.nova_events import Fault, classify

V = "ValidationException"
SERVICE_TEXTS = [
    (
        V,
        "Error(s):\nError 1 : Duplicate SYSTEM content. SYSTEM content can only be provided once per prompt.",
        Fault.MISCONFIGURED,
    ),
    (V, "Unable to parse input chunk", Fault.MISCONFIGURED),
    (V, "Cannot end content [abc] as no content data was received", Fault.INPUT_REJECTED),
    (V, "All contents must be closed before ending prompt", Fault.INPUT_REJECTED),
    (V, "A prompt must have at least one audio content", Fault.INPUT_REJECTED),
    (V, "Tool Response parsing error", Fault.INPUT_REJECTED),
    (V, "Invalid input request, please fix your input and try again.", Fault.INPUT_REJECTED),
    (V, "First message in chat history should not be Assistant.", Fault.HISTORY_REJECTED),
    (V, "Chat history is over max limit. Trim chat history and try again.", Fault.HISTORY_REJECTED),
    (V, "Chat history should be sent completely before streaming audio.", Fault.HISTORY_REJECTED),
    (V, "This request has been blocked by our content filters.", Fault.CONTENT_FILTERED),
    (
        V,
        "InternalErrorCode=532::Timed out waiting for audio bytes or interactive content. Please ensure gaps",
        Fault.IDLE,
    ),
    (V, "System instability detected. Please retry your request.", Fault.OVERLOADED),
    (V, "InternalErrorCode=531::RST_STREAM closed stream. HTTP/2 error code: NO_ERROR", Fault.STREAM_LOST),
    (V, "RequestId=1 : InternalErrorCode=531::RST_STREAM closed stream.", Fault.STREAM_LOST),
    (V, "The provided model identifier is invalid.", Fault.ACCESS_REFUSED),
    (V, "something nobody has seen yet", Fault.INPUT_REJECTED),
    (
        "ModelTimeoutException",
        "Model has timed out in processing the request. Try your request again.",
        Fault.TIME_LIMIT,
    ),
    ("CallError", "unknown error ExpiredTokenException - the token has expired", Fault.CREDENTIALS_EXPIRED),
    ("CallError", "unknown error UnrecognizedClientException", Fault.ACCESS_REFUSED),
]


@pytest.mark.parametrize(("error_type", "message", "fault"), SERVICE_TEXTS)
def test_known_texts(error_type, message, fault):
    """Each text the service is known to send has its meaning, in any case of letters."""
    assert classify(error_type, message) is fault
    assert classify(error_type, message.upper()) is fault


TYPES = [
    ("throttlingException", Fault.THROTTLED),
    ("ThrottlingException:http://internal.amazon.com/coral/com.amazon.coral.availability/", Fault.THROTTLED),
    ("ServiceQuotaExceededException", Fault.THROTTLED),
    ("serviceUnavailableException", Fault.OVERLOADED),
    ("ModelNotReadyException", Fault.OVERLOADED),
    ("ModelErrorException", Fault.OVERLOADED),
    ("internalServerException", Fault.OVERLOADED),
    ("modelStreamErrorException", Fault.STREAM_LOST),
    ("modelTimeoutException", Fault.TIME_LIMIT),
    ("validationException", Fault.INPUT_REJECTED),
    ("com.amazon.bedrock#AccessDeniedException", Fault.ACCESS_REFUSED),
    ("ResourceNotFoundException", Fault.ACCESS_REFUSED),
    ("aws_sdk_bedrock_runtime.models.ValidationException", Fault.INPUT_REJECTED),
    ("InvalidEventBytes", Fault.STREAM_LOST),
    ("ChecksumMismatch", Fault.STREAM_LOST),
    ("KeyError", Fault.STREAM_LOST),
    ("", Fault.STREAM_LOST),
]


@pytest.mark.parametrize(("error_type", "fault"), TYPES)
def test_types_decide_where_the_text_says_nothing(error_type, fault):
    """Every spelling of a type is understood; what is not known is a lost stream."""
    assert classify(error_type, "") is fault


def test_the_text_outranks_the_type():
    """A passing trouble inside a validation error is retried, and a fatal one inside a server error is not."""
    assert classify("internalServerException", "Unable to parse input chunk") is Fault.MISCONFIGURED


def test_what_each_fault_asks_for():
    """Only what no other try can mend is fatal, and history is left out only where it is the trouble."""
    assert {fault for fault in Fault if not fault.retryable} == {Fault.MISCONFIGURED, Fault.ACCESS_REFUSED}
    assert {fault for fault in Fault if not fault.with_history} == {Fault.HISTORY_REJECTED, Fault.CONTENT_FILTERED}


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (Fault.STREAM_LOST, StreamLost),
        (Fault.IDLE, StreamLost),
        (Fault.OVERLOADED, ServiceUnavailable),
        (Fault.THROTTLED, Throttled),
        (Fault.HISTORY_REJECTED, StreamRejected),
        (Fault.ACCESS_REFUSED, AccessRefused),
    ],
)
def test_errors_to_raise(fault, error):
    """Each fault has an error of the tree."""
    assert fault.error is error
    assert issubclass(fault.error, RemoteError)


def test_labels_are_distinct():
    """Each fault has a name of its own in logs, so no two are one member."""
    assert len({fault.label for fault in Fault}) == 11
