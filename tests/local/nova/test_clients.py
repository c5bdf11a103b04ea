"""Whose connection it is."""

import os
import socket
import sys

import pytest

from infra.local.nova.clients import process_of

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux's kernel tells")


def test_a_connection_is_of_the_process_that_holds_its_clients_end() -> None:
    """It is not of its parent's, not of one that is gone, and of nobody when it is closed."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        with socket.create_connection(listener.getsockname()) as client:
            address = client.getsockname()
            is_of = process_of(address)
            assert is_of(os.getpid())
            assert not is_of(os.getppid())
            assert not is_of(2**22)
        assert not process_of(address)(os.getpid())
    assert not process_of(None)(os.getpid())
