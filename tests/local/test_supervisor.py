"""The supervisor: starting, watching, stopping, and leaving nothing behind."""

import asyncio
import contextlib
import functools
import json
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from infra.local.supervisor import Part, PartFailedError, Supervisor, file_appears, log_tail
from infra.local.watchdog import marked_processes
from tests.local.processes import gone

PYTHON = [sys.executable, "-I", "-S", "-c"]
# Writes the ready file, then tells in its log when it is asked to end.
GOOD = """
import os, signal, sys, threading
asked = threading.Event()
signal.signal(signal.SIGTERM, lambda *_: asked.set())
open(sys.argv[1] + ".part", "w").close()
os.replace(sys.argv[1] + ".part", sys.argv[1])
asked.wait()
open(sys.argv[2], "a").write(sys.argv[3] + "\\n")
"""


@pytest.fixture
async def supervisor(tmp_path: Path) -> AsyncIterator[Supervisor]:
    """A supervisor whose logs are in the test's directory."""
    async with Supervisor(log_dir=tmp_path, mark=f"test-{tmp_path.name}", announce=lambda line: None) as running:
        yield running


def part(tmp_path: Path, name: str, source: str = GOOD, **settings: Any) -> Part:
    """A part that runs Python source with its ready file, the journal of endings, and its name as arguments."""
    ready = tmp_path / f"{name}.ready"
    return Part(
        name=name,
        command=[*PYTHON, source, str(ready), str(tmp_path / "journal"), name],
        environment=dict(os.environ),
        ready=functools.partial(file_appears, ready),
        **settings,
    )


async def test_parts_are_stopped_stage_by_stage(supervisor: Supervisor, tmp_path: Path) -> None:
    """The gateway's stage ends before what it needs, whatever the order of starting."""
    for name, stage in (("redis", 2), ("gateway", 0), ("services", 1)):
        await supervisor.start(part(tmp_path, name, stop_stage=stage))
    assert set(supervisor.pids) == {"redis", "gateway", "services"}
    await supervisor.stop()
    assert (tmp_path / "journal").read_text().split() == ["gateway", "services", "redis"]
    assert supervisor.pids == {}


async def test_a_part_that_dies_at_start_is_named_with_the_end_of_its_log(
    supervisor: Supervisor, tmp_path: Path
) -> None:
    """The error names the part, how it ended, and what it said last."""
    broken = part(tmp_path, "broken", "print('first'); print('the port is taken'); raise SystemExit(3)")
    with pytest.raises(PartFailedError) as caught:
        await supervisor.start(broken)
    assert caught.value.name == "broken"
    assert "exit code 3 before it was ready" in str(caught.value)
    assert "the port is taken" in str(caught.value)
    assert supervisor.pids == {}


async def test_a_missing_program_is_an_error_that_names_it(supervisor: Supervisor, tmp_path: Path) -> None:
    """A command that does not exist fails as any part that dies at start."""
    missing = part(tmp_path, "valkey")
    with pytest.raises(PartFailedError, match="no-such-server"):
        await supervisor.start(Part(name="valkey", command=["no-such-server"], environment={}, ready=missing.ready))


async def test_a_part_that_is_never_ready_is_stopped(supervisor: Supervisor, tmp_path: Path) -> None:
    """A part that does not become ready in time is an error, and its process is ended."""
    slow = part(tmp_path, "slow", "import time; time.sleep(600)", ready_within_s=0.05)
    with pytest.raises(PartFailedError, match=r"slow was not ready within 0\.05 s"):
        await supervisor.start(slow)
    assert supervisor._watchdog is not None
    assert list(marked_processes(f"MAYA_LOCAL_CLOUD=test-{tmp_path.name}")) == [supervisor._watchdog.pid]


async def test_a_death_unasked_is_reported(supervisor: Supervisor, tmp_path: Path) -> None:
    """A part that dies while it should run is reported with its signal."""
    await supervisor.start(part(tmp_path, "nova"))
    os.kill(supervisor.pids["nova"], signal.SIGKILL)
    failure = await asyncio.wait_for(supervisor.failure(), 10)
    assert failure.name == "nova"
    assert "ended unasked with signal 9" in str(failure)


async def test_a_part_with_restarts_is_started_again_that_often(tmp_path: Path) -> None:
    """The first death is mended and told, the second is the cloud's."""
    told: asyncio.Queue[str] = asyncio.Queue()
    async with Supervisor(log_dir=tmp_path, mark=f"test-{tmp_path.name}", announce=told.put_nowait) as supervisor:
        await supervisor.start(part(tmp_path, "valkey", restarts=1))
        first = supervisor.pids["valkey"]
        os.kill(first, signal.SIGKILL)
        assert "valkey ended unasked with signal 9 and was started again" in await asyncio.wait_for(told.get(), 10)
        assert supervisor.pids["valkey"] != first
        os.kill(supervisor.pids["valkey"], signal.SIGKILL)
        assert (await asyncio.wait_for(supervisor.failure(), 10)).name == "valkey"


