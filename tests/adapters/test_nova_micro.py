"""Nova Micro by script: what is asked, what comes back, and how it fails."""

import traceback
from collections.abc import Iterator
from typing import Any

import pytest

from gateway.adapters import aws_calls
from gateway.adapters.nova_micro import NovaMicro
from gateway.core.assessment import (
    TranscriptLine,
    micro_assess_request,
    micro_summary_request,
    parse_summary,
)
from gateway.core.errors import AccessRefused, BadToolInput, RemoteTimeout, ServiceUnavailable, Throttled
from gateway.settings import micro_settings
from tests.adapters.aws_server import Answer, AwsServer, serve
from tests.adapters.written import notes

SUMMARY = {"summary": "You spoke well.", "strengths": ["Clear."], "next_steps": ["Read more."]}


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Iterator[AwsServer]:
    """Serve Bedrock by script, without waits between tries."""
    aws_calls._session.cache_clear()
    monkeypatch.setattr("botocore.endpoint.time.sleep", lambda _s: None)
    with serve() as (server, url):
        monkeypatch.setenv("AWS_ENDPOINT_URL_BEDROCK_RUNTIME", url)
        yield server
    aws_calls._session.cache_clear()


@pytest.fixture
def micro() -> NovaMicro:
    """Return what is tested."""
    return NovaMicro(micro_settings({}))


def said(*blocks: dict[str, Any], stop: str = "tool_use") -> Answer:
    """Return an answer of Converse with these blocks of content."""
    return Answer(
        200,
        {
            "output": {"message": {"role": "assistant", "content": list(blocks)}},
            "stopReason": stop,
            "usage": {"inputTokens": 1, "outputTokens": 1, "totalTokens": 2},
            "metrics": {"latencyMs": 1},
        },
    )


def use(name: str, arguments: Any) -> dict[str, Any]:
    """Return a call of a tool."""
    return {"toolUse": {"toolUseId": "t1", "name": name, "input": arguments}}


def test_the_tool_must_be_called_and_its_arguments_come_back(service: AwsServer, micro: NovaMicro) -> None:
    """The request names model, prompts and the one tool; text beside the call is passed over."""
    service.answers = [said({"text": "Here it is."}, use("summarise_test", SUMMARY))]
    request = micro_summary_request([notes(1), notes(2)])
    arguments = micro.ask(request)
    assert parse_summary(arguments).summary == "You spoke well."
    (asked,) = service.requests
    assert asked.path == "/model/amazon.nova-micro-v1%3A0/converse"
    document = asked.document
    assert document["system"] == [{"text": request.system}]
    assert document["messages"] == [{"role": "user", "content": [{"text": request.user}]}]
    assert document["toolConfig"]["toolChoice"] == {"tool": {"name": "summarise_test"}}
    (tool,) = document["toolConfig"]["tools"]
    assert tool["toolSpec"]["inputSchema"]["json"] == request.tool.schema
    assert document["inferenceConfig"] == {"maxTokens": 2000, "temperature": 0.0}


@pytest.mark.parametrize(
    "answer",
    [
        said({"text": "I would rather talk."}, stop="end_turn"),
        said(use("another_tool", SUMMARY)),
        said(use("summarise_test", "secret text")),
        said(),
        Answer(200, {}),
    ],
)
def test_no_call_of_the_tool_is_bad_input(service: AwsServer, micro: NovaMicro, answer: Answer) -> None:
    """The error can go back to the model and quotes nothing."""
    service.answers = [answer]
    with pytest.raises(BadToolInput, match=r"^summarise_test must be called with a JSON object$"):
        micro.ask(micro_summary_request([notes(1)]))


def test_passing_errors_are_tried_again(service: AwsServer, micro: NovaMicro) -> None:
    """Throttling and faults of the service cost a retry, not the assessment."""
    service.answers = [
        Answer(429, {"message": "slow"}, "ThrottlingException"),
        Answer(503, {"message": "down"}, "ServiceUnavailableException"),
        said(use("summarise_test", SUMMARY)),
    ]
    assert micro.ask(micro_summary_request([notes(1)])) == SUMMARY
    assert len(service.requests) == 3


@pytest.mark.parametrize(
    ("status", "name", "error", "tries"),
    [
        (429, "ThrottlingException", Throttled, 3),
        (400, "ServiceQuotaExceededException", Throttled, 1),
        (503, "ServiceUnavailableException", ServiceUnavailable, 3),
        (408, "ModelTimeoutException", RemoteTimeout, 3),
        (403, "AccessDeniedException", AccessRefused, 1),
        (404, "ResourceNotFoundException", AccessRefused, 1),
        (400, "ValidationException", AccessRefused, 1),
    ],
)
def test_errors_are_ours_and_quote_nothing(
    service: AwsServer, status: int, name: str, error: type[Exception], tries: int
) -> None:
    """What the service says is dropped: it may quote the transcript."""
    service.default = Answer(status, {"message": "secret words"}, name)
    request = micro_assess_request(1, [TranscriptLine("learner", "secret words were spoken")])
    with pytest.raises(error) as caught:
        NovaMicro(micro_settings({})).ask(request)
    assert "secret" not in "".join(traceback.format_exception(caught.value))
    assert len(service.requests) <= tries
    assert "secret" not in repr(request)
