"""What the pieces share: alarms that ring once, and a state that only goes where the table leads."""

import pytest

from gateway.core.conversation.actions import Finish, Record
from gateway.core.conversation.course import Alarm, Alarms, Course
from gateway.core.conversation.settings import ConversationSettings
from gateway.core.conversation.states import Event, State


@pytest.fixture
def alarms() -> Alarms:
    return Alarms()


def test_an_alarm_rings_once_when_it_is_due(alarms):
    """Not before, and not twice."""
    alarms.set(Alarm.STOP, 100.0)
    assert alarms.is_set(Alarm.STOP)
    assert alarms.next_ms() == 100.0
    assert alarms.take_due(99.9) is None
    assert alarms.take_due(100.0) is Alarm.STOP
    assert alarms.take_due(100.0) is None
    assert alarms.next_ms() is None


def test_an_alarm_set_again_rings_at_the_later_word(alarms):
    """There is one of each kind."""
    alarms.set(Alarm.AWAY, 100.0)
    alarms.set(Alarm.AWAY, 300.0)
    assert alarms.take_due(200.0) is None
    assert alarms.take_due(300.0) is Alarm.AWAY


def test_an_alarm_can_be_brought_forward_and_never_back(alarms):
    """One that is not set stays so."""
    alarms.bring_forward(Alarm.FINISH, 50.0)
    assert not alarms.is_set(Alarm.FINISH)
    alarms.set(Alarm.FINISH, 100.0)
    alarms.bring_forward(Alarm.FINISH, 500.0)
    assert alarms.next_ms() == 100.0
    alarms.bring_forward(Alarm.FINISH, 50.0)
    assert alarms.next_ms() == 50.0


def test_alarms_are_called_off(alarms):
    """One, all but one, or all."""
    for alarm in (Alarm.GO_AWAY, Alarm.TIME_LIMIT, Alarm.STOP):
        alarms.set(alarm, 10.0)
    alarms.cancel(Alarm.STOP)
    alarms.cancel(Alarm.STOP)
    assert not alarms.is_set(Alarm.STOP)
    alarms.only(Alarm.DELIVER, 20.0)
    assert alarms.take_due(10.0) is None
    assert alarms.take_due(20.0) is Alarm.DELIVER
    alarms.set(Alarm.PART, 1.0)
    alarms.clear()
    assert alarms.take_due(9.0) is None


def test_the_state_goes_where_the_table_leads_or_nowhere():
    """A way that is not in the table is a fault, and changes nothing."""
    course = Course(ConversationSettings(), 7, "code")
    course.go(Event.STARTED)
    assert course.state is State.ADMITTING
    with pytest.raises(LookupError):
        course.go(Event.DELIVERED)
    assert course.state is State.ADMITTING


def test_actions_are_kept_in_their_order():
    """Records are actions, too."""
    course = Course(ConversationSettings(), 7, "code")
    course.record("part_began", part=1)
    course.act(Finish())
    assert course.actions == [Record("part_began", {"part": 1}), Finish()]
