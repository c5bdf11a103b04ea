"""Whole streams with the real SDK: the AWS sample, turns, refusals of SERVICE.md A9, failures of SERVICE.md W4."""

from __future__ import annotations

import asyncio
import base64
import json
from typing import Any

import pytest
from aws_sdk_bedrock_runtime import models  # type: ignore[import-untyped, unused-ignore]
from smithy_aws_event_stream.exceptions import ChecksumMismatch, InvalidEventBytes, UnmodeledEventError
from smithy_core.exceptions import CallError, SmithyError

from infra.local.nova.interfaces import Reply, ToolCall
from infra.local.nova.records import Tap
from tests.local.nova import events as ev
from tests.local.nova.conftest import OpenSim, Sim
from tests.local.nova.fakes import SILENCE, SPEECH, speech_of
from tests.local.nova.refusals import A9, BAD_TOOL_RESULTS, Refusal
from tests.local.nova.sdk import Call, names, turns, until

# A stream that is lost leaves tasks of the SDK behind which fail when nobody looks (SERVICE.md W4).
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")

TYPED = ev.text_block("typed", "USER", "Hello", interactive=True)
TURN = [*ev.live(), *TYPED, ev.audio_input()]
"""Enough to make Maya speak."""


async def test_the_aws_sample_is_accepted(sim: Sim) -> None:
    """The sample's events pass, its text is answered, and after sessionEnd the stream ends in order."""
    sample = ev.aws_sample()
    call = await sim.sdk.call(*sample[:-3])
    events = await call.until("audioOutput")
    await call.send(*sample[-3:])
    events += await call.rest()
    assert events[-1][0] == "completionEnd"
    assert {"completionStart", "textOutput", "audioOutput"} <= set(names(events))
    await call.close()
    assert sim.record["ending"] == "finished"
    assert sim.record["inputs"]["audioInput"] == 4
    assert sim.record["history"] == [{"role": "USER", "text": "my name is osman"}]


async def test_a_turn_by_speech(sim: Sim) -> None:
    """Speech is heard byte for byte, put into words and answered with speech, byte for byte."""
    sim.talent.words.append("hello")
    call = await sim.sdk.call(*ev.live("Be a friend."))
    frames = [SPEECH, SPEECH, SILENCE]
    await call.send(*(ev.audio_input(frame) for frame in frames))
    events = await call.until("usageEvent")
    assert names(events)[:4] == ["userSpeechStart", "completionStart", "userSpeechEnd", "contentStart"]
    events += await call.until("usageEvent")
    said = b"".join(base64.b64decode(body["content"]) for name, body in events if name == "audioOutput")
    assert said == speech_of("You said hello.")
    stage = json.loads(events[3][1]["additionalModelFields"])
    assert stage == {"generationStage": "FINAL"}
    await call.send(*ev.closing())
    await call.rest()
    await call.close()
    record = sim.service.records.get("s1")
    assert record is not None
    assert bytes(record.heard) == b"".join(frames)
    assert bytes(record.said) == said
    assert record.system_prompt == "Be a friend."


async def test_a_tool_is_called_and_answered(sim: Sim) -> None:
    """toolUse comes with its id, and its result leads on to speech."""
    sim.talent.replies.append(Reply((), (ToolCall("t1", "count", {"n": 5}),)))
    call = await sim.sdk.call(*ev.live("Count.", ev.tool()), *TYPED, ev.audio_input())
    events = await call.until("contentEnd")
    assert events[-1][1]["stopReason"] == "TOOL_USE"
    use = next(body for name, body in events if name == "toolUse")
    assert (use["toolUseId"], json.loads(use["content"])) == ("t1", {"n": 5})
    await call.send(*ev.tool_block("t1", '{"total": 6}'))
    assert names(await call.until("audioOutput"))[-1] == "audioOutput"
    assert sim.talent.minds[0].results == [("t1", {"total": 6})]
    await call.send(*ev.closing())
    await call.rest()
    await call.close()


