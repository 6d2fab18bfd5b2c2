"""
Remembers which servers could not read what requests asked for, so that they are asked last for the same.

A broken block spoils some queries of a server and leaves the others alone. Taking the server out of service would cost the data
that only it has; trying it first would cost each of these queries a second attempt.
"""

from __future__ import annotations

from urllib.parse import parse_qsl

from twisted.internet.interfaces import IReactorTime

from mpp.core.model import Backend, RequestInfo
from mpp.core.prometheus import paths

# A dashboard that is looked at asks again every minute or so; a server that was mended gets its requests back after this time.
REMEMBERED_S = 600.0
# The expressions of a few hundred dashboards; below 200 KiB, for only their hashes are kept.
_MOST = 2048
# Longer ones are not taken apart: that would take longer than a second attempt.
_LONGEST = 64 * 1024
# What changes from one refresh of a dashboard to the next.
_TIMES = frozenset((b"start", b"end", b"time", b"step", b"timeout"))


def identity(info: RequestInfo) -> int | None:
    """Return a hash of what a request asks for, whatever time it asks about; None of a very long request."""
    path, _, query = info.target.partition(b"?")
    if len(query) + len(info.body) > _LONGEST:
        return None
    parameters = parse_qsl(query, keep_blank_values=True) + parse_qsl(info.body, keep_blank_values=True)
    return hash((paths.normalized(path), *sorted(pair for pair in parameters if pair[0] not in _TIMES)))


class UnreadableQueries:
    """
    What servers could not read lately, usually nothing.

    :ivar until: how long each of it is remembered, in the order of these times. Looked at with every request.
    """

    def __init__(self, clock: IReactorTime) -> None:
        self.until: dict[tuple[Backend, int], float] = {}
        self._clock = clock

    def __repr__(self) -> str:
        return f"<Unreadable: {len(self.until)}>"

    def record(self, backend: Backend, info: RequestInfo) -> None:
        """Remember that a server could not read what a request asked for; the oldest is forgotten when there is too much."""
        asked = identity(info)
        if asked is not None:
            self.until.pop((backend, asked), None)
            self.until[backend, asked] = self._clock.seconds() + REMEMBERED_S
            if len(self.until) > _MOST:
                del self.until[next(iter(self.until))]

    def backends(self, info: RequestInfo) -> list[Backend]:
        """Return the servers that could not read what a request asks for."""
        now = self._clock.seconds()
        while self.until and next(iter(self.until.values())) <= now:
            del self.until[next(iter(self.until))]
        if not self.until:
            return []
        asked = identity(info)
        return [backend for backend, known in self.until if known == asked]

    def forget(self, backend: Backend) -> None:
        """Forget a server that is not known any more."""
        for key in [key for key in self.until if key[0] == backend]:
            del self.until[key]
