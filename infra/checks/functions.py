"""Functions: handlers that exist, settings that somebody reads, limits, and who is in the network."""

import ast
import functools
import re
from collections.abc import Iterator
from typing import Final

from infra.checks.calls import names_used
from infra.checks.template import Finding, Resource, Template, references, text_of
from infra.package.build import ROOT
from infra.package.functions import FUNCTIONS
from infra.package.sources import reached

IN_NETWORK: Final = frozenset({"stream", "disconnect", "relay", "finish"})
"""The functions that speak to Redis. Connect and authorizer do not, and start faster outside."""

_READERS: Final = {
    "redis_settings": ("REDIS_URL", "MAYA_REDIS_CLUSTER"),
    "token_settings": ("MAYA_TOKEN_ISSUER", "MAYA_TOKEN_AUDIENCE"),
    "table_settings": ("MAYA_USERS_TABLE", "MAYA_ASSESSMENTS_TABLE"),
    "finish_queue_url": ("MAYA_FINISH_QUEUE_URL",),
    "relay_function": ("MAYA_RELAY_FUNCTION",),
    "Connections": ("AWS_ENDPOINT_URL_APIGATEWAYMANAGEMENTAPI",),
    "post_to_connection": ("AWS_ENDPOINT_URL_APIGATEWAYMANAGEMENTAPI",),
}
"""What a function must be told, by the name of that which reads it."""

_ENDPOINT: Final = re.compile(r"AWS_ENDPOINT_URL_(APIGATEWAYMANAGEMENTAPI|BEDROCK_RUNTIME|BEDROCK|LAMBDA|SQS|DYNAMODB)")
_MAX_TIMEOUT_S: Final = 900
_MOST_EVENT_AGE_S: Final = 300
_SETTING: Final = re.compile(r"(MAYA_[A-Z0-9_]+|REDIS_URL)")


def check(template: Template) -> Iterator[Finding]:
    """Yield what is wrong with the functions."""
    functions = template.functions()
    for name in sorted(FUNCTIONS.keys() ^ functions.keys()):
        yield Finding(
            name, "is a handler without a function" if name in FUNCTIONS else "is a function without an artefact"
        )
    for name, function in functions.items():
        if name not in FUNCTIONS:
            continue
        yield from _shape(template, name, function)
        yield from _settings(template, name, function)
        inside = bool(function.properties.get("VpcConfig"))
        if inside != (name in IN_NETWORK):
            yield Finding(function.name, f"must be {'outside' if inside else 'in'} the VPC")
    if "stream" in functions and not functions["stream"].properties.get("ReservedConcurrentExecutions"):
        yield Finding(
            functions["stream"].name, "needs reserved concurrency: it is called ten times a second for each learner"
        )
    if "relay" in functions:
        yield from _relay(template, functions["relay"])


def _shape(template: Template, name: str, function: Resource) -> Iterator[Finding]:
    properties = function.properties
    if properties.get("Runtime") != "python3.13" or properties.get("Architectures") != ["arm64"]:
        yield Finding(function.name, "artefacts are made for python3.13 on arm64")
    if not _exists(function.text("Handler")):
        yield Finding(function.name, f"there is no {function.text('Handler')}")
    if not function.text("Code", "S3Key").endswith(f"/{name}.zip"):
        yield Finding(function.name, "its code is another function's artefact")
    if not 1 <= int(properties.get("Timeout", 3)) <= _MAX_TIMEOUT_S:
        yield Finding(function.name, "Lambda's longest time-out is 900 s")
    if properties.get("Layers"):
        yield Finding(function.name, "an artefact holds all that it needs: no layers")
    group = f"/aws/lambda/{function.text('FunctionName')}"
    logs = [log for log in template.of_type("Logs::LogGroup") if log.text("LogGroupName") == group]
    if not logs or not 1 <= int(logs[0].properties.get("RetentionInDays", 0)) <= 14:
        yield Finding(function.name, "its log must be kept for a short time")


def _settings(template: Template, name: str, function: Resource) -> Iterator[Finding]:
    variables = function.properties.get("Environment", {}).get("Variables", {})
    used = names_used(name)
    for reader, needed in _READERS.items():
        if reader in used:
            for variable in needed:
                if not variables.get(variable):
                    yield Finding(function.name, f"{variable} must be set")
    yield from _values(template, name, function)
    relay = template.functions().get("relay")
    named = text_of(variables.get("MAYA_RELAY_FUNCTION"))
    if named and relay is not None and named not in (relay.text("FunctionName"), f"${{{relay.name}}}"):
        yield Finding(function.name, "MAYA_RELAY_FUNCTION names no function of this template")


def _values(template: Template, name: str, function: Resource) -> Iterator[Finding]:
    known, variables = _known_settings(name), function.properties.get("Environment", {}).get("Variables", {})
    for variable, value in variables.items():
        if variable not in known and not _ENDPOINT.fullmatch(variable):
            yield Finding(function.name, f"nothing that {name} runs reads {variable}")
        for missing in sorted(references(value)):
            if missing not in template.resources and not missing.startswith("AWS::"):
                yield Finding(function.name, f"{variable} names {missing}, which is not there")
    url = text_of(variables.get("REDIS_URL"))
    if url and not re.fullmatch(r"rediss://[a-z]+:\{\{resolve:secretsmanager:\$\{\w+\}\}\}@.+/0", url):
        yield Finding(function.name, "REDIS_URL must be over TLS, with a password from Secrets Manager")


def _relay(template: Template, relay: Resource) -> Iterator[Finding]:
    if relay.properties.get("Timeout") != _MAX_TIMEOUT_S:
        yield Finding(relay.name, "a conversation takes all of the 900 s")
    settings = [
        found
        for found in template.of_type("Lambda::EventInvokeConfig")
        if template.named(found.properties.get("FunctionName")) == relay
    ]
    if not settings:
        yield Finding(relay.name, "Lambda would call it again after a failure: it needs an EventInvokeConfig")
        return
    properties = settings[0].properties
    if properties.get("MaximumRetryAttempts") != 0:
        yield Finding(settings[0].name, "a relay that is called again is a ghost: no retries")
    if not 60 <= int(properties.get("MaximumEventAgeInSeconds", 21_600)) <= _MOST_EVENT_AGE_S:
        yield Finding(settings[0].name, "nobody waits for a relay that comes minutes late")
    target = template.named(properties.get("DestinationConfig", {}).get("OnFailure", {}).get("Destination"))
    if target is None or target.type != "AWS::SQS::Queue":
        yield Finding(settings[0].name, "relays that died must be told to the finish queue")


@functools.cache
def _exists(handler: str) -> bool:
    module, _, name = handler.rpartition(".")
    file = ROOT.joinpath(*module.split(".")).with_suffix(".py")
    if not file.is_file():
        return False
    return any(
        isinstance(node, ast.FunctionDef) and node.name == name
        for node in ast.parse(file.read_text(encoding="utf-8")).body
    )


@functools.cache
def _known_settings(name: str) -> frozenset[str]:
    """Return the variables that code of this function reads: literal names, and those of fields that `overridden` sets."""
    known: set[str] = set()
    for file in reached(ROOT, FUNCTIONS[name].handler, without=FUNCTIONS[name].without).values():
        tree = ast.parse(file.read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and _SETTING.fullmatch(node.value):
                known.add(node.value)
            elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
                known.add(f"MAYA_{node.target.id.upper()}")
    return frozenset(known)
