"""The phone in one conversation, rule by rule of maya.v1: how it begins, what it writes, what it shows and plays, how it ends."""

import pytest

from client_sim.events import (
    Begin,
    Captured,
    Close,
    Closed,
    Connect,
    Dropped,
    Measured,
    Opened,
    Over,
    Received,
    Refused,
    Suspended,
)
from client_sim.states import State
from gateway.core.messages import (
    AckDown,
    AckUp,
    AudioDown,
    AudioUp,
    Ping,
    PingDown,
    Pong,
    PongDown,
    Start,
    Status,
    Transcript,
)
from tests.client_sim.bench import SESSION, Bench, shown, speech, without_type

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
