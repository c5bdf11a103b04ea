"""The local cloud as a whole: real processes, by its commands."""

import contextlib
import json
import signal
import socket
import ssl
import subprocess
import sys
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import jwt
import psutil
import pytest

from infra.local import aws
from infra.local.deployment import ROOT
from infra.local.state import State
from infra.local.valkey import free_port
from infra.local.watchdog import marked_processes
from tests.e2e.clouds import QUICK, Cloud, check_nothing_left, clean_environment, eventually, launch, start
from tests.local.processes import gone

# Functions are imported at their first use: a cloud that is only started and stopped need not wait for them.
LAZY = (*QUICK, "--lazy")


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    """A running cloud that the tests leave as it was."""
    with launch(tmp_path_factory.mktemp("cloud") / "state.json", *QUICK) as running:
        yield running


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a command of `python -m infra.local` to its end."""
    return subprocess.run(
        [sys.executable, "-m", "infra.local", *arguments],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=clean_environment(),
        timeout=60,
        check=False,
    )


def test_everything_answers_when_the_state_file_is_there(cloud: Cloud) -> None:
    """Each address in the file is that of a part that works."""
    state = cloud.state
    with cloud.redis() as connection:
        assert connection.ping()
    assert set(cloud.client("dynamodb").list_tables()["TableNames"]) == {state.users_table, state.assessments_table}
    assert cloud.client("sqs").list_queues()["QueueUrls"]
    assert cloud.client("lambda").invoke(FunctionName="maya-authorize", Payload=b"{}")["StatusCode"] == 200
    assert jwt.PyJWKClient(state.jwks_url).get_jwk_set().keys
    bedrock = urllib.parse.urlsplit(state.bedrock_url)
    context = ssl.create_default_context(cafile=state.ca_bundle)
    context.set_alpn_protocols(["h2"])
    with (
        socket.create_connection((bedrock.hostname or "", bedrock.port or 0), 5) as plain,
        context.wrap_socket(plain, server_hostname=bedrock.hostname) as secured,
    ):
        assert secured.selected_alpn_protocol() == "h2"
    for url in (state.websocket_url, state.connections_url, state.nova_control_url):
        parts = urllib.parse.urlsplit(url)
        socket.create_connection((parts.hostname or "", parts.port or 0), 5).close()


def test_nothing_of_ours_listens_to_other_machines(cloud: Cloud) -> None:
    """Every listening socket of the cloud's processes is on 127.0.0.1."""
    own = [cloud.process.pid, *marked_processes(f"MAYA_LOCAL_CLOUD={cloud.state.mark}")]
    listening = [
        connection.laddr.ip
        for pid in own
        for connection in psutil.Process(pid).net_connections("inet")
        if connection.status == psutil.CONN_LISTEN
    ]
    assert len(listening) >= 7
    assert set(listening) == {"127.0.0.1"}


def test_a_person_is_told_how_to_connect(cloud: Cloud) -> None:
    """The output has the address, the way to a token and the command to talk."""
    told = "".join(cloud.output)
    assert cloud.state.websocket_url in told
    assert f"infra.local token --state {cloud.state_file} --learner alice --unlock academic_speaking" in told
    assert f'client_sim talk --url {cloud.state.websocket_url} --token "$TOKEN" --speech' in told
    assert "somebody else's" not in told


def test_private_files_are_private(cloud: Cloud) -> None:
    """Only their owner may look into the directory of keys and logs, and at the state file with its password."""
    assert Path(cloud.state.log_dir).parent.stat().st_mode & 0o777 == 0o700
    assert cloud.state_file.stat().st_mode & 0o777 == 0o600


