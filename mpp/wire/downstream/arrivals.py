"""
What the requests of one connection hold in the Budget until they are begun, and how fast they arrive.

Parses nothing: `mpp.wire.downstream.request_parser` says how much has come. Connections that send small requests whole never
have anything here.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from mpp.core.model import Headers
from mpp.wire.downstream.pace import ArrivalRate
from mpp.wire.memory_budget import BufferedRequest, MemoryBudget


class PendingRequests:
    """
    The requests of one connection that are complete and wait to be begun, and the one that is not complete. See
    `mpp.wire.memory_budget.BudgetMember`.

    :param client_of: returns the client's address, of a request's fields, or of none as long as they have not arrived.
    :ivar give_way: drops all of them; called by the Budget. It has to call `drop_waiting` and `drop_partial`.
    :ivar client: whose the last one is.
    :ivar partial: what the request holds that arrives; None as long as that is nothing.
    :ivar waiting: what those hold that wait to be begun: empty as long as none holds anything, else one for each.
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
        Have the request that arrives hold ``size`` bytes; return whether there is room for it.

        :param headers: its fields, or None if its head is not complete.
        :param received: bytes of it that have come.
        """
        if self._pace is None:
            self._pace = ArrivalRate(self._budget.now())
        self._received = received
        return self._budget.buffer(self, self._buffered(headers), size)

    def complete(self, headers: Headers, size: int, before: int) -> bool:
        """
        Have the request that arrived hold ``size`` bytes until it is taken; return whether there is room for it.

        :param size: 0 if it was complete at once and has no body.
        :param before: how many requests wait already.
        """
        if size and not self._budget.buffer(self, self._buffered(headers), size, whole=True):
            return False
        # In step with the requests.
        self.waiting.extend([None] * (before - len(self.waiting)))
        self.waiting.append(self.partial)
        self._forget_partial()
        return True

    def take(self) -> BufferedRequest | None:
        """Return what the first of those in ``waiting`` holds, which is the caller's to release."""
        buffered = self.waiting.popleft()
        if buffered is not None and self.partial is None and not self.waiting:
            self._budget.depart(self)
        return buffered

    def drop_waiting(self) -> None:
        """Release what those hold that wait."""
        while self.waiting:
            buffered = self.waiting.popleft()
            if buffered is not None:
                self._budget.release(buffered)
        if self.partial is None:
            self._budget.depart(self)

    def drop_partial(self) -> None:
        """Release what the request holds that arrives."""
        if self.partial is not None:
            self._budget.release(self.partial)
            self._forget_partial()
            if not self.waiting:
                self._budget.depart(self)

    def mark(self, now: float) -> None:
        """Take note of how much has come. To be called once a second or so."""
        if self._pace is not None:
            self._pace.mark(now, self._received)

    def stalled(self, now: float) -> bool:
        """Return whether too little of a body has come lately, see `mpp.wire.downstream.pace`."""
        return self._pace is not None and self._pace.stalled(now, self._received)

    def rate(self, now: float) -> float:
        """Return how many bytes per second have come lately; none of what only waits."""
        return 0.0 if self._pace is None else self._pace.rate(now, self._received)

    def _buffered(self, headers: Headers | None) -> BufferedRequest:
        """Return what the request that arrives holds; on the client's own account once its head says whose it is."""
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
