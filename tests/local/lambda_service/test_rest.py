"""The Lambda API, called by the real boto3 client."""

import asyncio
import base64
import json
import urllib.request
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import boto3
import psutil
import pytest
from aiohttp import web
from botocore.config import Config
from botocore.exceptions import ClientError

from infra.local.lambda_service import rest
from infra.local.lambda_service.service import LambdaService
from tests.local.lambda_service.support import MakeFunction, Meeting, StartService

Connect = Callable[[LambdaService], Awaitable[tuple[str, Callable[..., Awaitable[Any]], Any]]]


@pytest.fixture
async def connect() -> AsyncIterator[Connect]:
    """Serve a Lambda service over HTTP; returns its URL and a boto3 client whose calls run in a thread."""
    runners: list[web.AppRunner] = []
    clients: list[Any] = []

    async def start(service: LambdaService) -> tuple[str, Callable[..., Awaitable[Any]], Any]:
        runner = web.AppRunner(rest.make_app(service), access_log=None)
        await runner.setup()
        runners.append(runner)
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        client = boto3.client(
            "lambda",
            endpoint_url=url,
            region_name="us-east-1",
            aws_access_key_id="a",
            aws_secret_access_key="b",
            config=Config(retries={"total_max_attempts": 1}),
        )
        clients.append(client)

        async def invoke(name: str, payload: bytes = b"", **parameters: Any) -> Any:
            response: Any = await asyncio.to_thread(client.invoke, FunctionName=name, Payload=payload, **parameters)
            with response["Payload"] as stream:
                response["Payload"] = stream.read()
            return response

        return url, invoke, client

    yield start
    for client in clients:
        client.close()
    for runner in runners:
        await runner.cleanup()


async def refused(invocation: Awaitable[Any]) -> Any:
    """The error of a call that is refused."""
    with pytest.raises(ClientError) as caught:
        await invocation
    return caught.value.response


async def test_request_response(start_service: StartService, function: MakeFunction, connect: Connect) -> None:
    """A synchronous call returns the handler's answer, its request id and the version."""
    service = await start_service(function("echo"))
    _, invoke, _ = await connect(service)
    response = await invoke("echo", b'{"a": [1, "\xc3\xa4"]}')
    assert json.loads(response["Payload"]) == {"a": [1, "ä"]}
    assert response["StatusCode"] == 200
    assert response["ExecutedVersion"] == "$LATEST"
    assert "FunctionError" not in response
    assert len(response["ResponseMetadata"]["RequestId"]) == 36


async def test_no_payload_is_an_empty_object(
    start_service: StartService, function: MakeFunction, connect: Connect
) -> None:
    """A call without payload passes {}."""
    service = await start_service(function("echo"))
    _, invoke, _ = await connect(service)
    assert (await invoke("echo"))["Payload"] == b"{}"


@pytest.mark.parametrize(
    "name",
    [
        "arn:aws:lambda:us-east-1:123456789012:function:echo",
        "123456789012:function:echo",
        "123456789012:echo",
        "function:echo",
        "echo:$LATEST",
    ],
)
async def test_functions_by_arn(
    start_service: StartService, function: MakeFunction, connect: Connect, name: str
) -> None:
    """A function is found by every form of its name."""
    service = await start_service(function("echo"))
    _, invoke, _ = await connect(service)
    assert (await invoke(name, b"1"))["Payload"] == b"1"


async def test_function_error_header(start_service: StartService, function: MakeFunction, connect: Connect) -> None:
    """A failed function answers 200 with X-Amz-Function-Error."""
    service = await start_service(function("misbehave"))
    _, invoke, _ = await connect(service)
    response = await invoke("misbehave", b'{"how": "raise"}')
    assert response["StatusCode"] == 200
    assert response["FunctionError"] == "Unhandled"
    assert json.loads(response["Payload"])["errorType"] == "KeyError"


@pytest.mark.parametrize("kind", ["RequestResponse", "Event", "DryRun"])
@pytest.mark.parametrize("name", ["nobody", "echo:live", "arn:aws:lambda:eu-west-1:123456789012:function:echo"])
async def test_unknown_functions(
    start_service: StartService, function: MakeFunction, connect: Connect, kind: str, name: str
) -> None:
    """An unknown function, alias or region is ResourceNotFoundException."""
    service = await start_service(function("echo"))
    _, invoke, _ = await connect(service)
    response = await refused(invoke(name, b"{}", InvocationType=kind))
    assert response["Error"]["Code"] == "ResourceNotFoundException"
    assert response["ResponseMetadata"]["HTTPStatusCode"] == 404
    assert response["Error"]["Message"].startswith("Function not found: arn:aws:lambda:")


async def test_event_is_202_and_runs(
    start_service: StartService, function: MakeFunction, connect: Connect, meeting: Meeting
) -> None:
    """An asynchronous call returns at once, and the function runs."""
    service = await start_service(function("meet"))
    _, invoke, _ = await connect(service)
    response = await invoke("meet", json.dumps({"port": meeting.port}).encode(), InvocationType="Event")
    assert (response["StatusCode"], response["Payload"]) == (202, b"")
    (await meeting.next()).let_go()
    assert await service.drain(10)


async def test_event_over_the_concurrency_waits(
    start_service: StartService, function: MakeFunction, connect: Connect, meeting: Meeting
) -> None:
    """Asynchronous calls over the reserved concurrency are queued, not refused."""
    service = await start_service(function("meet", reserved_concurrency=1), throttle_waits_s=(0.0,))
    _, invoke, _ = await connect(service)
    event = json.dumps({"port": meeting.port}).encode()
    for _ in range(2):
        assert (await invoke("meet", event, InvocationType="Event"))["StatusCode"] == 202
    (await meeting.next()).let_go()
    (await meeting.next()).let_go()


