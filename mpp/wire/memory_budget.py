"""
The memory that all requests and responses together may hold: who holds how much of it, and who gives way when it is used up.

Knows neither HTTP nor connections. A request without a body that arrives whole in one segment never comes here.

# Note [Giving way]

Requests that are arriving, or wait behind another one of their connection, may be dropped: no server has seen them. When there is
no room for one that arrives, those of them give way that have moved least lately, in bytes per second, until there is; if it is
itself the slowest, it is refused. So memory cannot be kept occupied by sending next to nothing: what moves wins. One client may
hold half of the whole; beyond that only its own requests give way. Half is not too little, although a Grafana or an ingress is
one client for all who come through it, and not too much, since the others have the other half.

Responses are held so that they can be fetched again elsewhere, which is a convenience: they get no more than half, so that there
is always room for requests, and nothing gives way to them.
"""

from __future__ import annotations

import heapq
import math
import time
from collections.abc import Callable, Iterable
from typing import Protocol as Shape

# One client's share, and that of all responses together, is the limit divided by this.
SHARE = 2
# When a request has to give way, this part of the limit is freed beyond what is needed: to find the slowest all are looked at.
_SLACK = 64


class BudgetMember(Shape):
    """
    Requests of one connection that have not been begun.

    :ivar client: whose they are.
    """

    client: str

    def rate(self, now: float) -> float:
        """Return how many bytes per second have come lately."""

    def give_way(self) -> None:
        """Drop them, and release what they hold. Holds nothing more afterwards."""


class BufferedRequest:
    """
    What one request holds, from the first segment that did not complete it until its response has ended.

    :ivar client: on whose account.
    :ivar size: how many bytes.
    """

    __slots__ = ("client", "size")

    def __init__(self, client: str) -> None:
        self.client = client
        self.size = 0

    def __repr__(self) -> str:
        return f"<Holding of {self.client!r}: {self.size}>"


class MemoryBudget:
    """
    A count of bytes held, with a limit.

    :param seconds: the monotonic clock.
    :ivar limit: how many bytes may be held at once.
    :ivar share: how many of them may be held for one client, and how many for all responses.
    :ivar buffered: how many are.
    """

    __slots__ = ("_arriving", "_of", "_responses", "_seconds", "buffered", "limit", "share")

    def __init__(self, limit: int, seconds: Callable[[], float] = time.monotonic) -> None:
        self.limit = limit
        self.share = limit // SHARE
        self.buffered = 0
        self._responses = 0
        self._seconds = seconds
        self._of: dict[str, int] = {}
        self._arriving: dict[BudgetMember, None] = {}

    def __repr__(self) -> str:
        return f"<Budget {self.buffered} of {self.limit}>"

    def now(self) -> float:
        """Return the time by which it is decided who has moved."""
        return self._seconds()

    # Requests

    def buffered_by(self, client: str) -> int:
        """Return how many bytes the requests of a client hold."""
        return self._of.get(client, 0)

    def buffer(self, arriving: BudgetMember, buffered: BufferedRequest, size: int, *, whole: bool = False) -> bool:
        """
        Have a request that arrives hold ``size`` bytes in all, others giving way if need be. See Note [Giving way].

        :param whole: all of it has arrived: none that is waited for is faster.
        :return: whether it does; if not, nothing has changed for it.
        """
        client, more = buffered.client, size - buffered.size
        full = more > 0 and (self.buffered + more > self.limit or self.buffered_by(client) + more > self.share)
        if full and not self._make_room(arriving, client, more, math.inf if whole else arriving.rate(self._seconds())):
            return False
        self._arriving[arriving] = None
        buffered.size = size
        self._add(client, more)
        return True

    def reassign(self, buffered: BufferedRequest, client: str) -> None:
        """Put what is held on the account of another client, which may thereby hold more than its share."""
        if client != buffered.client:
            self._add(buffered.client, -buffered.size)
            buffered.client = client
            self._add(client, buffered.size)

    def depart(self, arriving: BudgetMember) -> None:
        """Take note that a connection has no requests any more that could give way. Harmless when called again."""
        self._arriving.pop(arriving, None)

    def release(self, buffered: BufferedRequest) -> None:
        """Have a request hold nothing any more. Harmless when called again."""
        self._add(buffered.client, -buffered.size)
        buffered.size = 0

    def _add(self, client: str, size: int) -> None:
        self.buffered += size
        left = self._of.get(client, 0) + size
        if left:
            self._of[client] = left
        else:
            self._of.pop(client, None)

    def _make_room(self, arriving: BudgetMember, client: str, more: int, rate: float) -> bool:
        """Have those give way that are not faster: first those of the same client, if it has its share, then any."""

        def over_share() -> int:
            return self.buffered_by(client) + more - self.share

        def over_limit() -> int:
            return self.buffered + more - self.limit

        if over_share() > 0:
            self._displace([each for each in self._arriving if each.client == client and each is not arriving], rate, over_share)
        if over_share() <= 0 < over_limit():
            self._displace([each for each in self._arriving if each is not arriving], rate, over_limit)
        return over_share() <= 0 and over_limit() <= 0

    def _displace(self, candidates: Iterable[BudgetMember], rate: float, missing: Callable[[], int]) -> None:
        now, slack = self._seconds(), self.limit // _SLACK
        # The number keeps two of the same rate from being compared.
        slowest = [(each.rate(now), number, each) for number, each in enumerate(candidates)]
        heapq.heapify(slowest)
        while slowest and missing() + slack > 0 and slowest[0][0] <= rate:
            heapq.heappop(slowest)[2].give_way()

    # Responses

    def take(self, size: int) -> bool:
        """Hold so many bytes more of a response, unless that passes a limit; return whether they are held now."""
        if self.buffered + size > self.limit or self._responses + size > self.share:
            return False
        self.buffered += size
        self._responses += size
        return True

    def overdraw(self, size: int) -> None:
        """
        Hold bytes of a response that are in memory already, past the limit if need be.

        For the rest of a segment that a connection had read when it was paused: at most one segment for each connection.
        """
        self.buffered += size
        self._responses += size

    def give(self, size: int) -> None:
        """Hold so many bytes less of a response."""
        self.buffered -= size
        self._responses -= size
