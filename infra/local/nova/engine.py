"""One Nova Sonic session: what it hears, when it answers, how it is interrupted, and when it gives up.

Pure: the ears, the mind, the clock (`now_ms`, monotonic), ids and randomness are passed in. After each call the shell
takes the actions and asks for the next timer. Source: SERVICE.md A3 to A8, A10.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Sequence
from dataclasses import replace

from infra.local.nova.actions import Action, ExpectToolResult, Fail, Finish, Speak, Transcribe
from infra.local.nova.awaited import Awaited, Due
from infra.local.nova.delivery import Delivery
from infra.local.nova.inputs import (
    AudioOpened,
    AudioReceived,
    InputEvent,
    PromptEnded,
    PromptStarted,
    SessionEnded,
    SessionStarted,
    SystemGiven,
    TextGiven,
    ToolResultReceived,
)
from infra.local.nova.interfaces import (
    Endpointing,
    Faculties,
    HistoryMessage,
    Mind,
    SpeechEnd,
    SpeechStart,
    ToolCall,
)
from infra.local.nova.listener import Listener
from infra.local.nova.outputs import OutputBuilder
from infra.local.nova.service_errors import ExceptionType, ServiceError, Text
from infra.local.nova.settings import Profile, Settings
from infra.local.nova.turns import TURNS, Asked, Cue, Effect, Floor, Pending, Reported


class SessionEngine:
    """See the module; `handle` takes checked events only.

    Attributes:
        behaviour: may be replaced at any time, as faults do.
        system_prompt: of the session, empty until given.
        history: what was seeded.
    """

    def __init__(
        self,
        *,
        profile: Profile,
        settings: Settings,
        faculties: Faculties,
        new_id: Callable[[], str],
        rng: random.Random,
        now_ms: float,
    ) -> None:
        self.behaviour = settings.behaviour
        self.system_prompt = ""
        self.history: list[HistoryMessage] = []
        self._timing = settings.timing
        self._limits = settings.limits
        self._idle_ms = profile.idle_ms if settings.limits.idle_ms is None else settings.limits.idle_ms
        self._faculties = faculties
        self._new_id = new_id
        self._rng = rng
        self._actions: list[Action] = []
        self._opened_ms = now_ms
        self._active_ms = now_ms
        self._over = False
        self._endpointing: Endpointing = "HIGH"
        self._prompt: PromptStarted | None = None
        self._seeds: list[TextGiven] = []
        self._outputs = OutputBuilder(prompt_name="", rate=0, new_id=new_id)
        self._listener: Listener | None = None
        self._mind: Mind | None = None
        self._floor = Floor.LISTENING
        self._awaited = Awaited()
        self._numbers = 0
        self._delivery: Delivery | None = None
        self._first_sentence = 0
        self._waiting_tools: set[str] = set()
        self._held_sentences: list[str] = []

    # What the shell calls.

    def handle(self, event: InputEvent, now_ms: float) -> None:
        """Take one checked input event."""
        if self._over:
            return
        match event:
            case AudioReceived(pcm) if self._listener is not None:
                self._hear(self._listener, pcm, now_ms)
            case TextGiven() if self._listener is None:
                self._seeds.append(event)
                self._active_ms = now_ms if event.interactive else self._active_ms
            case TextGiven("USER", text, interactive=True) if self._listener is not None:
                self._ask(self._listener, text, now_ms)
            case ToolResultReceived(tool_use_id, document):
                self._report(tool_use_id, document, now_ms)
            case PromptEnded():
                self._end_prompt(now_ms)
            case SessionEnded():
                self._end(Finish())
            case _:
                self._prepare(event, now_ms)
        self.tick(now_ms)

    def transcribed(self, number: int, words: str, now_ms: float) -> None:
        """Take the words of an utterance that a `Transcribe` asked for."""
        if self._listener is not None:
            self._listener.transcribed(number, words)
        self.tick(now_ms)

    def spoken(self, sentence: int, pcm: bytes, now_ms: float) -> None:
        """Take the speech that a `Speak` asked for; too late, it is dropped."""
        index = sentence - self._first_sentence
        if self._delivery is None or self._delivery.sent or not self._delivery.sentence_text(index):
            return
        self._delivery.spoken(index, pcm)
        self._request_speech(index + 1)
        self.tick(now_ms)

    def tick(self, now_ms: float) -> None:
        """Do everything that is due by now."""
        if self._over or self._check_limits(now_ms):
            return
        if self._listener is not None:
            texts = self._texts_allowed
            self._actions += self._listener.publish(now_ms, self.behaviour, self._outputs, texts=texts)
        self._answer_if_due(now_ms)
        if self._delivery is not None:
            self._actions += self._delivery.tick(now_ms, self.behaviour)
            if self._floor is Floor.SPEAKING and self._delivery.sent and self._delivery.played_at_ms <= now_ms:
                self._turn(Cue.PLAYED, now_ms)
                if self._awaited:
                    self._turn(Cue.TOOL_RESULT, now_ms)
                    self._answer_if_due(now_ms)

    def take_actions(self) -> list[Action]:
        """Return what is to be done, once, in order."""
        actions, self._actions = self._actions, []
        return actions

    def next_timer_ms(self) -> float | None:
        """Return when `tick` is to be called at the latest; None when the session is over."""
        if self._over:
            return None
        dues: list[float | None] = [self._opened_ms + self._limits.lifetime_ms, self._idle_at_ms()]
        if self._listener is not None:
            dues.append(self._listener.next_timer_ms(texts=self._texts_allowed))
        if self._awaited.due is not None and self._floor is Floor.SETTLING and self._ready_to_answer():
            dues.append(self._awaited.due.think_ms)
        if self._delivery is not None:
            dues.append(self._delivery.next_timer_ms())
            if self._floor is Floor.SPEAKING and self._delivery.sent:
                dues.append(self._delivery.played_at_ms)
        return min(due for due in dues if due is not None)

    @property
    def _texts_allowed(self) -> bool:
        return self._delivery is None or not self._delivery.audio_open

    # Before the conversation.

    def _prepare(self, event: InputEvent, now_ms: float) -> None:
        match event:
            case SessionStarted(endpointing):
                self._endpointing = endpointing
            case PromptStarted():
                self._prompt = event
                self._outputs = OutputBuilder(
                    prompt_name=event.prompt_name, rate=event.output_rate, new_id=self._new_id
                )
            case SystemGiven(text):
                self.system_prompt = text
            case AudioOpened(rate):
                self._open(rate, now_ms)
            case _:
                pass  # text that the service accepts and ignores, and the end of the audio

    def _open(self, rate: int, now_ms: float) -> None:
        """Begin to listen; interactive texts at the end of what was seeded want an answer, the others are history."""
        questions: list[str] = []
        while self._seeds and self._seeds[-1].interactive:
            questions.insert(0, self._seeds.pop().text)
        self.history = [HistoryMessage(seed.role, seed.text) for seed in self._seeds]
        self._listener = Listener(self._faculties.ears(rate, self._endpointing), rate, self._timing)
        tools = self._prompt.tools if self._prompt is not None else ()
        self._mind = self._faculties.mind(self.system_prompt, tuple(self.history), tools)
        for question in questions:
            self._ask(self._listener, question, now_ms)

    # Listening.

    def _hear(self, listener: Listener, pcm: bytes, now_ms: float) -> None:
        if self._limits.silence_counts or pcm.count(0) != len(pcm) or not listener.heard_bytes:
            self._active_ms = now_ms
        for heard in listener.feed(pcm):
            self._active_ms = now_ms
            if isinstance(heard, SpeechStart):
                self._actions += listener.begin(heard, self.behaviour, self._outputs)
                self._turn(Cue.SPEECH_START, now_ms)
            else:
                self._speech_end(listener, heard, now_ms)

    def _speech_end(self, listener: Listener, heard: SpeechEnd, now_ms: float) -> None:
        utterance = listener.end(heard, number=self._next_number(), now_ms=now_ms)
        self._actions.append(Transcribe(utterance.number, heard.text_request))
        if utterance.answered:
            timing = self._timing
            self._await_answer(
                utterance, utterance.end_due_ms, timing.think_ms, timing.speculative_ms, timing.first_audio_ms
            )
            self._turn(Cue.SPEECH_END, now_ms)

    def _ask(self, listener: Listener, text: str, now_ms: float) -> None:
        self._active_ms = now_ms
        listener.overtake()
        timing = self._timing
        self._await_answer(
            Asked(text), now_ms, timing.text_think_ms, timing.text_speculative_ms, timing.text_first_audio_ms
        )
        self._turn(Cue.TEXT, now_ms)

    def _report(self, tool_use_id: str, document: object, now_ms: float) -> None:
        timing = self._timing
        self._waiting_tools.discard(tool_use_id)
        self._await_answer(
            Reported(tool_use_id, document), now_ms, 0, timing.tool_speculative_ms, timing.tool_first_audio_ms
        )
        self._turn(Cue.TOOL_RESULT, now_ms)

    def _await_answer(self, pending: Pending, anchor_ms: float, think: float, text: float, audio: float) -> None:
        if not self._awaited.add(pending, Due(anchor_ms + think, anchor_ms + text, anchor_ms + audio)):
            self._end(Fail(ServiceError(Text.INVALID)))

    # Answering.

    def _turn(self, cue: Cue, now_ms: float) -> None:
        self._floor, effect = TURNS[self._floor, cue]
        if effect is Effect.HOLD:
            self._awaited.hold()
        if self._delivery is None:
            return
        if effect is Effect.FINALS:
            self._actions += self._delivery.flush_finals(self.behaviour)
        elif effect is Effect.INTERRUPT:
            self._interrupt(self._delivery, now_ms)

    def _interrupt(self, delivery: Delivery, now_ms: float) -> None:
        under_way = not delivery.sent or delivery.played_at_ms > now_ms or delivery.finals_pending
        if under_way and self._mind is not None:
            self._mind.interrupted(delivery.sentences_begun(now_ms))
        if under_way and delivery.begun:
            self._actions += delivery.stop(now_ms, self.behaviour, interrupted=True)
        self._delivery = None
        self._held_sentences.clear()

    def _ready_to_answer(self) -> bool:
        enough = self._listener is not None and self._listener.heard_ms >= self._limits.min_audio_ms
        return enough and self._awaited.understood

    def _answer_if_due(self, now_ms: float) -> None:
        due = self._awaited.due
        if self._floor is not Floor.SETTLING or due is None or due.think_ms > now_ms or not self._ready_to_answer():
            return
        # Nothing is awaited before the audio container is open.
        assert self._mind is not None
        assert self._listener is not None
        self._awaited.hold()
        reply = self._awaited.reply(self._mind, self._listener)
        self._actions += self._outputs.completion_start()
        self._call_tools(reply.tool_calls)
        self._held_sentences += reply.sentences
        if self._waiting_tools or not self._held_sentences:
            self._turn(Cue.STAY_SILENT, now_ms)
            return
        sentences, self._held_sentences = self._held_sentences, []
        self._turn(Cue.SPEAK, now_ms)
        self._speak(sentences, max(now_ms, due.text_ms), max(now_ms, due.audio_ms))

    def _call_tools(self, calls: Sequence[ToolCall]) -> None:
        for call in calls if self.behaviour.tools_called else ():
            arguments = json.dumps(dict(call.arguments))
            if self.behaviour.bad_tool_calls > 0:
                arguments = json.dumps({"unexpected": True})
                self.behaviour = replace(self.behaviour, bad_tool_calls=self.behaviour.bad_tool_calls - 1)
            if self.behaviour.double_encoded_tool:
                arguments = json.dumps(arguments)
            self._waiting_tools.add(call.tool_use_id)
            self._actions.append(ExpectToolResult(call.tool_use_id))
            self._actions += self._outputs.tool_block(call, arguments)
            self._actions.append(self._outputs.usage(text_out=arguments))

    def _speak(self, sentences: Sequence[str], text_due_ms: float, audio_due_ms: float) -> None:
        assert self._prompt is not None  # the table of the validator sees to it
        self._first_sentence = self._numbers + 1
        self._numbers += len(sentences)
        self._delivery = Delivery(
            sentences,
            text_due_ms=text_due_ms,
            audio_due_ms=audio_due_ms,
            rate=self._prompt.output_rate,
            timing=self._timing,
            rng=self._rng,
            outputs=self._outputs,
        )
        self._request_speech(0)

    def _request_speech(self, index: int) -> None:
        assert self._delivery is not None
        assert self._prompt is not None
        text = self._delivery.sentence_text(index)
        if text is not None:
            prompt = self._prompt
            self._actions.append(Speak(self._first_sentence + index, text, prompt.output_rate, prompt.voice_id))

    def _next_number(self) -> int:
        self._numbers += 1
        return self._numbers

    # The end.

    def _end_prompt(self, now_ms: float) -> None:
        if self._delivery is not None:
            self._actions += self._delivery.stop(now_ms, self.behaviour, interrupted=False)
            self._delivery = None
        self._awaited.clear()
        self._listener = None
        self._active_ms = now_ms
        self._floor = Floor.LISTENING
        if self._outputs.started:
            self._actions.append(self._outputs.completion_end())

    def _idle_at_ms(self) -> float:
        return self._active_ms + self._idle_limit_ms

    @property
    def _idle_limit_ms(self) -> float:
        heard = self._listener is None or self._listener.heard_bytes > 0
        return self._idle_ms if heard and self._mind is not None else self._limits.first_idle_ms

    def _check_limits(self, now_ms: float) -> bool:
        """End the session when a limit is passed; returns whether it is over."""
        if now_ms >= self._opened_ms + self._limits.lifetime_ms:
            self._end(Fail(ServiceError(Text.TIMED_OUT, ExceptionType.MODEL_TIMEOUT)))
        elif now_ms >= self._idle_at_ms():
            self._end(Fail(ServiceError(Text.IDLE, seconds=round(self._idle_limit_ms / 1000))))
        return self._over

    def _end(self, action: Finish | Fail) -> None:
        if not self._over:
            self._over = True
            self._actions.append(action)