@pytest.mark.parametrize("refusal", A9, ids=lambda refusal: refusal.name)
async def test_refusals_of_a9(sim: Sim, refusal: Refusal) -> None:
    """Each row of SERVICE.md A9 is seen as ValidationException with the service's text, then the stream ends."""
    call = await sim.sdk.call(*refusal.before, refusal.last)
    with pytest.raises(models.ValidationException) as caught:
        await call.rest()
    assert refusal.text in caught.value.message
    assert sim.record["closed_at_ms"] is not None


@pytest.mark.parametrize("content", BAD_TOOL_RESULTS.values(), ids=BAD_TOOL_RESULTS.keys())
async def test_a_bad_tool_result_kills_the_stream(sim: Sim, content: str) -> None:
    """SERVICE.md A9, "bad tool result"."""
    sim.talent.replies.append(Reply((), (ToolCall("t1", "count", {"n": 5}),)))
    call = await sim.sdk.call(*ev.live("Count.", ev.tool()), *TYPED, ev.audio_input())
    await call.until("toolUse")
    await call.send(*ev.tool_block("t1", content))
    with pytest.raises(models.ValidationException, match="Tool Response parsing error"):
        await call.rest()


async def test_audio_during_a_tool_on_nova_2_5(sim: Sim) -> None:
    """SERVICE.md A9, "generic": Nova 2.5 does not bear audio while it waits for a result."""
    sim.talent.replies.append(Reply((), (ToolCall("t1", "count", {"n": 5}),)))
    live = [*ev.live("Count.", ev.tool()), *TYPED, ev.audio_input()]
    call = await sim.sdk.call(*live, model="amazon.nova-2-5-sonic")
    await call.until("toolUse")
    await call.send(ev.audio_input())
    with pytest.raises(models.ValidationException, match="Invalid input request"):
        await call.rest()


@pytest.mark.parametrize(
    ("settings", "kind", "text"),
    [
        (
            {"first_idle_ms": 0.001},
            models.ValidationException,
            "Timed out waiting for audio bytes or interactive content. Please ensure gaps between audio bytes",
        ),
        (
            {"lifetime_ms": 0.001},
            models.ModelTimeoutException,
            "Model has timed out in processing the request. Try your request again.",
        ),
    ],
)
async def test_limits_of_time(open_sim: OpenSim, settings: dict[str, Any], kind: Any, text: str) -> None:
    """SERVICE.md A9, "no input" and "8 min / stall", with limits that are over at once."""
    async with open_sim(**settings) as sim:
        call = await sim.sdk.call(*ev.live())
        with pytest.raises(kind) as caught:
            await call.rest()
        assert text in caught.value.message


async def test_no_headers_before_the_first_event(sim: Sim) -> None:
    """The response begins only when the client has sent something."""
    call = await sim.sdk.call()
    waiting = asyncio.ensure_future(call.opened())
    await until(lambda: sim.service.open_streams)
    await turns()
    assert not waiting.done()
    await call.send(ev.session_start())
    await waiting


async def test_no_headers_before_the_prompt(open_sim: OpenSim) -> None:
    """As a setting, the response begins only with promptStart."""
    async with open_sim(headers_after="promptStart") as sim:
        call = await sim.sdk.call(ev.session_start())
        waiting = asyncio.ensure_future(call.opened())
        await until(lambda: sim.heard("sessionStart"))
        await turns()
        assert not waiting.done()
        await call.send(ev.prompt_start())
        await waiting


# Requests that are refused.


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("amazon.nova-sonic-v1:0", "end of its life"),
        ("amazon.nova-9-sonic-v1:0", "identifier is invalid"),
    ],
)
async def test_models_that_are_not_there(sim: Sim, model: str, message: str) -> None:
    """An unknown and a retired model are answered with 404 before any stream begins."""
    call = await sim.sdk.call(model=model)
    with pytest.raises(models.ResourceNotFoundException, match=message):
        await call.opened()
    assert sim.service.records.documents() == []


async def test_too_many_streams(open_sim: OpenSim) -> None:
    """One stream more than the quota is refused, and allowed again when another has ended."""
    async with open_sim(max_streams=2) as sim:
        calls = [await sim.sdk.call(*ev.live()) for _ in range(2)]
        for call in calls:
            await call.opened()
        refused = await sim.sdk.call()
        with pytest.raises(models.ServiceQuotaExceededException):
            await refused.opened()
        await calls[0].send(ev.audio_input(), *ev.closing())
        assert await calls[0].next() is None
        again = await sim.sdk.call(*ev.live())
        await again.opened()


