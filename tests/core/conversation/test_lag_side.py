"""The lag in a conversation: what is measured, what the learner is told early, and what the pieces of sound and the causes follow."""

import pytest

from gateway.core.nova_events import Role, TextOutput, UserSpeechEnd, UserSpeechStart
from tests.core.conversation.far import Far
from tests.core.conversation.scene import EPOCH, START

# --- Measuring ------------------------------------------------------------------------------------------------------


def test_pings_begin_with_the_talk_and_end_with_it():
    """Three quick ones, then one each two seconds; none before Maya's line is open, none after the test."""
    scene = Far()
    scene.say(START)
    scene.wait(3_000)
    assert scene.told("ping") == []
    scene.begin_line()
    scene.acknowledge_all()
    scene.talk_for(9)
    at_ms = [at_ms for at_ms, _, message in scene.posts if message["type"] == "ping"]
    assert [round(each / 500) * 500 - at_ms[0] // 500 * 500 for each in at_ms] == [
        0,
        500,
        1_000,
        3_000,
        5_000,
        7_000,
        9_000,
    ]
    assert {message["epoch"] for message in scene.told("ping")} == {EPOCH}
    scene.stop()
    pings = len(scene.told("ping"))
    scene.wait(5_000)
    assert len(scene.told("ping")) == pings


def test_a_pong_by_another_connection_says_nothing():
    """Only the one in use is measured."""
    scene = Far(None)
    scene.begin()
    scene.talk_for(2)
    scene.say({"type": "pong", "id": 0, "at": 0}, "old", 0)
    assert scene.conversation._lag._monitor.round_trip.count == 0
    scene.say({"type": "pong", "id": 0, "at": 0})
    assert scene.conversation._lag._monitor.round_trip.count == 1


def test_the_measured_lag_is_logged_with_the_region():
    """At each of Maya's answers: what was felt, and its parts."""
    scene = Far(200.0)
    scene.begin(region="ap-southeast-1")
    scene.talk_for(3)
    scene.maya()
    assert scene.recorded("lag_measured") == []  # nobody had waited for her
    heard_ms = scene.conversation._line.current.heard_ms
    scene.hear(UserSpeechStart(0.0), UserSpeechEnd(heard_ms - 450, 0.0), TextOutput("u", Role.USER, "an answer"))
    scene.talk_for(1.2)
    scene.maya()
    [record] = scene.recorded("lag_measured")
    assert record.fields["region"] == "ap-southeast-1"
    assert record.fields["model_ms"] == 1_200.0
    assert record.fields["network_ms"] == 200.0
    assert record.fields["lag_ms"] == 1_400.0
    assert record.fields["uplink_ms"] == record.fields["downlink_ms"] == 0.0


def test_a_region_of_no_list_is_other():
    """What an app writes becomes no dimension of its own."""
    scene = Far(200.0)
    scene.begin(region="here-i-am-42")
    scene.talk_for(3)
    scene.learner()
    scene.maya()
    assert scene.recorded("lag_measured")[0].fields["region"] == "other"


def test_a_recovery_is_one_wait():
    """Maya's stream is lost while she is to answer; the next one hears the same words and answers: one sample."""
    scene = Far()
    scene.talk()
    scene.talk_for(3)
    scene.learner()
    scene.talk_for(2)
    scene.lose()
    scene.wait(1)
    scene.open()
    scene.talk_for(1)
    scene.hear(UserSpeechStart(0.0), UserSpeechEnd(None, 0.0), TextOutput("u", Role.USER, "an answer"))
    scene.talk_for(1)
    scene.maya()
    [record] = scene.recorded("lag_measured")
    assert record.fields["model_ms"] == pytest.approx(4_000, abs=2)
    scene.learner(to_ms=scene.conversation._line.current.heard_ms)
    scene.talk_for(0.5)
    scene.maya()
    assert scene.recorded("lag_measured")[1].fields["model_ms"] == pytest.approx(500, abs=2)


def test_an_answer_to_a_stage_direction_is_none_to_the_learner():
    """Silent after the last answer, asked by the gateway to go on: how long that took is not the model's response."""
    scene = Far()
    scene.talk()
    scene.talk_for(3)
    scene.learner()
    scene.conversation._line.direct("[a direction]", scene.now_ms)
    scene.talk_for(5)
    scene.maya()
    assert scene.recorded("lag_measured") == []


