"""Maya stays on the line: lost streams, silent ones, ageing ones, and those of the next part."""

import itertools

import pytest

from gateway.core.conversation import State
from gateway.core.conversation.actions import CloseStream, OpenStream
from gateway.core.conversation.inputs import Admission, AdmissionSettled, StreamOpened
from gateway.core.exam import build_plan
from gateway.core.nova_events import ContentEnd, ContentKind, Fault, StopReason, UserSpeechEnd, UserSpeechStart
from tests.core.conversation.scene import START, Scene

CONTINUE, BEGIN, PREPARED = "continue where", "begin the part", "preparation time is over"


def openings(scene: Scene) -> int:
    return len(scene.of(OpenStream))


def told(scene: Scene, words: str, stream: int | None = None) -> int:
    return sum(words in direction for direction in scene.directions(stream))


def close_part_one(scene: Scene, *, ends: bool = True) -> None:
    scene.learner()
    scene.maya(scene.conversation._course.settings.plan.part(1).closing, ends=ends)


# --- Lost streams ---------------------------------------------------------------------------------------------------


def test_a_lost_stream_is_followed_at_once():
    """The learner notices nothing when it takes less than a second."""
    scene = Scene().talk()
    scene.lose()
    assert openings(scene) == 2
    scene.wait(500)
    scene.open()
    scene.wait(2_000, talking=True)
    assert not [status for status in scene.told("status") if status["state"] == "reconnecting"]
    assert scene.live_stream == 2


def test_attempts_are_spaced_and_counted():
    """At once, then after 1, 2 and 4 s (jitter in the middle of its range); then Maya is unavailable."""
    scene = Scene().talk()
    scene.learner()
    opened_at = []
    scene.lose()
    while scene.state is State.TALKING:
        if openings(scene) > len(opened_at) + 1:
            opened_at.append(scene.now_ms)
            scene.lose(scene.newest_stream, Fault.OVERLOADED)
        scene.wait(100, talking=True)
    assert [round(after - before, -2) for before, after in itertools.pairwise(opened_at)] == [
        1000,
        2000,
        4000,
    ]
    assert [record.fields["code"] for record in scene.recorded("conversation_failed")] == ["model_unavailable"]
    states = [status["state"] for status in scene.told("status")]
    assert states[-2:] == ["reconnecting", "assessing"]
    assert scene.asked_micro() == [1]


def test_a_fault_that_no_other_stream_mends_is_not_tried_again():
    """Credentials that are wrong from the start stay wrong."""
    scene = Scene()
    scene.begin()
    scene.lose(fault=Fault.ACCESS_REFUSED)
    assert openings(scene) == 1
    assert scene.state is not State.TALKING


def voices(scene: Scene) -> list[str]:
    """Of each stream that was opened."""
    opened = [b"".join(stream.events).decode() for stream in scene.of(OpenStream)]
    return [events.partition('"voiceId":"')[2].partition('"')[0] for events in opened]


@pytest.mark.parametrize("fault", [Fault.INPUT_REJECTED, Fault.MISCONFIGURED])
def test_a_voice_that_the_model_does_not_have_is_followed_by_the_usual_one(fault):
    """The app's choice may be of another model's voices: that is no reason to hold no test."""
    scene = Scene().begin(voice="greta")
    scene.lose(fault=fault)
    scene.open()
    scene.wait(300, talking=True)
    assert voices(scene) == ["greta", "amy"]
    assert scene.state is State.TALKING


def test_a_voice_that_has_spoken_is_kept():
    """What is refused later has another reason."""
    scene = Scene()
    scene.begin(voice="olivia")
    scene.wait(300, talking=True)
    scene.maya()
    scene.learner()
    scene.lose(fault=Fault.INPUT_REJECTED)
    assert voices(scene) == ["olivia", "olivia"]


def test_the_usual_voice_is_not_tried_twice_for_its_name():
    """Then it is something else that every stream is opened with."""
    scene = Scene().begin()
    scene.lose(fault=Fault.MISCONFIGURED)
    assert openings(scene) == 1