@pytest.mark.parametrize(
    ("fault", "kind", "text"),
    [
        ("unrecognized_client", CallError, "UnrecognizedClientException"),
        ("expired_token", CallError, "ExpiredTokenException"),
        ("http_throttling", models.ThrottlingException, "Too many requests"),
        ("quota_exceeded", models.ServiceQuotaExceededException, "quota"),
        ("model_not_ready", models.ModelNotReadyException, "not ready"),
        ("unavailable", models.ServiceUnavailableException, "unavailable"),
    ],
)
async def test_requests_refused_by_order(sim: Sim, fault: str, kind: type[Exception], text: str) -> None:
    """Errors before the stream surface at `await_output`; the next request passes."""
    sim.fault(fault)
    call = await sim.sdk.call()
    with pytest.raises(kind, match=text):
        await call.opened()
    again = await sim.sdk.call(ev.session_start())
    await again.opened()


async def test_unavailable_for_the_next_streams(sim: Sim) -> None:
    """A count makes an outage of so many requests."""
    sim.fault("http_error", status=503, type="ServiceUnavailableException", message="down", count=2)
    for _ in range(2):
        with pytest.raises(models.ServiceUnavailableException, match="down"):
            await (await sim.sdk.call()).opened()
    await (await sim.sdk.call(ev.session_start())).opened()


async def test_a_refused_connection(sim: Sim) -> None:
    """The connection is dropped before TLS, for the SDK a time-out or a failed handshake; the next one is served."""
    sim.fault("refuse_connection")
    with pytest.raises(SmithyError, match=r"timeout|NEGOTIATION"):
        await (await sim.sdk.call()).opened()
    await (await sim.sdk.call(ev.session_start())).opened()


# Streams that fail.


async def _lost(sim: Sim, fault: str, **order: Any) -> Call:
    """A stream on which one event has come and then the fault has happened."""
    sim.fault(fault, **{"when": {"after_outputs": 1}, **order})
    call = await sim.sdk.call(*TURN)
    item = await call.next()
    assert item is not None
    assert item[0] == "completionStart"
    return call


@pytest.mark.parametrize(
    ("fault", "order"), [("rst", {"code": 0}), ("rst", {"code": 2}), ("tcp_abort", {})], ids=["rst 0", "rst 2", "abort"]
)
async def test_lost_streams_look_like_clean_ends(sim: Sim, fault: str, order: dict[str, Any]) -> None:
    """SERVICE.md W4: `receive` gives None, some sixteen more events can be sent, the next one blocks for ever."""
    call = await sim.sdk.call(*ev.live(), ev.audio_input(SPEECH))
    await call.until("completionStart")
    # Ordered only now: a TCP reset may throw away what the client has not read yet.
    sim.fault(fault, scope="s1", **order)
    assert await call.receive() is None
    sending = asyncio.ensure_future(call.send(*[ev.audio_input()] * 50))
    await turns()
    assert not sending.done()
    sending.cancel()
    assert sim.record["ending"] == fault
    assert sim.record["outputs"] == {"userSpeechStart": 1, "completionStart": 1}


async def test_a_half_frame(sim: Sim) -> None:
    """SERVICE.md W4: a frame that is cut off is InvalidEventBytes."""
    call = await _lost(sim, "partial_frame")
    with pytest.raises(InvalidEventBytes):
        await call.receive()


async def test_a_half_frame_at_the_end(sim: Sim) -> None:
    """The same when the stream ends in order after half a frame."""
    call = await _lost(sim, "partial_frame", then="end")
    with pytest.raises(InvalidEventBytes):
        await call.receive()


async def test_a_wrong_checksum(sim: Sim) -> None:
    """SERVICE.md W2: a frame whose checksum is wrong is ChecksumMismatch."""
    call = await _lost(sim, "bad_crc")
    with pytest.raises(ChecksumMismatch):
        await call.receive()


