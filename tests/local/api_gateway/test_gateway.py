"""Messages, errors, limits and ends of connections."""

import asyncio
import json
import socket
import struct
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed

from infra.local.lambda_service.results import ServiceFault, TooManyRequests
from tests.local.api_gateway.support import CLOSE_FRAME, Held, StartGateway, crash, result


async def closed(client: ClientConnection) -> tuple[int, str]:
    """Wait for the server's close; its code and reason."""
    with pytest.raises(ConnectionClosed) as caught:
        await client.recv()
    assert caught.value.rcvd is not None
    return caught.value.rcvd.code, caught.value.rcvd.reason


async def test_the_event_of_a_message(start_gateway: StartGateway) -> None:
    """A message has its body, a message id, the authorizer's context, and no headers."""
    gateway = await start_gateway(authorized=True)
    async with gateway.connect(additional_headers={"Token": "t"}) as client:
        gateway.clock.now_s += 1.5
        await client.send('{"action": "stream", "text": "ä"}')
        event = await gateway.functions.next("stream")
    assert set(event) == {"requestContext", "body", "isBase64Encoded"}
    assert event["body"] == '{"action": "stream", "text": "ä"}'
    assert event["isBase64Encoded"] is False
    context = event["requestContext"]
    assert (context["routeKey"], context["eventType"], context["messageDirection"]) == ("stream", "MESSAGE", "IN")
    assert context["authorizer"]["learner"] == "learner-1"
    assert context["authorizer"]["principalId"] == "learner-1"
    assert context["connectedAt"] == 1_700_000_000_000
    assert context["requestTimeEpoch"] == 1_700_000_001_500
    assert context["requestTime"] == "14/Nov/2023:22:13:21 +0000"
    assert context["requestId"] == context["extendedRequestId"]
    assert len(context["messageId"]) == len(context["requestId"]) == 16
    assert context["connectionId"] == gateway.functions.events["connect"][0]["requestContext"]["connectionId"]


@pytest.mark.parametrize("body", ['{"action": "unknown"}', "not json", "[]", ""])
async def test_what_has_no_route_goes_to_default(start_gateway: StartGateway, body: str) -> None:
    """$default takes everything else, with its own route key."""
    gateway = await start_gateway()
    async with gateway.connect() as client:
        await client.send(body)
        event = await gateway.functions.next("default")
    assert (event["requestContext"]["routeKey"], event["body"]) == ("$default", body)


async def test_without_default_it_is_forbidden(start_gateway: StartGateway) -> None:
    """No route and no $default gives the Forbidden frame in its exact spacing; the connection stays open."""
    gateway = await start_gateway(routes={"stream": "stream"})
    async with gateway.connect() as client:
        for _ in range(2):
            await client.send("x")
            frame = await client.recv()
            request_id = json.loads(frame)["requestId"]
            connection_id = gateway.connection_id()
            assert frame == (
                f'{{"message": "Forbidden", "connectionId":"{connection_id}", "requestId":"{request_id}"}}'
            )


@pytest.mark.parametrize("error", [None, TooManyRequests("Rate Exceeded."), ServiceFault("none")])
async def test_a_failing_function_gives_an_error_frame(start_gateway: StartGateway, error: Any) -> None:
    """A crash or a throttled function gives the frame, with the request id of the event; the connection stays open."""

    def fail(event: Any) -> Any:
        raise error or RuntimeError("secret")

    gateway = await start_gateway(functions={"stream": fail})
    async with gateway.connect() as client:
        await client.send('{"action": "stream"}')
        frame = await client.recv()
        event = gateway.functions.events["stream"][0]["requestContext"]
        assert frame == (
            f'{{"message": "Internal server error", "connectionId":"{event["connectionId"]}", '
            f'"requestId":"{event["requestId"]}"}}'
        )
        await client.send("x")
        await gateway.functions.next("default")


