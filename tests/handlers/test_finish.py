"""The finish handler: queued assessments, and conversations whose relay died; against moto and a real Valkey."""

import json
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from moto import mock_aws
from redis import Redis as RedisClient

from gateway.adapters.assessments import Assessments, Saved
from gateway.core.conversation.progress import session_progress
from gateway.core.errors import Throttled
from gateway.core.messages import Start
from handlers import bus, finish
from tests.adapters.test_assessments import Tables
from tests.adapters.written import EPOCH, assessment, notes
from tests.handlers.events import LEARNER, SESSION, Context, failure_record, sqs_event

SESSION_KEY = f"maya:{{{LEARNER}}}:session"
DONE: dict[str, Any] = {"batchItemFailures": []}


@pytest.fixture
def tables(redis_client: RedisClient) -> Iterator[Tables]:
    """Serve DynamoDB with both tables, empty."""
    with mock_aws():
        yield Tables()


def queued(learner: str = LEARNER, **changes: Any) -> dict[str, Any]:
    """Return the message of an assessment that could not be saved."""
    document = assessment(session_id=SESSION, **changes).model_dump(mode="json")
    return {"version": 1, "learner": learner, "assessment": document}


def progress(*parts: int, ended: bool = False) -> dict[str, Any]:
    """Return the progress of a session as the conversation's core writes it."""
    return session_progress(
        Start(session_id=SESSION, module="general_speaking", client="phone"),
        ended=ended,
        connection_id="R1kmxc2VNjMCFIA=",
        epoch=EPOCH,
        seq=100,
        n=50,
        part=len(parts) + 1,
        elapsed_ms=300_000.4,
        spoken_ms=dict.fromkeys((*parts, len(parts) + 1), 61000.5),
        notes={part: notes(part) for part in parts},
    )


def run(*bodies: Any) -> dict[str, Any]:
    """Call the handler with a batch."""
    return finish.handler(sqs_event(*bodies), Context())


