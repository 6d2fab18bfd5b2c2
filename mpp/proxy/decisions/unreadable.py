"""
Remembers which servers could not read the data of which queries, so that they are tried last for the same queries.

A broken block makes some queries of a server fail and others not. Taking the server out of service would lose the data that only
it has; trying it first would cost each of these queries a second attempt.
"""

from __future__ import annotations

from twisted.internet.interfaces import IReactorTime

from mpp.core.model import Backend, RequestInfo
from mpp.core.prometheus.query_text import query_text

# A dashboard that is shown repeats its queries about every minute; a repaired server gets its queries back after this time.
REMEMBERED_S = 600.0
# The queries of a few hundred dashboards; below 200 KiB, because only their hashes are kept.
_MOST = 2048
# In bytes: parsing longer parameters would take longer than a second attempt.
_LONGEST = 64 * 1024


def identity(info: RequestInfo) -> int | None:
    """Return a hash of a query, independent of the time range; None for a very long request."""
    return None if len(info.target) + len(info.body) > _LONGEST else hash(query_text(info))


class UnreadableQueries:
    """
    The queries that servers lately failed to answer because they could not read the data from their storage; usually none.

    :ivar until: for each server and hash of a query, until when this is remembered, by the monotonic clock; the earliest first.
    """

    def __init__(self, clock: IReactorTime) -> None:
        self.until: dict[tuple[Backend, int], float] = {}
        self._clock = clock

    def __repr__(self) -> str:
        return f"<Unreadable: {len(self.until)}>"

    def record(self, backend: Backend, info: RequestInfo) -> None:
        """Record that a server could not read the data of a query; if there are too many, the oldest is forgotten."""
        asked = identity(info)
        if asked is not None:
            self.until.pop((backend, asked), None)
            self.until[backend, asked] = self._clock.seconds() + REMEMBERED_S
            if len(self.until) > _MOST:
                del self.until[next(iter(self.until))]

    def backends(self, info: RequestInfo) -> list[Backend]:
        """Return the servers that could not read the data of a query."""
        now = self._clock.seconds()
        while self.until and next(iter(self.until.values())) <= now:
            del self.until[next(iter(self.until))]
        if not self.until:
            return []
        asked = identity(info)
        return [backend for backend, known in self.until if known == asked]

    def forget(self, backend: Backend) -> None:
        """Delete the queries of a server that was removed."""
        for key in [key for key in self.until if key[0] == backend]:
            del self.until[key]
