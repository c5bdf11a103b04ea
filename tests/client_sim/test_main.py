"""The command line, against a gateway on this machine."""

import asyncio
import contextlib
import json
import math
import os
import pty
import signal
import subprocess
import sys
import threading
import wave
from array import array
from http import HTTPStatus

import pytest
from websockets.asyncio.server import serve
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol

import client_sim.__main__ as program
from client_sim.clock import RealClock
from gateway.core.messages import Status
from tests.client_sim.stub import StubGateway


class SocketLink:
    """A connection of the stub over a real socket."""

    def __init__(self, socket):
        self._socket = socket
        self.up: asyncio.Queue[str | None] = asyncio.Queue()
        self._down: asyncio.Queue[str] = asyncio.Queue()

    def post(self, text):
        """The gateway writes."""
        self._down.put_nowait(text)

    async def carry(self):
        """Carry texts both ways until the connection is gone."""
        writer = asyncio.create_task(self._write())
        with contextlib.suppress(ConnectionClosed):
            async for text in self._socket:
                self.up.put_nowait(text)
        self.up.put_nowait(None)
        writer.cancel()
        await asyncio.gather(writer, return_exceptions=True)

    async def _write(self):
        while True:
            await self._socket.send(await self._down.get())


class LocalGateway(threading.Thread):
    """The stub behind a WebSocket server in a thread of its own.

    Attributes:
        url: once `ready` is set.
        gateway: the stub.
    """

    def __init__(self, script, refuse=None):
        super().__init__(daemon=True)
        self.script, self.refuse = script, refuse
        self.ready = threading.Event()
        self.starting = threading.Event()
        self.url = ""
        self.token = ""

    def run(self):
        """Serve until `stop`."""
        asyncio.run(self._serve())

    def stop(self):
        """End the server."""
        self.end()
        self.join(10)

    async def _serve(self):
        loop, done = asyncio.get_running_loop(), asyncio.Event()
        self.end = lambda: loop.call_soon_threadsafe(done.set)
        self.gateway = StubGateway(RealClock(), self.script)

        async def accept(socket):
            self.token = socket.request.headers["Sec-WebSocket-Protocol"]
            link = SocketLink(socket)
            self.gateway.links.append(link)
            self.gateway.spawn(self.gateway.serve(link))
            await link.carry()

        def check(connection, _request):
            return connection.respond(self.refuse, "") if self.refuse else None

        async with serve(
            accept, "127.0.0.1", 0, subprotocols=[Subprotocol("maya.v1")], process_request=check
        ) as server:
            self.url = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/dev"
            self.ready.set()
            await done.wait()
            await self.gateway.close()


@pytest.fixture
def serving():
    """Start gateways; they are stopped at the end."""
    running = []

    def start(script, refuse=None):
        gateway = LocalGateway(script, refuse)
        gateway.start()
        assert gateway.ready.wait(10)
        running.append(gateway)
        return gateway

    yield start
    for gateway in running:
        gateway.stop()


@pytest.fixture
def speech(tmp_path):
    """A recording of one utterance."""
    path = tmp_path / "speech.wav"
    with wave.open(str(path), "wb") as recording:
        recording.setnchannels(1)
        recording.setsampwidth(2)
        recording.setframerate(16000)
        recording.writeframes(array("h", (round(8000 * math.sin(i * 0.17)) for i in range(16_000))).tobytes())
    return path


async def just_assess(gateway):
    """A test that is over at once."""
    await gateway.speak(40, "Good day. That is all.", part_of=0)
    await gateway.finish()


async def wait_for_stop(gateway):
    """A test that only the learner ends."""
    gateway.tell(Status, state="listening")
    await gateway.stop_asked.wait()
    await gateway.finish()


def talk(url, speech, *more):
    """Arguments of the command."""
    return ["talk", "--url", url, "--token", "t0ken", "--speech", str(speech), "--frame-ms", "20", *more]


def test_a_conversation_by_command(serving, speech, tmp_path, capsys):
    """Captions and the assessment on the screen, the outcome as JSON, exit status 0."""
    gateway = serving(just_assess)
    out = tmp_path / "out.json"
    assert program.main(talk(gateway.url, speech, "--json", str(out), "--module", "general_speaking")) == 0
    said = capsys.readouterr()
    assert "Maya: Good day. That is all." in said.out
    assert "Assessment: overall band 6.5" in said.out
    assert said.err == ""
    document = json.loads(out.read_text(encoding="utf-8"))
    assert document["ok"] is True
    assert document["assessment"]["overall"] == 6.5
    assert gateway.token == "maya.v1, bearer.t0ken"
    assert gateway.gateway.starts[0].module == "general_speaking"
    assert [path.name for path in tmp_path.iterdir() if "unfinished" in path.name] == []