def test_what_was_accepted_before_is_tried_again():
    """Credentials are exchanged while a test is under way: a refusal passes."""
    scene = Scene().talk()
    scene.learner()
    scene.lose(fault=Fault.ACCESS_REFUSED)
    assert openings(scene) == 2
    scene.open()
    assert scene.live_stream == 2


def test_what_was_accepted_in_another_part_is_tried_again():
    """Streams of earlier parts have spoken: a refusal passes, before the next part's has spoken and while it is opened."""
    scene = Scene().talk()
    scene.part_two()
    scene.lose()
    scene.lose(scene.newest_stream, Fault.ACCESS_REFUSED)
    scene.wait(1_600)
    scene.open()
    assert scene.state is State.TALKING
    opening = Scene().talk()
    opening.maya()
    opening.maya(opening.conversation._course.settings.plan.part(1).closing, ends=False)
    opening.lose(opening.newest_stream, Fault.ACCESS_REFUSED)
    assert opening.state is State.TALKING


def test_the_learner_is_told_of_each_attempt():
    """After a second: which attempt it is, and when the next one follows."""
    scene = Scene().talk()
    scene.learner()
    scene.lose()
    scene.wait(500, talking=True)
    scene.lose(scene.newest_stream, Fault.OVERLOADED)
    scene.wait(600, talking=True)
    scene.wait(1_000, talking=True)
    scene.lose(scene.newest_stream, Fault.OVERLOADED)
    scene.wait(100, talking=True)
    told_of = [status for status in scene.told("status") if status["state"] == "reconnecting"]
    assert [(status["attempt"], status["retry_in_ms"]) for status in told_of] == [(2, 500), (3, 2_000)]
    scene.wait(2_500, talking=True)
    scene.open()
    scene.wait(100, talking=True)
    assert scene.told("status")[-1]["state"] == "thinking"


def test_a_direction_that_was_not_answered_is_given_again():
    """Maya was told to ask for the talk, and her stream was lost before she did."""
    scene = Scene().begin()
    scene.part_two()
    scene.maya("Describe a skill.", ms=100)
    scene.wait(2_000, talking=True)
    assert told(scene, PREPARED, 2) == 1
    scene.lose()
    scene.open()
    scene.wait(300, talking=True)
    assert scene.directions(3)[-1:] == scene.directions(2)[-1:]


def test_a_direction_that_the_learner_overtook_is_not_given_again():
    """They speak already: nobody has to ask them to."""
    scene = Scene().begin()
    scene.part_two()
    scene.maya("Describe a skill.", ms=100)
    scene.wait(2_000, talking=True)
    scene.hear(UserSpeechStart(2_500.0))
    scene.lose()
    scene.open()
    scene.wait(300, talking=True)
    assert scene.directions(3) == []


def test_maya_who_was_cut_off_in_her_closing_line_says_it_again():
    """Nothing else is left to be said in this part."""
    scene = Scene().talk()
    close_part_one(scene, ends=False)
    scene.lose()
    scene.open()
    scene.wait(300, talking=True)
    assert told(scene, "closing line", scene.live_stream) == 1


def test_what_a_policy_blocked_is_not_played_for_ever():
    """It is played to one more stream; the next is told to go on without it."""
    scene = Scene(nudge_s=1e6).talk()
    scene.wait(1_000, talking=True)
    scene.hear(UserSpeechStart(1_000.0))
    scene.wait(1_000, talking=True)
    scene.lose(fault=Fault.CONTENT_FILTERED)
    scene.open()
    assert scene.frames(2) >= 20
    scene.wait(100, talking=True)
    scene.lose(fault=Fault.CONTENT_FILTERED)
    scene.wait(1_500, talking=True)
    scene.open()
    assert scene.frames(3) <= 16
    assert not scene.conversation._dialogue.speech_pending


