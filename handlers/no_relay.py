"""What becomes of a message when the learner has no relay: one is started, or the phone is told why not.

A relay was lost, never started, or has ended. Starting is guarded by a key that only one caller can set, so that ten messages a
second, or a fail-over of Redis under every conversation at once, start one relay for each learner. boto3 is imported where it
is needed.
"""

import functools
import json
import math
import time
from collections.abc import Mapping
from typing import Any, Final

from gateway.core.errors import BadMessage, Busy, NotStarted, PhoneGone, ProtocolError, RemoteError, SessionGone
from gateway.core.flood import FloodLimits, allowed
from gateway.settings import overridden, relay_function
from handlers import bus
from handlers.guard import say

_NO_RELAY_EPOCH: Final = 0
_ANSWER_EVERY_S: Final = 1
_LOOK_EVERY_S: Final = 0.02
_LOOKS: Final = 40
"""For 0.8 s in all; then the phone's own repetition is as quick."""

_LOOKS_FOR_LIVING: Final = 75
"""For 1.5 s: a relay tries at least once a second to reach a Redis that was away."""

_TYPES: Final = ("start", "resume", "audio", "ack", "ping", "pong", "lag_choice", "stop")

_UNANSWERED: Final = frozenset({"ack", "ping", "pong"})
"""They belong to a connection and may get lost: no error is made of them."""


def answer(learner: str, context: Mapping[str, Any], body: str) -> bool:
    """Start a relay if the message calls for one; else tell the phone what is wrong, at most once a second.

    Args:
        learner: who says it.
        context: the event's ``requestContext``.
        body: what the phone said.

    Returns:
        Whether there is a relay now that listens, so that the message can be published once more.

    Raises:
        RemoteError: Redis or Lambda failed; the phone sends the message again.
    """
    connection_id = context["connectionId"]
    try:
        refused_for_s = _count(learner, context)
        if refused_for_s is None:
            return False
        message_type = _type_of(body)
        if message_type == "start" and refused_for_s > 0:
            raise Busy.too_many_messages(retry_after_s=refused_for_s)
        if message_type == "start" or _calls_for_relay(learner, message_type):
            return _start_relay(learner, connection_id) and _listens(learner, _LOOKS)
    except ProtocolError as error:
        if _may_answer(learner, connection_id):
            # Redis may have forgotten everything; then the relay, which has not, is just taking its lease again.
            if isinstance(error, SessionGone | NotStarted) and _listens(learner, _LOOKS_FOR_LIVING):
                return True
            _tell(connection_id, error)
    return False


def _count(learner: str, context: Mapping[str, Any]) -> float | None:
    """Count a message of a connection, and cut the connection off when it has sent too many.

    Returns:
        For how many seconds the learner is refused at `start`; None when the message is to be dropped.
    """
    limits, connection_id = _flood_limits(), context["connectionId"]
    tag, refused = learner.encode(), bus.key(learner, "refused")
    count, until_ms = bus.wire().count_and_get(
        tag, bus.key(learner, f"rate:{connection_id}"), refused, expire_s=math.ceil(limits.flood_burst_s)
    )
    over = count - int(allowed(limits, context["requestTimeEpoch"] - context["connectedAt"]))
    if over <= 0:
        return max(0.0, int(until_ms or 0) / 1000 - time.time())
    # The deletion may fail, and its messages are many: one in so many tries again.
    if (over - 1) % max(1, int(limits.flood_messages_per_s)) == 0:
        until_s = time.time() + limits.flood_refuse_s
        bus.wire().set(tag, refused, b"%d" % (until_s * 1000), expire_s=math.ceil(limits.flood_refuse_s))
        say("flood", level="warning", learner=learner, connection_id=connection_id)
        _delete(connection_id)
    return None


@functools.cache
def _flood_limits() -> FloodLimits:
    return overridden(FloodLimits())


def _type_of(body: str) -> str:
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict):
        raise BadMessage("the message must be a JSON object")
    message_type = document.get("type")
    if not isinstance(message_type, str) or message_type not in _TYPES:
        raise BadMessage(f"type: missing or unknown; must be one of {', '.join(_TYPES)}")
    return message_type


