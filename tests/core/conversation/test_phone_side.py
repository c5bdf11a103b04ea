"""The phone's side: which connection counts, what is answered to whom, and what another session means."""

import pytest

from gateway.core.conversation import State
from gateway.core.conversation.actions import ReleaseLease
from gateway.core.conversation.inputs import Admission, AdmissionSettled, PostOutcome
from gateway.core.nova_events import Fault
from tests.core.conversation.scene import OTHER_SESSION, SESSION, START, Scene

RESUME = {"type": "resume", "session_id": SESSION, "n": -1, "seq": 0}
STRAY_RESUME = {**RESUME, "session_id": OTHER_SESSION}
OTHER_START = {**START, "session_id": OTHER_SESSION}


@pytest.fixture
def scene() -> Scene:
    """Maya has asked her first question on connection `a`."""
    return Scene().talk()


def kinds(scene: Scene, connection: str) -> list[str]:
    return [message["type"] for message in scene.told(connection=connection)]


# --- Errors ---------------------------------------------------------------------------------------------------------


def test_an_error_is_told_to_the_connection_that_made_it(scene):
    """Others hear nothing of it, and the conversation goes on with the connection it has."""
    scene.say("{", "b", 2)
    assert kinds(scene, "b") == ["error"]
    assert "error" not in kinds(scene, "a")
    scene.say({"type": "ping", "id": 1, "at": 0})
    assert scene.told("pong", "a")


def test_errors_are_told_at_most_once_a_second(scene):
    """Each bad message is dropped all the same."""
    for _ in range(25):
        scene.say("[]")
        scene.wait(100)
    assert len(scene.told("error")) == 3


def test_an_error_made_while_the_phone_is_away_is_told_to_who_made_it(scene):
    """It does not make that connection the phone's own."""
    scene.leave("a")
    scene.say("{", "b", 2)
    scene.wait(2_000)
    assert kinds(scene, "b") == ["error"]


def test_a_bad_message_before_resume_does_not_keep_the_phone_out(scene):
    """What came first on the new connection could not be read; `resume` still opens the line."""
    scene.leave("a")
    scene.say("{", "b", 2)
    scene.say(RESUME, "b", 2)
    assert "ready" in kinds(scene, "b")


@pytest.mark.parametrize(
    "message", [{"type": "stop", "seq": 3}, {"type": "lag_choice", "prompt_id": "p", "choice": "skip"}]
)
def test_what_needs_a_session_is_not_started_before_one(message):
    """The error names the message."""
    scene = Scene()
    scene.say(message)
    [error] = scene.told("error", "a")
    assert (error["code"], error["ref"]) == ("not_started", message["type"])


@pytest.mark.parametrize(
    "message",
    [{"type": "ack", "n": 3, "queue_ms": 0}, {"type": "ping", "id": 1, "at": 0}, {"type": "pong", "id": 1, "at": 0}],
)
def test_what_belongs_to_a_connection_may_get_lost_before_a_session(message):
    """Late words of an earlier conversation are no error."""
    scene = Scene()
    scene.say(message)
    assert not scene.posts


@pytest.mark.parametrize(
    "other",
    [{"out_rate": 8000}, {"voice": "olivia"}, {"client": "another"}, {"region": "eu-west-1"}],
    ids=lambda o: next(iter(o)),
)
def test_a_start_that_differs_is_refused_and_changes_nothing(scene, other):
    """Also on a newer connection, which is the one that is told."""
    scene.say({**START, **other}, "b", 2)
    assert [error["code"] for error in scene.told("error", "b")] == ["already_started"]
    assert "bye" not in kinds(scene, "a")


