"""A Redis node by script: what it answers to each request on each connection, over TCP or TLS."""

import socket
import ssl
import threading
from contextlib import ExitStack, suppress
from typing import Self

SILENT = b""
"""The node never answers this request."""


class Node:
    """Serves one connection after the other; each is a list of answers, after which the node hangs up.

    Args:
        connections: the answers of each connection, one for each request that arrives.
        tls: a server's context.
    """

    def __init__(self, *connections: list[bytes], tls: ssl.SSLContext | None = None) -> None:
        self.requests: list[bytes] = []
        self.script = connections
        self._tls = tls
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._done = threading.Event()
        self._current: socket.socket | None = None
        self._thread = threading.Thread(target=self._serve, daemon=True)

    @property
    def port(self) -> int:
        """Return where it listens."""
        return int(self._listener.getsockname()[1])

    def __enter__(self) -> Self:
        """Begin to listen."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Hang up."""
        self._done.set()
        with suppress(OSError):
            if self._current is not None:
                self._current.shutdown(socket.SHUT_RDWR)
        # A thread in `accept` is not woken by closing the socket.
        with suppress(OSError):
            socket.create_connection(self._listener.getsockname(), timeout=1).close()
        self._thread.join()
        self._listener.close()

    def _serve(self) -> None:
        for answers in self.script:
            plain, _ = self._listener.accept()
            with ExitStack() as stack:
                stack.enter_context(plain)
                # Wrapping takes the socket away from `plain`; this one keeps a hold of it.
                self._current = stack.enter_context(plain.dup())
                if self._done.is_set():
                    return
                try:
                    connection = self._tls.wrap_socket(plain, server_side=True) if self._tls else plain
                except OSError:
                    continue
                with connection, suppress(OSError):
                    self._answer(connection, answers)

    def _answer(self, connection: socket.socket, answers: list[bytes]) -> None:
        for answer in answers:
            request = connection.recv(65_536)
            if not request:
                return
            self.requests.append(request)
            if answer == SILENT:
                connection.recv(1)
                return
            connection.sendall(answer)