def test_a_stream_that_lived_long_is_no_failed_attempt():
    """A loss each minute is followed each time at once."""
    scene = Scene(nudge_s=1e6, plan=build_plan("full")).talk()
    for number in range(8):
        scene.wait(40_000, talking=True)
        scene.lose()
        scene.wait(10)
        assert openings(scene) == number + 2
        scene.open()


def test_maya_goes_on_where_she_was_cut_off():
    """Her successor is told to continue, once it has heard enough to speak."""
    scene = Scene().talk()
    scene.learner()
    scene.maya("And what", ends=False)
    scene.lose()
    scene.open()
    scene.wait(300, talking=True)
    assert told(scene, CONTINUE, 2) == 1


def test_maya_who_waits_for_an_answer_goes_on_waiting():
    """Her successor says nothing of its own accord."""
    scene = Scene().talk()
    scene.lose()
    scene.open()
    scene.wait(1_000, talking=True)
    assert scene.directions(2) == []


def test_history_that_is_refused_is_left_out():
    """A stream without it will do."""
    scene = Scene().talk()
    scene.learner("words of mine")
    scene.lose(fault=Fault.HISTORY_REJECTED)
    assert b"words of mine" not in b"".join(scene.of(OpenStream)[-1].events)


def test_a_direction_is_not_lost_with_a_stream():
    """The preparation time ends while there is no stream: Maya asks to begin when she is back."""
    scene = Scene().begin()
    scene.part_two()
    scene.maya("Describe a skill.", ms=100)
    scene.lose()
    scene.wait(3_000, talking=True)
    scene.open()
    scene.wait(1_000, talking=True)
    assert told(scene, PREPARED) == 1
    assert scene.ticks < 500


# --- Silent streams -------------------------------------------------------------------------------------------------


def test_a_stream_that_never_says_a_word_is_given_up():
    """Half open, it looks like one that is idle: each is followed by another, and at last Maya is unavailable."""
    scene = Scene().begin()
    while scene.state is State.TALKING:
        scene.wait(100, talking=True)
        if scene.conversation._line.successor is not None:
            scene.open()
        assert scene.now_ms < 120_000
    assert openings(scene) == 1 + scene.conversation._course.settings.retries
    assert told(scene, BEGIN, 2) == 1


def test_a_stream_that_leaves_the_learner_unanswered_is_given_up():
    """Its words are known: another stream answers them."""
    scene = Scene().talk()
    scene.wait(1_000, talking=True)
    scene.learner()
    scene.wait(7_900, talking=True)
    assert openings(scene) == 1
    scene.wait(200, talking=True)
    assert openings(scene) == 2
    scene.open()
    scene.wait(300, talking=True)
    assert told(scene, CONTINUE, 2) == 1


def test_a_stream_that_heard_something_but_no_words_is_asked_first():
    """It may have been a cough: a stream that lives goes on, another is given up."""
    scene = Scene().talk()
    scene.hear(UserSpeechStart(100.0), UserSpeechEnd(300.0, 700.0))
    scene.wait(8_100, talking=True)
    assert (told(scene, CONTINUE, 1), openings(scene)) == (1, 1)
    scene.wait(8_100, talking=True)
    assert openings(scene) == 2


def test_a_stream_that_stops_within_a_turn_is_given_up():
    """Maya's next piece is a fraction of a second away, never five."""
    scene = Scene().talk()
    scene.learner()
    scene.maya("And", ends=False)
    scene.wait(4_900, talking=True)
    assert openings(scene) == 1
    scene.wait(200, talking=True)
    assert openings(scene) == 2


def test_a_stream_that_does_not_hear_the_learner_is_replaced_unheard():
    """They have spoken and are quiet, and the service has told of nothing: a fresh stream hears it all again."""
    scene = Scene(nudge_s=1e6).talk()
    scene.wait(2_000, talking=True)
    scene.wait(1_500, talking=True, loud=True)
    scene.wait(5_300, talking=True)
    assert openings(scene) == 1
    scene.wait(400, talking=True)
    assert openings(scene) == 2
    assert scene.live_stream == 1
    scene.open()
    assert scene.live_stream == 2
    assert scene.frames(2) >= 90
    assert not scene.recorded("stream_lost")
    assert scene.told("status")[-1]["state"] == "listening"


