"""Nothing secret is written in the template, and nothing in it keeps what learners say."""

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from infra.checks.template import Finding, Template, text_of

_NAMES: Final = re.compile(r"(password|secret|token|apikey|privatekey)s?$", re.IGNORECASE)
_HARMLESS: Final = re.compile(
    r"GenerateSecret|EnableTokenRevocation|(Access|Id|Refresh)Token(Validity)?|ClientRequestToken|NextToken"
    r"|GenerateSecretString"
)
_ACCESS_KEY: Final = re.compile(r"(AKIA|ASIA)[A-Z0-9]{16}|-----BEGIN [A-Z ]*PRIVATE KEY-----")
_KEEPERS: Final = {
    "AWS::Kinesis::Stream": "keeps what is put into it",
    "AWS::KinesisFirehose::DeliveryStream": "writes what passes through it somewhere",
    "AWS::Logs::SubscriptionFilter": "sends logs elsewhere",
    "AWS::Bedrock::ModelInvocationLogging": "keeps what learners and Maya say",
    "AWS::CloudTrail::Trail": "may log data events",
    "AWS::Transcribe::Vocabulary": "has no business here",
}


def check(template: Template) -> Iterator[Finding]:
    """Yield secrets in clear text, and resources that could keep speech."""
    for resource in template.resources.values():
        for path, value in _leaves(resource.properties):
            name = path.rpartition(".")[2]
            literal = isinstance(value, str) and value and "{{resolve:" not in value and "${" not in value
            if literal and _NAMES.search(name) and not _HARMLESS.fullmatch(name):
                yield Finding(resource.name, f"{path} is written in the template")
            if isinstance(value, str) and _ACCESS_KEY.search(value):
                yield Finding(resource.name, f"{path} holds a key")
        if resource.type in _KEEPERS:
            yield Finding(resource.name, _KEEPERS[resource.type])
    for bucket in template.of_type("S3::Bucket"):
        if bucket.name != "ServerlessDeploymentBucket":
            yield Finding(bucket.name, "nothing is kept in a bucket but what is deployed")
    for output in template.document.get("Outputs", {}).items():
        if "Secret" in text_of(output[1].get("Value")):
            yield Finding(output[0], "tells a secret")


def _leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping):
        for name, item in value.items():
            yield from _leaves(item, f"{path}.{name}" if path else str(name))
    elif isinstance(value, list):
        for item in value:
            yield from _leaves(item, path)
    else:
        yield path, value
