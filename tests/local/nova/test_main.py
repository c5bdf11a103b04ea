"""The stand-in as a process of its own, started as the local cloud starts it."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import signal
import sys
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from subprocess import PIPE, Popen
from typing import Any

import pytest

from infra.local.certificates import ServerCertificate
from infra.local.nova.__main__ import parse_arguments
from infra.local.nova.settings import INSTANT_TIMING, SERVICE_TIMING
from infra.local.nova.voices import hear_plain, speak_plain
from tests.local.nova import events as ev
from tests.local.nova.sdk import sdk_for

ROOT = Path(__file__).parents[3]
PROMPT = """You are Maya.
Part: 1
Opening:
Good morning.
Questions:
1. Where do you live?
2. Do you work?
Closing:
Thank you.
"""
BASE = ["--cert", "c", "--key", "k"]

type Start = Callable[..., dict[str, Any]]


@pytest.fixture
def start(certificate: ServerCertificate, tmp_path: Path) -> Iterator[Start]:
    """Start the process and return what it says when it is ready."""
    with ExitStack() as stack:

        def run(*options: str) -> dict[str, Any]:
            ready_file = tmp_path / "ready.json"
            files = (
                "--cert",
                str(certificate.certificate),
                "--key",
                str(certificate.key),
                "--ready-file",
                str(ready_file),
            )
            process = Popen([sys.executable, "-m", "infra.local.nova", *files, *options], cwd=ROOT, stderr=PIPE)
            stack.enter_context(process)
            stack.callback(process.kill)
            while not ready_file.exists():
                assert process.poll() is None, process.stderr and process.stderr.read()
            return {"process": process, **json.loads(ready_file.read_text())}

        yield run


@pytest.mark.e2e
async def test_a_conversation_with_maya(start: Start, certificate: ServerCertificate, tmp_path: Path) -> None:
    """Started from the command line, Maya opens, understands an answer, asks on, and ends with the process's SIGTERM."""
    tap = tmp_path / "tap.jsonl"
    ready = start("--control-port", "0", "--record", "--tap", str(tap), "--timing", "instant", "--seed", "1")
    said = bytearray()
    async with sdk_for(f"https://127.0.0.1:{ready['port']}", certificate.ca_bundle.read_bytes()) as sdk:
        call = await sdk.call(*ev.live(PROMPT), *ev.text_block("t", "USER", "[begin the part]", interactive=True))
        answer = speak_plain("I live in Leeds.", 16000) + bytes(16000 * 2 * 2)
        asked: list[str] = []
        await call.send(ev.audio_input())
        while len(asked) < 3:
            name, body = await call.next() or ("", {})
            assert name
            if name == "audioOutput":
                said += base64.b64decode(body["content"])
            if name == "contentEnd" and body["stopReason"] == "END_TURN":
                asked.append(hear_plain(bytes(said), 24000))
                said.clear()
                await call.send(*(ev.audio_input(answer[at : at + 3200]) for at in range(0, len(answer), 3200)))
        await call.send(*ev.closing())
        await call.rest()
        await call.close()
    assert "Where do you live?" in asked[0]
    assert "Do you work?" in asked[1]
    assert "Thank you." in asked[2]
    url = f"http://127.0.0.1:{ready['control_port']}/streams"
    (stream,) = json.loads(await asyncio.to_thread(lambda: urllib.request.urlopen(url).read()))
    assert stream["system_prompt"] == PROMPT
    heard = [
        event["content"] for event in stream["events"] if event["name"] == "textOutput" and event["role"] == "USER"
    ]
    assert heard[0] == "I live in Leeds."
    process: Popen[bytes] = ready["process"]
    os.kill(ready["pid"], signal.SIGTERM)
    assert await asyncio.to_thread(process.wait) == 0
    assert process.stderr is not None
    assert process.stderr.read() == b""
    last: dict[str, int] = {}
    for line in tap.read_text().splitlines():
        _, stream_id, direction, total = json.loads(line)
        assert stream_id == "s1"
        last[direction] = total
    assert last == {"heard": stream["heard_bytes"], "said": stream["said_bytes"]}


@pytest.mark.e2e
async def test_death_on_request(start: Start, certificate: ServerCertificate) -> None:
    """The process is killed like any other, but what it heard and said is known to the last byte."""
    ready = start("--control-port", "0", "--record")
    async with sdk_for(f"https://127.0.0.1:{ready['port']}", certificate.ca_bundle.read_bytes()) as sdk:
        call = await sdk.call(*ev.live(PROMPT), ev.audio_input(bytes(range(200)) * 16))
        url = f"http://127.0.0.1:{ready['control_port']}"

        def heard() -> int:
            with urllib.request.urlopen(f"{url}/streams?brief=1") as answer:  # noqa: S310 - this test's own server
                return sum(stream["heard_bytes"] for stream in json.load(answer))

        while await asyncio.to_thread(heard) < 3_200:
            pass
        request = urllib.request.Request(f"{url}/die", method="POST")  # noqa: S310 - this test's own server
        (stream,) = json.loads(await asyncio.to_thread(lambda: urllib.request.urlopen(request).read()))  # noqa: S310 - this test's own server
        assert await asyncio.to_thread(ready["process"].wait) == -signal.SIGKILL
        await call.rest()
        await call.close()
    assert base64.b64decode(stream["heard"]) == bytes(range(200)) * 16
    assert (stream["said"], stream["ending"], stream["heard_bytes"]) == ("", "", 3_200)


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (["--voice", "robot"], "--voice"),
        (["--timing", "slow"], "--timing"),
        (["--set", "volume=11"], "volume"),
        (["--set", "max_streams"], "NAME=VALUE"),
        (["--set", "max_streams=many"], "max_streams"),
    ],
)
def test_a_wrong_option_is_named(options: list[str], named: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The process ends at once and says which option was wrong."""
    with pytest.raises(SystemExit):
        parse_arguments([*BASE, *options])
    assert named in capsys.readouterr().err


def test_options_become_settings() -> None:
    """Timing and single settings are put together, in this order."""
    options = parse_arguments([*BASE, "--timing", "instant", "--set", "max_streams=100", "--set", "piece_ms=40"])
    assert options.settings.limits.max_streams == 100
    assert options.settings.timing.piece_ms == 40
    assert options.settings.timing.first_audio_ms == INSTANT_TIMING.first_audio_ms
    assert parse_arguments(BASE).settings.timing == SERVICE_TIMING
