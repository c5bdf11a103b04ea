"""A small gateway that speaks maya.v1: one learner, one scripted examiner, no network unless a test adds one.

It numbers, holds, acknowledges and sends again as the contract says, so that a phone can be tried against it over a line
that drops. It hears loud sound as speech and a pause as its end.
"""

import asyncio
import base64
from array import array
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

from client_sim.clock import Clock
from client_sim.network import ConnectionLost, ConnectionRefused
from gateway.core.errors import ProtocolError
from gateway.core.messages import (
    AckDown,
    AckUp,
    AssessmentMessage,
    AudioDown,
    AudioUp,
    Bye,
    ByeReason,
    Error,
    Interrupted,
    LagChoice,
    LagCleared,
    LagPrompt,
    Limits,
    NumberedDown,
    Part,
    Ping,
    PongDown,
    Ready,
    Resume,
    Start,
    Status,
    Stop,
    Transcript,
)
from gateway.core.sequencing import Inbox, Outbox
from gateway.core.wire import check_audio, encode, parse_up

EPOCH = 1_000
RATE = 24000
HANG_MS = 400.0
ASSESSMENT = {
    "overall": 6.5,
    "status": "complete",
    "criteria": {
        "fluency_coherence": {"band": 6, "basis": "heard", "comment": "Steady."},
        "lexical_resource": {"band": 7, "basis": "heard", "comment": "Wide."},
        "grammatical_range_accuracy": {"band": 6, "basis": "transcript", "comment": "Varied."},
        "pronunciation": None,
    },
    "summary": "A good test.",
    "strengths": ["Long answers"],
    "next_steps": ["Past tenses"],
}


class GatewayEnd(Protocol):
    """What the gateway needs of a connection."""

    up: asyncio.Queue[str | None]

    def post(self, text: str) -> None:
        """Write to the phone."""


class Link:
    """One connection, both ends in this process.

    Attributes:
        delay_ms: of every message, each way.
    """

    def __init__(self, clock: Clock, *, delay_ms: float = 20.0) -> None:
        self._clock = clock
        self._delay_ms = delay_ms
        self._down: asyncio.Queue[str | None] = asyncio.Queue()
        self.up: asyncio.Queue[str | None] = asyncio.Queue()
        self.code: int | None = None

    async def send(self, text: str) -> None:
        """The phone writes."""
        if self.code is not None:
            raise ConnectionLost(self.code)
        self._later(self.up, text)

    async def receive(self) -> str:
        """The phone reads."""
        text = await self._down.get()
        if text is None:
            raise ConnectionLost(self.code or 1006)
        return text

    async def close(self) -> None:
        """The phone closes."""
        self.drop(1000)

    def post(self, text: str) -> None:
        """The gateway writes; what a lost connection carried is lost."""
        if self.code is None:
            self._later(self._down, text)

    def drop(self, code: int = 1006) -> None:
        """Lose the connection now."""
        if self.code is None:
            self.code = code
            self._down.put_nowait(None)
            self.up.put_nowait(None)

    def _later(self, queue: asyncio.Queue[str | None], text: str) -> None:
        def arrive() -> None:
            if self.code is None:
                queue.put_nowait(text)

        asyncio.get_running_loop().call_later(self._clock.seconds(self._delay_ms), arrive)


@dataclass
class Ear:
    """What the examiner hears: speech, its end, and every byte.

    Attributes:
        heard: every byte, in order.
        answers: how many stretches of speech have ended.
    """

    rate: int
    heard: bytearray = field(default_factory=bytearray)
    answers: int = 0
    speaking: bool = False
    onset: Callable[[], None] | None = None
    _silent_ms: float = 0.0
    _news: asyncio.Event = field(default_factory=asyncio.Event)

    def hear(self, pcm: bytes) -> None:
        """Take in a frame."""
        self.heard += pcm
        if max(map(abs, array("h", pcm))) > 500:
            self._silent_ms = 0.0
            if not self.speaking:
                self.speaking = True
                if self.onset:
                    self.onset()
        elif self.speaking:
            self._silent_ms += len(pcm) / 2 * 1000 / self.rate
            if self._silent_ms >= HANG_MS:
                self.speaking = False
                self.answers += 1
        self._news.set()

    async def answer(self) -> None:
        """Wait for the end of the next stretch of speech."""
        before = self.answers
        while self.answers == before:
            self._news.clear()
            await self._news.wait()


