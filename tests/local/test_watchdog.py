"""The watchdog: what it does when the supervisor is gone."""

import contextlib
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from signal import SIGKILL, SIGTERM
from typing import Any

import pytest

from infra.local import watchdog

Spawn = Callable[..., subprocess.Popen[str]]
SLEEPER = [sys.executable, "-I", "-S", "-c", "import time; time.sleep(600)"]
DEAF = [
    sys.executable, "-I", "-S", "-c",
    "import signal, sys, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(flush=True); time.sleep(600)",
]  # fmt: skip


@pytest.fixture
def spawn() -> Iterator[Spawn]:
    """Starts processes in sessions of their own, which end with the test."""
    with contextlib.ExitStack() as stack:

        def start(command: list[str], **settings: Any) -> subprocess.Popen[str]:
            process = stack.enter_context(subprocess.Popen(command, start_new_session=True, text=True, **settings))
            stack.callback(process.kill)
            return process

        yield start


def test_a_supervisor_that_says_end_leaves_everything_alone(tmp_path: Path, spawn: Spawn) -> None:
    """After `end` the watchdog touches neither process nor file."""
    file = tmp_path / "kept"
    file.touch()
    sleeper = spawn(SLEEPER)
    watchdog.watch([f"group {sleeper.pid}\n", f"remove {file}\n", "end\n"])
    assert sleeper.poll() is None
    assert file.exists()


def test_end_of_file_ends_groups_and_removes_files(tmp_path: Path, spawn: Spawn) -> None:
    """Without `end` the groups are asked to end, and the named files and directories are removed."""
    directory = tmp_path / "private"
    (directory / "deep").mkdir(parents=True)
    file = tmp_path / "state.json"
    file.touch()
    sleeper = spawn(SLEEPER)
    watchdog.watch([f"group {sleeper.pid}\n", f"remove {file}\n", f"remove {directory}\n", f"remove {file}x\n"])
    assert sleeper.wait(10) == -SIGTERM
    assert list(tmp_path.iterdir()) == []


def test_a_group_that_ignores_the_request_is_killed(spawn: Spawn) -> None:
    """A process that ignores SIGTERM is killed after the grace."""
    deaf = spawn(DEAF, stdout=subprocess.PIPE)
    assert deaf.stdout
    deaf.stdout.readline()
    watchdog.end_groups([deaf.pid], grace_s=0.05)
    assert deaf.wait(10) == -SIGKILL


def test_a_forgotten_group_is_left_alone(spawn: Spawn) -> None:
    """A part whose end was seen is not signalled: its number may be another's by now."""
    sleeper = spawn(SLEEPER)
    watchdog.watch([f"group {sleeper.pid}\n", f"forget {sleeper.pid}\n"])
    assert sleeper.poll() is None


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux shows other processes' environment")
def test_marked_processes_in_other_sessions_are_killed(spawn: Spawn) -> None:
    """A grandchild that left the group is found by the mark in its environment; an unmarked one is spared."""
    marked = spawn(SLEEPER, env={"MAYA_LOCAL_CLOUD": "test-watchdog"})
    other = spawn(SLEEPER, env={"MAYA_LOCAL_CLOUD": "test-watchdog-2"})
    watchdog.watch(["mark MAYA_LOCAL_CLOUD=test-watchdog\n"])
    assert marked.wait(10) == -SIGKILL
    assert other.poll() is None


def test_the_watchdog_survives_signals_meant_for_the_terminal(tmp_path: Path, spawn: Spawn) -> None:
    """SIGTERM does not end the watchdog; the end of its input does."""
    file = tmp_path / "state.json"
    file.touch()
    guard = spawn([sys.executable, "-I", "-S", watchdog.__file__], stdin=subprocess.PIPE, stderr=subprocess.PIPE)
    assert guard.stdin
    assert guard.stderr
    # Its answer to a word it does not know shows that it is past its start.
    guard.stdin.write("hello\n")
    guard.stdin.flush()
    assert "hello" in guard.stderr.readline()
    guard.send_signal(SIGTERM)
    guard.stdin.write(f"remove {file}\n")
    guard.stdin.close()
    assert guard.wait(10) == 0
    assert not file.exists()
