"""Checks of the account, each a function of clients and the compiled template; what cannot be seen is said, never assumed."""

import math
from collections.abc import Callable, Iterator, Mapping
from enum import Enum
from typing import Any, Final, NamedTuple

from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError, ProfileNotFound

from gateway.adapters.invocation_logging import is_on

REGION: Final = "us-east-1"
_UNRESERVED: Final = 100
"""Lambda keeps so many of an account's concurrent executions for functions without a reservation."""

_LIVE_STACK: Final = frozenset(
    {"CREATE_COMPLETE", "UPDATE_COMPLETE", "UPDATE_ROLLBACK_COMPLETE", "IMPORT_COMPLETE", "IMPORT_ROLLBACK_COMPLETE"}
)


class Level(Enum):
    """How serious it is."""

    FINE = "ok"
    WARNING = "warning"
    """Worth knowing; the deploy goes on."""
    ERROR = "error"
    """The deploy is refused."""


class Note(NamedTuple):
    """What a check found."""

    level: Level
    text: str


type Clients = Callable[[str], Any]
"""Gives the boto3 client of a service in us-east-1."""

type Check = Callable[[Clients, Mapping[str, Any]], Iterator[Note]]


def preflight(clients: Clients, template: Mapping[str, Any]) -> Iterator[Note]:
    """Yield the notes of all checks; one that cannot be done is an error where it guards what must hold, else a warning.

    Without an account there is nothing more to look at: what comes first is then the only note.
    """
    for check, must_hold in _CHECKS:
        try:
            yield from check(clients, template)
        except (ClientError, BotoCoreError) as error:
            level = Level.ERROR if must_hold else Level.WARNING
            yield Note(level, f"{check.__name__.strip('_').replace('_', ' ')}: could not be looked at ({_why(error)})")
            if check is _account:
                return


def _why(error: ClientError | BotoCoreError) -> str:
    if isinstance(error, ClientError):
        return str(error.response["Error"]["Code"])
    if isinstance(error, NoCredentialsError | ProfileNotFound):
        return f"{str(error).rstrip('.')}. Set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
    return type(error).__name__


def _account(clients: Clients, _template: Mapping[str, Any]) -> Iterator[Note]:
    identity = clients("sts").get_caller_identity()
    yield Note(Level.FINE, f"account {identity['Account']} as {identity['Arn']}, {REGION}")


def _invocation_logging(clients: Clients, _template: Mapping[str, Any]) -> Iterator[Note]:
    if is_on(clients("bedrock").get_model_invocation_logging_configuration()):
        yield Note(
            Level.ERROR,
            "Bedrock's model invocation logging is on: it keeps what learners say. "
            "Turn it off (aws bedrock delete-model-invocation-logging-configuration), or deploy into another account",
        )
    else:
        yield Note(Level.FINE, "Bedrock's model invocation logging is off")


def _models(clients: Clients, template: Mapping[str, Any]) -> Iterator[Note]:
    variables = _variables(template, "Relay")
    bedrock = clients("bedrock")
    for name in (variables["MAYA_SONIC_MODEL_ID"], variables["MAYA_MICRO_MODEL_ID"]):
        found = bedrock.get_foundation_model(modelIdentifier=name)["modelDetails"]
        status = found.get("modelLifecycle", {}).get("status", "")
        if status != "ACTIVE":
            yield Note(Level.WARNING, f"{name} is {status or 'of unknown status'}: look for its successor")
        access = bedrock.get_foundation_model_availability(modelId=name)
        wrong = [
            f"{key} {value}"
            for key, value in access.items()
            if key.endswith(("Status", "Availability")) and value in ("NOT_AUTHORIZED", "NOT_AVAILABLE")
        ]
        if wrong:
            yield Note(Level.ERROR, f"{name} cannot be used: {', '.join(wrong)}")
        else:
            yield Note(Level.FINE, f"{name} can be used")