def events(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    """Return the log lines that are no metrics."""
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    return [line for line in lines if "_aws" not in line]


def test_a_queued_assessment_is_saved(tables: Tables, capsys: pytest.CaptureFixture[str]) -> None:
    """It gets its item and becomes the learner's last one; a second delivery changes nothing."""
    assert run(queued()) == DONE
    assert tables.item()["status"] == "complete"
    assert tables.profile()["assessment_epoch"] == EPOCH
    assert run(queued()) == DONE
    first, second = events(capsys)
    assert (first["event"], first["learner"], first["outcome"]) == ("finish_saved", LEARNER, "saved")
    assert second["outcome"] in {"saved", "unchanged"}


def test_the_parts_of_a_dead_relay_are_saved(
    tables: Tables, redis_client: RedisClient, capsys: pytest.CaptureFixture[str]
) -> None:
    """From ids alone: the session's progress has the notes of the parts that were finished."""
    redis_client.set(SESSION_KEY, json.dumps(progress(1, 2)))
    assert run(failure_record()) == DONE
    item = tables.item()
    assert (item["status"], item["parts_assessed"], item["module"]) == ("partial", [1, 2], "general_speaking")
    assert (item["epoch"], item["spoken_s"]) == (EPOCH, 183)
    assert tables.profile()["assessment"] == {k: v for k, v in item.items() if k not in {"user_id", "assessment_id"}}
    assert events(capsys)[0]["outcome"] == "saved"


def test_all_parts_of_a_dead_relay_are_partial_still(tables: Tables, redis_client: RedisClient) -> None:
    """The test never came to its end, and the relay that takes it up may still complete it."""
    redis_client.set(SESSION_KEY, json.dumps(progress(1, 2, 3)))
    assert finish.sync_offline_progress(LEARNER) is Saved.SAVED
    assert tables.item()["status"] == "partial"
    assert run(queued(epoch=EPOCH + 9)) == DONE
    assert tables.item()["status"] == "complete"
    assert finish.sync_offline_progress(LEARNER) is Saved.OUTDATED


@pytest.mark.parametrize("session", [None, progress(), progress(1, ended=True)], ids=["none", "no part", "ended"])
def test_nothing_to_save(
    tables: Tables, redis_client: RedisClient, capsys: pytest.CaptureFixture[str], session: Any
) -> None:
    """A session that is gone, has ended, or had no part finished leaves nothing, and is no failure."""
    if session is not None:
        redis_client.set(SESSION_KEY, json.dumps(session))
    assert run(failure_record()) == DONE
    assert not tables.item()
    assert not tables.profile()
    assert [line["event"] for line in events(capsys)] == ["finish_nothing"]


@pytest.mark.parametrize(
    "body",
    [
        "no JSON",
        "[]",
        "{}",
        "[" * 20_000,
        {"requestPayload": 7},
        {"requestPayload": {"version": 1}},
        {"requestPayload": {"learner": ""}},
        {"version": 1, "assessment": {}},
        {"version": 1, "learner": LEARNER, "assessment": {"summary": "secret words"}},
        {**queued(), "learner": None},
        {**queued(), "learner": 7},
    ],
)
def test_a_bad_message_stays_and_holds_nothing_back(
    tables: Tables, capsys: pytest.CaptureFixture[str], body: Any
) -> None:
    """It alone is reported as failed, by a code; the others of the batch are saved."""
    assert run(body, queued()) == {"batchItemFailures": [{"itemIdentifier": "m0"}]}
    assert tables.item()
    out = capsys.readouterr().out
    lines = [json.loads(line) for line in out.splitlines()]
    failed = next(line for line in lines if line.get("event") == "finish_failed")
    assert (failed["code"], failed["message_id"]) == ("bad_message", "m0")
    assert "secret" not in out


@pytest.mark.parametrize(
    "changes", [{"notes": [{"part": 1}]}, {"notes": 7}, {"spoken_ms": None}, {"module": "x"}, {"session_id": None}]
)
def test_a_session_of_another_make(tables: Tables, redis_client: RedisClient, changes: dict[str, Any]) -> None:
    """Progress that does not fit is a failure of its message, and is not saved in part."""
    redis_client.set(SESSION_KEY, json.dumps({**progress(1), **changes}))
    assert run(failure_record()) == {"batchItemFailures": [{"itemIdentifier": "m0"}]}
    assert not tables.item()


def test_an_assessment_that_nobody_took_is_saved_whole(tables: Tables, redis_client: RedisClient) -> None:
    """Tables and queue were away until its relay's time was over; its progress has the written text."""
    unsaved = queued()["assessment"]
    redis_client.set(SESSION_KEY, json.dumps({**progress(1, 2, 3, ended=True), "unsaved": unsaved}))
    assert run(failure_record()) == DONE
    assert tables.item()["status"] == "complete"
    assert finish.sync_offline_progress(LEARNER) in {Saved.SAVED, Saved.UNCHANGED}
    redis_client.set(SESSION_KEY, json.dumps({**progress(1, ended=True), "unsaved": {"summary": "secret"}}))
    assert run(failure_record()) == {"batchItemFailures": [{"itemIdentifier": "m0"}]}


def test_notes_never_replace_more_than_notes(tables: Tables, redis_client: RedisClient) -> None:
    """Whichever comes first, twice or late: the record of a relay that died after its successor had finished changes nothing."""
    redis_client.set(SESSION_KEY, json.dumps(progress(1)))
    assert run(queued(epoch=EPOCH + 9)) == DONE
    before = tables.item(), tables.profile()
    for _ in range(3):
        assert finish.sync_offline_progress(LEARNER) is Saved.OUTDATED
    assert (tables.item(), tables.profile()) == before
    redis_client.set(SESSION_KEY, json.dumps({**progress(1, 2), "epoch": EPOCH - 5}))
    assert finish.sync_offline_progress(LEARNER) is Saved.OUTDATED
    assert (tables.item(), tables.profile()) == before


def test_the_same_record_many_times_saves_once(tables: Tables, redis_client: RedisClient) -> None:
    """SQS delivers at least once; the stored notes stay what they are."""
    redis_client.set(SESSION_KEY, json.dumps(progress(1, 2)))
    assert run(failure_record(), failure_record(), failure_record()) == DONE
    parts = tables.item()["parts"]
    assert len(tables.assessments.scan()["Items"]) == 1
    assert run(failure_record()) == DONE
    assert tables.item()["parts"] == parts


def test_notes_outlive_redis_when_the_tables_are_away(
    tables: Tables, redis_client: RedisClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They go on the queue as a written assessment, which is saved when the tables are back and the session is forgotten."""
    sqs: Any = boto3.client("sqs")
    url = sqs.create_queue(QueueName="maya-finish")["QueueUrl"]
    monkeypatch.setenv("MAYA_FINISH_QUEUE_URL", url)
    redis_client.set(SESSION_KEY, json.dumps(progress(1)))
    with monkeypatch.context() as patch:
        patch.setattr(Assessments, "save", _throttled)
        assert run(failure_record()) == DONE
    assert not tables.item()
    redis_client.flushall()
    [message] = sqs.receive_message(QueueUrl=url)["Messages"]
    assert run(message["Body"]) == DONE
    assert (tables.item()["status"], tables.item()["parts_assessed"]) == ("partial", [1])


def test_without_tables_and_queue_the_record_waits(
    tables: Tables, redis_client: RedisClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is reported as failed and comes again."""
    monkeypatch.setenv("MAYA_FINISH_QUEUE_URL", "https://sqs.us-east-1.amazonaws.com/123456789012/none")
    monkeypatch.setattr(Assessments, "save", _throttled)
    redis_client.set(SESSION_KEY, json.dumps(progress(1)))
    assert run(failure_record()) == {"batchItemFailures": [{"itemIdentifier": "m0"}]}


def _throttled(*_: Any) -> Saved:
    raise Throttled("dynamodb answered 400 ThrottlingException")


def test_what_is_away_fails_its_messages(tables: Tables, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without Redis the record waits, and the assessment is saved; without DynamoDB both wait."""
    bus.wire.cache_clear()
    monkeypatch.setenv("REDIS_URL", "redis://127.0.0.1:1")
    assert run(failure_record(), queued()) == {"batchItemFailures": [{"itemIdentifier": "m0"}]}
    assert tables.item()
    tables.users.delete()
    tables.assessments.delete()
    assert run(queued()) == {"batchItemFailures": [{"itemIdentifier": "m0"}]}
