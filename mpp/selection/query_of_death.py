"""
The detection of reads (queries, remote read) that crash servers: how such a read is recognized when it is repeated, and how many
healthy servers are left for it.
Decisions from the request's facts and the Selection; the only state is the bounded memory in `SuspectQueries`.

# Note [Query of death]

A query that makes a server run out of memory kills each server it is retried on, and a dashboard that is refreshed sends it
again as soon as they are back. From outside, it looks like a query whose server was killed for another reason. So a read is
*suspect* when its server broke off without announcing its shutdown, after having run it for longer than ``--crash-suspect``. A
server announces its shutdown by a 503, or by rejecting new connections while the old ones are still open, which no crash does.
Most queries take less time: they are retried as usual, and a server that is killed while running them costs no request.

A suspect read is sent to a server only if another healthy one is left, so however often it is sent, one server survives. That
holds for its retries and, for `REMEMBERED_S`, for all reads with the same text; they get a 502 instead.

The time that a server has run a read is counted up to its last sign of life (a response to ``/-/ready``, or a byte of the
response). A server that hung from the start ran nothing, so when it is killed, the reads that waited for it are not suspect.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Collection

from zope.interface import implementer

from mpp.core.interfaces import ISuspectQueries
from mpp.core.model import Backend, RequestInfo, Selection, Standing
from mpp.core.prometheus.query_text import query_text

# Longer than a server's restart and a dashboard's refresh interval; short enough for a query that is suspected wrongly.
REMEMBERED_S = 600.0
# Far more queries than a pair of servers can crash of in that time.
MEMORY = 256


def key_of(info: RequestInfo) -> str:
    """
    Return a key by which repetitions of a read are recognized: a hash of its path and parameters without the time parameters.

    A body that is not form-encoded (remote read) is hashed as it is.
    """
    text = query_text(info)
    found = hashlib.blake2b(repr((text.path, text.parameters)).encode(), digest_size=16)
    found.update(text.body)
    return found.hexdigest()


def healthy(selection: Selection, without: Collection[Backend]) -> int:
    """Return the number of backends that are viable or busy, not counting the ones in ``without``."""
    count = 0
    for backend in selection.ranked:
        observation = selection.observed.get(backend)
        is_healthy = observation is None or observation.standing < Standing.SUSPECT
        count += is_healthy and backend not in without
    return count


@implementer(ISuspectQueries)
class SuspectQueries:
    """
    The reads of the last minutes that may have crashed a server, each by its key from `key_of`.

    :param now: returns the time in seconds, by a monotonic clock.
    :ivar until: the time at which each read is forgotten, by key, oldest first. It is public because each request looks whether
        it is empty.
    """

    def __init__(self, now: Callable[[], float]) -> None:
        self.until: OrderedDict[str, float] = OrderedDict()
        self._now = now

    def __repr__(self) -> str:
        return f"<SuspectQueries, {len(self.until)} of them>"

    def __contains__(self, key: str) -> bool:
        self._forget()
        return key in self.until

    def add(self, key: str, seconds: float = REMEMBERED_S) -> None:
        """Remember a read for some seconds from now on; beyond `MEMORY` reads the oldest one is forgotten."""
        self.until[key] = self._now() + seconds
        self.until.move_to_end(key)
        self._forget()

    def left(self) -> list[tuple[str, float]]:
        """Return the keys of the remembered reads, each with the seconds until the read is forgotten."""
        self._forget()
        return [(key, until - self._now()) for key, until in self.until.items()]

    def _forget(self) -> None:
        now = self._now()
        while self.until and (len(self.until) > MEMORY or next(iter(self.until.values())) <= now):
            self.until.popitem(last=False)
