"""Phones of a load run against a scripted gateway, in virtual time."""

import asyncio
import base64
import json
import time
from collections import defaultdict
from itertools import count, pairwise

import pytest

from client_sim.load.caller import Bench, Caller
from client_sim.load.histogram import Histogram
from client_sim.load.plain_speech import plain_utterances
from client_sim.load.worker import Worker
from client_sim.network import ConnectionRefused
from client_sim.regions.path import Path
from client_sim.regions.profiles import region
from gateway.core.errors import ModelUnavailable
from gateway.core.messages import AudioDown, Bye, Error, LagNotice, Status, Transcript
from gateway.core.wire import encode
from tests.client_sim.load.test_parts import settings
from tests.client_sim.stub import StubGateway, short_test
from tests.client_sim.virtual import VirtualClock, run


class Stage:
    """One phone's gateways, one conversation each, and what was recorded."""

    def __init__(self, scripts, **changes):
        self.clock = VirtualClock()
        self.records = defaultdict(list)
        self.stop = asyncio.Event()
        self.gateways = [StubGateway(self.clock, script, delay_ms=5) for script in scripts]
        self.slips = Histogram()
        self.bench = Bench(
            settings=settings(**changes),
            utterances=plain_utterances(16000),
            connect=self.connect,
            clock=self.clock,
            began_ms=self.clock.now_ms(),
            slips=self.slips,
            emit=self.emit,
            stop=self.stop,
        )

    def emit(self, record):
        self.records[record["kind"]].append(record)
        if record["kind"] == "call" and len(self.records["call"]) == len(self.gateways):
            self.stop.set()

    async def connect(self, url, token):
        return await self.gateways[min(len(self.records["call"]), len(self.gateways) - 1)].connect(url, token)

    async def close(self):
        for gateway in self.gateways:
            await gateway.close()


def hold(scripts, *, phone=0, before=None, **changes):
    """Hold as many conversations as there are scripts."""

    async def work():
        stage = Stage(scripts, **changes)
        if before is not None:
            before(stage)
        caller = Caller(stage.bench, phone, "t")
        running = asyncio.create_task(caller.run())
        while not running.done():
            await asyncio.wait([running], timeout=1)
            caller.tick()
        running.result()
        await stage.close()
        assert asyncio.all_tasks() == {asyncio.current_task()}, "tasks are left over"
        return stage

    return run(work())


def test_conversations_follow_each_other():
    """Each with its turns, set-up, round trips, counts; nothing in a record that somebody said."""
    stage = hold([short_test, short_test], regions=("here",), barge_in=0)
    calls = stage.records["call"]
    assert [(call["call"], call["ended"], call["parts"], call["exchanges"]) for call in calls] == [
        (0, "finished", 3, 3),
        (1, "finished", 3, 3),
    ]
    assert calls[0]["setup_ms"] == pytest.approx(15, abs=1)
    assert calls[0]["frames"]["lost"] == 0
    assert calls[0]["late_pieces"] == 0 < calls[0]["pieces"]
    assert len(calls[0]["maya_spoke"]) == 5
    assert [gateway.faults for gateway in stage.gateways] == [[], []]
    turns = stage.records["turn"]
    assert [turn["call"] for turn in turns] == [0, 0, 0, 1, 1, 1]
    # 10 ms of line, 400 ms until the stub takes a pause for an end, 300 ms of thinking, 60 ms of lead, a frame.
    assert all(770 - 1 <= turn["v2v_ms"] <= 870 + 1 for turn in turns)
    for turn in turns:
        assert turn["noticed_ms"] == pytest.approx(turn["first_byte_ms"] - 300, abs=1)
        assert turn["first_byte_ms"] + turn["buffer_ms"] + turn["leading_ms"] == pytest.approx(turn["v2v_ms"], abs=0.1)
    assert all(
        trip["ms"] == pytest.approx(10, abs=1) and trip["true_ms"] is None for trip in stage.records["round_trip"]
    )
    assert stage.slips.total == pytest.approx(sum(call["frames"]["sent"] for call in calls), abs=4)
    assert stage.slips.most < 1
    assert "question" not in str(stage.records)


