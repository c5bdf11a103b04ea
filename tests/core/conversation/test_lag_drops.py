"""The lag over drops: a question comes again, and a phone that is away is not lag."""

from typing import Any

import pytest

from gateway.core.conversation import State
from tests.core.conversation.far import SLOW_MS, Far
from tests.core.conversation.scene import START


def lost_in_a_drop(scene: Far) -> dict[str, Any]:
    """The question is posted, and the phone is gone before it arrives."""
    scene.begin()
    scene.talk_for(4)
    scene.round_trip_ms = SLOW_MS
    scene.talk_for(8)
    scene.acknowledges = False
    while not scene.told("lag_prompt"):
        scene.talk_for(0.1)
    scene.acknowledges = True
    return scene.told("lag_prompt")[0]


def test_a_question_lost_in_a_drop_comes_again():
    """With its number, on the new connection, and it can be answered."""
    scene = Far()
    prompt = lost_in_a_drop(scene)
    scene.drop()
    scene.wait(15_000)
    scene.come_back(prompt["n"] - 1)
    assert scene.told("lag_prompt", "ax") == [prompt]
    scene.talk_for(5)
    assert scene.told("lag_cleared") == []
    scene.choose("continue", prompt["prompt_id"])
    assert [each["why"] for each in scene.told("lag_cleared", "ax")] == ["answered"]


def test_a_question_and_its_end_both_lost_come_again_in_order():
    """The learner answered, and the phone never heard that it was taken."""
    scene = Far()
    prompt = lost_in_a_drop(scene)
    scene.choose("continue", prompt["prompt_id"])
    scene.drop()
    scene.wait(1_000)
    scene.come_back(prompt["n"] - 1)
    kinds = [message["type"] for message in scene.told(connection="ax") if message["type"].startswith("lag")]
    assert kinds == ["lag_prompt", "lag_cleared"]


def test_an_app_that_was_killed_is_asked_again():
    """It has forgotten the question, which is still open."""
    scene = Far()
    prompt = scene.asked()
    scene.talk_for(5)
    scene.drop()
    scene.wait(5_000)
    scene.connection = ("b", 2)
    scene.say(START, "b", 2)
    [again] = scene.told("lag_prompt", "b")
    assert {**again, "n": 0, "expires_s": 0} == {**prompt, "n": 0, "expires_s": 0}
    assert again["n"] > prompt["n"]
    assert 0 < again["expires_s"] < prompt["expires_s"]
    scene.choose("skip", again["prompt_id"])
    assert scene.state is not State.TALKING


def test_an_app_that_was_killed_is_not_asked_what_is_over():
    """It answered before."""
    scene = Far()
    prompt = scene.asked()
    scene.choose("continue", prompt["prompt_id"])
    scene.drop()
    scene.say(START, "b", 2)
    assert scene.told("lag_prompt", "b") == []


@pytest.mark.parametrize("told", [True, False])
def test_a_phone_that_is_away_is_not_lag(told):
    """Drops of a quarter of a minute, whether or not API Gateway tells of them; what is sent again is no lag either."""
    scene = Far()
    scene.begin()
    scene.talk_for(5)
    for _ in range(4):
        if told:
            scene.drop()
        seq = scene._seq
        scene.wait(15_000)
        scene._pongs.clear()
        last_n = max(message["n"] for message in scene.told() if "n" in message)
        scene.come_back(last_n)
        for frame in range(150):
            scene.audio(*scene.connection, seq=seq + frame, t=(seq + frame) * 100.0)
        scene.talk_for(8)
    assert scene.told("lag_prompt") == []


def test_nobody_is_pinged_who_is_away():
    """And no timer rings for it."""
    scene = Far()
    scene.begin()
    scene.talk_for(5)
    scene.drop()
    pings = len(scene.told("ping"))
    scene.wait(30_000)
    assert len(scene.told("ping")) == pings


def test_a_new_connection_is_measured_quickly():
    """Three quick pings on it; an answer to one of before is none."""
    scene = Far(None)
    scene.begin()
    scene.talk_for(9)
    before = scene.told("ping")[-1]["id"]
    scene.drop()
    scene.wait(1_000)
    scene.come_back(max(message["n"] for message in scene.told() if "n" in message))
    scene.talk_for(2)
    assert len(scene.told("ping", "ax")) == 3
    scene.say({"type": "pong", "id": before, "at": 0}, *scene.connection)
    assert scene.conversation._lag._monitor.round_trip.count == 0
