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

    :ivar kept: connections that become idle are kept; if not, they are closed.
    :ivar heard_at: when the last response on a kept connection was complete, by the monotonic clock.
    """

    __slots__ = ("_pool", "heard_at", "kept")

    def __init__(self, pool: IPool) -> None:
        super().__init__()
        self._pool = pool
        self.kept = True
        self.heard_at = float("-inf")

    def keep(self, connection: UpstreamConnection) -> None:
        """Add a connection; close it if it is retired, or if there are `IPool.max_idle` already."""
        pool = self._pool
        if connection.retired or not self.kept or len(self) >= pool.max_idle:
            connection.close()
            return
        connection.idle_since = pool.clock.seconds()
        self.append(connection)
        pool.schedule_idle_check()

    def discard(self, connection: UpstreamConnection) -> None:
        """Remove a connection, if it is here."""
        if connection in self:
            self.remove(connection)

    def ask(self, question: bytes) -> Deferred[IResponse] | None:
        """Send a request without a body on one of the connections; return None when there is none."""
        while self:
            connection = self.pop()
            if connection.alive:
                return connection.send(question, b"", PROOF_BYTES, None)
        return None

    def close_older(self, before: float) -> None:
        """Close the connections that have been idle since ``before`` or longer."""
        while self and self[0].idle_since <= before:
            self.pop(0).close()
