"""What each function's artefact holds besides the modules that its handler reaches."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

MEGABYTE: Final = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Function:
    """One artefact.

    Attributes:
        handler: module of the handler.
        packages: distributions, with all that they need themselves.
        services: AWS services that boto3 is asked for; the descriptions of all others are left out.
        without: modules of ours that are imported within functions that this handler never calls.
        most_bytes: the zip may not be larger.
    """

    handler: str
    packages: frozenset[str]
    services: frozenset[str] = frozenset()
    without: frozenset[str] = frozenset()
    most_bytes: int


_BOTO3: Final = frozenset({"boto3", "botocore", "jmespath", "python-dateutil", "s3transfer", "six", "urllib3"})
_MODELS: Final = frozenset({"annotated-types", "pydantic", "pydantic-core", "typing-extensions", "typing-inspection"})
_TELEMETRY: Final = frozenset({"aws-lambda-powertools", "jmespath", "structlog", "typing-extensions"})
_SONIC: Final = frozenset(
    {
        *("aiohappyeyeballs", "aiohttp", "aiosignal", "attrs", "frozenlist", "idna", "multidict", "propcache", "yarl"),
        *("aws-sdk-bedrock-runtime", "aws-sdk-signers", "awscrt", "ijson"),
        *("smithy-aws-core", "smithy-aws-event-stream", "smithy-core", "smithy-http", "smithy-json"),
    }
)

FUNCTIONS: Final[Mapping[str, Function]] = {
    "authorize": Function(
        handler="handlers.authorize",
        packages=frozenset({"cffi", "cryptography", "pycparser", "pyjwt"}),
        most_bytes=7 * MEGABYTE,
    ),
    "connect": Function(
        handler="handlers.connect",
        packages=_BOTO3,
        services=frozenset({"dynamodb"}),
        # Stored assessments are read back by relays and by finish.
        without=frozenset({"gateway.core.assessment"}),
        most_bytes=2 * MEGABYTE,
    ),
    "stream": Function(
        handler="handlers.stream",
        packages=_BOTO3 | {"hiredis"},
        services=frozenset({"lambda", "apigatewaymanagementapi"}),
        most_bytes=2 * MEGABYTE,
    ),
    "disconnect": Function(handler="handlers.disconnect", packages=frozenset({"hiredis"}), most_bytes=MEGABYTE),
    "relay": Function(
        handler="handlers.relay",
        packages=_BOTO3 | _MODELS | _TELEMETRY | _SONIC | {"redis", "hiredis", "uvloop"},
        services=frozenset({"apigatewaymanagementapi", "bedrock", "bedrock-runtime", "dynamodb", "sqs"}),
        most_bytes=20 * MEGABYTE,
    ),
    "finish": Function(
        handler="handlers.finish",
        packages=_BOTO3 | _MODELS | _TELEMETRY | {"hiredis"},
        services=frozenset({"dynamodb", "sqs"}),
        most_bytes=8 * MEGABYTE,
    ),
}
"""By the name that serverless.yml gives them."""
