"""What is deployed on the local API Gateway and Lambda: the same functions, routes and settings as in the cloud."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from infra.local.cloud_config import (
    ApiConfig,
    ApiLimits,
    AuthorizerConfig,
    CloudConfig,
    EventSourceConfig,
    FunctionConfig,
    PortsConfig,
)

ROOT = Path(__file__).resolve().parents[2]
STAGE = "local"
_RELAY_S = 900.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Disorder:
    """How the local API Gateway shuffles messages: each waits a random time up to these, drawn from ``seed``."""

    delivery_jitter_ms: float = 0.0
    post_jitter_ms: float = 0.0
    seed: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class RedisUrls:
    """The Redis address of each kind of function: users with different rights."""

    stream: str
    relay: str
    finish: str


def deployment(
    *,
    environment: Mapping[str, str],
    redis: RedisUrls,
    finish_queue_arn: str,
    ports: PortsConfig,
    region: str,
    log_dir: Path,
    disorder: Disorder,
    limits: Mapping[str, Any],
    lazy: bool,
) -> CloudConfig:
    """Return the configuration of the local API Gateway and Lambda.

    Args:
        environment: what every function sees.
        redis: what those that speak to Redis see in ``REDIS_URL``.
        finish_queue_arn: the queue of unsaved assessments, which also gets the records of relays that died.
        ports: where to listen; 0 for a free port.
        region: the Region the functions believe to be in.
        log_dir: where the functions' logs go.
        disorder: how messages are shuffled.
        limits: fields of ``ApiLimits`` that differ from AWS's.
        lazy: whether each function is imported at its first use only.
    """
    return CloudConfig(
        functions=_functions(redis, finish_queue_arn, lazy=lazy),
        log_dir=str(log_dir),
        api=ApiConfig(
            routes={
                "$connect": "maya-connect",
                "$disconnect": "maya-disconnect",
                "$default": "maya-stream",
                "stream": "maya-stream",
            },
            authorizer=AuthorizerConfig(
                function="maya-authorize", identity_sources=("route.request.header.Sec-WebSocket-Protocol",)
            ),
            stage=STAGE,
            delivery_jitter_ms=disorder.delivery_jitter_ms,
            post_jitter_ms=disorder.post_jitter_ms,
            seed=disorder.seed,
            limits=ApiLimits(**limits),
        ),
        event_sources=(
            EventSourceConfig(queue_arn=finish_queue_arn, function="maya-finish", report_batch_item_failures=True),
        ),
        env=environment,
        ports=ports,
        region=region,
    )


def _functions(redis: RedisUrls, finish_queue_arn: str, *, lazy: bool) -> tuple[FunctionConfig, ...]:
    def function(name: str, *, redis_url: str = "", timeout_s: float, **settings: Any) -> FunctionConfig:
        return FunctionConfig(
            name=f"maya-{name}",
            handler=f"handlers.{name}.handler",
            root=str(ROOT),
            env={"REDIS_URL": redis_url} if redis_url else {},
            timeout_s=timeout_s,
            preload=not lazy,
            **settings,
        )

    return (
        function("authorize", timeout_s=5),
        function("connect", timeout_s=5),
        function(
            "stream",
            timeout_s=5,
            redis_url=redis.stream,
            provisioned=0 if lazy else 2,
            also_import=() if lazy else ("handlers.no_relay", "boto3", "gateway.adapters.launcher"),
        ),
        function("disconnect", timeout_s=5, redis_url=redis.stream),
        function(
            "relay",
            timeout_s=_RELAY_S,
            redis_url=redis.relay,
            retries=0,
            max_event_age_s=60.0,
            on_failure_queue_arn=finish_queue_arn,
        ),
        function("finish", timeout_s=60, redis_url=redis.finish),
    )
