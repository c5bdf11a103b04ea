"""What a relay needs of the world, made of the adapters, and the relay's whole course in one Lambda invocation."""

import asyncio
import functools
import hashlib
import sys
import time
import uuid
from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol

from gateway.adapters.assessments import Assessments
from gateway.adapters.bus import Bus, BusEvent, BusKind
from gateway.adapters.connections import Connections
from gateway.adapters.finish_queue import FinishQueue
from gateway.adapters.invocation_logging import InvocationLogging
from gateway.adapters.lines import Lines
from gateway.adapters.nova_micro import NovaMicro
from gateway.adapters.nova_sonic import NovaSonic, NovaStream, fault_of
from gateway.adapters.redis_client import make_client
from gateway.adapters.redis_courier import Courier
from gateway.adapters.sessions import Lease, Sessions
from gateway.adapters.telemetry import Telemetry
from gateway.core.assessment import Assessment, MicroRequest
from gateway.core.conversation import ConversationSettings
from gateway.core.conversation.inputs import TookOver
from gateway.core.conversation.progress import OpenSession, open_session
from gateway.core.errors import RemoteError
from gateway.core.exam import build_plan, shortened
from gateway.core.flood import FloodLimits
from gateway.core.lag import LagSettings
from gateway.core.nova_events import Fault
from gateway.relay import Relay
from gateway.settings import (
    exam_plan,
    exam_time_scale,
    finish_queue_url,
    invocation_logging_check,
    lines,
    log_settings,
    micro_settings,
    overridden,
    redis_settings,
    sonic_settings,
    table_settings,
)

if sys.platform == "win32":
    from asyncio import new_event_loop
else:
    from uvloop import new_event_loop  # less CPU for each frame


_RECALL_WITHIN_S: Final = 2.0


class Context(Protocol):
    """What is used of the Lambda context."""

    aws_request_id: str

    def get_remaining_time_in_millis(self) -> int:
        """Milliseconds until Lambda ends the invocation."""


class RelayServices:
    """The adapters behind one relay; see `gateway.ports.Services`.

    Args:
        sessions: leases and progress in Redis.
        maya_lines: how many conversations there are.
        lease: the right to speak with the learner.
        nova: opens Nova Sonic's streams.
        telemetry: logs and counts.
    """

    def __init__(
        self, sessions: Sessions, maya_lines: Lines, lease: Lease, nova: NovaSonic, telemetry: Telemetry
    ) -> None:
        self._sessions = sessions
        self._lines = maya_lines
        self._lease = lease
        self._nova = nova
        self._telemetry = telemetry
        self._connections = Connections()

    async def open_stream(self, events: tuple[bytes, ...]) -> NovaStream:
        """Open a stream with its first events, unless Bedrock would keep what is said in it."""
        await _invocation_logging().require_off()
        return await self._nova.open(events)

    def fault_of(self, error: RemoteError) -> Fault:
        """Say what a stream's error means."""
        return fault_of(error)

    def post(self, connection_id: str, data: str, settled: Callable[[Exception | None], None]) -> None:
        """Begin to post to the phone."""
        self._connections.post(connection_id, data, settled)

    async def disconnect(self, connection_id: str) -> None:
        """Close the phone's connection."""
        await self._connections.delete(connection_id)

    async def close(self) -> None:
        """Release what belongs to this conversation's event loop."""
        await self._connections.close()
        await self._nova.close()

    def module_unlocked(self, learner: str, module: str) -> bool:
        """Whether the learner may take the module."""
        return _assessments().module_unlocked(learner, module)

    async def take_line(self, learner: str) -> float | None:
        """Take a Maya line; return None, or after how many seconds to try again."""
        return await self._lines.take(learner)

    async def keep_line(self, learner: str) -> None:
        """Renew the line's lease."""
        await self._lines.keep(learner)

    async def note_streams(self, learner: str, streams: int) -> None:
        """Note how many streams the conversation has open."""
        await self._lines.note_streams(learner, streams)

    async def leave_line(self, learner: str) -> None:
        """Give the line back."""
        await self._lines.leave(learner)

    async def keep_lease(self, learner: str) -> bool:  # noqa: ARG002 - the lease names its learner
        """Renew the learner's lease; False when another relay has it."""
        return await self._sessions.keep_lease(self._lease)

    async def release_lease(self, learner: str) -> None:  # noqa: ARG002 - as above
        """Give the learner's lease back."""
        await self._sessions.release_lease(self._lease)

    async def refuse_starts(self, learner: str, for_s: float) -> None:
        """Have the learner refused at `start` for a while."""
        await self._sessions.refuse_starts(learner, for_s)

    async def store_progress(self, learner: str, progress: Mapping[str, Any]) -> None:  # noqa: ARG002 - as above
        """Write the session's progress, whole."""
        await self._sessions.store_progress(self._lease, progress)

    def ask_micro(self, request: MicroRequest) -> Mapping[str, Any]:
        """Ask Nova Micro."""
        return _micro().ask(request)

    def save(self, learner: str, assessment: Assessment) -> None:
        """Save the assessment."""
        _assessments().save(learner, assessment)

    def enqueue(self, learner: str, assessment: Assessment) -> None:
        """Queue the assessment to be saved later."""
        _queue().send(learner, assessment)

    def record(self, event: str, fields: Mapping[str, str | float]) -> None:
        """Log an event."""
        self._telemetry.record(event, fields)

    def failure(self, event: str, error: BaseException, fields: Mapping[str, str | float]) -> None:
        """Log that something went wrong."""
        self._telemetry.failure(event, error, fields)


