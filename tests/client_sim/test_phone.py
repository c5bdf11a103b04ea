"""The phone, rule by rule of maya.v1."""

import pytest

from client_sim.events import (
    Begin,
    Captured,
    Chosen,
    Close,
    Closed,
    Connect,
    Dropped,
    Measured,
    Opened,
    Over,
    Received,
    RefreshToken,
    Refused,
    Resumed,
    Show,
    StopAsked,
    Suspended,
    Tick,
)
from client_sim.states import State
from gateway.core.errors import Busy, ModelUnavailable, NotStarted, SessionGone, TooFast
from gateway.core.messages import (
    AckDown,
    AckUp,
    AssessmentMessage,
    AudioDown,
    AudioUp,
    Bye,
    Error,
    Interrupted,
    LagChoice,
    LagCleared,
    LagPrompt,
    Ping,
    PingDown,
    Pong,
    PongDown,
    Resume,
    Start,
    Status,
    Stop,
    Transcript,
)
from tests.client_sim.bench import FRAME, SESSION, Bench, shown, speech, without_type

# Beginning


def test_it_connects_then_starts():
    """Nothing is written before the connection is open; then `start` says all the app knows."""
    bench = Bench(module="general_speaking", region="ap-southeast-1", voice="ruth")
    assert bench.tell(Begin()) == [Connect(1)]
    assert bench.sent() == []
    bench.tell(Opened(1))
    assert bench.sent() == [
        Start(
            session_id=SESSION,
            module="general_speaking",
            voice="ruth",
            region="ap-southeast-1",
            client="client_sim",
        )
    ]
    assert not bench.phone.microphone_on


def test_start_is_repeated_each_second_until_ready():
    """Also over a slow relay's start; `ready` ends it."""
    bench = Bench().open()
    assert len(bench.sent_of(Start)) == 1
    bench.wait(999)
    assert bench.sent() == []
    assert bench.phone.next_message_ms() == bench.now_ms + 1
    bench.wait(1)
    assert len(bench.sent_of(Start)) == 1
    bench.wait(1000)
    assert len(bench.sent_of(Start)) == 1
    bench.ready()
    bench.wait(3000)
    assert bench.sent_of(Start) == []


def test_start_goes_on_after_a_drop_before_ready():
    """Without `ready` there is nothing to resume."""
    bench = Bench().open()
    bench.sent()
    assert bench.tell(Closed(1, 1006)) == [Dropped(1006), Connect(2)]
    bench.tell(Opened(2))
    assert len(bench.sent_of(Start)) == 1
    assert [message.type for message in shown(bench.ready())] == ["ready"]
    assert bench.phone.state is State.LIVE


def test_start_is_given_up_in_the_end():
    """A gateway that never answers ends in a sentence."""
    bench = Bench(start_within_ms=20_000).open()
    actions = bench.wait(20_000)
    assert actions[-2:] == [Over(None, "the gateway did not answer in time"), Close(1)]
    assert bench.sent() == []


def test_an_error_about_start_ends_its_repetition():
    """A refused `start` is not worth repeating."""
    bench = Bench().open()
    bench.sent()
    actions = bench.receive(
        '{"type":"error","epoch":0,"code":"bad_message","message":"voice: wrong","retryable":false,"fatal":false,'
        '"ref":"start"}'
    )
    assert actions[-2:] == [Over(None, "bad_message: voice: wrong"), Close(1)]


def test_the_first_connection_refused_is_the_end():
    """A learner without token or module reads why."""
    bench = Bench()
    bench.tell(Begin())
    assert bench.tell(Refused(1, 401, "refused with 401")) == [Over(None, "refused with 401", 401)]
    assert bench.phone.next_timer_ms() is None


# Speech up


def test_frames_are_numbered_and_timed_by_their_samples():
    """`seq` counts frames; `t` counts samples, and the gap of a suspension."""
    bench = Bench().live()
    bench.capture(2)
    bench.tell(Captured(bytes(640)))
    bench.tell(Suspended(5_000))
    bench.capture(2)
    audio = bench.sent_of(AudioUp)
    assert [(frame.seq, frame.t) for frame in audio] == [(0, 0), (1, 100), (2, 200), (3, 5220), (4, 5320)]