def test_a_fatal_error_is_told_once_and_before_bye():
    """However often the phone offends; what was said is assessed first."""
    scene = Scene(too_fast_s=5.0).talk()
    scene.learner()
    for _ in range(100):
        scene.wait(100)
        scene.audio(seq=9, t=1e9)
    assert not any(error["fatal"] for error in scene.told("error"))
    scene.call_tool(1)
    scene.save()
    scene.acknowledge_all()
    scene.wait(100)
    assert kinds(scene, "a")[-3:] == ["assessment", "error", "bye"]
    assert [(e["code"], e["fatal"]) for e in scene.told("error") if e["fatal"]] == [("too_fast", True)]


def test_an_error_that_ends_the_conversation_waits_for_a_phone_that_is_away(scene):
    """It comes back while the assessment is written, and is told why the test is over."""
    scene.learner()
    scene.leave("a")
    scene.lose()
    for _ in range(300):
        if scene.conversation._line.successor is not None:
            scene.lose(scene.newest_stream, Fault.ACCESS_REFUSED)
        scene.wait(100)
    scene.say(RESUME, "b", 2)
    scene.tell_micro_failed(1)
    scene.save()
    scene.acknowledge_all("b", 2)
    scene.wait(100)
    assert [error["code"] for error in scene.told("error", "b")] == ["model_unavailable"]
    assert kinds(scene, "b")[-2:] == ["error", "bye"]


# --- Connections ----------------------------------------------------------------------------------------------------


def test_the_newest_connection_takes_over_and_the_old_one_is_closed_two_seconds_later(scene):
    """The old one hears `bye` `replaced` and nothing more."""
    told = len(scene.told(connection="a"))
    scene.say(RESUME, "b", 2)
    assert [message["reason"] for message in scene.told(connection="a")[told:]] == ["replaced"]
    scene.wait(1_999)
    assert scene.disconnected() == []
    scene.wait(1)
    assert scene.disconnected() == ["a"]
    assert kinds(scene, "a")[told:] == ["bye"]


def test_ready_comes_first_on_a_new_connection(scene):
    """The phone may send its buffer while Maya's speech is sent again."""
    scene.maya("A long question.", ms=2_500)
    scene.leave("a")
    scene.say(RESUME, "b", 2)
    assert kinds(scene, "b")[0] == "ready"
    numbers = [message["n"] for message in scene.told(connection="b") if "n" in message]
    assert sorted(numbers) == list(range(min(numbers), min(numbers) + len(numbers)))


def test_resume_repeated_is_answered_once(scene):
    """Each second until `ready`; the same words twice would send everything twice."""
    scene.leave("a")
    for _ in range(3):
        scene.say(RESUME, "b", 2)
    assert kinds(scene, "b").count("ready") == 1


@pytest.mark.parametrize("message", [RESUME, START])
def test_a_late_word_of_an_older_connection_changes_nothing(scene, message):
    """The connection that was opened last wins, whatever order messages arrive in; the older one is told so, once."""
    scene.say(RESUME, "c", 3)
    scene.say(message, "b", 2)
    scene.say(message, "b", 2)
    assert [bye["reason"] for bye in scene.told("bye", "b")] == ["replaced"]
    assert kinds(scene, "b") == ["bye"]
    scene.say({"type": "ping", "id": 1, "at": 0}, "c", 3)
    assert scene.told("pong", "c")


def test_a_late_disconnect_of_an_older_connection_changes_nothing(scene):
    """API Gateway tells it a while after the phone is back."""
    scene.say(RESUME, "b", 2)
    scene.leave("a")
    scene.say({"type": "ping", "id": 1, "at": 0}, "b", 2)
    assert scene.told("pong", "b")


def test_audio_that_overtakes_resume_is_taken(scene):
    """Lambda runs messages in no order; a frame is a frame."""
    frames = scene.frames()
    scene.leave("a")
    scene.audio("b", 2)
    scene.say(RESUME, "b", 2)
    assert scene.frames() == frames + 1
    assert scene.told("ready", "b")[0]["next_seq"] == frames + 1