def _calls_for_relay(learner: str, message_type: str) -> bool:
    """Whether a message other than ``start`` has a session that a relay must take up."""
    state = _session_state(learner)
    if state == "ended":
        # The assessment can still be asked for; speech that was on its way when the test ended is late and no fault.
        return message_type == "resume"
    if state:
        return True
    if message_type == "resume":
        raise SessionGone("there is no session to come back to", ref=message_type)
    if message_type in _UNANSWERED:
        return False
    raise NotStarted("send start first", ref=message_type)


def _session_state(learner: str) -> str:
    """Return the state of the learner's session, empty if there is none."""
    value = bus.wire().get(learner.encode(), bus.key(learner, "session"))
    if value is None:
        return ""
    try:
        session = json.loads(value)
    except ValueError:
        session = None
    state = session.get("state") if isinstance(session, dict) else None
    return state if isinstance(state, str) else ""


def _start_relay(learner: str, connection_id: str) -> bool:
    if not bus.wire().set_if_absent(
        learner.encode(), bus.key(learner, "start"), connection_id.encode(), expire_s=bus.START_LOCK_S
    ):
        return False
    _launcher().launch(learner)
    say("relay_started", level="info", learner=learner, connection_id=connection_id)
    return True


def _listens(learner: str, looks: int) -> bool:
    """Wait for a relay's lease, which it takes when it is subscribed; False if that takes too long.

    The phone says `start` again each second. Waiting here for the little that a warm relay takes brings the learner's
    first word forward by most of that second, once in a conversation.
    """
    for _ in range(looks):
        if bus.wire().get(learner.encode(), bus.key(learner, "lease")) is not None:
            return True
        time.sleep(_LOOK_EVERY_S)
    return False


@functools.cache
def _launcher() -> Any:
    from gateway.adapters.launcher import RelayLauncher  # noqa: PLC0415 - boto3

    return RelayLauncher(relay_function())


def _may_answer(learner: str, connection_id: str) -> bool:
    """Whether this connection has had no answer for a while, of any execution environment.

    Few of them then import boto3, however many a hostile client keeps busy.
    """
    told = bus.key(learner, f"rate:{connection_id}:told")
    return bus.wire().set_if_absent(learner.encode(), told, b"1", expire_s=_ANSWER_EVERY_S)


def _tell(connection_id: str, error: ProtocolError) -> None:
    """Post an error, and ``bye`` after a fatal one; a phone that is gone needs to know nothing."""
    document = {
        "type": "error",
        "epoch": _NO_RELAY_EPOCH,
        "code": error.code,
        "message": error.message,
        "retryable": error.retryable,
        "fatal": error.fatal,
        **({} if error.ref is None else {"ref": error.ref}),
        **({} if error.retry_after_s is None else {"retry_after_s": error.retry_after_s}),
    }
    documents = [document]
    if error.fatal:
        documents.append({"type": "bye", "epoch": _NO_RELAY_EPOCH, "reason": "failed"})
    say("refused", level="info", code=error.code, connection_id=connection_id)
    try:
        for document in documents:
            _post(connection_id, json.dumps(document, separators=(",", ":")))
    except RemoteError as failure:
        say("post_failed", level="warning", code=failure.code, connection_id=connection_id)


def _post(connection_id: str, data: str) -> None:
    from gateway.adapters.aws_calls import remote_errors  # noqa: PLC0415 - boto3

    with remote_errors("apigatewaymanagementapi"):
        _phones().post_to_connection(ConnectionId=connection_id, Data=data.encode())


def _delete(connection_id: str) -> None:
    from gateway.adapters.aws_calls import remote_errors  # noqa: PLC0415 - boto3

    try:
        with remote_errors("apigatewaymanagementapi"):
            _phones().delete_connection(ConnectionId=connection_id)
    except PhoneGone:
        return
    except RemoteError as failure:
        say("disconnect_failed", level="warning", code=failure.code, connection_id=connection_id)


@functools.cache
def _phones() -> Any:
    from gateway.adapters.aws_calls import client  # noqa: PLC0415 - boto3

    return client("apigatewaymanagementapi", connect_timeout_s=1.0, read_timeout_s=1.5, attempts=1, connections=1)
