"""A token bucket. Pure: it is told the time."""

from __future__ import annotations

from mpp.security.web_config.values import RateLimit


class RateLimiter:
    """
    Lets requests through at a limited rate.

    :param now: seconds, as in all calls.
    """

    def __init__(self, limit: RateLimit, now: float) -> None:
        self.limit = limit
        self._tokens = float(limit.burst)
        self._at = now

    def take(self, now: float) -> bool:
        """Take a token for a request, if there is one."""
        self._tokens = min(self.limit.burst, self._tokens + (now - self._at) / self.limit.interval)
        self._at = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True
