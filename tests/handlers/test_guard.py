"""How handlers end."""

import json
import traceback
from typing import Any

import pytest

from gateway.core.errors import ServiceUnavailable
from handlers.guard import Event, HandlerFailed, guarded, learner_of
from tests.handlers.events import LEARNER, Context, message_event

SPOKEN = "i was born in a small town"


@guarded
def failing(event: Event, _context: object) -> str:
    """Raise what the event holds, or answer."""
    error = event.get("error")
    if error is not None:
        raise error
    return "answer"


def test_an_answer_is_passed_on(capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing is logged of what went well, and the handler keeps its name."""
    assert failing({}, Context()) == "answer"
    assert failing.__name__ == "failing"
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ValueError(SPOKEN), "internal"),
        (KeyError(SPOKEN), "internal"),
        (ServiceUnavailable(SPOKEN), "service_unavailable"),
    ],
)
def test_an_error_ends_as_a_code(error: Exception, code: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Lambda sees a code and no more; the log has the type besides, and neither has the text."""
    with pytest.raises(HandlerFailed) as caught:
        failing({"error": error}, Context())
    assert str(caught.value) == caught.value.code == code
    assert caught.value.__context__ is None
    assert "small town" not in "".join(traceback.format_exception(caught.value))
    out, err = capsys.readouterr()
    assert json.loads(out) == {
        "event": "handler_failed",
        "level": "error",
        "handler": __name__,
        "code": code,
        "error": type(error).__name__,
        "at": json.loads(out)["at"],
        "request_id": Context.aws_request_id,
    }
    assert json.loads(out)["at"].startswith("handlers.guard:")
    assert "small town" not in out + err


def test_a_failure_with_a_code_is_passed_on(capsys: pytest.CaptureFixture[str]) -> None:
    """A handler's own refusal keeps its code and is not logged as a fault."""
    refusal = HandlerFailed("Unauthorized")
    with pytest.raises(HandlerFailed) as caught:
        failing({"error": refusal}, Context())
    assert caught.value is refusal
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("authorizer", [None, {}, {"learner": ""}, {"learner": 7}, {"principalId": LEARNER}])
def test_an_event_without_a_learner(authorizer: Any) -> None:
    """Only what the authorizer's context names is a learner."""
    event = message_event("{}")
    assert learner_of(event) == LEARNER
    event["requestContext"]["authorizer"] = authorizer
    with pytest.raises(HandlerFailed, match=r"^no_learner$"):
        learner_of(event)
