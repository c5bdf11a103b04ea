"""The relays of a local cloud as processes, so that one of them can be killed or frozen."""

import contextlib
import json
import os
import signal
import urllib.request
from collections.abc import Iterator
from typing import Any

from tests.e2e.clouds import Cloud, eventually

_FUNCTION = "maya-relay"
_FOUND_WITHIN_S = 30.0


class Relays:
    """Finds relays by their learners."""

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud
        self._url = f"{cloud.state.lambda_control_url}/invocations"

    @property
    def started(self) -> int:
        """How many relays have been started."""
        return int(self._look()["started"])

    def lease_of(self, learner: str) -> tuple[int, str] | None:
        """Epoch and id of the relay that holds the learner's lease, None when none does."""
        with self._cloud.redis() as redis:
            lease = redis.get(f"maya:{{{learner}}}:lease")
        if lease is None:
            return None
        assert isinstance(lease, bytes)
        epoch, _, relay_id = lease.decode().partition(":")
        return int(epoch), relay_id

    def pid_of(self, learner: str) -> int:
        """Process id of the relay that holds the learner's lease; waits until there is one."""
        found: list[int] = []

        def look() -> bool:
            lease = self.lease_of(learner)
            running = self._look()["running"] if lease else []
            found[:] = [each["pid"] for each in running if lease and each["request_id"] == lease[1]]
            return bool(found)

        eventually(look, within_s=_FOUND_WITHIN_S)
        return found[0]

    def kill(self, learner: str) -> int:
        """Kill the learner's relay with SIGKILL; returns the process id it had."""
        pid = self.pid_of(learner)
        os.kill(pid, signal.SIGKILL)
        return pid

    @contextlib.contextmanager
    def frozen(self, learner: str) -> Iterator[int]:
        """Stop the learner's relay with SIGSTOP; it wakes, if it still is there, when this is left."""
        pid = self.pid_of(learner)
        os.kill(pid, signal.SIGSTOP)
        try:
            yield pid
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)

    def _look(self) -> Any:
        with urllib.request.urlopen(self._url, timeout=10) as answer:  # noqa: S310 - the local cloud's own address
            return json.load(answer)[_FUNCTION]
