"""The lag in a conversation: pings, notice, question, answers, skip, drops, recovery, pace."""

from typing import Any

import pytest

from gateway.core.conversation import State
from gateway.core.conversation.inputs import SaveOutcome
from gateway.core.lag import LagSettings
from gateway.core.messages import UP_MESSAGES
from gateway.core.nova_events import Role, TextOutput, UserSpeechEnd, UserSpeechStart
from tests.core.conversation.scene import EPOCH, SESSION, START, Scene

SLOW_MS = 2_600.0


class Far(Scene):
    """A conversation whose phone answers pings `round_trip_ms` later.

    Attributes:
        round_trip_ms: see above; None for a phone that answers none.
        connection: by which the phone talks.
        acknowledges: whether it tells what has arrived.
        choked: whether the way up carries only four frames in the time of five.
    """

    def __init__(self, round_trip_ms: float | None = 60.0, **changes: Any) -> None:
        super().__init__(**{"nudge_s": 1e6, **changes})  # on this stage nobody answers a nudge
        self.round_trip_ms = round_trip_ms
        self.connection = ("a", 1)
        self.acknowledges = True
        self.choked = False
        self._looked_at = 0
        self._pongs: list[tuple[float, int]] = []

    def talk_for(self, seconds: float) -> "Far":
        """The phone sends frames, acknowledges, answers pings."""
        for step in range(round(seconds * 10)):
            self._let_pass(self.now_ms + 100)
            if not self.choked or step % 5:
                self.audio(*self.connection)
            if self.acknowledges:
                self.acknowledge_all(*self.connection)
            for at_ms, _, message in self.posts[self._looked_at :]:
                if message["type"] == "ping" and self.round_trip_ms is not None:
                    self._pongs.append((at_ms + self.round_trip_ms, message["id"]))
            self._looked_at = len(self.posts)
            for due in [each for each in self._pongs if each[0] <= self.now_ms]:
                self._pongs.remove(due)
                self.say({"type": "pong", "id": due[1], "at": 0}, *self.connection)
        return self

    def asked(self, **start: Any) -> dict[str, Any]:
        """Begin near, get slow, be asked."""
        self.begin(**start)
        self.talk_for(0.3)
        self.maya()
        self.talk_for(4)
        self.round_trip_ms = SLOW_MS
        self.talk_for(20)
        [prompt] = self.told("lag_prompt")
        return prompt

    def choose(self, choice: str, prompt_id: str) -> None:
        """The learner answers."""
        self.say({"type": "lag_choice", "prompt_id": prompt_id, "choice": choice}, *self.connection)

    def drop(self) -> None:
        """The radio dies."""
        self.leave(self.connection[0])
        self._looked_at = len(self.posts)
        self._pongs.clear()

    def come_back(self, n: int) -> None:
        """By a new connection, having received everything up to `n`."""
        self.connection = (self.connection[0] + "x", self.connection[1] + 1)
        self.say({"type": "resume", "session_id": SESSION, "n": n, "seq": self._seq}, *self.connection)


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


# --- The question ---------------------------------------------------------------------------------------------------


def test_the_question():
    """All that the app needs to show it."""
    scene = Far()
    prompt = scene.asked(language="en-GB")
    assert prompt["options"] == ["continue", "skip"]
    assert prompt["cause"] == "network"
    assert prompt["expires_s"] == 20.0
    assert prompt["lag_ms"] == pytest.approx(SLOW_MS + 1_000, abs=120)
    assert "3.6 s" in prompt["text"]
    assert "skip" in prompt["text"]
    assert [record.fields["cause"] for record in scene.recorded("lag_prompted")] == ["network"]


def test_every_threshold_is_a_setting():
    """With ten seconds of patience more, nobody is asked yet."""
    scene = Far(lag=LagSettings(sustain_ms=18_000.0))
    scene.begin()
    scene.talk_for(4)
    scene.round_trip_ms = SLOW_MS
    scene.talk_for(18)
    assert scene.told("lag_prompt") == []


def test_the_conversation_goes_on_meanwhile():
    """Maya speaks, the learner speaks, frames are heard, a part ends."""
    scene = Far()
    scene.asked()
    frames = scene.frames()
    scene.maya("A question?")
    scene.learner()
    scene.talk_for(2)
    assert scene.frames() == frames + 20
    assert [message["text"] for message in scene.told("transcript") if message["who"] == "learner"] == ["an answer"]
    assert scene.told("lag_cleared") == []


@pytest.mark.parametrize("times", [1, 3])
def test_continue(times):
    """Repeated or not, it is taken once, and the test goes on."""
    scene = Far()
    prompt = scene.asked()
    for _ in range(times):
        scene.choose("continue", prompt["prompt_id"])
        scene.talk_for(1)
    assert [(each["prompt_id"], each["why"]) for each in scene.told("lag_cleared")] == [
        (prompt["prompt_id"], "answered")
    ]
    assert scene.state is State.TALKING
    assert len(scene.recorded("lag_continued")) == 1
    scene.talk_for(60)
    assert len(scene.told("lag_prompt")) == 1


