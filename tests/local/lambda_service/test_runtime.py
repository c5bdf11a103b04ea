"""What handlers see of their execution environment, and what becomes of their failures."""

import asyncio
import json
import signal
from collections.abc import Callable
from typing import Any

import pytest

from infra.local.lambda_service.results import InvocationResult
from infra.local.lambda_service.service import LambdaService
from tests.local.lambda_service.support import MakeFunction, Meeting, StartService


async def call(service: LambdaService, name: str, event: Any = None) -> tuple[Any, InvocationResult]:
    """Invoke a function and decode its answer."""
    result = await service.invoke(name, event if event is not None else {})
    return json.loads(result.payload), result


@pytest.mark.parametrize("fork", [True, False])
async def test_context_and_variables_are_lambda_s(
    start_service: StartService, function: MakeFunction, fork: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A handler sees Lambda's context and variables and nothing of the service's own environment."""
    monkeypatch.setenv("SECRET_OF_THE_SHELL", "x")
    described = function("describe", fork=fork, timeout_s=30, memory_mb=512, env={"OWN": "1", "SHARED": "function"})
    service = await start_service(described, env={"SHARED": "cloud"}, environ={"AWS_ENDPOINT_URL_LAMBDA": "http://l"})
    answer, result = await call(service, "describe")
    context, environ = answer["context"], answer["environ"]
    assert context["aws_request_id"] == result.request_id
    assert context["function_name"] == "describe"
    assert context["function_version"] == "$LATEST"
    assert context["invoked_function_arn"] == "arn:aws:lambda:us-east-1:123456789012:function:describe"
    assert context["memory_limit_in_mb"] == "512"
    assert context["log_group_name"] == "/aws/lambda/describe"
    assert context["client_context"] is None
    assert answer["cognito"] == [None, None]
    assert 0 < answer["remaining_ms"] <= 30_000
    assert context["log_stream_name"] == environ["AWS_LAMBDA_LOG_STREAM_NAME"]
    assert "[$LATEST]" in context["log_stream_name"]
    expected = {
        "AWS_LAMBDA_FUNCTION_NAME": "describe",
        "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "512",
        "AWS_LAMBDA_LOG_GROUP_NAME": "/aws/lambda/describe",
        "AWS_REGION": "us-east-1",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ENDPOINT_URL_LAMBDA": "http://l",
        "LAMBDA_TASK_ROOT": described.root,
        "_HANDLER": "sample.describe",
        "TZ": ":UTC",
        "OWN": "1",
        "SHARED": "function",
    }
    assert {name: environ.get(name) for name in expected} == expected
    assert environ["AWS_EXECUTION_ENV"].startswith("AWS_Lambda_python3.")
    assert environ["_X_AMZN_TRACE_ID"].startswith("Root=1-")
    assert "SECRET_OF_THE_SHELL" not in environ


@pytest.mark.parametrize("fork", [True, False])
async def test_a_function_imports_from_its_own_folder_only(
    start_service: StartService, function: MakeFunction, fork: bool
) -> None:
    """The repository is neither on the path nor among the modules, so a missing file in a package is noticed."""
    service = await start_service(function("describe", fork=fork))
    answer, _ = await call(service, "describe")
    root = service.resolve("describe").root
    assert answer["cwd"] == answer["path"][0] == root
    assert root.removesuffix("/tests/local/lambda_service/functions") not in answer["path"]
    assert not [name for name in answer["modules"] if name.partition(".")[0] in ("infra", "asyncio", "boto3")]


async def test_forked_environments_share_one_import(start_service: StartService, function: MakeFunction) -> None:
    """With fork the template has imported the handler; without, each environment does."""
    service = await start_service(function("describe"), function("fresh", handler="sample.describe", fork=False))
    forked, _ = await call(service, "describe")
    fresh, _ = await call(service, "fresh")
    assert forked["imported_by"] != forked["pid"]
    assert fresh["imported_by"] == fresh["pid"]


@pytest.mark.parametrize("fork", [True, False])
async def test_a_function_alone_has_its_own_folder_and_nothing_installed_here(
    start_service: StartService, function: MakeFunction, *, fork: bool
) -> None:
    """As in the cloud, where only what was packaged is there; usually the packages of this machine are, too."""
    service = await start_service(
        function("alone", handler="sample.describe", alone=True, fork=fork), function("describe", fork=fork)
    )
    alone, _ = await call(service, "alone")
    usual, _ = await call(service, "describe")
    assert not [folder for folder in alone["path"] if "site-packages" in folder]
    assert [folder for folder in usual["path"] if "site-packages" in folder]


async def test_a_raise_is_unhandled_with_type_message_and_stack(
    start_service: StartService, function: MakeFunction, logged: Callable[[str], str]
) -> None:
    """An exception is the answer, with the stack from the handler on, and is in the log."""
    service = await start_service(function("misbehave"))
    answer, result = await call(service, "misbehave", {"how": "raise"})
    assert result.function_error == "Unhandled"
    assert answer["errorType"] == "KeyError"
    assert answer["errorMessage"] == "'no such thing'"
    assert answer["requestId"] == result.request_id
    assert len(answer["stackTrace"]) == 1
    assert "in misbehave" in answer["stackTrace"][0]
    assert "[ERROR] KeyError: 'no such thing'\nTraceback (most recent call last):" in logged("misbehave")


@pytest.mark.parametrize("fork", [True, False])
@pytest.mark.parametrize(
    ("event", "reason"),
    [
        ({"how": "exit", "code": 3}, "exit status 3"),
        ({"how": "exit", "code": 0}, "without providing a reason"),
        ({"how": "sys.exit", "code": 4}, "exit status 4"),
        ({"how": "kill", "signal": signal.SIGKILL}, "signal: killed"),
        ({"how": "segfault"}, "signal: segmentation fault"),
    ],
)
async def test_a_crash_stays_in_its_environment(
    start_service: StartService, function: MakeFunction, fork: bool, event: Any, reason: str
) -> None:
    """However an environment dies, its caller gets Runtime.ExitError and the next call a new environment."""
    service = await start_service(function("misbehave", fork=fork))
    before, _ = await call(service, "misbehave", {"how": "well"})
    answer, result = await call(service, "misbehave", event)
    assert result.function_error == "Unhandled"
    assert answer["errorType"] == "Runtime.ExitError"
    assert answer["errorMessage"].startswith(f"RequestId: {result.request_id} Error: Runtime exited")
    assert answer["errorMessage"].endswith(reason)
    after, _ = await call(service, "misbehave", {"how": "well"})
    assert after["pid"] != before["pid"]


async def test_a_raise_keeps_the_environment(start_service: StartService, function: MakeFunction) -> None:
    """An environment whose handler raised is used again."""
    service = await start_service(function("misbehave"))
    before, _ = await call(service, "misbehave", {"how": "well"})
    await call(service, "misbehave", {"how": "raise"})
    after, _ = await call(service, "misbehave", {"how": "well"})
    assert after["pid"] == before["pid"]


@pytest.mark.parametrize(
    ("how", "error_type"),
    [("unserialisable", "Runtime.MarshalError"), ("huge", "Function.ResponseSizeTooLarge")],
)
async def test_answers_that_cannot_be_passed_on(
    start_service: StartService, function: MakeFunction, how: str, error_type: str
) -> None:
    """An answer without JSON form, or over 6 MB, is a function error."""
    service = await start_service(function("misbehave"))
    answer, result = await call(service, "misbehave", {"how": how})
    assert result.function_error == "Unhandled"
    assert answer["errorType"] == error_type


async def test_decimals_are_answered_as_numbers(start_service: StartService, function: MakeFunction) -> None:
    """What DynamoDB returns can be answered."""
    service = await start_service(function("misbehave"))
    answer, result = await call(service, "misbehave", {"how": "decimal"})
    assert (answer, result.function_error) == ({"number": 1.5}, None)


async def test_events_of_megabytes_go_both_ways(start_service: StartService, function: MakeFunction) -> None:
    """An event larger than any socket buffer arrives whole and comes back whole."""
    service = await start_service(function("echo"))
    event = {"text": "ä" * 2_500_000}
    answer, _ = await call(service, "echo", event)
    assert answer == event


async def test_a_timeout_kills_the_environment(
    start_service: StartService, function: MakeFunction, meeting: Meeting, logged: Callable[[str], str]
) -> None:
    """A function that takes too long is killed, its caller and its log are told after how many seconds."""
    service = await start_service(function("meet", timeout_s=1.0))
    invocation = asyncio.ensure_future(call(service, "meet", {"port": meeting.port}))
    visitor = await meeting.next()
    answer, result = await invocation
    assert result.function_error == "Unhandled"
    assert answer == {
        "errorType": "Sandbox.Timedout",
        "errorMessage": f"RequestId: {result.request_id} Error: Task timed out after 1.00 seconds",
    }
    await visitor.left()
    assert f"{result.request_id} Task timed out after 1.00 seconds" in logged("meet")


async def test_output_goes_to_the_log_folder(
    start_service: StartService, function: MakeFunction, logged: Callable[[str], str]
) -> None:
    """Prints, standard error, Python's logging in Lambda's format and context.log are in the function's log."""
    service = await start_service(function("talk"))
    _, result = await call(service, "talk", {"word": "heron"})
    text = logged("talk")
    assert "printed heron\n" in text
    assert "to stderr\n" in text
    assert "by context\n" in text
    assert "[WARNING]\t" in text
    assert f"Z\t{result.request_id}\tlogged heron\n" in text


@pytest.mark.parametrize("fork", [True, False])
@pytest.mark.parametrize(
    ("handler", "error_type"),
    [
        ("broken_import.handler", "Runtime.ImportModuleError"),
        ("raising_import.handler", "RuntimeError"),
        ("dying_import.handler", "Runtime.ExitError"),
        ("sample.no_such_handler", "Runtime.HandlerNotFound"),
    ],
)
async def test_a_handler_that_does_not_load(
    start_service: StartService, function: MakeFunction, fork: bool, handler: str, error_type: str
) -> None:
    """A failed import is the answer to every invocation, and does not keep the service from starting."""
    service = await start_service(function("broken", handler=handler, fork=fork))
    for _ in range(2):
        answer, result = await call(service, "broken")
        assert result.function_error == "Unhandled"
        assert answer["errorType"] == error_type


async def test_a_failed_import_is_told_at_the_start(
    start_service: StartService, function: MakeFunction, caplog: pytest.LogCaptureFixture
) -> None:
    """The service's own log says at once which handler does not load, and why."""
    await start_service(function("broken", handler="broken_import.handler"))
    assert "broken: the handler could not be loaded: Runtime.ImportModuleError: Unable to import" in caplog.text


async def test_an_import_that_starts_threads_is_not_forked(
    start_service: StartService, function: MakeFunction, caplog: pytest.LogCaptureFixture
) -> None:
    """A process with threads cannot be forked safely, so such functions get fresh interpreters."""
    service = await start_service(function("t", handler="threaded_import.handler"))
    answer, _ = await call(service, "t")
    assert answer["imported_by"] == answer["pid"]
    assert "its import starts threads" in caplog.text
