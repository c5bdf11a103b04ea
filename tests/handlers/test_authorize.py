"""The authorizer: where tokens may be, and what API Gateway is told."""

import json

import pytest

from handlers import authorize
from handlers.guard import HandlerFailed
from infra.local.api_gateway import policy
from tests.adapters.aws_server import Answer, AwsServer, serve
from tests.adapters.test_tokens import CLIENT, ISSUER, LEARNER, claims, public_entry, signed
from tests.handlers.events import METHOD_ARN, Context, authorizer_event

PROTOCOL = "Sec-WebSocket-Protocol"


@pytest.fixture(autouse=True)
def _settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAYA_TOKEN_ISSUER", ISSUER)
    monkeypatch.setenv("MAYA_TOKEN_AUDIENCE", CLIENT)


@pytest.fixture
def issuer(monkeypatch: pytest.MonkeyPatch) -> object:
    """Serve the issuer's keys."""
    with serve() as (service, url):
        monkeypatch.setenv("MAYA_JWKS_URL", f"{url}/jwks.json")
        service.default = Answer(200, {"keys": [public_entry("one")]})
        yield service


def ask(*lines: tuple[str, str]) -> dict[str, object]:
    """Call the authorizer with an upgrade of these header lines."""
    return authorize.handler(authorizer_event(*lines), Context())


@pytest.mark.parametrize(
    "lines",
    [
        [(PROTOCOL, "maya.v1, bearer.{token}")],
        [(PROTOCOL, "bearer.{token},maya.v1")],
        [(PROTOCOL, "maya.v1"), (PROTOCOL, "bearer.{token}")],
        [("sec-websocket-protocol", "maya.v1,  bearer.{token}")],
        [(PROTOCOL, "maya.v1"), ("Authorization", "Bearer {token}")],
        [(PROTOCOL, "chat, maya.v1"), ("authorization", "bearer   {token} ")],
        [(PROTOCOL, "maya.v1, bearer.{token}"), ("Authorization", "Bearer other")],
    ],
)
def test_a_learner_is_let_in(issuer: AwsServer, lines: list[tuple[str, str]]) -> None:
    """The policy allows this connection, and the context names the learner, for every later event."""
    token = signed()
    answer = ask(*((name, value.format(token=token)) for name, value in lines))
    assert answer == {
        "principalId": LEARNER,
        "policyDocument": {
            "Version": "2012-10-17",
            "Statement": [{"Action": "execute-api:Invoke", "Effect": "Allow", "Resource": METHOD_ARN}],
        },
        "context": {"learner": LEARNER},
    }
    assert policy.evaluate(answer["policyDocument"], METHOD_ARN) is policy.Verdict.ALLOW
    assert len(json.dumps(answer)) < 8192


@pytest.mark.parametrize(
    "lines",
    [
        [],
        [(PROTOCOL, "maya.v1")],
        [(PROTOCOL, "bearer.{token}")],
        [(PROTOCOL, "maya.v2, bearer.{token}")],
        [(PROTOCOL, "Maya.v1, bearer.{token}")],
        [(PROTOCOL, "maya.v1, bearer.")],
        [(PROTOCOL, "maya.v1, bearer.{token}, bearer.{token}")],
        [(PROTOCOL, "maya.v1, {token}")],
        [("Authorization", "Bearer {token}")],
        [(PROTOCOL, "maya.v1"), ("Authorization", "Basic {token}")],
        [(PROTOCOL, "maya.v1"), ("Authorization", "{token}")],
        [(PROTOCOL, "maya.v1"), ("Authorization", "Bearer")],
        [(PROTOCOL, "maya.v1"), ("Authorization", "Bearer {token}"), ("Authorization", "Bearer {token}")],
        [(PROTOCOL, "maya.v1, bearer.x")],
    ],
)
def test_without_subprotocol_and_token_nobody_is(issuer: AwsServer, lines: list[tuple[str, str]]) -> None:
    """Exactly this text makes API Gateway answer 401."""
    token = signed()
    with pytest.raises(HandlerFailed, match=r"^Unauthorized$"):
        ask(*((name, value.format(token=token)) for name, value in lines))


def test_headers_without_multiple_values(issuer: AwsServer) -> None:
    """Where an event has no multi-value headers, the plain ones are read."""
    event = authorizer_event((PROTOCOL, f"maya.v1, bearer.{signed()}"))
    del event["multiValueHeaders"]
    assert authorize.handler(event, Context())["principalId"] == LEARNER
    with pytest.raises(HandlerFailed, match=r"^Unauthorized$"):
        authorize.handler({"type": "REQUEST", "methodArn": METHOD_ARN, "headers": None}, Context())


def test_a_refused_token_is_logged_by_its_reason(issuer: AwsServer, capsys: pytest.CaptureFixture[str]) -> None:
    """The operator sees why, and neither token nor claims."""
    token = signed(claims(exp=1))
    with pytest.raises(HandlerFailed, match=r"^Unauthorized$") as caught:
        ask((PROTOCOL, f"maya.v1, bearer.{token}"))
    assert caught.value.__suppress_context__
    out, err = capsys.readouterr()
    assert json.loads(out) == {"event": "token_refused", "level": "info", "why": "expired"}
    assert err == ""


def test_without_the_issuers_keys_it_is_no_401(issuer: AwsServer, capsys: pytest.CaptureFixture[str]) -> None:
    """An app would throw a good token away: the answer is a failure of ours, without the token in the log."""
    issuer.default = Answer(500)
    token = signed()
    with pytest.raises(HandlerFailed, match=r"^keys_unavailable$"):
        ask((PROTOCOL, f"maya.v1, bearer.{token}"))
    out = capsys.readouterr().out
    assert json.loads(out)["code"] == "keys_unavailable"
    assert token[:20] not in out


def test_keys_are_kept_between_invocations(issuer: AwsServer) -> None:
    """An execution environment asks the issuer once."""
    for _ in range(3):
        ask((PROTOCOL, f"maya.v1, bearer.{signed()}"))
    assert len(issuer.requests) == 1


def test_a_missing_setting_is_no_401(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the operator forgot is not the learner's fault."""
    monkeypatch.delenv("MAYA_TOKEN_AUDIENCE")
    with pytest.raises(HandlerFailed, match=r"^internal$"):
        ask((PROTOCOL, f"maya.v1, bearer.{signed()}"))
