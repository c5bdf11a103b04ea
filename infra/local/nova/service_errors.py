"""What the service says when it refuses: exception types, HTTP statuses and the texts seen in the field.

Source: SERVICE.md W2 (types and statuses) and A9 (texts). Clients have to classify by text, since transient failures
also come as `validationException`.
"""

from __future__ import annotations

from enum import StrEnum


class ExceptionType(StrEnum):
    """In-stream exception types of InvokeModelWithBidirectionalStream."""

    INTERNAL_SERVER = "internalServerException"
    MODEL_STREAM_ERROR = "modelStreamErrorException"
    VALIDATION = "validationException"
    THROTTLING = "throttlingException"
    MODEL_TIMEOUT = "modelTimeoutException"
    SERVICE_UNAVAILABLE = "serviceUnavailableException"


class Text(StrEnum):
    """Messages of in-stream exceptions. `Error(s)` lists are how the service reports a broken order of events."""

    DUPLICATE_SYSTEM = (
        "Error(s):\nError 1 : Duplicate SYSTEM content. SYSTEM content can only be provided once per prompt."
    )
    EMPTY_CONTENT = "Error(s):\nError 1 : Cannot end content [{name}] as no content data was received"
    UNCLOSED = "Error(s):\nError 1 : All contents must be closed before ending prompt"
    NO_AUDIO = "Error(s):\nError 1 : Prompt [{name}] must have at least one audio content"
    ASSISTANT_FIRST = "First message in chat history should not be Assistant."
    HISTORY_TOO_BIG = "Chat history is over max limit. Trim chat history and try again."
    HISTORY_INCOMPLETE = "Chat history should be sent completely before streaming audio."
    TOOL_RESULT = "Tool Response parsing error"
    UNPARSABLE = "Unable to parse input chunk. Please check input format contains correct format."
    INVALID = "Invalid input request, please fix your input and try again."
    IDLE = (
        "Timed out waiting for audio bytes or interactive content. Please ensure gaps between audio bytes and "
        "interactive content are less than {seconds} seconds"
    )
    TIMED_OUT = "Model has timed out in processing the request. Try your request again."
    CONTENT_FILTER = "This request has been blocked by our content filters."
    INSTABILITY = "System instability detected. Please retry your request."
    INTERNAL_RESET = "InternalErrorCode=531::RST_STREAM closed stream. HTTP/2 error code: NO_ERROR"
    INTERNAL = "The system encountered an unexpected error during processing. Try your request again."


# The service puts its request id before these; the generic two were seen without it.
_WITHOUT_REQUEST_ID = frozenset({Text.UNPARSABLE, Text.INVALID, Text.TIMED_OUT, Text.INTERNAL_RESET, Text.INTERNAL})


class ServiceError(Exception):
    """The session cannot go on: sent as an in-stream exception, after which the stream ends.

    Attributes:
        exception_type: the `:exception-type`.
        text: which message, before its gaps are filled.
        message: the message with its gaps filled.
    """

    def __init__(self, text: Text, exception_type: ExceptionType = ExceptionType.VALIDATION, **gaps: str | int) -> None:
        self.text = text
        self.exception_type = exception_type
        self.message = text.value.format(**gaps)
        super().__init__(text.name)

    def rendered(self, request_id: str) -> str:
        """Return the message as the client sees it."""
        return self.message if self.text in _WITHOUT_REQUEST_ID else f"RequestId={request_id} : {self.message}"


class HttpError(Exception):
    """A request is answered with an HTTP error instead of a stream or a document.

    Attributes:
        status: the HTTP status.
        error_type: the `x-amzn-errortype`.
        message: goes into the JSON body.
    """

    def __init__(self, status: int, error_type: str, message: str) -> None:
        self.status = status
        self.error_type = error_type
        self.message = message
        super().__init__(error_type)


EXPIRED_TOKEN = (403, "ExpiredTokenException", "The security token included in the request is expired")
UNRECOGNIZED_CLIENT = (
    403,
    "UnrecognizedClientException",
    "The security token included in the request is invalid.",
)
THROTTLED = (429, "ThrottlingException", "Too many requests, please wait before trying again.")
TOO_MANY_STREAMS = (
    400,
    "ServiceQuotaExceededException",
    "Your request exceeds the quota of concurrent bidirectional streams for this model.",
)
UNAVAILABLE = (503, "ServiceUnavailableException", "Service is unavailable. Please retry your request.")
MODEL_NOT_READY = (429, "ModelNotReadyException", "The model is not ready to serve inference requests.")
UNKNOWN_MODEL = (404, "ResourceNotFoundException", "The provided model identifier is invalid.")
END_OF_LIFE = (
    404,
    "ResourceNotFoundException",
    "This model version has reached the end of its life. Please refer to the AWS documentation for more details.",
)
UNKNOWN_OPERATION = (404, "UnknownOperationException", "")
NO_CREDENTIALS = (403, "MissingAuthenticationTokenException", "Missing Authentication Token")
