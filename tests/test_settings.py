"""Settings from the environment, and what is said of those that cannot be used."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from gateway.settings import (
    SettingsError,
    exam_plan,
    exam_time_scale,
    finish_queue_url,
    lines,
    log_settings,
    micro_settings,
    overridden,
    redis_settings,
    relay_function,
    sonic_settings,
    table_settings,
    token_settings,
)

ISSUER = "https://cognito-idp.us-east-1.amazonaws.com/pool"


def test_redis_from_its_url() -> None:
    """Every part of the URL is found, percent-encoding undone."""
    url = "rediss://us%20er:p%40ss@cache.example.com:6380/3?ssl_ca_certs=/ca.pem"
    found = redis_settings({"REDIS_URL": url, "MAYA_REDIS_CLUSTER": "1", "MAYA_REDIS_REPLY_TIMEOUT_S": "0.5"})
    assert (found.host, found.port, found.tls, found.cluster) == ("cache.example.com", 6380, True, True)
    assert (found.username, found.password, found.database) == ("us er", "p@ss", 3)
    assert (found.ca_file, found.reply_timeout_s) == ("/ca.pem", 0.5)
    assert "p@ss" not in repr(found)
    assert "p%40ss" not in repr(found)


def test_redis_by_default() -> None:
    """A plain URL needs nothing else."""
    found = redis_settings({"REDIS_URL": "redis://localhost"})
    assert (found.port, found.tls, found.cluster, found.username, found.password) == (6379, False, False, "", "")


@pytest.mark.parametrize(
    "url", ["", "localhost:6379", "http://localhost", "redis://", "redis://h:port", "redis://h:99999", "redis://h/db"]
)
def test_no_url_of_redis(url: str) -> None:
    """What is no Redis URL is refused by the variable's name."""
    with pytest.raises(SettingsError, match="REDIS_URL"):
        redis_settings({"REDIS_URL": url})


def test_a_secret_is_not_told() -> None:
    """The error of a bad URL does not hold the password."""
    with pytest.raises(SettingsError) as caught:
        redis_settings({"REDIS_URL": "redis://u:secret@h:port"})
    assert "secret" not in str(caught.value)
    assert caught.value.__suppress_context__


def test_tokens() -> None:
    """The key set is the issuer's unless told otherwise; access tokens are the default."""
    found = token_settings({"MAYA_TOKEN_ISSUER": ISSUER + "/", "MAYA_TOKEN_AUDIENCE": "client"})
    assert (found.issuer, found.audience, found.token_use) == (ISSUER, "client", "access")
    assert found.jwks_url == ISSUER + "/.well-known/jwks.json"
    other = token_settings(
        {"MAYA_TOKEN_ISSUER": ISSUER, "MAYA_TOKEN_AUDIENCE": "c", "MAYA_TOKEN_USE": "id", "MAYA_JWKS_URL": "https://k"}
    )
    assert (other.token_use, other.jwks_url) == ("id", "https://k")


def test_names_and_numbers_by_default() -> None:
    """What is not set has the documented value."""
    assert (table_settings({}).users, table_settings({}).assessments) == ("IELTSUsers", "IELTSAssessments")
    assert (relay_function({}), lines({}), exam_plan({})) == ("maya-relay", 18, "full")
    assert exam_time_scale({}) == 1.0
    assert exam_time_scale({"MAYA_EXAM_TIME_SCALE": "0.08"}) == 0.08
    assert micro_settings({}).model_id == "amazon.nova-micro-v1:0"
    assert log_settings({}).level == "INFO"
    assert finish_queue_url({"MAYA_FINISH_QUEUE_URL": "https://queue"}) == "https://queue"


@pytest.mark.parametrize(
    ("quota", "conversations"), [(1, 1), (2, 1), (3, 1), (4, 2), (10, 8), (20, 18), (21, 18), (30, 27), (100, 90)]
)
def test_lines_follow_from_the_quota(quota: int, conversations: int) -> None:
    """A tenth of the streams, and two at least, stay free; one conversation there always is. A number given wins."""
    environ = {"MAYA_SONIC_STREAMS": str(quota)}
    assert lines(environ) == conversations
    assert lines({**environ, "MAYA_LINES": "7"}) == 7


