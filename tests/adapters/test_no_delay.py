"""TCP_NODELAY on sockets that somebody else opened."""

import os
import socket
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from gateway.adapters import no_delay
from gateway.adapters.no_delay import set_no_delay

LINUX = pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="descriptors are listed on Linux only")


def _connected(stack: ExitStack, listener: socket.socket) -> socket.socket:
    return stack.enter_context(closing(socket.create_connection(listener.getsockname())))


def _delays(connection: socket.socket) -> bool:
    return not connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


@LINUX
def test_only_connections_to_the_port_are_set() -> None:
    """Connections to the port are set, others and listeners are left; no descriptor is lost."""
    with ExitStack() as stack:
        ours, other = (stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(2))
        stack.enter_context(socket.socket(socket.AF_UNIX))
        wanted = [_connected(stack, ours) for _ in range(2)]
        left = _connected(stack, other)
        before = os.listdir("/proc/self/fd")  # noqa: PTH208 - names of descriptors, no paths
        assert set_no_delay(ours.getsockname()[1]) == len(wanted)
        assert os.listdir("/proc/self/fd") == before  # noqa: PTH208 - as above
        assert not any(_delays(connection) for connection in wanted)
        assert _delays(left)


def test_without_a_list_of_descriptors(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Where there is no such list nothing is done."""
    monkeypatch.setattr(no_delay, "_DESCRIPTORS", str(tmp_path / "nothing"))
    assert set_no_delay(443) == 0


@LINUX
def test_a_descriptor_that_is_closed_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    """A descriptor that is gone when its turn comes is passed over."""
    monkeypatch.setattr(os, "listdir", lambda _folder: ["999999"])
    assert set_no_delay(443) == 0
