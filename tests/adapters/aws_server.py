"""AWS services by script: an HTTP server that notes requests and gives the answers it is told to."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(frozen=True, slots=True)
class Answer:
    """What the service answers; `error` is the type that SDKs make their exceptions of."""

    status: int = 200
    document: Any = field(default_factory=dict)
    error: str = ""


@dataclass(frozen=True, slots=True)
class Request:
    """What was asked of the service."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def document(self) -> Any:
        """Return the body, which is JSON."""
        return json.loads(self.body)


class AwsServer:
    """Answers with `answers` in their order, then with `default`."""

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.answers: list[Answer] = []
        self.default = Answer()
        self._lock = threading.Lock()

    def answer(self, request: Request) -> Answer:
        """Note a request and return what to answer."""
        with self._lock:
            self.requests.append(request)
            return self.answers.pop(0) if self.answers else self.default


@contextmanager
def serve() -> Iterator[tuple[AwsServer, str]]:
    """Serve on a free port; yields the server and its address."""
    service = AwsServer()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        timeout = 5
        disable_nagle_algorithm = True

        def _do(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            given = service.answer(Request(self.command, self.path, dict(self.headers), body))
            payload = json.dumps(given.document).encode()
            self.send_response(given.status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(payload)))
            if given.error:
                self.send_header("x-amzn-ErrorType", given.error)
            self.end_headers()
            self.wfile.write(payload)

        do_GET = do_POST = do_DELETE = do_PUT = _do  # noqa: N815 - names of http.server

        def log_message(self, *_: Any) -> None:
            """Print nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield service, f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
