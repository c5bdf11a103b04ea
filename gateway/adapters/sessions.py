"""What Redis keeps of a conversation: who holds it, and how far it is.

Nothing here ever holds audio or words that were spoken. Each step that reads and then writes is one script, so two
relays cannot interleave. Times are the relays' wall clocks, which differ by far less than any lease lasts.
"""

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from gateway.adapters.redis_client import RedisClient, Script, key_of, redis_errors
from gateway.adapters.redis_courier import Courier
from gateway.core.lease import LEASE_MS

EPOCH_EXPIRE_S: Final = 86_400
SESSION_EXPIRE_S: Final = 3_600

# KEYS: lease, epoch. ARGV: relay id, wall clock in ms, lease in ms, expiry of the epoch in s. Returns the epoch, or 0.
_TAKE_LEASE: Final = """
local held = redis.call('GET', KEYS[1])
if held then
  local epoch, holder = held:match('^(%d+):(.*)$')
  if holder ~= ARGV[1] then return 0 end
  redis.call('PEXPIRE', KEYS[1], ARGV[3])
  return tonumber(epoch)
end
local epoch = math.max((tonumber(redis.call('GET', KEYS[2])) or 0) + 1, tonumber(ARGV[2]))
local text = string.format('%.0f', epoch)
redis.call('SET', KEYS[2], text, 'EX', ARGV[4])
redis.call('SET', KEYS[1], text .. ':' .. ARGV[1], 'PX', ARGV[3])
return epoch
"""

# KEYS: lease, epoch. ARGV: "<epoch>:<relay id>", epoch, lease in ms, expiry of the epoch in s. Returns 1 if it is ours.
_KEEP_LEASE: Final = """
local held = redis.call('GET', KEYS[1])
if held and held ~= ARGV[1] then return 0 end
if not held and (tonumber(redis.call('GET', KEYS[2])) or 0) > tonumber(ARGV[2]) then return 0 end
redis.call('SET', KEYS[2], ARGV[2], 'EX', ARGV[4])
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[3])
return 1
"""

# KEYS: lease. ARGV: "<epoch>:<relay id>".
_RELEASE_LEASE: Final = """
if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end
return 0
"""

# KEYS: session, epoch, lease. ARGV: epoch, document, expiry in s, "<epoch>:<relay id>", lease in ms, expiry of the epoch
# in s. Returns 1 if it was written. An open session without a lease has lost its relay, so the two come back together.
_STORE: Final = """
local held = redis.call('GET', KEYS[3])
if held and held ~= ARGV[4] then return 0 end
if (tonumber(redis.call('GET', KEYS[2])) or 0) > tonumber(ARGV[1]) then return 0 end
redis.call('SET', KEYS[1], ARGV[2], 'EX', ARGV[3])
if not held then
  redis.call('SET', KEYS[2], ARGV[1], 'EX', ARGV[6])
  redis.call('SET', KEYS[3], ARGV[4], 'PX', ARGV[5])
end
return 1
"""


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to speak with a learner.

    Attributes:
        learner: whose it is.
        epoch: higher than that of any relay before; the app ignores lower ones.
        relay_id: of the holder.
    """

    learner: str
    epoch: int
    relay_id: str

    @property
    def text(self) -> str:
        """What the lease's key holds."""
        return f"{self.epoch}:{self.relay_id}"


class Sessions:
    """Leases and progress of all learners.

    All methods raise `ServiceUnavailable` when Redis cannot be reached, `AccessRefused` when it refuses the user.

    Args:
        client: made by `make_client`.
        courier: for what is done all the time; without one all goes by the client.
    """

    def __init__(self, client: RedisClient, courier: Courier | None = None) -> None:
        self._client = client
        self._take_lease = Script(client, _TAKE_LEASE)
        self._keep_lease = Script(client, _KEEP_LEASE, courier)
        self._release_lease = Script(client, _RELEASE_LEASE)
        self._store = Script(client, _STORE, courier)

    async def take_lease(self, learner: str, relay_id: str) -> Lease | None:
        """Take the learner's lease with a new epoch; None when another relay holds it."""
        with redis_errors():
            epoch = await self._take_lease(
                keys=_lease_and_epoch(learner),
                args=[relay_id, _now_ms(), LEASE_MS, EPOCH_EXPIRE_S],
            )
        return Lease(learner, int(epoch), relay_id) if epoch else None

    async def keep_lease(self, lease: Lease) -> bool:
        """Renew a lease; False when another relay has it or had it since.

        One that is missing, as after a restart of Redis, is taken again if no later epoch is known.
        """
        with redis_errors():
            kept = await self._keep_lease(
                keys=_lease_and_epoch(lease.learner), args=[lease.text, lease.epoch, LEASE_MS, EPOCH_EXPIRE_S]
            )
        return bool(kept)

    async def release_lease(self, lease: Lease) -> None:
        """Give a lease back, if it still is ours."""
        with redis_errors():
            await self._release_lease(keys=[key_of(lease.learner, "lease")], args=[lease.text])

    async def refuse_starts(self, learner: str, for_s: float) -> None:
        """Have the front door refuse the learner's `start` for a while; the key holds until when, wall clock in ms."""
        for_ms = round(for_s * 1000)
        with redis_errors():
            await self._client.set(key_of(learner, "refused"), _now_ms() + for_ms, px=for_ms)

    async def store_progress(self, lease: Lease, progress: Mapping[str, Any]) -> bool:
        """Write a session's progress, whole; False, and nothing written, when a later relay has come.

        A lease that Redis has forgotten is taken again with it.
        """
        document = json.dumps(progress, separators=(",", ":"), ensure_ascii=False)
        with redis_errors():
            stored = await self._store(
                keys=[key_of(lease.learner, name) for name in ("session", "epoch", "lease")],
                args=[lease.epoch, document, SESSION_EXPIRE_S, lease.text, LEASE_MS, EPOCH_EXPIRE_S],
            )
        return bool(stored)

    async def load_progress(self, learner: str) -> dict[str, Any] | None:
        """Read the progress of the learner's last session; None when there is none, or none that can be read."""
        with redis_errors():
            document = await self._client.get(key_of(learner, "session"))
        try:
            progress = json.loads(document or b"null")
        except ValueError:
            return None
        return progress if isinstance(progress, dict) else None


def _lease_and_epoch(learner: str) -> list[str]:
    return [key_of(learner, "lease"), key_of(learner, "epoch")]


def _now_ms() -> int:
    return int(time.time() * 1000)
