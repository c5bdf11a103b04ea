"""The control API over HTTP."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from infra.local.nova.control import control_app
from infra.local.nova.service import Service
from tests.local.nova import events as ev
from tests.local.nova.conftest import OpenSim, Sim
from tests.local.nova.fakes import speech_of


class Control:
    """A client of the control API."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session = session

    async def ask(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        async with self._session.request(method, path, data=None if body is None else json.dumps(body)) as answer:
            return answer.status, await answer.json()

    async def fetch(self, path: str) -> tuple[bytes, Any]:
        async with self._session.get(path) as answer:
            assert answer.status == 200
            return await answer.read(), answer.headers


async def _serve(service: Service) -> AsyncIterator[Control]:
    runner = web.AppRunner(control_app(service), access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    async with aiohttp.ClientSession(f"http://{host}:{port}") as session:
        yield Control(session)
    await runner.cleanup()


@pytest.fixture
async def control(sim: Sim) -> AsyncIterator[Control]:
    async for running in _serve(sim.service):
        yield running


async def _one_turn(sim: Sim) -> None:
    call = await sim.sdk.call(*ev.live(), *ev.text_block("t", "USER", "Hi", interactive=True), ev.audio_input())
    await call.until("audioOutput")
    await call.send(*ev.closing())
    await call.rest()
    await call.close()


async def test_streams_and_their_speech(sim: Sim, control: Control) -> None:
    """Counts, words and speech of a stream can be fetched, the events without any audio."""
    await _one_turn(sim)
    status, streams = await control.ask("GET", "/streams")
    assert (status, len(streams)) == (200, 1)
    stream = streams[0]
    assert (stream["id"], stream["model"], stream["ending"]) == ("s1", "amazon.nova-2-sonic-v1:0", "finished")
    assert stream["opened_at_ms"] <= stream["closed_at_ms"]
    assert stream["system_prompt"] == "Be kind."
    names = {event["name"] for event in stream["events"]}
    assert "textOutput" in names
    assert not names & {"audioInput", "audioOutput"}
    assert await control.ask("GET", "/streams/s1") == (200, stream)
    assert (await control.fetch("/streams/s1/heard"))[0] == bytes(3200)
    said, headers = await control.fetch("/streams/s1/said")
    assert said == speech_of("You said Hi.")
    assert json.loads(headers["x-cuts"]) == []


async def test_faults_can_be_ordered_and_seen(sim: Sim, control: Control) -> None:
    """An order is confirmed, listed, carried out and gone."""
    order = {"fault": "throttling", "when": {"after_audio_inputs": 2}}
    status, confirmed = await control.ask("POST", "/faults", order)
    assert status == 200
    assert confirmed | order == confirmed
    assert await control.ask("GET", "/faults") == (200, [confirmed])
    call = await sim.sdk.call(*ev.live(), ev.audio_input(), ev.audio_input())
    with pytest.raises(Exception, match="Too many requests"):
        await call.rest()
    assert await control.ask("GET", "/faults") == (200, [])


@pytest.mark.parametrize(
    ("path", "body", "status", "text"),
    [
        ("/faults", {"fault": "explode"}, 400, "fault is one of"),
        ("/faults", {"fault": "rst", "scope": "s99"}, 404, "no open stream"),
        ("/faults", {"fault": "rst", "client_pid": "ann"}, 400, "client_pid"),
        ("/settings", {"volume": 11}, 400, "volume"),
        ("/settings", [], 400, "JSON object"),
        ("/streams/s99", None, 404, "no stream"),
        ("/streams/s99/said", None, 404, "no stream"),
    ],
)
async def test_wrong_requests(control: Control, path: str, body: Any, status: int, text: str) -> None:
    """A wrong request is answered with what is wrong."""
    code, document = await control.ask("GET" if body is None else "POST", path, body)
    assert code == status
    assert text in document["error"]


async def test_a_body_that_is_no_json(control: Control) -> None:
    """It is named as such."""
    async with control._session.post("/faults", data=b"{") as answer:
        assert answer.status == 400
        assert "no JSON" in (await answer.json())["error"]


async def test_settings_change_for_new_streams_until_the_reset(sim: Sim, control: Control) -> None:
    """A changed setting holds for the streams that open after it; a reset takes it back, with orders and records."""
    await _one_turn(sim)
    status, settings = await control.ask("POST", "/settings", {"max_streams": 1, "idle_ms": 60_000})
    assert (status, settings["limits"]["max_streams"], settings["limits"]["idle_ms"]) == (200, 1, 60_000)
    await control.ask("POST", "/faults", {"fault": "rst"})
    assert await control.ask("POST", "/reset") == (200, {})
    assert (await control.ask("GET", "/settings"))[1]["limits"]["max_streams"] == 20
    assert (await control.ask("GET", "/faults"))[1] == []
    assert (await control.ask("GET", "/streams"))[1] == []


async def test_metrics(sim: Sim, control: Control) -> None:
    """CPU and memory of the process, and how many streams there are."""
    call = await sim.sdk.call(*ev.live())
    await call.opened()
    _, metrics = await control.ask("GET", "/metrics")
    assert metrics["cpu_s"] > 0
    assert metrics["peak_memory_bytes"] > 1 << 20
    assert (metrics["open_streams"], metrics["opened_streams"]) == (1, 1)


async def test_speech_is_not_there_without_recording(open_sim: OpenSim) -> None:
    """Without --record the request is refused and says why."""
    async with open_sim(recording=False) as sim:
        await _one_turn(sim)
        async for control in _serve(sim.service):
            status, document = await control.ask("GET", "/streams/s1/heard")
            assert status == 409
            assert "--record" in document["error"]
            assert (await control.ask("GET", "/streams/s1"))[1]["events"] == []


async def test_streams_in_brief(sim: Sim, control: Control) -> None:
    """Counts and the first that was heard, no words."""
    await _one_turn(sim)
    _, (brief,) = await control.ask("GET", "/streams?brief=1")
    _, (whole,) = await control.ask("GET", "/streams")
    assert base64.b64decode(brief.pop("heard_first")) == bytes(640)
    assert brief.items() <= whole.items()
    assert whole.keys() - brief.keys() == {"system_prompt", "history", "cuts", "events"}


async def test_an_order_for_one_client_process(sim: Sim, control: Control) -> None:
    """The SDK is in this process: its streams take this process's orders and no other's."""
    for pid in (os.getppid(), os.getpid()):
        await control.ask("POST", "/faults", {"fault": "throttling", "client_pid": pid})
    call = await sim.sdk.call(*ev.live())
    with pytest.raises(Exception, match="Too many requests"):
        await call.rest()
    _, (left,) = await control.ask("GET", "/faults")
    assert left["client_pid"] == os.getppid()
