"""What the operator decides, read from environment variables.

Each concern has its own reader, so that a function which needs Redis alone is not stopped by a token setting that it
never looks at, and nothing but the standard library is imported. A value that cannot be used raises `SettingsError`,
which names the variable. Where AWS services are found is no setting of ours: the SDKs read ``AWS_REGION``,
``AWS_ENDPOINT_URL_<SERVICE>`` and ``AWS_CA_BUNDLE`` by themselves.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qs, unquote, urlsplit

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

SONIC_HOME_REGION: Final = "us-east-1"
"""The region that Nova Sonic answers from; another one needs ``MAYA_SONIC_ALLOW_OTHER_REGION=1``."""

_TRUE: Final = frozenset({"1", "true", "yes", "on"})
_FALSE: Final = frozenset({"0", "false", "no", "off", ""})
_LOG_LEVELS: Final = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
_PLANS: Final = ("full", "demo", "tiny")


class SettingsError(ValueError):
    """A setting is missing or cannot be used; the text names its environment variable, never a secret value."""


@dataclass(frozen=True, slots=True)
class RedisSettings:
    """Where Redis is and how long to wait for it.

    Attributes:
        url: as redis-py takes it: ``redis://`` or, with TLS, ``rediss://``.
        host: name or address from the URL.
        port: from the URL, 6379 if it has none.
        username: from the URL, empty if it has none.
        password: from the URL, empty if it has none.
        database: from the URL's path; 0 unless standalone.
        tls: whether the URL says ``rediss``.
        ca_file: from the URL's ``ssl_ca_certs``, empty for the system's own authorities.
        cluster: whether keys are spread over nodes by hash slot (``MAYA_REDIS_CLUSTER``).
        connect_timeout_s: limit for a new connection.
        reply_timeout_s: limit for each reply.
    """

    url: str = field(repr=False)
    host: str
    port: int
    username: str
    password: str = field(repr=False)
    database: int
    tls: bool
    ca_file: str
    cluster: bool
    connect_timeout_s: float
    reply_timeout_s: float


@dataclass(frozen=True, slots=True)
class TokenSettings:
    """Whose tokens let a learner in.

    Attributes:
        issuer: the ``iss`` that a token must carry; of Cognito ``https://cognito-idp.<region>.amazonaws.com/<pool>``.
        audience: the app client id; ``client_id`` of an access token, ``aud`` of an id token.
        token_use: ``access`` or ``id``.
        jwks_url: where the issuer publishes its keys.
        leeway_s: clocks may differ by this much.
        jwks_timeout_s: limit for fetching the keys.
        jwks_refresh_s: keys are fetched again for an unknown key id, at most this often.
    """

    issuer: str
    audience: str
    token_use: str
    jwks_url: str
    leeway_s: float
    jwks_timeout_s: float
    jwks_refresh_s: float


@dataclass(frozen=True, slots=True)
class TableSettings:
    """Names of the DynamoDB tables."""

    users: str
    assessments: str


@dataclass(frozen=True, slots=True)
class SonicSettings:
    """Nova Sonic: which model, where, and a time limit for every call of its SDK.

    Attributes:
        model_id: as Bedrock names it.
        region: the model's region.
        ca_bundle: path of the certificate authorities to trust (``AWS_CA_BUNDLE``), empty for the system's.
        open_timeout_s: from the call to the response headers.
        send_timeout_s: how long back-pressure may hold an event back.
        receive_timeout_s: how long the service may say nothing; longer than a stream lives (SERVICE.md A8), since a
            learner may be silent for minutes: whether an open stream is dead is for the conversation's watch to say.
        close_timeout_s: for the polite end of a stream, before its connection is cut.
    """

    model_id: str
    region: str
    ca_bundle: str
    open_timeout_s: float
    send_timeout_s: float
    receive_timeout_s: float
    close_timeout_s: float


@dataclass(frozen=True, slots=True)
class MicroSettings:
    """Nova Micro: which model, and its time limits.

    Attributes:
        model_id: as Bedrock names it.
        connect_timeout_s: for a new connection.
        read_timeout_s: for an answer.
        attempts: of boto3's standard retry mode, the first included.
    """

    model_id: str
    connect_timeout_s: float
    read_timeout_s: float
    attempts: int


@dataclass(frozen=True, slots=True)
class LogSettings:
    """How much is logged."""

    level: str


def redis_settings(environ: Mapping[str, str] = os.environ) -> RedisSettings:
    """Read ``REDIS_URL``, ``MAYA_REDIS_CLUSTER`` and the two time limits.

    Raises:
        SettingsError: the URL is missing or none of Redis.
    """
    url = _required(environ, "REDIS_URL")
    try:
        parts = urlsplit(url)
        port, host = parts.port, parts.hostname
    except ValueError:
        raise SettingsError("REDIS_URL: not a URL with a host and a port") from None
    if parts.scheme not in ("redis", "rediss") or not host:
        raise SettingsError("REDIS_URL: must be redis://host:port or rediss://host:port")
    database = parts.path.strip("/") or "0"
    if not database.isdigit():
        raise SettingsError("REDIS_URL: the path must be a database number")
    return RedisSettings(
        url=url,
        host=host,
        port=port or 6379,
        username=unquote(parts.username or ""),
        password=unquote(parts.password or ""),
        database=int(database),
        tls=parts.scheme == "rediss",
        ca_file=parse_qs(parts.query).get("ssl_ca_certs", [""])[0],
        cluster=_flag(environ, "MAYA_REDIS_CLUSTER"),
        connect_timeout_s=_seconds(environ, "MAYA_REDIS_CONNECT_TIMEOUT_S", 2.0),
        reply_timeout_s=_seconds(environ, "MAYA_REDIS_REPLY_TIMEOUT_S", 2.0),
    )


def token_settings(environ: Mapping[str, str] = os.environ) -> TokenSettings:
    """Read who issues tokens and for whom.

    Raises:
        SettingsError: issuer or audience is missing, or the token use is neither ``access`` nor ``id``.
    """
    issuer = _required(environ, "MAYA_TOKEN_ISSUER").rstrip("/")
    return TokenSettings(
        issuer=issuer,
        audience=_required(environ, "MAYA_TOKEN_AUDIENCE"),
        token_use=_choice(environ, "MAYA_TOKEN_USE", "access", ("access", "id")),
        jwks_url=environ.get("MAYA_JWKS_URL") or f"{issuer}/.well-known/jwks.json",
        leeway_s=_seconds(environ, "MAYA_TOKEN_LEEWAY_S", 30.0, least=0.0),
        jwks_timeout_s=_seconds(environ, "MAYA_JWKS_TIMEOUT_S", 3.0),
        jwks_refresh_s=_seconds(environ, "MAYA_JWKS_REFRESH_S", 60.0),
    )


def table_settings(environ: Mapping[str, str] = os.environ) -> TableSettings:
    """Read the names of the tables, ``IELTSUsers`` and ``IELTSAssessments`` if not given."""
    return TableSettings(
        users=environ.get("MAYA_USERS_TABLE") or "IELTSUsers",
        assessments=environ.get("MAYA_ASSESSMENTS_TABLE") or "IELTSAssessments",
    )


def sonic_settings(environ: Mapping[str, str] = os.environ) -> SonicSettings:
    """Read the model, its region and the time limits of its calls.

    Raises:
        SettingsError: the region is not us-east-1 and no other one is allowed, or the CA file is not there.
    """
    region = environ.get("MAYA_SONIC_REGION") or SONIC_HOME_REGION
    if region != SONIC_HOME_REGION and not _flag(environ, "MAYA_SONIC_ALLOW_OTHER_REGION"):
        raise SettingsError(
            f"MAYA_SONIC_REGION: Maya's voice is served from {SONIC_HOME_REGION}; "
            "another region needs MAYA_SONIC_ALLOW_OTHER_REGION=1"
        )
    ca_bundle = environ.get("AWS_CA_BUNDLE", "")
    if ca_bundle and not os.path.isfile(ca_bundle):  # noqa: PTH113 - pathlib costs the small functions import time
        raise SettingsError("AWS_CA_BUNDLE: no such file")
    return SonicSettings(
        model_id=environ.get("MAYA_SONIC_MODEL_ID") or "amazon.nova-2-sonic-v1:0",
        region=region,
        ca_bundle=ca_bundle,
        open_timeout_s=_seconds(environ, "MAYA_SONIC_OPEN_TIMEOUT_S", 12.0),
        send_timeout_s=_seconds(environ, "MAYA_SONIC_SEND_TIMEOUT_S", 5.0),
        receive_timeout_s=_seconds(environ, "MAYA_SONIC_RECEIVE_TIMEOUT_S", 500.0),
        close_timeout_s=_seconds(environ, "MAYA_SONIC_CLOSE_TIMEOUT_S", 1.0),
    )


def micro_settings(environ: Mapping[str, str] = os.environ) -> MicroSettings:
    """Read the model that assesses transcripts, and its time limits."""
    return MicroSettings(
        model_id=environ.get("MAYA_MICRO_MODEL_ID") or "amazon.nova-micro-v1:0",
        connect_timeout_s=_seconds(environ, "MAYA_MICRO_CONNECT_TIMEOUT_S", 3.0),
        read_timeout_s=_seconds(environ, "MAYA_MICRO_READ_TIMEOUT_S", 15.0),
        attempts=_count(environ, "MAYA_MICRO_ATTEMPTS", 3),
    )


def invocation_logging_check(environ: Mapping[str, str] = os.environ) -> str:
    """Read how a relay looks at Bedrock's model invocation logging before it opens a stream.

    ``off``: not at all; ``tolerant``: it refuses when the logging is on; ``strict``: also when it cannot know.
    """
    return _choice(environ, "MAYA_INVOCATION_LOGGING_CHECK", "off", ("off", "tolerant", "strict"))


def finish_queue_url(environ: Mapping[str, str] = os.environ) -> str:
    """Read the URL of the queue for assessments that could not be saved."""
    return _required(environ, "MAYA_FINISH_QUEUE_URL")


def relay_function(environ: Mapping[str, str] = os.environ) -> str:
    """Read the name of the relay's Lambda function."""
    return environ.get("MAYA_RELAY_FUNCTION") or "maya-relay"