async def test_an_integration_that_takes_too_long_gives_an_error_frame(start_gateway: StartGateway) -> None:
    """After the integration timeout the client is told, and the function's late answer changes nothing."""
    slow = Held()
    gateway = await start_gateway(
        functions={"stream": slow}, limits={"integration_timeout_s": 0.05}, route_responses=("stream",)
    )
    async with gateway.connect() as client:
        await client.send('{"action": "stream"}')
        assert json.loads(await client.recv())["message"] == "Internal server error"
        assert slow.answers[0].cancelled()


async def test_bodies_are_ignored_without_a_route_response(start_gateway: StartGateway) -> None:
    """What a function returns is not sent, unless its route has a response."""
    gateway = await start_gateway(
        functions={"stream": lambda _event: {"statusCode": 200, "body": "one"}, "default": crash}
    )
    async with gateway.connect() as client:
        await client.send('{"action": "stream"}')
        await gateway.functions.next("stream")
        await client.send("x")
        assert json.loads(await client.recv())["message"] == "Internal server error"


@pytest.mark.parametrize(
    ("answer", "frame"),
    [({"statusCode": 200, "body": "one"}, "one"), (None, "Internal server error"), ({}, "Internal server error")],
)
async def test_two_way_routes_send_the_body(start_gateway: StartGateway, answer: Any, frame: str) -> None:
    """A configured route response sends the body; an answer without a status is an error."""
    gateway = await start_gateway(functions={"stream": lambda _event: answer}, route_responses=("stream",))
    async with gateway.connect() as client:
        await client.send('{"action": "stream"}')
        assert frame in await client.recv()


async def test_messages_of_one_connection_run_concurrently(start_gateway: StartGateway) -> None:
    """A message does not wait for the one before it, and answers come in any order."""
    held = Held()
    gateway = await start_gateway(functions={"default": held}, route_responses=("$default",))
    async with gateway.connect() as client:
        for body in "abc":
            await client.send(body)
        for _ in "abc":
            await gateway.functions.next("default")
        for body in "cab":
            held.answers["abc".index(body)].set_result(result({"statusCode": 200, "body": body}))
            assert await client.recv() == body


async def test_calls_under_way_are_bounded(start_gateway: StartGateway) -> None:
    """Over the bound messages wait unread; a finished call lets the next one through."""
    held = Held()
    gateway = await start_gateway(functions={"default": held}, limits={"integrations_in_flight": 2})
    async with gateway.connect() as one, gateway.connect() as two:
        for client in (one, two):
            await client.send("x")
            await client.send("y")
        for _ in range(2):
            await gateway.functions.next("default")
        await (await one.ping())
        await (await two.ping())
        assert len(held.answers) == 2
        held.answers[0].set_result(result({}))
        await gateway.functions.next("default")
        assert len(held.answers) == 3


async def test_no_connection_takes_all_calls(start_gateway: StartGateway) -> None:
    """One that floods waits for its own calls; another's message is passed on meanwhile, and refused ones hold no place."""
    held = Held()
    gateway = await start_gateway(functions={"default": held}, limits={"in_flight_per_connection": 2})
    async with gateway.connect() as flood, gateway.connect() as other:
        for _ in range(50):
            await flood.send("flood")
        await other.send("word")
        bodies = [(await gateway.functions.next("default"))["body"] for _ in range(3)]
        assert sorted(bodies) == ["flood", "flood", "word"]
        await (await other.ping())
        assert len(held.answers) == 3
        held.answers.pop(bodies.index("word")).set_result(result({}))
        for _ in range(48):
            held.answers.pop(0).set_result(result({}))
            assert (await gateway.functions.next("default"))["body"] == "flood"


async def test_what_a_deleted_connection_still_sends_reaches_no_function(start_gateway: StartGateway) -> None:
    """Its messages are read and forgotten until it is closed."""
    gateway = await start_gateway()
    async with gateway.connect() as client:
        await client.send("before")
        await gateway.functions.next("default")
        gateway.api.disconnect(gateway.only_session(), 1000, "")
        for _ in range(20):
            await client.send("after")
        assert (await closed(client))[0] == 1000
        await gateway.functions.next("disconnect")
    assert [event["body"] for event in gateway.functions.events["default"]] == ["before"]