def test_nobody_answers():
    """Counts as continue."""
    scene = Far()
    prompt = scene.asked()
    scene.talk_for(24)
    [cleared] = scene.told("lag_cleared")
    assert (cleared["prompt_id"], cleared["why"]) == (prompt["prompt_id"], "expired")
    assert scene.state is State.TALKING
    assert len(scene.recorded("lag_expired")) == 1


def test_the_lag_goes_away():
    """The question is taken back."""
    scene = Far()
    scene.asked()
    scene.round_trip_ms = 60.0
    scene.talk_for(14)
    assert [each["why"] for each in scene.told("lag_cleared")] == ["lag_gone"]
    assert len(scene.recorded("lag_gone")) == 1


@pytest.mark.parametrize("prompt_id", ["7-2", "7-0", "6-1", "1", "x", "7-1x"])
def test_an_answer_to_no_open_question_is_ignored(prompt_id):
    """Be it another relay's, one to come, or nonsense: nothing is cleared, no error is told, the test goes on."""
    scene = Far()
    assert scene.asked()["prompt_id"] == f"{EPOCH}-1"
    scene.choose("skip", prompt_id)
    scene.talk_for(1)
    assert scene.state is State.TALKING
    assert scene.told("lag_cleared") == scene.told("error") == []


def test_an_answer_without_any_question_is_ignored():
    """In every state of a conversation."""
    scene = Scene()
    scene.say(START)
    choice = {"type": "lag_choice", "prompt_id": f"{EPOCH}-0", "choice": "skip"}
    scene.say(choice)
    scene.begin_line()
    scene.say(choice)
    scene.stop()
    scene.say(choice)
    assert scene.told("error") == []


def test_every_message_of_the_app_is_known():
    """`lag_choice` among them, so that none falls through in silence."""
    assert "lag_choice" in {kind.model_fields["type"].default for kind in UP_MESSAGES}


# --- Skip -----------------------------------------------------------------------------------------------------------


def skip(scene: Far, spoken_s: float = 5.0) -> None:
    """Have the learner speak, be asked, and skip."""
    scene.learner(to_ms=spoken_s * 1000)
    scene.maya()
    scene.round_trip_ms = SLOW_MS
    scene.talk_for(20)
    scene.choose("skip", scene.told("lag_prompt")[0]["prompt_id"])


def test_skip_saves_the_parts_already_assessed():
    """As partial; the part under way is not assessed, however much was said in it."""
    scene = Far()
    scene.talk()
    scene.part_two()
    skip(scene, spoken_s=60.0)
    assert scene.told("lag_cleared")[-1]["why"] == "answered"
    scene.save()
    [assessment] = scene.saved()
    assert (assessment.status, assessment.parts_assessed) == ("partial", (1,))
    assert scene.asked_micro() == [0]
    scene.talk_for(1)
    assert [message["saved"] for message in scene.told("assessment")] == [True]
    assert scene.told("bye")[-1]["reason"] == "skipped"
    assert [record.fields["reason"] for record in scene.recorded("test_over")] == ["skipped"]


def test_skip_waits_for_a_part_that_is_being_assessed():
    """Its stream was asked when the part ended."""
    scene = Far()
    scene.talk()
    scene.learner()
    scene.maya(scene.conversation._course.settings.plan.part(1).closing)
    scene.open()
    scene.wait(200, talking=True)
    assert scene.conversation._desk.pending
    skip(scene)
    assert scene.state is State.ASSESSING
    scene.call_tool(1)
    scene.save()
    [assessment] = scene.saved()
    assert assessment.parts_assessed == (1,)


def test_skip_before_any_part_was_assessed_saves_nothing():
    """What was saved of an earlier test is not overwritten by an empty assessment."""
    scene = Far()
    scene.talk()
    skip(scene, spoken_s=29.0)
    scene.talk_for(1)
    assert scene.saved() == []
    assert scene.told("bye")[-1]["reason"] == "skipped"


def test_skip_after_much_was_said_is_assessed():
    """Who spoke for half a minute gets an assessment, whatever happens."""
    scene = Far()
    scene.talk()
    skip(scene, spoken_s=31.0)
    assert scene.state is State.ASSESSING
    scene.call_tool(1)
    scene.save()
    assert scene.saved()[0].parts_assessed == (1,)
    scene.talk_for(1)
    assert scene.told("bye")[-1]["reason"] == "skipped"


def test_skip_is_taken_once():
    """The app repeats it until `bye`."""
    scene = Far()
    scene.talk()
    scene.part_two()
    skip(scene)
    prompt_id = scene.told("lag_prompt")[0]["prompt_id"]
    for _ in range(3):
        scene.choose("skip", prompt_id)
    scene.save(SaveOutcome.QUEUED)
    scene.choose("skip", prompt_id)
    assert len(scene.recorded("lag_skipped")) == len(scene.recorded("test_over")) == len(scene.saved()) == 1


def test_a_question_is_taken_back_when_the_test_ends():
    """There is nothing left to skip."""
    scene = Far()
    prompt = scene.asked()
    scene.stop()
    [cleared] = scene.told("lag_cleared")
    assert (cleared["prompt_id"], cleared["why"]) == (prompt["prompt_id"], "lag_gone")
    scene.choose("skip", prompt["prompt_id"])
    assert [record.fields["reason"] for record in scene.recorded("test_over")] == ["finished"]


# --- Drops ----------------------------------------------------------------------------------------------------------


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
