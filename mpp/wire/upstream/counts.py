"""
The numbers of connections to one server, and the number that the server accepts, as learned from them.

See Note [Connection limits] and Note [Spare connection] in `mpp.wire.upstream.proving`. Opens nothing.
"""

from __future__ import annotations

from mpp.wire.upstream.keeping import OwnerRecords
from mpp.wire.upstream.proving import LENDS_BELOW, RETRY_S, may_open, needs_proof


class ServerConnectionCounts:
    """
    The numbers of connections to one server.

    :param proves: mpp makes sure that the server has accepted a connection before using it; then ``spare`` is 1 at first.
    :ivar limit: how many connections the server accepts, None when no limit is known.
    :ivar spare: how many idle connections requests of clients leave to mpp's own requests, 0 or 1.
    :ivar open: how many connections are open.
    :ivar dialing: how many connections are being opened.
    :ivar answering: how many of the open connections have carried a response.
    """

    __slots__ = ("_carrying", "_most", "_retry_at", "_spare", "answering", "dialing", "limit", "open", "spare")

    def __init__(self, *, proves: bool) -> None:
        self.limit: int | None = None
        self._spare = self.spare = int(proves)
        self.open = 0
        self.dialing = 0
        self.answering = 0
        self._carrying = 0
        self._most = 1
        self._retry_at = 0.0

    @property
    def total(self) -> int:
        """How many connections are open or being opened."""
        return self.open + self.dialing

    @property
    def needs_proof(self) -> bool:
        """Whether mpp must make sure that the server has accepted the next connection, see `mpp.wire.upstream.proving`."""
        return needs_proof(self.total, self._most, limited=self.limit is not None)

    def may_open(self, now: float, *, trying: bool) -> bool:
        """Return whether to open another connection for a request that waits; ``trying``: one is being opened already."""
        return may_open(self.total, self.limit, retry=not trying and now >= self._retry_at)

    def carry(self, connection: OwnerRecords) -> None:
        """Record that a connection may carry requests."""
        if not connection.carries:
            connection.carries = True
            self._carrying += 1

    def answered(self, connection: OwnerRecords) -> None:
        """Record the first response on a connection."""
        connection.proved = True
        self.carry(connection)
        self.answering += 1
        self._most = max(self._most, self.answering)
        if self.limit is not None and self.answering > self.limit:
            self.limit = None
            self.spare = 1

    def closed(self, connection: OwnerRecords) -> None:
        """Record a connection's end. The end of the last one makes the limit unknown: the server may have been restarted."""
        self.open -= 1
        self.answering -= connection.proved
        self._carrying -= connection.carries
        if not self.total:
            self._most, self.limit, self.spare = 1, None, self._spare

    def learn_limit(self, now: float) -> int:
        """Set the limit to the number of connections that may carry requests, because the server accepts no more; return it."""
        self.limit = self._most = self._carrying
        self._retry_at = now + RETRY_S
        self.spare = int(self.limit >= LENDS_BELOW)
        return self.limit
