"""Profiles and assessments in DynamoDB, against moto, and its refusals by script."""

import json
import socket
import traceback
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from typing import Any, get_args

import boto3
import pytest
from moto import mock_aws

from gateway.adapters import aws_calls
from gateway.adapters.assessments import SPEAKING_MODULES, Assessments, Saved
from gateway.core.errors import AccessRefused, RemoteTimeout, SaveFailed, ServiceUnavailable, Throttled
from gateway.core.messages import Module
from gateway.settings import TableSettings
from tests.adapters.aws_server import Answer, AwsServer, serve
from tests.adapters.written import EPOCH, LEARNER, SESSION, assessment

TABLES = TableSettings(users="IELTSUsers", assessments="IELTSAssessments")


class Tables:
    """The two tables as somebody else sees them."""

    def __init__(self) -> None:
        resource: Any = boto3.resource("dynamodb")
        self.users = self._make(resource, TABLES.users, "user_id")
        self.assessments = self._make(resource, TABLES.assessments, "user_id", "assessment_id")

    @staticmethod
    def _make(resource: Any, name: str, *keys: str) -> Any:
        return resource.create_table(
            TableName=name,
            KeySchema=[
                {"AttributeName": key, "KeyType": kind} for key, kind in zip(keys, ("HASH", "RANGE"), strict=False)
            ],
            AttributeDefinitions=[{"AttributeName": key, "AttributeType": "S"} for key in keys],
            BillingMode="PAY_PER_REQUEST",
        )

    def profile(self) -> dict[str, Any]:
        """Return the learner's profile."""
        item: dict[str, Any] = self.users.get_item(Key={"user_id": LEARNER}).get("Item", {})
        return item

    def item(self) -> dict[str, Any]:
        """Return the session's assessment item."""
        item: dict[str, Any] = self.assessments.get_item(Key={"user_id": LEARNER, "assessment_id": SESSION}).get(
            "Item", {}
        )
        return item


@pytest.fixture(autouse=True)
def _fresh_session() -> Iterator[None]:
    aws_calls._session.cache_clear()
    yield
    aws_calls._session.cache_clear()


@pytest.fixture
def tables() -> Iterator[Tables]:
    """Serve DynamoDB with both tables, empty."""
    with mock_aws():
        yield Tables()


@pytest.fixture
def store(tables: Tables) -> Assessments:
    """Return what is tested, on the tables."""
    return Assessments(TABLES)


def test_an_assessment_becomes_an_item_and_the_learners_last_one(tables: Tables, store: Assessments) -> None:
    """Both items hold the whole document; bands are numbers; what else the profile holds stays."""
    tables.users.put_item(Item={"user_id": LEARNER, "unlocked_modules": {"academic_speaking"}, "name": "kept"})
    written = assessment(band=7)
    assert store.save(LEARNER, written) is Saved.SAVED
    item, profile = tables.item(), tables.profile()
    assert item.pop("user_id") == LEARNER
    assert item.pop("assessment_id") == SESSION
    assert item == profile["assessment"]
    assert item["overall"] == Decimal("7.0")
    assert json.loads(json.dumps(item, default=float)) == written.model_dump(mode="json")
    assert profile["assessment_epoch"] == EPOCH
    assert profile["name"] == "kept"
    assert store.get(LEARNER, SESSION) == written


def test_half_bands_and_an_assessment_without_bands_come_back_as_they_were(store: Assessments, tables: Tables) -> None:
    """A half band is exact, and null stays null."""
    half = assessment((1,)).model_copy(update={"overall": 6.5})
    store.save(LEARNER, half)
    assert tables.item()["overall"] == Decimal("6.5")
    empty = assessment((), spoken_ms_by_part={1: 31_000}, session_id=SESSION.replace("6f", "7f"))
    store.save(LEARNER, empty)
    assert store.get(LEARNER, empty.session_id) == empty


def test_nobody_elses_assessment_is_read(store: Assessments, tables: Tables) -> None:
    """The learner's id is part of the key."""
    store.save(LEARNER, assessment())
    assert store.get("somebody-else", SESSION) is None
    assert store.get(LEARNER, SESSION.replace("6f", "7f")) is None


def test_the_same_save_again_changes_nothing(store: Assessments, tables: Tables) -> None:
    """A repeat, from this process or another, is a success."""
    store.save(LEARNER, assessment())
    before = tables.item(), tables.profile()
    # A new token, as after its ten minutes, makes the service look at the conditions.
    for again in (store, Assessments(TABLES)):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("gateway.adapters.assessments._token", lambda _writes: "other")
            assert again.save(LEARNER, assessment()) is Saved.UNCHANGED
    assert (tables.item(), tables.profile()) == before


def test_a_partial_assessment_gives_way_to_a_complete_one(store: Assessments, tables: Tables) -> None:
    """What a dead relay came to is replaced by what its successor made of it, in both items."""
    store.save(LEARNER, assessment((1,)))
    assert store.save(LEARNER, assessment(epoch=EPOCH + 5)) is Saved.SAVED
    assert tables.item()["status"] == tables.profile()["assessment"]["status"] == "complete"
    assert tables.profile()["assessment_epoch"] == EPOCH + 5


