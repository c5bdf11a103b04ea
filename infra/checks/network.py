"""The network: nothing comes in, and what must be reached can be."""

from collections.abc import Iterator
from typing import Final

from infra.checks.template import Finding, Template, as_list

_WORLD: Final = frozenset({"0.0.0.0/0", "::/0"})


def check(template: Template) -> Iterator[Finding]:
    """Yield what is wrong with the network."""
    yield from _open(template)
    has_ipv6 = any(True for _ in template.of_type("EC2::EgressOnlyInternetGateway"))
    has_nat = any(True for _ in template.of_type("EC2::NatGateway"))
    if has_ipv6 == has_nat:
        yield Finding(
            "Vpc", "functions in the VPC need one way out: the API's management address has no endpoint in a VPC"
        )
    for endpoint in template.of_type("EC2::VPCEndpoint"):
        if "execute-api" in endpoint.text("ServiceName"):
            yield Finding(endpoint.name, "reaches private APIs alone, and makes every public one answer 403")
        if not endpoint.properties.get("PolicyDocument"):
            yield Finding(endpoint.name, "needs a policy: without one it leads to everybody's resources")
    for name, function in template.functions().items():
        config = function.properties.get("VpcConfig")
        if config and has_ipv6 and config.get("Ipv6AllowedForDualStack") is not True:
            yield Finding(function.name, f"{name} must be allowed IPv6")
        if config and len(as_list(config.get("SubnetIds"))) < 2:
            yield Finding(function.name, f"{name} must be in two zones")


def _open(template: Template) -> Iterator[Finding]:
    rules = [
        (group.name, rule)
        for group in template.of_type("EC2::SecurityGroup")
        for rule in group.properties.get("SecurityGroupIngress", [])
    ]
    rules += [(rule.name, rule.properties) for rule in template.of_type("EC2::SecurityGroupIngress")]
    for where, rule in rules:
        if rule.get("CidrIp") in _WORLD or rule.get("CidrIpv6") in _WORLD:
            yield Finding(where, "is open to the world")
    for subnet in template.of_type("EC2::Subnet"):
        if subnet.properties.get("MapPublicIpOnLaunch"):
            yield Finding(subnet.name, "gives out public addresses")
