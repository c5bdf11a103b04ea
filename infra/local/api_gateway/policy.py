"""Evaluation of the IAM policy that an authorizer returns.

Source: IAM user guide, "Policy evaluation logic": an explicit deny wins, then an allow, else it is denied. ``*`` matches any
characters, ``?`` one.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Mapping
from typing import Any

_ACTION = "execute-api:Invoke"


class Verdict(enum.Enum):
    """What a policy says about one request."""

    ALLOW = "allow"
    EXPLICIT_DENY = "explicit deny"
    IMPLICIT_DENY = "implicit deny"


class MalformedPolicyError(ValueError):
    """The document is no IAM policy, or uses elements that are not evaluated here; the message names the element."""


def evaluate(document: Any, resource: str) -> Verdict:
    """Decide whether a policy allows ``execute-api:Invoke`` on a resource.

    Raises:
        MalformedPolicyError: The document has not the form of a policy.
    """
    if not isinstance(document, dict) or "Statement" not in document:
        raise MalformedPolicyError("policyDocument.Statement is missing")
    statements = document["Statement"]
    verdict = Verdict.IMPLICIT_DENY
    for statement in statements if isinstance(statements, list) else [statements]:
        if not isinstance(statement, dict):
            raise MalformedPolicyError("policyDocument.Statement is not an object")
        effect = statement.get("Effect")
        if effect not in ("Allow", "Deny"):
            raise MalformedPolicyError("policyDocument.Statement.Effect is neither Allow nor Deny")
        if not _applies(statement, resource):
            continue
        if effect == "Deny":
            return Verdict.EXPLICIT_DENY
        verdict = Verdict.ALLOW
    return verdict


def _applies(statement: Mapping[str, Any], resource: str) -> bool:
    for element in ("Condition", "NotAction", "NotResource"):
        if element in statement:
            raise MalformedPolicyError(f"policyDocument.Statement.{element} is not evaluated here")
    actions = _strings(statement, "Action")
    resources = _strings(statement, "Resource")
    return any(_matches(pattern.lower(), _ACTION.lower()) for pattern in actions) and any(
        _matches(pattern, resource) for pattern in resources
    )


def _strings(statement: Mapping[str, Any], element: str) -> list[str]:
    value = statement.get(element)
    values = value if isinstance(value, list) else [value]
    texts = [item for item in values if isinstance(item, str)]
    if not texts or len(texts) < len(values):
        raise MalformedPolicyError(f"policyDocument.Statement.{element} is not a string or a list of strings")
    return texts


def _matches(pattern: str, text: str) -> bool:
    expression = re.escape(pattern).replace(r"\*", ".*").replace(r"\?", ".")
    return re.fullmatch(expression, text, re.DOTALL) is not None
