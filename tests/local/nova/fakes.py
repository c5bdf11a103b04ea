"""Ears, voice and mind without talent, whose every word a test decides; and an engine in virtual time."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from infra.local.nova.actions import Action, Cut, Emit, EmitAudio, Speak, Transcribe
from infra.local.nova.engine import SessionEngine
from infra.local.nova.inputs import (
    AudioOpened,
    AudioReceived,
    InputEvent,
    PromptStarted,
    SessionStarted,
    SystemGiven,
    TextGiven,
    ToolResultReceived,
)
from infra.local.nova.interfaces import (
    Endpointing,
    HeardEvent,
    HistoryMessage,
    Modality,
    Reply,
    SpeechEnd,
    SpeechStart,
    ToolCall,
    ToolSpec,
    VoiceKind,
)
from infra.local.nova.settings import INSTANT_TIMING, PROFILES, Limits, Profile, Settings

FRAME_MS = 100
RATE = 16000
SILENCE = bytes(2 * RATE * FRAME_MS // 1000)
SPEECH = b"\x10\x20" * (RATE * FRAME_MS // 1000)
NOVA_2 = PROFILES["amazon.nova-2-sonic-v1:0"]


class FakeEars:
    """Takes whatever is not digital silence for speech, and one silent frame for its end."""

    def __init__(self, words: list[str] | None = None) -> None:
        self.words = [] if words is None else words
        self.heard = bytearray()
        self._speaking = False
        self._utterances = 0

    def feed(self, pcm: bytes, offset_ms: float) -> list[HeardEvent]:
        assert offset_ms == len(self.heard) / 2 / RATE * 1000
        self.heard += pcm
        loud = any(pcm)
        if loud is self._speaking:
            return []
        self._speaking = loud
        if loud:
            return [SpeechStart(offset_ms)]
        self._utterances += 1
        return [SpeechEnd(offset_ms, offset_ms + FRAME_MS, self._utterances)]

    async def transcribe(self, text_request: object) -> str:
        return self.text_of(text_request)

    def text_of(self, text_request: object) -> str:
        assert isinstance(text_request, int)
        return self.words[text_request - 1] if text_request <= len(self.words) else f"utterance {text_request}"


def speech_of(text: str, rate: int = 24000) -> bytes:
    """100 ms for each word, with samples that tell the sentence."""
    sample = 1 + sum(text.encode()) % 30000
    return sample.to_bytes(2, "little") * (rate // 10 * len(text.split()))


class FakeVoice:
    """Says each word in 100 ms."""

    async def speak(self, text: str, rate: int, voice_id: str) -> bytes:
        assert voice_id
        return speech_of(text, rate)


@dataclass
class FakeMind:
    """Answers with what it is given, or with the words it heard."""

    system_prompt: str = ""
    history: Sequence[HistoryMessage] = ()
    tools: Sequence[ToolSpec] = ()
    replies: list[Reply] = field(default_factory=list)
    asked: list[tuple[str, str]] = field(default_factory=list)
    interruptions: list[int] = field(default_factory=list)
    results: list[tuple[str, Any]] = field(default_factory=list)

    def _next(self, default: str) -> Reply:
        if self.replies:
            return self.replies.pop(0)
        if default.startswith("call ") and self.tools:
            return Reply(tool_calls=(ToolCall("t1", self.tools[0].name, {"n": 1}),))
        return Reply((f"You said {default}.",))

    def reply(self, user_text: str, kind: Modality, *, speech_ms: float | None = None) -> Reply:
        assert (speech_ms is not None) == (kind == "speech")
        self.asked.append((kind, user_text))
        return self._next(user_text)

    def interrupted(self, sentences_begun: int) -> None:
        self.interruptions.append(sentences_begun)

    def tool_result(self, tool_use_id: str, document: Any) -> Reply:
        self.results.append((tool_use_id, document))
        return self._next(f"result of {tool_use_id}")

    def reply_converse(self, request: Mapping[str, Any]) -> dict[str, Any]:
        choice = request.get("toolConfig", {}).get("toolChoice", {}).get("tool")
        if choice is None:
            content: dict[str, Any] = {"text": f"{len(request['messages'])} messages"}
            return {"output": {"message": {"role": "assistant", "content": [content]}}, "stopReason": "end_turn"}
        content = {"toolUse": {"toolUseId": "u1", "name": choice["name"], "input": {"n": 1}}}
        return {"output": {"message": {"role": "assistant", "content": [content]}}, "stopReason": "tool_use"}


class Talent:
    """Factories that hand out fakes and keep them for the test."""

    def __init__(self) -> None:
        self.ears: list[FakeEars] = []
        self.minds: list[FakeMind] = []
        self.words: list[str] = []
        self.replies: list[Reply] = []
        self.endpointing: list[Endpointing] = []

    def make_ears(self, kind: VoiceKind, *, rate: int, endpointing: Endpointing, tempo: float = 1.0) -> FakeEars:
        assert (kind, rate, tempo) == ("plain", RATE, 1.0)
        self.endpointing.append(endpointing)
        self.ears.append(FakeEars(self.words))
        return self.ears[-1]

    def make_mind(
        self, *, system_prompt: str, history: Sequence[HistoryMessage], tools: Sequence[ToolSpec]
    ) -> FakeMind:
        self.minds.append(FakeMind(system_prompt, history, tools, self.replies))
        return self.minds[-1]


class World:
    """An engine in virtual time: transcripts and speech are there at once, frames of the microphone every 100 ms."""

    def __init__(
        self,
        *,
        settings: Settings | None = None,
        profile: Profile = NOVA_2,
        tools: tuple[ToolSpec, ...] = (),
        live: bool = True,
        talkative: bool = True,
    ) -> None:
        self.now_ms = 1_000_000.0
        self.talent = Talent()
        self.log: list[tuple[float, Action]] = []
        self.waiting: list[Action] = []
        self.talkative = talkative
        self._ids = 0
        self.engine = SessionEngine(
            profile=profile,
            settings=settings or Settings(timing=INSTANT_TIMING),
            faculties=self,
            new_id=self._new_id,
            rng=random.Random(7),  # the same in every run
            now_ms=self.now_ms,
        )
        if live:
            self.do(SessionStarted("HIGH"))
            self.do(PromptStarted("p", "amy", 24000, tools))
            self.do(SystemGiven("Be kind."))
            self.do(AudioOpened(RATE))

    def _new_id(self) -> str:
        self._ids += 1
        return f"id-{self._ids}"

    def ears(self, rate: int, endpointing: Endpointing) -> FakeEars:
        return self.talent.make_ears("plain", rate=rate, endpointing=endpointing)

    def mind(self, system_prompt: str, history: Sequence[HistoryMessage], tools: Sequence[ToolSpec]) -> FakeMind:
        return self.talent.make_mind(system_prompt=system_prompt, history=history, tools=tools)

    @property
    def the_mind(self) -> FakeMind:
        return self.talent.minds[0]

    def do(self, event: InputEvent) -> None:
        self.engine.handle(event, self.now_ms)
        self._serve()

    def _serve(self) -> None:
        while actions := self.engine.take_actions():
            for action in actions:
                self.log.append((self.now_ms, action))
                if isinstance(action, Transcribe | Speak):
                    self.waiting.append(action)
            if self.talkative:
                self.deliver()

    def deliver(self) -> None:
        """Bring the transcripts and the speech that were asked for."""
        waiting, self.waiting = self.waiting, []
        for action in waiting:
            if isinstance(action, Transcribe):
                self.engine.transcribed(action.utterance, self.talent.ears[0].text_of(action.text_request), self.now_ms)
            elif isinstance(action, Speak):
                self.engine.spoken(action.sentence, speech_of(action.text, action.rate), self.now_ms)
        if waiting:
            self._serve()

    def advance(self, ms: float) -> None:
        """Let time pass without audio, stopping at each timer."""
        until_ms = self.now_ms + ms
        spins = 0
        while (timer_ms := self.engine.next_timer_ms()) is not None and timer_ms <= until_ms:
            spins = spins + 1 if timer_ms <= self.now_ms else 0
            assert spins < 50, "a timer is due again and again"
            self.now_ms = max(self.now_ms, timer_ms)
            self.engine.tick(self.now_ms)
            self._serve()
        self.now_ms = until_ms

    def hear(self, pcm: bytes, frames: int = 1) -> None:
        """Send frames of the microphone in real time."""
        for _ in range(frames):
            self.advance(FRAME_MS)
            self.do(AudioReceived(pcm))

    def utter(self, words: str, frames: int = 5) -> None:
        """Let the learner say something, up to the frame of silence that ends it."""
        self.talent.words.append(words)
        self.hear(SPEECH, frames)
        self.hear(SILENCE)

    def type(self, text: str) -> None:
        self.do(TextGiven("USER", text, interactive=True))

    def result(self, tool_use_id: str, document: Any) -> None:
        self.do(ToolResultReceived(tool_use_id, document))

    def emitted(self) -> list[Action]:
        return [action for _, action in self.log if isinstance(action, Emit | EmitAudio | Cut)]

    def story(self) -> list[str]:
        """What left, in words: audio pieces joined, events of no interest left out."""
        lines: list[str] = []
        for action in self.emitted():
            line = tell(action)
            if line and not (line == "audio" and lines and lines[-1] == "audio"):
                lines.append(line)
        return lines

    def times(self) -> dict[str, float]:
        """When each line of the story left for the first time, in ms since the beginning."""
        times: dict[str, float] = {}
        for at_ms, action in self.log:
            line = tell(action) if isinstance(action, Emit | EmitAudio | Cut) else ""
            if line:
                times.setdefault(line, at_ms - 1_000_000.0)
        return times

    def said(self) -> bytes:
        return b"".join(action.pcm for action in self.emitted() if isinstance(action, EmitAudio))

    def bodies(self, name: str) -> list[Mapping[str, Any]]:
        return [action.body for action in self.emitted() if isinstance(action, Emit) and action.name == name]


def tell(action: Action) -> str:
    """One line about an action."""
    match action:
        case EmitAudio():
            return "audio"
        case Cut():
            return "CUT"
        case Emit("contentStart", {"type": "TEXT", "role": role, "additionalModelFields": stage}):
            return f"{role} {'FINAL' if 'FINAL' in stage else 'SPECULATIVE'}"
        case Emit("textOutput", {"content": content}):
            return str(content)
        case Emit("contentEnd", {"type": kind, "stopReason": reason}) if (kind, reason) != ("TEXT", "PARTIAL_TURN"):
            return f"{kind} ends {reason}"
        case Emit("toolUse", {"toolName": name, "content": content}):
            return f"call {name} {content}"
        case Emit("usageEvent" | "contentStart" | "contentEnd"):
            return ""
        case Emit(name):
            return name
    return ""


def with_settings(*, timing: Any = INSTANT_TIMING, limits: Limits | None = None, **changes: Any) -> Settings:
    return Settings(timing=timing, limits=limits or Limits()).with_overrides(changes)
