"""The phone and its relays: the newest is heard, and what a lost one said and asked is void."""

from client_sim.events import Chosen, Show
from client_sim.states import State
from gateway.core.errors import TooFast
from gateway.core.messages import (
    AckDown,
    AckUp,
    AudioDown,
    AudioUp,
    Bye,
    Error,
    Interrupted,
    LagChoice,
    LagCleared,
    PingDown,
    Status,
    Transcript,
)
from tests.client_sim.bench import Bench, shown, speech


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
    bench.ask()
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