@pytest.mark.parametrize("size", [638, 8002, 641])
def test_a_frame_that_no_gateway_takes_is_the_shells_mistake(size):
    """20 to 250 ms of whole samples; nothing else is ever numbered."""
    bench = Bench().live()
    with pytest.raises(ValueError, match="20 to 250 ms"):
        bench.tell(Captured(bytes(size)))
    assert bench.phone.uplink.last_seq == -1


def test_nothing_is_captured_before_ready():
    """The microphone is off until Maya's line is open."""
    bench = Bench().open()
    bench.capture(3)
    bench.ready()
    assert bench.sent_of(AudioUp) == []
    assert bench.phone.microphone_on


def test_acknowledged_frames_are_let_go():
    """Cumulative, and lower values change nothing."""
    bench = Bench().live()
    bench.capture(5)
    bench.sent()
    bench.say(AckDown, seq=3)
    bench.say(AckDown, seq=1)
    assert bench.phone.uplink.held == 1
    bench.wait(3_000)
    assert [frame.seq for frame in bench.sent_of(AudioUp)] == [4]


def test_what_is_not_acknowledged_for_two_seconds_is_sent_again():
    """From the oldest on, each only after two seconds more."""
    bench = Bench().live()
    bench.capture(3)
    bench.sent()
    bench.wait(1_999)
    assert bench.sent_of(AudioUp) == []
    bench.wait(1)
    assert [frame.seq for frame in bench.sent_of(AudioUp)] == [0, 1, 2]
    bench.wait(1_000)
    assert bench.sent_of(AudioUp) == []
    assert bench.phone.uplink.resent == 3


def test_new_frames_do_not_wait_for_old_ones():
    """A lost frame does not hold up what is said meanwhile."""
    bench = Bench().live()
    for _ in range(40):
        bench.capture()
        assert bench.sent_of(AudioUp)


def test_a_slow_line_is_given_more_patience():
    """Where an answer takes four seconds, two are not enough to call a frame lost."""
    bench = Bench(ping_every_ms=100_000).open()
    bench.ready()
    [ping] = bench.sent_of(Ping)
    bench.wait(4_000)
    assert bench.say(PongDown, id=ping.id, at=ping.at) == [Measured(4_000)]
    bench.capture()
    bench.sent()
    bench.wait(4_900)
    assert bench.sent_of(AudioUp) == []
    bench.wait(100)
    assert len(bench.sent_of(AudioUp)) == 1


# Acknowledgements, pings


def test_acknowledgements_come_every_half_second_and_say_what_waits_in_the_speaker():
    """From `ready` on, with the last contiguous n and the sound not played yet."""
    bench = Bench().open()
    bench.ready()
    assert bench.sent_of(AckUp) == [AckUp(n=0, queue_ms=0)]
    bench.say(AudioDown, turn=1, rate=24000, pcm=speech(250))
    bench.say(AudioDown, turn=1, rate=24000, pcm=speech(250))
    bench.say(AudioDown, turn=1, rate=24000, pcm=speech(250), n=7)
    bench.wait(499)
    assert bench.sent_of(AckUp) == []
    bench.wait(1)
    assert bench.sent_of(AckUp) == [AckUp(n=2, queue_ms=0)]
    bench.say(AudioDown, turn=2, rate=24000, pcm=speech(200))
    bench.wait(150)
    bench.now_ms += 350
    bench.say(AudioDown, turn=2, rate=24000, pcm=speech(200))
    bench.now_ms += 50
    assert bench.sent_of(AckUp) == [AckUp(n=4, queue_ms=150)]


def test_a_slow_shell_gets_one_acknowledgement_not_many():
    """What is made when it is taken cannot pile up."""
    bench = Bench().live()
    bench.wait(10_000)
    assert len(bench.sent_of(AckUp)) == 1