def test_a_stream_that_speaks_after_all_is_kept():
    """It was only late: the fresh one is closed, and no other is opened for it."""
    scene = Scene(nudge_s=1e6).talk()
    scene.wait(1_000, talking=True)
    scene.wait(1_500, talking=True, loud=True)
    scene.wait(5_700, talking=True)
    assert openings(scene) == 2
    scene.learner()
    scene.maya("I see.")
    scene.open()
    assert scene.live_stream == 1
    assert CloseStream(2) in scene.actions
    scene.wait(20_000, talking=True)
    assert openings(scene) == 2


def test_a_noisy_room_makes_no_storm_of_streams():
    """Sounds that the service rightly ignores: fewer and fewer streams are opened for them."""
    scene = Scene(nudge_s=1e6, plan=build_plan("full")).talk()
    for _ in range(40):
        scene.wait(1_000, talking=True, loud=True)
        scene.wait(5_000, talking=True)
        if scene.conversation._line.successor is not None:
            scene.open()
    assert openings(scene) <= 6


@pytest.mark.parametrize("loud", [True, False], ids=["in a talk", "in silence"])
def test_no_alarm_in_two_minutes_in_which_the_service_says_nothing(loud):
    """A learner who talks on, or prepares and says nothing."""
    scene = Scene(nudge_s=1e6, plan=build_plan("full")).talk()
    if loud:
        scene.hear(UserSpeechStart(500.0))
    scene.wait(125_000, talking=True, loud=loud)
    assert openings(scene) == 1


def test_a_relay_that_stood_still_blames_no_stream():
    """It was frozen for a minute while an answer was due: what was said meanwhile is read first."""
    scene = Scene().talk()
    scene.learner()
    scene.wait(1_000, talking=True)
    scene.now_ms += 60_000.0
    scene.wait(100, talking=True)
    assert openings(scene) == 1
    scene.maya()
    scene.wait(5_000, talking=True)
    assert openings(scene) == 1


def test_a_stream_that_answers_is_kept():
    """The watch is over with her first sound."""
    scene = Scene(nudge_s=1e6).begin()
    scene.wait(10_000, talking=True)
    scene.maya()
    scene.wait(60_000, talking=True)
    assert openings(scene) == 1


def test_a_learner_who_speaks_is_not_interrupted_by_the_watch():
    """Maya was told to begin, and the learner goes on: nobody is silent."""
    scene = Scene(nudge_s=1e6).begin()
    scene.wait(300, talking=True)
    scene.hear(UserSpeechStart(100.0))
    scene.wait(40_000, talking=True, loud=True)
    assert openings(scene) == 1


def test_nobody_is_watched_while_the_phone_is_away():
    """Without sound a stream cannot be asked anything."""
    scene = Scene().begin()
    scene.leave()
    scene.wait(50_000)
    assert openings(scene) == 1


# --- Ageing streams -------------------------------------------------------------------------------------------------


def test_an_ageing_stream_is_renewed_in_a_pause():
    """Its successor has the history and says nothing; the old one is closed."""
    scene = Scene(renew_s=4.0, nudge_s=1e6).talk()
    scene.wait(5_000, talking=True)
    assert openings(scene) == 2
    scene.open()
    assert scene.live_stream == 2
    assert CloseStream(1) in scene.actions
    scene.wait(1_000, talking=True)
    assert scene.directions(2) == []


def test_a_successor_that_missed_something_is_not_taken():
    """Maya has begun to speak while it was opened; another one is opened in the next pause."""
    scene = Scene(renew_s=4.0, nudge_s=1e6).talk()
    scene.wait(5_000, talking=True)
    scene.maya("One more thing:", ends=False)
    scene.open()
    assert scene.live_stream == 1
    scene.hear(ContentEnd("a", ContentKind.AUDIO, StopReason.END_TURN))
    scene.wait(2_000, talking=True)
    assert openings(scene) == 3
    scene.open()
    assert scene.live_stream == 3


