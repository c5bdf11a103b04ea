"""The relay's entry point; the relay itself is tested in the modules that it is made of."""

import json
from typing import Any

import pytest

from gateway.core.errors import ServiceUnavailable
from handlers import relay
from handlers.guard import HandlerFailed
from tests.handlers.events import LEARNER, Context

EVENT = {"version": 1, "learner": LEARNER}


def test_event_and_context_are_passed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """The relay gets the payload and the time that is left, once the process prints nothing any more."""
    seen: list[Any] = []
    monkeypatch.setattr(relay, "take_over", lambda telemetry: seen.append(type(telemetry).__name__))
    monkeypatch.setattr(relay, "run_relay", lambda *arguments: seen.append(arguments))
    context = Context()
    relay.handler(EVENT, context)
    relay.handler(EVENT, context)
    assert seen == ["Telemetry", (EVENT, context), (EVENT, context)]


def test_a_relay_that_fails_leaves_a_code(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """The invocation's record, which goes to the finish queue, says what failed and nothing of the conversation."""

    def fail(*_: object) -> None:
        raise ServiceUnavailable("the learner said secret words")

    monkeypatch.setattr(relay, "run_relay", fail)
    with pytest.raises(HandlerFailed, match=r"^service_unavailable$") as caught:
        relay.handler(EVENT, Context())
    assert caught.value.__context__ is None
    out = capsys.readouterr().out
    assert json.loads(out)["handler"] == "handlers.relay"
    assert "secret" not in out


def test_without_settings_it_fails_before_it_begins(monkeypatch: pytest.MonkeyPatch) -> None:
    """A wrong level of the log is the operator's fault and ends in a code."""
    monkeypatch.setenv("MAYA_LOG_LEVEL", "LOUD")
    with pytest.raises(HandlerFailed, match=r"^internal$"):
        relay.handler(EVENT, Context())