def run_relay(event: Mapping[str, Any], context: Context) -> None:
    """Hold the conversation of the learner that `event` names; returns when it has ended.

    A relay that finds the learner's lease taken has nothing to do.

    Raises:
        RemoteError: Redis cannot be reached.
        SettingsError: a setting is missing or wrong.
    """
    learner = str(event["learner"])
    within_s = context.get_remaining_time_in_millis() / 1000
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        runner.run(_hold(learner, context.aws_request_id, within_s))


async def _hold(learner: str, relay_id: str, within_s: float) -> None:
    started_s = time.monotonic()
    redis = redis_settings()
    client = make_client(redis)
    courier = Courier(redis)
    sessions = Sessions(client, courier)
    bus = Bus(redis, client, learner)
    telemetry = Telemetry("relay", level=log_settings().level).bind(relay_id=relay_id)
    try:
        await bus.open()
        lease = await sessions.take_lease(learner, relay_id or str(uuid.uuid4()))
        if lease is None:
            telemetry.record("lease_taken")
            return
        progress = await sessions.load_progress(learner)
        session = open_session(progress)
        if session is None and (progress or {}).get("state") == "open":
            telemetry.record("progress_unreadable")
        settings = _conversation_settings(lease, session)
        maya_lines = Lines(client, lines=lines(), longest_s=settings.longest_s)
        nova = NovaSonic(sonic_settings())
        services = RelayServices(sessions, maya_lines, lease, nova, telemetry.bind(epoch=lease.epoch))
        ended = await _stored_assessment(learner, progress, session)
        taken_over = None if session is None else TookOver(session, ended)
        relay = Relay(learner, services, settings, epoch=lease.epoch, ended=ended, session=taken_over)
        await _converse(bus, services, relay, within_s - (time.monotonic() - started_s))
    finally:
        await bus.close()
        await courier.close()
        await client.aclose()
        telemetry.record("relay_ended", {"duration_ms": round((time.monotonic() - started_s) * 1000)})


async def _stored_assessment(
    learner: str, progress: Mapping[str, Any] | None, session: OpenSession | None
) -> Assessment | None:
    """Return the assessment of the learner's last session, if that has come to its end and is saved.

    A relay may be lost after it has saved and before it says so. It must not take longer than the lease, which nobody
    renews yet; whoever comes for it asks again.
    """
    goes_on = session is not None and session.reason is None
    if progress is None or goes_on:
        return None
    try:
        async with asyncio.timeout(_RECALL_WITHIN_S):
            return await asyncio.to_thread(_assessments().get, learner, str(progress.get("session_id")))
    except (RemoteError, TimeoutError):
        return None


async def _converse(bus: Bus, services: RelayServices, relay: Relay, within_s: float) -> None:
    listener = asyncio.create_task(_listen(bus, relay))
    try:
        await relay.run(within_s)
    finally:
        listener.cancel()
        await asyncio.gather(listener, return_exceptions=True)
        await services.close()


async def _listen(bus: Bus, relay: Relay) -> None:
    """Tell the relay what comes over the bus; a relay that cannot listen any more ends its conversation."""
    others: dict[BusKind, Callable[[], None]] = {
        BusKind.SUBSCRIBED: relay.redis_is_back,
        BusKind.DEAF: relay.deaf,
    }

    def take(event: BusEvent) -> None:
        if event.kind is BusKind.MESSAGE:
            relay.phone_said(event.connection_id, event.connected_at_ms, event.received_at_ms, event.body)
        elif event.kind is BusKind.GONE:
            relay.phone_left(event.connection_id)
        elif event.kind in others:
            others[event.kind]()

    try:
        await bus.listen(take)
    except Exception as error:  # noqa: BLE001 - nobody else would hear of it
        relay.broke(error)


def _conversation_settings(lease: Lease, session: OpenSession | None) -> ConversationSettings:
    """Read the numbers. A session that goes on keeps its questions; those of a new one depend on learner and epoch."""
    if session is not None and session.plan == exam_plan():
        choice = session.choice
    else:
        choice = int.from_bytes(hashlib.sha256(f"{lease.learner} {lease.epoch}".encode()).digest()[:4])
    lag = overridden(LagSettings(), prefix="MAYA_LAG_")
    plan = shortened(build_plan(exam_plan(), choice), exam_time_scale())
    return overridden(ConversationSettings(plan=plan, flood=overridden(FloodLimits()), lag=lag))


# boto3 clients are made once for an execution environment: making one costs more than a hundred calls.


@functools.cache
def _assessments() -> Assessments:
    return Assessments(table_settings())


@functools.cache
def _invocation_logging() -> InvocationLogging:
    return InvocationLogging(invocation_logging_check())


@functools.cache
def _queue() -> FinishQueue:
    return FinishQueue(finish_queue_url())


@functools.cache
def _micro() -> NovaMicro:
    return NovaMicro(micro_settings())
