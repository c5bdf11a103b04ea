"""A phone on the bench: time is turned by hand, and the gateway's messages are made by the test."""

import base64
import json
from typing import Any

from client_sim.events import Action, Begin, Captured, Connect, Event, Opened, Received, Show, Tick
from client_sim.phone import Phone
from client_sim.phone_settings import PhoneSettings
from client_sim.playback import Playback
from gateway.core.messages import Down, LagPrompt, Limits, NumberedDown, Ready, UpMessage
from gateway.core.wire import encode, parse_up

SESSION = "0b9f3a52-6f0e-4c1d-9a57-2f6f0c9d1e11"
FRAME = bytes(3200)
"""100 ms at 16 kHz."""


class Bench:
    """A phone, the time, and what the gateway would count.

    Attributes:
        now_ms: the time.
        epoch: of the relay that speaks.
        n: number of its next message.
    """

    def __init__(self, **settings: Any) -> None:
        self.phone = Phone(PhoneSettings(session_id=SESSION, **settings), Playback(record=True))
        self.now_ms = 10_000.0
        self.epoch = 50
        self.n = 0
        self.connection = 0

    # The learner's and the network's side

    def tell(self, event: Event) -> list[Action]:
        """Tell the phone of an event."""
        self.phone.handle(event, self.now_ms)
        actions = self.phone.take_actions()
        for action in actions:
            if isinstance(action, Connect):
                self.connection = action.connection
        return actions

    def wait(self, ms: float) -> list[Action]:
        """Let time pass, ticking whenever the phone wants."""
        end_ms = self.now_ms + ms
        actions: list[Action] = []
        while (timer_ms := self.phone.next_timer_ms()) is not None and timer_ms <= end_ms:
            self.now_ms = max(self.now_ms, timer_ms)
            actions += self.tell(Tick())
        self.now_ms = end_ms
        return actions + self.tell(Tick())

    def capture(self, count: int = 1, frame: bytes = FRAME) -> None:
        """Capture frames of 100 ms, in real time."""
        for _ in range(count):
            self.now_ms += 100
            self.tell(Captured(frame))

    def sent(self) -> list[UpMessage]:
        """Everything the phone writes now."""
        messages = []
        while (text := self.phone.take_message(self.now_ms)) is not None:
            messages.append(parse_up(text))
            assert len(messages) < 5_000, "the phone never stops writing"
        return messages

    def sent_of(self, kind: type[UpMessage]) -> list[Any]:
        """What the phone writes now of one type; the rest is written too."""
        return [message for message in self.sent() if isinstance(message, kind)]

    # The gateway's side

    def make(self, kind: type[Down], **fields: Any) -> str:
        """Text of a message; numbered ones get the next `n` unless given."""
        fields.setdefault("epoch", self.epoch)
        if issubclass(kind, NumberedDown) and "n" not in fields:
            fields["n"] = self.n
            self.n += 1
        return encode(kind(**fields))

    def receive(self, text: str) -> list[Action]:
        """Have a text arrive on the open connection."""
        return self.tell(Received(self.connection, text))

    def say(self, kind: type[Down], **fields: Any) -> list[Action]:
        """Have a message arrive."""
        return self.receive(self.make(kind, **fields))

    def ready(self, **fields: Any) -> list[Action]:
        """Have `ready` arrive."""
        fields.setdefault("next_seq", 0)
        fields.setdefault("resume_within_s", 60)
        return self.say(Ready, session_id=SESSION, limits=Limits(conversation_s=810), support_code="K7QX", **fields)

    def ask(self, prompt_id: str = "lag-1") -> list[Action]:
        """Have the question about the lag arrive."""
        fields = {"lag_ms": 2_000, "cause": "network", "text": "Continue?", "expires_s": 20}
        return self.say(LagPrompt, prompt_id=prompt_id, **fields)

    def open(self) -> "Bench":
        """Begin and open the connection that the phone asks for."""
        self.tell(Begin())
        self.tell(Opened(self.connection))
        return self

    def live(self) -> "Bench":
        """A conversation under way: the first acknowledgement and ping are written."""
        self.open().ready()
        self.sent()
        return self


def shown(actions: list[Action]) -> list[Any]:
    """Messages among actions."""
    return [action.message for action in actions if isinstance(action, Show)]


def speech(ms: int, rate: int = 24000, value: int = 1000) -> str:
    """Base64 of a steady sound."""
    return base64.b64encode(value.to_bytes(2, "little", signed=True) * (rate * ms // 1000)).decode()


def without_type(**fields: Any) -> str:
    """A frame of API Gateway's own."""
    return json.dumps(fields)
