"""A token issuer in the place of Amazon Cognito: tokens shaped like Cognito's access tokens, and the key set to check them.

The server (``KeySetServer``) gives out the public key and issues nothing; who can read the private key's file can issue
tokens (``mint``). Shapes: Amazon Cognito developer guide, "Understanding the access token" and "Verifying a JSON web
token"; RFC 7517.
"""

import hashlib
import json
import threading
import time
import uuid
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from jwt.algorithms import RSAAlgorithm

from infra.local.certificates import write_private

AUDIENCE = "maya-local-app"
JWKS_PATH = "/.well-known/jwks.json"
_KEY_BITS = 2048
_IDLE_S = 10.0


def make_key(path: Path) -> rsa.RSAPrivateKey:
    """Make a private RSA key and write it to a new file that only its owner can read."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=_KEY_BITS)
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    write_private(path, pem)
    return key


def load_key(path: Path) -> rsa.RSAPrivateKey:
    """Read the private key that ``make_key`` wrote.

    Raises:
        OSError: there is no such file, or it may not be read.
        ValueError: it holds something else.
    """
    key = serialization.load_pem_private_key(path.read_bytes(), password=None)
    if not isinstance(key, rsa.RSAPrivateKey):
        raise ValueError(f"{path} holds no RSA key")  # noqa: TRY004  # what is wrong is the file's content
    return key


def key_id(key: rsa.RSAPrivateKey) -> str:
    """Return the ``kid`` by which tokens name their key: a digest of its public half."""
    public = key.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return hashlib.sha256(public).hexdigest()[:32]


def key_set(key: rsa.RSAPrivateKey) -> dict[str, Any]:
    """Return the JSON Web Key Set with the key's public half."""
    public: dict[str, Any] = RSAAlgorithm.to_jwk(key.public_key(), as_dict=True)
    return {
        "keys": [{"kty": "RSA", "e": public["e"], "n": public["n"], "alg": "RS256", "use": "sig", "kid": key_id(key)}]
    }


def claims(
    *, issuer: str, learner: str, now_s: float, expires_s: float = 3600.0, audience: str = AUDIENCE
) -> dict[str, Any]:
    """Return the claims of an access token that Cognito would give ``learner``.

    Args:
        issuer: the user pool's address.
        learner: becomes ``sub`` and ``username``.
        now_s: seconds since 1970.
        expires_s: how long it is valid; negative for one that has expired already.
        audience: the app client's id; access tokens carry it as ``client_id`` and have no ``aud``.
    """
    return {
        "sub": learner,
        "iss": issuer,
        "client_id": audience,
        "origin_jti": str(uuid.uuid4()),
        "event_id": str(uuid.uuid4()),
        "token_use": "access",
        "scope": "aws.cognito.signin.user.admin",
        "auth_time": int(now_s),
        "iat": int(now_s),
        "exp": int(now_s + expires_s),
        "jti": str(uuid.uuid4()),
        "username": learner,
    }


def sign(key: rsa.RSAPrivateKey, content: Mapping[str, Any]) -> str:
    """Return a token with these claims, signed RS256."""
    return jwt.encode(dict(content), key, algorithm="RS256", headers={"kid": key_id(key)})


def mint(
    key: rsa.RSAPrivateKey, *, issuer: str, learner: str, expires_s: float = 3600.0, audience: str = AUDIENCE
) -> str:
    """Return an access token for ``learner`` that is valid from now on for ``expires_s`` seconds."""
    return sign(key, claims(issuer=issuer, learner=learner, now_s=time.time(), expires_s=expires_s, audience=audience))


class KeySetServer:
    """Serves a key set on 127.0.0.1 from threads of this process; a context manager.

    Attributes:
        issuer: its address, without a slash at the end.
    """

    def __init__(self, document: Mapping[str, Any], *, port: int = 0) -> None:
        body = json.dumps(document).encode()
        self._server = ThreadingHTTPServer(("127.0.0.1", port), type("_Handler", (_KeySetHandler,), {"body": body}))
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, name="key set", daemon=True
        )
        self.issuer = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> str:
        """Begin to serve; returns the issuer."""
        self._thread.start()
        return self.issuer

    def __exit__(self, *_: object) -> None:
        """Close the port."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _KeySetHandler(BaseHTTPRequestHandler):
    """Answers with the key set at its one path."""

    body: ClassVar[bytes] = b""
    protocol_version = "HTTP/1.1"
    timeout = _IDLE_S

    def do_GET(self) -> None:
        """Answer GET."""
        found = self.path.partition("?")[0] == JWKS_PATH
        content = self.body if found else b'{"message":"Not Found"}'
        self.send_response(200 if found else 404)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        if found:
            self.send_header("Cache-Control", "public, max-age=86400")
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Log nothing: the terminal belongs to the person in front of it."""