def test_a_successor_that_missed_a_whole_exchange_is_not_taken():
    """All is quiet again when it is open, and it knows nothing of what was said meanwhile."""
    scene = Scene(renew_s=4.0, nudge_s=1e6).talk()
    scene.wait(5_000, talking=True)
    scene.learner("something said meanwhile")
    scene.maya("I see.")
    scene.wait(1_000, talking=True)
    scene.open()
    assert scene.live_stream == 1
    scene.wait(2_000, talking=True)
    scene.open()
    assert scene.live_stream == 3
    assert b"something said meanwhile" in b"".join(scene.of(OpenStream)[-1].events)


@pytest.mark.parametrize("fault", [Fault.OVERLOADED, Fault.ACCESS_REFUSED])
def test_a_renewal_that_fails_is_tried_again_later(fault):
    """The stream that serves goes on serving; no other part is opened for it, and it is no failed attempt."""
    scene = Scene(renew_s=4.0, nudge_s=1e6).talk()
    scene.wait(5_000, talking=True)
    for number in range(3):
        scene.lose(scene.newest_stream, fault)
        scene.wait(9_000, talking=True)
        assert openings(scene) == 2 + number
        scene.wait(1_100, talking=True)
        assert openings(scene) == 3 + number
    assert scene.conversation._line.successor.plan.part == 1
    scene.open()
    assert scene.live_stream == 5
    assert scene.state is State.TALKING


def test_the_beginning_of_a_sentence_is_not_lost_in_a_renewal():
    """The service tells late that somebody speaks: the fresh stream hears the last seconds again."""
    scene = Scene(renew_s=4.0, nudge_s=1e6).talk()
    scene.wait(5_000, talking=True)
    scene.open()
    assert scene.live_stream == 2
    assert scene.frames(2) == 30


def test_a_renewal_waits_for_what_maya_owes():
    """She was asked to speak and has not begun: that is no pause."""
    scene = Scene(renew_s=4.0).begin()
    scene.wait(5_000, talking=True)
    assert told(scene, BEGIN, 1) == 1
    assert openings(scene) == 1


def test_a_stream_that_ends_soon_is_changed_even_while_the_learner_talks():
    """At the last moment before its end: the fresh one hears the whole talk again."""
    scene = Scene(renew_s=4.0, renew_by_s=20.0, nudge_s=1e6).talk()
    scene.hear(UserSpeechStart(500.0))
    scene.wait(19_000, talking=True, loud=True)
    assert openings(scene) == 1
    scene.wait(1_500, talking=True, loud=True)
    assert openings(scene) == 2
    frames = scene.frames(1)
    scene.open()
    assert scene.live_stream == 2
    assert scene.frames(2) == frames
    assert CloseStream(1) in scene.actions
    assert not [status for status in scene.told("status") if status["state"] == "reconnecting"]


def test_a_stream_is_renewed_before_its_credentials_end():
    """In a pause, a minute before; when the fresh ones end as soon, the next change is not at once."""
    scene = Scene(nudge_s=1e6)
    scene.say(START)
    scene.tell(AdmissionSettled(Admission.GRANTED))
    scene.tell(StreamOpened(1, 100_000.0))
    scene.acknowledge_all()
    scene.wait(300, talking=True)
    scene.maya()
    scene.wait(39_000, talking=True)
    assert openings(scene) == 1
    scene.wait(2_000, talking=True)
    assert openings(scene) == 2
    scene.tell(StreamOpened(2, 58_000.0))
    assert scene.live_stream == 2
    scene.wait(14_000, talking=True)
    assert openings(scene) == 2
    scene.wait(2_000, talking=True)
    assert openings(scene) == 3


# --- The next part --------------------------------------------------------------------------------------------------