def test_pings_are_answered_at_once():
    """With id and clock as they came, before anything else; a flood keeps the newest."""
    bench = Bench().live()
    bench.say(PingDown, id=4, at=123.5)
    assert bench.phone.next_message_ms() == 0
    assert bench.sent()[0] == Pong(id=4, at=123.5)
    for number in range(1_000):
        bench.say(PingDown, id=number, at=0)
    assert [pong.id for pong in bench.sent_of(Pong)] == list(range(992, 1_000))


def test_pings_before_ready_are_answered_too():
    """A relay may measure the line as soon as it knows it."""
    bench = Bench().open()
    bench.say(PingDown, id=4, at=1)
    assert isinstance(bench.sent()[0], Pong)


def test_round_trips_are_measured():
    """Each ping once; answers to pings that were given up are no samples."""
    bench = Bench(ping_every_ms=1_000).open()
    bench.ready()
    [first] = bench.sent_of(Ping)
    bench.wait(1_000)
    [second] = bench.sent_of(Ping)
    bench.wait(80)
    assert bench.say(PongDown, id=second.id, at=second.at) == [Measured(80)]
    assert bench.say(PongDown, id=second.id, at=second.at) == []
    assert bench.say(PongDown, id=first.id, at=first.at) == []
    assert bench.say(PongDown, id=999, at=0) == []
    assert bench.phone.round_trip_ms == 80


# From the gateway


def test_messages_are_shown_in_order_and_once():
    """Early ones wait, late duplicates are dropped."""
    bench = Bench().live()
    texts = [bench.make(Transcript, turn=1, who="maya", text=str(number), final=True) for number in range(3)]
    assert bench.receive(texts[2]) == []
    assert bench.receive(texts[2]) == []
    assert [message.text for message in shown(bench.receive(texts[0]))] == ["0"]
    assert [message.text for message in shown(bench.receive(texts[1]))] == ["1", "2"]
    assert bench.receive(texts[0]) == []
    assert bench.phone.figures.duplicates == 2


def test_speech_is_played_in_order_and_once():
    """Byte for byte, by turn."""
    bench = Bench().live()
    texts = [bench.make(AudioDown, turn=1, rate=24000, pcm=speech(100, value=value)) for value in (1, 2, 3)]
    for index in (1, 0, 2, 1, 0):
        bench.receive(texts[index])
    bench.wait(1_000)
    bench.phone.speaker.advance(bench.now_ms)
    played = bench.phone.speaker.recording
    assert played is not None
    expected = b"".join(bytes((value, 0)) * 2400 for value in (1, 2, 3))
    assert bytes(played[bench.epoch, 1]) == expected


def test_the_status_is_known():
    """The learner sees what Maya's side is doing."""
    bench = Bench().live()
    bench.say(Status, state="listening")
    status = bench.phone.status
    assert status is not None
    assert status.state == "listening"


@pytest.mark.parametrize(
    "text",
    [
        without_type(message="Internal server error", connectionId="abc=", requestId="x"),
        '{"type":"applause","epoch":99}',
    ],
)
def test_what_has_no_known_type_is_ignored(text):
    """API Gateway's own frames, and types of later versions."""
    bench = Bench().live()
    assert bench.receive(text) == []
    assert bench.phone.figures.ignored == 1
    assert bench.phone.state is State.LIVE


@pytest.mark.parametrize(
    "text", ["", "[]", b"\xff\x00", '{"type":"bye","epoch":50}', '{"type":"ack","epoch":-1,"seq":1}']
)
def test_what_breaks_the_contract_is_counted_and_dropped(text):
    """A broken message breaks nothing."""
    bench = Bench().live()
    assert bench.tell(Received(1, text)) == []
    assert bench.phone.figures.bad == 1
    assert bench.phone.state is State.LIVE


def test_speech_that_is_not_base64_is_dropped():
    """It keeps its place in the order."""
    bench = Bench().live()
    bench.receive(bench.make(AudioDown, turn=1, rate=24000, pcm="!!!"))
    bench.say(Transcript, turn=1, who="maya", text="a", final=True)
    assert bench.phone.figures.bad == 1
    bench.wait(500)
    assert bench.sent_of(AckUp) == [AckUp(n=2, queue_ms=0)]


