"""
Limits retries and hedges, so that they do not overload servers that already fail. Knows no requests.
"""

from __future__ import annotations

# Tokens per second beside the share of the requests, so that retries are possible with few requests, too.
FLOOR_PER_S = 10.0
# When a server dies, all requests under way on it are retried elsewhere at once, as they should. More are seldom under way; if
# both servers continue to fail, these tokens are used up within moments.
BURST = 500.0


class RetryBudget:
    """
    A token bucket to which every request adds a share of a token, and from which every further attempt takes one.

    :ivar share: the number of further attempts per request in the long run (0.2: one for five requests).
    """

    __slots__ = ("_filled_at", "_tokens", "share")

    def __init__(self, share: float, now: float) -> None:
        self.share = share
        self._tokens = BURST
        self._filled_at = now

    def __repr__(self) -> str:
        return f"<RetryBudget {self._tokens:.1f}>"

    def deposit(self) -> None:
        """Add the share of one request."""
        self._tokens += self.share

    def take(self, now: float) -> bool:
        """Remove one token; return False if there is none."""
        tokens = self._tokens + FLOOR_PER_S * max(0.0, now - self._filled_at)
        self._filled_at = now
        self._tokens = min(BURST, tokens)
        if self._tokens < 1.0:
            return False
        self._tokens -= 1.0
        return True
