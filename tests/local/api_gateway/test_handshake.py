"""Upgrades: authorizer, $connect, refusals."""

import asyncio
import json
from typing import Any

import pytest
from websockets.exceptions import InvalidStatus
from websockets.http11 import Response
from websockets.protocol import State

from infra.local.lambda_service.results import ServiceFault, TooManyRequests
from tests.local.api_gateway.support import CLOSE_FRAME, Gateway, Held, StartGateway, crash, result

UPGRADE = (
    "GET {path} HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n{more}\r\n"
)


async def refused(gateway: Gateway, path: str = "", **options: Any) -> Response:
    """The response that refuses a client."""
    with pytest.raises(InvalidStatus) as caught:
        async with gateway.connect(path, **options):
            pass
    return caught.value.response


def unauthorized(event: Any) -> Any:
    """An authorizer that does not know the client."""
    raise RuntimeError("Unauthorized")


def deny(event: Any) -> Any:
    """An authorizer that forbids."""
    statement = {"Action": "execute-api:Invoke", "Effect": "Deny", "Resource": event["methodArn"]}
    return {"principalId": "p", "policyDocument": {"Statement": [statement]}}


async def test_events_of_an_upgrade(start_gateway: StartGateway) -> None:
    """The authorizer is asked first, then $connect, which sees what the authorizer said."""
    gateway = await start_gateway(authorized=True, domain_name="d.example", stage_variables={"color": "blue"})
    headers = {"Token": "secret", "User-Agent": "phone/1"}
    async with gateway.connect("?a=1&a=2", additional_headers=headers, user_agent_header=None):
        pass
    (asked,), (connected,) = gateway.functions.events["authorize"], gateway.functions.events["connect"]
    assert asked["type"] == "REQUEST"
    assert asked["methodArn"] == "arn:aws:execute-api:us-east-1:123456789012:maya000000/local/$connect"
    assert asked["headers"]["Token"] == "secret"
    assert asked["queryStringParameters"] == {"a": "2"}
    assert asked["stageVariables"] == {"color": "blue"}
    assert "authorizer" not in asked["requestContext"]
    assert set(connected) == {
        "headers",
        "multiValueHeaders",
        "queryStringParameters",
        "multiValueQueryStringParameters",
        "requestContext",
        "stageVariables",
        "isBase64Encoded",
    }
    assert connected["multiValueQueryStringParameters"] == {"a": ["1", "2"]}
    for name in ("Host", "Sec-WebSocket-Key", "Sec-WebSocket-Version", "X-Amzn-Trace-Id", "X-Forwarded-For"):
        assert name in connected["headers"]
    context = connected["requestContext"]
    assert context["authorizer"] == {
        "learner": "learner-1",
        "count": "3",
        "paid": "true",
        "principalId": "learner-1",
        "integrationLatency": 0,
    }
    assert (context["routeKey"], context["eventType"]) == ("$connect", "CONNECT")
    assert context["identity"] == {"userAgent": "phone/1", "sourceIp": "127.0.0.1"}
    assert context["domainName"] == "d.example"
    assert context["connectionId"] == asked["requestContext"]["connectionId"]
    assert len(context["connectionId"]) == 16
    assert "messageId" not in context


async def test_a_missing_identity_source_is_401_and_asks_nobody(start_gateway: StartGateway) -> None:
    """Without its identity source no function is called."""
    gateway = await start_gateway(authorized=True)
    response = await refused(gateway)
    assert response.status_code == 401
    assert gateway.functions.events == {}
    body = json.loads(response.body)
    assert body["message"] == "Unauthorized"
    assert set(body) == {"message", "connectionId", "requestId"}