# Barge-in


def test_interrupted_stops_the_turn_at_once_and_is_reported_once():
    """The unplayed sound is dropped; the next acknowledgement, sent at once, says how much was heard."""
    bench = Bench().live()
    for _ in range(4):
        bench.say(AudioDown, turn=3, rate=24000, pcm=speech(250))
    bench.wait(300)
    bench.sent()
    bench.say(Interrupted, turn=3)
    assert bench.phone.speaker.playing(bench.now_ms) is None
    assert bench.phone.next_message_ms() == 0
    assert bench.sent_of(AckUp) == [AckUp(n=5, queue_ms=0, turn=3, heard_ms=300)]
    bench.wait(500)
    assert bench.sent_of(AckUp) == [AckUp(n=5, queue_ms=0)]


def test_interrupted_does_not_wait_for_what_is_missing_before_it():
    """Sound stops although an earlier message is lost; what comes late of the turn is not played."""
    bench = Bench().live()
    bench.say(AudioDown, turn=3, rate=24000, pcm=speech(250))
    lost = bench.make(AudioDown, turn=3, rate=24000, pcm=speech(250))
    interrupted = bench.make(Interrupted, turn=3)
    bench.wait(100)
    bench.sent()
    bench.receive(interrupted)
    assert bench.phone.speaker.queue_ms(bench.now_ms) == 0
    assert bench.sent_of(AckUp) == [AckUp(n=1, queue_ms=0, turn=3, heard_ms=100)]
    assert [message.type for message in shown(bench.receive(lost))] == ["interrupted"]
    assert bench.phone.speaker.queue_ms(bench.now_ms) == 0
    bench.receive(interrupted)
    bench.wait(500)
    assert bench.sent_of(AckUp) == [AckUp(n=3, queue_ms=0)]


def test_several_cuts_are_each_reported():
    """One acknowledgement each, one after the other."""
    bench = Bench().live()
    for turn in (1, 2, 3):
        bench.say(Interrupted, turn=turn)
    assert [ack.turn for ack in bench.sent_of(AckUp)] == [1, 2, 3]


def test_a_cut_is_reported_over_a_drop():
    """What was not yet said on the lost connection is said on the next."""
    bench = Bench().live()
    bench.say(Interrupted, turn=4)
    bench.tell(Closed(1))
    bench.tell(Opened(2))
    bench.ready()
    assert bench.sent_of(AckUp)[0].turn == 4


# Relays


def test_lower_epochs_are_ignored():
    """Two relays are never both heard."""
    bench = Bench().live()
    assert bench.say(Transcript, turn=1, who="maya", text="old", final=True, n=1, epoch=49) == []
    assert bench.say(Bye, reason="failed", epoch=49) == []
    assert bench.phone.figures.stale == 2
    assert bench.phone.state is State.LIVE


def test_a_new_relay_counts_from_zero_and_gets_what_it_lacks():
    """Its unasked `ready` makes the phone send again, from the oldest frame it still holds."""
    bench = Bench().live()
    bench.capture(6)
    bench.sent()
    bench.say(AckDown, seq=1)
    bench.epoch, bench.n = 60, 0
    bench.ready(next_seq=0)
    assert [frame.seq for frame in bench.sent_of(AudioUp)] == [2, 3, 4, 5]
    bench.wait(500)
    assert bench.sent_of(AckUp) == [AckUp(n=0, queue_ms=0)]
    assert bench.say(Transcript, turn=1, who="maya", text="late", final=True, n=5, epoch=50) == []
    assert bench.phone.figures.epochs == 2


