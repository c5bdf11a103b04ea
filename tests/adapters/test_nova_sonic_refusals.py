"""Streams to Nova Sonic that do not come about: refused by the service, the network or ourselves."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from gateway.adapters.nova_sonic import NovaSonic
from gateway.core.errors import AccessRefused, RemoteError, RemoteTimeout, ServiceUnavailable, StreamLost, Throttled
from gateway.settings import sonic_settings
from tests.adapters.conftest import HELLO, OpenSonic, echo
from tests.adapters.sonic_server import Certificate, ServerStream, make_certificate, serve


@pytest.mark.parametrize(
    ("status", "kind", "message", "error"),
    [
        (403, "UnrecognizedClientException", "The security token included in the request is invalid.", AccessRefused),
        (403, "AccessDeniedException", "not authorized", AccessRefused),
        (403, "ExpiredTokenException:http://internal/", "too old", StreamLost),
        (404, "ResourceNotFoundException", "no model", AccessRefused),
        (429, "ThrottlingException", "Too many requests", Throttled),
        (429, "ModelNotReadyException", "not ready", ServiceUnavailable),
        (400, "ServiceQuotaExceededException", "quota", Throttled),
        (400, "ValidationException", "The provided model identifier is invalid.", AccessRefused),
        (503, "ServiceUnavailableException", "", ServiceUnavailable),
        (500, "", "", StreamLost),
    ],
)
async def test_refusals_instead_of_a_stream(
    open_sonic: OpenSonic, status: int, kind: str, message: str, error: type[RemoteError]
) -> None:
    """An HTTP error at opening is told by its meaning, and the connection is closed."""

    async def script(stream: ServerStream) -> None:
        await stream.next_event()
        stream.respond(status, content_type="application/json", error_type=kind)
        await stream.send(json.dumps({"message": message}).encode(), end=True)

    async with open_sonic(script) as (server, sonic):
        with pytest.raises(error) as caught:
            await sonic.open([HELLO])
        assert not message or message not in str(caught.value)
        await server.idle.wait()


async def test_a_refusal_before_all_was_sent(open_sonic: OpenSonic) -> None:
    """A service that resets right after refusing still has its refusal told, however much was to be sent."""

    async def script(stream: ServerStream) -> None:
        stream.respond(403, error_type="AccessDeniedException")
        await stream.send(b'{"message":"no"}', end=True)
        stream.reset(0)

    async with open_sonic(script) as (_server, sonic):
        with pytest.raises(AccessRefused):
            await sonic.open([b"x" * 5_000] * 300)


async def test_headers_that_never_come(open_sonic: OpenSonic) -> None:
    """A service that never answers is given up after the time limit, and its connection closed."""

    async def script(stream: ServerStream) -> None:
        await stream.closed.wait()

    async with open_sonic(script, open_timeout_s=0.3) as (server, sonic):
        with pytest.raises(RemoteTimeout):
            await sonic.open([HELLO])
        await server.idle.wait()


async def test_http_1_is_refused_at_once(open_sonic: OpenSonic) -> None:
    """Without HTTP/2 there is no stream, and no waiting either."""
    async with open_sonic(echo, alpn="http/1.1") as (_server, sonic):
        with pytest.raises(StreamLost, match=r"UNSUPPORTED_PROTOCOL|ALPN"):
            await sonic.open([HELLO])


async def test_an_unknown_authority_is_refused(
    open_sonic: OpenSonic, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server whose certificate is signed by nobody we trust gets nothing."""
    async with open_sonic(echo) as (server, _sonic):
        other = make_certificate(tmp_path)
        monkeypatch.setenv("AWS_CA_BUNDLE", str(other.certificate))
        # TLS libraries delay their answer to a failed handshake on purpose, so the time limit may come first.
        sonic = NovaSonic(replace(sonic_settings(), open_timeout_s=0.5))
        with pytest.raises((StreamLost, RemoteTimeout)):
            await sonic.open([HELLO])
        await sonic.close()
        assert not server.heard


async def test_nobody_listens(certificate: Certificate, monkeypatch: pytest.MonkeyPatch) -> None:
    """A refused connection is a lost stream at once."""
    async with serve(echo, certificate) as server:
        url = server.url
    monkeypatch.setenv("AWS_ENDPOINT_URL_BEDROCK_RUNTIME", url)
    sonic = NovaSonic(sonic_settings())
    with pytest.raises(StreamLost, match="CONNECTION_REFUSED"):
        await sonic.open([HELLO])
    await sonic.close()


async def test_no_credentials(open_sonic: OpenSonic, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without credentials the refusal is immediate and says so."""
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    async with open_sonic(echo) as (server, sonic):
        with pytest.raises(AccessRefused, match="no credentials"):
            await sonic.open([HELLO])
        assert server.accepted == 0
