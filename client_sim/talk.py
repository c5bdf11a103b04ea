"""Hold one whole conversation with any gateway that speaks maya.v1.

`hold_conversation` is for programs (demos, load tests, benchmarks); the command ``python -m client_sim talk`` puts a
screen in front of it.
"""

import asyncio
import datetime as dt
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from client_sim.clock import Clock, RealClock
from client_sim.events import Action, Chosen, Measured, Show, StopAsked
from client_sim.learner import Learner, Manner
from client_sim.network import Connector, connector
from client_sim.outcome import KEPT_ERRORS, KEPT_PARTS, KEPT_ROUND_TRIPS, Caption, Frames, Outcome
from client_sim.phone import Phone
from client_sim.phone_settings import PhoneSettings
from client_sim.playback import BYTES_PER_SAMPLE, Playback
from client_sim.shell import Line, RefreshHook, Shell
from client_sim.speech import Utterance
from gateway.core import messages as maya


@dataclass(frozen=True, slots=True)
class Said:
    """Someone has said something: a caption."""

    caption: Caption


type Observation = Action | Said
"""What an observer of a conversation is told: the phone's actions, and captions in place of transcript messages."""

type Observer = Callable[[Observation, float], None]
"""Is told what happens and when, in ms of the conversation's clock."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TalkOptions:
    """A conversation to be held.

    Attributes:
        url: of the gateway.
        token: of the learner.
        utterances: what the learner can say, spoken in turn.
        module: which module is practised.
        voice: Maya's voice.
        language: language tag.
        rate: sample rate of the microphone and of the utterances in Hz.
        out_rate: sample rate of the speaker in Hz.
        frame_ms: length of a frame of speech, 20 to 250, whole samples at `rate`; it follows the lag when not given.
        region: the app's guess where it is.
        client: name of the app.
        session_id: UUID of the session; a new one when not given.
        manner: how the learner takes turns.
        on_lag: what the learner answers when asked whether to continue or skip; None waits for `hold_conversation`'s
            `choices`, or never answers.
        ping_every_ms: how often the round trip is measured.
        lead_ms: how much of a turn the speaker gathers before it plays.
        record: keep what was captured and played, for tests.
        refresh_token: gets a new token when coming back with the old one is refused.
        longest_s: the conversation is given up after this, whatever happens.
    """

    url: str
    token: str = field(repr=False)
    utterances: Sequence[Utterance] = field(repr=False)
    module: maya.Module = "academic_speaking"
    voice: str = "amy"
    language: str = "en-GB"
    rate: maya.Rate = 16000
    out_rate: maya.Rate = 24000
    frame_ms: int | None = None
    region: str | None = None
    client: str = "client_sim talk"
    session_id: str | None = None
    manner: Manner = field(default_factory=Manner)
    on_lag: maya.LagAnswer | None = "continue"
    ping_every_ms: float = 5_000
    lead_ms: float = 60
    record: bool = False
    refresh_token: RefreshHook | None = None
    longest_s: float = 960

    def __post_init__(self) -> None:
        """Check what cannot be spoken.

        Raises:
            ValueError: a frame is too short or too long, or not a whole number of samples.
        """
        if self.frame_ms is not None and not maya.MIN_FRAME_MS <= self.frame_ms <= maya.MAX_FRAME_MS:
            raise ValueError(f"a frame lasts {maya.MIN_FRAME_MS} to {maya.MAX_FRAME_MS} ms")

    def frame_bytes(self, frame_ms: float) -> int:
        """Size of a frame: every rate of maya.v1 has whole samples per millisecond."""
        return round(frame_ms) * self.rate // 1000 * BYTES_PER_SAMPLE


async def hold_conversation(
    options: TalkOptions,
    *,
    observe: Observer | None = None,
    connect: Connector | None = None,
    clock: Clock | None = None,
    stop: asyncio.Event | None = None,
    choices: "asyncio.Queue[maya.LagAnswer] | None" = None,
    speaker: Playback | None = None,
    outcome: Outcome | None = None,
) -> Outcome:
    """Hold a conversation to its end.

    Args:
        options: what to hold.
        observe: is told all that happens; must return at once.
        connect: opens connections; by the network when not given.
        clock: time; the machine's when not given.
        stop: when set, the learner ends the test and waits for the assessment.
        choices: what a person chooses while a lag question is on the screen; at other times a choice says nothing.
        speaker: plays what Maya says; a plain one when not given.
        outcome: filled in as the conversation goes on, and summed up in it even when this call is cancelled.

    Returns:
        What came of it. A gateway that refuses, fails or vanishes is an outcome, not an exception.
    """
    player = speaker or Playback(lead_ms=options.lead_ms, record=options.record)
    result = outcome or Outcome(options.session_id or str(uuid.uuid4()))
    conversation = _Conversation(
        options, observe, connect or connector(), clock or RealClock(), speaker=player, outcome=result
    )
    return await conversation.hold(stop, choices)


class _Conversation:
    """Joins phone, learner, shell and outcome."""

    def __init__(
        self,
        options: TalkOptions,
        observe: Observer | None,
        connect: Connector,
        clock: Clock,
        *,
        speaker: Playback,
        outcome: Outcome,
    ) -> None:
        self._options = options
        self._watch = observe
        self._clock = clock
        self._speaker = speaker
        self._outcome = outcome
        self._phone = Phone(self._settings(), self._speaker)
        self._learner = Learner(
            self._phone,
            options.utterances,
            rate=options.rate,
            frame_bytes=options.frame_bytes(options.frame_ms or self._phone.frame_ms),
            manner=options.manner,
        )
        self._shell = Shell(
            self._phone,
            Line(url=options.url, token=options.token, connector=connect, refresh_token=options.refresh_token),
            clock=clock,
            frame_ms=options.frame_ms,
            microphone=self._frame,
            observe=self._observe,
        )
        self._began_ms = 0.0
        self._captured = bytearray() if options.record else None
        outcome.exchanges, outcome.gaps = self._learner.exchanges, speaker.gaps

    async def hold(self, stop: asyncio.Event | None, choices: "asyncio.Queue[maya.LagAnswer] | None" = None) -> Outcome:
        self._began_ms = self._clock.now_ms()
        self._outcome.started_at = dt.datetime.now(dt.UTC).isoformat(timespec="seconds")
        beside = [asyncio.create_task(self._stop_when(stop))] if stop is not None else []
        if choices is not None:
            beside.append(asyncio.create_task(self._choose(choices)))
        try:
            async with asyncio.timeout(self._clock.seconds(self._options.longest_s * 1000)):
                over = await self._shell.run()
            self._outcome.bye, self._outcome.failure, self._outcome.status = over.bye, over.failure, over.status
        except TimeoutError:
            self._outcome.failure = f"the conversation took longer than {self._options.longest_s:g} s"
        finally:
            for task in beside:
                task.cancel()
            self._sum_up()
        return self._outcome

    def _settings(self) -> PhoneSettings:
        options = self._options
        return PhoneSettings(
            session_id=self._outcome.session_id,
            module=options.module,
            voice=options.voice,
            language=options.language,
            rate=options.rate,
            out_rate=options.out_rate,
            region=options.region,
            client=options.client,
            ping_every_ms=options.ping_every_ms,
            jitter=uuid.UUID(self._outcome.session_id).int % 1000 / 1000,
        )

    def _frame(self, now_ms: float) -> bytes:
        pcm = self._learner.frame(now_ms, self._options.frame_bytes(self._shell.frame_ms))
        if self._captured is not None:
            self._captured += pcm
        return pcm

    async def _stop_when(self, stop: asyncio.Event) -> None:
        await stop.wait()
        self._shell.tell(StopAsked())

    async def _choose(self, choices: "asyncio.Queue[maya.LagAnswer]") -> None:
        while True:
            self._answer_lag(await choices.get())

    def _observe(self, action: Action, now_ms: float) -> None:
        observation: Observation = action
        if isinstance(action, Show):
            self._learner.observe(action.message, now_ms)
            observation = self._note(action, now_ms)
        elif isinstance(action, Measured) and len(self._outcome.round_trips_ms) < KEPT_ROUND_TRIPS:
            self._outcome.round_trips_ms.append(action.round_trip_ms)
        if self._watch is not None:
            self._watch(observation, now_ms)

    def _note(self, action: Show, now_ms: float) -> Observation:
        outcome = self._outcome
        outcome.lag.note(action.message, now_ms - self._began_ms)
        match action.message:
            case maya.Transcript():
                return Said(outcome.captions.add(action.message))
            case maya.Ready(support_code=support_code):
                outcome.support_code = support_code
                if outcome.setup_ms is None:
                    outcome.setup_ms = now_ms - self._began_ms
            case maya.Part() if len(outcome.parts) < KEPT_PARTS:
                outcome.parts.append(action.message.model_dump(include=_PART_FIELDS, exclude_none=True))
            case maya.Interrupted():
                outcome.barge_ins += 1
            case maya.LagPrompt():
                outcome.lag_prompts += 1
                if self._options.on_lag is not None:
                    # Not from within the phone's own report, which is still under way.
                    asyncio.get_running_loop().call_soon(self._answer_lag, self._options.on_lag)
            case maya.AssessmentMessage(assessment=assessment, saved=saved):
                outcome.assessment, outcome.saved = assessment, saved
            case maya.Error() if len(outcome.errors) < KEPT_ERRORS:
                outcome.errors.append(action.message.model_dump(exclude={"type", "epoch"}, exclude_none=True))
            case _:
                pass
        return action

    def _answer_lag(self, answer: maya.LagAnswer) -> None:
        prompt = self._phone.lag_prompt
        if prompt is not None:
            self._outcome.lag.answered(prompt.prompt_id, answer, self._clock.now_ms() - self._began_ms)
            self._shell.tell(Chosen(answer))

    def _sum_up(self) -> None:
        outcome, uplink, figures = self._outcome, self._phone.uplink, self._phone.figures
        outcome.duration_ms = self._clock.now_ms() - self._began_ms
        outcome.frames = Frames(uplink.captured, uplink.sent, uplink.resent, uplink.lost)
        outcome.reconnects, outcome.relays = figures.reconnects, figures.epochs
        outcome.slip_ms = self._shell.slips.worst_ms
        heard = (turn.first_audible_ms for turn in self._speaker.turns.values())
        first_ms = min((moment for moment in heard if moment is not None), default=None)
        outcome.first_speech_ms = None if first_ms is None else first_ms - self._began_ms
        if self._speaker.recording is not None:
            outcome.captured = bytes(self._captured or b"")
            outcome.played = {turn: bytes(sound) for turn, sound in self._speaker.recording.items()}


_PART_FIELDS = {"part", "title", "cue_card", "prepare_s", "speak_s"}
