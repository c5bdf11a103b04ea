"""Identity sources and authorizers' answers."""

import json
from typing import Any

import pytest

from infra.local.api_gateway.authorizer import IdentitySources, RefusedError, decide
from infra.local.lambda_service.results import InvocationResult

ARN = "arn:aws:execute-api:us-east-1:123456789012:abc/local/$connect"
POLICY = {"Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}


def answer(document: Any) -> InvocationResult:
    """An authorizer's answer."""
    return InvocationResult("r", json.dumps(document).encode())


def refusal(result: InvocationResult) -> tuple[int, str]:
    """The status and reason with which an answer refuses."""
    with pytest.raises(RefusedError) as caught:
        decide(result, ARN, 5)
    return caught.value.status, caught.value.why


@pytest.mark.parametrize(
    ("headers", "parameters", "present"),
    [
        ({"Authorization": "x"}, {"token": "y"}, True),
        ({"authorization": "x"}, {"token": "y"}, True),
        ({"Authorization": ""}, {"token": "y"}, False),
        ({}, {"token": "y"}, False),
        ({"Authorization": "x"}, {}, False),
        ({"Authorization": "x"}, {"token": ""}, False),
        ({"Authorization": "x"}, {"Token": "y"}, False),
    ],
)
def test_every_identity_source_is_needed(headers: dict[str, str], parameters: dict[str, str], present: bool) -> None:
    """One that is missing or empty is enough for a refusal; header names match in any case."""
    sources = IdentitySources(("route.request.header.Authorization", "route.request.querystring.token"))
    assert sources.present(headers, parameters) is present


def test_unknown_identity_sources_are_refused() -> None:
    """A source that is not understood is an error at the start."""
    with pytest.raises(ValueError, match="identity source"):
        IdentitySources(("method.request.header.Authorization",))


def test_the_context_is_made_of_strings() -> None:
    """Context values become strings; principal and latency are added."""
    context = {"text": "a", "int": 3, "float": 0.5, "yes": True, "no": False, "nothing": None}
    decided = decide(answer({"principalId": "p", "policyDocument": POLICY, "context": context}), ARN, 12)
    assert decided == {
        "text": "a",
        "int": "3",
        "float": "0.5",
        "yes": "true",
        "no": "false",
        "nothing": "null",
        "principalId": "p",
        "integrationLatency": 12,
    }


def test_no_context_is_fine() -> None:
    """An authorizer need not return a context."""
    assert decide(answer({"principalId": "p", "policyDocument": POLICY}), ARN, 1)["principalId"] == "p"


def test_raising_unauthorized_is_401() -> None:
    """The exact text Unauthorized is a 401."""
    result = InvocationResult("r", b'{"errorMessage": "Unauthorized", "errorType": "Exception"}', "Unhandled")
    assert refusal(result)[0] == 401


@pytest.mark.parametrize("effect", ["Deny", None])
def test_a_policy_that_does_not_allow_is_403(effect: str | None) -> None:
    """An explicit deny and the lack of an allow are both 403."""
    statements = [] if effect is None else [{"Effect": effect, "Action": "*", "Resource": "*"}]
    assert refusal(answer({"principalId": "p", "policyDocument": {"Statement": statements}}))[0] == 403


@pytest.mark.parametrize(
    ("result", "why"),
    [
        (InvocationResult("r", b'{"errorMessage": "unauthorized"}', "Unhandled"), "the function failed"),
        (InvocationResult("r", b'{"errorType": "Runtime.ExitError"}', "Unhandled"), "the function failed"),
        (answer(None), "not an object"),
        (answer({"isAuthorized": True}), "Statement is missing"),
        (answer({"policyDocument": POLICY}), "principalId"),
        (answer({"principalId": "p", "policyDocument": POLICY, "context": {"a": {"b": 1}}}), "context.a"),
        (answer({"principalId": "p", "policyDocument": POLICY, "context": [1]}), "context is not an object"),
        (answer({"principalId": "p" * 8200, "policyDocument": POLICY}), "8 KB"),
    ],
)
def test_everything_else_is_500(result: InvocationResult, why: str) -> None:
    """A crash or an answer of another form is 500, and the log says why."""
    status, reason = refusal(result)
    assert status == 500
    assert why in reason
