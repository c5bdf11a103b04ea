"""Whom a token names: RS256 signatures of one issuer, checked against the keys that it publishes.

Sources: RFC 7515, RFC 7517, RFC 7519, RFC 8725; Amazon Cognito developer guide, "Verifying a JSON web token". No text of an
error and no representation here holds a token or any claim of one.
"""

import json
import re
import time
import urllib.request
from collections.abc import Callable, Mapping
from http.client import HTTPException
from typing import Any, ClassVar, Final

import jwt
from jwt.algorithms import RSAAlgorithm

from gateway.core.errors import MayaError, ServiceUnavailable
from gateway.settings import TokenSettings

MAX_TOKEN_CHARS: Final = 8_192
"""Longest token that is looked at; Cognito's have one or two thousand characters."""

_LEARNER: Final = re.compile(r"[A-Za-z0-9_.:@-]{1,128}", re.ASCII)
_USES_WITH_AUDIENCE: Final = frozenset({"id"})
"""Cognito's access tokens name the app client by ``client_id`` and have no ``aud``."""

_MOST_KEY_SET_BYTES: Final = 256 * 1024
_MOST_KEYS: Final = 64
_LEAST_KEY_BITS: Final = 2_048
_KEYS_LAST_S: Final = 6 * 3600.0
"""Keys are fetched again after this long, so that one that was withdrawn does not serve for ever."""


class TokenRefused(MayaError):  # noqa: N818 - as in the error tree: what happened, said of the token
    """A token lets nobody in.

    Args:
        why: one of the words of `REASONS`.
    """

    code = "token_refused"
    REASONS: ClassVar[frozenset[str]] = frozenset(
        {
            "malformed",
            "algorithm",
            "unknown_key",
            "signature",
            "expired",
            "not_yet",
            "issuer",
            "audience",
            "use",
            "learner",
        }
    )

    def __init__(self, why: str) -> None:
        assert why in self.REASONS
        super().__init__(f"the token is refused: {why}")
        self.why = why


class KeysUnavailable(ServiceUnavailable):
    """The issuer's keys cannot be had, so no token can be judged."""

    code = "keys_unavailable"


