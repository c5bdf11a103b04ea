"""Roles: every action that the code calls or Lambda itself needs, on the right resources, and no other."""

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from infra.checks.calls import actions_of
from infra.checks.template import Finding, Resource, Template, as_list, text_of

_LOGS: Final = frozenset({"logs:CreateLogStream", "logs:PutLogEvents"})
# Lambda puts a function into a VPC with the function's own role (Lambda developer guide, "Required IAM permissions").
_NETWORK: Final = frozenset(
    {
        "ec2:AssignPrivateIpAddresses",
        "ec2:CreateNetworkInterface",
        "ec2:DeleteNetworkInterface",
        "ec2:DescribeNetworkInterfaces",
        "ec2:DescribeSubnets",
        "ec2:UnassignPrivateIpAddresses",
    }
)
_POLLING: Final = frozenset({"sqs:DeleteMessage", "sqs:GetQueueAttributes", "sqs:ReceiveMessage"})

ANY_RESOURCE: Final[Mapping[str, str]] = {
    **dict.fromkeys(
        _NETWORK, "interfaces have no names before they are made; the code itself is denied ec2 altogether"
    ),
    "bedrock:GetModelInvocationLoggingConfiguration": "a setting of the account: it has no resource",
}
"""Actions that may be allowed on every resource, and why."""

_MAY_CALL: Final[Mapping[str, frozenset[str]]] = {
    "bedrock": frozenset({"relay", "finish"}),
    "execute-api": frozenset({"relay", "stream"}),
    "lambda": frozenset({"stream"}),
    "dynamodb": frozenset({"connect", "relay", "finish"}),
    "sqs": frozenset({"relay", "finish"}),
}
"""Which functions have any business with a service."""

_SERVICE_OF: Final = {
    "AWS::DynamoDB::GlobalTable": "dynamodb",
    "AWS::SQS::Queue": "sqs",
    "AWS::Lambda::Function": "lambda",
    "AWS::Logs::LogGroup": "logs",
    "AWS::SNS::Topic": "sns",
}
_ARN: Final = re.compile(r"arn:(?:aws|\$\{Partition\}):([a-z0-9-]+):([^:]*):([^:]*):(.+)")
_PSEUDO: Final = re.compile(r"\$\{AWS::(\w+)\}")
_MODEL: Final = re.compile(r"foundation-model/[a-z0-9.:-]+")


def check(template: Template) -> Iterator[Finding]:
    """Yield what is wrong with the roles of functions."""
    by_role: dict[str, list[str]] = {}
    for name, function in template.functions().items():
        role = template.named(function.properties.get("Role"))
        if role is None or role.type != "AWS::IAM::Role":
            yield Finding(function.name, "must have a role of this template")
            continue
        by_role.setdefault(role.name, []).append(name)
        yield from _actions(template, name, function, role)
        yield from _statements(template, role)
        yield from _own_log_alone(name, function, role)
    for role_name, names in by_role.items():
        if len(names) > 1:
            yield Finding(role_name, f"is shared by {', '.join(sorted(names))}")
    for role in template.of_type("IAM::Role"):
        if role.name not in by_role:
            yield Finding(role.name, "is no function's role")
        if role.properties.get("ManagedPolicyArns"):
            yield Finding(role.name, "has policies that are managed elsewhere")
        yield from _trust(role)
    for other in template.of_type("IAM::Policy", "IAM::ManagedPolicy", "IAM::User", "IAM::AccessKey"):
        yield Finding(other.name, "what functions may do belongs into their roles")


def _actions(template: Template, name: str, function: Resource, role: Resource) -> Iterator[Finding]:
    allowed = {action for statement in allow_statements(role) for action in as_list(statement.get("Action"))}
    needed = actions_of(name) | _LOGS | _platform(template, function)
    for action in sorted(needed - allowed):
        yield Finding(role.name, f"{name} needs {action}")
    for action in sorted(allowed - needed):
        yield Finding(role.name, f"{name} may {action} and never calls it")
    for action in sorted(allowed):
        service = action.partition(":")[0]
        if service in _MAY_CALL and name not in _MAY_CALL[service]:
            yield Finding(role.name, f"{name} has no business with {service}")


def _platform(template: Template, function: Resource) -> frozenset[str]:
    """Return what Lambda itself does with the role."""
    needed = _NETWORK if function.properties.get("VpcConfig") else frozenset[str]()
    for mapping in template.of_type("Lambda::EventSourceMapping"):
        if template.named(mapping.properties.get("FunctionName")) == function:
            needed |= _POLLING
    for settings in template.of_type("Lambda::EventInvokeConfig"):
        if template.named(settings.properties.get("FunctionName")) == function and settings.text("DestinationConfig"):
            needed |= {"sqs:SendMessage"}
    return needed


def _statements(template: Template, role: Resource) -> Iterator[Finding]:
    for statement in allow_statements(role):
        if "NotAction" in statement or "NotResource" in statement:
            yield Finding(role.name, "allows what is not named")
        actions = [str(action) for action in as_list(statement.get("Action"))]
        for action in actions:
            if "*" in action:
                yield Finding(role.name, f"allows {action}: name the actions")
        for resource in as_list(statement.get("Resource")):
            yield from _resource(template, role, actions, resource)


def _resource(template: Template, role: Resource, actions: list[str], resource: Any) -> Iterator[Finding]:
    text = text_of(resource)
    services = {action.partition(":")[0] for action in actions}
    if text == "*":
        for action in actions:
            if action not in ANY_RESOURCE:
                yield Finding(role.name, f"allows {action} on every resource, without a reason")
        return
    target = template.named(resource)
    if target is not None and text == f"${{{target.name}.Arn}}":
        service = _SERVICE_OF.get(target.type, target.type)
    else:
        match = _ARN.fullmatch(_PSEUDO.sub(r"${\1}", text))
        if match is None:
            yield Finding(role.name, f"{text} is no ARN")
            return
        service = match[1]
        if service == "bedrock":
            yield from _model(role, match)
        elif match[4] == "*" or match[3] == "*":
            yield Finding(role.name, f"{text} is every resource of {service}")
    if services != {service}:
        yield Finding(role.name, f"{text} is a resource of {service}, the actions are of {', '.join(sorted(services))}")


def _model(role: Resource, arn: re.Match[str]) -> Iterator[Finding]:
    if arn[3]:
        yield Finding(role.name, "foundation models belong to no account: leave it out of the ARN")
    if not _MODEL.fullmatch(arn[4]):
        yield Finding(role.name, f"{arn[4]} is not one model")


def _own_log_alone(name: str, function: Resource, role: Resource) -> Iterator[Finding]:
    group = f":log-group:/aws/lambda/{function.text('FunctionName')}:*"
    for statement in allow_statements(role):
        if any(str(action).startswith("logs:") for action in as_list(statement.get("Action"))):
            for resource in as_list(statement.get("Resource")):
                if not text_of(resource).endswith(group):
                    yield Finding(role.name, f"{name} may write to another log than its own")


def _trust(role: Resource) -> Iterator[Finding]:
    for statement in as_list(role.properties.get("AssumeRolePolicyDocument", {}).get("Statement")):
        if statement.get("Principal") != {"Service": "lambda.amazonaws.com"}:
            yield Finding(role.name, "may be taken by others than Lambda")


def allow_statements(role: Resource) -> Iterator[Mapping[str, Any]]:
    """Yield the statements of a role that allow something."""
    for policy in role.properties.get("Policies", []):
        for statement in as_list(policy["PolicyDocument"].get("Statement")):
            if statement.get("Effect") == "Allow":
                yield statement
