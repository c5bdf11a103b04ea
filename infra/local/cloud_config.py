"""Configuration of the local API Gateway and Lambda, as one JSON document.

``load(path)`` reads what the supervisor wrote; every class here is one JSON object, every field one key of the same
name. Fields with a default may be left out; unknown keys, missing keys and values of the wrong type are refused with
the path of the key (``api.limits.idle_s``), never with its value.

Functions see the variables of ``CloudConfig.env``, then those of ``FunctionConfig.env``, then Lambda's own. The service
adds ``AWS_ENDPOINT_URL_LAMBDA`` and ``AWS_ENDPOINT_URL_APIGATEWAYMANAGEMENTAPI`` for itself unless ``env`` has them:
then that part is somebody else's. The queue poller and failure destinations reach SQS through boto3 with the ``AWS_*``
variables of ``CloudConfig.env`` (``AWS_ENDPOINT_URL_SQS``).

The ready file appears, whole, when everything answers. It is a JSON object: ``pid``, ``websocket_url``
(``ws://host:port/stage``), ``connections_url`` (``http://host:port/stage``, endpoint of ``apigatewaymanagementapi``),
``lambda_url`` (endpoint of ``lambda``), ``control_url`` (``http://host:port/_local``). Without ``api`` the first two
URLs are null.
"""

from __future__ import annotations

import dataclasses
import json
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


