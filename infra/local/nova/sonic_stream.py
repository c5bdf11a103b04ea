"""One bidirectional stream: the asyncio shell around frames, validator and engine, and the place where faults happen."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any

from infra.local.nova import frames
from infra.local.nova.actions import (
    Action,
    Cut,
    Emit,
    EmitAudio,
    ExpectToolResult,
    Fail,
    Finish,
    Speak,
    Transcribe,
)
from infra.local.nova.clients import process_of
from infra.local.nova.engine import SessionEngine
from infra.local.nova.faults import Client, Effect, Fault, StreamFaults
from infra.local.nova.http2 import StreamPort
from infra.local.nova.inputs import AudioOpened, AudioReceived, PromptStarted, SystemGiven
from infra.local.nova.interfaces import Ears, Endpointing, HistoryMessage, Mind, ToolSpec
from infra.local.nova.records import StreamRecord
from infra.local.nova.responses import respond_with_error
from infra.local.nova.service import Service, now_ms, report_crash, unix_ms
from infra.local.nova.service_errors import ExceptionType, HttpError, ServiceError, Text
from infra.local.nova.settings import Profile
from infra.local.nova.timer import Timer
from infra.local.nova.validator import Phase, SessionValidator

CONTENT_TYPE = "application/vnd.amazon.eventstream"
_NEED_RESPONSE = frozenset(
    {Effect.EXCEPTION, Effect.ERROR_FRAME, Effect.UNKNOWN_EVENT, Effect.PARTIAL_FRAME, Effect.BAD_CRC}
)


class SonicStream:
    """Serves one stream until it ends; an internal error ends it with internalServerException and nothing else.

    Args:
        service: what all streams share.
        profile: of the model.
        port: the stream's sending side.
        record: of this stream.
        faults: ordered for it.
        request_id: sent in the response headers and in error messages.
    """

    def __init__(
        self,
        service: Service,
        *,
        profile: Profile,
        port: StreamPort,
        record: StreamRecord,
        faults: Sequence[Fault],
        request_id: str,
    ) -> None:
        self._service = service
        self._port = port
        self._record = record
        self._request_id = request_id
        self._model_id = profile.model_id
        self._settings = service.settings
        self._frames = frames.InputFrames()
        self._validator = SessionValidator(profile, self._settings.limits)
        self._rng = service.new_rng()
        self._ears: Ears | None = None
        opened_ms = now_ms()
        self._engine = SessionEngine(
            profile=profile,
            settings=self._settings,
            faculties=self,
            new_id=service.new_id,
            rng=self._rng,
            now_ms=opened_ms,
        )
        self._faults = StreamFaults(faults, opened_ms)
        self._waiting_for_headers: list[Fault] = []
        self._headers_sent = False
        self._headers_wanted = True
        self._muted = False
        self._over = False
        self._timer = Timer(lambda: self._guard(self._tick))
        self._tasks: set[asyncio.Task[None]] = set()
        service.open_streams[record.stream_id] = self

    def start(self) -> None:
        """Let the faults fire that need no input, and start the clock."""
        self._guard(self._tick)

    @property
    def model_id(self) -> str:
        """The model that answers."""
        return self._model_id

    @property
    def client(self) -> Client:
        """Who holds the stream."""
        return process_of(self._port.client_address)

    # What the transport calls.

    def data_received(self, data: bytes) -> None:
        """Take a piece of the request's body."""
        if not self._over:
            self._guard(lambda: self._take(data))

    def input_ended(self) -> None:
        """End the response; a client that has not said sessionEnd has given up."""
        if not self._over and not self._muted:
            self._send_headers()
            self._end("input_ended")

    def closed(self, why: str) -> None:
        """Clean up after a stream that the client has ended."""
        self._close(why)

    # What the control API and the engine call.

    def order(self, fault: Fault) -> None:
        """Let a fault fire in this stream."""
        if not self._over:
            self._faults.add(fault)
            self._guard(self._tick)

    def ears(self, rate: int, endpointing: Endpointing) -> Ears:
        """Return the session's ears."""
        talents = self._service.talents
        tempo = self._settings.timing.ears_tempo
        self._ears = talents.make_ears(talents.kind, rate=rate, endpointing=endpointing, tempo=tempo)
        return self._ears

    def mind(self, system_prompt: str, history: Sequence[HistoryMessage], tools: Sequence[ToolSpec]) -> Mind:
        """Return the session's mind."""
        return self._service.talents.make_mind(system_prompt=system_prompt, history=history, tools=tools)

    # Input.

    def _guard(self, work: Callable[[], None]) -> None:
        """Do something; end this stream, and no other, if it fails."""
        try:
            work()
        except ServiceError as error:
            self._fail(error)
        except Exception as error:  # noqa: BLE001  # one stream's failure must not reach the others
            report_crash(f"stream {self._record.stream_id}", error)
            self._fail(ServiceError(Text.INTERNAL, ExceptionType.INTERNAL_SERVER))

    def _take(self, data: bytes) -> None:
        for raw in self._frames.feed(data):
            if not self._over:
                self._input(raw)

    def _input(self, raw: bytes) -> None:
        try:
            name, event = self._validator.event(raw)
        except ServiceError:
            self._send_headers()
            raise
        if not self._headers_sent and (self._settings.limits.headers_after == "sessionStart" or name == "promptStart"):
            self._send_headers()
            if self._over:
                return
        self._note_input(name, raw)
        is_audio = isinstance(event, AudioReceived)
        if isinstance(event, AudioReceived):
            self._service.records.heard(self._record, event.pcm, time.monotonic_ns())
        if event is not None:
            self._engine.handle(event, now_ms())
            if isinstance(event, SystemGiven | AudioOpened | PromptStarted):
                self._note_prompt()
        self._act()
        if is_audio:
            self._apply(self._faults.audio_input())
        self._arm()

    def _note_input(self, name: str, raw: bytes) -> None:
        records = self._service.records
        if name == "audioInput":
            self._record.inputs[name] += 1
        else:
            body = json.loads(raw)["event"][name] if self._record.recording else {}
            records.event(self._record, "in", name, body, unix_ms())

    def _note_prompt(self) -> None:
        if self._record.recording:
            self._record.system_prompt = self._engine.system_prompt
            self._record.history = [{"role": item.role, "text": item.text} for item in self._engine.history]

    # Output.

    def _act(self) -> None:
        for action in self._engine.take_actions():
            if self._over:
                return
            self._do(action)

    def _do(self, action: Action) -> None:
        match action:
            case EmitAudio(body, pcm):
                self._emit_audio(body, pcm)
            case Emit(name, body):
                self._emit(name, body)
            case Transcribe(utterance, request):
                self._start(self._transcribe(utterance, request))
            case Speak():
                self._start(self._speak(action))
            case ExpectToolResult(tool_use_id):
                self._validator.tool_called(tool_use_id)
            case Cut():
                self._service.records.cut(self._record)
            case Finish():
                self._end("finished")
            case Fail(error):
                self._fail(error)

    def _emit(self, name: str, body: Mapping[str, Any]) -> None:
        if self._may_send(audio=False):
            self._service.records.event(self._record, "out", name, body, unix_ms())
            self._port.send(frames.output_event(name, body, self._rng))

    def _emit_audio(self, body: Mapping[str, Any], pcm: bytes) -> None:
        if self._may_send(audio=True):
            self._record.outputs["audioOutput"] += 1
            self._service.records.said(self._record, pcm, time.monotonic_ns())
            self._port.send(frames.audio_event(body, pcm, self._rng))

    def _may_send(self, *, audio: bool) -> bool:
        self._apply(self._faults.output(audio=audio))
        return not self._over and not self._muted

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _transcribe(self, utterance: int, request: object) -> None:
        assert self._ears is not None  # an utterance was heard with them
        try:
            words = await self._ears.transcribe(request)
        except Exception as error:  # noqa: BLE001  # ends this stream, not the process
            self._crash(error)
            return
        self._go_on(lambda: self._engine.transcribed(utterance, words, now_ms()))

    async def _speak(self, order: Speak) -> None:
        try:
            pcm = await self._service.talents.voice.speak(order.text, order.rate, order.voice_id)
        except Exception as error:  # noqa: BLE001  # ends this stream, not the process
            self._crash(error)
            return
        self._go_on(lambda: self._engine.spoken(order.sentence, pcm, now_ms()))

    def _crash(self, error: Exception) -> None:
        report_crash(f"stream {self._record.stream_id}", error)
        self._fail(ServiceError(Text.INTERNAL, ExceptionType.INTERNAL_SERVER))

    def _go_on(self, step: Callable[[], None]) -> None:
        if self._over:
            return

        def work() -> None:
            step()
            self._act()
            self._arm()

        self._guard(work)

    # Time.

    def _tick(self) -> None:
        self._apply(self._faults.due(now_ms()))
        self._engine.tick(now_ms())
        self._act()
        self._arm()

    def _arm(self) -> None:
        """See to it that `_tick` comes in time."""
        if self._over:
            return
        dues = [due for due in (self._engine.next_timer_ms(), self._faults.next_timer_ms()) if due is not None]
        if dues:
            self._timer.set(min(dues) / 1000)

    # Faults.

    def _apply(self, faults: Sequence[Fault]) -> None:
        for fault in faults:
            if self._over:
                return
            if fault.effect in _NEED_RESPONSE and not self._headers_sent:
                self._waiting_for_headers.append(fault)
            else:
                self._happen(fault)

    def _happen(self, fault: Fault) -> None:
        given = fault.parameters
        match fault.effect:
            case Effect.REFUSE if not self._headers_sent:
                refusal = HttpError(int(given["status"]), given["type"], given["message"])
                respond_with_error(self._port, refusal, self._request_id)
                self._close(fault.name)
            case Effect.RESET:
                self._port.reset(int(given["code"]))
                self._close(fault.name)
            case Effect.ABORT:
                self._close(fault.name)
                self._port.abort_connection()
            case Effect.GOAWAY:
                self._close(fault.name)
                self._port.goaway_and_silence()
            case Effect.NO_HEADERS:
                self._headers_wanted, self._muted = False, True
            case Effect.MUTE:
                self._muted = True
            case Effect.BEHAVE:
                self._engine.behaviour = fault.behave(self._engine.behaviour)
            case _:
                self._send_broken(fault, given)

    def _send_broken(self, fault: Fault, given: Mapping[str, Any]) -> None:
        match fault.effect:
            case Effect.EXCEPTION:
                self._send_last(frames.exception_frame(given["type"], given["message"]), fault.name)
            case Effect.ERROR_FRAME:
                self._send_last(frames.error_frame(given["code"], given["message"]), fault.name)
            case Effect.UNKNOWN_EVENT:
                self._port.send(frames.unknown_event_frame())
            case Effect.BAD_CRC:
                frame = frames.unknown_event_frame()
                self._send_last(frame[:-1] + bytes((frame[-1] ^ 0xFF,)), fault.name)
            case Effect.PARTIAL_FRAME:
                frame = frames.unknown_event_frame()
                self._port.send(frame[: len(frame) // 2])
                if given["then"] == "rst":
                    self._port.reset(int(given["code"]))
                    self._close(fault.name)
                else:
                    self._end(fault.name)
            case _:
                pass  # too late for an HTTP error

    # The end.

    def _send_headers(self) -> None:
        if self._headers_sent or not self._headers_wanted or self._over:
            return
        self._headers_sent = True
        self._port.respond(200, {"content-type": CONTENT_TYPE, "x-amzn-requestid": self._request_id})
        waiting, self._waiting_for_headers = self._waiting_for_headers, []
        self._apply(waiting)

    def _fail(self, error: ServiceError) -> None:
        if self._over or self._muted:
            return
        self._send_headers()
        self._send_last(
            frames.exception_frame(error.exception_type, error.rendered(self._request_id)),
            f"{error.exception_type}:{error.text.name}",
        )

    def _send_last(self, frame: bytes, why: str) -> None:
        if not self._over:
            self._port.send(frame)
            self._end(why)

    def _end(self, why: str) -> None:
        if not self._muted:
            self._port.end()
            self._close(why)

    def _close(self, why: str) -> None:
        if self._over:
            return
        self._over = True
        self._record.closed_at_ms = unix_ms()
        self._record.ending = why
        self._service.open_streams.pop(self._record.stream_id, None)
        self._timer.cancel()
        for task in self._tasks:
            task.cancel()

    @property
    def phase(self) -> Phase:
        """How far the session has come."""
        return self._validator.phase