def test_what_a_lost_relay_said_is_not_played_on():
    """From the first message of the new one, whichever that is; what it says itself is."""
    bench = Bench().live()
    bench.say(AudioDown, turn=0, rate=24000, pcm=speech(250))
    bench.say(AudioDown, turn=1, rate=24000, pcm=speech(250))
    bench.wait(100)
    bench.epoch, bench.n = 60, 0
    bench.say(PingDown, id=60, at=1)
    assert bench.phone.speaker.queue_ms(bench.now_ms) == 0
    bench.ready()
    bench.say(AudioDown, turn=0, rate=24000, pcm=speech(100))
    bench.wait(500)
    bench.phone.speaker.advance(bench.now_ms)
    heard = bench.phone.speaker.recording
    assert {turn: len(pcm) for turn, pcm in heard.items()} == {(50, 0): 4_800, (60, 0): 4_800}


def test_what_a_lost_relay_asked_is_not_answered():
    """Neither its question nor how much was heard of a turn of its: the new one has other turns of these numbers."""
    bench = Bench().live()
    prompt(bench)
    bench.tell(Chosen("continue"))
    bench.sent()
    bench.say(AudioDown, turn=0, rate=24000, pcm=speech(250))
    bench.say(Interrupted, turn=0)
    bench.epoch, bench.n = 60, 0
    actions = bench.ready()
    assert [(told.prompt_id, told.why) for told in shown(actions) if isinstance(told, LagCleared)] == [
        ("lag-1", "lag_gone")
    ]
    bench.wait(1_500)
    messages = bench.sent()
    assert not [message for message in messages if isinstance(message, LagChoice)]
    assert [message.turn for message in messages if isinstance(message, AckUp)] == [None]


def test_a_new_relays_later_message_may_come_first():
    """The higher epoch counts from its first message on; order begins at its own 0."""
    bench = Bench().live()
    bench.capture(2)
    bench.sent()
    bench.epoch, bench.n = 60, 0
    ready = bench.n
    bench.n = 1
    assert bench.say(Status, state="listening") == []
    bench.n = ready
    actions = bench.ready(next_seq=1)
    assert [message.type for message in shown(actions)] == ["ready", "status"]
    assert [frame.seq for frame in bench.sent_of(AudioUp)] == [1]


def test_the_front_door_has_no_epoch():
    """An error or bye of epoch 0 is heard, and no relay is forgotten for it."""
    bench = Bench().live()
    error = Error.of(TooFast("slower"), epoch=0)
    assert bench.say(Error, **error.model_dump(exclude={"type"})) == [Show(error)]
    bench.say(Status, state="listening")
    assert bench.phone.status is not None


def test_a_second_ready_of_the_same_relay_sends_nothing_again():
    """A repeated `resume` may be answered twice."""
    bench = Bench().live()
    bench.capture(3)
    bench.sent()
    bench.ready(next_seq=1)
    assert bench.sent_of(AudioUp) == []
    assert bench.phone.uplink.held == 2


def test_an_app_that_was_killed_counts_on():
    """`start` for an open session: frames go on from `next_seq`, messages from the `n` of `ready`."""
    bench = Bench().open()
    bench.n = 40
    actions = bench.ready(next_seq=17)
    assert [message.type for message in shown(actions)] == ["ready"]
    bench.say(Status, state="listening")
    bench.capture(2)
    assert [(frame.seq, frame.t) for frame in bench.sent_of(AudioUp)] == [(17, 1700), (18, 1800)]
    bench.wait(500)
    assert bench.sent_of(AckUp) == [AckUp(n=41, queue_ms=0)]


# Drops


def test_a_drop_loses_and_repeats_nothing():
    """Captured meanwhile, resumed on a new connection, sent again from `next_seq`, in order, then live."""
    bench = Bench().live()
    bench.capture(5)
    bench.sent()
    bench.say(AckDown, seq=1)
    assert bench.tell(Closed(1, 1006)) == [Dropped(1006), Connect(2)]
    bench.capture(10)
    assert bench.sent() == []
    assert bench.phone.next_message_ms() is None
    bench.tell(Opened(2))
    assert bench.sent() == [Resume(session_id=SESSION, n=0, seq=2)]
    bench.capture(3)
    assert bench.ready(next_seq=4)[0] == Resumed(1_300, 14)
    bench.capture(1)
    assert [frame.seq for frame in bench.sent_of(AudioUp)] == list(range(4, 19))
    assert bench.phone.figures.reconnects == 1


