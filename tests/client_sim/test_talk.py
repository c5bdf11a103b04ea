"""Whole conversations with a scripted gateway, in virtual time."""

import asyncio
import json
import math
from array import array

import pytest

from client_sim.events import Dropped, Resumed, Show
from client_sim.learner import Manner
from client_sim.network import ConnectionRefused
from client_sim.speech import Utterance
from client_sim.talk import Said, TalkOptions, hold_conversation
from gateway.core.errors import Busy
from gateway.core.messages import Bye, Error, Part, Status
from gateway.core.wire import encode
from tests.client_sim.stub import ASSESSMENT, EPOCH, StubGateway, short_test
from tests.client_sim.virtual import VirtualClock, run

SESSION = "0b9f3a52-6f0e-4c1d-9a57-2f6f0c9d1e11"


def voice(ms, rate=16000, level=8000):
    """An utterance: a tone."""
    samples = (round(level * math.sin(i * 0.17)) or 1 for i in range(rate * ms // 1000))
    return Utterance.of(array("h", samples).tobytes())


UTTERANCES = (voice(900), voice(700), voice(1_100))


def options(**changes):
    """A learner of a few seconds' answers."""
    fields = {
        "url": "wss://gateway/test",
        "token": "secret",
        "utterances": UTTERANCES,
        "record": True,
        "session_id": SESSION,
    }
    return TalkOptions(**{**fields, **changes})


def hold(script=short_test, *, before=None, gateway_fields=None, stop=None, **changes):
    """Hold a conversation; returns its outcome, the gateway, and what was observed."""
    seen = []

    async def work():
        clock = VirtualClock()
        gateway = StubGateway(clock, script, **(gateway_fields or {}))
        if before is not None:
            before(gateway)
        stop_event = asyncio.Event() if stop is not None else None
        if stop_event is not None:
            asyncio.get_running_loop().call_later(stop, stop_event.set)
        outcome = await hold_conversation(
            options(**changes),
            observe=lambda observation, now_ms: seen.append((now_ms, observation)),
            connect=gateway.connect,
            clock=clock,
            stop=stop_event,
        )
        await gateway.close()
        assert asyncio.all_tasks() == {asyncio.current_task()}, "tasks are left over"
        return outcome, gateway

    outcome, gateway = run(work())
    return outcome, gateway, seen


def check_heard(outcome, gateway):
    """Maya heard what was captured, byte for byte, but for what was under way at the end."""
    heard = bytes(gateway.ear.heard)
    assert len(heard) > 32_000
    assert outcome.captured[: len(heard)] == heard
    assert len(outcome.captured) - len(heard) < 32_000


def check_played(outcome, gateway):
    """The phone played what was said, byte for byte, turn by turn."""
    assert [turn for _, turn in outcome.played] == list(gateway.said)
    for (_, turn), sound in outcome.played.items():
        assert sound == bytes(gateway.said[turn])


def test_a_whole_conversation():
    """Three parts, assessed, finished; sound byte for byte both ways; every figure is there."""
    outcome, gateway, seen = hold(module="general_speaking", region="eu-west-1")
    assert outcome.ok
    assert outcome.why_not is None
    assert outcome.assessment == ASSESSMENT
    assert outcome.saved is True
    assert outcome.bye == "finished"
    assert [part["part"] for part in outcome.parts] == [1, 2, 3]
    assert outcome.parts[1]["cue_card"].startswith("Describe")
    assert gateway.starts[0].module == "general_speaking"
    assert gateway.starts[0].session_id == outcome.session_id == SESSION
    assert gateway.faults == []
    assert [line.who for line in outcome.captions.lines if line.who == "learner"] == ["learner"] * 3
    assert all(line.final for line in outcome.captions.lines)
    check_heard(outcome, gateway)
    check_played(outcome, gateway)
    assert outcome.gaps.count == 0
    assert outcome.setup_ms == pytest.approx(60, abs=1)
    assert outcome.round_trips_ms
    assert all(sample == pytest.approx(40, abs=1) for sample in outcome.round_trips_ms)
    assert outcome.frames.resent == outcome.frames.lost == 0
    assert (outcome.reconnects, outcome.relays) == (0, 1)
    assert any(isinstance(each, Said) for _, each in seen)


def test_voice_to_voice_is_measured_at_the_ear():
    """Pause that ends the turn, thinking, the line both ways, and the speaker's lead; not a frame more."""
    outcome, _, _ = hold()
    line_ms, hang_ms, thinking_ms, lead_ms, frame_ms = 40, 400, 300, 60, 100
    expected = line_ms + hang_ms + thinking_ms + lead_ms
    assert len(outcome.voice_to_voice_ms) == 3
    for wait in outcome.voice_to_voice_ms:
        assert expected - 0.1 <= wait <= expected + frame_ms
    assert [exchange.first_byte_ms for exchange in outcome.exchanges] == pytest.approx(
        [wait - lead_ms for wait in outcome.voice_to_voice_ms], abs=0.1
    )


def test_the_learner_waits_for_its_turn():
    """It speaks only when Maya's side listens and the speaker is silent, after a natural pause."""
    outcome, gateway, seen = hold()
    listening = [
        now for now, each in seen if isinstance(each, Show) and getattr(each.message, "state", "") == "listening"
    ]
    spoke = [exchange.spoke_from_ms for exchange in outcome.exchanges]
    assert len(listening) == 4  # once while the long turn is prepared
    for moment, since in zip(spoke, (listening[0], listening[2], listening[3]), strict=True):
        assert moment >= since
    assert gateway.ear.answers == 3


def test_the_long_turn_is_prepared_in_silence_and_is_long():
    """Nothing is said until Maya asks to start; then the talk takes its share of the time."""
    outcome, _, seen = hold()
    part_two = next(now for now, each in seen if isinstance(each, Show) and getattr(each.message, "part", 0) == 2)
    talk = outcome.exchanges[1]
    assert talk.spoke_from_ms > part_two + 900 + 2_000 + 600
    assert 0.5 * 8_000 <= talk.spoke_until_ms - talk.spoke_from_ms <= 0.7 * 8_000


def test_a_long_turn_is_cut_before_its_time_is_up():
    """Though the utterance is longer."""

    async def script(gateway):
        gateway.tell(Part, part=2, title="Long turn", cue_card="A skill", prepare_s=1, speak_s=3)
        await gateway.speak(500)
        gateway.tell(Status, state="listening")
        await gateway.sleep_ms(1_000)
        await gateway.ask(500, "Please start.")
        await gateway.finish()

    outcome, _, _ = hold(script, utterances=[voice(9_000)])
    [talk] = outcome.exchanges
    assert talk.spoke_until_ms - talk.spoke_from_ms == pytest.approx(2_100)


def test_a_gateway_that_thinks_for_ever_is_answered():
    """Maya has asked, and her side says that it thinks: after a while the learner speaks all the same."""

    async def script(gateway):
        await gateway.speak(500)
        gateway.tell(Status, state="thinking")
        await gateway.ear.answer()
        await gateway.finish()

    outcome, _, _ = hold(script)
    assert outcome.ok
    assert len(outcome.exchanges) == 1


def test_a_talk_that_nobody_starts_is_started():
    """When Maya's word to start got lost, the learner begins a little late."""

    async def script(gateway):
        gateway.tell(Part, part=2, title="Long turn", cue_card="A skill", prepare_s=1, speak_s=3)
        await gateway.speak(500)
        gateway.tell(Status, state="listening")
        await gateway.ear.answer()
        await gateway.finish()

    outcome, _, _ = hold(script)
    assert outcome.ok
    assert len(outcome.exchanges) == 1


@pytest.mark.parametrize("frame_ms", [20, 32, 100, 250])
@pytest.mark.parametrize("rate", [8000, 16000])
def test_frames_of_any_length(frame_ms, rate):
    """Sound is whole at every length and rate."""
    utterances = [voice(900, rate)]
    outcome, gateway, _ = hold(frame_ms=frame_ms, rate=rate, utterances=utterances)
    assert outcome.ok
    assert gateway.faults == []
    check_heard(outcome, gateway)


@pytest.mark.parametrize("frame_ms", [19, 251])
def test_frames_that_no_gateway_takes(frame_ms):
    """They are refused before anything is opened."""
    with pytest.raises(ValueError, match="20 to 250 ms"):
        options(frame_ms=frame_ms)


def test_a_token_never_shows():
    """Not in what is printed of options or of the line."""
    assert "secret" not in repr(options())


# Drops


def dropping(*moments):
    """Have connections drop at moments, in seconds."""

    def arrange(gateway):
        for moment in moments:
            asyncio.get_running_loop().call_later(moment, lambda: gateway.links and gateway.links[-1].drop())

    return arrange


@pytest.mark.parametrize("moment", [0.05, 0.07, 0.9, 1.31, 2.2, 4.0, 6.543, 9.99, 13.0])
def test_a_drop_at_any_moment_loses_and_repeats_nothing(moment):
    """The conversation goes on as before, byte for byte both ways."""
    outcome, gateway, _ = hold(before=dropping(moment))
    assert outcome.ok
    assert len(gateway.links) == 2
    check_heard(outcome, gateway)
    check_played(outcome, gateway)
    assert outcome.frames.lost == 0


def test_many_drops():
    """Each is told to the observer, with how long it was away."""
    outcome, gateway, seen = hold(before=dropping(0.5, 2.0, 2.02, 5.0, 7.0, 11.0))
    assert outcome.ok
    check_heard(outcome, gateway)
    check_played(outcome, gateway)
    drops = [each for _, each in seen if isinstance(each, Dropped)]
    back = [each for _, each in seen if isinstance(each, Resumed)]
    assert len(drops) == len(gateway.links) - 1 >= 5
    assert 4 <= len(back) == outcome.reconnects
    assert all(each.away_ms < 1_000 for each in back)


def test_a_network_that_stays_away_for_a_while():
    """Tried again and again within the window; nothing said meanwhile is lost."""

    def away(gateway):
        gateway.refusals = []
        dropping(3.0)(gateway)
        loop = asyncio.get_running_loop()
        refusals = [ConnectionRefused("unreachable") for _ in range(4)]
        loop.call_later(2.9, lambda: gateway.refusals.extend(refusals))

    outcome, gateway, seen = hold(before=away)
    assert outcome.ok
    check_heard(outcome, gateway)
    [back] = [each for _, each in seen if isinstance(each, Resumed)]
    assert back.away_ms > 3_000
    assert back.frames > 25


def test_a_network_that_does_not_come_back():
    """Given up when the line is no longer kept, with the reason."""

    def away(gateway):
        dropping(3.0)(gateway)
        refusals = [ConnectionRefused("unreachable") for _ in range(1_000)]
        asyncio.get_running_loop().call_later(2.9, lambda: gateway.refusals.extend(refusals))

    outcome, _, _ = hold(before=away, gateway_fields={"resume_within_s": 5})
    assert not outcome.ok
    assert outcome.why_not == "unreachable"
    assert 8_000 <= outcome.duration_ms < 9_000


def test_a_token_that_ran_out_is_refreshed():
    """A 401 when coming back gets a new token, and the conversation goes on with it."""

    async def refresh():
        return "fresh"

    def expire(gateway):
        dropping(3.0)(gateway)
        asyncio.get_running_loop().call_later(2.9, lambda: gateway.refusals.append(ConnectionRefused("401", 401)))

    outcome, gateway, _ = hold(before=expire, refresh_token=refresh)
    assert outcome.ok
    assert gateway.tokens == ["secret", "secret", "fresh"]


def test_without_a_new_token_the_old_one_is_tried():
    """A gateway may have been mistaken."""

    def expire(gateway):
        dropping(3.0)(gateway)
        asyncio.get_running_loop().call_later(2.9, lambda: gateway.refusals.append(ConnectionRefused("401", 401)))

    outcome, gateway, _ = hold(before=expire)
    assert outcome.ok
    assert gateway.tokens == ["secret"] * 3


def test_a_new_relay_goes_on():
    """A higher epoch with numbers from 0: the conversation goes on, and sound is still whole."""

    def replace(gateway):
        asyncio.get_running_loop().call_later(4.2, gateway.replace_relay)

    outcome, gateway, _ = hold(before=replace)
    assert outcome.ok
    assert outcome.relays == 2
    check_heard(outcome, gateway)
    assert {epoch for epoch, _ in outcome.played} == {EPOCH, EPOCH + 1}


# Barge-in and lag


def test_an_interrupting_learner():
    """Every third turn is spoken over; its unplayed sound is dropped and what was heard is reported."""

    async def script(gateway):
        await gateway.ask()
        await gateway.ask()
        await gateway.speak(600, "A short word.")
        gateway.ear.onset = gateway.interrupt
        await gateway.speak(2_900, "A long question.")
        gateway.ear.onset = None
        while gateway.ear.answers < 3:
            await gateway.sleep_ms(100)
        await gateway.finish()

    outcome, gateway, _ = hold(script, manner=Manner(turn_taking="interrupt"))
    assert outcome.ok
    assert outcome.barge_ins == 1
    assert [exchange.interrupting for exchange in outcome.exchanges] == [False, False, True]
    [report] = [ack for ack in gateway.acks if ack.turn is not None]
    assert report.turn == 4
    played = outcome.played[EPOCH, 4]
    assert len(played) / 48 == pytest.approx(report.heard_ms, abs=0.1)
    assert 1_000 < report.heard_ms < 1_500
    assert bytes(gateway.said[4]).startswith(played)
    check_heard(outcome, gateway)


def test_a_polite_learner_gives_way():
    """When Maya speaks while the learner does, the learner falls silent."""

    async def script(gateway):
        await gateway.speak(500)
        gateway.tell(Status, state="listening")
        while not gateway.ear.speaking:
            await gateway.sleep_ms(50)
        await gateway.speak(2_500, "The time is up.")
        await gateway.finish()

    outcome, _, _ = hold(script, utterances=[voice(10_000)])
    assert outcome.ok
    [exchange] = outcome.exchanges
    assert exchange.spoke_until_ms - exchange.spoke_from_ms < 1_500


def test_a_learner_who_was_not_heard_says_it_again():
    """After a while without any reaction."""

    async def script(gateway):
        await gateway.speak(500)
        gateway.tell(Status, state="listening")
        await gateway.ear.answer()
        await gateway.ear.answer()
        await gateway.finish()

    outcome, _, _ = hold(script)
    assert len(outcome.exchanges) == 2


@pytest.mark.parametrize(("on_lag", "answers"), [("continue", ["continue"]), ("skip", ["skip"])])
def test_the_learner_answers_a_lag_prompt(on_lag, answers):
    """As it was told to."""

    async def script(gateway):
        await gateway.ask_about_lag()
        await gateway.ask()
        await gateway.finish()

    outcome, gateway, _ = hold(script, on_lag=on_lag)
    assert outcome.ok
    assert [choice.choice for choice in gateway.choices] == answers
    assert outcome.lag_prompts == 1


# Endings


def test_a_learner_who_ends_the_test_waits_for_the_assessment():
    """Ctrl-C: `stop`, then assessment and bye."""

    async def script(gateway):
        gateway.spawn(gateway.ask())
        await gateway.stop_asked.wait()
        await gateway.finish()

    outcome, gateway, _ = hold(script, stop=3.0)
    assert outcome.ok
    assert len(outcome.captured) == len(gateway.ear.heard)


def test_a_learner_who_leaves_before_the_test_has_begun():
    """There is nothing to wait for."""
    outcome, _, _ = hold(stop=0.01)
    assert outcome.why_not == "stopped before the test had begun"


@pytest.mark.parametrize(
    ("status", "reason"), [(401, "refused with 401"), (403, "refused with 403"), (None, "no one there")]
)
def test_refused_upgrades(status, reason):
    """The outcome says why, with the status."""
    outcome, gateway, _ = hold(before=lambda gateway: gateway.refusals.append(ConnectionRefused(reason, status)))
    assert not outcome.ok
    assert (outcome.why_not, outcome.status) == (reason, status)
    assert gateway.starts == []


def test_all_lines_taken():
    """`busy` and its bye end with the gateway's own words."""

    def busy(gateway):
        def refuse(start):
            gateway.starts.append(start)
            gateway.mention(encode(Error.of(Busy(retry_after_s=3), epoch=0)))
            gateway.mention(encode(Bye(epoch=0, reason="failed")))

        gateway._take_start = refuse

    outcome, _, _ = hold(before=busy)
    assert outcome.why_not == "busy: all of Maya's lines are taken"
    assert outcome.errors == [
        {
            "code": "busy",
            "message": "all of Maya's lines are taken",
            "retryable": True,
            "fatal": True,
            "retry_after_s": 3.0,
        }
    ]


def test_a_bye_without_assessment_is_no_success():
    """Both have to come."""

    async def script(gateway):
        await gateway.sleep_ms(500)
        gateway.mention(encode(Bye(epoch=EPOCH, reason="finished")))

    outcome, _, _ = hold(script)
    assert outcome.why_not == "no assessment came"


def test_another_end_than_finished_is_no_success():
    """Though an assessment came."""

    async def script(gateway):
        await gateway.finish("time_limit")

    outcome, _, _ = hold(script)
    assert outcome.assessment == ASSESSMENT
    assert outcome.why_not == "the gateway ended the conversation: time_limit"


def test_no_conversation_lasts_for_ever():
    """The learner goes home in the end."""

    async def script(gateway):
        while True:
            await gateway.ask()

    outcome, _, _ = hold(script, longest_s=30)
    assert outcome.why_not == "the conversation took longer than 30 s"


def test_a_failing_observer_ends_the_conversation():
    """A mistake of the program is no outcome: it is raised, and nothing is left running."""

    async def work():
        clock = VirtualClock()
        gateway = StubGateway(clock, short_test)

        def observe(observation, now_ms):
            if isinstance(observation, Said):
                raise LookupError(now_ms)  # noqa: TRY004 - any error will do

        with pytest.raises(LookupError):
            await hold_conversation(options(), observe=observe, connect=gateway.connect, clock=clock)
        await gateway.close()
        assert asyncio.all_tasks() == {asyncio.current_task()}

    run(work())


def test_a_cancelled_conversation_leaves_nothing_running():
    """Its connection is closed."""

    async def work():
        clock = VirtualClock()
        gateway = StubGateway(clock, short_test)
        conversation = asyncio.create_task(hold_conversation(options(), connect=gateway.connect, clock=clock))
        await asyncio.sleep(3)
        conversation.cancel()
        with pytest.raises(asyncio.CancelledError):
            await conversation
        assert gateway.links[-1].code == 1000
        await gateway.close()
        assert asyncio.all_tasks() == {asyncio.current_task()}

    run(work())


def test_a_machine_that_stood_still():
    """Frames that were late are captured in a burst; the slip is told; after a long sleep time goes on instead."""

    def stall(gateway):
        loop = asyncio.get_running_loop()
        loop.call_later(2.0, lambda: advance(loop, 0.9))
        loop.call_later(4.0, lambda: advance(loop, 7.0))

    def advance(loop, seconds):
        loop._virtual.passed_s += seconds

    outcome, gateway, _ = hold(before=stall)
    assert outcome.ok
    assert outcome.slip_ms >= 800
    check_heard(outcome, gateway)


def test_the_document_for_programs():
    """JSON with all that matters, and no sound."""
    outcome, _, _ = hold()
    document = json.loads(json.dumps(outcome.as_document()))
    assert document["ok"] is True
    assert document["failure"] is None
    assert document["session_id"] == SESSION
    assert document["support_code"] == "K7QX"
    assert document["assessment"]["overall"] == 6.5
    assert document["transcript"][0] == {"epoch": 1_000, "turn": 1, "who": "maya", "text": "A question?", "final": True}
    assert [part["title"] for part in document["parts"]] == ["Introduction and interview", "Long turn", "Discussion"]
    timings = document["timings"]
    assert timings["setup_ms"] == pytest.approx(60, abs=1)
    assert len(timings["turns"]) == 3
    assert timings["gaps"] == {"count": 0, "total_ms": 0.0, "longest_ms": 0.0, "each_ms": []}
    assert document["frames"]["captured"] >= document["frames"]["sent"] > 0
    assert "captured" not in document
    assert "played" not in document