@pytest.mark.parametrize("fault", ["goaway_silence", "half_open", "mute"])
async def test_silence(sim: Sim, fault: str) -> None:
    """SERVICE.md W4: after GOAWAY, or when nothing more comes, `receive` waits for ever and input is still taken."""
    call = await _lost(sim, fault)
    waiting = asyncio.ensure_future(call.receive())
    await call.send(*[ev.audio_input()] * 10)
    if fault == "goaway_silence":
        await turns()
    else:
        await until(lambda: sim.heard("audioInput") == 11)
    assert not waiting.done()
    waiting.cancel()


async def test_headers_that_never_come(sim: Sim) -> None:
    """SERVICE.md W4: `await_output` waits for ever while input is taken."""
    sim.fault("headers_never")
    call = await sim.sdk.call(*TURN)
    waiting = asyncio.ensure_future(call.opened())
    await until(lambda: sim.heard("audioInput"))
    await turns()
    assert not waiting.done()
    waiting.cancel()


@pytest.mark.parametrize(
    ("exception_type", "kind"),
    [
        ("internalServerException", models.InternalServerException),
        ("modelStreamErrorException", models.ModelStreamErrorException),
        ("validationException", models.ValidationException),
        ("throttlingException", models.ThrottlingException),
        ("modelTimeoutException", models.ModelTimeoutException),
        ("serviceUnavailableException", models.ServiceUnavailableException),
    ],
)
async def test_exceptions_in_the_stream(sim: Sim, exception_type: str, kind: type[Exception]) -> None:
    """Each modelled exception arrives as its class with the text that was ordered."""
    call = await _lost(sim, "exception", type=exception_type, message="as ordered")
    with pytest.raises(kind, match="as ordered"):
        await call.receive()


@pytest.mark.parametrize(
    ("fault", "text"),
    [
        ("instability", "System instability detected. Please retry your request."),
        ("internal_reset", "InternalErrorCode=531::RST_STREAM closed stream. HTTP/2 error code: NO_ERROR"),
        ("content_filter", "This request has been blocked by our content filters."),
    ],
)
async def test_failures_that_call_themselves_validation(sim: Sim, fault: str, text: str) -> None:
    """SERVICE.md A9: overload, internal resets and content policy come as ValidationException."""
    call = await _lost(sim, fault)
    with pytest.raises(models.ValidationException) as caught:
        await call.receive()
    assert text in caught.value.message


async def test_an_exception_nobody_knows(sim: Sim) -> None:
    """SERVICE.md W2: the SDK raises a bare KeyError."""
    call = await _lost(sim, "unknown_exception")
    with pytest.raises(KeyError, match="novelException"):
        await call.receive()


async def test_an_error_frame(sim: Sim) -> None:
    """SERVICE.md W2: an unmodelled error."""
    call = await _lost(sim, "error_frame", code="Oops", message="as ordered")
    with pytest.raises(UnmodeledEventError, match="as ordered"):
        await call.receive()


async def test_an_unknown_event_is_not_the_end(sim: Sim) -> None:
    """An event type that nobody knows comes between the others."""
    call = await _lost(sim, "unknown_event")
    item = await call.receive()
    assert item.tag == "novelty"
    assert "audioOutput" in names(await call.until("audioOutput"))


@pytest.mark.parametrize(
    ("when", "heard"),
    [({"after_audio_inputs": 3}, 3), ({"at_first_audio": True}, 1), ({"after_ms": 0}, 0)],
    ids=["audio inputs", "first audio", "time"],
)
async def test_triggers(sim: Sim, when: dict[str, Any], heard: int) -> None:
    """A fault waits for its trigger."""
    sim.fault("exception", message="now", when=when)
    call = await sim.sdk.call(*ev.live())
    await call.opened() if heard else None
    if "at_first_audio" in when:
        await call.send(*TYPED)
    await call.send(*[ev.audio_input()] * heard)
    with pytest.raises(models.InternalServerException, match="now"):
        await call.rest()
    assert sim.record["inputs"].get("audioInput", 0) == heard
    assert "audioOutput" not in sim.record["outputs"]


