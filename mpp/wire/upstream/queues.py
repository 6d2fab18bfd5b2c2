"""
The requests to one server that wait: for a slot, or for one of the few connections that the server accepts.

A *slot* is the place of one request under way, of which a server has ``--max-concurrency``. This module does not know what is
sent. Queries wait apart from other requests for a slot: when a server runs as many queries as it can, requests of other kinds
pass them.
"""

from __future__ import annotations

from collections import deque

from twisted.internet.defer import Deferred

from mpp.core.errors import UpstreamError
from mpp.core.interfaces import IProgress
from mpp.wire.upstream.connection import UpstreamConnection


class QueuePosition(Deferred[None]):
    """
    The position of a request in the queue; fires when the request may be sent. Cancelling it removes it from the queue.

    :ivar query_slots: if the request is a query, how many queries the server runs at once; otherwise 0.
    :ivar number: its number in the order of arrival.
    """

    def __init__(self, queue: RequestQueue, query_slots: int, number: int) -> None:
        super().__init__(queue.leave)
        self.query_slots = query_slots
        self.number = number


class RequestQueue:
    """
    The requests that wait for a slot of one server, in the order in which they came.

    :ivar waiting: how many requests there are in the queue.
    """

    __slots__ = ("_number", "_others", "_queries", "waiting")

    def __init__(self) -> None:
        self.waiting = 0
        self._number = 0
        self._others: deque[QueuePosition] = deque()
        self._queries: deque[QueuePosition] = deque()

    def join(self, query_slots: int) -> QueuePosition:
        """Add a request at the end; return its position."""
        self._number += 1
        position = QueuePosition(self, query_slots, self._number)
        (self._queries if query_slots else self._others).append(position)
        self.waiting += 1
        return position

    def leave(self, position: Deferred[None]) -> None:
        """Remove the position of a request that is sent, or was cancelled."""
        assert isinstance(position, QueuePosition)
        (self._queries if position.query_slots else self._others).remove(position)
        self.waiting -= 1

    def next(self, queries: int) -> QueuePosition | None:
        """
        Return the position of the request that is sent next; None if no request may be sent.

        :param queries: how many queries the server is running now.
        """
        query = self._queries[0] if self._queries and queries < self._queries[0].query_slots else None
        other = self._others[0] if self._others else None
        if query is None or other is None:
            return query or other
        return query if query.number < other.number else other

    def clear(self) -> list[QueuePosition]:
        """Empty the queue; return the positions that were in it."""
        positions = [*self._others, *self._queries]
        self._others.clear()
        self._queries.clear()
        self.waiting = 0
        return positions


class ConnectionWaiter(Deferred[UpstreamConnection]):
    """
    A request that waits for a connection; fires with it, fails with `UpstreamError`. Cancelling it removes it.

    :ivar urgent: it is mpp's own request, and comes before requests of clients.
    :ivar fresh: it must be sent on a new connection.
    """

    def __init__(self, queue: ConnectionQueue, progress: IProgress | None, *, urgent: bool, fresh: bool) -> None:
        super().__init__(queue.leave)
        self.progress = progress
        self.urgent = urgent
        self.fresh = fresh


class ConnectionQueue(deque[ConnectionWaiter]):
    """The requests that wait for a connection to one server, urgent ones first."""

    def join(self, progress: IProgress | None, *, urgent: bool, fresh: bool, queued: bool) -> ConnectionWaiter:
        """Add a request; ``queued``: the value of ``queued`` that its `IProgress` gets."""
        waiter = ConnectionWaiter(self, progress, urgent=urgent, fresh=fresh)
        if urgent:
            self.insert(sum(each.urgent for each in self), waiter)
        else:
            self.append(waiter)
        if progress is not None:
            progress.queued = queued
        return waiter

    def leave(self, waiter: Deferred[UpstreamConnection]) -> None:
        """Remove a request that was cancelled."""
        assert isinstance(waiter, ConnectionWaiter)
        self.remove(waiter)

    def give(self, waiter: ConnectionWaiter, connection: UpstreamConnection, now: float) -> None:
        """Remove a request, and fire it with a connection."""
        self.remove(waiter)
        progress = waiter.progress
        if progress is not None and progress.queued:
            progress.queued = False
            progress.dequeued_at = now
        waiter.callback(connection)

    def mark_queued(self) -> None:
        """Record in the progress of each request that it waits."""
        for waiter in self:
            if waiter.progress is not None:
                waiter.progress.queued = True

    def fail_all(self, error: UpstreamError) -> None:
        """Remove all requests, and fail them."""
        waiters = list(self)
        self.clear()
        for waiter in waiters:
            waiter.errback(error)
