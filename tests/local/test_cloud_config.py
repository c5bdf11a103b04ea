"""The configuration of the local cloud: what is taken, what is refused."""

import json
from pathlib import Path
from typing import Any

import pytest

from infra.local import cloud_config
from infra.local.cloud_config import CloudConfig, ConfigError

MINIMAL: dict[str, Any] = {"functions": [{"name": "f", "handler": "m.f", "root": "/task"}], "log_dir": "/logs"}


def test_defaults_are_aws_s_limits() -> None:
    """A minimal configuration has the limits of AWS."""
    config = cloud_config.parse({**MINIMAL, "api": {"routes": {"$default": "f"}}})
    (function,) = config.functions
    assert (function.timeout_s, function.memory_mb, function.retries, function.max_event_age_s) == (3, 128, 2, 21600)
    assert config.api is not None
    assert list(config.lambda_service.retry_waits_s) == [60.0, 120.0]
    assert (config.lambda_service.sync_payload_bytes, config.lambda_service.async_payload_bytes) == (2**20 * 6, 2**20)
    limits = config.api.limits
    assert (limits.message_bytes, limits.frame_bytes, limits.idle_s, limits.life_s) == (131072, 32768, 600, 7200)
    assert (limits.integration_timeout_s, limits.connects_per_s, limits.url_chars) == (29, 500, 4096)
    assert (limits.messages_per_s, limits.messages_burst) == (10000, 5000)


def test_load_reads_what_dump_wrote(tmp_path: Path) -> None:
    """A configuration survives its way through a file."""
    config = cloud_config.parse(
        {
            **MINIMAL,
            "env": {"A": "1"},
            "ports": {"websocket": 8080},
            "api": {
                "routes": {"$connect": "f"},
                "authorizer": {"function": "f", "identity_sources": ["route.request.header.A"]},
                "limits": {"idle_s": 2},
            },
            "event_sources": [{"queue_arn": "arn:aws:sqs:us-east-1:1:q", "function": "f"}],
        }
    )
    path = tmp_path / "config.json"
    path.write_text(json.dumps(cloud_config.dump(config)))
    assert cloud_config.load(path) == config
    assert isinstance(config, CloudConfig)


def test_no_fork_for_all_functions() -> None:
    """One switch gives every function fresh interpreters."""
    assert cloud_config.without_forks(cloud_config.parse(MINIMAL)).functions[0].fork is False


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ([], "configuration: expected an object"),
        ({**MINIMAL, "color": 1}, "color: unknown key"),
        ({"functions": []}, "log_dir: missing"),
        ({**MINIMAL, "functions": {}}, "functions: expected a list"),
        ({**MINIMAL, "functions": [{"name": "f"}]}, "functions.0.handler: missing"),
        ({**MINIMAL, "functions": MINIMAL["functions"] * 2}, "functions: f is there twice"),
        ({**MINIMAL, "log_dir": 3}, "log_dir: expected a string"),
        ({**MINIMAL, "drain_s": True}, "drain_s: expected a number"),
        ({**MINIMAL, "ports": {"websocket": 1.5}}, "ports.websocket: expected an integer"),
        ({**MINIMAL, "env": []}, "env: expected an object"),
        ({**MINIMAL, "env": {"A": 1}}, "env.A: expected a string"),
        ({**MINIMAL, "api": {"routes": {"$connect": "g"}}}, "api.routes.$connect: no function is called g"),
        (
            {**MINIMAL, "api": {"routes": {}, "authorizer": {"function": "g"}}},
            "api.authorizer.function: no function is called g",
        ),
        ({**MINIMAL, "api": {"routes": {}, "limits": {"idle_s": "x"}}}, "api.limits.idle_s: expected a number"),
        ({**MINIMAL, "api": {"routes": {}, "require_signature": 1}}, "api.require_signature: expected true or false"),
        (
            {**MINIMAL, "event_sources": [{"queue_arn": "q", "function": "g"}]},
            "event_sources.0.function: no function is called g",
        ),
    ],
)
def test_what_is_refused_is_named(change: Any, text: str) -> None:
    """An error names the key that is wrong."""
    with pytest.raises(ConfigError) as caught:
        cloud_config.parse(change)
    assert str(caught.value) == text


def test_a_file_that_is_not_json(tmp_path: Path) -> None:
    """The error names the file."""
    path = tmp_path / "config.json"
    path.write_text("{")
    with pytest.raises(ConfigError, match=r"config\.json: not JSON"):
        cloud_config.load(path)