@pytest.mark.parametrize(
    ("stored", "late"),
    [
        (assessment(), assessment((1, 2))),
        (assessment(), assessment(band=9)),
        (assessment(), assessment((1, 2), epoch=EPOCH + 9)),
        (assessment((1,)), assessment((1, 2), epoch=EPOCH - 1)),
    ],
    ids=["partial after complete", "complete after complete", "later partial", "lower epoch"],
)
def test_what_is_outdated_changes_nothing(store: Assessments, tables: Tables, stored: Any, late: Any) -> None:
    """A complete assessment stays, and so does one of a higher epoch; the late save is told and is no error."""
    store.save(LEARNER, stored)
    before = tables.item(), tables.profile()
    assert store.save(LEARNER, late) is Saved.OUTDATED
    assert (tables.item(), tables.profile()) == before


def test_an_older_session_keeps_its_item_but_not_the_profile(store: Assessments, tables: Tables) -> None:
    """A queued assessment that comes after that of a newer session is still kept, as an item of its own."""
    newer = assessment(session_id=SESSION.replace("6f", "7f"), epoch=EPOCH + 1)
    store.save(LEARNER, newer)
    assert store.save(LEARNER, assessment()) is Saved.SAVED
    assert tables.item()["epoch"] == EPOCH
    assert tables.profile()["assessment"]["session_id"] == newer.session_id
    assert tables.profile()["assessment_epoch"] == EPOCH + 1
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("gateway.adapters.assessments._token", lambda _writes: "other")
        assert store.save(LEARNER, assessment()) is Saved.UNCHANGED


def test_what_is_stored_but_no_assessment(store: Assessments, tables: Tables) -> None:
    """An item of another make is an error that quotes nothing."""
    tables.assessments.put_item(Item={"user_id": LEARNER, "assessment_id": SESSION, "status": "secret words"})
    with pytest.raises(SaveFailed, match=r"^dynamodb: the stored item is no assessment$") as caught:
        store.get(LEARNER, SESSION)
    assert caught.value.__context__ is None


@pytest.mark.parametrize(
    ("modules", "academic", "any_speaking"),
    [
        ({"academic_speaking", "academic_writing"}, True, True),
        ({"general_speaking"}, False, True),
        ({"academic_writing"}, False, False),
        (["academic_speaking"], True, True),
        ("academic_speaking", False, False),
        (None, False, False),
    ],
)
def test_which_modules_are_unlocked(
    store: Assessments, tables: Tables, modules: Any, academic: bool, any_speaking: bool
) -> None:
    """A set of names, or a list of them; anything else unlocks nothing."""
    tables.users.put_item(Item={"user_id": LEARNER, "unlocked_modules": modules})
    assert store.module_unlocked(LEARNER, "academic_speaking") is academic
    assert store.any_speaking_module(LEARNER) is any_speaking


def test_an_unknown_learner_has_nothing(store: Assessments, tables: Tables) -> None:
    """No profile, no modules."""
    assert not store.module_unlocked(LEARNER, "academic_speaking")
    assert not store.any_speaking_module(LEARNER)


def test_the_speaking_modules_are_those_of_the_protocol() -> None:
    """The names that connect looks for are those that start takes."""
    assert frozenset(get_args(Module)) == SPEAKING_MODULES


# Refusals, by script


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Iterator[AwsServer]:
    """Serve DynamoDB by script."""
    with serve() as (server, url):
        monkeypatch.setenv("AWS_ENDPOINT_URL_DYNAMODB", url)
        yield server


def canceled(*codes: str) -> Answer:
    """Return a cancelled transaction with the reason of each write."""
    reasons = [{"Code": code} | ({} if code == "None" else {"Message": "secret"}) for code in codes]
    return Answer(400, {"__type": "x#TransactionCanceledException", "message": "x", "CancellationReasons": reasons})


def refused(code: str, status: int = 400) -> Answer:
    """Return an error of the service, whose text quotes a value."""
    return Answer(status, {"__type": f"com.amazonaws.dynamodb.v20120810#{code}", "message": "secret words"})


def test_transactions_that_meet_are_tried_again(service: AwsServer) -> None:
    """A conflict passes; the waits grow, and the token is the same each time."""
    waits: list[float] = []
    service.answers = [canceled("TransactionConflict", "None"), canceled("None", "TransactionConflict"), Answer()]
    assert Assessments(TABLES, wait=waits.append).save(LEARNER, assessment()) is Saved.SAVED
    tokens = {request.document["ClientRequestToken"] for request in service.requests}
    assert len(service.requests) == 3
    assert len(tokens) == 1
    assert all(len(token) <= 36 for token in tokens)
    assert 0 < waits[0] < waits[1] < 1