def _concurrency(clients: Clients, template: Mapping[str, Any]) -> Iterator[Note]:
    limit = clients("lambda").get_account_settings()["AccountLimit"]["ConcurrentExecutions"]
    reserved = sum(
        int(item["Properties"].get("ReservedConcurrentExecutions", 0))
        for item in template["Resources"].values()
        if item["Type"] == "AWS::Lambda::Function"
    )
    if limit < reserved + _UNRESERVED:
        yield Note(
            Level.ERROR,
            f"Lambda allows {limit} concurrent executions; {reserved} reserved and {_UNRESERVED} for the rest are needed. "
            "Ask for more (Service Quotas, Lambda, L-B99A9384), or lower streamConcurrency and relayConcurrency",
        )
    else:
        yield Note(Level.FINE, f"Lambda allows {limit} concurrent executions, {reserved} are reserved")


def _streams(clients: Clients, template: Mapping[str, Any]) -> Iterator[Note]:
    lines = int(_variables(template, "Relay")["MAYA_LINES"])
    quotas = [
        quota
        for page in clients("service-quotas").get_paginator("list_service_quotas").paginate(ServiceCode="bedrock")
        for quota in page["Quotas"]
        if "sonic" in quota["QuotaName"].lower() and "concurrent" in quota["QuotaName"].lower()
    ]
    if not quotas:
        yield Note(
            Level.WARNING, f"no quota of Nova Sonic's concurrent streams is listed; {lines} lines are assumed to fit"
        )
    for quota in quotas:
        value = math.floor(quota["Value"])
        fit = min(math.floor(value * 0.9), value - 2)
        level = Level.FINE if lines <= fit else Level.ERROR
        yield Note(level, f"{quota['QuotaName']}: {value}, so {max(0, fit)} lines fit; {lines} are set (MAYA_LINES)")


def _kept_tables(clients: Clients, template: Mapping[str, Any]) -> Iterator[Note]:
    """Tables outlive their stack: a new stack cannot make them again."""
    stage = template["Resources"]["WebsocketsDeploymentStage"]["Properties"]["StageName"]
    try:
        stacks = clients("cloudformation").describe_stacks(StackName=f"maya-{stage}")["Stacks"]
    except ClientError:
        stacks = []
    if stacks and stacks[0]["StackStatus"] in _LIVE_STACK:
        yield Note(Level.FINE, f"the stack maya-{stage} is there and will be updated")
        return
    if stacks:
        yield Note(Level.ERROR, f"the stack maya-{stage} is {stacks[0]['StackStatus']}: remove it, or wait")
    wanted = {
        item["Properties"]["TableName"]
        for item in template["Resources"].values()
        if "TableName" in item.get("Properties", {})
    }
    there = wanted & set(clients("dynamodb").list_tables()["TableNames"])
    for name in sorted(there):
        yield Note(
            Level.ERROR, f"the table {name} is kept from a stack that was removed: import it (infra/README.md, Remove)"
        )


def _hosted_zone(clients: Clients, template: Mapping[str, Any]) -> Iterator[Note]:
    for item in template["Resources"].values():
        if item["Type"] == "AWS::Route53::RecordSet":
            properties = item["Properties"]
            zone = clients("route53").get_hosted_zone(Id=properties["HostedZoneId"])["HostedZone"]["Name"].rstrip(".")
            fits = properties["Name"].rstrip(".").endswith("." + zone)
            level = Level.FINE if fits else Level.ERROR
            yield Note(level, f"{properties['Name']} {'is' if fits else 'is not'} in the hosted zone {zone}")


def _variables(template: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    variables: Mapping[str, Any] = template["Resources"][f"{name}LambdaFunction"]["Properties"]["Environment"][
        "Variables"
    ]
    return variables


# Each with whether the deploy is refused when it cannot be done.
_CHECKS: Final[tuple[tuple[Check, bool], ...]] = (
    (_account, True),
    (_invocation_logging, True),
    (_models, False),
    (_concurrency, True),
    (_streams, False),
    (_kept_tables, True),
    (_hosted_zone, False),
)
