"""Tokens: who is let in, and every way not to be."""

import base64
import hmac
import json
import time
import traceback
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from hashlib import sha256
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.algorithms import RSAAlgorithm

from gateway.adapters.tokens import KeysUnavailable, TokenRefused, TokenVerifier, fetch_https
from gateway.settings import TokenSettings
from tests.adapters.aws_server import Answer, serve

ISSUER = "https://cognito-idp.us-east-1.amazonaws.com/us-east-1_Example"
CLIENT = "4example23456789"
LEARNER = "a1b2c3d4-1111-2222-3333-444455556666"
SETTINGS = TokenSettings(
    issuer=ISSUER,
    audience=CLIENT,
    token_use="access",
    jwks_url=f"{ISSUER}/.well-known/jwks.json",
    leeway_s=30.0,
    jwks_timeout_s=1.0,
    jwks_refresh_s=60.0,
)


def private_key(name: str, bits: int = 2048) -> rsa.RSAPrivateKey:
    """Return a key of this name, the same in all tests."""
    return _private_key(name, bits)


@cache
def _private_key(_name: str, bits: int) -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=bits)


def public_entry(name: str, bits: int = 2048, **changes: Any) -> dict[str, Any]:
    """Return the entry of a key in a key set, as Cognito writes it."""
    entry: dict[str, Any] = RSAAlgorithm.to_jwk(private_key(name, bits).public_key(), as_dict=True)
    entry = {"alg": "RS256", "e": entry["e"], "kid": name, "kty": "RSA", "n": entry["n"], "use": "sig", **changes}
    return {name: value for name, value in entry.items() if value is not None}


def claims(**changes: Any) -> dict[str, Any]:
    """Return the claims of an access token of Cognito."""
    now_s = int(time.time())
    made = {
        "sub": LEARNER,
        "iss": ISSUER,
        "client_id": CLIENT,
        "origin_jti": "11111111-aaaa-bbbb-cccc-222222222222",
        "token_use": "access",
        "scope": "aws.cognito.signin.user.admin",
        "auth_time": now_s,
        "iat": now_s,
        "exp": now_s + 3600,
        "jti": "33333333-aaaa-bbbb-cccc-444444444444",
        "username": LEARNER,
        **changes,
    }
    return {name: value for name, value in made.items() if value is not None}


def signed(content: dict[str, Any] | None = None, *, key: str = "one", kid: Any = "one", **headers: Any) -> str:
    """Return a token signed RS256."""
    given = {} if kid is None else {"kid": kid}
    return jwt.encode(content or claims(), private_key(key), algorithm="RS256", headers={**given, **headers})


class Keys:
    """The issuer's key set: what it answers, and how often it was asked."""

    def __init__(self, *entries: dict[str, Any]) -> None:
        self.entries = list(entries)
        self.asked: list[tuple[str, float]] = []
        self.failure: Exception | None = None

    def __call__(self, url: str, timeout_s: float) -> bytes:
        """Return the document, or fail."""
        self.asked.append((url, timeout_s))
        if self.failure is not None:
            raise self.failure
        return json.dumps({"keys": self.entries}).encode()