class ConfigError(ValueError):
    """The configuration is not usable; the message names the key."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PortsConfig:
    """TCP ports on ``CloudConfig.host``; 0 takes a free one, told in the ready file."""

    websocket: int = 0
    """Phones connect here."""
    connections: int = 0
    """The ``@connections`` API (boto3 ``apigatewaymanagementapi``)."""
    lambda_api: int = 0
    """The Lambda API (boto3 ``lambda``) and the control endpoints ``/_local/...``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FunctionConfig:
    """One Lambda function."""

    name: str
    handler: str
    """``package.module.function``, e.g. ``handlers.stream.handler``."""
    root: str
    """Absolute folder put first on ``sys.path``: ``LAMBDA_TASK_ROOT``."""
    env: Mapping[str, str] = field(default_factory=dict)
    timeout_s: float = 3.0
    memory_mb: int = 128
    """A label only; nothing limits memory."""
    reserved_concurrency: int | None = None
    """Most environments at once; more invocations are throttled. None shares ``LambdaConfig.account_concurrency``."""
    retries: int = 2
    """Asynchronous invocations: tries after the first (0 to 2)."""
    max_event_age_s: float = 21_600.0
    """Asynchronous invocations: older events are given up."""
    on_failure_queue_arn: str | None = None
    """Asynchronous invocations: SQS queue that gets the record of an event given up."""
    fork: bool = True
    """Environments are forked from a process that has the handler imported; else each is a fresh interpreter."""
    also_import: tuple[str, ...] = ()
    """Modules that forks find imported: what a handler imports when it first needs it would here be paid for by every environment,
    all of them on the same few cores."""
    preload: bool = True
    """Import the handler before the cloud reports ready."""
    provisioned: int = 0
    """Environments started before the cloud reports ready."""
    idle_s: float = 300.0
    """An environment unused for so long is ended."""
    alone: bool = False
    """Only ``root`` and the standard library can be imported, as in the cloud: no packages that are installed here."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LambdaConfig:
    """Limits of the Lambda service (AWS Lambda quotas), for all functions together."""

    account_concurrency: int = 200
    scale_out_after_ms: float = 5.0
    """An invocation waits so long for an environment to become free before one more is started."""
    init_timeout_s: float = 30.0
    sync_payload_bytes: int = 6 * 1024 * 1024
    async_payload_bytes: int = 1024 * 1024
    async_queue_events: int = 10_000
    retry_waits_s: tuple[float, ...] = (60.0, 120.0)
    throttle_waits_s: tuple[float, ...] = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 300.0)
    reap_every_s: float = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class AuthorizerConfig:
    """A REQUEST authorizer on ``$connect``."""

    function: str
    identity_sources: tuple[str, ...] = ()
    """``route.request.header.NAME``, ``route.request.querystring.NAME``; all must be present, else 401."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiLimits:
    """Quotas of API Gateway WebSocket APIs; the defaults are AWS's."""

    message_bytes: int = 128 * 1024
    frame_bytes: int = 32 * 1024
    idle_s: float = 600.0
    life_s: float = 7200.0
    integration_timeout_s: float = 29.0
    connects_per_s: float = 500.0
    connects_burst: int = 500
    messages_per_s: float = 10_000.0
    messages_burst: int = 5_000
    integrations_in_flight: int = 1_000
    """Lambda calls for messages under way at once, over all connections; more wait unread in their sockets."""
    in_flight_per_connection: int = 16
    """The same for each connection, so that none takes all: a phone has two or three. AWS tells no figure for its own."""
    url_chars: int = 4096
    send_buffer_bytes: int = 256 * 1024
    """Bytes waiting for one client; a post beyond it gets 429 LimitExceededException."""
    socket_send_buffer_bytes: int = 128 * 1024
    """The kernel's share (SO_SNDBUF), so that a slow client is noticed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiConfig:
    """One WebSocket API with one stage."""

    routes: Mapping[str, str]
    """Route key to function name: ``$connect``, ``$disconnect``, ``$default`` and custom keys."""
    route_responses: tuple[str, ...] = ()
    """Route keys whose response body is sent to the client (two-way routes); none by default, as in AWS."""
    route_selection_expression: str = "$request.body.action"
    authorizer: AuthorizerConfig | None = None
    api_id: str = "maya000000"
    stage: str = "local"
    stage_variables: Mapping[str, str] = field(default_factory=dict)
    domain_name: str | None = None
    """``requestContext.domainName``; None gives ``{api_id}.execute-api.{region}.amazonaws.com``."""
    limits: ApiLimits = field(default_factory=ApiLimits)
    require_signature: bool = True
    """``@connections`` refuses requests without an AWS signature, as AWS does. Signatures are not verified."""
    delivery_jitter_ms: float = 0.0
    """Each message waits a random time up to this before its Lambda call, which shuffles them."""
    post_jitter_ms: float = 0.0
    """Each ``@connections`` POST waits a random time up to this before it is sent, which shuffles concurrent ones."""
    seed: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class EventSourceConfig:
    """An SQS event source mapping."""

    queue_arn: str
    function: str
    batch_size: int = 10
    report_batch_item_failures: bool = False
    max_concurrency: int = 2
    poll_every_s: float = 1.0
    """Pause between polls that found nothing."""
    wait_s: int = 0
    """SQS long polling; a local SQS server may burn CPU while it waits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CloudConfig:
    """API Gateway and Lambda together: what ``python -m infra.local.cloud --config FILE`` reads."""

    functions: tuple[FunctionConfig, ...]
    log_dir: str
    """One folder for each function, one file for each environment: the CloudWatch Logs of the local cloud."""
    api: ApiConfig | None = None
    event_sources: tuple[EventSourceConfig, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    lambda_service: LambdaConfig = field(default_factory=LambdaConfig)
    host: str = "127.0.0.1"
    ports: PortsConfig = field(default_factory=PortsConfig)
    region: str = "us-east-1"
    account_id: str = "123456789012"
    drain_s: float = 3.0
    """After SIGTERM: time for invocations under way before their environments are killed."""

    def __post_init__(self) -> None:
        """Check references between the parts."""
        names = [function.name for function in self.functions]
        for name in names:
            if names.count(name) > 1:
                raise ConfigError(f"functions: {name} is there twice")
        used = [(f"event_sources.{i}.function", source.function) for i, source in enumerate(self.event_sources)]
        if self.api is not None:
            used += [(f"api.routes.{key}", function) for key, function in self.api.routes.items()]
            if self.api.authorizer is not None:
                used.append(("api.authorizer.function", self.api.authorizer.function))
        for path, name in used:
            if name not in names:
                raise ConfigError(f"{path}: no function is called {name}")


def load(path: Path) -> CloudConfig:
    """Read the configuration from a JSON file.

    Raises:
        ConfigError: The file is not JSON or not a configuration.
        OSError: The file cannot be read.
    """
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as exc:
        raise ConfigError(f"{path}: not JSON: {exc}") from None
    return parse(document)


def parse(document: Any) -> CloudConfig:
    """Build the configuration from a JSON document.

    Raises:
        ConfigError: A key is unknown or missing, or its value has the wrong type.
    """
    config = _object(CloudConfig, document, "")
    assert isinstance(config, CloudConfig)
    return config


def without_forks(config: CloudConfig) -> CloudConfig:
    """The same configuration with a fresh interpreter for each execution environment."""
    functions = tuple(dataclasses.replace(function, fork=False) for function in config.functions)
    return dataclasses.replace(config, functions=functions)


def dump(config: CloudConfig) -> dict[str, Any]:
    """Turn a configuration into the JSON document that ``parse`` takes."""
    return dataclasses.asdict(config)


def _object(cls: type[Any], value: Any, path: str) -> Any:
    if not isinstance(value, dict):
        raise ConfigError(f"{path or 'configuration'}: expected an object")
    hints = typing.get_type_hints(cls)
    fields = {f.name: f for f in dataclasses.fields(cls)}
    for key in value:
        if key not in fields:
            raise ConfigError(f"{_join(path, key)}: unknown key")
    for name, f in fields.items():
        if name not in value and f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING:
            raise ConfigError(f"{_join(path, name)}: missing")
    return cls(**{key: _value(hints[key], item, _join(path, key)) for key, item in value.items()})


def _value(hint: Any, value: Any, path: str) -> Any:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (types.UnionType, typing.Union):
        if value is None and type(None) in arguments:
            return None
        return _value(next(a for a in arguments if a is not type(None)), value, path)
    if origin is tuple:
        if not isinstance(value, list | tuple):
            raise ConfigError(f"{path}: expected a list")
        return tuple(_value(arguments[0], item, f"{path}.{i}") for i, item in enumerate(value))
    if origin is Mapping:
        if not isinstance(value, dict):
            raise ConfigError(f"{path}: expected an object")
        return {key: _value(arguments[1], item, f"{path}.{key}") for key, item in value.items()}
    if dataclasses.is_dataclass(hint):
        assert isinstance(hint, type)
        return _object(hint, value, path)
    return _scalar(hint, value, path)


def _scalar(hint: type[Any], value: Any, path: str) -> Any:
    accepted = (int, float) if hint is float else (hint,)
    if not isinstance(value, accepted) or (isinstance(value, bool) and hint is not bool):
        expected = {int: "an integer", float: "a number", str: "a string", bool: "true or false"}[hint]
        raise ConfigError(f"{path}: expected {expected}")
    return value


def _join(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key