def test_a_token_is_all_that_the_command_prints(cloud: Cloud) -> None:
    """Standard output is the token, signed by the published key; the learner has the modules, and keeps those of before."""
    arguments = ("token", "--state", str(cloud.state_file), "--learner", "ann@example.com")
    assert run(*arguments, "--unlock", "academic_speaking").returncode == 0
    done = run(*arguments, "--unlock", "general_speaking", "listening", "--expires-s", "60")
    assert done.returncode == 0
    assert done.stderr == ""
    token = done.stdout.removesuffix("\n")
    state = cloud.state
    key = jwt.PyJWKClient(state.jwks_url).get_signing_key_from_jwt(token)
    claims = jwt.decode(token, key.key, algorithms=["RS256"], issuer=state.token_issuer)
    assert (claims["sub"], claims["client_id"]) == ("ann@example.com", state.token_audience)
    assert claims["exp"] - claims["iat"] == 60
    item = cloud.client("dynamodb").get_item(TableName=state.users_table, Key={"user_id": {"S": "ann@example.com"}})[
        "Item"
    ]
    assert set(item["unlocked_modules"]["SS"]) == {"academic_speaking", "general_speaking", "listening"}


def test_a_learner_without_modules_has_an_item_and_a_token(cloud: Cloud) -> None:
    """A token alone unlocks nothing: the gateway will answer 403."""
    done = run("token", "--state", str(cloud.state_file), "--learner", "bob")
    assert done.returncode == 0
    key = {"user_id": {"S": "bob"}}
    assert cloud.client("dynamodb").get_item(TableName=cloud.state.users_table, Key=key)["Item"] == key


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--learner", "a b"], "a learner's id is 1 to 128 of the characters"),
        (["--learner", "x" * 129], "a learner's id is 1 to 128 of the characters"),
        (["--learner", ""], "a learner's id is 1 to 128 of the characters"),
    ],
)
def test_a_learner_the_gateway_would_not_know_gets_no_token(cloud: Cloud, arguments: list[str], complaint: str) -> None:
    """The command says what is wrong with the id and prints no token."""
    done = run("token", "--state", str(cloud.state_file), *arguments)
    assert (done.returncode, done.stdout) == (1, "")
    assert complaint in done.stderr


def test_without_a_cloud_there_is_no_token(tmp_path: Path) -> None:
    """The command says that the state file is missing."""
    done = run("token", "--state", str(tmp_path / "none.json"), "--learner", "ann")
    assert (done.returncode, done.stdout) == (1, "")
    assert "does not exist: is the local cloud running" in done.stderr
    assert "Traceback" not in done.stderr


def test_ctrl_c_stops_everything_in_order(tmp_path: Path) -> None:
    """The exit code is 0; `launch` sees that neither process nor file is left; ports are those that were asked for."""
    ports = {name: free_port() for name in ("websocket", "redis", "aws")}
    arguments = [word for name, port in ports.items() for word in (f"--{name}-port", str(port))]
    with launch(tmp_path / "state.json", *LAZY, *arguments) as cloud:
        state = cloud.state
        assert urllib.parse.urlsplit(state.websocket_url).port == ports["websocket"]
        assert urllib.parse.urlsplit(state.redis_url).port == ports["redis"]
        assert urllib.parse.urlsplit(state.dynamodb_url).port == ports["aws"]
        assert cloud.stop(signal.SIGINT) == 0
    assert not list(tmp_path.iterdir())


def test_kill_9_leaves_no_process(tmp_path: Path) -> None:
    """The supervisor is killed with SIGKILL: parts, functions' processes, files and the watchdog itself go too."""
    with launch(tmp_path / "state.json", *QUICK) as cloud:
        state = cloud.state
        processes = list(marked_processes(f"MAYA_LOCAL_CLOUD={state.mark}"))
        assert set(state.pids.values()) < set(processes)
        cloud.process.kill()
        assert gone(processes)
    assert not list(tmp_path.iterdir())