@pytest.mark.parametrize(
    ("authorizer", "status"),
    [(unauthorized, 401), (deny, 403), (crash, 500), (lambda _event: {"isAuthorized": True}, 500)],
)
async def test_an_authorizer_refuses(
    start_gateway: StartGateway, authorizer: Any, status: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """Unauthorized is 401, a deny 403, a crash or a wrong answer 500; $connect is not called."""
    gateway = await start_gateway(authorized=True, functions={"authorize": authorizer})
    response = await refused(gateway, additional_headers={"Token": "secret"})
    assert response.status_code == status
    assert "connect" not in gateway.functions.events
    assert "secret" not in caplog.text


async def test_the_subprotocol_header_can_be_the_identity_source(start_gateway: StartGateway) -> None:
    """What is offered as a subprotocol reaches the authorizer as it was sent, a malformed one too."""
    gateway = await start_gateway(authorized=True, identity_sources=("route.request.header.Sec-WebSocket-Protocol",))
    more = "Sec-WebSocket-Protocol: maya.v1, bearer.a/b==@\r\n"
    status, headers, _ = await gateway.raw(UPGRADE.format(path="/local", more=more).encode(), CLOSE_FRAME)
    (event,) = gateway.functions.events["authorize"]
    assert event["headers"]["Sec-WebSocket-Protocol"] == "maya.v1, bearer.a/b==@"
    assert status == 101
    assert "sec-websocket-protocol" not in headers


@pytest.mark.parametrize(
    ("header", "chosen"),
    [("Sec-WebSocket-Protocol", "maya.v1"), ("sec-websocket-protocol", "maya.v1"), ("Other", None)],
)
async def test_a_subprotocol_is_echoed_only_if_connect_returned_it(
    start_gateway: StartGateway, header: str, chosen: str | None
) -> None:
    """The client gets the subprotocol that the $connect function chose, and none otherwise."""
    gateway = await start_gateway(
        functions={"connect": lambda _event: {"statusCode": 200, "headers": {header: "maya.v1"}}}
    )
    async with gateway.connect(subprotocols=["maya.v1", "bearer.token"]) as client:
        assert client.subprotocol == chosen


@pytest.mark.parametrize("status", [400, 403, 500, 302, "418"])
async def test_connect_refuses_with_its_status(start_gateway: StartGateway, status: Any) -> None:
    """A status that is not 2xx is the status of the refused upgrade; its body is not passed on."""
    gateway = await start_gateway(functions={"connect": lambda _event: {"statusCode": status, "body": "secret"}})
    response = await refused(gateway)
    assert response.status_code == int(status)
    assert b"secret" not in bytes(response.body)
    assert len(gateway.api.sessions) == 0


@pytest.mark.parametrize("status", [200, 204, "200"])
async def test_any_2xx_accepts(start_gateway: StartGateway, status: Any) -> None:
    """Every 2xx status lets the client in."""
    gateway = await start_gateway(functions={"connect": lambda _event: {"statusCode": status}})
    async with gateway.connect() as client:
        assert client.state is State.OPEN


@pytest.mark.parametrize("answer", [crash, lambda _event: None, lambda _event: {}, lambda _event: {"statusCode": 7}])
async def test_a_connect_function_without_a_status_is_502(start_gateway: StartGateway, answer: Any) -> None:
    """A crash or an answer of another form refuses the upgrade."""
    gateway = await start_gateway(functions={"connect": answer})
    assert (await refused(gateway)).status_code == 502


@pytest.mark.parametrize("error", [TooManyRequests("Rate Exceeded."), ServiceFault("none")])
async def test_a_lambda_service_that_refuses_is_500(start_gateway: StartGateway, error: Any) -> None:
    """Throttled functions refuse upgrades."""

    def refuse(event: Any) -> Any:
        raise error

    gateway = await start_gateway(functions={"connect": refuse})
    assert (await refused(gateway)).status_code == 500


async def test_a_connect_function_that_takes_too_long_is_504(start_gateway: StartGateway) -> None:
    """The integration timeout ends the wait."""
    gateway = await start_gateway(
        functions={"connect": Held()},
        limits={"integration_timeout_s": 0.05},
    )
    assert (await refused(gateway)).status_code == 504


async def test_without_a_connect_route_everybody_is_accepted(start_gateway: StartGateway) -> None:
    """$connect is optional."""
    gateway = await start_gateway(routes={"$default": "default"})
    async with gateway.connect() as client:
        assert client.state is State.OPEN


async def test_a_client_that_leaves_during_connect_is_forgotten(start_gateway: StartGateway) -> None:
    """Its end is told to $disconnect, and nothing remains of it."""
    slow = Held()
    gateway = await start_gateway(functions={"connect": slow})
    connecting = asyncio.ensure_future(gateway.connect().__aenter__())
    await gateway.functions.next("connect")
    connecting.cancel()
    await asyncio.gather(connecting, return_exceptions=True)
    slow.answers[0].set_result(result({"statusCode": 200}))
    event = await gateway.functions.next("disconnect")
    assert event["requestContext"]["disconnectStatusCode"] == 1006
    assert len(gateway.api.sessions) == 0


@pytest.mark.parametrize("path", ["/", "/other", "/local/more", "/localx"])
async def test_another_path_than_the_stage_is_403(start_gateway: StartGateway, path: str) -> None:
    """Only the stage's path is served."""
    gateway = await start_gateway()
    status, _, body = await gateway.raw(UPGRADE.format(path=path, more="").encode())
    assert status == 403
    assert json.loads(body)["message"] == "Forbidden"
    assert gateway.functions.events == {}


async def test_a_long_url_is_414(start_gateway: StartGateway) -> None:
    """URLs have at most 4096 characters."""
    gateway = await start_gateway()
    longest = "?" + "a" * (4096 - len("/local?"))
    async with gateway.connect(longest):
        pass
    assert (await refused(gateway, longest + "a")).status_code == 414


async def test_plain_http_is_426(start_gateway: StartGateway) -> None:
    """A browser that opens the URL is told to upgrade, and no function is called."""
    gateway = await start_gateway(authorized=True)
    status, headers, _ = await gateway.raw(b"GET /local HTTP/1.1\r\nHost: h\r\n\r\n")
    assert (status, headers["upgrade"]) == (426, "websocket")
    assert gateway.functions.events == {}


@pytest.mark.parametrize(
    "missing", ["Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n", "Sec-WebSocket-Version: 13\r\n"]
)
async def test_a_malformed_upgrade_is_400_and_calls_nobody(start_gateway: StartGateway, missing: str) -> None:
    """An upgrade without its headers reaches no function."""
    gateway = await start_gateway()
    request = UPGRADE.format(path="/local", more="").replace(missing, "")
    status, _, _ = await gateway.raw(request.encode())
    assert status == 400
    assert gateway.functions.events == {}


async def test_new_connections_are_throttled(start_gateway: StartGateway) -> None:
    """Over the burst of new connections upgrades get 429, until time has passed."""
    gateway = await start_gateway(limits={"connects_per_s": 1.0, "connects_burst": 2})
    for _ in range(2):
        async with gateway.connect():
            pass
    assert (await refused(gateway)).status_code == 429
    gateway.clock.now_s += 1
    async with gateway.connect():
        pass


async def test_compression_is_not_offered(start_gateway: StartGateway) -> None:
    """API Gateway has no permessage-deflate."""
    gateway = await start_gateway()
    async with gateway.connect(compression="deflate") as client:
        assert client.response is not None
        assert "Sec-WebSocket-Extensions" not in client.response.headers