async def test_a_part_that_ignores_the_request_is_killed_with_its_children(
    supervisor: Supervisor, tmp_path: Path
) -> None:
    """SIGKILL follows when the grace is over, and reaches what the part has started."""
    source = """
        import os, signal, subprocess, sys
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        child = subprocess.Popen([sys.executable, "-I", "-S", "-c", "import time; time.sleep(600)"])
        open(sys.argv[2], "w").write(str(child.pid))
        open(sys.argv[1], "w").close()
        child.wait()
    """
    await supervisor.start(part(tmp_path, "deaf", textwrap.dedent(source), grace_s=0.05))
    child = int((tmp_path / "journal").read_text())
    assert psutil.pid_exists(child)
    await supervisor.stop()
    assert gone([child])


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux shows other processes' environment")
async def test_a_grandchild_that_left_the_session_is_found(supervisor: Supervisor, tmp_path: Path) -> None:
    """What a part started in a session of its own is killed too when the cloud stops."""
    source = """
        import subprocess, sys
        child = subprocess.Popen([sys.executable, "-I", "-S", "-c", "import time; time.sleep(600)"], start_new_session=True)
        open(sys.argv[2], "w").write(str(child.pid))
        open(sys.argv[1], "w").close()
        child.wait()
    """
    await supervisor.start(part(tmp_path, "cloud", textwrap.dedent(source)))
    child = int((tmp_path / "journal").read_text())
    assert psutil.pid_exists(child)
    await supervisor.stop()
    assert gone([child])


READER = """
import sys, time
text = sys.stdin.read()
open(sys.argv[2], "w").write(text)
open(sys.argv[1], "w").close()
time.sleep(600)
"""


async def test_stdin_reaches_the_part_when_it_is_known(supervisor: Supervisor, tmp_path: Path) -> None:
    """What must not touch a disk is given on standard input, which then ends, while the part has started already."""
    spawned = asyncio.Event()

    async def configuration() -> bytes:
        await asyncio.wait_for(spawned.wait(), 10)
        return b"password"

    starting = asyncio.ensure_future(supervisor.start(part(tmp_path, "reader", READER, stdin=configuration)))
    while "reader" not in supervisor.pids:  # noqa: ASYNC110  # its process id is the only sign of it
        await asyncio.sleep(0)
    spawned.set()
    await asyncio.wait_for(starting, 10)
    assert (tmp_path / "journal").read_text() == "password"


async def test_a_configuration_that_cannot_be_made_ends_the_start(supervisor: Supervisor, tmp_path: Path) -> None:
    """The error of what was to be written to the part is the error of its start, and the part does not stay."""

    async def configuration() -> bytes:
        raise LookupError("no address")

    with pytest.raises(LookupError, match="no address"):
        await supervisor.start(part(tmp_path, "reader", READER, stdin=configuration))
    assert supervisor.pids == {}


async def test_killing_at_once_leaves_nothing_to_wait_for(supervisor: Supervisor, tmp_path: Path) -> None:
    """A person who will not wait ends parts that would take their time."""
    await supervisor.start(part(tmp_path, "slow", grace_s=600))
    process = supervisor.pids["slow"]
    supervisor.kill()
    await supervisor.stop()
    assert gone([process])
    assert not (tmp_path / "journal").exists()


SUPERVISE = """
import asyncio, functools, json, os, sys
from pathlib import Path
from typing import Any
from infra.local.supervisor import Part, Supervisor, file_appears

DEAF = '''
import os, signal, subprocess, sys
signal.signal(signal.SIGTERM, signal.SIG_IGN)
child = subprocess.Popen([sys.executable, "-I", "-S", "-c", "import time; time.sleep(600)"], start_new_session=True)
open(sys.argv[1], "w").close()
child.wait()
'''

async def main(directory):
    kept = directory / "private"
    kept.mkdir()
    async with Supervisor(log_dir=directory, mark=sys.argv[2], remove=[kept]) as supervisor:
        for name in ("one", "two"):
            ready = directory / name
            await supervisor.start(Part(
                name=name, command=[sys.executable, "-I", "-S", "-c", DEAF, str(ready)],
                environment=dict(os.environ), ready=functools.partial(file_appears, ready),
            ))
        print(json.dumps(supervisor.pids), flush=True)
        await asyncio.Event().wait()

asyncio.run(main(Path(sys.argv[1])))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux shows other processes' environment")
@pytest.mark.parametrize("with_watchdog", [True, False], ids=["with the watchdog", "the watchdog killed too"])
def test_kill_9_of_the_supervisor_leaves_no_process(tmp_path: Path, with_watchdog: bool) -> None:
    """Parts that ignore SIGTERM, and their children in sessions of their own, end with the supervisor that was killed."""
    mark = f"test-{tmp_path.name}"
    with (
        subprocess.Popen(
            [sys.executable, "-c", SUPERVISE, str(tmp_path), mark], stdout=subprocess.PIPE, text=True, cwd=Path.cwd()
        ) as supervisor,
        contextlib.ExitStack() as stack,
    ):
        stack.callback(_kill_marked, f"MAYA_LOCAL_CLOUD={mark}")
        stack.callback(supervisor.kill)
        assert supervisor.stdout
        parts = json.loads(supervisor.stdout.readline())
        processes = list(marked_processes(f"MAYA_LOCAL_CLOUD={mark}"))
        assert set(processes) > set(parts.values())
        (guard,) = (pid for pid in processes if "watchdog.py" in " ".join(psutil.Process(pid).cmdline()))
        if not with_watchdog:
            os.kill(guard, signal.SIGKILL)
            # Without a watchdog the kernel's signal is what is left; it reaches what the supervisor itself started.
            processes = list(parts.values())
        supervisor.kill()
        assert gone(processes)
    assert (tmp_path / "private").exists() is not with_watchdog


def test_the_end_of_a_log_is_its_last_lines(tmp_path: Path) -> None:
    """A long log is not read whole, and a missing one is empty."""
    log = tmp_path / "x.log"
    log.write_text("".join(f"line {number}\n" for number in range(10_000)))
    assert log_tail(log, 2) == "line 9998\nline 9999"
    assert log_tail(tmp_path / "missing") == ""


def _kill_marked(mark: str) -> None:
    for pid in marked_processes(mark):
        os.kill(pid, signal.SIGKILL)
