"""The context object that Lambda passes to a Python handler.

Source: AWS Lambda developer guide, "Lambda context object in Python"; attribute types as in ``awslambdaric``.
"""

from __future__ import annotations

import sys
import time
from typing import Any


class CognitoIdentity:
    """Identity of a mobile SDK caller; nothing here has one, so both ids are None."""

    __slots__ = ("cognito_identity_id", "cognito_identity_pool_id")

    def __init__(self) -> None:
        self.cognito_identity_id: str | None = None
        self.cognito_identity_pool_id: str | None = None


class LambdaContext:
    """What a handler can learn about its function and this invocation.

    ``memory_limit_in_mb`` is a string, as in Lambda.
    """

    __slots__ = (
        "_deadline_ms",
        "aws_request_id",
        "client_context",
        "function_name",
        "function_version",
        "identity",
        "invoked_function_arn",
        "log_group_name",
        "log_stream_name",
        "memory_limit_in_mb",
        "tenant_id",
    )

    def __init__(self, *, request_id: str, deadline_ms: int, arn: str, environment: Any) -> None:
        self.aws_request_id = request_id
        self.function_name: str = environment["AWS_LAMBDA_FUNCTION_NAME"]
        self.function_version: str = environment["AWS_LAMBDA_FUNCTION_VERSION"]
        self.invoked_function_arn = arn
        self.memory_limit_in_mb: str = environment["AWS_LAMBDA_FUNCTION_MEMORY_SIZE"]
        self.log_group_name: str = environment["AWS_LAMBDA_LOG_GROUP_NAME"]
        self.log_stream_name: str = environment["AWS_LAMBDA_LOG_STREAM_NAME"]
        self.client_context: Any = None
        self.identity = CognitoIdentity()
        self.tenant_id: str | None = None
        self._deadline_ms = deadline_ms

    def get_remaining_time_in_millis(self) -> int:
        """Milliseconds until the function times out; 0 when that is past."""
        return max(self._deadline_ms - int(time.time() * 1000), 0)

    def log(self, message: object) -> None:
        """Write a message to the function's log."""
        sys.stdout.write(str(message))