class StubGateway:
    """Accepts connections of one learner and holds the script with them.

    Args:
        clock: time.
        script: what the examiner does once the line is open.
        delay_ms: of every message, each way.
        resume_within_s: told to the phone.
    """

    def __init__(
        self,
        clock: Clock,
        script: Callable[["StubGateway"], Awaitable[None]],
        *,
        delay_ms: float = 20.0,
        resume_within_s: float = 60.0,
    ) -> None:
        self.clock = clock
        self._script = script
        self._delay_ms = delay_ms
        self._resume_within_s = resume_within_s
        self.links: list[Any] = []
        self.refusals: list[ConnectionRefused] = []
        self.tokens: list[str] = []
        self.starts: list[Start] = []
        self.resumes: list[Resume] = []
        self.acks: list[AckUp] = []
        self.faults: list[str] = []
        self.said: dict[int, bytearray] = {}
        self.choices: list[LagChoice] = []
        self.stop_asked = asyncio.Event()
        self.chosen = asyncio.Event()
        self.ear: Ear | None = None
        self.epoch = EPOCH
        self._up: Inbox[AudioUp] = Inbox(window=1024)
        self._down: Outbox[str] = Outbox(hold_ms=60_000)
        self._tasks: set[asyncio.Task[None]] = set()
        self.turn = 0
        self._played_ms = 0.0

    async def connect(self, url: str, token: str) -> Link:
        """Open a connection."""
        self.tokens.append(token)
        await asyncio.sleep(self.clock.seconds(self._delay_ms))
        if self.refusals:
            raise self.refusals.pop(0)
        link = Link(self.clock, delay_ms=self._delay_ms)
        self.links.append(link)
        self.spawn(self.serve(link))
        return link

    def spawn(self, work: Awaitable[None]) -> None:
        """Run something beside."""
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """End everything."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    # What the script uses

    def tell(self, kind: type[NumberedDown], **fields: Any) -> None:
        """Say a numbered message."""
        self._number(kind, 0.0, **fields)

    def mention(self, text: str) -> None:
        """Write on the newest connection, if it lives."""
        if self.links:
            self.links[-1].post(text)

    async def sleep_ms(self, ms: float) -> None:
        """Let time pass."""
        await asyncio.sleep(self.clock.seconds(ms))

    async def speak(self, ms: int, text: str = "A question?", *, part_of: float = 1.0) -> None:
        """Say something for so long, in pieces of 250 ms; returns when it has been played.

        ``part_of`` less than 1: only that much is waited for.
        """
        self.turn += 1
        self.tell(Status, state="speaking")
        self.tell(Transcript, turn=self.turn, who="maya", text=text, final=False)
        sound = bytes(
            byte for i in range(RATE * ms // 1000) for byte in ((i * 37 % 20000) + 1000).to_bytes(2, "little")
        )
        self.said[self.turn] = bytearray(sound)
        for start in range(0, len(sound), 12_000):
            piece = sound[start : start + 12_000]
            pcm = base64.b64encode(piece).decode()
            self._number(AudioDown, len(piece) / 48, turn=self.turn, rate=RATE, pcm=pcm)
        self.tell(Transcript, turn=self.turn, who="maya", text=text, final=True)
        await self.sleep_ms(ms * part_of)

    async def ask(self, ms: int = 800, text: str = "A question?") -> None:
        """Ask and wait for the answer."""
        assert self.ear is not None
        await self.speak(ms, text)
        self.tell(Status, state="listening")
        await self.ear.answer()
        self.tell(Transcript, turn=self.turn, who="learner", text="An answer.", final=True)
        self.tell(Status, state="thinking")
        await self.sleep_ms(300)

    def interrupt(self) -> None:
        """The learner speaks over the turn."""
        self.tell(Interrupted, turn=self.turn)

    async def finish(self, reason: ByeReason = "finished") -> None:
        """Assess, show it, say bye."""
        self.tell(Status, state="assessing")
        await self.sleep_ms(300)
        self.tell(AssessmentMessage, assessment=ASSESSMENT, saved=True)
        while len(self._down):
            await self.sleep_ms(50)
        self.mention(encode(Bye(epoch=self.epoch, reason=reason)))

    def replace_relay(self) -> None:
        """Another relay takes over: higher epoch, numbers from 0."""
        self.epoch += 1
        self._down = Outbox(hold_ms=60_000)
        self._ready()

    # The contract

    async def serve(self, link: GatewayEnd) -> None:
        """Take what comes on a connection, until it is gone."""
        while (text := await link.up.get()) is not None:
            try:
                self._take(link, parse_up(text))
            except ProtocolError as error:
                self.faults.append(str(error))
                link.post(encode(Error.of(error, epoch=self.epoch)))

    def _take(self, link: GatewayEnd, message: Any) -> None:
        if link is not self.links[-1]:
            return
        match message:
            case Start():
                self._take_start(message)
            case Resume():
                self.resumes.append(message)
                if len([each for each in self.resumes if each == message]) == 1:
                    again = self._down.resume(message.n)
                    self._ready()
                    for _, text in again:
                        link.post(text)
            case AudioUp():
                assert self.ear is not None
                check_audio(message, self.ear.rate)
                for frame in self._up.receive(message.seq, message):
                    self.ear.hear(base64.b64decode(frame.pcm))
            case AckUp():
                self.acks.append(message)
                self._down.acknowledge(message.n)
            case Ping():
                link.post(encode(PongDown(epoch=self.epoch, id=message.id, at=message.at)))
            case Stop():
                self.stop_asked.set()
            case LagChoice():
                self.choices.append(message)
                self.chosen.set()

    def _take_start(self, start: Start) -> None:
        self.starts.append(start)
        if self.ear is None:
            self.ear = Ear(start.rate)
            self.tell(Status, state="connecting")
            self._ready()
            self.spawn(self._acknowledge())
            self.spawn(self._script(self))

    def _ready(self) -> None:
        self.tell(
            Ready,
            session_id=self.starts[0].session_id,
            resume_within_s=self._resume_within_s,
            next_seq=self._up.acknowledged + 1,
            limits=Limits(conversation_s=810),
            support_code="K7QX",
        )

    async def _acknowledge(self) -> None:
        while True:
            await self.sleep_ms(500)
            self.mention(encode(AckDown(epoch=self.epoch, seq=self._up.acknowledged)))
            now_ms = self.clock.now_ms()
            for number, text in self._down.next_due(now_ms):
                self._down.mark_sent(number, now_ms)
                self.mention(text)

    def _number(self, kind: type[NumberedDown], duration_ms: float, **fields: Any) -> None:
        text = encode(kind(epoch=self.epoch, n=self._down.next_number, **fields))
        self._down.append(text, duration_ms=duration_ms, now_ms=self.clock.now_ms())
        self.mention(text)

    async def ask_about_lag(self) -> None:
        """Ask whether to continue or skip; returns when it is answered."""
        self.tell(LagPrompt, prompt_id="lag-1", lag_ms=2_000, cause="network", text="Slow. Continue?", expires_s=20)
        await self.chosen.wait()
        self.tell(LagCleared, prompt_id="lag-1", why="answered")


async def short_test(gateway: StubGateway) -> None:
    """Three parts of one question each; the second has a cue card."""
    gateway.tell(Part, part=1, title="Introduction and interview")
    await gateway.ask()
    gateway.tell(Part, part=2, title="Long turn", cue_card="Describe a skill.\n- what it is", prepare_s=2, speak_s=8)
    await gateway.speak(900, "Here is your topic.")
    gateway.tell(Status, state="listening")
    await gateway.sleep_ms(2_000)
    await gateway.ask(600, "Please start.")
    gateway.tell(Part, part=3, title="Discussion")
    await gateway.ask()
    await gateway.speak(400, "That is the end.")
    await gateway.finish()
