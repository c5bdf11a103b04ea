"""The connect handler, against moto."""

from collections.abc import Iterator
from typing import Any

import pytest
from moto import mock_aws

from handlers import connect
from handlers.guard import HandlerFailed
from tests.adapters.test_assessments import Tables
from tests.handlers.events import LEARNER, Context, connect_event

OFFER = ("Sec-WebSocket-Protocol", "maya.v1, bearer.x")


@pytest.fixture
def tables() -> Iterator[Tables]:
    """Serve DynamoDB with both tables, empty."""
    with mock_aws():
        yield Tables()


@pytest.mark.parametrize("modules", [{"academic_speaking"}, {"general_speaking", "academic_writing"}])
def test_a_speaking_module_opens_the_connection(tables: Tables, modules: Any) -> None:
    """The subprotocol is echoed, without the token beside it."""
    tables.users.put_item(Item={"user_id": LEARNER, "unlocked_modules": modules})
    assert connect.handler(connect_event(OFFER), Context()) == {
        "statusCode": 200,
        "headers": {"Sec-WebSocket-Protocol": "maya.v1"},
    }


@pytest.mark.parametrize("item", [None, {}, {"unlocked_modules": {"academic_writing"}}])
def test_without_one_it_is_refused(tables: Tables, item: Any) -> None:
    """A learner without a speaking module, or without a profile, gets 403."""
    if item is not None:
        tables.users.put_item(Item={"user_id": LEARNER, **item})
    assert connect.handler(connect_event(OFFER), Context()) == {"statusCode": 403}


def test_dynamodb_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    """That is no 403: the app may try again."""
    monkeypatch.setattr("botocore.endpoint.time.sleep", lambda _s: None)
    monkeypatch.setenv("AWS_ENDPOINT_URL_DYNAMODB", "http://127.0.0.1:1")
    with pytest.raises(HandlerFailed, match=r"^service_unavailable$"):
        connect.handler(connect_event(OFFER), Context())


def test_a_connection_without_a_learner(tables: Tables) -> None:
    """A route that was deployed without the authorizer lets nobody in."""
    with pytest.raises(HandlerFailed, match=r"^no_learner$"):
        connect.handler(connect_event(OFFER, learner=None), Context())