def test_resume_is_repeated_each_second_until_ready():
    """Nothing else is said meanwhile."""
    bench = Bench().live()
    bench.tell(Closed(1))
    bench.tell(Opened(2))
    seen = []
    for _ in range(4):
        seen += bench.sent()
        bench.wait(1_000)
    assert seen == [Resume(session_id=SESSION, n=0, seq=0)] * 4
    bench.ready()
    bench.wait(2_000)
    assert bench.sent_of(Resume) == []


def test_tries_to_come_back_get_rarer():
    """The first at once, then with doubled waits up to the longest."""
    bench = Bench(retry_first_ms=500, retry_longest_ms=3_000, jitter=1.0).live()
    bench.tell(Closed(1))
    waits = []
    for _ in range(6):
        tried_ms = bench.now_ms
        bench.tell(Refused(bench.connection, None, "unreachable"))
        while not any(isinstance(action, Connect) for action in bench.wait(50)):
            pass
        waits.append(bench.now_ms - tried_ms)
    assert waits == [500, 1_000, 2_000, 3_000, 3_000, 3_000]


def test_many_phones_do_not_come_back_together():
    """The jitter of a phone shortens its waits by up to a half."""
    bench = Bench(retry_first_ms=500, jitter=0.0).live()
    bench.tell(Closed(1))
    bench.tell(Refused(2, None, "unreachable"))
    assert bench.phone.next_timer_ms() == bench.now_ms + 250


def test_coming_back_is_given_up_when_the_line_is_no_longer_kept():
    """As long as `ready` said, and with the last refusal as the reason."""
    bench = Bench(jitter=1.0).open()
    bench.ready(resume_within_s=4)
    bench.tell(Closed(1))
    actions = []
    for _ in range(10):
        actions += bench.tell(Refused(bench.connection, None, "unreachable"))
        actions += bench.wait(500)
    assert actions[-1] == Over(None, "unreachable")
    assert bench.phone.state is State.OVER
    assert bench.phone.next_timer_ms() is None


def test_a_resume_that_nobody_answers_is_given_up():
    """A connection alone is not a conversation."""
    bench = Bench(answer_within_ms=15_000).open()
    bench.ready(resume_within_s=1)
    bench.tell(Closed(1))
    bench.tell(Opened(2))
    assert bench.wait(14_999) == []
    assert bench.wait(1)[-2:] == [Over(None, "the gateway did not answer in time"), Close(2)]


def test_a_refused_token_is_refreshed_when_coming_back():
    """Within the resume window, and tried again."""
    bench = Bench(jitter=1.0).live()
    bench.tell(Closed(1))
    assert bench.tell(Refused(2, 401, "refused with 401")) == [RefreshToken()]
    assert bench.wait(500) == [Connect(3)]
    bench.tell(Opened(3))
    bench.ready()
    assert bench.phone.state is State.LIVE


def test_a_learner_who_may_not_come_back_does_not_try_again():
    """403 is for good."""
    bench = Bench().live()
    bench.tell(Closed(1))
    assert bench.tell(Refused(2, 403, "refused with 403")) == [Over(None, "refused with 403", 403)]


def test_the_buffer_is_bounded():
    """75 s are held; beyond, the oldest is lost, counted, and `resume` says so."""
    bench = Bench(resume_within_ms=200_000).open()
    bench.ready(resume_within_s=200)
    bench.tell(Closed(1))
    bench.capture(800)
    bench.tell(Opened(2))
    assert bench.sent() == [Resume(session_id=SESSION, n=0, seq=50)]
    assert bench.phone.uplink.held_ms == 75_000
    assert bench.phone.uplink.lost == 50
    bench.ready(next_seq=0)
    assert [frame.seq for frame in bench.sent_of(AudioUp)] == list(range(50, 800))


def test_a_dead_line_is_noticed():
    """A live connection on which nothing comes for 12 s is closed, and the phone comes back on another."""
    bench = Bench().live()
    bench.wait(11_000)
    bench.say(AckDown, seq=-1)
    bench.wait(11_999)
    assert bench.phone.state is State.LIVE
    assert bench.wait(1) == [Close(1), Dropped(1006), Connect(2)]
    assert bench.tell(Closed(1)) == []
    bench.tell(Opened(2))
    assert len(bench.sent_of(Resume)) == 1


