"""Nova Sonic in virtual time: the stand-in's own validator, engine, plain ears and voice, and scripted mind."""

import base64
import json
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache, partial
from typing import Any

from gateway.core.assessment import MicroRequest
from gateway.core.nova_events import Fault, OutputEvent, UnknownEvent, classify, parse_event
from infra.local.nova.actions import Cut, Emit, EmitAudio, ExpectToolResult, Fail, Finish, Speak, Transcribe
from infra.local.nova.engine import SessionEngine
from infra.local.nova.faults import Effect, parse_order
from infra.local.nova.faults import Fault as Ordered
from infra.local.nova.inputs import AudioReceived
from infra.local.nova.interfaces import Ears, Endpointing, HistoryMessage, Mind, ToolSpec
from infra.local.nova.minds import make_mind
from infra.local.nova.service_errors import ServiceError
from infra.local.nova.settings import PROFILES, Settings
from infra.local.nova.validator import SessionValidator
from infra.local.nova.voices import hear_plain, make_ears, speak_plain
from infra.local.nova.voices.plain import Utterance
from tests.world.clock import Clock, Timer

MODEL = "amazon.nova-2-sonic-v1:0"
OPENING_MS = 120.0
OPEN_TIMEOUT_MS = 12_000.0
_WIRE_MS = 1.0
_AT_OPENING = frozenset({Effect.REFUSE, Effect.REFUSE_CONNECTION, Effect.NO_HEADERS})

say = lru_cache(maxsize=512)(speak_plain)
understand = lru_cache(maxsize=512)(hear_plain)


class Faculties:
    """Plain ears, and the mind that follows its prompt."""

    def ears(self, rate: int, endpointing: Endpointing) -> Ears:
        return make_ears("plain", rate=rate, endpointing=endpointing)

    def mind(self, system_prompt: str, history: Sequence[HistoryMessage], tools: Sequence[ToolSpec]) -> Mind:
        return make_mind(system_prompt=system_prompt, history=history, tools=tools)


@dataclass
class Session:
    """One stream, with what it heard and said.

    Attributes:
        sent_bytes: the learner's speech that it was sent.
        heard_to: the frame of the phone after the last one that it was sent.
        lost: it ended by a fault, or is dead.
        muted: it is dead: open, and says nothing more.
    """

    stream_id: int
    validator: SessionValidator
    engine: SessionEngine
    heard: bytearray = field(default_factory=bytearray)
    said: list[bytearray] = field(default_factory=lambda: [bytearray()])
    names: list[str] = field(default_factory=list)
    cuts: int = 0
    over: bool = False
    sent_bytes: int = 0
    heard_to: int = 0
    lost: bool = False
    muted: bool = False


