"""
Requests that wait for a slot on one server, in the order in which they came.

It knows neither connections nor what is sent. Queries wait apart from other requests: when a server runs as many queries as it
can, requests of other kinds pass them.
"""

from __future__ import annotations

from collections import deque

from twisted.internet.defer import Deferred


class QueuePosition(Deferred[None]):
    """
    A place in the queue; fires when the request may be sent. Cancelling it leaves the queue.

    :ivar query_slots: how many queries the server runs at once, 0 for other requests.
    :ivar number: its rank among all that ever waited.
    """

    def __init__(self, turns: RequestQueue, query_slots: int, number: int) -> None:
        super().__init__(turns.leave)
        self.query_slots = query_slots
        self.number = number


class RequestQueue:
    """
    The queue of one server.

    :ivar waiting: how many there are in it.
    """

    __slots__ = ("_number", "_others", "_queries", "waiting")

    def __init__(self) -> None:
        self.waiting = 0
        self._number = 0
        self._others: deque[QueuePosition] = deque()
        self._queries: deque[QueuePosition] = deque()

    def join(self, query_slots: int) -> QueuePosition:
        """Return a new place at the end."""
        self._number += 1
        turn = QueuePosition(self, query_slots, self._number)
        (self._queries if query_slots else self._others).append(turn)
        self.waiting += 1
        return turn

    def leave(self, turn: Deferred[None]) -> None:
        """Remove a place whose request is sent, or not wanted any more."""
        assert isinstance(turn, QueuePosition)
        (self._queries if turn.query_slots else self._others).remove(turn)
        self.waiting -= 1

    def next(self, queries: int) -> QueuePosition | None:
        """
        Return the place of the request that is sent next; None when there is none that may be sent.

        :param queries: how many queries the server runs.
        """
        query = self._queries[0] if self._queries and queries < self._queries[0].query_slots else None
        other = self._others[0] if self._others else None
        if query is None or other is None:
            return query or other
        return query if query.number < other.number else other

    def clear(self) -> list[QueuePosition]:
        """Empty the queue; return the places that were in it."""
        turns = [*self._others, *self._queries]
        self._others.clear()
        self._queries.clear()
        self.waiting = 0
        return turns
