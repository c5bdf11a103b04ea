"""Starting relays, against Lambda by script."""

from collections.abc import Iterator

import pytest

from gateway.adapters import aws_calls
from gateway.adapters.launcher import RelayLauncher
from gateway.core.errors import AccessRefused, ServiceUnavailable, Throttled
from tests.adapters.aws_server import Answer, AwsServer, serve


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Iterator[AwsServer]:
    """Serve Lambda by script, without waits between tries."""
    aws_calls._session.cache_clear()
    monkeypatch.setattr("botocore.endpoint.time.sleep", lambda _s: None)
    with serve() as (server, url):
        monkeypatch.setenv("AWS_ENDPOINT_URL_LAMBDA", url)
        server.default = Answer(202)
        yield server
    aws_calls._session.cache_clear()


def test_the_invocation_is_asynchronous_and_holds_the_id_alone(service: AwsServer) -> None:
    """The relay is named, the payload is the learner's id."""
    RelayLauncher("maya-relay").launch("learner-1")
    (request,) = service.requests
    assert request.path == "/2015-03-31/functions/maya-relay/invocations"
    assert request.headers["X-Amz-Invocation-Type"] == "Event"
    assert request.document == {"version": 1, "learner": "learner-1"}


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (Answer(429, {"Reason": "ConcurrentInvocationLimitExceeded"}, "TooManyRequestsException"), Throttled),
        (Answer(500, {}, "ServiceException"), ServiceUnavailable),
        (Answer(404, {"Message": "Function not found"}, "ResourceNotFoundException"), AccessRefused),
    ],
)
def test_lambda_does_not_take_it(service: AwsServer, answer: Answer, error: type[Exception]) -> None:
    """An error of ours with Lambda's code."""
    service.default = answer
    with pytest.raises(error, match=r"^lambda answered \d{3} \w+$"):
        RelayLauncher("maya-relay").launch("learner-1")
    assert len(service.requests) <= 2