def test_the_next_part_is_opened_while_the_closing_line_is_said():
    """It waits until that has been said."""
    scene = Scene().talk()
    close_part_one(scene, ends=False)
    scene.wait(100, talking=True)
    assert openings(scene) == 2
    scene.open()
    assert scene.live_stream == 1
    scene.hear(ContentEnd("a", ContentKind.AUDIO, StopReason.END_TURN))
    assert scene.live_stream == 2


def test_a_next_part_that_cannot_be_opened_is_not_tried_for_ever():
    """Spaced attempts, `reconnecting` for the learner, then the end with what was said; its stream still assesses."""
    scene = Scene().talk()
    close_part_one(scene)
    for _ in range(300):
        if scene.conversation._line.successor is not None:
            scene.lose(scene.newest_stream, Fault.OVERLOADED)
        scene.wait(100, talking=True)
    assert openings(scene) == 2 + scene.conversation._course.settings.retries
    assert "reconnecting" in [status["state"] for status in scene.told("status")]
    assert scene.state is State.ASSESSING
    scene.call_tool(1)
    assert scene.conversation._desk.notes.keys() == {1}


def test_the_next_parts_stream_does_not_take_over_from_a_lost_one():
    """The part under way has not been closed: it gets a stream of its own, and its notes."""
    scene = Scene().talk()
    scene.learner()
    scene.lose()
    scene.open()
    scene.wait(300, talking=True)
    scene.maya(scene.conversation._course.settings.plan.part(1).closing, ends=False)
    scene.wait(100, talking=True)
    following = scene.newest_stream
    scene.lose()
    scene.open()
    assert scene.conversation._line.current is None
    scene.wait(3_000, talking=True)
    assert scene.newest_stream > following
    scene.open()
    assert scene.conversation._line.current.plan.part == 1
    scene.stop()
    scene.call_tool(next(iter(scene.conversation._line.retired)))
    assert scene.conversation._desk.notes.keys() == {1}


def test_a_stream_lost_at_the_end_of_its_part_is_followed_by_that_of_the_next():
    """Nothing more is wanted from the part; its words are assessed."""
    scene = Scene().talk()
    close_part_one(scene)
    assert openings(scene) == 2
    scene.lose(1)
    assert openings(scene) == 2
    scene.open()
    assert scene.conversation._line.current.plan.part == 2
    assert scene.asked_micro() == [1]


def test_a_part_that_is_over_is_not_opened_again():
    """Its stream and that of the next part are lost: only the next part's is wanted."""
    scene = Scene().talk()
    close_part_one(scene)
    scene.lose(2, Fault.OVERLOADED)
    scene.lose(3, Fault.OVERLOADED)
    scene.lose(1)
    scene.wait(3_000, talking=True)
    scene.open()
    assert scene.conversation._line.current.plan.part == 2


def test_what_is_said_across_a_change_of_part_is_heard_whole():
    """The learner was still speaking when the time for last words was over."""
    scene = Scene().talk()
    close_part_one(scene, ends=False)
    scene.wait(100, talking=True)
    scene.hear(UserSpeechStart(2_000.0))
    scene.open()
    scene.hear(ContentEnd("a", ContentKind.AUDIO, StopReason.END_TURN))
    scene.wait(5_500, talking=True)
    assert scene.conversation._line.current.plan.part == 2
    assert scene.frames(2) >= scene.frames(1)


def test_a_cough_after_the_closing_line_does_not_hold_the_test_up():
    """A sign of speech without words is waited for a few seconds, no more."""
    scene = Scene().talk()
    close_part_one(scene, ends=False)
    scene.wait(100, talking=True)
    scene.hear(UserSpeechStart(1.0), UserSpeechEnd(2.0, 2.0))
    scene.open()
    scene.wait(4_500, talking=True)
    assert [part["part"] for part in scene.told("part")] == [1]
    scene.wait(1_000, talking=True)
    assert [part["part"] for part in scene.told("part")] == [1, 2]
