"""Keys of a terminal."""

import asyncio
import os
import pty
import termios

import pytest

from client_sim.keys import has_keys, keys


@pytest.fixture
def terminal():
    """Both ends of a terminal: a person's, and the program's."""
    person, program = pty.openpty()
    with os.fdopen(program) as stream:
        yield person, stream
    os.close(person)


async def test_a_key_is_told_without_the_enter_key(terminal):
    """One after the other, and the terminal is left as it was."""
    person, stream = terminal
    before = termios.tcgetattr(stream.fileno())
    pressed: asyncio.Queue[str] = asyncio.Queue()
    with keys(pressed.put_nowait, stream):
        os.write(person, b"cs")
        async with asyncio.timeout(10):
            assert [await pressed.get(), await pressed.get()] == ["c", "s"]
    assert termios.tcgetattr(stream.fileno()) == before


async def test_the_terminal_is_put_back_after_a_fault(terminal):
    """Nobody wants a shell that shows nothing."""
    _, stream = terminal
    before = termios.tcgetattr(stream.fileno())
    with pytest.raises(ValueError, match="broken"), keys(lambda _key: None, stream):
        raise ValueError("broken")
    assert termios.tcgetattr(stream.fileno()) == before


def test_where_keys_can_be_pressed(terminal, tmp_path):
    """A terminal, not a file."""
    _, stream = terminal
    assert has_keys(stream)
    with (tmp_path / "x").open("w+") as file:
        assert not has_keys(file)
    assert not has_keys(file)
