"""The learner is told of the lag, asked about it, and decides: real phones, the gateway's functions, real stores.

The line between phone and gateway adds the delay. The thresholds are lower than in earnest, so that little delay is much.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from gateway.core.messages import AssessmentMessage, Bye, LagCleared, LagNotice, LagPrompt, Ready
from tests.e2e.callers import Caller, Habits
from tests.e2e.clouds import QUICK, Cloud, launch
from tests.e2e.lines import SlowLine
from tests.e2e.maya import Nova, check_heard, check_played
from tests.e2e.stored import check_stored, stored_items, stored_profile
from tests.e2e.talks import MAYA

NUMBERS = {
    "MAYA_ASSESS_FROM_S": "0.25",
    "MAYA_PART_WITH_MS": "100",
    "MAYA_LAG_USUAL_RESPONSE_MS": "100",
    "MAYA_LAG_ASK_OVER_MS": "900",
    "MAYA_LAG_CLEAR_UNDER_MS": "600",
    "MAYA_LAG_SUSTAIN_MS": "400",
    "MAYA_LAG_PING_EVERY_MS": "500",
    "MAYA_LAG_QUICK_PING_EVERY_MS": "150",
}
SLOW_MS = 600.0
"""Each way: twice of it is over the threshold alone."""


@dataclass
class Held:
    """The conversations that were held."""

    cloud: Cloud
    callers: dict[str, Caller] = field(default_factory=dict)


async def _is_asked(caller: Caller) -> LagPrompt:
    await caller.until(lambda: caller.messages(LagPrompt), "the question")
    return caller.messages(LagPrompt)[-1]


async def _continues(caller: Caller, line: SlowLine) -> None:
    """Slow from the first part on; continue, go on for a while, then end the test."""
    async with caller.calling():
        await caller.answered()
        line.delay_ms = SLOW_MS
        await _is_asked(caller)
        caller.choose("continue")
        await caller.until(lambda: caller.messages(LagCleared), "the end of the question")
        line.delay_ms = 0.0
        later = len(caller.captured) + caller.habits.rate * 2
        await caller.until(lambda: len(caller.captured) > later, "another second")
        caller.stop()
        await caller.ends()


async def _skips(caller: Caller, line: SlowLine) -> None:
    """Slow in the second part, when the first is being assessed or has been; skip."""
    async with caller.calling():
        await caller.until(lambda: caller.part == 2, "part 2")
        line.delay_ms = SLOW_MS
        await _is_asked(caller)
        caller.choose("skip")
        await caller.ends()


async def _skips_at_once(caller: Caller, line: SlowLine) -> None:
    """Slow from the beginning; skip before anything was assessed."""
    line.delay_ms = SLOW_MS
    async with caller.calling():
        await _is_asked(caller)
        caller.choose("skip")
        await caller.ends()


async def _drops(caller: Caller, line: SlowLine) -> None:
    """The connection breaks at the question, which is lost with it; the phone comes back and continues."""
    async with caller.calling():
        await caller.answered()
        line.delay_ms = SLOW_MS
        await _is_asked(caller)
        caller.choose("continue")
        await caller.until(lambda: caller.messages(LagCleared), "the end of the question")
        line.delay_ms = 0.0
        caller.stop()
        await caller.ends()


COURSES: dict[str, tuple[Callable[[Caller, SlowLine], Awaitable[None]], dict[str, Any], str]] = {
    "continues": (_continues, {"region": "eu-west-1"}, ""),
    "skips": (_skips, {"region": "ap-southeast-1", "language": "de-DE"}, ""),
    "skips at once": (_skips_at_once, {}, ""),
    "drops": (_drops, {}, "lag_prompt"),
}


@pytest.fixture(scope="module")
def held(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Held]:
    """All conversations, held at once."""
    folder = tmp_path_factory.mktemp("lag")
    with launch(folder / "state.json", *QUICK, *MAYA, environment=NUMBERS) as cloud:
        held = Held(cloud)
        asyncio.run(_hold(held))
        yield held


async def _hold(held: Held) -> None:
    courses = []
    for name, (course, habits, break_at) in COURSES.items():
        line = SlowLine(break_at=break_at)
        caller = Caller(held.cloud, name.replace(" ", "-"), habits=Habits(**habits), line=line)
        held.callers[name] = caller
        courses.append(course(caller, line))
    await asyncio.gather(*courses)


@pytest.mark.parametrize("name", COURSES)
def test_the_learner_is_told_early_and_once(held, name):
    """Before the question."""
    caller = held.callers[name]
    [notice] = caller.messages(LagNotice)
    [prompt] = caller.messages(LagPrompt)
    assert notice.n < prompt.n
    assert notice.expected_ms > 0
    assert prompt.lag_ms >= float(NUMBERS["MAYA_LAG_ASK_OVER_MS"])
    # The way up is measured ten times as often as the round trip, so it may be the first to tell.
    assert prompt.cause in ("network", "uplink")


def test_continue(held):
    """The question is cleared once, the conversation goes on as if there had been none, and what is saved is as ever."""
    caller = held.callers["continues"]
    [prompt], [cleared] = caller.messages(LagPrompt), caller.messages(LagCleared)
    assert (cleared.prompt_id, cleared.why) == (prompt.prompt_id, "answered")
    streams = Nova(held.cloud).streams_of(caller)
    check_heard(caller, streams)
    check_played(caller, streams)
    assert check_stored(held.cloud, caller) == caller.assessment
    assert [bye.reason for bye in caller.messages(Bye)] == ["finished"]


def test_skip_keeps_the_part_already_assessed(held):
    """As partial, in both tables, without the part under way; the module stays unlocked, and the last word is `skipped`."""
    caller = held.callers["skips"]
    stored = check_stored(held.cloud, caller)
    assert stored == caller.assessment
    assert stored.status == "partial"
    assert stored.parts_assessed == tuple(range(1, caller.part))
    assert stored_profile(held.cloud, caller.learner)["unlocked_modules"] == {caller.habits.module}
    assert [message.saved for message in caller.messages(AssessmentMessage)] == [True]
    assert [bye.reason for bye in caller.messages(Bye)] == ["skipped"]
    assert caller.messages(LagCleared)[-1].why == "answered"


def test_skip_asks_in_the_language_of_the_learner(held):
    """German here."""
    assert "Weitermachen" in held.callers["skips"].messages(LagPrompt)[0].text


def test_skip_before_anything_was_assessed_saves_nothing(held):
    """Nor does it touch what was saved before; the module stays unlocked."""
    caller = held.callers["skips at once"]
    assert stored_items(held.cloud, caller.learner) == []
    profile = stored_profile(held.cloud, caller.learner)
    assert "assessment" not in profile
    assert profile["unlocked_modules"] == {caller.habits.module}
    assert caller.messages(AssessmentMessage) == []
    assert [bye.reason for bye in caller.messages(Bye)] == ["skipped"]


def test_a_question_lost_in_a_drop_comes_again(held):
    """With its number after the phone has come back, and its answer counts."""
    caller = held.callers["drops"]
    assert isinstance(caller.line, SlowLine)
    assert caller.line.broken_at == 1
    assert caller.phone.figures.reconnects == 1
    [prompt], [cleared] = caller.messages(LagPrompt), caller.messages(LagCleared)
    back = caller.messages(Ready)[-1]
    shown = [message for message, _ in caller.shown]
    assert prompt.n < back.n
    assert prompt.epoch == back.epoch
    assert (cleared.prompt_id, cleared.why) == (prompt.prompt_id, "answered")
    assert shown.index(prompt) < shown.index(cleared)


def test_lag_is_a_metric_by_region(held):
    """Felt lag, its parts, questions and answers, as CloudWatch reads them; no region that is not of the list."""
    lines = [json.loads(line) for line in held.cloud.log("functions/maya-relay").splitlines() if '"_aws"' in line]
    named = {(name, line["region"]) for line in lines if "region" in line for name in line if name.startswith("Lag")}
    for name in ("Lag", "LagNetwork", "LagUplink", "LagDownlink", "LagModel", "LagPrompts", "LagContinued"):
        assert (name, "eu-west-1") in named
    assert {("LagSkipped", "ap-southeast-1"), ("LagSkipped", "other")} <= named
    assert {region for _, region in named} == {"eu-west-1", "ap-southeast-1", "other"}
