"""What the gateway tells the services behind it, kept as it passes: a relay of TCP, and a watch over Redis and files."""

import codecs
import contextlib
import socket
import socketserver
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import redis

_CHUNK_BYTES = 64 * 1024
_PAUSE_S = 0.02
_FORGETFUL = frozenset({"SPUBLISH", "PUBLISH"})
"""What these carry is handed over and kept nowhere: it is the way of the audio itself."""


class Tap:
    """Stands before a service, passes everything on, and keeps what it was told. Use it as a context manager.

    Attributes:
        upstream: host and port of the service; may be set later than the tap is opened.
        url: where the tap listens.
        away: the service does not answer: what is open breaks, what comes is closed.
    """

    def __init__(self, upstream: tuple[str, int] | None = None) -> None:
        self.upstream = upstream
        self._away = False
        self._lock = threading.Lock()
        self._told: list[bytearray] = []
        self._open: set[socket.socket] = set()
        self._server = _Server(("127.0.0.1", 0), self._serve)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), name="tap", daemon=True)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        """Open it."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Close it and all that goes through it."""
        self.away = True
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def away(self) -> bool:
        """Whether the service is out of reach."""
        return self._away

    @away.setter
    def away(self, away: bool) -> None:
        self._away = away
        with self._lock:
            doomed = set(self._open) if away else set()
        for connection in doomed:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    @property
    def told(self) -> list[bytes]:
        """What the service was told so far, by connection."""
        with self._lock:
            return [bytes(told) for told in self._told]

    def _serve(self, client: socket.socket) -> None:
        if self._away or self.upstream is None:
            return
        told = bytearray()
        with socket.create_connection(self.upstream, timeout=10) as service, self._holding(client, service):
            service.settimeout(None)
            with self._lock:
                self._told.append(told)
            back = threading.Thread(target=self._pass, args=(service, client, None), name="tap back", daemon=True)
            back.start()
            self._pass(client, service, told)
            back.join()

    @contextlib.contextmanager
    def _holding(self, *connections: socket.socket) -> Iterator[None]:
        with self._lock:
            self._open.update(connections)
        try:
            yield
        finally:
            with self._lock:
                self._open.difference_update(connections)

    def _pass(self, source: socket.socket, target: socket.socket, told: bytearray | None) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(_CHUNK_BYTES):
                if told is not None:
                    with self._lock:
                        told += data
                target.sendall(data)
        for connection in (source, target):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(self, address: tuple[str, int], serve: Callable[[socket.socket], None]) -> None:
        class Handler(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                with contextlib.suppress(OSError):
                    serve(self.request)

        super().__init__(address, Handler)


class Watch:
    """Looks at every key of Redis all the time, at every command that could leave something there, and at temporary files.

    Use it as a context manager.

    Args:
        url: of Redis, with all rights.
        temporary: folder of the temporary files.
        patient: Redis may be away for a while, and come back empty.

    Attributes:
        polls: how often all keys and files were read.
        keys: every key with each value that it was seen to have.
        files: every temporary file with each content that it was seen to have.
        commands: commands, with their arguments, that change or run something; not those that only publish.
    """

    def __init__(self, url: str, temporary: Path, *, patient: bool = False) -> None:
        self._url = url
        self._temporary = temporary
        self._patient = patient
        self._end = threading.Event()
        self._threads = [
            threading.Thread(target=self._guarded, args=(work,), name=f"redis {work.__name__}", daemon=True)
            for work in (self._poll, self._follow)
        ]
        self._following = threading.Event()
        self._failure: Exception | None = None
        self.polls = 0
        self.keys: set[tuple[bytes, bytes]] = set()
        self.files: set[tuple[Path, bytes]] = set()
        self.commands: set[bytes] = set()

    def __enter__(self) -> Self:
        """Begin to watch."""
        for thread in self._threads:
            thread.start()
        assert self._following.wait(10)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        """Stop; a watch that broke off has not watched.

        Raises:
            Exception: that of the watch.
        """
        self._end.set()
        with contextlib.closing(redis.Redis.from_url(self._url)) as client:
            client.ping()  # the follower wakes up for it
        for thread in self._threads:
            thread.join()
        if self._failure is not None and error is None:
            raise self._failure

    def logs(self) -> list[bytes]:
        """What Redis itself has noted of commands: slow log, command logs, refused commands."""
        with contextlib.closing(redis.Redis.from_url(self._url)) as client:
            asked = [
                ("SLOWLOG", "GET", "-1"),
                *(("COMMANDLOG", "GET", "-1", kind) for kind in ("slow", "large-request", "large-reply")),
                ("ACL", "LOG"),
            ]
            return [repr(client.execute_command(*words)).encode() for words in asked]

    def _guarded(self, work: Callable[[], None]) -> None:
        try:
            while not self._end.is_set():
                try:
                    work()
                except redis.ConnectionError:
                    if not self._patient:
                        raise
                    self._end.wait(_PAUSE_S)
        except Exception as error:  # noqa: BLE001 - told by whoever ends the watch
            self._failure = error
            self._following.set()

    def _poll(self) -> None:
        with contextlib.closing(redis.Redis.from_url(self._url)) as client:
            while not self._end.wait(_PAUSE_S):
                for key in client.scan_iter(count=1000):
                    self.keys.update((key, value) for value in _values(client, key))
                for file in self._temporary.rglob("*"):
                    with contextlib.suppress(OSError):  # gone meanwhile, or a folder
                        self.files.add((file, file.read_bytes()))
                self.polls += 1

    def _follow(self) -> None:
        with contextlib.closing(redis.Redis.from_url(self._url)) as client, client.monitor() as monitor:
            self._following.set()
            while not self._end.is_set():
                command = str(monitor.next_command()["command"])
                if command.partition(" ")[0].upper() not in _FORGETFUL:
                    self.commands.add(codecs.escape_decode(command.encode("latin-1", "replace"))[0])


def _values(client: redis.Redis, key: bytes) -> list[bytes]:
    """Whatever a key holds, of whatever type; nothing when it is gone meanwhile."""
    readers: dict[bytes, Callable[[], Any]] = {
        b"string": lambda: client.get(key),
        b"list": lambda: client.lrange(key, 0, -1),
        b"set": lambda: client.smembers(key),
        b"zset": lambda: client.zrange(key, 0, -1, withscores=True),
        b"hash": lambda: client.hgetall(key),
        b"stream": lambda: client.xrange(key),
    }
    kind = client.type(key)
    if kind == b"none":
        return []
    assert isinstance(kind, bytes)
    try:
        value = readers[kind]()
    except redis.ResponseError as error:
        if "WRONGTYPE" in str(error):  # another one by now; the next poll sees it
            return []
        raise
    return [value] if isinstance(value, bytes) else [part for part in _flat(value) if isinstance(part, bytes)]


def _flat(value: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        value = list(value.items())
    if isinstance(value, list | tuple | set):
        for item in value:
            yield from _flat(item)
    else:
        yield value
