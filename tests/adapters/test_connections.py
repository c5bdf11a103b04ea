"""Posts to phones through an endpoint that answers as API Gateway does, and as it should not."""

import asyncio
import datetime as dt
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import botocore.auth
import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from gateway.adapters import aws_calls
from gateway.adapters import connections as connections_module
from gateway.adapters.connections import RETRY_AFTER_MS, Connections
from gateway.adapters.phone_http import PostSigner
from gateway.core.errors import AccessRefused, PhoneGone, PhoneRefused, PhoneSlow, RemoteError, ServiceUnavailable
from tests.adapters.sonic_server import make_certificate

OK = b"HTTP/1.1 200 OK\r\nDate: x\r\nContent-Length: 0\r\nConnection: keep-alive\r\n\r\n"
NO_CONTENT = b"HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n"


def answer(status: int, code: str = "", body: bytes = b"{}") -> bytes:
    """A response as API Gateway gives it."""
    kind = f"x-amzn-ErrorType: {code}\r\n" if code else ""
    return f"HTTP/1.1 {status} Status\r\n{kind}Content-Length: {len(body)}\r\n\r\n".encode() + body


@dataclass
class Endpoint:
    """What was asked of the endpoint, and what it answers: bytes, or None to close the connection instead."""

    answers: Callable[[int], bytes | None]
    requests: list[tuple[str, dict[str, str], bytes]] = field(default_factory=list)
    accepted: int = 0
    asked: asyncio.Event = field(default_factory=asyncio.Event)
    writers: list[asyncio.StreamWriter] = field(default_factory=list)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        self.writers.append(writer)
        try:
            while head := await _head(reader):
                lines = head.decode().split("\r\n")
                headers = {k.lower(): v.strip() for k, _, v in (line.partition(":") for line in lines[1:] if line)}
                body = await reader.readexactly(int(headers.get("content-length", "0")))
                self.requests.append((lines[0], headers, body))
                self.asked.set()
                reply = self.answers(len(self.requests))
                if reply is None:
                    break
                writer.write(reply)
                if b"connection: close" in reply.lower():
                    break
        finally:
            writer.close()


async def _head(reader: asyncio.StreamReader) -> bytes:
    try:
        return await reader.readuntil(b"\r\n\r\n")
    except (asyncio.IncompleteReadError, ConnectionError):
        return b""


async def post(connections: Connections, connection_id: str, data: str) -> None:
    """Post, and wait for the end of it; raises what it failed of."""
    ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def settled(error: Exception | None) -> None:
        assert begun, "settled within the call"
        if error is None:
            ended.set_result(None)
        else:
            ended.set_exception(error)

    begun = False
    connections.post(connection_id, data, settled)
    begun = True
    await ended


type OpenEndpoint = Callable[..., AbstractAsyncContextManager[tuple[Endpoint, Connections]]]


@pytest.fixture
def open_endpoint(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> OpenEndpoint:
    """An endpoint, and Connections that find it through the standard variable."""

    @asynccontextmanager
    async def opened(
        answers: Callable[[int], bytes | None] = lambda _count: OK, *, tls: bool = False, short_way: bool = True
    ) -> AsyncIterator[tuple[Endpoint, Connections]]:
        endpoint = Endpoint(answers)
        context = None
        if tls:
            certificate = make_certificate(tmp_path)
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate.certificate, certificate.key)
            monkeypatch.setenv("AWS_CA_BUNDLE", str(certificate.certificate))
        server = await asyncio.start_server(endpoint.serve, "127.0.0.1", 0, ssl=context)
        port = server.sockets[0].getsockname()[1]
        scheme = "https" if tls else "http"
        monkeypatch.setenv("AWS_ENDPOINT_URL_APIGATEWAYMANAGEMENTAPI", f"{scheme}://127.0.0.1:{port}/prod")
        connections = Connections(short_way=short_way)
        try:
            yield endpoint, connections
        finally:
            await connections.close()
            server.close()
            for writer in endpoint.writers:
                writer.close()
            await server.wait_closed()

    return opened


@pytest.fixture(autouse=True)
def _new_session() -> None:
    """Clients take credentials from a session that is kept for the life of a process."""
    aws_calls._session.cache_clear()


@pytest.fixture(autouse=True)
def _no_backoff(monkeypatch: pytest.MonkeyPatch) -> None:
    """boto3's retries wait up to a second."""
    monkeypatch.setattr("botocore.retries.standard.ExponentialBackoff.delay_amount", lambda *_args: 0.0)


@pytest.mark.parametrize("short_way", [True, False])
async def test_a_post_arrives(open_endpoint: OpenEndpoint, *, short_way: bool) -> None:
    """Method, percent-encoded path, body and signature are the same on both ways."""
    async with open_endpoint(short_way=short_way) as (endpoint, connections):
        await post(connections, "R1kmxc2VNjMCFIA=", '{"type":"ack","é":1}')
    ((line, headers, body),) = endpoint.requests
    assert line == "POST /prod/@connections/R1kmxc2VNjMCFIA%3D HTTP/1.1"
    assert body == '{"type":"ack","é":1}'.encode()
    assert headers["authorization"].startswith("AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/")
    assert "/us-east-1/execute-api/aws4_request" in headers["authorization"]


