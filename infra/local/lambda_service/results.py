"""What an invocation comes to: a result, or an error of the Lambda API.

Errors, with their HTTP status:

    LambdaError
    ├── FunctionNotFound   404 ResourceNotFoundException
    ├── InvalidRequest     400 InvalidRequestContentException, InvalidParameterValueException
    ├── RequestTooLarge    413 RequestEntityTooLargeException
    ├── TooManyRequests    429 TooManyRequestsException
    └── ServiceFault       500 ServiceException
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True, slots=True)
class InvocationResult:
    """A function's answer.

    Attributes:
        request_id: The id of the invocation.
        payload: JSON: the handler's answer, or Lambda's error document.
        function_error: ``Unhandled`` when the function failed, else None.
        log_tail: Last 4 KB that the invocation logged, when asked for.
    """

    request_id: str
    payload: bytes
    function_error: str | None = None
    log_tail: bytes | None = None


class LambdaError(Exception):
    """The Lambda API refuses a call; ``code`` is what boto3 shows."""

    code: ClassVar[str] = "ServiceException"
    status: ClassVar[int] = 500

    def __init__(self, message: str, *, reason: str | None = None) -> None:
        super().__init__(message)
        self.reason = reason


class FunctionNotFound(LambdaError):  # noqa: N818 # named as in Lambda
    """There is no function of that name."""

    code = "ResourceNotFoundException"
    status = 404


class InvalidRequest(LambdaError):  # noqa: N818 # named as in Lambda
    """The payload is not JSON."""

    code = "InvalidRequestContentException"
    status = 400


class InvalidParameter(LambdaError):  # noqa: N818 # named as in Lambda
    """A parameter has a value that Lambda does not know."""

    code = "InvalidParameterValueException"
    status = 400


class RequestTooLarge(LambdaError):  # noqa: N818 # named as in Lambda
    """The payload is over the limit of its invocation type."""

    code = "RequestEntityTooLargeException"
    status = 413


class TooManyRequests(LambdaError):  # noqa: N818 # named as in Lambda
    """The concurrency of the function or of the account is used up."""

    code = "TooManyRequestsException"
    status = 429


class ServiceFault(LambdaError):  # noqa: N818 # named as in Lambda
    """No execution environment could be started."""
