"""Single keys from a terminal, while lines scroll on it."""

import asyncio
import contextlib
import os
import sys
import termios
import tty
from collections.abc import Callable, Iterator
from typing import TextIO


def has_keys(stream: TextIO = sys.stdin) -> bool:
    """Whether somebody may press keys there."""
    return not stream.closed and stream.isatty()


@contextlib.contextmanager
def keys(press: Callable[[str], None], stream: TextIO = sys.stdin) -> Iterator[None]:
    """Have every key told to `press` as it is pressed; the terminal is left as it was.

    To be entered and left while an event loop runs. Ctrl-C stays what it is.
    """
    loop, descriptor = asyncio.get_running_loop(), stream.fileno()
    before = termios.tcgetattr(descriptor)

    def read() -> None:
        for key in os.read(descriptor, 64).decode(errors="replace"):
            press(key)

    tty.setcbreak(descriptor)
    loop.add_reader(descriptor, read)
    try:
        yield
    finally:
        loop.remove_reader(descriptor)
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)
