"""One phone of many: holds conversations one after the other, and tells what it measures as it happens.

Every record is a JSON object with ``kind`` and ``at_s``, seconds since the run began; `records.py` says what is in each.
"""

import asyncio
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from client_sim.clock import Clock
from client_sim.events import Dropped, Measured, Resumed, Show
from client_sim.learner import Exchange, Manner
from client_sim.load.gauges import SendSlip, Speaker, watched
from client_sim.load.histogram import Histogram
from client_sim.load.settings import HERE, LoadSettings
from client_sim.load.tokens import ends_soon
from client_sim.network import Connector
from client_sim.outcome import Outcome
from client_sim.playback import TurnHeard
from client_sim.regions.path import Path
from client_sim.regions.profiles import region
from client_sim.regions.shaped import shaped
from client_sim.shell import RefreshHook
from client_sim.speech import Utterance
from client_sim.talk import Observation, Said, TalkOptions, hold_conversation
from gateway.core import messages as maya

type Emit = Callable[[dict[str, Any]], None]

_UNAUTHORIZED: Final = 401
_FIRST_PAUSE_S: Final = 1.0
_LONGEST_PAUSE_S: Final = 30.0
_KEPT_STRETCHES: Final = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """What the phones of one process share.

    Attributes:
        settings: of the run.
        utterances: what learners can say.
        connect: opens connections by the real network.
        clock: time.
        began_ms: when the run began, by that clock.
        slips: takes every frame's lateness.
        emit: takes the records.
        stop: is set when conversations are to come to their end.
    """

    settings: LoadSettings
    utterances: Sequence[Utterance]
    connect: Connector
    clock: Clock
    began_ms: float
    slips: Histogram
    emit: Emit
    stop: asyncio.Event


class Caller:
    """A phone.

    Args:
        bench: what it shares with others.
        phone: its number.
        token: of its learner.
        refresh: gets another token.
    """

    def __init__(self, bench: Bench, phone: int, token: str, refresh: RefreshHook | None = None) -> None:
        self._bench = bench
        self.phone = phone
        self._token = token
        self._refresh = refresh
        self.region = bench.settings.region_of(phone)
        self._path: Path | None = None
        if self.region != HERE:
            now_ms = bench.clock.now_ms()
            self._path = Path(region(self.region), seed=bench.settings.seed, phone=phone, begin_ms=now_ms)
        self._calls = 0
        self._call: _Call | None = None

    @property
    def talking(self) -> bool:
        """Whether a conversation is under way."""
        return self._call is not None

    def tick(self) -> None:
        """Tell what is known by now of the conversation under way; wanted about each second."""
        if self._call is not None:
            self._call.tell_turns()

    async def run(self) -> None:
        """Hold conversations until `Bench.stop` is set."""
        pause_s = _FIRST_PAUSE_S
        while not self._bench.stop.is_set():
            dead_ms = self._dead_ms()
            if dead_ms > 0:
                await self._pause(dead_ms / 1000)
                continue
            if await self._hold_one():
                pause_s = _FIRST_PAUSE_S
                continue
            spread = uuid.uuid4().int % 1000 / 1000
            await self._pause(pause_s * (0.5 + spread))
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)

    def _dead_ms(self) -> float:
        """How much longer there is no line at all: nobody begins a test without one."""
        now_ms = self._bench.clock.now_ms()
        drop = None if self._path is None else self._path.drop(now_ms)
        return drop.until_ms - now_ms if drop is not None and drop.from_ms <= now_ms else 0.0

    async def _pause(self, seconds: float) -> None:
        waiting = asyncio.create_task(self._bench.stop.wait())
        await asyncio.wait([waiting], timeout=self._bench.clock.seconds(seconds * 1000))
        waiting.cancel()

    async def _hold_one(self) -> bool:
        """Hold a conversation; returns whether it came to its end."""
        self._call = call = _Call(self._bench, self.phone, self._calls, self.region, self._path)
        self._calls += 1
        ended = "cut"
        if self._refresh is not None and ends_soon(self._token, time.time()):
            await self._new_token()
        try:
            outcome = await call.hold(self._token, self._new_token if self._refresh else None)
            stopped = self._bench.stop.is_set() and outcome.bye in (None, "finished")
            ended = "finished" if outcome.ok and not stopped else "stopped" if stopped else "failed"
            if outcome.status == _UNAUTHORIZED and self._refresh is not None:
                await self._new_token()
        finally:
            self._call = None
            call.tell_turns()
            call.tell_end(ended)
        return ended == "finished"

    async def _new_token(self) -> str:
        assert self._refresh is not None
        self._token = await self._refresh()
        return self._token


