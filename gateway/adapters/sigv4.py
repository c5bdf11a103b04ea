"""What signatures of Signature Version 4 share, kept for as long as it stays the same.

Everything is signed that goes to the phone and to Nova Sonic, some twenty times a second in a conversation. A signature's time
has whole seconds, its key a day.

Sources: AWS Signature Version 4, "Create a signed AWS API request"; RFC 2104 (HMAC).
"""

import hmac
import time
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

_BLOCK_BYTES: Final = 64
_INNER: Final = bytes(byte ^ 0x36 for byte in range(256))
_OUTER: Final = bytes(byte ^ 0x5C for byte in range(256))


class Mac:
    """HMAC-SHA256 with one key, which is taken in once: that is half of the work for a short text.

    Args:
        key: of 64 bytes at most.
    """

    def __init__(self, key: bytes) -> None:
        block = key.ljust(_BLOCK_BYTES, b"\0")
        self._inner = sha256(block.translate(_INNER))
        self._outer = sha256(block.translate(_OUTER))

    def digest(self, text: str) -> bytes:
        """Return the code of a text."""
        inner, outer = self._inner.copy(), self._outer.copy()
        inner.update(text.encode())
        outer.update(inner.digest())
        return outer.digest()


@dataclass(frozen=True, slots=True, eq=False)
class Second:
    """What all signatures of one second have in common.

    Attributes:
        stamp: the time as ``20261120T120000Z``.
        scope: day, region, service.
        mac: makes signatures of what is to be signed.
    """

    stamp: str
    scope: str
    mac: Mac


class Seconds:
    """Gives the `Second` of a moment, the same object as before while nothing has changed.

    Args:
        region: of the signatures.
        service: of the signatures.
    """

    def __init__(self, region: str, service: str) -> None:
        self._region = region
        self._service = service
        self._at_s = -1
        self._secret_key = ""
        self._second: Second | None = None

    def at(self, now_s: float, secret_key: str) -> Second:
        """Return what signatures share at this moment.

        Args:
            now_s: wall clock in Unix seconds.
            secret_key: of the credentials.
        """
        at_s, before = int(now_s), self._second
        if before is not None and at_s == self._at_s and secret_key == self._secret_key:
            return before
        stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(at_s))
        scope = f"{stamp[:8]}/{self._region}/{self._service}/aws4_request"
        if before is not None and scope == before.scope and secret_key == self._secret_key:
            second = Second(stamp, scope, before.mac)
        else:
            second = Second(stamp, scope, _mac(secret_key, scope))
        self._at_s, self._secret_key, self._second = at_s, secret_key, second
        return second


def _mac(secret_key: str, scope: str) -> Mac:
    key = f"AWS4{secret_key}".encode()
    for part in scope.split("/"):
        key = hmac.digest(key, part.encode(), "sha256")
    return Mac(key)
