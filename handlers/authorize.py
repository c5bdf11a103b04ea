"""Who may open a connection: REQUEST authorizer of ``$connect``, identity source ``Sec-WebSocket-Protocol``.

The token comes as a second subprotocol, ``bearer.<token>``, since browsers can set no header, or as ``Authorization: Bearer``.
API Gateway repeats the context in every later event of the connection.
"""

import functools
from typing import Any, Final

from gateway.adapters.tokens import TokenRefused, TokenVerifier
from gateway.settings import token_settings
from handlers.guard import Context, Event, HandlerFailed, guarded, say

_SUBPROTOCOL: Final = "maya.v1"
_BEARER_SUBPROTOCOL: Final = "bearer."
_BEARER_SCHEME: Final = "bearer "


@functools.cache
def verifier() -> TokenVerifier:
    """Return the judge of tokens of this execution environment, which keeps the issuer's keys."""
    return TokenVerifier(token_settings())


@guarded
def handler(event: Event, _context: Context) -> dict[str, Any]:
    """Return a policy that allows the connection, and the learner's id as its context.

    Raises:
        HandlerFailed: with the text ``Unauthorized``, which API Gateway answers with 401; any other one is a 500.
    """
    token = _token(event)
    if token is None:
        raise HandlerFailed("Unauthorized")
    try:
        learner = verifier().learner(token)
    except TokenRefused as error:
        say("token_refused", level="info", why=error.why)
        raise HandlerFailed("Unauthorized") from None
    statement = {"Action": "execute-api:Invoke", "Effect": "Allow", "Resource": event["methodArn"]}
    return {
        "principalId": learner,
        "policyDocument": {"Version": "2012-10-17", "Statement": [statement]},
        "context": {"learner": learner},
    }


def _token(event: Event) -> str | None:
    """Return the one token that is offered together with the subprotocol, None if there is none or a choice of them."""
    offered = [name.strip() for line in _header(event, "sec-websocket-protocol") for name in line.split(",")]
    if _SUBPROTOCOL not in offered:
        return None
    tokens = [name.removeprefix(_BEARER_SUBPROTOCOL) for name in offered if name.startswith(_BEARER_SUBPROTOCOL)]
    if not tokens:
        lines = [line.strip() for line in _header(event, "authorization")]
        tokens = [line[len(_BEARER_SCHEME) :].strip() for line in lines if line.lower().startswith(_BEARER_SCHEME)]
    return tokens[0] if len(tokens) == 1 and tokens[0] else None


def _header(event: Event, name: str) -> list[str]:
    """Return all lines of a header; names come in the case that the client wrote them in."""
    for found, lines in (event.get("multiValueHeaders") or {}).items():
        if found.lower() == name:
            return list(lines)
    return [line for found, line in (event.get("headers") or {}).items() if found.lower() == name]
