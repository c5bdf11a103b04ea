"""What relays could not finish: assessments that were not saved, and conversations whose relay died. SQS event source.

Two kinds of messages are on the queue: written assessments (`gateway.adapters.finish_queue`), and the records that Lambda makes
of relay invocations that failed (Lambda developer guide, "Adding a destination": ``requestPayload`` is the invocation's, so ids only).
A message that fails stays on the queue; one that fails too often goes to the queue of the dead. Both outlive DynamoDB's worst
days; Redis keeps a session for an hour only, so what a failure record leads to is queued as a written assessment when the
tables are away.
"""

import functools
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from gateway.adapters.assessments import Assessments, Saved
from gateway.adapters.finish_queue import FinishQueue
from gateway.adapters.telemetry import Telemetry, take_over
from gateway.core.assessment import Assessment, PartNotes, join_parts
from gateway.core.errors import BadMessage, RemoteError
from gateway.settings import finish_queue_url, log_settings, table_settings
from handlers import bus
from handlers.guard import Context, Event, guarded

_OPEN: Final = "open"


@functools.cache
def telemetry() -> Telemetry:
    """Return this function's log."""
    made = Telemetry("finish", level=log_settings().level)
    take_over(made)
    return made


@functools.cache
def assessments() -> Assessments:
    """Return the tables, with one client for this execution environment."""
    return Assessments(table_settings())


@functools.cache
def queue() -> FinishQueue:
    """Return the queue that this function empties, and adds to when the tables are away."""
    return FinishQueue(finish_queue_url())


@guarded
def handler(event: Event, _context: Context) -> dict[str, list[dict[str, str]]]:
    """Save what the messages of a batch are about; return which of them failed (``ReportBatchItemFailures``)."""
    log = telemetry()
    failures: list[dict[str, str]] = []
    for record in event["Records"]:
        message_id = record["messageId"]
        try:
            _finish(_document(record["body"]))
        except Exception as error:  # noqa: BLE001 - one bad message must not hold the others back
            log.failure("finish_failed", error, {"message_id": message_id})
            failures.append({"itemIdentifier": message_id})
    return {"batchItemFailures": failures}


def sync_offline_progress(user_id: str) -> Saved | None:
    """Save what a learner's session had come to when its relay died: the one way by which progress becomes an assessment.

    Of a session that was open these are the notes of the parts that were finished; of one that had ended and could be saved
    nowhere, its whole assessment. Notes make a partial assessment even if all parts were finished, for the test never came
    to its end: a relay that takes the session up again, and whose epoch is higher, replaces it. It may be called at any
    time and as often as one likes, also while another relay holds the session: what is stored never gives way to less.

    Args:
        user_id: the learner.

    Returns:
        What the save came to, None if there was nothing to save: no session, one that is seen to, or no part finished.

    Raises:
        RemoteError: Redis failed, or neither DynamoDB nor the queue took what was to be saved.
        BadMessage: the session in Redis is none.
    """
    value = bus.wire().get(user_id.encode(), bus.key(user_id, "session"))
    assessment = None if value is None else _assessment_of(_document(value))
    if assessment is None:
        return None
    try:
        return assessments().save(user_id, assessment)
    except RemoteError as error:
        telemetry().failure("finish_delayed", error, {"learner": user_id})
    # Redis forgets the session before a long failure is over.
    queue().send(user_id, assessment)
    return Saved.DELAYED


def _finish(message: Mapping[str, Any]) -> None:
    """Do what one message asks for."""
    outcome: Saved | None
    if "assessment" in message:
        learner, outcome = _learner(message), _save(message)
    elif "requestPayload" in message:
        learner = _learner(_mapping(message["requestPayload"]))
        outcome = sync_offline_progress(learner)
    else:
        raise BadMessage("the message is neither an assessment nor a failure record")
    if outcome is None:
        telemetry().record("finish_nothing", {"learner": learner})
    else:
        telemetry().record("finish_saved", {"learner": learner, "outcome": outcome.value})


def _save(message: Mapping[str, Any]) -> Saved:
    return assessments().save(_learner(message), _written(message["assessment"]))


def _written(document: Any) -> Assessment:
    try:
        return Assessment.model_validate(document)
    except ValueError:
        raise BadMessage("assessment: does not fit its model") from None


def _assessment_of(progress: Mapping[str, Any]) -> Assessment | None:
    """Return what there is to be saved of a session, None if there is nothing."""
    if "unsaved" in progress:
        return _written(progress["unsaved"])
    return _joined(progress) if progress.get("state") == _OPEN and progress.get("notes") else None


def _joined(progress: Mapping[str, Any]) -> Assessment:
    try:
        joined = join_parts(
            [PartNotes.model_validate(notes) for notes in progress["notes"]],
            spoken_ms_by_part={int(part): float(ms) for part, ms in progress["spoken_ms"].items()},
            session_id=progress["session_id"],
            module=progress["module"],
            epoch=progress["epoch"],
            created_at=datetime.now(UTC).isoformat(timespec="seconds"),
        )
    except (ValueError, KeyError, TypeError, AttributeError):
        raise BadMessage("session: does not fit its model") from None
    return joined.model_copy(update={"status": "partial"})


def _document(text: str | bytes) -> Mapping[str, Any]:
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        raise BadMessage("the message is no JSON") from None
    return _mapping(document)


def _mapping(document: Any) -> Mapping[str, Any]:
    if not isinstance(document, dict):
        raise BadMessage("the message must be a JSON object")
    return document


def _learner(message: Mapping[str, Any]) -> str:
    learner = message.get("learner")
    if not isinstance(learner, str) or not learner:
        raise BadMessage("learner: must be a text")
    return learner