async def test_dry_run_is_204(start_service: StartService, function: MakeFunction, connect: Connect) -> None:
    """A dry run runs nothing."""
    service = await start_service(function("misbehave"))
    _, invoke, _ = await connect(service)
    response = await invoke("misbehave", b'{"how": "raise"}', InvocationType="DryRun")
    assert response["StatusCode"] == 204
    assert service.pools[0].source.environments == []


@pytest.mark.parametrize(
    ("kind", "limit"), [("RequestResponse", 6 * 1024 * 1024), ("Event", 1024 * 1024), ("DryRun", 6 * 1024 * 1024)]
)
async def test_payload_limits(
    start_service: StartService, function: MakeFunction, connect: Connect, kind: str, limit: int
) -> None:
    """6 MB synchronously and 1 MB asynchronously are taken, one byte more is 413."""
    service = await start_service(function("talk"), function("count"))
    _, invoke, _ = await connect(service)
    payload = b'"' + b"x" * (limit - 2) + b'"'
    assert (await invoke("count", payload, InvocationType=kind))["StatusCode"] < 300
    response = await refused(invoke("count", payload[:-1] + b'x"', InvocationType=kind))
    assert response["ResponseMetadata"]["HTTPStatusCode"] == 413
    assert response["Error"]["Code"] == "RequestEntityTooLargeException"
    assert f"limit {limit} bytes" in response["Error"]["Message"]


async def test_a_payload_must_be_json(start_service: StartService, function: MakeFunction, connect: Connect) -> None:
    """What is not JSON is refused without being quoted."""
    service = await start_service(function("echo"))
    _, invoke, _ = await connect(service)
    response = await refused(invoke("echo", b"{heron"))
    assert response["Error"]["Code"] == "InvalidRequestContentException"
    assert "heron" not in response["Error"]["Message"]


async def test_too_many_requests(
    start_service: StartService, function: MakeFunction, connect: Connect, meeting: Meeting
) -> None:
    """A synchronous call over the reserved concurrency is 429."""
    service = await start_service(function("meet", reserved_concurrency=1))
    _, invoke, client = await connect(service)
    running = asyncio.ensure_future(invoke("meet", json.dumps({"port": meeting.port}).encode()))
    visitor = await meeting.next()
    with pytest.raises(client.exceptions.TooManyRequestsException) as caught:
        await invoke("meet", b"{}")
    assert caught.value.response["Reason"] == "ReservedFunctionConcurrentInvocationLimitExceeded"
    visitor.let_go()
    assert (await running)["StatusCode"] == 200


async def test_log_tail(start_service: StartService, function: MakeFunction, connect: Connect) -> None:
    """LogType Tail returns the end of the log."""
    service = await start_service(function("talk"))
    _, invoke, _ = await connect(service)
    response = await invoke("talk", b'{"word": "heron"}', LogType="Tail")
    assert b"printed heron" in base64.b64decode(response["LogResult"])


async def test_unknown_invocation_types(start_service: StartService, function: MakeFunction, connect: Connect) -> None:
    """An invocation type that Lambda does not know is refused."""
    service = await start_service(function("echo"))
    _, invoke, _ = await connect(service)
    response = await refused(invoke("echo", b"{}", InvocationType="Later"))
    assert response["Error"]["Code"] == "InvalidParameterValueException"


async def test_processes(start_service: StartService, function: MakeFunction, connect: Connect) -> None:
    """The control endpoint tells pids, invocations, CPU time and memory by function, ended environments included."""
    service = await start_service(function("count"), function("misbehave"))
    url, invoke, _ = await connect(service)
    counted = [json.loads((await invoke("count"))["Payload"]) for _ in range(3)]
    await invoke("misbehave", b'{"how": "exit", "code": 1}')

    def read() -> Any:
        with urllib.request.urlopen(f"{url}/_local/processes") as response:  # noqa: S310 # http only
            return json.load(response)

    answer = await asyncio.to_thread(read)
    assert answer["service"]["pid"] == psutil.Process().pid
    assert answer["service"]["cpu_s"] > 0
    count, misbehave = answer["functions"]
    (environment,) = count["environments"]
    assert (count["function"], environment["pid"], environment["invocations"]) == ("count", counted[0]["pid"], 3)
    assert environment["rss_bytes"] > 1_000_000
    assert environment["busy"] is False
    assert count["template"]["cpu_s"] > 0
    assert count["cpu_s"] >= count["template"]["cpu_s"]
    assert misbehave["ended"]["environments"] == misbehave["invocations"] == 1
    assert misbehave["environments"] == []


async def test_what_is_under_way(
    start_service: StartService, function: MakeFunction, connect: Connect, meeting: Meeting
) -> None:
    """Each running invocation is told with its process, by the request id that its caller was given; ended ones are counted."""
    service = await start_service(function("meet"), function("echo"))
    url, invoke, _ = await connect(service)

    def look() -> Any:
        with urllib.request.urlopen(f"{url}/_local/invocations") as answer:  # noqa: S310 - this test's own server
            return json.load(answer)

    payload = json.dumps({"port": meeting.port}).encode()
    response = await invoke("meet", payload, InvocationType="Event")
    visitor = await meeting.next()
    running = {"request_id": response["ResponseMetadata"]["RequestId"], "pid": visitor.pid}
    assert await asyncio.to_thread(look) == {
        "meet": {"started": 1, "handler_s": 0.0, "running": [running]},
        "echo": {"started": 0, "handler_s": 0.0, "running": []},
    }
    visitor.let_go()
    assert await service.drain(10)
    ended = (await asyncio.to_thread(look))["meet"]
    assert (ended["started"], ended["running"]) == (1, [])
    assert ended["handler_s"] > 0
