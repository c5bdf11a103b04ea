"""Takes the delay of small writes off sockets that a native library opened.

awscrt sets no TCP_NODELAY and has no option for it, so the second of two small writes waits until the peer has
acknowledged the first, which a delaying peer does after 40 ms: measured twice at each opening of a stream, and again
for each event over 8,000 bytes (SERVICE.md L2). The option belongs to the socket and not to the descriptor, so
it can be set through a duplicate.
"""

import os
import socket
from contextlib import suppress
from typing import Final

_DESCRIPTORS: Final = "/proc/self/fd"
_IP: Final = (socket.AF_INET, socket.AF_INET6)


def set_no_delay(port: int) -> int:
    """Set TCP_NODELAY on this process's connections to a remote port, and return how many there are.

    On a connection that is not meant it does no harm. Where descriptors cannot be listed (not Linux) nothing is done.
    """
    try:
        descriptors = os.listdir(_DESCRIPTORS)  # noqa: PTH208 - names of descriptors, no paths
    except OSError:
        return 0
    return sum(_set_on(descriptor, port) for descriptor in descriptors)


def _set_on(descriptor: str, port: int) -> bool:
    # Another thread may close it at any moment, and the number may then stand for something else.
    with suppress(OSError):
        if not os.readlink(f"{_DESCRIPTORS}/{descriptor}").startswith("socket:"):  # noqa: PTH115 - as above
            return False
        copy = os.dup(int(descriptor))
        try:
            duplicate = socket.socket(fileno=copy)
        except OSError:
            os.close(copy)
            return False
        with duplicate:
            if duplicate.family in _IP and duplicate.getpeername()[1] == port:
                duplicate.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                return True
    return False