class VirtualNova:
    """All streams of one conversation.

    Args:
        chance_of: the generator of a stream, or of something about it, by name.
        said: is told every output event.
        opened: is told that a stream has answered.
        ended: is told that a stream is over.
    """

    def __init__(
        self,
        clock: Clock,
        chance_of: Callable[[str], random.Random],
        settings: Settings,
        *,
        said: Callable[[int, OutputEvent], None],
        opened: Callable[[int], None],
        ended: Callable[[int, Fault], None],
    ) -> None:
        self._clock = clock
        self._chance_of = chance_of
        self.settings = settings
        self._said, self._opened, self._ended = said, opened, ended
        self.sessions: dict[int, Session] = {}
        self.refuse: list[Fault] = []
        self.spoil: list[Ordered] = []
        self.opening_ms = OPENING_MS
        self._timers: dict[int, Timer] = {}

    def open(self, stream_id: int, events: Sequence[bytes]) -> None:
        """Open a stream, or refuse it as `refuse` says."""
        if self.refuse:
            fault = self.refuse.pop(0)
            self._clock.after(self.opening_ms, lambda: self._ended(stream_id, fault))
            return
        if self.spoil:
            self._spoil_opening(stream_id, self.spoil.pop(0))
            return
        profile = PROFILES[MODEL]
        engine = SessionEngine(
            profile=profile,
            settings=self.settings,
            faculties=Faculties(),
            new_id=lambda: f"{self._chance_of(f'{stream_id} ids').getrandbits(64):016x}",
            rng=self._chance_of(f"{stream_id}"),
            now_ms=self._clock.now_ms,
        )
        session = Session(stream_id, SessionValidator(profile, self.settings.limits), engine)
        self.sessions[stream_id] = session
        self._timers[stream_id] = Timer(
            self._clock, lambda: None if session.over else engine.next_timer_ms(), lambda: self._tick(session)
        )
        self._clock.after(self.opening_ms, lambda: self._opened(stream_id))
        self.send(stream_id, events)

    def send(self, stream_id: int, events: Sequence[bytes], *, heard_to: int = 0) -> None:
        """Send events on a stream; `heard_to`: the frame of the phone after the last one that has come."""
        session = self.sessions.get(stream_id)
        if session is None:
            return
        for event in events:
            sent_bytes = _speech_bytes(event)
            if sent_bytes:
                session.sent_bytes += sent_bytes
                session.heard_to = heard_to
            self._clock.after(_WIRE_MS, partial(self._take, session, event))

    def close(self, stream_id: int) -> None:
        """Close a stream, after what was sent before."""
        session = self.sessions.get(stream_id)
        if session is not None:
            self._clock.after(_WIRE_MS, lambda: setattr(session, "over", True))

    def lose(self, stream_id: int, fault: Fault = Fault.STREAM_LOST) -> None:
        """Lose a stream; what it said before still arrives."""
        session = self.sessions[stream_id]
        if not session.over:
            session.over = session.lost = True
            self._clock.after(_WIRE_MS, lambda: self._ended(stream_id, fault))

    def strike(self, stream_id: int, name: str) -> None:
        """Have a fault of the stand-in happen to a stream now; one of opening loses it and hits its successor."""
        ordered = parse_order({"fault": name}).fault
        session = self.sessions[stream_id]
        if ordered.effect in _AT_OPENING:
            self.spoil.append(ordered)
            self.lose(stream_id)
        elif ordered.effect in (Effect.MUTE, Effect.GOAWAY):
            session.muted = session.lost = True
        elif ordered.effect is Effect.BEHAVE:
            session.engine.behaviour = ordered.behave(session.engine.behaviour)
        elif ordered.effect is Effect.UNKNOWN_EVENT:
            self._said(stream_id, UnknownEvent("novel"))
        else:
            self.lose(stream_id, meaning(ordered))

    def spoil_next(self, name: str) -> None:
        """Have a fault happen to the next stream that is opened, as it opens."""
        self.spoil.append(parse_order({"fault": name}).fault)

    def _spoil_opening(self, stream_id: int, ordered: Ordered) -> None:
        late = ordered.effect is Effect.NO_HEADERS
        fault = meaning(ordered)
        self._clock.after(OPEN_TIMEOUT_MS if late else self.opening_ms, lambda: self._ended(stream_id, fault))

    def vanish(self) -> None:
        """The relay that held the streams is gone."""
        for session in self.sessions.values():
            session.lost |= not session.over
            session.over = True

    def heard(self) -> bytes:
        """Everything that was heard, stream after stream."""
        return b"".join(bytes(self.sessions[number].heard) for number in sorted(self.sessions))

    def turns(self) -> list[bytes]:
        """Everything that was said, turn after turn."""
        return [bytes(turn) for number in sorted(self.sessions) for turn in self.sessions[number].said if turn]

    def _take(self, session: Session, event: bytes) -> None:
        if session.over:
            return
        try:
            name, checked = session.validator.event(event)
        except ServiceError as error:
            self._fail(session, error)
            return
        session.names.append(name)
        if isinstance(checked, AudioReceived):
            session.heard += checked.pcm
        if checked is not None:
            session.engine.handle(checked, self._clock.now_ms)
        self._do_all(session)

    def _tick(self, session: Session) -> None:
        if not session.over:
            session.engine.tick(self._clock.now_ms)
            self._do_all(session)

    def _do_all(self, session: Session) -> None:
        while actions := session.engine.take_actions():
            for action in actions:
                if not session.over:
                    self._do(session, action)
        if not session.over:
            self._timers[session.stream_id].arm()

    def _do(self, session: Session, action: Any) -> None:
        now_ms = self._clock.now_ms
        match action:
            case Emit() | EmitAudio() | Fail() | Finish() if session.muted:
                pass
            case Emit(name, body):
                if name == "contentEnd" and body["type"] == "AUDIO" and body["stopReason"] != "PARTIAL_TURN":
                    session.said.append(bytearray())
                self._emit(session, {"event": {name: dict(body)}})
            case EmitAudio(body, pcm):
                session.said[-1] += pcm
                content = base64.b64encode(pcm).decode()
                self._emit(session, {"event": {"audioOutput": {**body, "content": content}}})
            case Cut():
                session.cuts += 1
                session.said.append(bytearray())
            case ExpectToolResult(tool_use_id):
                session.validator.tool_called(tool_use_id)
            case Transcribe(utterance, request) if isinstance(request, Utterance):
                session.engine.transcribed(utterance, understand(request.pcm, request.rate), now_ms)
            case Speak(sentence, text, rate, _):
                session.engine.spoken(sentence, say(text, rate), now_ms)
            case Fail(error):
                self._fail(session, error)
            case Finish():
                session.over = True

    def _emit(self, session: Session, document: Mapping[str, Any]) -> None:
        event = parse_event(json.dumps(document).encode())
        self._clock.after(_WIRE_MS, lambda: self._said(session.stream_id, event))

    def _fail(self, session: Session, error: ServiceError) -> None:
        session.over = session.lost = True
        fault = classify(str(error.exception_type), error.message)
        self._clock.after(_WIRE_MS, lambda: self._ended(session.stream_id, fault))


def meaning(ordered: Ordered) -> Fault:
    """What the gateway's adapter makes of a fault; what has no name of the service's is a loss."""
    given = ordered.parameters
    kind = given.get("type", given.get("code", ""))
    return classify(kind if isinstance(kind, str) else "", str(given.get("message", "")))


def _speech_bytes(event: bytes) -> int:
    """How much speech an event carries, without decoding it."""
    if b'"audioInput"' not in event[:40]:
        return 0
    content = event[event.index(b'"content":"') + 11 :]
    content = content[: content.index(b'"')]
    return len(content) // 4 * 3 - content.count(b"=")


def micro(request: MicroRequest) -> Mapping[str, Any]:
    """Answer a request as Nova Micro's stand-in does."""
    converse = {
        "system": [{"text": request.system}],
        "messages": [{"role": "user", "content": [{"text": request.user}]}],
        "toolConfig": {"tools": [request.tool.as_converse()], "toolChoice": {"tool": {"name": request.tool.name}}},
    }
    answer = make_mind(system_prompt=request.system, history=(), tools=()).reply_converse(converse)
    [block] = answer["output"]["message"]["content"]
    arguments: Mapping[str, Any] = block["toolUse"]["input"]
    return arguments