def test_who_goes_on_speaking_does_not_wait():
    """The learner goes on before Maya has answered."""
    scene = Far()
    scene.talk()
    scene.talk_for(3)
    scene.learner()
    scene.talk_for(1)
    scene.hear(UserSpeechStart(0.0))
    scene.talk_for(9)
    scene.hear(UserSpeechEnd(None, 0.0))
    scene.talk_for(1)
    scene.maya()
    [record] = scene.recorded("lag_measured")
    assert record.fields["model_ms"] == 1_000.0


def test_sound_that_waits_to_be_sent_is_felt():
    """The phone has played what it has, and the line takes no more."""
    scene = Far()
    scene.begin()
    scene.talk_for(3)
    scene.conversation._downlink._posting = True
    scene.maya(ms=500)
    scene.talk_for(2)
    felt = scene.conversation._lag._monitor.felt(scene.now_ms)
    assert felt.downlink_ms == pytest.approx(2_000, abs=200)
    assert felt.network_ms > 2_000


# --- Notice ---------------------------------------------------------------------------------------------------------


def test_the_notice_comes_once_and_early():
    """In the learner's language."""
    scene = Far(300.0)
    scene.begin(language="de-DE", region="eu-central-1")
    scene.talk_for(60)
    [notice] = scene.told("lag_notice")
    assert notice["expected_ms"] == pytest.approx(1_300, abs=110)
    assert notice["text"].startswith("Maya antwortet aus Nordamerika")
    assert next(at_ms for at_ms, _, message in scene.posts if message["type"] == "lag_notice") < 3_000


def test_an_app_that_answers_no_ping_is_told_of_its_region():
    """After six seconds."""
    scene = Far(None)
    scene.begin(region="ap-southeast-1")
    scene.talk_for(10)
    [notice] = scene.told("lag_notice")
    assert notice["expected_ms"] == 1_280
    assert "1.3 s" in notice["text"]


# --- Pace -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("round_trip_ms", "piece_ms"), [(60.0, 160), (250.0, 200), (600.0, 250)])
def test_pieces_follow_the_distance(round_trip_ms, piece_ms):
    """Maya's speech goes in small pieces near and in large ones far, and all of it arrives."""
    scene = Far(round_trip_ms)
    scene.begin()
    scene.talk_for(9)
    scene.maya(ms=2_400)
    pieces = [len(message["pcm"]) / 4 * 3 / 48 for message in scene.told("audio")]
    assert max(pieces) == piece_ms
    assert sum(pieces) == 2_400


def test_a_phone_that_is_not_measured_gets_large_pieces():
    """What nobody knows is taken to be far."""
    scene = Far(None)
    scene.begin()
    scene.talk_for(9)
    scene.maya(ms=1_000)
    assert max(len(message["pcm"]) / 4 * 3 / 48 for message in scene.told("audio")) == 250


def test_the_operator_has_the_last_word_on_pieces():
    """`piece_ms` is the most, however far."""
    scene = Far(600.0, piece_ms=120.0)
    scene.begin()
    scene.talk_for(9)
    scene.maya(ms=1_000)
    assert max(len(message["pcm"]) / 4 * 3 / 48 for message in scene.told("audio")) == 120


# --- Causes ---------------------------------------------------------------------------------------------------------


def test_a_slow_model_is_asked_about():
    """Near, and Maya takes long to answer, again and again; after one slow answer nobody is asked."""
    scene = Far()
    scene.talk()
    scene.talk_for(3)
    for _ in range(4):
        scene.learner(to_ms=scene.conversation._line.current.heard_ms)
        scene.talk_for(4.5)
        scene.maya()
        scene.talk_for(3)
        if len(scene.recorded("lag_measured")) == 1:
            assert scene.told("lag_prompt") == []
    prompt = scene.told("lag_prompt")[0]
    assert prompt["cause"] == "model"
    assert prompt["lag_ms"] == pytest.approx(4_560, abs=200)
    assert prompt["text"].startswith("Maya takes longer")


def test_a_choked_way_up_is_asked_about():
    """Speech comes later and later, while pings are answered at once: the phone answers them before it sends speech."""
    scene = Far()
    scene.talk()
    scene.talk_for(5)
    scene.choked = True
    scene.talk_for(28)
    assert [prompt["cause"] for prompt in scene.told("lag_prompt")] == ["uplink"]