class TokenVerifier:
    """Judges tokens; keeps the issuer's keys between calls.

    Args:
        settings: who issues tokens, and for whom.
        fetch: returns the document at the address of the keys.
        now_s: monotonic time in seconds, for the age of the keys.
    """

    def __init__(
        self,
        settings: TokenSettings,
        *,
        fetch: Callable[[str, float], bytes] | None = None,
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings = settings
        self._keys = _KeySet(settings, fetch or fetch_https, now_s)

    def learner(self, token: str) -> str:
        """Return the id of the learner whom a valid token names.

        Raises:
            TokenRefused: the token is malformed, expired, wrongly signed, of another issuer, audience or use.
            KeysUnavailable: the issuer's keys cannot be had.
        """
        settings = self._settings
        has_audience = settings.token_use in _USES_WITH_AUDIENCE
        try:
            claims = jwt.decode(
                token,
                self._keys.key(_key_id(token)),
                # Never the token's own choice: with one algorithm, a public key cannot be taken for a shared secret.
                algorithms=["RS256"],
                issuer=settings.issuer,
                audience=settings.audience if has_audience else None,
                leeway=settings.leeway_s,
                options={"require": ["exp", "iss", "sub"], "verify_aud": has_audience, "strict_aud": True},
            )
        except jwt.PyJWTError as error:
            why = _reason(error)
        except RecursionError:
            why = "malformed"
        else:
            return self._checked(claims)
        raise TokenRefused(why)

    def _checked(self, claims: Mapping[str, Any]) -> str:
        settings = self._settings
        if claims.get("token_use") != settings.token_use:
            raise TokenRefused("use")
        if settings.token_use not in _USES_WITH_AUDIENCE and claims.get("client_id") != settings.audience:
            raise TokenRefused("audience")
        learner = claims["sub"]
        if not isinstance(learner, str) or not _LEARNER.fullmatch(learner):
            raise TokenRefused("learner")
        return learner


class _KeySet:
    """The issuer's keys by their ids."""

    def __init__(
        self, settings: TokenSettings, fetch: Callable[[str, float], bytes], now_s: Callable[[], float]
    ) -> None:
        self._settings = settings
        self._fetch = fetch
        self._now_s = now_s
        self._keys: dict[str, Any] = {}
        self._asked_s = float("-inf")

    def key(self, key_id: str) -> Any:
        """Return a key; asks the issuer when it is unknown or the keys are old, but not for every unknown id."""
        age_s = self._now_s() - self._asked_s
        if not self._keys:
            self._refresh()
        elif age_s >= _KEYS_LAST_S or (key_id not in self._keys and age_s >= self._settings.jwks_refresh_s):
            try:
                self._refresh()
            except KeysUnavailable:
                if key_id not in self._keys:
                    raise
        if key_id not in self._keys:
            raise TokenRefused("unknown_key")
        return self._keys[key_id]

    def _refresh(self) -> None:
        self._asked_s = self._now_s()
        try:
            keys = _read_keys(self._fetch(self._settings.jwks_url, self._settings.jwks_timeout_s))
        except (OSError, HTTPException, ValueError, TypeError, KeyError, RecursionError):
            keys = {}
        if not keys:
            raise KeysUnavailable("the issuer's keys cannot be had")
        self._keys = keys


def _read_keys(document: bytes) -> dict[str, Any]:
    """Return the RSA signature keys of a JSON Web Key Set by id; others are left out."""
    entries = json.loads(document)["keys"] if document else []
    keys: dict[str, Any] = {}
    for entry in entries[:_MOST_KEYS]:
        if not isinstance(entry, dict) or entry.get("kty") != "RSA" or not isinstance(entry.get("kid"), str):
            continue
        if entry.get("use", "sig") != "sig" or entry.get("alg", "RS256") != "RS256":
            continue
        try:
            key = RSAAlgorithm.from_jwk({name: entry[name] for name in ("kty", "n", "e")})
        except (jwt.PyJWTError, ValueError, KeyError, TypeError):
            continue
        if key.key_size >= _LEAST_KEY_BITS:
            keys[entry["kid"]] = key
    return keys


def _key_id(token: str) -> str:
    if len(token) > MAX_TOKEN_CHARS or not token.isascii():
        raise TokenRefused("malformed")
    header = jwt.get_unverified_header(token)
    if header.get("alg") != "RS256":
        raise TokenRefused("algorithm")
    key_id = header.get("kid")
    if not isinstance(key_id, str):
        raise TokenRefused("unknown_key")
    return key_id


_REASONS_BY_ERROR: Final[tuple[tuple[type[jwt.PyJWTError], str], ...]] = (
    (jwt.ExpiredSignatureError, "expired"),
    (jwt.ImmatureSignatureError, "not_yet"),
    (jwt.InvalidIssuerError, "issuer"),
    (jwt.InvalidAudienceError, "audience"),
    (jwt.InvalidAlgorithmError, "algorithm"),
    (jwt.InvalidSignatureError, "signature"),
)


def _reason(error: jwt.PyJWTError) -> str:
    return next((why for kind, why in _REASONS_BY_ERROR if isinstance(error, kind)), "malformed")


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """Keys come from the address that the operator named and from nowhere else."""

    def redirect_request(self, *_: object) -> None:
        """Take a redirection for the error that it is."""


_OPENER: Final = urllib.request.build_opener(_NoRedirects())


def fetch_https(url: str, timeout_s: float) -> bytes:
    """Return the document at an ``https`` or ``http`` address, cut after 256 KB.

    Raises:
        OSError: it cannot be had in time, or the scheme is another one.
    """
    if not url.startswith(("https://", "http://")):
        raise OSError("the address of the keys must be https")
    request = urllib.request.Request(url, headers={"Accept": "application/json"})  # noqa: S310 - checked above
    with _OPENER.open(request, timeout=timeout_s) as answer:
        document: bytes = answer.read(_MOST_KEY_SET_BYTES)
    return document