def test_sigterm_while_starting_stops_what_had_started(tmp_path: Path) -> None:
    """A request to stop that comes before all is ready is obeyed, and the state file never appears."""
    with start(tmp_path / "state.json", *LAZY) as process:
        try:
            started = psutil.Process(process.pid)
            eventually(lambda: len(started.children()) > 1)
            children = started.children()
            process.send_signal(signal.SIGTERM)
            said, _ = process.communicate(timeout=30)
        finally:
            process.kill()
    assert process.returncode == 0, said
    assert "The local cloud is up" not in said
    assert gone([child.pid for child in children])
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("flag", "part"),
    [("--aws-port", "aws"), ("--redis-port", "valkey"), ("--bedrock-port", "nova"), ("--websocket-port", "cloud")],
)
def test_a_part_that_cannot_start_is_named(tmp_path: Path, flag: str, part: str) -> None:
    """A taken port ends the start with exit code 1, the part's name and the end of its log; nothing is left."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        done = run("up", "--state", str(tmp_path / "state.json"), *LAZY, flag, port)
    assert done.returncode == 1
    assert f"infra.local: {part} ended with exit code" in done.stderr
    assert "ddress already in use" in done.stderr
    assert done.stdout == ""
    assert not list(tmp_path.iterdir())


def test_a_part_that_dies_ends_the_cloud_with_its_name(tmp_path: Path) -> None:
    """A cloud that lacks a part is no cloud: it says which died, and stops the others."""
    with launch(tmp_path / "state.json", *LAZY) as cloud:
        cloud.send("nova", signal.SIGKILL)
        assert cloud.process.wait(30) == 1
        assert cloud.process.stdout is not None
        assert "infra.local: nova ended unasked with signal 9" in cloud.process.stdout.read()


def test_valkey_comes_back_where_it_was(tmp_path: Path) -> None:
    """With restarts allowed a killed Valkey is started again on its port, empty, and the state file tells its new process."""
    with launch(tmp_path / "state.json", *LAZY, "--redis-restarts", "1") as cloud:
        before = cloud.state
        with cloud.redis() as connection:
            connection.set("maya:{ann}:session", "{}")
        cloud.send("valkey", signal.SIGKILL)
        eventually(lambda: cloud.state.pids["valkey"] != before.pids["valkey"])
        with cloud.redis() as connection:
            assert connection.keys() == []
        assert {**cloud.state.pids, "valkey": 0} == {**before.pids, "valkey": 0}


def test_novas_stand_in_comes_back_where_it_was(tmp_path: Path) -> None:
    """With restarts allowed a killed one is started again on its ports, and the state file tells its new process."""
    with launch(tmp_path / "state.json", *LAZY, "--nova-restarts", "1") as cloud:
        before = cloud.state
        cloud.send("nova", signal.SIGKILL)
        eventually(lambda: cloud.state.pids["nova"] != before.pids["nova"])
        with urllib.request.urlopen(f"{cloud.state.nova_control_url}/metrics") as answer:  # noqa: S310 - this test's own server
            assert json.load(answer)["opened_streams"] == 0
        assert cloud.state.bedrock_url == before.bedrock_url


def test_the_cloud_goes_with_the_process_that_started_it(tmp_path: Path) -> None:
    """With --with-parent the death of the parent is a request to stop."""
    command = [sys.executable, "-m", "infra.local", "up", "--with-parent", "--state", str(tmp_path / "s.json"), *LAZY]
    source = "import subprocess, sys; subprocess.run(sys.argv[1:])"
    with subprocess.Popen(
        [sys.executable, "-c", source, *command], stdout=subprocess.PIPE, text=True, cwd=ROOT, env=clean_environment()
    ) as parent:
        try:
            assert parent.stdout is not None
            assert next(line for line in parent.stdout if line.startswith("Ctrl-C"))
            state = State.read(tmp_path / "s.json")
            processes = [state.supervisor_pid, *marked_processes(f"MAYA_LOCAL_CLOUD={state.mark}")]
        finally:
            parent.kill()
        assert gone(processes)
    check_nothing_left(state.mark, tmp_path / "s.json", Path(state.log_dir))


def test_what_is_somebody_elses_is_used_and_not_started(cloud: Cloud, tmp_path: Path) -> None:
    """Every part whose variable is set is taken from there; only API Gateway and Lambda are started, and it is said."""
    theirs = cloud.state
    environment = {
        "REDIS_URL": theirs.redis_url,
        "AWS_ENDPOINT_URL_DYNAMODB": theirs.dynamodb_url,
        "AWS_ENDPOINT_URL_SQS": theirs.sqs_url,
        "AWS_ENDPOINT_URL_BEDROCK_RUNTIME": theirs.bedrock_url,
        "AWS_CA_BUNDLE": theirs.ca_bundle,
        "MAYA_TOKEN_ISSUER": theirs.token_issuer,
    }
    with launch(tmp_path / "state.json", *LAZY, environment=environment) as second:
        state = second.state
        assert set(state.pids) == {"cloud"}
        assert (state.redis_url, state.dynamodb_url, state.sqs_url) == (
            theirs.redis_url,
            theirs.dynamodb_url,
            theirs.sqs_url,
        )
        assert (state.bedrock_url, state.ca_bundle) == (theirs.bedrock_url, theirs.ca_bundle)
        assert (state.token_issuer, state.jwks_url) == (theirs.token_issuer, theirs.jwks_url)
        assert state.finish_queue_url == theirs.finish_queue_url
        told = "".join(second.output)
        for variable in ("REDIS_URL", "AWS_ENDPOINT_URL_DYNAMODB", "AWS_ENDPOINT_URL_SQS", "MAYA_TOKEN_ISSUER"):
            assert f"({variable} is set: somebody else's)" in told
        done = run("token", "--state", str(second.state_file), "--learner", "ann")
        assert done.returncode == 1
        assert f"tokens are issued by {theirs.token_issuer}" in done.stderr
    with cloud.redis() as connection:
        assert connection.ping()
    assert aws.client("dynamodb", theirs.dynamodb_url, theirs.region).list_tables()["TableNames"]


def test_one_part_of_somebody_elses_leaves_the_rest_to_us(valkey: str, tmp_path: Path) -> None:
    """With only REDIS_URL set all others are started, and every function gets that address."""
    with launch(tmp_path / "state.json", *LAZY, environment={"REDIS_URL": valkey}) as cloud:
        assert set(cloud.state.pids) == {"aws", "nova", "cloud"}
        assert cloud.state.redis_url == valkey


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("REDIS_URL", "redis://127.0.0.1:1"),
        ("AWS_ENDPOINT_URL_DYNAMODB", "http://127.0.0.1:1"),
        ("MAYA_LINES", "many"),
    ],
)
def test_somebody_elses_part_that_does_not_answer_is_named(tmp_path: Path, variable: str, value: str) -> None:
    """The start ends with exit code 1, names the variable, and leaves nothing."""
    with start(tmp_path / "state.json", *LAZY, environment={variable: value}) as process:
        try:
            said, _ = process.communicate(timeout=60)
        finally:
            process.kill()
    assert process.returncode == 1
    assert variable in said
    assert "Traceback" not in said
    assert not list(tmp_path.iterdir())


def test_a_state_file_that_cannot_be_written_is_told_before_anything_starts(tmp_path: Path) -> None:
    """A directory that does not exist is an error at once."""
    done = run("up", "--state", str(tmp_path / "none" / "state.json"), *LAZY)
    assert done.returncode == 1
    assert "No such file or directory" in done.stderr
    assert "Traceback" not in done.stderr


def test_functions_have_the_rights_of_their_kind(cloud: Cloud) -> None:
    """The stream function's Redis user is not the relay's, and neither is the operator's."""
    if sys.platform != "linux":
        pytest.skip("only Linux shows other processes' environment")
    users = {}
    for pid in marked_processes(f"MAYA_LOCAL_CLOUD={cloud.state.mark}"):
        with contextlib.suppress(OSError):
            pairs = Path(f"/proc/{pid}/environ").read_text().split("\0")
            variables = dict(pair.split("=", 1) for pair in pairs if "=" in pair)
            if "AWS_LAMBDA_FUNCTION_NAME" in variables:
                url = variables.get("REDIS_URL", "")
                users[variables["AWS_LAMBDA_FUNCTION_NAME"]] = urllib.parse.urlsplit(url).username
    assert users == {
        "maya-authorize": None,
        "maya-connect": None,
        "maya-stream": "stream",
        "maya-disconnect": "stream",
        "maya-relay": "relay",
        "maya-finish": "finish",
    }
