"""The environment variables that the processes of the local cloud and the product's functions see."""

import os
from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass

from infra.local.aws import DUMMY_KEYS, Names
from infra.local.outside import Outside
from infra.local.tokens import AUDIENCE, JWKS_PATH

# Where an SDK looks for keys besides the two variables; no key of a real account is used on local parts.
_KEY_SOURCES = (
    "AWS_PROFILE",
    "AWS_DEFAULT_PROFILE",
    "AWS_SESSION_TOKEN",
    "AWS_SECURITY_TOKEN",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_ROLE_ARN",
)
# What a function keeps of the person's environment besides MAYA_* and AWS_*.
_KEPT = frozenset({"PATH", "HOME", "LANG", "TZ", "TMPDIR", "NO_PROXY", "no_proxy"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Addresses:
    """Where the functions find the parts, whoever runs them; ``ca_bundle`` may be empty."""

    dynamodb_url: str
    sqs_url: str
    finish_queue_url: str
    bedrock_url: str
    ca_bundle: str
    token_issuer: str


def isolate(environment: MutableMapping[str, str]) -> None:
    """Make an environment use dummy keys and nothing that the person configured for real accounts."""
    for name in _KEY_SOURCES:
        environment.pop(name, None)
    environment.update(DUMMY_KEYS)
    environment["AWS_CONFIG_FILE"] = environment["AWS_SHARED_CREDENTIALS_FILE"] = os.devnull


def local_environment(environment: Mapping[str, str], outside: Outside, *, temporary: str) -> dict[str, str]:
    """Return the environment of every process of the cloud: no proxy to this machine, temporary files in ``temporary``.

    Where no AWS service is somebody else's, the keys are dummies.
    """
    local = dict(environment)
    if not outside.aws_urls:
        isolate(local)
    elif "AWS_PROFILE" not in local:
        for name, value in DUMMY_KEYS.items():
            local.setdefault(name, value)
    # An address for all services would also hold for those that were given none of their own.
    local.pop("AWS_ENDPOINT_URL", None)
    local["AWS_IGNORE_CONFIGURED_ENDPOINT_URLS"] = "false"
    local["AWS_EC2_METADATA_DISABLED"] = "true"
    exempt = [name for name in (local.get("NO_PROXY") or local.get("no_proxy") or "").split(",") if name]
    local["NO_PROXY"] = local["no_proxy"] = ",".join([*exempt, "127.0.0.1", "localhost"])
    local["TMPDIR"] = temporary
    local["PYTHONUNBUFFERED"] = "1"
    return local


def product_environment(
    local: Mapping[str, str], addresses: Addresses, names: Names, *, plan: str, lines: int
) -> dict[str, str]:
    """Return what every function of the product sees, but for ``REDIS_URL``, which each function has its own of.

    ``local`` is what ``local_environment`` returned; its other ``MAYA_*`` variables, such as timings, are kept.
    """
    defaults = {
        "MAYA_RELAY_FUNCTION": "maya-relay",
        "MAYA_TOKEN_AUDIENCE": AUDIENCE,
        "MAYA_TOKEN_USE": "access",
        "MAYA_LOG_LEVEL": "INFO",
    }
    kept = {name: value for name, value in local.items() if name.startswith(("MAYA_", "AWS_")) or name in _KEPT}
    kept.pop("AWS_CA_BUNDLE", None)
    ours = {
        "AWS_REGION": names.region,
        "AWS_DEFAULT_REGION": names.region,
        "AWS_ENDPOINT_URL_DYNAMODB": addresses.dynamodb_url,
        "AWS_ENDPOINT_URL_SQS": addresses.sqs_url,
        "AWS_ENDPOINT_URL_BEDROCK_RUNTIME": addresses.bedrock_url,
        "MAYA_USERS_TABLE": names.users_table,
        "MAYA_ASSESSMENTS_TABLE": names.assessments_table,
        "MAYA_FINISH_QUEUE_URL": addresses.finish_queue_url,
        "MAYA_TOKEN_ISSUER": addresses.token_issuer,
        "MAYA_JWKS_URL": jwks_url(local, addresses.token_issuer),
        "MAYA_EXAM_PLAN": plan,
        "MAYA_LINES": str(lines),
    }
    if addresses.ca_bundle:
        ours["AWS_CA_BUNDLE"] = addresses.ca_bundle
    return {**defaults, **kept, **ours}


def jwks_url(environment: Mapping[str, str], issuer: str) -> str:
    """Return where the issuer's keys are."""
    return environment.get("MAYA_JWKS_URL") or issuer.rstrip("/") + JWKS_PATH
