"""The @connections API, called by the real boto3 client."""

import asyncio
import datetime as dt
import socket
import urllib.error
import urllib.parse
import urllib.request

import boto3
import pytest
from botocore.exceptions import ClientError
from websockets.exceptions import ConnectionClosed

from tests.local.api_gateway.support import Gateway, Held, StartGateway, result


async def test_post_sends_text(start_gateway: StartGateway) -> None:
    """What is posted arrives as one text message."""
    gateway = await start_gateway()
    async with gateway.connect() as client:
        answer = await gateway.post("ä".encode())
        assert answer["ResponseMetadata"]["HTTPStatusCode"] == 200
        assert await client.recv() == "ä"


async def test_get_tells_about_the_connection(start_gateway: StartGateway) -> None:
    """GET tells when it was opened, when it was last active, and who it is."""
    gateway = await start_gateway()
    async with gateway.connect(user_agent_header="phone/1") as client:
        gateway.clock.now_s += 2.5
        await client.send("x")
        await gateway.functions.next("default")
        answer = await gateway.call("get_connection", ConnectionId=gateway.connection_id())
    connected = dt.datetime.fromtimestamp(1_700_000_000, dt.UTC)
    assert answer["ConnectedAt"] == connected
    assert answer["LastActiveAt"] == connected + dt.timedelta(seconds=2.5)
    assert answer["Identity"] == {"SourceIp": "127.0.0.1", "UserAgent": "phone/1"}


async def test_delete_closes_the_connection(start_gateway: StartGateway) -> None:
    """DELETE answers 204, closes the socket and calls $disconnect."""
    gateway = await start_gateway()
    async with gateway.connect() as client:
        connection_id = gateway.connection_id()
        answer = await gateway.call("delete_connection", ConnectionId=connection_id)
        assert answer["ResponseMetadata"]["HTTPStatusCode"] == 204
        with pytest.raises(ConnectionClosed) as caught:
            await client.recv()
        assert caught.value.rcvd is not None
        assert caught.value.rcvd.code == 1000
        with pytest.raises(gateway.client.exceptions.GoneException):
            await gateway.post(b"x", connection_id)
    context = (await gateway.functions.next("disconnect"))["requestContext"]
    assert context["disconnectStatusCode"] == 1000
    assert context["disconnectReason"] == "Connection Closed Normally"


@pytest.mark.parametrize("operation", ["post_to_connection", "get_connection", "delete_connection"])
@pytest.mark.parametrize("connection_id", ["R1kmxc2VNjMCFIA=", "nonsense", "a/b=="])
async def test_unknown_connections_are_gone(start_gateway: StartGateway, operation: str, connection_id: str) -> None:
    """An id that is not, or no longer, connected is GoneException."""
    gateway = await start_gateway()
    data = {"Data": b"x"} if operation == "post_to_connection" else {}
    with pytest.raises(gateway.client.exceptions.GoneException) as caught:
        await gateway.call(operation, ConnectionId=connection_id, **data)
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 410


async def test_a_closed_connection_is_gone(start_gateway: StartGateway) -> None:
    """After the client has left its id is gone."""
    gateway = await start_gateway()
    async with gateway.connect():
        connection_id = gateway.connection_id()
    await gateway.functions.next("disconnect")
    with pytest.raises(gateway.client.exceptions.GoneException):
        await gateway.post(b"x", connection_id)


async def test_post_during_connect_is_gone(start_gateway: StartGateway) -> None:
    """Until $connect has returned there is no connection to post to."""
    slow = Held()
    gateway = await start_gateway(functions={"connect": slow})
    connecting = asyncio.ensure_future(gateway.connect().__aenter__())
    event = await gateway.functions.next("connect")
    connection_id = event["requestContext"]["connectionId"]
    with pytest.raises(gateway.client.exceptions.GoneException):
        await gateway.post(b"x", connection_id)
    slow.answers[0].set_result(result({"statusCode": 200}))
    client = await connecting
    await gateway.post(b"now", connection_id)
    assert await client.recv() == "now"
    await client.close()


async def test_128_kilobytes_are_the_most(start_gateway: StartGateway) -> None:
    """131,072 bytes are sent, one more is PayloadTooLargeException."""
    gateway = await start_gateway()
    async with gateway.connect() as client:
        connection_id = gateway.connection_id()
        await gateway.post(b"x" * 131_072, connection_id)
        assert len(await client.recv()) == 131_072

        def post() -> None:
            # boto3 checks the length itself, so the request is sent past its check.
            client = boto3.session.Session().client(
                "apigatewaymanagementapi",
                endpoint_url=f"{gateway.connections_root}/local",
                region_name="us-east-1",
                aws_access_key_id="a",
                aws_secret_access_key="b",
            )
            client.meta.service_model.shape_for("Data").metadata.pop("max", None)
            try:
                client.post_to_connection(ConnectionId=connection_id, Data=b"x" * 131_073)
            finally:
                client.close()

        with pytest.raises(ClientError) as caught:
            await asyncio.to_thread(post)
    assert caught.value.response["Error"]["Code"] == "PayloadTooLargeException"
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 413


