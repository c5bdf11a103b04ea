"""What may be asked of the local cloud."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from infra.local.deployment import Disorder


@dataclass(frozen=True, slots=True, kw_only=True)
class Ports:
    """TCP ports of 127.0.0.1; 0 takes a free one."""

    websocket: int = 0
    connections: int = 0
    lambda_api: int = 0
    redis: int = 0
    aws: int = 0
    bedrock: int = 0
    nova_control: int = 0
    issuer: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What a person or program asks of the local cloud.

    Attributes:
        state: the state file; none leaves it in the private directory.
        ports: where to listen.
        voice: how Maya's stand-in hears and speaks: ``human``, ``plain``, or ``auto`` for the better one there is.
        timing: ``service`` for answers as late as Nova Sonic's, or ``instant`` for a stand-in that answers at once.
        record: whether the Nova Sonic stand-in keeps in memory what it heard and said.
        plan: the exam plan; empty takes ``MAYA_EXAM_PLAN``, else ``full``.
        lines: conversations at once; 0 takes ``MAYA_LINES``, else 18.
        disorder: how messages are shuffled.
        redis_restarts: how often Valkey is started again on its port when it dies, as in the cloud.
        nova_restarts: how often the Nova Sonic stand-in is started again on its ports when it dies; it has forgotten everything.
        lazy: whether each function is imported at its first use only.
        nova: settings of the Nova Sonic stand-in, each ``NAME=VALUE``.
        limits: limits of the local API Gateway that differ from AWS's, by their names in ``ApiLimits``.
    """

    state: Path | None = None
    ports: Ports = Ports()
    voice: str = "auto"
    timing: str = "service"
    record: bool = False
    plan: str = ""
    lines: int = 0
    disorder: Disorder = field(default=Disorder())
    redis_restarts: int = 0
    nova_restarts: int = 0
    lazy: bool = False
    nova: tuple[str, ...] = ()
    limits: Mapping[str, int | float] = field(default_factory=dict)
