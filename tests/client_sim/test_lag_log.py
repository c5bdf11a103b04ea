"""What a conversation tells of its lag."""

import asyncio

import pytest

from client_sim.lag_log import KEPT_QUESTIONS, LagLog
from client_sim.talk import hold_conversation
from gateway.core.messages import LagCleared, LagNotice, LagPrompt, Status
from tests.client_sim.stub import EPOCH, StubGateway
from tests.client_sim.test_talk import hold, options
from tests.client_sim.virtual import VirtualClock, run


def prompt(prompt_id: str = "p") -> LagPrompt:
    return LagPrompt(epoch=1, n=0, prompt_id=prompt_id, lag_ms=3_000, cause="model", text="Slow.", expires_s=20)


def test_notice_question_answer_end():
    """Each with its moment."""
    log = LagLog()
    log.note(LagNotice(epoch=1, n=0, expected_ms=1_300, text="Far."), 2_000.0)
    log.note(prompt(), 60_000.0)
    log.answered("p", "continue", 64_000.0)
    log.note(LagCleared(epoch=1, n=1, prompt_id="p", why="answered"), 64_500.0)
    assert log.as_document() == {
        "expected_ms": 1_300,
        "notice": "Far.",
        "noticed_at_ms": 2_000.0,
        "questions": [
            {
                "prompt_id": "p",
                "lag_ms": 3_000,
                "cause": "model",
                "text": "Slow.",
                "expires_s": 20,
                "at_ms": 60_000.0,
                "answer": "continue",
                "answered_at_ms": 64_000.0,
                "cleared": "answered",
                "cleared_at_ms": 64_500.0,
            }
        ],
    }


def test_a_question_that_comes_again_is_one():
    """After the app was killed; and what is about none of them says nothing."""
    log = LagLog()
    log.note(prompt(), 1.0)
    log.note(prompt(), 9.0)
    log.note(Status(epoch=1, n=2, state="listening"), 9.0)
    log.note(LagCleared(epoch=1, n=1, prompt_id="other", why="expired"), 9.0)
    log.answered("other", "skip", 9.0)
    assert [(each.at_ms, each.cleared, each.answer) for each in log.questions] == [(1.0, None, None)]


def test_it_is_bounded():
    """Whatever a gateway asks."""
    log = LagLog()
    for number in range(KEPT_QUESTIONS + 5):
        log.note(prompt(str(number)), 1.0)
    assert len(log.questions) == KEPT_QUESTIONS


async def asks_twice(gateway):
    """Two questions, the second answered by nobody."""
    gateway.tell(LagNotice, expected_ms=1_300, text="Far.")
    await gateway.ask_about_lag()
    gateway.tell(LagPrompt, prompt_id="lag-2", lag_ms=2_000, cause="uplink", text="Slow?", expires_s=20)
    await gateway.sleep_ms(3_000)
    gateway.tell(LagCleared, prompt_id="lag-2", why="lag_gone")
    await gateway.ask()
    await gateway.finish()


def test_a_person_chooses():
    """What is pressed while a question is on the screen is its answer; before and after, it says nothing."""

    async def work():
        clock = VirtualClock()
        gateway = StubGateway(clock, asks_twice)
        choices: asyncio.Queue[str] = asyncio.Queue()
        choices.put_nowait("skip")
        asyncio.get_running_loop().call_later(2.0, choices.put_nowait, "continue")
        outcome = await hold_conversation(options(on_lag=None), connect=gateway.connect, clock=clock, choices=choices)
        await gateway.close()
        assert asyncio.all_tasks() == {asyncio.current_task()}, "tasks are left over"
        return outcome, gateway

    outcome, gateway = run(work())
    assert {choice.choice for choice in gateway.choices} == {"continue"}
    first, second = outcome.lag.questions
    assert (first.answer, first.cleared, second.answer, second.cleared) == ("continue", "answered", None, "lag_gone")
    assert first.answered_at_ms == pytest.approx(2_000.0, abs=1)
    document = outcome.as_document()
    assert document["lag_prompts"] == 2
    assert document["lag"]["expected_ms"] == 1_300
    assert [each["prompt_id"] for each in document["lag"]["questions"]] == ["lag-1", "lag-2"]


def test_a_skipped_test_is_no_failure():
    """It ended as the learner chose; there may be no assessment."""

    async def script(gateway):
        await gateway.ask_about_lag()
        await gateway.finish("skipped")

    outcome, _, _ = hold(script, on_lag="skip")
    assert (outcome.ok, outcome.why_not, outcome.bye) == (True, None, "skipped")


def test_another_relay_takes_the_question_off():
    """It knows nothing of the one before it, so nothing is answered to it."""

    async def script(gateway):
        gateway.tell(LagPrompt, prompt_id="old", lag_ms=2_000, cause="uplink", text="Slow?", expires_s=20)
        await gateway.sleep_ms(500)
        gateway.replace_relay()
        await gateway.sleep_ms(3_000)
        await gateway.finish()

    async def work():
        clock = VirtualClock()
        gateway = StubGateway(clock, script)
        choices: asyncio.Queue[str] = asyncio.Queue()
        asyncio.get_running_loop().call_later(2.0, choices.put_nowait, "skip")
        await hold_conversation(options(on_lag=None), connect=gateway.connect, clock=clock, choices=choices)
        await gateway.close()
        return gateway

    gateway = run(work())
    assert gateway.epoch > EPOCH
    assert gateway.choices == []
