"""API Gateway and Lambda as one program: real processes, sockets and clients."""

import asyncio
import json
import signal
import sys
import urllib.request
from asyncio.subprocess import Process
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Protocol

import psutil
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.typing import Subprotocol

from tests.local.processes import gone

pytestmark = pytest.mark.e2e

FUNCTIONS = Path(__file__).parent / "cloud_functions"
REPOSITORY = Path(__file__).parents[2]


def make_config(tmp_path: Path, **changes: Any) -> dict[str, Any]:
    """A configuration with an authorizer, routes and a relay."""

    def function(name: str, **settings: Any) -> dict[str, Any]:
        return {"name": name, "handler": f"app.{name}", "root": str(FUNCTIONS), "timeout_s": 30, **settings}

    return {
        "functions": [
            *(function(name) for name in ("authorize", "connect", "disconnect", "message")),
            function("relay", timeout_s=900, retries=0),
        ],
        "log_dir": str(tmp_path / "logs"),
        "env": {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b"},
        "drain_s": 0.0,
        "api": {
            "routes": {"$connect": "connect", "$disconnect": "disconnect", "$default": "message"},
            "authorizer": {
                "function": "authorize",
                "identity_sources": ["route.request.header.Sec-WebSocket-Protocol"],
            },
        },
        **changes,
    }


class Cloud:
    """The program under test."""

    def __init__(self, process: Process, ready: dict[str, Any]) -> None:
        self.process = process
        self.ready = ready

    def connect(self, token: str = "good") -> connect:
        """Connect a client with a token."""
        subprotocols = [Subprotocol("demo.v1"), Subprotocol(f"bearer.{token}")]
        return connect(self.ready["websocket_url"], subprotocols=subprotocols, compression=None)

    async def functions(self) -> dict[str, Any]:
        """What the control endpoint tells, by function."""

        def read() -> Any:
            with urllib.request.urlopen(self.ready["control_url"] + "/processes") as answer:  # noqa: S310 # http only
                return json.load(answer)

        return {note["function"]: note for note in (await asyncio.to_thread(read))["functions"]}

    async def pids(self) -> list[int]:
        """The processes of all functions."""
        pids: list[int] = []
        for note in (await self.functions()).values():
            pids += [note["template"]["pid"], *(environment["pid"] for environment in note["environments"])]
        return pids


class StartCloud(Protocol):
    """Starts the program and waits for its ready file; it is killed after the test."""

    async def __call__(self, *arguments: str, **changes: Any) -> Cloud: ...


async def run(config_file: Path, *arguments: str | Path, **options: Any) -> Process:
    """Start the program with a configuration."""
    command = (sys.executable, "-m", "infra.local.cloud", "--config", config_file, *arguments)
    return await asyncio.create_subprocess_exec(*command, cwd=REPOSITORY, **options)


@pytest.fixture
async def start_cloud(tmp_path: Path) -> AsyncIterator[StartCloud]:
    """Start the program and wait for its ready file; it is killed after the test."""
    processes: list[Process] = []

    async def start(*arguments: str, **changes: Any) -> Cloud:
        config_file, ready_file = tmp_path / "config.json", tmp_path / "ready.json"
        config_file.write_text(json.dumps(make_config(tmp_path, **changes)))
        process = await run(config_file, "--ready-file", ready_file, *arguments)
        processes.append(process)
        while not ready_file.exists():  # no event tells of a file on every platform
            assert process.returncode is None
            await asyncio.sleep(0.01)
        return Cloud(process, json.loads(ready_file.read_text()))

    yield start
    for process in processes:
        if process.returncode is None:
            process.kill()
        await process.wait()


@pytest.mark.parametrize("arguments", [(), ("--no-fork",)])
async def test_a_message_goes_to_a_function_and_comes_back(start_cloud: StartCloud, arguments: tuple[str, ...]) -> None:
    """A client is authorized, its message reaches a function, which answers through boto3."""
    cloud = await start_cloud(*arguments)
    assert cloud.ready["pid"] == cloud.process.pid
    async with cloud.connect() as client:
        assert client.subprotocol == "demo.v1"
        message = json.dumps({"action": "echo", "text": "ä"})
        await client.send(message)
        assert json.loads(await client.recv()) == {"body": message, "learner": "p"}
    with pytest.raises(InvalidStatus) as caught:
        async with cloud.connect("bad"):
            pass
    assert caught.value.response.status_code == 401


async def test_a_crash_is_an_error_frame_and_nothing_else(start_cloud: StartCloud) -> None:
    """A segmentation fault in a function costs one message."""
    cloud = await start_cloud()
    async with cloud.connect() as client:
        await client.send('{"action": "crash"}')
        assert json.loads(await client.recv())["message"] == "Internal server error"
        await client.send('{"action": "echo"}')
        assert json.loads(await client.recv())["learner"] == "p"


async def test_sigterm_ends_everything(start_cloud: StartCloud, tmp_path: Path) -> None:
    """Clients are closed with 1001, $disconnect is called, no process remains, the exit code is 0."""
    cloud = await start_cloud()
    async with cloud.connect() as client:
        await client.send('{"action": "relay"}')
        relay_pid = int(await client.recv())
        pids = await cloud.pids()
        assert relay_pid in pids
        cloud.process.send_signal(signal.SIGTERM)
        with pytest.raises(ConnectionClosed) as caught:
            await client.recv()
        assert caught.value.rcvd is not None
        assert (caught.value.rcvd.code, caught.value.rcvd.reason) == (1001, "Going away")
    assert await cloud.process.wait() == 0
    assert len(pids) >= 9
    assert await asyncio.to_thread(gone, pids)
    logged = "".join(path.read_text() for path in (tmp_path / "logs" / "disconnect").iterdir())
    assert "gone 1001" in logged


@pytest.mark.parametrize("arguments", [(), ("--no-fork",)])
async def test_kill_9_leaves_no_process(start_cloud: StartCloud, arguments: tuple[str, ...]) -> None:
    """Functions' processes die with the program, a busy one too."""
    cloud = await start_cloud(*arguments)
    async with cloud.connect() as client:
        await client.send('{"action": "relay"}')
        relay_pid = int(await client.recv())
        pids = await cloud.pids()
        assert relay_pid in pids
        cloud.process.kill()
        await cloud.process.wait()
        assert await asyncio.to_thread(gone, pids)


async def test_a_variable_already_set_is_left_alone(start_cloud: StartCloud, tmp_path: Path) -> None:
    """When an endpoint is somebody else's, functions see that one."""
    env = {"AWS_ENDPOINT_URL_LAMBDA": "http://127.0.0.1:9", "AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b"}
    cloud = await start_cloud(env=env)
    template = (await cloud.functions())["relay"]["template"]
    environ = psutil.Process(template["pid"]).environ()
    assert environ["AWS_ENDPOINT_URL_LAMBDA"] == "http://127.0.0.1:9"
    assert environ["AWS_ENDPOINT_URL_APIGATEWAYMANAGEMENTAPI"] == cloud.ready["connections_url"]


async def test_without_an_api_only_lambda_runs(start_cloud: StartCloud) -> None:
    """The WebSocket API is optional."""
    cloud = await start_cloud(api=None)
    assert cloud.ready["websocket_url"] is None
    assert cloud.ready["connections_url"] is None
    assert "authorize" in await cloud.functions()


async def test_a_wrong_configuration_ends_with_2_and_names_the_key(tmp_path: Path) -> None:
    """A mistake is told in one line."""
    config_file = tmp_path / "config.json"
    config_file.write_text(json.dumps(make_config(tmp_path, drain_s="x")))
    process = await run(config_file, stderr=asyncio.subprocess.PIPE)
    _, stderr = await process.communicate()
    assert (process.returncode, stderr) == (2, b"drain_s: expected a number\n")


async def test_a_port_in_use_ends_with_1(tmp_path: Path, start_cloud: StartCloud) -> None:
    """A port that somebody has is told, and nothing stays behind."""
    cloud = await start_cloud()
    port = int(cloud.ready["lambda_url"].rpartition(":")[2])
    config_file = tmp_path / "second.json"
    config_file.write_text(json.dumps(make_config(tmp_path, ports={"lambda_api": port})))
    process = await run(config_file, stderr=asyncio.subprocess.PIPE)
    _, stderr = await process.communicate()
    assert process.returncode == 1
    assert b"ddress already in use" in stderr