def lines(environ: Mapping[str, str] = os.environ) -> int:
    """Read how many conversations may be held at once: ``MAYA_LINES``, else what the quota of streams allows.

    ``MAYA_SONIC_STREAMS`` is the quota of concurrent streams (SERVICE.md A11: 20 by default, 2 in a new account). A tenth of
    it, and at least two, stay free for changes of part and recoveries, which take a second stream for a moment.
    """
    quota = _count(environ, "MAYA_SONIC_STREAMS", 20)
    return _count(environ, "MAYA_LINES", max(1, quota - max(2, -(-quota // 10))))


def exam_plan(environ: Mapping[str, str] = os.environ) -> str:
    """Read which plan the test follows: ``full``, ``demo`` or ``tiny``."""
    return _choice(environ, "MAYA_EXAM_PLAN", "full", _PLANS)


def exam_time_scale(environ: Mapping[str, str] = os.environ) -> float:
    """Read by how much every time limit of the test is longer or shorter than planned; 1 if not given."""
    return _seconds(environ, "MAYA_EXAM_TIME_SCALE", 1.0)


def log_settings(environ: Mapping[str, str] = os.environ) -> LogSettings:
    """Read the level of our own log lines; other packages never log below WARNING, since they print what they send."""
    return LogSettings(level=_choice(environ, "MAYA_LOG_LEVEL", "INFO", _LOG_LEVELS))


def overridden[T: "DataclassInstance"](
    defaults: T, environ: Mapping[str, str] = os.environ, *, prefix: str = "MAYA_"
) -> T:
    """Copy `defaults` with every number that the environment names: ``MAYA_RESUME_WITHIN_S`` sets ``resume_within_s``.

    Only fields that hold an integer or a float are looked at; integers stay integers. `prefix` is what the variables' names
    begin with: ``MAYA_LAG_`` for the lag monitor's numbers.

    Raises:
        SettingsError: a value is not such a number, or negative.
    """
    changes: dict[str, Any] = {}
    for item in fields(defaults):
        name, default = f"{prefix}{item.name.upper()}", getattr(defaults, item.name)
        if name not in environ or isinstance(default, bool):
            continue
        if isinstance(default, int):
            changes[item.name] = _count(environ, name, default, least=0)
        elif isinstance(default, float):
            changes[item.name] = _seconds(environ, name, default, least=0.0)
    return replace(defaults, **changes)


def _required(environ: Mapping[str, str], name: str) -> str:
    value = environ.get(name, "")
    if not value:
        raise SettingsError(f"{name}: must be set")
    return value


def _flag(environ: Mapping[str, str], name: str) -> bool:
    value = environ.get(name, "").strip().lower()
    if value not in _TRUE | _FALSE:
        raise SettingsError(f"{name}: must be 0 or 1")
    return value in _TRUE


def _choice(environ: Mapping[str, str], name: str, default: str, choices: tuple[str, ...]) -> str:
    value = environ.get(name) or default
    if value not in choices:
        raise SettingsError(f"{name}: must be one of {', '.join(choices)}")
    return value


def _seconds(environ: Mapping[str, str], name: str, default: float, *, least: float = 0.001) -> float:
    try:
        value = float(environ.get(name) or default)
    except ValueError:
        raise SettingsError(f"{name}: must be a number") from None
    if not least <= value < float("inf"):
        raise SettingsError(f"{name}: must be a finite number, not below {least:g}")
    return value


def _count(environ: Mapping[str, str], name: str, default: int, *, least: int = 1) -> int:
    try:
        value = int(environ.get(name) or default)
    except ValueError:
        raise SettingsError(f"{name}: must be a whole number") from None
    if value < least:
        raise SettingsError(f"{name}: must not be below {least}")
    return value
