"""The idle connections to one server. A request takes the one that became idle last; the others grow old, and are closed."""

from __future__ import annotations

from twisted.internet.defer import Deferred

from mpp.core.interfaces import IResponse
from mpp.wire.upstream.connection import UpstreamConnection
from mpp.wire.upstream.interfaces import IPool
from mpp.wire.upstream.opening import PROOF_BYTES


class IdleConnections(list[UpstreamConnection]):
    """
    The connections to one server that carry no request, the longest idle first.

    :ivar kept: connections that become idle stay open; if false, they are closed.
    :ivar heard_at: when the last response was complete after which its connection could be used again, by the monotonic clock.
    """

    __slots__ = ("_pool", "heard_at", "kept")

    def __init__(self, pool: IPool) -> None:
        super().__init__()
        self._pool = pool
        self.kept = True
        self.heard_at = float("-inf")

    def keep(self, connection: UpstreamConnection) -> None:
        """Add a connection that has become idle. Close it instead if it may not be kept, or if there are too many."""
        pool = self._pool
        if connection.retired or not self.kept or len(self) >= pool.max_idle:
            connection.close()
            return
        connection.idle_since = pool.clock.seconds()
        self.append(connection)
        pool.schedule_idle_check()

    def discard(self, connection: UpstreamConnection) -> None:
        """Remove a connection from the idle ones, if it is one of them."""
        if connection in self:
            self.remove(connection)

    def ask(self, question: bytes) -> Deferred[IResponse] | None:
        """Send a request without a body on an idle connection; return None if no connection is idle."""
        while self:
            connection = self.pop()
            if connection.alive:
                return connection.send(question, b"", PROOF_BYTES, None)
        return None

    def close_older(self, before: float) -> None:
        """Close the connections that have been idle since ``before`` or longer."""
        while self and self[0].idle_since <= before:
            self.pop(0).close()