def test_the_token_may_come_from_a_variable(serving, speech, monkeypatch, capsys):
    """Where other users of the machine cannot read it."""
    monkeypatch.setenv("MAYA_TOKEN", "fr0m-the-environment")
    gateway = serving(just_assess)
    assert program.main(["talk", "--url", gateway.url, "--speech", str(speech)]) == 0
    assert gateway.token == "maya.v1, bearer.fr0m-the-environment"
    assert "fr0m" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("status", "says"),
    [
        (HTTPStatus.UNAUTHORIZED, "refused with 401: the token"),
        (HTTPStatus.FORBIDDEN, "refused with 403: this learner"),
    ],
)
def test_refusals_are_one_clear_line(serving, speech, capsys, status, says):
    """And exit status 1; the outcome tells programs the status."""
    out = speech.with_suffix(".json")
    assert program.main(talk(serving(just_assess, status).url, speech, "--json", str(out))) == 1
    [line] = capsys.readouterr().err.splitlines()
    assert says in line
    assert json.loads(out.read_text(encoding="utf-8"))["status"] == status


def test_an_unreachable_gateway_is_one_clear_line(speech, capsys):
    """Exit status 1."""
    assert program.main(talk("ws://127.0.0.1:9/dev", speech)) == 1
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith("client_sim: unreachable:")


def test_misuse_is_told_before_anything_is_opened(speech, tmp_path, capsys, monkeypatch):
    """Exit status 2, one line each."""
    monkeypatch.delenv("MAYA_TOKEN", raising=False)
    url = "ws://127.0.0.1:9/dev"
    text = tmp_path / "notes.txt"
    text.write_text("no sound", encoding="utf-8")
    misuses = {
        "a token is needed": ["talk", "--url", url, "--speech", str(speech)],
        "cannot be read as a WAV file": talk(url, text),
        "20 to 250 ms": talk(url, speech, "--frame-ms", "500"),
        "there is no such directory": talk(url, speech, "--json", str(tmp_path / "none" / "out.json")),
        "No such file": talk(url, speech, "--ca", str(tmp_path / "none.pem")),
    }
    for says, arguments in misuses.items():
        assert program.main(arguments) == 2, says
        [line] = capsys.readouterr().err.splitlines()
        assert says in line


@pytest.mark.parametrize(
    ("answer", "chosen"), [("skip", {"skip"}), ("continue", {"continue"}), ("none", set()), ("", {"continue"})]
)
def test_lag_is_answered_as_told(serving, speech, tmp_path, answer, chosen):
    """By programs; what was asked and answered is in the document."""

    async def script(gateway):
        asking = asyncio.ensure_future(gateway.ask_about_lag())
        if answer == "none":
            await gateway.sleep_ms(300)
            asking.cancel()
        else:
            await asking
        await gateway.finish("skipped" if answer == "skip" else "finished")

    gateway, out = serving(script), tmp_path / "out.json"
    more = ["--lag-answer", answer] if answer else []
    assert program.main(talk(gateway.url, speech, "--json", str(out), *more)) == 0
    assert {choice.choice for choice in gateway.gateway.choices} == chosen
    [asked] = json.loads(out.read_text(encoding="utf-8"))["lag"]["questions"]
    assert asked["answer"] == (min(chosen) if chosen else None)
    assert asked["cause"] == "network"


def test_a_person_answers_with_a_key(serving, speech):
    """On a terminal, where the line at the bottom says how."""

    async def script(gateway):
        await gateway.ask_about_lag()
        await gateway.finish("skipped")

    gateway = serving(script)
    person, terminal = pty.openpty()
    command = [sys.executable, "-m", "client_sim", *talk(gateway.url, speech)]
    with subprocess.Popen(command, stdin=terminal, stdout=terminal, stderr=terminal) as process:
        os.close(terminal)
        guard = threading.Timer(30, process.kill)
        guard.start()
        shown = b""
        with contextlib.suppress(OSError):  # as Linux says that the program has closed its end
            while part := os.read(person, 4_096):
                shown += part
                if b"c: continue, s: skip" in shown and not gateway.gateway.choices:
                    os.write(person, b"s")
        assert process.wait(10) == 0
        guard.cancel()
    os.close(person)
    assert {choice.choice for choice in gateway.gateway.choices} == {"skip"}
    assert b"the answer is taken" in shown


def test_unknown_arguments_show_the_usage(capsys):
    """argparse's own exit status."""
    with pytest.raises(SystemExit) as left:
        program.main(["talk", "--volume", "11"])
    assert left.value.code == 2
    assert "usage: python -m client_sim talk" in capsys.readouterr().err


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
def test_ctrl_c_ends_the_test_and_waits_for_the_assessment(serving, speech, capsys):
    """The first Ctrl-C says `stop`; the assessment still comes, and the exit status is 0."""

    async def script(gateway):
        os.kill(os.getpid(), signal.SIGINT)
        await wait_for_stop(gateway)

    assert program.main(talk(serving(script).url, speech)) == 0
    said = capsys.readouterr().out
    assert "ending the test" in said
    assert "Assessment: overall band 6.5" in said


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
def test_ctrl_c_twice_leaves_at_once(serving, speech):
    """Whoever does not want to wait need not."""

    async def script(gateway):
        os.kill(os.getpid(), signal.SIGINT)
        await gateway.stop_asked.wait()
        os.kill(os.getpid(), signal.SIGINT)

    assert program.main(talk(serving(script).url, speech)) == 130
