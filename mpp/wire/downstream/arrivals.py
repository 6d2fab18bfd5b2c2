"""
The memory of one connection's requests until they are answered, and how fast they arrive.

Parses nothing: `mpp.wire.downstream.request_parser` reports how much has arrived. Connections whose requests are small and arrive
whole have no entry here.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from mpp.core.model import Headers
from mpp.wire.downstream.pace import ArrivalRate
from mpp.wire.memory_budget import BufferedRequest, MemoryBudget


class PendingRequests:
    """
    The memory of the requests on one client connection whose responses have not begun: complete ones, and the incomplete one.

    It is the `mpp.wire.memory_budget.BudgetMember` of the connection.

    :param client_of: returns the client's address from a request's header fields; called without fields before they have arrived.
    :ivar give_way: called by the memory budget when it needs the memory of these requests. It must drop all of them, and call
        `drop_waiting` and `drop_partial`.
    :ivar client: the address of the client that sent the last of these requests.
    :ivar partial: the memory of the incomplete request; None as long as it uses none.
    :ivar waiting: the memory of the complete requests, one entry for each (None for one that is not counted); empty as long as
        none of them is counted.
    """

    __slots__ = ("_budget", "_client_of", "_in_head", "_pace", "_received", "client", "give_way", "partial", "waiting")

    def __init__(self, budget: MemoryBudget, client_of: Callable[[Headers], str], give_way: Callable[[], None]) -> None:
        self._budget = budget
        self._client_of = client_of
        self.give_way = give_way
        self.client = ""
        self.waiting: deque[BufferedRequest | None] = deque()
        self.partial: BufferedRequest | None = None
        self._pace: ArrivalRate | None = None
        self._received = 0
        self._in_head = True

    def buffer(self, headers: Headers | None, size: int, received: int) -> bool:
        """
        Set the memory of the incomplete request to ``size`` bytes; return whether there is room for it.

        :param headers: the header fields of the request, or None if its head is not complete.
        :param received: how many bytes of it have arrived.
        """
        if self._pace is None:
            self._pace = ArrivalRate(self._budget.now())
        self._received = received
        return self._budget.buffer(self, self._buffered(headers), size)

    def complete(self, headers: Headers, size: int, before: int) -> bool:
        """
        Set the memory of a request that has just become complete to ``size`` bytes; return whether there is room for it.

        :param size: 0 if the request needs so little memory that it is not counted.
        :param before: how many complete requests wait already.
        """
        if size and not self._budget.buffer(self, self._buffered(headers), size, whole=True):
            return False
        # One entry per request that waits.
        self.waiting.extend([None] * (before - len(self.waiting)))
        self.waiting.append(self.partial)
        self._forget_partial()
        return True

    def take(self) -> BufferedRequest | None:
        """Remove and return the first entry of ``waiting``, whose memory the caller releases."""
        buffered = self.waiting.popleft()
        if buffered is not None and self.partial is None and not self.waiting:
            self._budget.depart(self)
        return buffered

    def drop_waiting(self) -> None:
        """Release the memory of all complete requests, which are dropped."""
        while self.waiting:
            buffered = self.waiting.popleft()
            if buffered is not None:
                self._budget.release(buffered)
        if self.partial is None:
            self._budget.depart(self)

    def drop_partial(self) -> None:
        """Release the memory of the incomplete request, which is dropped."""
        if self.partial is not None:
            self._budget.release(self.partial)
            self._forget_partial()
            if not self.waiting:
                self._budget.depart(self)

    def mark(self, now: float) -> None:
        """Record how much of the incomplete request has arrived so far. Call it about once a second."""
        if self._pace is not None:
            self._pace.mark(now, self._received)

    def stalled(self, now: float) -> bool:
        """Return whether too little of a body has arrived lately, see `mpp.wire.downstream.pace`."""
        return self._pace is not None and self._pace.stalled(now, self._received)

    def rate(self, now: float) -> float:
        """Return how many bytes per second have arrived lately; 0 if no request is incomplete."""
        return 0.0 if self._pace is None else self._pace.rate(now, self._received)

    def _buffered(self, headers: Headers | None) -> BufferedRequest:
        """Return the memory of the incomplete request; once its head names the client, it counts to that client."""
        if self.partial is None:
            self.client = self._client_of(headers or ())
            self.partial = BufferedRequest(self.client)
        elif self._in_head and headers is not None:
            self.client = self._client_of(headers)
            self._budget.reassign(self.partial, self.client)
        self._in_head = headers is None
        return self.partial

    def _forget_partial(self) -> None:
        self.partial = None
        self._pace = None
        self._received = 0
        self._in_head = True
