"""What a relay needs of the world: `gateway.relay_service` makes it of the adapters, tests of something smaller."""

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from gateway.core.assessment import Assessment, MicroRequest
from gateway.core.errors import RemoteError
from gateway.core.nova_events import Fault


class NovaStream(Protocol):
    """An open stream of Nova Sonic.

    Attributes:
        credentials_expire_at_s: Unix seconds at which the service ends it, None where that is not known.
    """

    credentials_expire_at_s: float | None

    def send_now(self, event: bytes) -> bool:
        """Send an event if that needs no waiting; return whether it was sent; raises `RemoteError`."""

    async def send(self, event: bytes) -> None:
        """Send an event, after waiting for room; raises `RemoteError`."""

    def listen(self, heard: Callable[[], bool]) -> None:
        """Have `heard` called when something may have come for which `receive` waits; it returns whether it could use it all."""

    def receive_now(self) -> bytes | None:
        """Return the JSON of the next event if it is here already; raises as `receive` does."""

    async def receive(self) -> bytes | None:
        """Return the next event, None at the stream's end; raises `RemoteError`."""

    async def close(self) -> None:
        """Close it, within its time limit."""


class Services(Protocol):
    """Every call has a time limit of its own. Blocking calls are those that are not coroutines."""

    async def open_stream(self, events: tuple[bytes, ...]) -> NovaStream:
        """Open a stream with its first events; raises `RemoteError`."""

    def fault_of(self, error: RemoteError) -> Fault:
        """Say what a stream's error means."""

    def post(self, connection_id: str, data: str, settled: Callable[[Exception | None], None]) -> None:
        """Begin to post to the phone.

        `settled` is called once, after this has returned: with None when API Gateway has taken it, else with what it
        failed of: `PhoneGone`, `PhoneSlow` or another `RemoteError`.
        """

    async def disconnect(self, connection_id: str) -> None:
        """Close the phone's connection; one that is gone is no error."""

    def module_unlocked(self, learner: str, module: str) -> bool:
        """Whether the learner may take the module; raises `RemoteError`."""

    async def take_line(self, learner: str) -> float | None:
        """Take a Maya line; return None, or after how many seconds to try again."""

    async def keep_line(self, learner: str) -> None:
        """Renew the line's lease."""

    async def note_streams(self, learner: str, streams: int) -> None:
        """Note how many streams the conversation has open: with two it takes the place of two."""

    async def leave_line(self, learner: str) -> None:
        """Give the line back."""

    async def keep_lease(self, learner: str) -> bool:
        """Renew the learner's lease; False when another relay has it."""

    async def release_lease(self, learner: str) -> None:
        """Give the learner's lease back and stop listening."""

    async def refuse_starts(self, learner: str, for_s: float) -> None:
        """Have the learner refused at `start` for a while, where there is no relay."""

    async def store_progress(self, learner: str, progress: Mapping[str, Any]) -> None:
        """Write the session's progress, whole."""

    def ask_micro(self, request: MicroRequest) -> Mapping[str, Any]:
        """Ask Nova Micro; raises `RemoteError`, or `BadToolInput` when it answers something else."""

    def save(self, learner: str, assessment: Assessment) -> None:
        """Save the assessment; raises `RemoteError`."""

    def enqueue(self, learner: str, assessment: Assessment) -> None:
        """Queue the assessment to be saved later; raises `RemoteError`."""

    def record(self, event: str, fields: Mapping[str, str | float]) -> None:
        """Log an event."""

    def failure(self, event: str, error: BaseException, fields: Mapping[str, str | float]) -> None:
        """Log that something went wrong: the error's type, code and place, never its text."""