class Clock:
    """Monotonic time by hand."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        """Return the time."""
        return self.now_s


@pytest.fixture
def keys() -> Keys:
    """Return a key set with one key."""
    return Keys(public_entry("one"))


@pytest.fixture
def clock() -> Clock:
    """Return a clock."""
    return Clock()


@pytest.fixture
def verifier(keys: Keys, clock: Clock) -> TokenVerifier:
    """Return what is tested."""
    return TokenVerifier(SETTINGS, fetch=keys, now_s=clock)


def test_an_access_token_names_its_learner(verifier: TokenVerifier, keys: Keys) -> None:
    """The keys are fetched for the first token, from the configured address, and kept."""
    assert [verifier.learner(signed()) for _ in range(3)] == [LEARNER] * 3
    assert keys.asked == [(SETTINGS.jwks_url, 1.0)]


def test_an_id_token_names_its_audience(keys: Keys) -> None:
    """Where id tokens are wanted, the client is in ``aud``, and access tokens are refused."""
    verifier = TokenVerifier(replace(SETTINGS, token_use="id"), fetch=keys)
    assert verifier.learner(signed(claims(token_use="id", aud=CLIENT, client_id=None))) == LEARNER
    for why, content in (
        ("audience", claims(token_use="id", aud="other", client_id=CLIENT)),
        ("audience", claims(token_use="id", aud=[CLIENT])),
        ("malformed", claims(token_use="id")),
        ("use", claims(aud=CLIENT)),
    ):
        with pytest.raises(TokenRefused) as caught:
            verifier.learner(signed(content))
        assert caught.value.why == why


@pytest.mark.parametrize(
    ("why", "changes"),
    [
        ("expired", {"exp": int(time.time()) - 31}),
        ("malformed", {"exp": None}),
        ("malformed", {"exp": "tomorrow"}),
        ("not_yet", {"nbf": int(time.time()) + 120}),
        ("issuer", {"iss": "https://cognito-idp.us-east-1.amazonaws.com/us-east-1_Other"}),
        ("issuer", {"iss": ISSUER + "/"}),
        ("malformed", {"iss": None}),
        ("audience", {"client_id": "other"}),
        ("audience", {"client_id": None}),
        ("audience", {"client_id": None, "aud": CLIENT}),
        ("use", {"token_use": "id"}),
        ("use", {"token_use": None}),
        ("malformed", {"sub": None}),
        ("learner", {"sub": ""}),
        ("learner", {"sub": "two words"}),
        ("learner", {"sub": "x" * 129}),
        ("learner", {"sub": "a}b{c"}),
        ("learner", {"sub": "line\n"}),
        ("learner", {"sub": "\u0661"}),
    ],
)
def test_claims_that_let_nobody_in(verifier: TokenVerifier, why: str, changes: dict[str, Any]) -> None:
    """Each wrong or missing claim refuses a token that is rightly signed."""
    with pytest.raises(TokenRefused) as caught:
        verifier.learner(signed(claims(**changes)))
    assert caught.value.why == why


@pytest.mark.parametrize("learner", ["x", "x" * 128, "us-east-1:0a_b.c", "me@example.org"])
def test_learner_ids(verifier: TokenVerifier, learner: str) -> None:
    """What is let through fits Redis keys, channels and log lines."""
    assert verifier.learner(signed(claims(sub=learner))) == learner


def test_clocks_may_differ_a_little(verifier: TokenVerifier) -> None:
    """A token that expired within the leeway still serves."""
    assert verifier.learner(signed(claims(exp=int(time.time()) - 20))) == LEARNER


def unsigned() -> str:
    """Return a token that says it needs no signature."""
    return jwt.encode(claims(), "", algorithm="none", headers={"kid": "one"})


def with_public_key_as_secret() -> str:
    """Return a token whose HS256 secret is the public key: the algorithm confusion attack."""
    public = private_key("one").public_key()
    secret = public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    head, body = (
        base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=")
        for part in ({"alg": "HS256", "typ": "JWT", "kid": "one"}, claims())
    )
    signature = base64.urlsafe_b64encode(hmac.digest(secret, head + b"." + body, sha256)).rstrip(b"=")
    return b".".join((head, body, signature)).decode()


def of_another_kind() -> str:
    """Return a token signed ES256."""
    return jwt.encode(claims(), ec.generate_private_key(ec.SECP256R1()), algorithm="ES256", headers={"kid": "one"})


def tampered() -> str:
    """Return a token whose claims were changed after it was signed."""
    head, _, signature = signed().split(".")
    body = base64.urlsafe_b64encode(json.dumps(claims(sub="somebody-else")).encode()).rstrip(b"=").decode()
    return f"{head}.{body}.{signature}"


@pytest.mark.parametrize(
    ("why", "make"),
    [
        ("algorithm", unsigned),
        ("algorithm", with_public_key_as_secret),
        ("algorithm", of_another_kind),
        ("algorithm", lambda: jwt.encode(claims(), private_key("one"), algorithm="RS512", headers={"kid": "one"})),
        ("algorithm", lambda: jwt.encode(claims(), private_key("one"), algorithm="PS256", headers={"kid": "one"})),
        ("signature", tampered),
        ("signature", lambda: signed(key="two", kid="one")),
        ("unknown_key", lambda: signed(key="two", kid="two")),
        ("unknown_key", lambda: signed(kid=None)),
        ("malformed", lambda: signed(crit=["exp"])),
        ("malformed", lambda: signed() + "x" * 8192),
        ("malformed", lambda: signed() + ".more"),
        ("malformed", lambda: "\u00e9.\u00e9.\u00e9"),
        ("malformed", lambda: "x"),
        ("malformed", lambda: ""),
        ("malformed", lambda: "e30.e30"),
        ("malformed", lambda: base64.urlsafe_b64encode(b"[" * 5000).decode() + ".e30.e30"),
    ],
)
def test_signatures_that_let_nobody_in(verifier: TokenVerifier, why: str, make: Callable[[], str]) -> None:
    """The algorithm is ours to choose, and the error holds nothing of the token."""
    token = make()
    with pytest.raises(TokenRefused) as caught:
        verifier.learner(token)
    assert caught.value.why == why
    assert str(caught.value) == f"the token is refused: {why}"
    assert LEARNER not in "".join(traceback.format_exception(caught.value))


def test_an_own_key_in_the_token_counts_for_nothing(verifier: TokenVerifier) -> None:
    """A key set in the header, or an address of one, is the sender's own."""
    headers: dict[str, Any] = {
        "jwk": public_entry("two"),
        "jku": "https://example.org/jwks.json",
        "x5u": "https://example.org/x",
    }
    with pytest.raises(TokenRefused, match="signature"):
        verifier.learner(signed(claims(), key="two", kid="one", **headers))