async def test_a_client_that_does_not_read_fills_its_buffer(start_gateway: StartGateway) -> None:
    """Posts to a client that does not read are refused with LimitExceededException, and go on when it reads."""
    gateway = await start_gateway(limits={"send_buffer_bytes": 131_072, "socket_send_buffer_bytes": 8192})
    line = socket.socket()
    line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
    line.connect(("127.0.0.1", gateway.port))
    async with gateway.connect(sock=line) as client:
        client.transport.pause_reading()
        messages = [f"{i:06d}" * 5000 for i in range(1000)]
        posted = 0

        async def post_all() -> None:
            nonlocal posted
            for message in messages:
                await gateway.post(message.encode())
                posted += 1

        with pytest.raises(gateway.client.exceptions.LimitExceededException) as caught:
            await post_all()
        assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 429
        assert gateway.only_session().buffered_bytes <= 131_072 + 100
        client.transport.resume_reading()
        received = [await client.recv() for _ in range(posted)]
        assert received == messages[:posted]
        await gateway.post(b"on")
        assert await client.recv() == "on"


async def test_concurrent_posts_may_overtake_each_other(start_gateway: StartGateway) -> None:
    """With jitter, posts that do not wait for each other arrive complete and in another order."""
    gateway = await start_gateway(post_jitter_ms=50.0, seed=3)
    async with gateway.connect() as client:
        connection_id = gateway.connection_id()
        sent = [str(i) for i in range(20)]
        await asyncio.gather(*(gateway.post(text.encode(), connection_id) for text in sent))
        received = [await client.recv() for _ in sent]
    assert received != sent
    assert sorted(received) == sorted(sent)


async def request(gateway: Gateway, method: str, path: str, *, signed: bool = True) -> tuple[int, str | None]:
    """The status and error type of a plain HTTP request."""
    headers = {"Authorization": "AWS4-HMAC-SHA256 Credential=a"} if signed else {}
    made = urllib.request.Request(f"{gateway.connections_root}{path}", b"x", headers, method=method)  # noqa: S310

    def send() -> tuple[int, str | None]:
        try:
            with urllib.request.urlopen(made) as response:  # noqa: S310 # http only
                return response.status, None
        except urllib.error.HTTPError as exc:
            with exc:
                return exc.code, exc.headers["x-amzn-ErrorType"]

    return await asyncio.to_thread(send)


async def test_ids_may_be_encoded_or_not(start_gateway: StartGateway) -> None:
    """The path is decoded once, the @ of @connections too."""
    gateway = await start_gateway()
    async with gateway.connect() as client:
        connection_id = gateway.connection_id()
        quoted = urllib.parse.quote(connection_id, safe="")
        for path in (f"/@connections/{connection_id}", f"/@connections/{quoted}", f"/%40connections/{quoted}"):
            assert (await request(gateway, "POST", f"/local{path}"))[0] == 200
            assert await client.recv() == "x"


@pytest.mark.parametrize("path", ["/other/@connections/", "/@connections/", "/local/connections/", "/"])
async def test_a_wrong_stage_is_forbidden(start_gateway: StartGateway, path: str) -> None:
    """Another stage or path is 403, not 404."""
    gateway = await start_gateway()
    async with gateway.connect():
        answer = await request(gateway, "POST", path + urllib.parse.quote(gateway.connection_id()))
    assert answer == (403, "ForbiddenException")


async def test_a_wrong_stage_raises_the_modelled_exception(start_gateway: StartGateway) -> None:
    """boto3 makes ForbiddenException of it."""
    gateway = await start_gateway()
    client = boto3.client(
        "apigatewaymanagementapi",
        endpoint_url=f"{gateway.connections_root}/other",
        region_name="us-east-1",
        aws_access_key_id="a",
        aws_secret_access_key="b",
    )
    with pytest.raises(client.exceptions.ForbiddenException):
        await asyncio.to_thread(client.get_connection, ConnectionId="R1kmxc2VNjMCFIA=")
    client.close()


async def test_unsigned_requests_are_refused(start_gateway: StartGateway) -> None:
    """AWS wants a signature; the stand-in wants at least the header, unless it is told not to."""
    gateway = await start_gateway()
    async with gateway.connect():
        path = f"/local/@connections/{gateway.connection_id()}"
        assert await request(gateway, "POST", path, signed=False) == (403, "MissingAuthenticationTokenException")
    lenient = await start_gateway(require_signature=False)
    async with lenient.connect() as client:
        path = f"/local/@connections/{lenient.connection_id()}"
        assert await request(lenient, "POST", path, signed=False) == (200, None)
        assert await client.recv() == "x"


async def test_other_methods_are_refused(start_gateway: StartGateway) -> None:
    """Only POST, GET and DELETE exist."""
    gateway = await start_gateway()
    assert (await request(gateway, "PUT", "/local/@connections/a"))[0] == 403
