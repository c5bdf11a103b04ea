"""What Redis holds for one learner: the lease, the lock of a start, the progress; and what of it the stream Lambda does."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gateway.core.lease import LEASE_MS

START_LOCK_MS = 5_000.0
_WAKES_AFTER_END = ("start", "resume")


@dataclass
class VirtualRedis:
    """One learner's keys; times are those of the world.

    Attributes:
        epoch: the highest that was given out.
        holder: epoch of the relay that holds the lease.
        progress: the session's, None before the first write.
        launches: how often a relay was started.
    """

    epoch: int = 0
    holder: int | None = None
    progress: Mapping[str, Any] | None = None
    launches: int = 0
    _lease_until_ms: float = 0.0
    _locked_until_ms: float = 0.0

    def leased(self, now_ms: float) -> bool:
        """Whether a relay holds the lease."""
        return self.holder is not None and now_ms < self._lease_until_ms

    def take_lease(self, epoch: int, now_ms: float) -> bool:
        """Take the lease with a new epoch."""
        if self.leased(now_ms):
            return False
        self.epoch = self.holder = epoch
        self._lease_until_ms = now_ms + LEASE_MS
        return True

    def keep_lease(self, epoch: int, now_ms: float) -> bool:
        """Renew the lease; False when another relay has it, or had it since."""
        if (self.leased(now_ms) and self.holder != epoch) or self.epoch > epoch:
            return False
        self.holder = epoch
        self._lease_until_ms = now_ms + LEASE_MS
        return True

    def release_lease(self, epoch: int) -> None:
        """Give the lease back."""
        if self.holder == epoch:
            self.holder = None

    def store(self, epoch: int, progress: Mapping[str, Any]) -> None:
        """Write progress, unless a later relay has come."""
        if self.epoch <= epoch:
            self.progress = json.loads(json.dumps(progress))

    def calls_for_relay(self, body: bytes, now_ms: float) -> bool:
        """Do what `handlers.no_relay` does: whether this message starts a relay."""
        if self.leased(now_ms) or now_ms < self._locked_until_ms:
            return False
        kind = json.loads(body)["type"]
        state = self.progress["state"] if self.progress else ""
        if kind != "start" and (not state or (state == "ended" and kind not in _WAKES_AFTER_END)):
            return False
        self._locked_until_ms = now_ms + START_LOCK_MS
        self.launches += 1
        return True