def test_new_keys_are_found_but_not_asked_for_each_time(verifier: TokenVerifier, keys: Keys, clock: Clock) -> None:
    """An unknown key id has the keys fetched again, once a minute at most."""
    verifier.learner(signed())
    keys.entries.append(public_entry("two"))
    for _ in range(5):
        with pytest.raises(TokenRefused, match="unknown_key"):
            verifier.learner(signed(key="two", kid="two"))
    assert len(keys.asked) == 1
    clock.now_s += 60
    assert verifier.learner(signed(key="two", kid="two")) == LEARNER
    assert len(keys.asked) == 2


def test_a_withdrawn_key_serves_for_some_hours_at_most(verifier: TokenVerifier, keys: Keys, clock: Clock) -> None:
    """Old keys are fetched again even if nobody misses one; while that fails, they serve on."""
    verifier.learner(signed())
    keys.entries = [public_entry("two")]
    keys.failure = OSError("down")
    clock.now_s += 6 * 3600
    assert verifier.learner(signed()) == LEARNER
    keys.failure = None
    clock.now_s += 6 * 3600
    with pytest.raises(TokenRefused, match="unknown_key"):
        verifier.learner(signed())


@pytest.mark.parametrize("failure", [OSError("no route to secret"), TimeoutError(), ValueError("no JSON")])
def test_without_keys_nobody_is_judged(verifier: TokenVerifier, keys: Keys, failure: Exception) -> None:
    """That the issuer is away is no fault of the token; the next token has the keys fetched again."""
    keys.failure = failure
    with pytest.raises(KeysUnavailable, match=r"^the issuer's keys cannot be had$"):
        verifier.learner(signed())
    keys.failure = None
    assert verifier.learner(signed()) == LEARNER


def test_an_unknown_key_while_the_issuer_is_away(verifier: TokenVerifier, keys: Keys, clock: Clock) -> None:
    """It may be a new one: the token is not refused but cannot be judged."""
    verifier.learner(signed())
    keys.failure = OSError("down")
    clock.now_s += 60
    with pytest.raises(KeysUnavailable):
        verifier.learner(signed(key="two", kid="two"))


def test_what_is_no_key_for_signatures_is_left_out(keys: Keys) -> None:
    """Entries of other kinds, uses and algorithms, weak keys and broken ones do not serve, nor harm the rest."""
    wrong: list[Any] = [
        public_entry("use", use="enc"),
        public_entry("alg", alg="RS512"),
        public_entry("weak", bits=1024),
        public_entry("broken", n="!"),
        public_entry("half", n=None),
        public_entry("numbered", kid=7),
        {"kty": "EC", "kid": "ec", "crv": "P-256", "x": "a", "y": "b"},
        {"kty": "oct", "kid": "oct", "k": "c2VjcmV0"},
        "no object",
    ]
    keys.entries = [*wrong, public_entry("one", use=None, alg=None)]
    verifier = TokenVerifier(SETTINGS, fetch=keys)
    assert verifier.learner(signed()) == LEARNER
    for name in ("use", "alg", "weak", "broken", "half"):
        with pytest.raises(TokenRefused, match="unknown_key"):
            verifier.learner(signed(kid=name))


@pytest.mark.parametrize("document", [b"", b"[]", b"{}", b'{"keys":7}', b'{"keys":null}', b"[" * 100_000, b"\xff"])
def test_a_document_that_is_no_key_set(document: bytes) -> None:
    """Whatever the address serves, it is an error of ours."""
    with pytest.raises(KeysUnavailable):
        TokenVerifier(SETTINGS, fetch=lambda _url, _timeout_s: document).learner(signed())


def test_keys_come_over_http_from_one_address() -> None:
    """The document is fetched; a redirection, an error or another scheme is none."""
    with serve() as (service, url):
        service.answers = [Answer(200, {"keys": [public_entry("one")]})]
        verifier = TokenVerifier(replace(SETTINGS, jwks_url=f"{url}/.well-known/jwks.json"))
        assert verifier.learner(signed()) == LEARNER
        assert service.requests[0].path == "/.well-known/jwks.json"
        for status in (302, 404, 500):
            service.answers = [Answer(status)]
            with pytest.raises(OSError, match=str(status)) as caught:
                fetch_https(url, 1.0)
            caught.value.close()  # type: ignore[attr-defined] # urllib's error holds the answer open
    with pytest.raises(OSError, match="https"):
        fetch_https("file:///etc/hostname", 1.0)