def test_a_far_phone_is_slower_by_its_line():
    """Voice to voice grows by the round trip, and the truth of the line stands beside each measured round trip."""
    near, far = (hold([short_test], regions=(name,), barge_in=0).records for name in ("near", "ap-southeast-1"))
    further_ms = 240 - 14
    medians = [sorted(turn["v2v_ms"] for turn in records["turn"])[1] for records in (near, far)]
    assert medians[1] - medians[0] == pytest.approx(further_ms, abs=110)
    assert far["call"][0]["setup_ms"] > near["call"][0]["setup_ms"] + 2 * further_ms
    over_ms = sorted(trip["ms"] - trip["true_ms"] for trip in far["round_trip"])
    assert over_ms[len(over_ms) // 2] == pytest.approx(10, abs=15)
    assert far["turn"][0]["region"] == "ap-southeast-1"


async def long_test(gateway):
    """Questions for some minutes, so that a bad line has time to be bad."""
    for _ in range(20):
        await gateway.ask(2_000)
    await gateway.speak(400)
    await gateway.finish()


def test_a_bad_line_drops_and_the_conversation_goes_on():
    """Drops are followed by resumes with their outage, gaps are told, no frame is lost."""
    bad = region("bad-mobile")
    seed = next(s for s in count() if 20_000 < Path(bad, seed=s, phone=0, begin_ms=0).drop(0).from_ms < 60_000)
    stage = hold([long_test], regions=("bad-mobile",), barge_in=0, seed=seed)
    records = stage.records
    assert records["call"][0]["ended"] == "finished"
    assert records["call"][0]["frames"]["lost"] == 0
    assert len(records["resume"]) == len(records["drop"]) > 0
    assert all(resume["outage_ms"] > 2_000 for resume in records["resume"])
    assert records["call"][0]["reconnects"] == len(records["resume"])


def test_barge_in_is_measured_from_onset_to_silence():
    """By the phones that interrupt; the way there and back, and what the gateway takes."""

    async def talkative(gateway):
        async def interrupt():
            gateway.interrupt()

        for _ in range(3):
            await gateway.ask()
        gateway.ear.onset = lambda: gateway.spawn(interrupt())
        await gateway.speak(6_000, part_of=0.9)
        gateway.ear.onset = None
        gateway.tell(Status, state="listening")
        await gateway.speak(300)
        await gateway.finish()

    stage = hold([talkative], regions=("here",), barge_in=1.0)
    stops = [record["stop_ms"] for record in stage.records["barge_in"]]
    assert len(stops) == 1
    assert stops[0] == pytest.approx(100 + 10, abs=2)
    assert sum(turn["interrupting"] for turn in stage.records["turn"]) <= 1


def test_lag_and_errors_are_recorded():
    """Notice, prompt with cause, answer, and errors by their code, each with the truth of the line."""

    async def slow(gateway):
        gateway.tell(LagNotice, expected_ms=240, text="Far away.")
        await gateway.ask_about_lag()
        gateway.mention(encode(Error.of(ModelUnavailable("Maya could not be reached."), epoch=gateway.epoch)))
        await gateway.sleep_ms(100)
        gateway.mention(encode(Bye(epoch=gateway.epoch, reason="failed")))

    stage = hold([slow], regions=("eu-west-1",))
    prompt = stage.records["lag_prompt"][0]
    assert (prompt["lag_ms"], prompt["cause"]) == (2_000, "network")
    assert prompt["true_ms"] == pytest.approx(84, abs=20)
    assert stage.records["lag_notice"][0]["expected_ms"] == 240
    assert stage.records["lag_cleared"][0]["why"] == "answered"
    assert [error["code"] for error in stage.records["error"]] == ["model_unavailable"]
    call = stage.records["call"][0]
    assert (call["ended"], call["bye"]) == ("failed", "failed")
    assert stage.gateways[0].choices[0].choice == "continue"


def test_refusals_are_tried_again_with_patience():
    """A gateway that refuses is called again, later each time, and every refusal is a failed conversation."""
    moments = []

    def refuse(stage):
        async def connect(url, token):
            moments.append(stage.clock.now_ms())
            raise ConnectionRefused("refused with 429: too many connections at once", 429)

        object.__setattr__(stage.bench, "connect", connect)

    stage = hold([short_test] * 5, before=refuse, regions=("here",))
    waits = [b - a for a, b in pairwise(moments)]
    assert [call["status"] for call in stage.records["call"]] == [429] * 5
    assert all(call["ended"] == "failed" for call in stage.records["call"])
    assert waits[-1] > waits[0]
    assert all(500 * 2**n <= wait <= 1_500 * 2**n + 5 for n, wait in enumerate(waits))


def test_gaps_and_pauses_are_told_apart():
    """Silence before a new sentence's text and sound may be Maya's own; silence within a sentence is not."""

    async def halting(gateway):
        def piece():
            pcm = base64.b64encode(b"\x10\x27" * 4_800).decode()
            gateway._number(AudioDown, 200, turn=gateway.turn, rate=24000, pcm=pcm)

        await gateway.speak(300)
        await gateway.sleep_ms(400)
        gateway.tell(Transcript, turn=gateway.turn, who="maya", text="A question? Another one?", final=False)
        piece()
        await gateway.sleep_ms(600)
        piece()
        await gateway.sleep_ms(400)
        await gateway.finish()

    stage = hold([halting], regions=("here",), barge_in=0)
    # The speaker's lead comes before either piece, so silence is as long as in the script.
    assert [round(pause["ms"]) for pause in stage.records["pause"]] == [400]
    assert [round(gap["ms"]) for gap in stage.records["gap"]] == [400]
    assert stage.records["call"][0]["late_pieces"] == 1


def test_nobody_calls_without_a_line():
    """A phone whose line is dead waits for it, and no conversation has failed."""
    bad = region("bad-mobile")
    seed = next(s for s in count() if Path(bad, seed=s, phone=0, begin_ms=0).drop(0).from_ms < 1_000)
    drop = Path(bad, seed=seed, phone=0, begin_ms=0).drop(0)

    async def work():
        stage = Stage([short_test], regions=("bad-mobile",), barge_in=0, seed=seed)
        caller = Caller(stage.bench, 0, "t")
        await asyncio.sleep(drop.from_ms / 1000 + 0.1)
        await caller.run()
        await stage.close()
        return stage.records["call"]

    calls = run(work())
    assert [call["ended"] for call in calls] == ["finished"]
    assert calls[0]["at_s"] * 1000 - calls[0]["duration_ms"] >= drop.until_ms - 10


def jwt(exp):
    payload = base64.urlsafe_b64encode(json.dumps({"exp": exp}).encode()).decode().rstrip("=")
    return f"e30.{payload}.c2ln"


@pytest.mark.parametrize("token", [jwt(time.time() + 100), "refused"])
def test_a_token_that_ends_is_followed_by_another(token):
    """Before a conversation that it may not outlive, and after a refusal."""

    async def work():
        stage = Stage([short_test] * (2 if token == "refused" else 1), regions=("here",), barge_in=0)
        if token == "refused":
            stage.gateways[0].refusals.append(ConnectionRefused("refused with 401", 401))

        async def refresh():
            return jwt(time.time() + 3_600)

        await Caller(stage.bench, 0, token, refresh).run()
        await stage.close()
        return stage

    stage = run(work())
    assert stage.records["call"][-1]["ended"] == "finished"
    assert stage.gateways[-1].tokens[0].startswith("e30.")
    assert [call["status"] for call in stage.records["call"][:-1]] == [401] * (len(stage.gateways) - 1)


async def endless(gateway):
    """Questions until the learner stops."""

    async def ask():
        while True:
            await gateway.ask()

    asking = asyncio.create_task(ask())
    await gateway.stop_asked.wait()
    asking.cancel()
    await gateway.finish()


def work_of(stage):
    """A process of three phones, on the stage."""
    return Worker(stage.bench, 0)


def test_a_worker_stops_in_order():
    """Conversations are assessed; each second tells of phones, processor, slips and the event loop."""

    async def work():
        stage = Stage([endless], regions=("here",), barge_in=0)
        worker = work_of(stage)
        running = asyncio.create_task(worker.run())
        worker.add(0, "t")
        await asyncio.sleep(20)
        assert stage.records["turn"], "turns are told while the conversation goes on"
        worker.stop()
        await running
        await stage.close()
        return stage.records

    records = run(work())
    assert [call["ended"] for call in records["call"]] == ["stopped"]
    assert records["call"][0]["saved"] is True
    assert max(sum(second["phones"].values()) for second in records["second"]) == 1
    assert len(records["second"]) >= 20
    assert sum(Histogram.read(second["slip"]).total for second in records["second"]) > 100
    assert sum(Histogram.read(second["loop"]).total for second in records["second"]) > 500


def test_a_worker_can_be_cut():
    """At once, and what was measured so far is told."""

    async def work():
        stage = Stage([endless], regions=("here",), barge_in=0)
        worker = work_of(stage)
        running = asyncio.create_task(worker.run())
        worker.add(0, "t")
        await asyncio.sleep(12)
        worker.cut()
        await running
        await stage.close()
        return stage.records

    records = run(work())
    assert [call["ended"] for call in records["call"]] == ["cut"]
    assert records["call"][0]["frames"]["captured"] > 100
    assert records["turn"]


def test_a_fault_of_the_program_ends_the_process():
    """And is raised, so that the run is not taken for a whole one."""

    async def work():
        stage = Stage([endless], regions=("here",), barge_in=0)

        async def connect(url, token):
            raise ZeroDivisionError

        object.__setattr__(stage.bench, "connect", connect)
        worker = work_of(stage)
        worker.add(0, "t")
        with pytest.raises(ZeroDivisionError):
            await worker.run()
        await stage.close()

    run(work())
