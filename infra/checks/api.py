"""The WebSocket API: who gets in, where messages go, what is never logged."""

from collections.abc import Iterator
from typing import Final

from infra.checks.template import Finding, Resource, Template

ROUTES: Final = {"$connect": "connect", "stream": "stream", "$default": "stream", "$disconnect": "disconnect"}
"""Route key to function."""

_IDENTITY: Final = ["route.request.header.Sec-WebSocket-Protocol"]


def check(template: Template) -> Iterator[Finding]:
    """Yield what is wrong with the API."""
    yield from _routes(template)
    yield from _authorizers(template)
    yield from _permissions(template)
    yield from _stages(template)
    yield from _addresses(template)
    yield from _domains(template)
    for association in template.of_type("WAFv2::WebACLAssociation"):
        yield Finding(association.name, "AWS WAF protects no WebSocket API; CloudFront in front can have one")


def _routes(template: Template) -> Iterator[Finding]:
    functions = template.functions()
    routes = {route.text("RouteKey"): route for route in template.of_type("ApiGatewayV2::Route")}
    for key in sorted(ROUTES.keys() - routes.keys()):
        yield Finding("WebsocketsApi", f"has no route {key}")
    for key, route in routes.items():
        if key not in ROUTES:
            yield Finding(route.name, f"nobody knows the route {key}")
            continue
        integration = template.named(route.properties.get("Target"))
        function = template.named(integration.properties.get("IntegrationUri")) if integration else None
        if function is None or function != functions.get(ROUTES[key]):
            yield Finding(route.name, f"{key} does not lead to {ROUTES[key]}")
        is_checked = route.text("AuthorizationType") not in ("", "NONE") or "AuthorizerId" in route.properties
        if key == "$connect" and route.text("AuthorizationType") != "CUSTOM":
            yield Finding(route.name, "lets anybody in: $connect has no authorizer")
        if key != "$connect" and is_checked:
            yield Finding(route.name, f"a WebSocket API has authorizers on $connect only, not on {key}")


def _authorizers(template: Template) -> Iterator[Finding]:
    function = template.functions().get("authorize")
    for authorizer in template.of_type("ApiGatewayV2::Authorizer"):
        if template.named(authorizer.properties.get("AuthorizerUri")) != function:
            yield Finding(authorizer.name, "does not call authorize")
        if authorizer.text("AuthorizerType") != "REQUEST":
            yield Finding(authorizer.name, "must be of type REQUEST")
        if authorizer.properties.get("IdentitySource") != _IDENTITY:
            yield Finding(authorizer.name, f"must look for the token where phones put it: {_IDENTITY[0]}")
        for name in ("AuthorizerResultTtlInSeconds", "EnableSimpleResponses", "AuthorizerPayloadFormatVersion"):
            if name in authorizer.properties:
                yield Finding(authorizer.name, f"{name} is of HTTP APIs; a WebSocket API refuses it")


def _permissions(template: Template) -> Iterator[Finding]:
    called = {"authorize", *ROUTES.values()}
    allowed: set[str] = set()
    functions = {resource.name: name for name, resource in template.functions().items()}
    for permission in template.of_type("Lambda::Permission"):
        target = template.named(permission.properties.get("FunctionName"))
        if target is None or target.name not in functions:
            yield Finding(permission.name, "is about no function of this template")
            continue
        if permission.text("Principal") != "apigateway.amazonaws.com":
            yield Finding(permission.name, f"lets {permission.text('Principal')} call {functions[target.name]}")
        elif "${WebsocketsApi}" not in permission.text("SourceArn"):
            yield Finding(permission.name, "lets any API call the function: it needs a SourceArn")
        else:
            allowed.add(functions[target.name])
    for name in sorted(called - allowed):
        yield Finding("WebsocketsApi", f"may not call {name}: a permission is missing")
    for name in sorted(allowed - called):
        yield Finding("WebsocketsApi", f"may call {name}, which is none of its functions")


def _stages(template: Template) -> Iterator[Finding]:
    for stage in template.of_type("ApiGatewayV2::Stage"):
        settings = stage.properties.get("DefaultRouteSettings") or {}
        if settings.get("DataTraceEnabled") is not False:
            yield Finding(stage.name, "data trace logging must be off: it writes speech into a log")
        if settings.get("LoggingLevel") != "OFF":
            yield Finding(stage.name, "execution logging must be off: at INFO it writes messages into a log")
        if not settings.get("ThrottlingRateLimit") or not settings.get("ThrottlingBurstLimit"):
            yield Finding(stage.name, "messages are not throttled")
        if stage.properties.get("RouteSettings"):
            yield Finding(stage.name, "routes have settings of their own, which nobody looks at here")
        if any(
            word in stage.text("AccessLogSettings", "Format") for word in ("$input", "authorizer", "$context.message")
        ):
            yield Finding(stage.name, "the access log must not hold what phones say")


def _addresses(template: Template) -> Iterator[Finding]:
    over_ipv6 = any(True for _ in template.of_type("EC2::EgressOnlyInternetGateway"))
    for api in template.of_type("ApiGatewayV2::Api"):
        if api.text("ProtocolType") != "WEBSOCKET":
            yield Finding(api.name, "must be a WebSocket API")
        if over_ipv6 and api.text("IpAddressType") != "dualstack":
            yield Finding(api.name, "relays post to phones over IPv6: IpAddressType must be dualstack")
        if api.properties.get("DisableExecuteApiEndpoint"):
            yield Finding(api.name, "relays post to phones through the API's own address, which must stay")


def _domains(template: Template) -> Iterator[Finding]:
    for domain in template.of_type("ApiGatewayV2::DomainName"):
        for configuration in domain.properties.get("DomainNameConfigurations", []):
            if configuration.get("EndpointType", "REGIONAL") != "REGIONAL":
                yield Finding(domain.name, "a WebSocket API's domain must be REGIONAL")
            if configuration.get("SecurityPolicy") != "TLS_1_2":
                yield Finding(domain.name, "must ask for TLS 1.2")
    pinned = [found for found in template.of_type("Route53::RecordSet") if found.text("Name").startswith("nova-sonic.")]
    if len(pinned) > 1:
        yield Finding(
            pinned[1].name, "nova-sonic.<domain> must have one record: Nova Sonic answers from us-east-1 only"
        )
    for record in pinned:
        yield from _pinned(template, record)


def _pinned(template: Template, record: Resource) -> Iterator[Finding]:
    for name in ("SetIdentifier", "Region", "Weight", "Failover", "GeoLocation", "MultiValueAnswer"):
        if name in record.properties:
            yield Finding(record.name, f"{name} routes learners elsewhere: the record must be a simple one")
    target = template.named(record.properties.get("AliasTarget", {}).get("DNSName"))
    if target is None or target.type != "AWS::ApiGatewayV2::DomainName":
        yield Finding(record.name, "must lead to the API's domain in this region")