NOON = dt.datetime(2026, 11, 20, 12, 0, 0, tzinfo=dt.UTC)


def _as_botocore_signs(
    monkeypatch: pytest.MonkeyPatch, path: str, body: bytes, keys: tuple[str, str, str | None], moment: dt.datetime
) -> dict[str, str]:
    monkeypatch.setattr(botocore.auth, "get_current_datetime", lambda: moment.replace(tzinfo=None))
    request = AWSRequest("POST", f"https://api.example.com{path}", data=body)
    SigV4Auth(Credentials(*keys), "execute-api", "us-east-1").add_auth(request)
    return {name.lower(): value for name, value in request.headers.items()}


def test_the_signature_is_botocores(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same request at the same moment is signed as botocore signs it, whatever changed since the one before."""
    path, other, body = "/prod/@connections/a%2Bb%3D", "/prod/@connections/c", b"hello"
    lasting, temporary = ("AKID", "secret", None), ("AKID", "secret", "session/token+==")
    renewed, rotated = ("AKID", "secret", "second"), ("AKIE", "another", "second")
    later, tomorrow = NOON + dt.timedelta(seconds=1.7), NOON + dt.timedelta(days=1)
    steps = (
        (path, body, lasting, NOON),
        (path, b"world", lasting, NOON + dt.timedelta(milliseconds=999)),
        (other, body, lasting, NOON),
        (path, body, temporary, NOON),
        (path, body, renewed, NOON),
        (path, body, rotated, NOON),
        (path, body, ("AKIE", "third", "second"), NOON),
        (path, body, rotated, later),
        (path, body, rotated, tomorrow),
        (path, body, lasting, tomorrow),
    )
    clock = iter(moment.timestamp() for *_, moment in steps)
    signer = PostSigner(region="us-east-1", host="api.example.com", clock=lambda: next(clock))
    for step in steps:
        step_path, step_body, keys, _moment = step
        lines = signer.headers(step_path, step_body, access_key=keys[0], secret_key=keys[1], token=keys[2])
        ours = {
            name.lower(): value for name, _, value in (line.partition(": ") for line in lines.split("\r\n") if line)
        }
        assert ours == _as_botocore_signs(monkeypatch, *step)


async def test_temporary_credentials(open_endpoint: OpenEndpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    """The session token goes along."""
    monkeypatch.setenv("AWS_SESSION_TOKEN", "temporary")
    async with open_endpoint() as (endpoint, connections):
        await post(connections, "c", "x")
    assert endpoint.requests[0][1]["x-amz-security-token"] == "temporary"


async def test_connections_are_kept(open_endpoint: OpenEndpoint) -> None:
    """Posts one after the other use one connection; posts at once use one each."""
    async with open_endpoint() as (endpoint, connections):
        for _ in range(5):
            await post(connections, "c", "x")
        assert endpoint.accepted == 1
        await asyncio.gather(*(post(connections, f"c{n}", "x") for n in range(10)))
        assert len(endpoint.requests) == 15
        assert endpoint.accepted == 10


async def test_posts_over_tls(open_endpoint: OpenEndpoint) -> None:
    """The authorities of AWS_CA_BUNDLE are trusted, and the connection is kept."""
    async with open_endpoint(tls=True) as (endpoint, connections):
        await post(connections, "c", "x")
        await post(connections, "c", "y")
        assert endpoint.accepted == 1


@pytest.mark.parametrize("short_way", [True, False])
@pytest.mark.parametrize(
    ("status", "code", "error"),
    [
        (410, "GoneException", PhoneGone),
        (429, "LimitExceededException", PhoneSlow),
        (500, "InternalServerError", PhoneSlow),
        (503, "", PhoneSlow),
        (403, "ForbiddenException", AccessRefused),
        (413, "PayloadTooLargeException", PhoneRefused),
    ],
)
async def test_what_api_gateway_refuses(
    open_endpoint: OpenEndpoint, status: int, code: str, error: type[RemoteError], *, short_way: bool
) -> None:
    """Each status becomes its error, without the text that was posted."""
    async with open_endpoint(lambda _count: answer(status, code), short_way=short_way) as (_endpoint, connections):
        with pytest.raises(error) as caught:
            await post(connections, "c", "secret words")
        assert "secret" not in str(caught.value)
        assert caught.value.__cause__ is None
        if isinstance(caught.value, PhoneSlow):
            assert caught.value.retry_after_ms == RETRY_AFTER_MS


async def test_a_passing_refusal_is_tried_again(open_endpoint: OpenEndpoint) -> None:
    """A 429 that is over at the next attempt is never seen."""
    async with open_endpoint(lambda count: answer(429, "LimitExceededException") if count < 3 else OK) as (
        endpoint,
        connections,
    ):
        await post(connections, "c", "x")
        assert [body for _, _, body in endpoint.requests] == [b"x"] * 3


async def test_a_connection_closed_while_idle(open_endpoint: OpenEndpoint) -> None:
    """The next post goes over a new one, and no boto3 is needed."""
    async with open_endpoint(lambda count: None if count == 2 else OK) as (endpoint, connections):
        await post(connections, "c", "1")
        await post(connections, "c", "2")
        agents = [headers.get("user-agent") for _, headers, _ in endpoint.requests]
        assert agents == [None, None, None]
        assert endpoint.accepted == 2


@pytest.mark.parametrize(
    "reply",
    [
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 9000000\r\n\r\n",
        OK + b"and more",
    ],
)
async def test_responses_that_are_not_plain(open_endpoint: OpenEndpoint, reply: bytes) -> None:
    """The status counts, and the connection is not used again."""
    async with open_endpoint(lambda _count: reply) as (endpoint, connections):
        await post(connections, "c", "1")
        await post(connections, "c", "2")
        assert [body for _, _, body in endpoint.requests] == [b"1", b"2"]
        assert endpoint.accepted == 2


@pytest.mark.parametrize(
    "reply",
    [b"SSH-2.0-OpenSSH\r\n\r\n", b"HTTP/1.1 200", b"x" * 70_000, b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\nab"],
)
async def test_what_is_no_answer_is_left_to_boto3(open_endpoint: OpenEndpoint, reply: bytes) -> None:
    """Where the short way finds no status, boto3 posts again."""
    broken = reply + b"\r\nconnection: close"

    async with open_endpoint(lambda count: broken if count == 1 else OK) as (endpoint, connections):
        await post(connections, "c", "x")
        agents = [headers.get("user-agent", "") for _, headers, _ in endpoint.requests]
        assert [agent[:5] for agent in agents] == ["", "Boto3"]


async def test_no_answer_in_time(open_endpoint: OpenEndpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    """A silent connection is given up and boto3 tries."""
    monkeypatch.setattr(connections_module, "_ANSWER_TIMEOUT_S", 0.1)
    async with open_endpoint(lambda count: b"" if count == 1 else OK) as (endpoint, connections):
        await post(connections, "c", "x")
        assert len(endpoint.requests) == 2


async def test_nobody_there(open_endpoint: OpenEndpoint) -> None:
    """Without an endpoint the phone counts as slow: the post may do later."""
    async with open_endpoint() as (_endpoint, _connections):
        pass
    again = Connections()
    with pytest.raises(PhoneSlow):
        await post(again, "c", "x")
    await again.close()


async def test_a_proxy_is_left_to_boto3(open_endpoint: OpenEndpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a proxy is configured, every post is boto3's."""
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    async with open_endpoint() as (endpoint, connections):
        await post(connections, "c", "x")
        assert endpoint.requests[0][1]["user-agent"].startswith("Boto3")


async def test_no_credentials(open_endpoint: OpenEndpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without credentials the refusal says so."""
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    async with open_endpoint() as (endpoint, connections):
        with pytest.raises(AccessRefused, match="credentials"):
            await post(connections, "c", "x")
        assert not endpoint.requests


@pytest.mark.parametrize("reply", [NO_CONTENT, answer(410, "GoneException")])
async def test_a_connection_is_deleted(open_endpoint: OpenEndpoint, reply: bytes) -> None:
    """A phone that is gone already is as good as deleted."""
    async with open_endpoint(lambda _count: reply) as (endpoint, connections):
        await connections.delete("c=")
        assert endpoint.requests[0][0] == "DELETE /prod/@connections/c%3D HTTP/1.1"


async def test_a_delete_that_fails(open_endpoint: OpenEndpoint) -> None:
    """An error of API Gateway is told."""
    async with open_endpoint(lambda _count: answer(500)) as (_endpoint, connections):
        with pytest.raises(ServiceUnavailable):
            await connections.delete("c")


async def test_one_timer_watches_over_many_posts(open_endpoint: OpenEndpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    """It rings for the first post, is wound up again for the one under way, and finds that one late."""
    monkeypatch.setattr(connections_module, "_ANSWER_TIMEOUT_S", 0.2)
    async with open_endpoint(lambda count: b"" if count == 3 else OK) as (endpoint, connections):
        await post(connections, "c", "1")
        await post(connections, "c", "2")
        await asyncio.sleep(0.1)
        await post(connections, "c", "3")
        assert [body for _, _, body in endpoint.requests] == [b"1", b"2", b"3", b"3"]
        assert "user-agent" not in endpoint.requests[2][1]
        assert endpoint.requests[3][1]["user-agent"].startswith("Boto3")


async def test_credentials_that_must_be_renewed_are_left_to_boto3(
    open_endpoint: OpenEndpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No connection is opened for the short way then."""
    async with open_endpoint() as (endpoint, connections):
        monkeypatch.setattr(connections._credentials, "refresh_needed", lambda: True, raising=False)
        await post(connections, "c", "x")
        await post(connections, "c", "y")
        assert all(headers["user-agent"].startswith("Boto3") for _, headers, _ in endpoint.requests)