def test_nova_sonic_is_in_its_home_region() -> None:
    """Another region needs to be allowed in words."""
    assert sonic_settings({}).region == "us-east-1"
    assert sonic_settings({}).model_id == "amazon.nova-2-sonic-v1:0"
    elsewhere = {"MAYA_SONIC_REGION": "eu-north-1"}
    with pytest.raises(SettingsError, match="MAYA_SONIC_ALLOW_OTHER_REGION=1"):
        sonic_settings(elsewhere)
    assert sonic_settings({**elsewhere, "MAYA_SONIC_ALLOW_OTHER_REGION": "1"}).region == "eu-north-1"


def test_the_ca_bundle_must_be_there(tmp_path: Path) -> None:
    """A path to nothing is told before any connection is tried."""
    with pytest.raises(SettingsError, match="AWS_CA_BUNDLE"):
        sonic_settings({"AWS_CA_BUNDLE": str(tmp_path / "none.pem")})
    bundle = tmp_path / "ca.pem"
    bundle.write_text("")
    assert sonic_settings({"AWS_CA_BUNDLE": str(bundle)}).ca_bundle == str(bundle)


@pytest.mark.parametrize(
    ("read", "environ", "name"),
    [
        (token_settings, {}, "MAYA_TOKEN_ISSUER"),
        (token_settings, {"MAYA_TOKEN_ISSUER": ISSUER}, "MAYA_TOKEN_AUDIENCE"),
        (
            token_settings,
            {"MAYA_TOKEN_ISSUER": ISSUER, "MAYA_TOKEN_AUDIENCE": "c", "MAYA_TOKEN_USE": "refresh"},
            "MAYA_TOKEN_USE",
        ),
        (finish_queue_url, {}, "MAYA_FINISH_QUEUE_URL"),
        (exam_plan, {"MAYA_EXAM_PLAN": "short"}, "MAYA_EXAM_PLAN"),
        (exam_time_scale, {"MAYA_EXAM_TIME_SCALE": "0"}, "MAYA_EXAM_TIME_SCALE"),
        (log_settings, {"MAYA_LOG_LEVEL": "LOUD"}, "MAYA_LOG_LEVEL"),
        (lines, {"MAYA_LINES": "0"}, "MAYA_LINES"),
        (lines, {"MAYA_LINES": "many"}, "MAYA_LINES"),
        (micro_settings, {"MAYA_MICRO_READ_TIMEOUT_S": "soon"}, "MAYA_MICRO_READ_TIMEOUT_S"),
        (micro_settings, {"MAYA_MICRO_READ_TIMEOUT_S": "-1"}, "MAYA_MICRO_READ_TIMEOUT_S"),
        (micro_settings, {"MAYA_MICRO_READ_TIMEOUT_S": "inf"}, "MAYA_MICRO_READ_TIMEOUT_S"),
        (micro_settings, {"MAYA_MICRO_READ_TIMEOUT_S": "nan"}, "MAYA_MICRO_READ_TIMEOUT_S"),
        (redis_settings, {"REDIS_URL": "redis://h", "MAYA_REDIS_CLUSTER": "perhaps"}, "MAYA_REDIS_CLUSTER"),
    ],
)
def test_what_cannot_be_used_is_named(
    read: Callable[[dict[str, str]], object], environ: dict[str, str], name: str
) -> None:
    """Each reader names the variable at fault."""
    with pytest.raises(SettingsError, match=name):
        read(environ)


@dataclass(frozen=True)
class _Numbers:
    resume_within_s: float = 60.0
    retries: int = 4
    name: str = "plain"
    on: bool = True


def test_numbers_can_be_overridden() -> None:
    """Numbers follow the environment; other fields, and numbers that it does not name, stay."""
    environ = {"MAYA_RESUME_WITHIN_S": "2.5", "MAYA_RETRIES": "0", "MAYA_NAME": "other", "MAYA_ON": "0"}
    assert overridden(_Numbers(), environ) == _Numbers(resume_within_s=2.5, retries=0)
    assert overridden(_Numbers(), {}) == _Numbers()
    assert overridden(_Numbers(), {"MAYA_LAG_RETRIES": "7", **environ}, prefix="MAYA_LAG_") == _Numbers(retries=7)


@pytest.mark.parametrize(
    ("name", "value"), [("MAYA_RETRIES", "1.5"), ("MAYA_RETRIES", "-1"), ("MAYA_RESUME_WITHIN_S", "-0.1")]
)
def test_a_number_of_the_wrong_kind(name: str, value: str) -> None:
    """An override that does not fit its field is refused by name."""
    with pytest.raises(SettingsError, match=name):
        overridden(_Numbers(), {name: value})
