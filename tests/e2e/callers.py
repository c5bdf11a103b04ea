"""A learner with a phone, in the tests' own process: client_sim's core and shell, and every sample kept."""

import asyncio
import contextlib
import random
import uuid
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from client_sim.clock import RealClock
from client_sim.events import Action, Chosen, Over, Show, StopAsked
from client_sim.learner import Exchange, Learner, Manner
from client_sim.phone import Phone
from client_sim.phone_settings import PhoneSettings
from client_sim.playback import Playback
from client_sim.shell import Line, Shell
from client_sim.speech import Utterance
from gateway.core.assessment import Assessment
from gateway.core.messages import AssessmentMessage, DownMessage, LagAnswer, Module, Part, Rate, Transcript
from infra.local.nova.voices import speak_plain
from tests.e2e.clouds import Cloud
from tests.e2e.lines import BadLine

EAGER = Manner(pause_ms=100, answer_ms=0, talk_share=0.1, talk_most=0.4)
"""Answers as soon as it may, with one utterance."""

_ANSWER = "we always took the slow train along the river when i was a small child."
_NOISE_LEVEL = 60
_WITHIN_S = 90.0


@dataclass(frozen=True, kw_only=True)
class Habits:
    """How a caller's phone and learner behave.

    Attributes:
        answers: what the learner says, in turn, in the words of the plain voice.
        over: turns of Maya's that are spoken over: how long after they began, in ms.
    """

    answers: Sequence[str] = (_ANSWER,)
    over: Mapping[int, float] = field(default_factory=dict)
    module: Module = "academic_speaking"
    frame_ms: int = 100
    rate: Rate = 16000
    out_rate: Rate = 24000
    manner: Manner = EAGER
    language: str = "en-GB"
    region: str | None = None


