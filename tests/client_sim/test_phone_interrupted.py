"""Barge-in at the phone: sound stops at once, and how much was heard is told once."""

from client_sim.events import Closed, Opened
from gateway.core.messages import AckUp, AudioDown, Interrupted
from tests.client_sim.bench import Bench, shown, speech


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
