"""CPU time and memory of processes."""

import os
import sys
from pathlib import Path

import pytest

from infra.local.lambda_service import processes


def test_usage_of_this_process() -> None:
    """A running process has CPU time and memory."""
    usage = processes.usage(os.getpid())
    assert usage.cpu_s > 0
    assert usage.rss_bytes > 1_000_000


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells proportional memory")
def test_proportional_memory_is_at_most_the_resident() -> None:
    """What forks share is counted in parts."""
    usage = processes.usage(os.getpid())
    assert usage.pss_bytes is not None
    assert 0 < usage.pss_bytes <= usage.rss_bytes * 1.1


def test_a_process_that_is_gone_takes_nothing() -> None:
    """A pid without a process gives zeros."""
    assert processes.usage(2**22 + 1) == processes.Usage()
    assert processes._ps_usage(2**22 + 1) == processes.Usage()


def test_usage_by_ps_where_there_is_no_proc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Other systems are asked through ps."""
    ps = tmp_path / "ps"
    ps.write_text("#!/bin/sh\necho 1-02:03:04.50 2048\n")
    ps.chmod(0o755)
    monkeypatch.setattr(processes, "_PS", str(ps))
    assert processes._ps_usage(1) == processes.Usage(cpu_s=93784.5, rss_bytes=2048 * 1024)


@pytest.mark.parametrize(
    ("text", "seconds"), [("0:01.50", 1.5), ("12:00", 720.0), ("01:00:02", 3602.0), ("2-00:00:01", 172801.0)]
)
def test_clock_of_ps(text: str, seconds: float) -> None:
    """ps tells days, hours, minutes and seconds."""
    assert processes._clock_seconds(text) == seconds
