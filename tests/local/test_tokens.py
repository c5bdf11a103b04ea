"""The token issuer: what its tokens look like, and that the key it publishes is the one that signs them."""

import http.client
import json
import os
import stat
from pathlib import Path

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from infra.local import tokens

ISSUER = "http://127.0.0.1:1"


@pytest.fixture(scope="module")
def key() -> rsa.RSAPrivateKey:
    """A key; making one takes a tenth of a second."""
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def test_a_token_has_the_shape_of_cognitos_access_tokens(key: rsa.RSAPrivateKey) -> None:
    """The claims are those of Cognito: `client_id` in place of `aud`, `token_use` access, whole seconds."""
    claims = tokens.claims(issuer=ISSUER, learner="ann", now_s=1000.7, expires_s=60)
    assert set(claims) == {
        *("sub", "iss", "client_id", "origin_jti", "event_id", "token_use"),
        *("scope", "auth_time", "iat", "exp", "jti", "username"),
    }
    assert claims["sub"] == claims["username"] == "ann"
    assert claims["token_use"] == "access"
    assert claims["client_id"] == tokens.AUDIENCE
    assert (claims["iat"], claims["auth_time"], claims["exp"]) == (1000, 1000, 1060)


def test_no_two_tokens_have_one_id(key: rsa.RSAPrivateKey) -> None:
    """Each token has a `jti` of its own."""
    ids = {tokens.claims(issuer=ISSUER, learner="ann", now_s=0)["jti"] for _ in range(10)}
    assert len(ids) == 10


def test_the_header_names_algorithm_and_key(key: rsa.RSAPrivateKey) -> None:
    """A verifier finds the key by `kid`, in a set where it says what it is for."""
    token = tokens.mint(key, issuer=ISSUER, learner="ann")
    (published,) = tokens.key_set(key)["keys"]
    assert jwt.get_unverified_header(token) == {"alg": "RS256", "kid": published["kid"], "typ": "JWT"}
    assert published["use"] == "sig"
    assert published["alg"] == "RS256"
    assert not set(published) & {"d", "p", "q", "dp", "dq", "qi"}


def test_a_verifier_that_fetches_the_published_keys_accepts_the_token(key: rsa.RSAPrivateKey) -> None:
    """PyJWT's own client finds the key at the issuer's well-known address and verifies the signature with it."""
    with tokens.KeySetServer(tokens.key_set(key)) as issuer:
        token = tokens.mint(key, issuer=issuer, learner="ann")
        found = jwt.PyJWKClient(issuer + "/.well-known/jwks.json").get_signing_key_from_jwt(token)
        claims = jwt.decode(token, found.key, algorithms=["RS256"], issuer=issuer)
    assert claims["sub"] == "ann"


def test_an_expired_token_can_be_made_for_tests(key: rsa.RSAPrivateKey) -> None:
    """A negative validity gives a token that has expired."""
    token = tokens.mint(key, issuer=ISSUER, learner="ann", expires_s=-10)
    with pytest.raises(jwt.ExpiredSignatureError):
        jwt.decode(token, key.public_key(), algorithms=["RS256"])


def test_the_server_serves_nothing_else_and_then_nothing(key: rsa.RSAPrivateKey) -> None:
    """Other paths are not found, a query is ignored, and the port is closed in the end."""
    with tokens.KeySetServer(tokens.key_set(key)) as issuer:
        connection = http.client.HTTPConnection(issuer.removeprefix("http://"), timeout=5)
        connection.request("GET", "/token")
        with connection.getresponse() as answer:
            answer.read()
            assert answer.status == 404
        connection.request("GET", "/.well-known/jwks.json?x=1")
        with connection.getresponse() as answer:
            assert answer.headers["Content-Type"] == "application/json"
            assert json.load(answer) == tokens.key_set(key)
        connection.close()
    with pytest.raises(ConnectionRefusedError):
        connection.request("GET", "/.well-known/jwks.json")


def test_the_private_key_is_its_owners(tmp_path: Path) -> None:
    """The file is readable by its owner alone, whatever the umask, and holds the key that signs."""
    before = os.umask(0)
    try:
        made = tokens.make_key(tmp_path / "key.pem")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "key.pem").stat().st_mode) == 0o600
    assert tokens.key_id(tokens.load_key(tmp_path / "key.pem")) == tokens.key_id(made)


def test_a_file_with_another_kind_of_key_is_refused(tmp_path: Path) -> None:
    """An elliptic key cannot sign RS256: the error names the file."""
    other = ec.generate_private_key(ec.SECP256R1())
    file = tmp_path / "key.pem"
    file.write_bytes(
        other.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    with pytest.raises(ValueError, match="holds no RSA key"):
        tokens.load_key(file)
