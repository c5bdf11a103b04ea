"""Maya's lines: how many conversations may be held at once, counted in Redis.

A conversation holds a line for as long as it renews it; that of a relay that died is free again after `LINE_MS`. Nova Sonic
counts streams, and a conversation has two while its part changes or its stream is renewed, so those count as well: a
`start` is admitted only while fewer streams are open than there are lines, and what the quota has beyond the lines is
for changes and recoveries, which are never refused here.

Who is refused hears when the next line ought to be free, those who were refused before them counted in. All keys have one
hash slot, and each step is one script.
"""

import random
import time
from typing import Final

from gateway.adapters.redis_client import RedisClient, Script, redis_errors

LINE_MS: Final = 30_000
"""A line whose holder does not renew it for so long is free again; a relay renews its own every 8 s."""

SILENT_MS: Final = 18_000
"""A line that was not renewed for so long has probably lost its holder, and ends with its lease."""

CHANGE_MS: Final = 15_000
"""About as long a conversation has two streams when its part changes: the old one still writes its assessment."""

HELD_KEY: Final = "maya:{lines}:held"
"""Sorted set: learner, until when the line is held."""

ENDS_KEY: Final = "maya:{lines}:ends"
"""Sorted set: learner, when the conversation will be over at the latest."""

STREAMS_KEY: Final = "maya:{lines}:streams"
"""Hash: learner, open streams where there is more than one."""

WAITING_KEY: Final = "maya:{lines}:waiting"
"""Sorted set: learner who was refused, when they were told to come again."""

_KEYS: Final = (HELD_KEY, ENDS_KEY, STREAMS_KEY, WAITING_KEY)
_LEAST_WAIT_S: Final = 3.0
_JITTER: Final = 0.2

_BEGIN: Final = """
local held, ends, streams, waiting = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local learner, now = ARGV[1], tonumber(ARGV[2])
local function put(key, at, who)
  redis.call('ZADD', key, string.format('%.0f', at), who)
  redis.call('PEXPIRE', key, 3600000)
end
"""

# ARGV: learner, wall clock in ms, most streams, line in ms, longest conversation in ms, silence in ms, change in ms.
# Returns 0 when the learner holds a line now, else in how many ms one should be free for them.
_TAKE: Final = (
    _BEGIN
    + """
local lines, line, longest, silence, change =
  tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7])
for _, gone in ipairs(redis.call('ZRANGEBYSCORE', held, '-inf', now)) do
  redis.call('ZREM', held, gone)
  redis.call('ZREM', ends, gone)
  redis.call('HDEL', streams, gone)
end
local conversations = redis.call('ZCARD', held)
local second = 0
for _, count in ipairs(redis.call('HVALS', streams)) do second = second + tonumber(count) - 1 end
if redis.call('ZSCORE', held, learner) or conversations + second < lines then
  put(held, now + line, learner)
  put(ends, now + longest, learner)
  redis.call('ZREM', waiting, learner)
  return 0
end
local free = {}
for _ = 1, second do free[#free + 1] = now + change end
local leases = redis.call('ZRANGE', held, 0, -1, 'WITHSCORES')
for i = 1, #leases, 2 do
  local lease = tonumber(leases[i + 1])
  local last = tonumber(redis.call('ZSCORE', ends, leases[i]) or lease)
  if lease < now + line - silence then last = math.min(last, lease) end
  free[#free + 1] = math.max(last, now)
end
table.sort(free)
redis.call('ZREMRANGEBYSCORE', waiting, '-inf', now)
redis.call('ZREM', waiting, learner)
local place = redis.call('ZCARD', waiting) + conversations + second - lines
local at = free[place % #free + 1] + longest * math.floor(place / #free)
put(waiting, at, learner)
return at - now
"""
)

# ARGV: learner, wall clock in ms, line in ms, longest conversation in ms.
_KEEP: Final = (
    _BEGIN
    + """
put(held, now + tonumber(ARGV[3]), learner)
redis.call('ZADD', ends, 'NX', string.format('%.0f', now + tonumber(ARGV[4])), learner)
redis.call('PEXPIRE', ends, 3600000)
"""
)

# ARGV: learner, wall clock in ms, open streams.
_NOTE_STREAMS: Final = (
    _BEGIN
    + """
if tonumber(ARGV[3]) > 1 then
  redis.call('HSET', streams, learner, ARGV[3])
  redis.call('PEXPIRE', streams, 3600000)
else
  redis.call('HDEL', streams, learner)
end
"""
)

_LEAVE: Final = (
    _BEGIN
    + """
redis.call('ZREM', held, learner)
redis.call('ZREM', ends, learner)
redis.call('HDEL', streams, learner)
"""
)


class Lines:
    """The lines of all learners.

    All methods raise `ServiceUnavailable` when Redis cannot be reached, `AccessRefused` when it refuses the user.

    Args:
        client: made by `make_client`.
        lines: how many there are.
        longest_s: how long a conversation lasts at most.
    """

    def __init__(self, client: RedisClient, *, lines: int, longest_s: float) -> None:
        self._lines = lines
        self._longest_ms = round(longest_s * 1000)
        self._take = Script(client, _TAKE)
        self._keep = Script(client, _KEEP)
        self._note_streams = Script(client, _NOTE_STREAMS)
        self._leave = Script(client, _LEAVE)

    async def take(self, learner: str) -> float | None:
        """Take a line for a learner, or renew the learner's own.

        Returns:
            None when the learner holds one now, else after how many seconds one should be free for them: never less than
            is known, and up to a fifth more, so that those who come again do not come at once.
        """
        wait_ms = await self._run(self._take, learner, self._lines, LINE_MS, self._longest_ms, SILENT_MS, CHANGE_MS)
        if not wait_ms:
            return None
        return round(max(_LEAST_WAIT_S, wait_ms / 1000) * random.uniform(1.0, 1.0 + _JITTER), 1)  # noqa: S311 - jitter

    async def keep(self, learner: str) -> None:
        """Renew the learner's line, also one that Redis forgot or that ran out: nobody who holds a conversation is refused."""
        await self._run(self._keep, learner, LINE_MS, self._longest_ms)

    async def note_streams(self, learner: str, streams: int) -> None:
        """Note how many streams the learner's conversation has open."""
        await self._run(self._note_streams, learner, streams)

    async def leave(self, learner: str) -> None:
        """Give the learner's line back."""
        await self._run(self._leave, learner)

    async def _run(self, script: Script, learner: str, *arguments: int) -> int:
        with redis_errors():
            answer = await script(keys=_KEYS, args=[learner, int(time.time() * 1000), *arguments])
        return int(answer or 0)
