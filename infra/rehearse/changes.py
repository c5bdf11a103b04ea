"""What is taken out of the compiled template, or replaced, for ministack; each with its reason, and all of it printed."""

import copy
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

_TAKEN_OUT: Final[Mapping[str, str]] = {
    "AWS::ApiGatewayV2::Deployment": "ministack has none: its stages serve routes at once",
    "AWS::EC2::EgressOnlyInternetGateway": "ministack has none",
    "AWS::EC2::SecurityGroupEgress": "ministack has none",
    "AWS::EC2::VPCCidrBlock": "ministack has none",
    "AWS::ElastiCache::ServerlessCache": "ministack has none: a Valkey on this machine is in its place",
    "AWS::SQS::QueuePolicy": "it refuses what does not come over TLS, as everything does on this machine",
}
_IPV6: Final = "no IPv6 block in ministack's VPC"


@dataclass(slots=True)
class Rehearsal:
    """A template that ministack takes.

    Attributes:
        document: the template.
        changes: what was changed, a line each.
    """

    document: dict[str, Any]
    changes: list[str] = field(default_factory=list)


def adapt(document: Mapping[str, Any], *, redis_address: str, passwords: Mapping[str, str]) -> Rehearsal:
    """Return the template as ministack takes it.

    Args:
        document: the compiled template.
        redis_address: host and port of the Valkey.
        passwords: of its users, by their names: ministack's generated secrets have characters that were excluded.
    """
    rehearsal = Rehearsal(copy.deepcopy(dict(document)))
    resources = rehearsal.document["Resources"]
    gone = {name: item["Type"] for name, item in resources.items() if item["Type"] in _TAKEN_OUT}
    for name, type_ in gone.items():
        del resources[name]
        rehearsal.changes.append(f"taken out: {name} ({type_}): {_TAKEN_OUT[type_]}")
    for name in [name for name, item in resources.items() if item["Type"] == "AWS::EC2::Route"]:
        del resources[name]
        rehearsal.changes.append(f"taken out: {name} (AWS::EC2::Route): its gateway is")
    for name, item in resources.items():
        _mend(name, item, gone, rehearsal.changes)
        if item["Type"] == "AWS::SecretsManager::Secret":
            user = item["Properties"]["Name"].split("/")[3]
            item["Properties"].pop("GenerateSecretString")
            item["Properties"]["SecretString"] = passwords[user]
            rehearsal.changes.append(
                f"replaced: {name}: a password without punctuation, which ministack would not leave out"
            )
    text = json.dumps(rehearsal.document)
    for attribute in ("Endpoint", "ConfigurationEndPoint"):
        text = text.replace(f"${{RedisCache.{attribute}.Address}}:${{RedisCache.{attribute}.Port}}", redis_address)
    rehearsal.document = json.loads(text.replace("rediss://", "redis://"))
    rehearsal.changes.append(f"replaced: REDIS_URL of the functions: redis://{redis_address}, without TLS")
    return rehearsal


def _mend(name: str, item: dict[str, Any], gone: Mapping[str, str], changes: list[str]) -> None:
    """Remove what refers to resources that are gone."""
    properties = item.get("Properties", {})
    waits = item.get("DependsOn", [])
    waits = [waits] if isinstance(waits, str) else waits
    if set(waits) & gone.keys():
        item["DependsOn"] = [other for other in waits if other not in gone]
    if item["Type"] == "AWS::EC2::Subnet" and "Ipv6CidrBlock" in properties:
        del properties["Ipv6CidrBlock"], properties["AssignIpv6AddressOnCreation"]
        changes.append(f"taken out: {name}.Ipv6CidrBlock: {_IPV6}")
    if item["Type"] == "AWS::ApiGatewayV2::Stage":
        del properties["DeploymentId"]
        changes.append(f"taken out: {name}.DeploymentId: the deployment is")