class _Call:
    """One conversation of a phone, and what is measured of it."""

    def __init__(self, bench: Bench, phone: int, number: int, where: str, path: Path | None) -> None:
        self._bench = bench
        self._where = {"phone": phone, "call": number, "region": where}
        self._path = path
        self._interrupts = bench.settings.interrupts(phone)
        self._outcome = Outcome(str(uuid.uuid4()))
        self._speaker = Speaker(lead_ms=bench.settings.lead_ms, late=self._late, silenced=self._silenced)
        self._told = 0
        self._thinking_ms: list[float] = []
        self._last_v2v_ms: float | None = None
        self._parts: list[tuple[float, int]] = []

    async def hold(self, token: str, refresh: RefreshHook | None) -> Outcome:
        bench, settings = self._bench, self._bench.settings
        connect = bench.connect if self._path is None else shaped(bench.connect, self._path, bench.clock)
        slip = SendSlip(settings.rate, bench.slips)
        options = TalkOptions(
            url=settings.url,
            token=token,
            utterances=bench.utterances,
            module=settings.module,
            rate=settings.rate,
            frame_ms=settings.frame_ms,
            region=None if self._path is None else str(self._where["region"]),
            client="client_sim load",
            session_id=self._outcome.session_id,
            manner=Manner(turn_taking="interrupt" if self._interrupts else "auto"),
            on_lag=settings.on_lag,
            ping_every_ms=settings.ping_every_ms,
            lead_ms=settings.lead_ms,
            refresh_token=refresh,
        )
        return await hold_conversation(
            options,
            observe=self._observe,
            connect=watched(connect, slip, bench.clock),
            clock=bench.clock,
            stop=bench.stop,
            speaker=self._speaker,
            outcome=self._outcome,
        )

    def tell_turns(self) -> None:
        """Tell of turns that are decided: Maya has answered, or the learner has had to speak again."""
        exchanges = self._outcome.exchanges
        while self._told < len(exchanges):
            exchange = exchanges[self._told]
            last = self._told == len(exchanges) - 1
            if exchange.first_audible_ms is None and last:
                return  # nobody knows yet; a conversation that ends here has no answer to wait for
            self._told += 1
            self._tell_turn(exchange, None if last else exchanges[self._told].spoke_from_ms)

    def tell_end(self, ended: str) -> None:
        """Tell of the whole conversation."""
        outcome = self._outcome
        self._emit(
            "call",
            self._bench.clock.now_ms(),
            ended=ended,
            bye=outcome.bye,
            failure=outcome.failure,
            status=outcome.status,
            support_code=outcome.support_code,
            duration_ms=_rounded(outcome.duration_ms),
            setup_ms=_rounded(outcome.setup_ms),
            first_speech_ms=_rounded(outcome.first_speech_ms),
            saved=outcome.saved,
            parts=len(outcome.parts),
            exchanges=len(outcome.exchanges),
            frames={
                "captured": outcome.frames.captured,
                "sent": outcome.frames.sent,
                "resent": outcome.frames.resent,
                "lost": outcome.frames.lost,
            },
            pieces=self._speaker.pieces,
            late_pieces=self._speaker.late_pieces,
            heard_ms=_rounded(sum(turn.heard_ms for turn in self._speaker.turns.values())),
            maya_spoke=[self._stretch(turn) for turn in list(self._speaker.turns.values())[:_KEPT_STRETCHES]],
            gap_ms=_rounded(outcome.gaps.total_ms),
            reconnects=outcome.reconnects,
            relays=outcome.relays,
        )

    def _emit(self, kind: str, at_ms: float, **fields: Any) -> None:
        at_s = round((at_ms - self._bench.began_ms) / 1000, 3)
        self._bench.emit({"kind": kind, "at_s": at_s, **self._where, **fields})

    def _true_ms(self, now_ms: float) -> float | None:
        return None if self._path is None else round(self._path.round_trip_ms(now_ms), 1)

    def _observe(self, observation: Observation, now_ms: float) -> None:
        match observation:
            case Measured(round_trip_ms):
                self._emit("round_trip", now_ms, ms=_rounded(round_trip_ms), true_ms=self._true_ms(now_ms))
            case Dropped(code):
                self._emit("drop", now_ms, code=code)
            case Resumed(away_ms, frames):
                self._emit("resume", now_ms, outage_ms=_rounded(away_ms), frames=frames)
            case Said(caption) if caption.who == "maya" and not caption.final:
                self._speaker.expect_sentence()
            case Show(message):
                self._show(message, now_ms)
            case _:
                pass

    def _show(self, message: maya.DownMessage, now_ms: float) -> None:
        match message:
            case maya.Status(state="thinking"):
                self._thinking_ms.append(now_ms)
            case maya.Part(part=part):
                self._parts.append((now_ms, part))
                self._emit("part", now_ms, part=part)
            case maya.Error(code=code, fatal=fatal):
                self._emit("error", now_ms, code=code, fatal=fatal)
            case maya.LagNotice(expected_ms=expected_ms):
                self._emit("lag_notice", now_ms, expected_ms=expected_ms, true_ms=self._true_ms(now_ms))
            case maya.LagPrompt(lag_ms=lag_ms, cause=cause):
                self._emit(
                    "lag_prompt",
                    now_ms,
                    lag_ms=lag_ms,
                    cause=cause,
                    true_ms=self._true_ms(now_ms),
                    v2v_ms=self._last_v2v_ms,
                )
            case maya.LagCleared(why=why):
                self._emit("lag_cleared", now_ms, why=why)
            case _:
                pass

    def _late(self, gap_ms: float, now_ms: float, new_sentence: bool) -> None:  # noqa: FBT001 - as the speaker tells it
        self._emit("pause" if new_sentence else "gap", now_ms, ms=_rounded(gap_ms))

    def _silenced(self, now_ms: float) -> None:
        if self._outcome.exchanges:
            exchange = self._outcome.exchanges[-1]
            if exchange.interrupting:
                self._emit("barge_in", now_ms, stop_ms=_rounded(now_ms - exchange.spoke_from_ms))

    def _tell_turn(self, exchange: Exchange, spoke_again_ms: float | None) -> None:
        heard = self._turn_of(exchange)
        noticed_ms = next((at for at in self._thinking_ms if at >= exchange.spoke_until_ms), None)
        if noticed_ms is not None and exchange.first_piece_ms is not None and noticed_ms > exchange.first_piece_ms:
            noticed_ms = None  # of a later turn
        self._last_v2v_ms = _rounded(exchange.voice_to_voice_ms)
        self._emit(
            "turn",
            exchange.spoke_until_ms,
            part=next((part for at, part in reversed(self._parts) if at <= exchange.spoke_until_ms), None),
            spoke_ms=_rounded(exchange.spoke_until_ms - exchange.spoke_from_ms),
            interrupting=exchange.interrupting,
            v2v_ms=self._last_v2v_ms,
            waited_ms=None if spoke_again_ms is None else _rounded(spoke_again_ms - exchange.spoke_until_ms),
            first_byte_ms=_rounded(exchange.first_byte_ms),
            noticed_ms=None if noticed_ms is None else _rounded(noticed_ms - exchange.spoke_until_ms),
            buffer_ms=None if heard is None else _between(heard.first_piece_ms, heard.first_sound_ms),
            leading_ms=None if heard is None else _between(heard.first_sound_ms, heard.first_audible_ms),
        )

    def _stretch(self, turn: TurnHeard) -> list[float | None]:
        """When a turn of Maya's sounded, in seconds of the run."""
        moments = (turn.first_sound_ms, turn.last_sound_ms)
        return [None if at is None else round((at - self._bench.began_ms) / 1000, 2) for at in moments]

    def _turn_of(self, exchange: Exchange) -> TurnHeard | None:
        turns = reversed(self._speaker.turns.values())
        return next((turn for turn in turns if turn.first_piece_ms == exchange.first_piece_ms), None)


def _between(from_ms: float | None, until_ms: float | None) -> float | None:
    return None if from_ms is None or until_ms is None else _rounded(max(0.0, until_ms - from_ms))


def _rounded(value_ms: float | None) -> float | None:
    return None if value_ms is None else round(value_ms, 2)