async def test_jitter_shuffles_deliveries_by_its_seed(start_gateway: StartGateway) -> None:
    """With jitter a burst arrives complete and in another order."""
    gateway = await start_gateway(delivery_jitter_ms=50.0, seed=4)
    sent = [str(i) for i in range(30)]
    async with gateway.connect() as client:
        for body in sent:
            await client.send(body)
        received = [(await gateway.functions.next("default"))["body"] for _ in sent]
    assert received != sent
    assert sorted(received) == sorted(sent)


async def test_messages_are_throttled(start_gateway: StartGateway) -> None:
    """Over rate and burst a message is answered with an error frame and reaches no function."""
    gateway = await start_gateway(limits={"messages_per_s": 10.0, "messages_burst": 2})
    async with gateway.connect() as client:
        for body in "abc":
            await client.send(body)
        assert json.loads(await client.recv())["message"] == "Too Many Requests"
        assert [event["body"] for event in gateway.functions.events["default"]] == ["a", "b"]
        gateway.clock.now_s += 0.1
        await client.send("d")
        while (await gateway.functions.next("default"))["body"] != "d":
            pass


# Ends


async def test_a_binary_frame_closes_with_1003(start_gateway: StartGateway) -> None:
    """Only text is taken."""
    gateway = await start_gateway()
    async with gateway.connect() as client:
        await client.send(b"\x00\x01")
        assert (await closed(client))[0] == 1003
    event = await gateway.functions.next("disconnect")
    assert event["requestContext"]["disconnectStatusCode"] == 1003
    assert "default" not in gateway.functions.events


async def test_the_largest_message_and_frame_are_taken(start_gateway: StartGateway) -> None:
    """32 KB in one frame and 128 KB in four are fine."""
    gateway = await start_gateway()
    frame = "x" * 32 * 1024
    async with gateway.connect() as client:
        await client.send(frame)
        assert len((await gateway.functions.next("default"))["body"]) == 32 * 1024
        await client.send([frame] * 4)
        assert len((await gateway.functions.next("default"))["body"]) == 128 * 1024


@pytest.mark.parametrize(
    "message",
    [["x" * (32 * 1024 + 1)], ["x" * 32 * 1024] * 4 + ["x"]],
    ids=["a frame over 32 KB", "a message over 128 KB"],
)
async def test_what_is_too_large_closes_with_1009(start_gateway: StartGateway, message: list[str]) -> None:
    """One byte more closes the connection."""
    gateway = await start_gateway()
    async with gateway.connect() as client:
        await client.send(message)
        assert (await closed(client))[0] == 1009
    event = await gateway.functions.next("disconnect")
    assert event["requestContext"]["disconnectStatusCode"] == 1009
    assert "default" not in gateway.functions.events


async def test_ten_idle_minutes_close_with_1001(start_gateway: StartGateway) -> None:
    """A connection without messages either way for 10 minutes is closed; one message starts the time anew."""
    gateway = await start_gateway()
    async with gateway.connect() as client:
        gateway.clock.now_s += 599
        await client.send("x")
        await gateway.functions.next("default")
        gateway.clock.now_s += 599
        gateway.api.sweep()
        await gateway.post(b"still there")
        assert await client.recv() == "still there"
        gateway.clock.now_s += 600
        gateway.api.sweep()
        assert await closed(client) == (1001, "Going away")
    context = (await gateway.functions.next("disconnect"))["requestContext"]
    assert (context["disconnectStatusCode"], context["disconnectReason"]) == (1001, "Going away")


async def test_pings_are_answered_but_do_not_count(start_gateway: StartGateway) -> None:
    """A ping gets its pong and does not keep an idle connection open."""
    gateway = await start_gateway()
    async with gateway.connect() as client:
        gateway.clock.now_s += 300
        await (await client.ping())
        gateway.clock.now_s += 300
        gateway.api.sweep()
        assert (await closed(client))[0] == 1001


