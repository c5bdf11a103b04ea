"""What a REQUEST authorizer on ``$connect`` asks for and decides.

Source: API Gateway developer guide, "Creating a Lambda REQUEST authorizer function" for WebSocket APIs and "Output from an
API Gateway Lambda authorizer".
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from infra.local.api_gateway import policy
from infra.local.lambda_service.results import InvocationResult

_RESULT_LIMIT_BYTES = 8 * 1024
_HEADER = "route.request.header."
_QUERY = "route.request.querystring."


class RefusedError(Exception):
    """An upgrade is refused with this HTTP status; ``why`` is for the gateway's own log."""

    def __init__(self, status: int, message: str, *, why: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.why = why


class IdentitySources:
    """The places where a request must have something before the authorizer is asked.

    Raises:
        ValueError: A source is neither a header nor a query string parameter.
    """

    def __init__(self, sources: tuple[str, ...]) -> None:
        self._headers: list[str] = []
        self._parameters: list[str] = []
        for source in sources:
            if source.startswith(_HEADER):
                self._headers.append(source.removeprefix(_HEADER).lower())
            elif source.startswith(_QUERY):
                self._parameters.append(source.removeprefix(_QUERY))
            else:
                raise ValueError(f"identity source: only {_HEADER}NAME and {_QUERY}NAME are known, not {source}")

    def present(self, headers: Mapping[str, str], parameters: Mapping[str, str]) -> bool:
        """Whether a request has all of them, none empty; header names in any case."""
        lower = {name.lower(): value for name, value in headers.items()}
        return all(lower.get(name) for name in self._headers) and all(parameters.get(name) for name in self._parameters)


def decide(result: InvocationResult, method_arn: str, latency_ms: int) -> dict[str, Any]:
    """Turn an authorizer's answer into ``requestContext.authorizer``.

    Raises:
        RefusedError: 401 for ``raise Exception("Unauthorized")``; 500 for every other failure and for an answer of another
            form; 403 for a policy that does not allow ``method_arn``.
    """
    try:
        answer = _answer(result)
        verdict = policy.evaluate(answer.get("policyDocument"), method_arn)
        context = _context(answer, latency_ms)
    except ValueError as exc:
        raise RefusedError(500, "Internal server error", why=f"authorizer: {exc}") from None
    if verdict is policy.Verdict.EXPLICIT_DENY:
        raise RefusedError(403, "User is not authorized to access this resource with an explicit deny")
    if verdict is policy.Verdict.IMPLICIT_DENY:
        raise RefusedError(403, "User is not authorized to access this resource")
    return context


def _answer(result: InvocationResult) -> dict[str, Any]:
    """The authorizer's answer; ValueError if there is none."""
    answer = json.loads(result.payload)
    if result.function_error is not None:
        if isinstance(answer, dict) and answer.get("errorMessage") == "Unauthorized":
            raise RefusedError(401, "Unauthorized")
        raise ValueError("the function failed")
    if not isinstance(answer, dict) or len(result.payload) > _RESULT_LIMIT_BYTES:
        raise ValueError("the answer is not an object of at most 8 KB")
    return answer


def _context(answer: Mapping[str, Any], latency_ms: int) -> dict[str, Any]:
    """``requestContext.authorizer``: values of the answer's context as strings.

    Raises:
        ValueError: The answer has no principalId, or its context holds objects or lists.
    """
    principal = answer.get("principalId")
    if not isinstance(principal, str):
        raise ValueError("principalId is not a string")  # noqa: TRY004 # one kind of error for every wrong answer
    context = answer.get("context") or {}
    if not isinstance(context, dict):
        raise ValueError("context is not an object")  # noqa: TRY004 # as above
    return {
        **{name: _text(name, value) for name, value in context.items()},
        "principalId": principal,
        "integrationLatency": latency_ms,
    }


def _text(name: str, value: Any) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case str() | int() | float():
            return str(value)
        case None:
            return "null"
        case _:
            raise ValueError(f"context.{name} is neither string, number nor boolean")
