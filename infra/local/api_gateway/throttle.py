"""The token bucket with which API Gateway throttles."""

from __future__ import annotations


class TokenBucket:
    """Allows ``burst`` at once and ``rate_per_s`` in the long run.

    Args:
        rate_per_s: Tokens that come back each second.
        burst: Most tokens there are.
        now_s: Monotonic time in seconds.
    """

    def __init__(self, rate_per_s: float, burst: int, now_s: float) -> None:
        self._rate_per_s = rate_per_s
        self._burst = burst
        self._tokens = float(burst)
        self._filled_at_s = now_s

    def take(self, now_s: float) -> bool:
        """Take a token; False if there is none."""
        self._tokens = min(self._burst, self._tokens + (now_s - self._filled_at_s) * self._rate_per_s)
        self._filled_at_s = now_s
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True
