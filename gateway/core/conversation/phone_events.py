"""What the phone's messages mean to the conversation, as the reader of them tells it."""

from typing import Protocol

from gateway.core.conversation.uplink import Frame
from gateway.core.errors import ProtocolError
from gateway.core.messages import LagChoice, Module, Start


class PhoneEvents(Protocol):
    """What the conversation wants to know of its phone."""

    def session_begins(self, start: Start, now_ms: float) -> None:
        """The first `start` has come."""

    def phone_is_back(self, now_ms: float, *, forgot: bool) -> None:
        """The phone came back to its session; `forgot` when the app was killed meanwhile."""

    def ended_module(self, session_id: str) -> Module | None:
        """The module of a session that has ended and whose assessment can be told; None for any other."""

    def session_recalled(self, now_ms: float) -> None:
        """The phone has come back to the session that has ended."""

    def another_session(self, now_ms: float) -> None:
        """The learner has begun another conversation; nothing more comes from the phone."""

    def store_progress(self, now_ms: float) -> None:
        """Frames were taken; the phone may be told when that is written down."""

    def frames_heard(self, frames: list[Frame], now_ms: float) -> None:
        """Speech of the learner, in order."""

    def turn_heard(self, turn: int, heard_ms: float) -> None:
        """How much of an interrupted turn was played."""

    def stop_asked(self, seq: int, now_ms: float) -> None:
        """The learner ends the test after frame `seq`."""

    def lag_answered(self, choice: LagChoice, now_ms: float) -> None:
        """The learner has answered a lag prompt."""

    def phone_flooded(self, connection_id: str, now_ms: float) -> None:
        """A connection sends more messages than any app has to; nothing more of it is heard."""

    def failed(self, error: ProtocolError, now_ms: float) -> None:
        """The phone made an error that ends the conversation."""


class PhoneWatcher(Protocol):
    """Is told what the phone's messages say about the line, beside what they are about."""

    def heard(self, now_ms: float) -> None:
        """A message has come, whatever it was."""

    def frame_came(self, seq: int, captured_to_ms: float, now_ms: float) -> None:
        """Speech captured up to a moment of the phone's clock has come, in order or not."""

    def ping_answered(self, ping_id: int, now_ms: float) -> None:
        """The phone has answered a ping."""
