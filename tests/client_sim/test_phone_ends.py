"""The end of a conversation at the phone: stop, bye, errors that end it and errors that do not."""

import pytest

from client_sim.events import Begin, Captured, Close, Closed, Opened, Over, Refused, Show, StopAsked, Tick
from client_sim.states import State
from gateway.core.errors import Busy, ModelUnavailable, NotStarted, SessionGone, TooFast
from gateway.core.messages import AckDown, AssessmentMessage, AudioUp, Bye, Error, Resume, Start, Status, Stop
from tests.client_sim.bench import FRAME, SESSION, Bench

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
