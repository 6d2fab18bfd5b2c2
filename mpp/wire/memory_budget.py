"""
The limit on the memory that all buffered requests and responses use together, and the choice of requests to drop when it is
used up.

Knows neither HTTP nor connections. Small requests that arrive whole in one segment are not counted, see
`mpp.wire.downstream.request_parser.RequestParser`.

# Note [Giving way]

A request that is still arriving, or that waits for the end of an earlier one on its connection, may be dropped: no server has
seen it. When there is no memory for an arriving request, slower ones are dropped until there is, the slowest first. The speed
is the number of bytes per second that have arrived lately. If the arriving request is itself the slowest, it is rejected. So no
client can occupy memory by sending next to nothing. One client may use half of the memory; beyond that only its own requests
are dropped. Half is enough even for a Grafana or an ingress, which is a single client for all its users, and it leaves the
other half to the other clients.

Responses are buffered so that another server can be asked if one breaks off, which is not essential. They get no more than half
of the memory, so that there is always room for requests, and no request is dropped for a response.
"""

from __future__ import annotations

import heapq
import math
import time
from collections.abc import Callable, Iterable
from typing import Protocol as Shape

# The share of one client, and of all responses together, is the limit divided by this.
SHARE = 2
# When requests have to be dropped, this part of the limit is freed beyond what is needed, because finding the slowest one means
# looking at all of them.
_SLACK = 64


class BudgetMember(Shape):
    """
    The requests on one client connection whose responses have not begun, so that they may be dropped.

    :ivar client: the address of the client that sent them.
    """

    client: str

    def rate(self, now: float) -> float:
        """Return how many bytes of the incomplete request have arrived per second lately; 0 if there is none."""

    def give_way(self) -> None:
        """Drop all these requests, because a faster request needs their memory, and release it."""


class BufferedRequest:
    """
    The record of the memory that one request uses until its response has ended.

    :ivar client: the address of the client to whose share of the memory the request counts.
    :ivar size: how many bytes the request uses.
    """

    __slots__ = ("client", "size")

    def __init__(self, client: str) -> None:
        self.client = client
        self.size = 0

    def __repr__(self) -> str:
        return f"<Holding of {self.client!r}: {self.size}>"


class MemoryBudget:
    """
    The count of the bytes that all buffered requests and responses use, with a limit.

    :param limit: how many bytes may be buffered at once.
    :param seconds: the monotonic clock.
    :ivar share: how many bytes the requests of one client may use, and also how many bytes all responses together may use.
    :ivar buffered: how many bytes are buffered now.
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
        """Return the current time of the clock that arrival rates are measured with, in seconds."""
        return self._seconds()

    # Requests

    def buffered_by(self, client: str) -> int:
        """Return how many bytes the requests of a client use."""
        return self._of.get(client, 0)

    def buffer(self, arriving: BudgetMember, buffered: BufferedRequest, size: int, *, whole: bool = False) -> bool:
        """
        Set the memory of an arriving request to ``size`` bytes, dropping slower requests if need be. See Note [Giving way].

        :param arriving: the requests on the connection on which it arrives.
        :param buffered: the record of the request's memory, which is updated.
        :param whole: all of the request has arrived, so that all other requests count as slower.
        :return: whether there was room; if not, the record is unchanged.
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
        """Count the memory of a request to the share of another client, even if the share is exceeded by that."""
        if client != buffered.client:
            self._add(buffered.client, -buffered.size)
            buffered.client = client
            self._add(client, buffered.size)

    def depart(self, arriving: BudgetMember) -> None:
        """Remove a connection that has no requests left that could be dropped. Calling it again does nothing."""
        self._arriving.pop(arriving, None)

    def release(self, buffered: BufferedRequest) -> None:
        """Release all memory of a request. Calling it again does nothing."""
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
        """Drop requests that are not faster: first of the same client if its share is used up, then of any client."""

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
        # The number orders members of the same rate, which cannot be compared themselves.
        slowest = [(each.rate(now), number, each) for number, each in enumerate(candidates)]
        heapq.heapify(slowest)
        while slowest and missing() + slack > 0 and slowest[0][0] <= rate:
            heapq.heappop(slowest)[2].give_way()

    # Responses

    def take(self, size: int) -> bool:
        """Count ``size`` more bytes of responses, unless that exceeds a limit; return whether they were counted."""
        if self.buffered + size > self.limit or self._responses + size > self.share:
            return False
        self.buffered += size
        self._responses += size
        return True

    def overdraw(self, size: int) -> None:
        """
        Count ``size`` more bytes of responses even beyond the limit, because they are in memory already.

        These are bytes that were read from a server before reading could be paused: at most one segment for each connection.
        """
        self.buffered += size
        self._responses += size

    def give(self, size: int) -> None:
        """Subtract ``size`` bytes of responses, because they are no longer buffered."""
        self.buffered -= size
        self._responses -= size
