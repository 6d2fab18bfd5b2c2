"""A token bucket for the rate of requests. Pure: the time is an argument."""

from __future__ import annotations

from mpp.security.web_config.values import RateLimit


class RateLimiter:
    """
    A token bucket that limits the rate of requests.

    :param limit: the parameters of the bucket.
    :param now: the monotonic time in seconds, here and in `take`.
    """

    def __init__(self, limit: RateLimit, now: float) -> None:
        self.limit = limit
        self._tokens = float(limit.burst)
        self._at = now

    def take(self, now: float) -> bool:
        """Remove a token for a request; return False if there is none."""
        self._tokens = min(self.limit.burst, self._tokens + (now - self._at) / self.limit.interval)
        self._at = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True