def test_an_older_connection_says_nothing_any_more():
    """Its messages and its end are ignored."""
    bench = Bench().live()
    bench.tell(Closed(1))
    bench.tell(Opened(2))
    bench.ready()
    assert bench.tell(Received(1, bench.make(Bye, reason="replaced"))) == []
    assert bench.tell(Closed(1)) == []
    assert bench.tell(Refused(1, 401, "late")) == []
    assert bench.tell(Opened(1)) == []
    assert bench.phone.state is State.LIVE


# Ending


def test_stop_is_repeated_until_assessing():
    """The microphone goes off; what was said before is still sent and acknowledged."""
    bench = Bench().live()
    bench.capture(3)
    bench.tell(StopAsked())
    assert not bench.phone.microphone_on
    bench.capture(1)
    sent = bench.sent()
    assert [message.seq for message in sent if isinstance(message, Stop)] == [2]
    assert [message.seq for message in sent if isinstance(message, AudioUp)] == [0, 1, 2]
    bench.tell(StopAsked())
    assert bench.sent_of(Stop) == []
    bench.wait(1_000)
    assert [stop.seq for stop in bench.sent_of(Stop)] == [2]
    bench.say(Status, state="assessing")
    bench.wait(2_000)
    assert bench.sent_of(Stop) == []


def test_stop_survives_a_drop():
    """It is said again on the next connection, after `ready`."""
    bench = Bench().live()
    bench.tell(StopAsked())
    bench.sent()
    bench.tell(Closed(1))
    bench.tell(Opened(2))
    assert bench.sent() == [Resume(session_id=SESSION, n=0, seq=0)]
    bench.ready()
    bench.wait(1_000)
    assert bench.sent_of(Stop) == [Stop(seq=-1)]


def test_stop_before_ready_just_leaves():
    """There is nothing to assess yet."""
    bench = Bench().open()
    assert bench.tell(StopAsked()) == [Over(None, "stopped before the test had begun"), Close(1)]


def test_stop_before_the_beginning_is_remembered():
    """Who stops before the app has begun does not begin."""
    bench = Bench()
    bench.tell(StopAsked())
    assert bench.tell(Begin())[-1] == Over(None, "stopped before the test had begun")


@pytest.mark.parametrize("reason", ["finished", "skipped", "time_limit", "replaced", "maintenance", "failed"])
def test_bye_closes(reason):
    """The app closes; nothing is written any more, and the end comes with the connection's."""
    bench = Bench().live()
    bench.say(AssessmentMessage, assessment={"overall": 6.5}, saved=True)
    actions = bench.say(Bye, reason=reason)
    assert actions == [Show(Bye(epoch=50, reason=reason)), Close(1)]
    assert bench.sent() == []
    assert not bench.phone.microphone_on
    assert bench.tell(Closed(1, 1000)) == [Over(reason)]


def test_bye_does_not_wait_for_ever():
    """A connection that does not close is left behind."""
    bench = Bench(bye_within_ms=3_000).live()
    bench.say(Bye, reason="finished")
    assert bench.wait(3_000) == [Over("finished")]


def test_a_fatal_error_is_followed_by_bye():
    """Both are told."""
    bench = Bench().open()
    error = Error.of(Busy(retry_after_s=4), epoch=0)
    bench.say(Error, **error.model_dump(exclude={"type"}))
    assert bench.sent_of(Start) == []
    bench.say(Bye, reason="failed", epoch=0)
    assert bench.tell(Closed(1)) == [Over("failed", "busy: all of Maya's lines are taken")]


