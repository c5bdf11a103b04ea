"""IAM policies of authorizers."""

from typing import Any

import pytest

from infra.local.api_gateway.policy import MalformedPolicyError, Verdict, evaluate

ARN = "arn:aws:execute-api:us-east-1:123456789012:abc/local/$connect"


def statement(effect: str = "Allow", action: Any = "execute-api:Invoke", resource: Any = ARN) -> dict[str, Any]:
    """A statement of a policy."""
    return {"Effect": effect, "Action": action, "Resource": resource}


@pytest.mark.parametrize(
    ("statements", "verdict"),
    [
        ([statement()], Verdict.ALLOW),
        (statement(), Verdict.ALLOW),
        ([statement(resource="*")], Verdict.ALLOW),
        ([statement(resource="arn:aws:execute-api:us-east-1:123456789012:abc/local/*")], Verdict.ALLOW),
        ([statement(resource="arn:aws:execute-api:*:*:abc/l?cal/$connect")], Verdict.ALLOW),
        ([statement(resource=["arn:other", ARN])], Verdict.ALLOW),
        ([statement(action="execute-api:*")], Verdict.ALLOW),
        ([statement(action="EXECUTE-API:invoke")], Verdict.ALLOW),
        ([statement(action=["s3:GetObject", "*"])], Verdict.ALLOW),
        ([statement(effect="Deny")], Verdict.EXPLICIT_DENY),
        ([statement(resource="*"), statement(effect="Deny")], Verdict.EXPLICIT_DENY),
        ([statement(effect="Deny"), statement(resource="*")], Verdict.EXPLICIT_DENY),
        ([statement(effect="Deny", resource="arn:other"), statement()], Verdict.ALLOW),
        ([], Verdict.IMPLICIT_DENY),
        ([statement(action="execute-api:ManageConnections")], Verdict.IMPLICIT_DENY),
        ([statement(resource="arn:aws:execute-api:us-east-1:123456789012:abc/other/$connect")], Verdict.IMPLICIT_DENY),
        # What libraries write for REST APIs, stage/verb/path, has a slash too many for a WebSocket API.
        ([statement(resource="arn:aws:execute-api:us-east-1:123456789012:abc/local/*/*")], Verdict.IMPLICIT_DENY),
        ([statement(resource="arn:aws:execute-api:us-east-1:123456789012:abc/local/.connect")], Verdict.IMPLICIT_DENY),
    ],
)
def test_verdicts(statements: Any, verdict: Verdict) -> None:
    """An explicit deny wins, then an allow, else it is denied."""
    assert evaluate({"Version": "2012-10-17", "Statement": statements}, ARN) is verdict


@pytest.mark.parametrize(
    ("document", "text"),
    [
        (None, "Statement is missing"),
        ({}, "Statement is missing"),
        ({"Statement": ["x"]}, "Statement is not an object"),
        ({"Statement": [{"Action": "*", "Resource": "*"}]}, "Effect is neither"),
        ({"Statement": [statement(effect="allow")]}, "Effect is neither"),
        ({"Statement": [{"Effect": "Allow", "Resource": "*"}]}, "Action is not a string"),
        ({"Statement": [statement(resource=[])]}, "Resource is not a string"),
        ({"Statement": [statement(resource=["*", 3])]}, "Resource is not a string"),
        ({"Statement": [{**statement(), "Condition": {}}]}, "Condition is not evaluated"),
        ({"Statement": [{"Effect": "Allow", "NotAction": "x", "Resource": "*"}]}, "NotAction is not evaluated"),
    ],
)
def test_malformed_policies(document: Any, text: str) -> None:
    """What is no policy is an error that names the element."""
    with pytest.raises(MalformedPolicyError, match=text):
        evaluate(document, ARN)