class Caller:
    """A learner with a phone.

    The microphone never gives pure silence: the faint noise of each place is unlike any other, so that no frame can be
    taken for another.

    Attributes:
        learner: an id that no other test knows.
        captured: every sample of the microphone.
        spoken_from: where each utterance in it begins.
        spoken_to: where it ends.
        shown: what the phone was shown, and when.
        over: how the conversation ended, None while it goes on.
    """

    def __init__(self, cloud: Cloud, name: str, *, habits: Habits | None = None, line: BadLine | None = None) -> None:
        self.learner = f"{name}-{uuid.uuid4().hex[:8]}"
        self.habits = habits = habits or Habits()
        self.line = line or BadLine()
        self.session_id = str(uuid.uuid4())
        self.captured = bytearray()
        self.spoken_from: list[int] = []
        self.spoken_to: list[int] = []
        self.shown: list[tuple[DownMessage, float]] = []
        self.over: Over | None = None
        self.speaker = Playback(record=True)
        settings = PhoneSettings(
            session_id=self.session_id,
            module=habits.module,
            rate=habits.rate,
            out_rate=habits.out_rate,
            language=habits.language,
            region=habits.region,
        )
        self.phone = Phone(settings, self.speaker)
        self._noise = np.random.default_rng(random.getrandbits(64))
        self._url = cloud.state.websocket_url
        self._token = cloud.token(self.learner, unlock=(habits.module,))
        self._mouth = _Mouth(
            self.phone,
            [Utterance.of(speak_plain(answer, habits.rate)) for answer in habits.answers],
            over=habits.over,
            rate=habits.rate,
            frame_bytes=habits.frame_ms * habits.rate // 1000 * 2,
            manner=habits.manner,
        )
        self._shell: Shell | None = None
        self._awaited: list[tuple[Callable[[], object], asyncio.Future[None]]] = []

    @contextlib.asynccontextmanager
    async def calling(self) -> AsyncIterator["Caller"]:
        """Hold the conversation while the caller of this does something else; leaving hangs up."""
        self._shell = Shell(
            self.phone,
            Line(url=self._url, token=self._token, connector=self.line),
            clock=RealClock(),
            frame_ms=self.habits.frame_ms,
            microphone=self._frame,
            observe=self._observe,
        )
        running = asyncio.create_task(self._run(self._shell))
        try:
            yield self
            if running.done():
                await running
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
            self.line.tidy()

    async def hold(self) -> None:
        """Hold the conversation to its end."""
        async with self.calling():
            await self.ends()

    async def begins(self) -> None:
        """Wait until the first part has begun, or it is clear that none will."""
        await self.until(lambda: self.part or self.over, "the first part")

    async def ends(self) -> None:
        """Wait until the conversation has ended."""
        await self.until(lambda: self.over is not None, "the end")

    async def until(self, what: Callable[[], object], name: str, *, within_s: float = _WITHIN_S) -> None:
        """Wait until something has come about at the phone.

        Raises:
            AssertionError: it has not in time.
        """
        if what():
            return
        awaited: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._awaited.append((what, awaited))
        try:
            async with asyncio.timeout(within_s):
                await awaited
        except TimeoutError:
            raise AssertionError(f"{self.learner}: not within {within_s:g} s: {name}; {self}") from None

    async def answered(self, times: int = 1) -> None:
        """Wait until the learner has said something so often and was understood."""
        await self.until(lambda: len(self.captions("learner")) >= times, f"{times} answers understood")

    def stop(self) -> None:
        """End the test at the phone."""
        assert self._shell is not None
        self._shell.tell(StopAsked())

    def choose(self, answer: LagAnswer) -> None:
        """Answer the question about the lag that is on the screen."""
        assert self._shell is not None
        self._shell.tell(Chosen(answer))

    def messages[M: DownMessage](self, kind: type[M]) -> list[M]:
        """What the phone was shown of one kind, in order."""
        return [message for message, _ in self.shown if isinstance(message, kind)]

    def captions(self, who: str) -> list[str]:
        """The final texts of one side, in order."""
        return [said.text for said in self.messages(Transcript) if said.who == who and said.final]

    @property
    def state(self) -> str:
        """What the phone last heard that Maya's side is doing."""
        return self.phone.status.state if self.phone.status else ""

    @property
    def part(self) -> int:
        """The part that the phone shows, 0 before the first."""
        parts = self.messages(Part)
        return parts[-1].part if parts else 0

    @property
    def hears_maya(self) -> bool:
        """Whether Maya sounds from the speaker now."""
        return self.speaker.playing(RealClock().now_ms()) is not None

    @property
    def speaks(self) -> bool:
        """Whether the learner is in the middle of an utterance."""
        return self._mouth.speaking

    @property
    def assessment(self) -> Assessment:
        """The assessment as the phone got it, the last one."""
        return Assessment.model_validate(self.messages(AssessmentMessage)[-1].assessment)

    @property
    def exchanges(self) -> list[Exchange]:
        """When the learner spoke."""
        return self._mouth.exchanges

    @property
    def utterances(self) -> list[str]:
        """What the learner has begun to say, in order."""
        answers = self.habits.answers
        return [answers[number % len(answers)] for number in range(len(self._mouth.exchanges))]

    def __str__(self) -> str:
        """For a failing test: where the phone stands."""
        kinds = [message.type for message, _ in self.shown[-5:]]
        return f"{self.phone.state.name}, {self.state}, {self.over}, last shown {kinds}"

    async def _run(self, shell: Shell) -> None:
        try:
            self.over = await shell.run()
        finally:
            self._look()

    def _frame(self, now_ms: float) -> bytes:
        spoke = self._mouth.speaking
        samples = np.frombuffer(self._mouth.frame(now_ms), "<i2")
        noise = self._noise.integers(-_NOISE_LEVEL, _NOISE_LEVEL, len(samples), dtype=np.int16)
        pcm = (samples + noise).astype("<i2").tobytes()
        self.captured += pcm
        if len(self._mouth.exchanges) > len(self.spoken_to):
            self.spoken_from.append(len(self.captured) - len(pcm))
            self.spoken_to.append(len(self.captured))
        elif spoke:
            self.spoken_to[-1] = len(self.captured)
        self._look()
        return pcm

    def _observe(self, action: Action, now_ms: float) -> None:
        if isinstance(action, Show):
            self.shown.append((action.message, now_ms))
            self._mouth.observe(action.message, now_ms)
        self._look()

    def _look(self) -> None:
        for pair in [pair for pair in self._awaited if pair[1].done() or pair[0]()]:
            self._awaited.remove(pair)
            if not pair[1].done():
                pair[1].set_result(None)


class _Mouth(Learner):
    """A learner who speaks over the turns of Maya's that were asked for, a while after each began."""

    def __init__(self, *given: Any, over: Mapping[int, float], **named: Any) -> None:
        super().__init__(*given, **named)
        self._over = dict(over)

    def _wants_to_interrupt(self, now_ms: float) -> bool:
        turn = self._phone.speaker.playing(now_ms)
        number = turn[1] if isinstance(turn, tuple) else None
        if number not in self._over or now_ms < self._maya.since_ms + self._over[number]:
            return False
        del self._over[number]
        return True