def test_a_fatal_error_ends_without_its_bye_too():
    """`bye` may get lost, or the connection with it."""
    bench = Bench(bye_within_ms=3_000).open()
    busy = Error.of(Busy(retry_after_s=4), epoch=0).model_dump(exclude={"type"})
    bench.say(Error, **busy)
    assert bench.wait(3_000)[-2:] == [Over(None, "busy: all of Maya's lines are taken"), Close(1)]
    error = Error.of(SessionGone("too late"), epoch=50).model_dump(exclude={"type"})
    silent = Bench(silent_line_ms=12_000).live()
    silent.say(Error, **error)
    assert silent.wait(12_000)[-2:] == [Close(1), Over(None, "session_gone: too late")]
    closed = Bench().live()
    closed.say(Error, **error)
    assert closed.tell(Closed(1)) == [Over(None, "session_gone: too late")]


def test_a_fatal_error_in_a_conversation_waits_for_the_assessment():
    """What was said before Maya was lost is assessed before `bye`, which takes a while; not for ever."""
    error = Error.of(ModelUnavailable("gone"), epoch=50).model_dump(exclude={"type"})
    for waits_s in (20, 70):
        bench = Bench(bye_within_ms=3_000, assess_within_ms=60_000).live()
        bench.say(Error, **error)
        for _ in range(waits_s):
            bench.wait(1_000)
            bench.say(AckDown, seq=-1)
        assert (bench.phone.state is State.OVER) == (waits_s > 60)


def test_other_errors_end_nothing():
    """They are shown, and the conversation goes on."""
    bench = Bench().live()
    error = Error.of(TooFast("slower", ref=4), epoch=50)
    assert bench.say(Error, **error.model_dump(exclude={"type"})) == [Show(error)]
    assert bench.phone.state is State.LIVE
    assert bench.phone.figures.errors == 1


def test_a_gateway_that_forgot_the_conversation_is_reminded():
    """`not_started` in a live conversation: the phone resumes on the same connection, and gets a clear end."""
    bench = Bench().live()
    error = Error.of(NotStarted("audio came before start"), epoch=0).model_dump(exclude={"type"})
    bench.say(Error, **error)
    assert bench.sent() == [Resume(session_id=SESSION, n=0, seq=0)]
    bench.ready(next_seq=0, epoch=51, n=0)
    assert bench.phone.state is State.LIVE


# Lag


def prompt(bench, prompt_id="lag-1"):
    """Ask the learner."""
    bench.say(LagPrompt, prompt_id=prompt_id, lag_ms=2_000, cause="network", text="Continue?", expires_s=20)


def test_the_choice_is_repeated_until_the_prompt_is_cleared():
    """Each second; another prompt's end changes nothing."""
    bench = Bench().live()
    prompt(bench)
    bench.tell(Chosen("continue"))
    assert bench.sent_of(LagChoice) == [LagChoice(prompt_id="lag-1", choice="continue")]
    bench.say(LagCleared, prompt_id="lag-0", why="expired")
    bench.wait(1_000)
    assert len(bench.sent_of(LagChoice)) == 1
    bench.say(LagCleared, prompt_id="lag-1", why="answered")
    bench.wait(2_000)
    assert bench.sent_of(LagChoice) == []


def test_a_choice_belongs_to_its_prompt():
    """Without a prompt there is none, and a new prompt is a new question."""
    bench = Bench().live()
    bench.tell(Chosen("skip"))
    assert bench.sent_of(LagChoice) == []
    prompt(bench)
    bench.tell(Chosen("skip"))
    bench.sent()
    prompt(bench, "lag-2")
    bench.wait(2_000)
    assert bench.sent_of(LagChoice) == []
    bench.tell(Chosen("continue"))
    assert bench.sent_of(LagChoice) == [LagChoice(prompt_id="lag-2", choice="continue")]


# Whatever happens


def test_late_events_after_the_end_change_nothing():
    """Nothing is asked of the shell any more."""
    bench = Bench().live()
    bench.say(Bye, reason="finished")
    bench.tell(Closed(1))
    for event in (Begin(), Opened(1), Closed(1), Refused(1, None, "x"), StopAsked(), Captured(FRAME), Tick()):
        assert bench.tell(event) == []
    assert bench.sent() == []
    assert bench.phone.next_timer_ms() is None
    assert bench.phone.next_message_ms() is None
