"""The phone over drops: it comes back, says what it lacks, sends what the gateway lacks, and gives up in the end."""

from client_sim.events import Close, Closed, Connect, Dropped, Opened, Over, Received, RefreshToken, Refused, Resumed
from client_sim.states import State
from gateway.core.messages import AckDown, AudioUp, Bye, Resume
from tests.client_sim.bench import SESSION, Bench


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