async def test_two_hours_are_the_longest_life(start_gateway: StartGateway) -> None:
    """However busy, a connection ends after 2 hours."""
    gateway = await start_gateway()
    async with gateway.connect() as client:
        for _ in range(15):
            gateway.clock.now_s += 500 if gateway.clock.now_s < 12_000 else 199
            gateway.api.sweep()
            await client.send("x")
            await gateway.functions.next("default")
        gateway.clock.now_s = 5000.0 + 7200.0
        gateway.api.sweep()
        assert await closed(client) == (1001, "Going away")


async def test_the_sweep_runs_by_itself(start_gateway: StartGateway) -> None:
    """Limits hold without anybody calling sweep."""
    gateway = await start_gateway(limits={"idle_s": 0.02})
    async with gateway.connect() as client:
        gateway.clock.now_s += 1
        assert (await closed(client))[0] == 1001


@pytest.mark.parametrize(
    ("code", "reason", "told"),
    [
        (1000, "", "Connection Closed Normally"),
        (1000, "bye", "bye"),
        (4001, "mine", "mine"),
        (4002, "", ""),
    ],
)
async def test_disconnect_tells_code_and_reason(start_gateway: StartGateway, code: int, reason: str, told: str) -> None:
    """$disconnect has the client's code and reason, and the context of the authorizer."""
    gateway = await start_gateway(authorized=True)
    async with gateway.connect(additional_headers={"Token": "t"}) as client:
        await client.close(code, reason)
    event = await gateway.functions.next("disconnect")
    assert set(event) == {"headers", "multiValueHeaders", "requestContext", "isBase64Encoded"}
    assert set(event["headers"]) == {"Host", "x-api-key", "X-Forwarded-For", "x-restapi"}
    context = event["requestContext"]
    assert (context["routeKey"], context["eventType"]) == ("$disconnect", "DISCONNECT")
    assert (context["disconnectStatusCode"], context["disconnectReason"]) == (code, told)
    assert context["authorizer"]["learner"] == "learner-1"


async def test_a_close_without_code_is_1005(start_gateway: StartGateway) -> None:
    """A close frame without a code, as browsers send it."""
    gateway = await start_gateway()
    async with gateway.connect() as client:
        client.transport.write(CLOSE_FRAME)
        event = await gateway.functions.next("disconnect")
    context = event["requestContext"]
    assert context["disconnectStatusCode"] == 1005
    assert context["disconnectReason"] == "Client-side close frame status not set"


async def test_a_broken_line_is_1006(start_gateway: StartGateway) -> None:
    """A TCP reset, as when a phone loses its network address."""
    gateway = await start_gateway()
    client = await gateway.connect()
    line = client.transport.get_extra_info("socket")
    line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.transport.abort()
    event = await gateway.functions.next("disconnect")
    context = event["requestContext"]
    assert (context["disconnectStatusCode"], context["disconnectReason"]) == (1006, "Connection Closed Abnormally")
    assert len(gateway.api.sessions) == 0


@pytest.mark.parametrize("failing", [crash, None])
async def test_disconnect_is_best_effort(start_gateway: StartGateway, failing: Any) -> None:
    """A $disconnect function that fails, or is not there, changes nothing."""
    routes = {"$default": "default"} if failing is None else {"$default": "default", "$disconnect": "disconnect"}
    gateway = await start_gateway(routes=routes, functions={"disconnect": failing})
    for _ in range(2):
        async with gateway.connect() as client:
            await client.send("x")
            await gateway.functions.next("default")


async def test_one_client_s_end_leaves_others_alone(start_gateway: StartGateway) -> None:
    """A connection closed for its own fault does not disturb another one."""
    gateway = await start_gateway()
    async with gateway.connect() as good, gateway.connect() as bad:
        await bad.send(b"binary")
        assert (await closed(bad))[0] == 1003
        await good.send("x")
        assert (await gateway.functions.next("default"))["body"] == "x"


async def test_closing_the_api_closes_clients_with_1001(start_gateway: StartGateway) -> None:
    """At the end clients are told to go, and $disconnect is called for each."""
    gateway = await start_gateway()
    async with gateway.connect() as client:
        closing = asyncio.ensure_future(gateway.api.close())
        assert await closed(client) == (1001, "Going away")
        await closing
    assert len(gateway.functions.events["disconnect"]) == 1