def test_a_conflict_that_does_not_pass(service: AwsServer) -> None:
    """After some tries the save fails, and the caller queues it."""
    service.default = canceled("TransactionConflict", "ConditionalCheckFailed")
    with pytest.raises(SaveFailed, match=r"^dynamodb: other transactions were in the way$"):
        Assessments(TABLES, wait=lambda _s: None).save(LEARNER, assessment())
    assert len(service.requests) == 4


def test_a_conflict_without_reasons(service: AwsServer) -> None:
    """A cancellation that says nothing is taken for one that may pass."""
    service.answers = [canceled(), Answer()]
    assert Assessments(TABLES, wait=lambda _s: None).save(LEARNER, assessment()) is Saved.SAVED


def test_the_token_follows_the_content() -> None:
    """Another learner, table or document has another token."""
    with serve() as (server, url), pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL_DYNAMODB", url)
        Assessments(TABLES).save(LEARNER, assessment())
        Assessments(TABLES).save(LEARNER, assessment())
        Assessments(TABLES).save("other", assessment())
        Assessments(TABLES).save(LEARNER, assessment(band=7))
        Assessments(TableSettings(users="U", assessments="A")).save(LEARNER, assessment())
    tokens = [request.document["ClientRequestToken"] for request in server.requests]
    assert tokens[0] == tokens[1]
    assert len(set(tokens)) == 4


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (refused("AccessDeniedException"), AccessRefused),
        (refused("ResourceNotFoundException"), AccessRefused),
        (refused("ValidationException"), AccessRefused),
        (refused("ThrottlingException"), Throttled),
        (refused("ProvisionedThroughputExceededException"), Throttled),
        (refused("InternalServerError", 500), ServiceUnavailable),
    ],
)
def test_errors_are_ours_and_quote_nothing(
    service: AwsServer, monkeypatch: pytest.MonkeyPatch, answer: Answer, error: type[Exception]
) -> None:
    """Every call's error is mapped by its code or status, with the service's name and no text of the service."""
    monkeypatch.setattr("botocore.endpoint.time.sleep", lambda _s: None)
    service.default = answer
    store = Assessments(TABLES)
    for call in (
        lambda: store.save(LEARNER, assessment()),
        lambda: store.get(LEARNER, SESSION),
        lambda: store.module_unlocked(LEARNER, "academic_speaking"),
    ):
        with pytest.raises(error, match=r"^dynamodb answered \d{3} \w+$") as caught:
            call()
        assert "secret" not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize(
    "answer", [refused("ThrottlingException"), refused("ProvisionedThroughputExceededException"), refused("Gone", 503)]
)
def test_what_passes_within_the_sdks_own_retries_is_never_seen(
    service: AwsServer, monkeypatch: pytest.MonkeyPatch, answer: Answer
) -> None:
    """Three refusals, then the save is taken; each try carries the same token, so that none is carried out twice."""
    waits: list[float] = []
    monkeypatch.setattr("botocore.endpoint.time.sleep", waits.append)
    service.answers = [answer] * 3 + [Answer()]
    assert Assessments(TABLES).save(LEARNER, assessment()) is Saved.SAVED
    assert len(service.requests) == 4
    assert len({request.document["ClientRequestToken"] for request in service.requests}) == 1
    assert len(waits) == 3


def test_the_item_alone_is_refused(service: AwsServer) -> None:
    """An error while the item is saved without the profile is the save's."""
    service.answers = [canceled("None", "ConditionalCheckFailed"), refused("AccessDeniedException")]
    with pytest.raises(AccessRefused):
        Assessments(TABLES).save(LEARNER, assessment())


def test_nobody_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    """No connection, and no answer in time."""
    monkeypatch.setattr("botocore.endpoint.time.sleep", lambda _s: None)
    monkeypatch.setenv("AWS_ENDPOINT_URL_DYNAMODB", "http://127.0.0.1:1")
    with pytest.raises(ServiceUnavailable, match=r"^dynamodb could not be called: EndpointConnectionError$"):
        Assessments(TABLES).get(LEARNER, SESSION)


def test_a_late_answer_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """The time limit of the client holds."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        monkeypatch.setenv("AWS_ENDPOINT_URL_DYNAMODB", f"http://127.0.0.1:{listener.getsockname()[1]}")
        made = aws_calls.client("dynamodb", connect_timeout_s=0.5, read_timeout_s=0.05, attempts=1)
        with (
            pytest.raises(RemoteTimeout, match=r"^dynamodb did not answer in time$"),
            aws_calls.remote_errors("dynamodb"),
        ):
            made.list_tables()


def test_no_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    """A function without a role is refused, not unavailable."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    with pytest.raises(AccessRefused, match=r"^dynamodb: there are no credentials$"):
        Assessments(TABLES).get(LEARNER, SESSION)


def test_threads_may_share_it(tables: Tables) -> None:
    """First calls from many threads at once make their clients one after the other."""
    store = Assessments(TABLES)
    with ThreadPoolExecutor(8) as threads:
        results = list(threads.map(lambda n: store.get(f"learner-{n}", SESSION), range(16)))
    assert results == [None] * 16
