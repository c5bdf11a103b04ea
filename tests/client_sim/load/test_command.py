"""The command, with its processes, against a gateway on this machine."""

import json
import os
import signal
import sys

import pytest

import client_sim.__main__ as program
from client_sim.load.histogram import Histogram
from client_sim.report.reading import read_run
from gateway.core.messages import Status
from tests.client_sim.test_main import LocalGateway, wait_for_stop

TOKEN = f"{sys.executable} -c \"print('token-{{i}}')\""


def load(url, out, *more):
    return [
        "load",
        "--url",
        url,
        "--token-command",
        TOKEN,
        "--phones",
        "1",
        "--minutes",
        "5",
        "--ramp",
        "0",
        "--out",
        str(out),
        *more,
    ]


@pytest.fixture
def serving():
    """A gateway whose test only the learner ends."""
    running = []

    def start(script):
        gateway = LocalGateway(script)
        gateway.start()
        assert gateway.ready.wait(10)
        running.append(gateway)
        return gateway

    yield start
    for gateway in running:
        gateway.stop()


async def interrupted(gateway):
    """A test during which the tester has seen enough."""
    await gateway.sleep_ms(2_200)
    os.kill(os.getpid(), signal.SIGINT)
    await wait_for_stop(gateway)
    await gateway.finish()


async def never_ends(gateway):
    """A gateway that does not say bye, so that the tester interrupts twice."""
    await gateway.sleep_ms(1_200)
    os.kill(os.getpid(), signal.SIGINT)
    await gateway.stop_asked.wait()
    os.kill(os.getpid(), signal.SIGINT)


def asks_first(script):
    async def asking(gateway):
        await gateway.speak(300)
        gateway.tell(Status, state="listening")
        await script(gateway)

    return asking


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
def test_ctrl_c_ends_in_order_with_what_was_measured(serving, tmp_path, capsys):
    """The conversation is assessed, the file is whole, tokens and token command are not in it, the report reads it."""
    gateway = serving(asks_first(interrupted))
    out = tmp_path / "run.jsonl"
    assert program.main(load(gateway.url, out, "--region", "near", "--label", "try", "--barge-in", "0", "--plain")) in (
        1,
        130,
    )
    said = capsys.readouterr()
    assert "conversations are being assessed" in said.out
    assert "bearer.token-0" in gateway.token
    run = read_run(out)
    assert (run.ended, run.cut_off) == ("interrupted", False)
    assert [call["ended"] for call in run.of("call")] == ["stopped"]
    assert run.of("call")[0]["saved"] is True
    assert sum(Histogram.read(second["slip"]).total for second in run.of("second")) > 10
    assert run.manifest["label"] == "try"
    assert run.manifest["target"] == "local cloud (emulator)"
    assert run.manifest["regions"]["near"]["source"]
    assert "token" not in out.read_text().replace("--token-command CMD", "")
    program.main(["report", str(out), "--out", str(tmp_path)])
    assert (tmp_path / "report.html").exists()


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
def test_ctrl_c_twice_leaves_at_once(serving, tmp_path, capsys):
    """And still with a whole file, and every figure as JSON."""
    gateway = serving(asks_first(never_ends))
    out = tmp_path / "run.jsonl"
    assert program.main(load(gateway.url, out, "--here", "--json")) in (1, 130)
    assert [call["ended"] for call in read_run(out).of("call")] == ["cut"]
    told = json.loads(capsys.readouterr().out)
    assert told["targets"][0]["groups"][0]["name"] == "here"


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (["--region", "mars"], "no region 'mars'"),
        (["--speech", "missing.wav"], "missing.wav"),
        (["--url", "https://gateway.example/dev"], "wss://"),
        (["--out", "/no/such/directory/run.jsonl"], "no such directory"),
    ],
)
def test_misuse_is_told_before_anything_begins(tmp_path, capsys, more, says):
    """With exit status 2."""
    try:
        status = program.main(load("ws://127.0.0.1:9/dev", tmp_path / "run.jsonl", *more))
    except SystemExit as left:
        status = left.code
    assert status == 2
    assert says in capsys.readouterr().err


def test_a_run_that_reached_nobody_is_not_valid(tmp_path, capsys):
    """Exit status 1, though the tester was never late; why is said at once and in the end."""
    arguments = load("ws://127.0.0.1:9/dev", tmp_path / "run.jsonl", "--plain")
    arguments[arguments.index("5")] = "0.01"
    assert program.main(arguments) == 1
    said = capsys.readouterr()
    assert "tones" in said.err
    assert "a conversation failed: unreachable" in said.out
    assert "not valid: nothing was sent" in said.err
    assert "conversations: unreachable" in said.err
    assert "late" not in said.err
    run = read_run(tmp_path / "run.jsonl")
    assert run.ended == "time"
    assert "unreachable" in run.of("call")[0]["failure"]


def test_a_token_command_that_fails_ends_the_run(tmp_path, capsys):
    """With exit status 1 and its reason; the file says so too."""
    arguments = load("ws://127.0.0.1:9/dev", tmp_path / "run.jsonl")
    arguments[arguments.index(TOKEN)] = f'{sys.executable} -c "import sys; sys.exit(3)"'
    assert program.main(arguments) == 1
    assert "failed with 3" in capsys.readouterr().err
    assert read_run(tmp_path / "run.jsonl").ended == "failed"


@pytest.mark.parametrize(
    "more",
    [
        ["--phones", "0"],
        ["--minutes", "-1"],
        ["--minutes", "inf"],
        ["--ramp", "-1"],
        ["--barge-in", "2"],
        ["--frame-ms", "10"],
        ["--here", "--region", "near"],
    ],
)
def test_impossible_wishes_are_refused(tmp_path, capsys, more):
    """By the parser, with the name of the argument."""
    with pytest.raises(SystemExit) as ended:
        program.main(load("ws://127.0.0.1:9/dev", tmp_path / "run.jsonl", *more))
    assert ended.value.code == 2
    assert more[-2] in capsys.readouterr().err
