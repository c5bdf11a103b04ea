"""The phone under anything that can happen to it, in any order."""

from hypothesis import given, settings
from hypothesis import strategies as st

from client_sim.events import (
    Begin,
    Captured,
    Chosen,
    Closed,
    Connect,
    Opened,
    Over,
    Received,
    Refused,
    StopAsked,
    Suspended,
    Tick,
)
from client_sim.phone import Phone
from client_sim.phone_settings import PhoneSettings
from client_sim.playback import Playback
from client_sim.states import CONNECTED, State
from gateway.core import examples
from gateway.core.messages import DOWN_MESSAGES
from gateway.core.wire import encode
from tests.client_sim.bench import SESSION

EXAMPLES = [examples.of(cls) for cls in DOWN_MESSAGES]

MESSAGES = st.builds(
    lambda message, epoch, n, change: encode(
        message.model_copy(update={"epoch": epoch, **({"n": n} if hasattr(message, "n") else {}), **change})
    ),
    st.sampled_from(EXAMPLES),
    st.sampled_from((0, 7, 8)),
    st.integers(0, 12),
    st.just({}),
)
READY = st.builds(
    lambda epoch, n, next_seq: encode(
        examples.of(DOWN_MESSAGES[0]).model_copy(update={"epoch": epoch, "n": n, "next_seq": next_seq})
    ),
    st.sampled_from((7, 8)),
    st.integers(0, 3),
    st.integers(0, 40),
)
WHICH = st.integers(-1, 0)  # the connection before, or the newest
EVENTS = st.one_of(
    st.just(("begin",)),
    st.tuples(st.just("opened"), WHICH),
    st.tuples(st.just("refused"), WHICH, st.sampled_from((None, 401, 403, 500))),
    st.tuples(st.just("closed"), WHICH),
    st.tuples(st.just("received"), WHICH, MESSAGES | READY | st.text(max_size=20)),
    st.tuples(st.just("captured"), st.integers(1, 5)),
    st.tuples(st.just("suspended"), st.floats(-10, 10_000)),
    st.tuples(st.just("chosen"), st.sampled_from(("continue", "skip"))),
    st.tuples(st.just("wait"), st.floats(0, 20_000)),
    st.tuples(st.just("write"), st.integers(1, 30)),
    st.just(("stop",)),
)


class Chance:
    """Plays events to a phone and looks after what must always hold."""

    def __init__(self):
        self.phone = Phone(PhoneSettings(session_id=SESSION), Playback())
        self.now_ms = 0.0
        self.connection = 0
        self.overs = 0

    def play(self, event):
        """One event, whatever the state."""
        kind, *rest = event
        match kind:
            case "begin":
                self.tell(Begin())
            case "opened":
                self.tell(Opened(self.connection + rest[0]))
            case "refused":
                self.tell(Refused(self.connection + rest[0], rest[1], "refused"))
            case "closed":
                self.tell(Closed(self.connection + rest[0]))
            case "received":
                self.tell(Received(self.connection + rest[0], rest[1]))
            case "captured":
                for _ in range(rest[0]):
                    self.now_ms += 100
                    self.tell(Captured(bytes(3200)))
            case "suspended":
                self.tell(Suspended(rest[0]))
            case "chosen":
                self.tell(Chosen(rest[0]))
            case "wait":
                self.wait(rest[0])
            case "write":
                self.write(rest[0])
            case "stop":
                self.tell(StopAsked())

    def tell(self, event):
        """Tell the phone, and check."""
        over_before = self.phone.state is State.OVER
        self.phone.handle(event, self.now_ms)
        actions = self.phone.take_actions()
        assert not (over_before and actions), "it does something after the end"
        for action in actions:
            self.overs += isinstance(action, Over)
            if isinstance(action, Connect):
                assert action.connection == self.connection + 1
                self.connection = action.connection
        assert self.overs == (self.phone.state is State.OVER)
        if self.phone.state not in CONNECTED:
            assert self.phone.take_message(self.now_ms) is None
            assert self.phone.next_message_ms() is None

    def wait(self, ms):
        """Pass time; a timer that has rung must not ask for the past again."""
        end_ms = self.now_ms + ms
        rings = 0
        while (timer_ms := self.phone.next_timer_ms()) is not None and timer_ms <= end_ms:
            self.now_ms = max(self.now_ms, timer_ms)
            self.tell(Tick())
            rings += 1
            assert rings < 100, "the timer never rests"
        self.now_ms = end_ms

    def write(self, count):
        """Write some messages; when there is none, the next is due later."""
        for _ in range(count):
            if self.phone.take_message(self.now_ms) is None:
                due_ms = self.phone.next_message_ms()
                assert due_ms is None or due_ms > self.now_ms, "a message is due and there is none"
                return


@given(st.lists(EVENTS, max_size=60), st.booleans())
@settings(max_examples=400, deadline=None)
def test_anything_in_any_order(events, well_begun):
    """Nothing raises, nothing happens after the end, there is one end, no timer spins, and buffers stay bounded."""
    chance = Chance()
    if well_begun:
        chance.tell(Begin())
        chance.tell(Opened(1))
        chance.tell(Received(1, encode(examples.of(DOWN_MESSAGES[0]).model_copy(update={"epoch": 7, "n": 0}))))
    for event in events:
        chance.play(event)
    assert chance.phone.uplink.held_ms <= 75_000
    chance.wait(1_000_000)
    if chance.phone.state is not State.NEW:
        # Whatever state it is left in, a phone that hears nothing any more comes to an end by itself.
        for _ in range(100):
            chance.tell(Refused(chance.connection, None, "unreachable"))
            chance.wait(100_000)
        assert chance.phone.state is State.OVER