def test_an_acknowledgement_that_overtakes_resume_is_not_undone(scene):
    """What was acknowledged is not sent again, though `resume` was written before."""
    scene.leave("a")
    scene.acknowledge_all("b", 2)
    scene.say(RESUME, "b", 2)
    assert [message["type"] for message in scene.told(connection="b") if "n" in message] == ["ready"]


def test_a_killed_app_comes_back_with_start(scene):
    """It is told where the test is, and nothing that was said before."""
    scene.say(START, "b", 2)
    assert [kind for kind in kinds(scene, "b") if kind != "ping"] == ["ready", "part", "status"]


def test_a_connection_in_use_again_is_not_closed():
    """It was turned away, and then begins a session."""
    scene = Scene()
    scene.say(STRAY_RESUME)
    scene.begin()
    scene.wait(5_000, talking=True)
    assert scene.disconnected() == []
    assert scene.state is State.TALKING


def test_many_connections_leave_little_behind(scene):
    """A phone that comes by fifty connections within two seconds; the oldest are closed at once."""
    for number in range(50):
        scene.say(RESUME, f"b{number}", 2 + number)
    assert len(scene.conversation._phone.asides._close_at_ms) <= 16
    scene.wait(2_000)
    assert sorted(scene.disconnected()) == sorted(["a", *(f"b{number}" for number in range(49))])


# --- A session that is not here -------------------------------------------------------------------------------------


def test_a_stray_resume_is_turned_away_once(scene):
    """Repeated each second until it is answered; the connection is closed after its `bye`."""
    for _ in range(3):
        scene.say(STRAY_RESUME, "b", 2)
    assert kinds(scene, "b") == ["error", "bye"]
    scene.wait(2_000)
    assert scene.disconnected() == ["b"]
    assert scene.state is State.TALKING


def test_a_session_can_begin_where_one_was_gone():
    """The app gives up its old session and starts another, on the same connection or the next."""
    scene = Scene()
    scene.say(STRAY_RESUME)
    scene.say(START, "b", 2)
    scene.tell(AdmissionSettled(Admission.GRANTED))
    scene.open()
    assert "ready" in kinds(scene, "b")
    assert scene.told("error", "a")[0]["code"] == "session_gone"


# --- Another session ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("connection", ["a", "b"])
def test_another_session_ends_this_one_which_is_assessed(scene, connection):
    """Another relay has the learner; only a connection that the new session does not use hears `bye`."""
    scene.learner()
    told = len(scene.told(connection="a"))
    scene.say(OTHER_START, connection, 2 if connection == "b" else 1)
    assert scene.of(ReleaseLease)
    assert kinds(scene, "a")[told:] == (["bye"] if connection == "b" else [])
    scene.call_tool(1)
    scene.save()
    scene.wait(10_000)
    assert scene.state is State.ENDED
    assert scene.saved()
    assert scene.disconnected() == (["a"] if connection == "b" else [])


def test_nothing_of_the_other_session_is_heard(scene):
    """Its messages pass by on the learner's channel: they are the other relay's to answer."""
    scene.learner()
    scene.say(OTHER_START, "b", 2)
    posts = len(scene.posts)
    for message in ("{", STRAY_RESUME, RESUME, OTHER_START, {"type": "ping", "id": 1, "at": 0}):
        scene.say(message, "b", 2)
    scene.audio("b", 2)
    scene.call_tool(1)
    scene.save()
    scene.wait(10_000)
    assert len(scene.posts) == posts
    assert len(scene.of(ReleaseLease)) == 1
    assert scene.disconnected() == ["a"]


def test_another_session_by_an_older_connection_is_late(scene):
    """It was begun before this one."""
    scene.say(OTHER_START, "z", 0)
    assert scene.state is State.TALKING
    assert not scene.of(ReleaseLease)


# --- Acknowledgement, and the last word -----------------------------------------------------------------------------


