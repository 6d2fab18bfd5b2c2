"""
How many retries and hedges there may be, so that a dying pair of servers is not finished off by them. Knows no requests.
"""

from __future__ import annotations

# Together with the share below: what a quiet service may retry however few requests it has.
FLOOR_PER_S = 10.0
# When a server dies, everything that was under way on it is tried elsewhere at once, and should be: it is a burst that
# comes once. So many requests are seldom under way; a pair that goes on failing has used it up within moments.
BURST = 500.0


class RetryBudget:
    """
    A token bucket: every request puts a share of a token in, every further attempt takes one out.

    :ivar share: how many further attempts there may be for each request, in the long run (0.2: one in five).
    """

    __slots__ = ("_filled_at", "_tokens", "share")

    def __init__(self, share: float, now: float) -> None:
        self.share = share
        self._tokens = BURST
        self._filled_at = now

    def __repr__(self) -> str:
        return f"<RetryBudget {self._tokens:.1f}>"

    def deposit(self) -> None:
        """Count a request."""
        self._tokens += self.share

    def take(self, now: float) -> bool:
        """Take one token, if there is one."""
        tokens = self._tokens + FLOOR_PER_S * max(0.0, now - self._filled_at)
        self._filled_at = now
        self._tokens = min(BURST, tokens)
        if self._tokens < 1.0:
            return False
        self._tokens -= 1.0
        return True