async def test_a_fault_for_an_open_stream(sim: Sim) -> None:
    """An order can name a stream that is open; another stream does not notice."""
    first = await sim.sdk.call(*ev.live())
    await first.opened()
    second = await sim.sdk.call(*ev.live())
    await second.opened()
    sim.fault("throttling", scope="s1")
    with pytest.raises(models.ThrottlingException):
        await first.receive()
    await second.send(*TYPED, ev.audio_input())
    assert names(await second.until("audioOutput"))[-1] == "audioOutput"


async def test_a_fault_for_all_streams(sim: Sim) -> None:
    """Open and future streams are hit until the reset."""
    first = await sim.sdk.call(*ev.live())
    await first.opened()
    sim.fault("throttling", scope="all")
    second = await sim.sdk.call(*ev.live())
    for call in (first, second):
        with pytest.raises(models.ThrottlingException):
            await call.rest()
    sim.service.reset()
    third = await sim.sdk.call(*TURN)
    assert names(await third.until("audioOutput"))


@pytest.mark.parametrize("broken", ["ears", "voice", "mind"])
async def test_a_talent_that_fails_ends_only_its_stream(
    sim: Sim, broken: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """An internal error is told as one, names no words on stderr, and leaves other streams alone."""

    def fail(*_args: object, **_kwargs: object) -> Any:
        raise RuntimeError("secret words")

    other = await sim.sdk.call(*ev.live())
    await other.opened()
    call = await sim.sdk.call(*ev.live())
    await call.opened()
    await until(lambda: len(sim.talent.minds) == 2)
    with monkeypatch.context() as patch:
        target, name = {
            "ears": (sim.talent.ears[1], "transcribe"),
            "voice": (sim.service.talents.voice, "speak"),
            "mind": (sim.talent.minds[1], "reply"),
        }[broken]
        patch.setattr(target, name, fail)
        await call.send(ev.audio_input(SPEECH), ev.audio_input(SILENCE))
        with pytest.raises(models.InternalServerException):
            await call.rest()
    stderr = capsys.readouterr().err
    assert "RuntimeError" in stderr
    assert "secret" not in stderr
    await other.send(*TYPED, ev.audio_input())
    assert names(await other.until("audioOutput"))


async def test_a_client_that_dies_is_noticed_at_once(sim: Sim) -> None:
    """With its connection, all of a client's streams are closed and leave nothing behind."""
    for _ in range(3):
        call = await sim.sdk.call(*TURN)
        await call.next()  # a client opens its connection only once if it has to wait for it
    await asyncio.wait_for(sim.sdk.transport.close(), 5)
    await until(lambda: not sim.service.open_streams)
    assert {document["ending"] for document in sim.service.records.documents()} <= {
        "connection_lost",
        "client_reset",
        "client_goaway",
    }


async def test_a_client_that_leaves_without_a_word(sim: Sim) -> None:
    """Closing the input without sessionEnd ends the stream in order."""
    call = await sim.sdk.call(*ev.live())
    await call.opened()
    await call.stream.input_stream.close()
    assert await call.rest() == []
    assert sim.record["ending"] == "input_ended"


async def test_nothing_is_kept_without_recording(open_sim: OpenSim, tmp_path: Any) -> None:
    """Without --record only counts remain; the tap holds times and counts of bytes."""
    tap = Tap(tmp_path / "tap.jsonl")
    async with open_sim(recording=False, tap=tap) as sim:
        call = await sim.sdk.call(*TURN)
        await call.until("audioOutput")
        await call.send(*ev.closing())
        await call.rest()
        await call.close()
        record = sim.service.records.get("s1")
        assert record is not None
        assert not record.heard
        assert not record.said
        assert not record.events
        assert not record.system_prompt
        assert record.heard_bytes == 3200
        assert record.said_bytes == len(speech_of("You said Hello."))
    tap.close()
    lines = [json.loads(line) for line in (tmp_path / "tap.jsonl").read_text().splitlines()]
    assert lines[0][1:] == ["s1", "heard", 3200]
    assert lines[-1][1:] == ["s1", "said", record.said_bytes]
    assert [line[0] for line in lines] == sorted(line[0] for line in lines)