def test_acknowledgements_run_from_ready_to_bye():
    """Every 500 ms, on the connection that is there."""
    scene = Scene()
    scene.say(START)
    scene.wait(3_000)
    assert not scene.told("ack")
    scene.tell(AdmissionSettled(Admission.GRANTED))
    scene.open()
    scene.wait(3_000, talking=True)
    assert len(scene.told("ack")) == 6
    assert scene.told("ack")[-1]["seq"] >= 28
    scene.leave("a")
    scene.wait(3_000)
    assert len(scene.told("ack")) == 6


def test_nothing_follows_bye():
    """No acknowledgement, no pong, no error, nothing that is sent again."""
    scene = Scene().assessed()
    for _ in range(60):
        scene.wait(100)
        scene.say({"type": "ping", "id": 1, "at": 0})
        scene.say("{")
    assert kinds(scene, "a").count("bye") == 1
    assert kinds(scene, "a")[-1] == "bye"


def test_nothing_follows_bye_though_maya_had_more_to_say():
    """The time for the last messages is over before they are sent."""
    scene = Scene().talk()
    scene.learner()
    for _ in range(20):
        scene.maya("And so on.", ms=1_000)
    scene.stop()
    scene.call_tool(1)
    scene.save()
    scene.wait(18_000)
    assert kinds(scene, "a")[-1] == "bye"
    assert scene.state is State.ENDED


def test_a_phone_that_lost_its_connection_with_the_last_words_hears_them_again():
    """It comes back within the two seconds: what it lacks, and `bye`, by the new connection."""
    scene = Scene().assessed()
    scene.acknowledge_all()
    scene.wait(10)
    assert scene.state is State.PARTING
    scene.say({**RESUME, "n": 3}, "b", 2)
    assert "ready" in kinds(scene, "b")
    scene.acknowledge_all("b", 2)
    scene.wait(10)
    assert kinds(scene, "b")[-1] == "bye"
    scene.wait(3_000)
    assert scene.state is State.ENDED
    assert "b" in scene.disconnected()


def test_a_killed_app_is_told_its_assessment_after_bye():
    """It knows nothing any more, so the assessment has a new number."""
    scene = Scene().assessed()
    scene.acknowledge_all()
    scene.wait(10)
    scene.say(START, "b", 2)
    scene.acknowledge_all("b", 2)
    scene.wait(10)
    assert "assessment" in kinds(scene, "b")
    assert kinds(scene, "b")[-1] == "bye"


# --- The session that has ended -------------------------------------------------------------------------------------


@pytest.fixture
def ended():
    return Scene().assessed().saved()[0]


@pytest.mark.parametrize("message", [RESUME, {**START, "out_rate": 8000, "client": "an app"}])
def test_a_session_that_has_ended_is_recalled(ended, message):
    """By `resume`, or by `start` of an app that was killed; said twice it is answered once, and is no error."""
    scene = Scene(ended=ended)
    scene.say(message)
    scene.say(message)
    scene.acknowledge_all()
    scene.wait(10)
    assert [kind for kind in kinds(scene, "a") if kind != "ack"] == ["ready", "assessment", "bye"]
    assert scene.told("assessment")[0]["assessment"] == ended.model_dump(mode="json")
    scene.wait(3_000)
    assert scene.state is State.ENDED


def test_another_session_than_the_ended_one_is_gone(ended):
    """Nobody is told an assessment by guessing."""
    scene = Scene(ended=ended)
    scene.say(STRAY_RESUME)
    assert kinds(scene, "a") == ["error", "bye"]


def test_a_post_that_finds_the_phone_gone_is_a_drop(scene):
    """As if API Gateway had said so; the phone may come back by the same connection's number or another."""
    scene.outcome = PostOutcome.GONE
    scene.maya()
    scene.outcome = PostOutcome.DELIVERED
    posts = len(scene.posts)
    scene.wait(3_000)
    assert len(scene.posts) == posts
    scene.say(RESUME, "b", 2)
    assert "audio" in kinds(scene, "b")
