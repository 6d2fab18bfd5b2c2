"""
Reads that servers may have died of: how one is recognized when it comes again, and to whom it may still be sent. Decisions over a
request's facts and the Selection; the only state is the bounded memory in `SuspectQueries`.

# Note [Query of death]

A query that makes a server run out of memory kills each server it is retried on, and a dashboard that is refreshed sends it
again as soon as they are back. From outside nothing tells it from a query whose server was killed for another reason. So a read
is *suspect* when its server broke off without having said that it stops, after having run it for longer than ``--crash-suspect``.
A server says that by a 503, or by refusing new connections while the old ones are still there, which no crash does.
Most queries take less: they are retried as ever, and a server that is killed under them costs no request.

A suspect read is sent to a server only if another healthy one is left beside that one, so however often it is sent, one server
survives. That holds for its retries and, for `REMEMBERED_S`, for all reads with the same text; they get a 502 instead.

How long a server has run a read is counted up to its last sign of life (an answer to ``/-/ready``, or a byte of the response). A
server that hung from the start ran nothing: whoever kills it does not make suspects of all the reads that waited for it.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Collection
from urllib.parse import unquote_to_bytes

from zope.interface import implementer

from mpp.core.interfaces import ISuspectQueries
from mpp.core.model import Backend, RequestInfo, Selection, Standing
from mpp.core.prometheus import paths
from mpp.core.prometheus import query_timeout as timeouts

# Longer than a server takes to come back, and dashboards to be refreshed; short enough for a query that is suspected wrongly.
REMEMBERED_S = 600.0
# Far more than a pair can die of in that time.
MEMORY = 256

# A refreshed panel differs in these: they say when, not what.
_TIMES = frozenset((b"start", b"end", b"time", b"step", b"timeout", b"_"))


def key_of(info: RequestInfo) -> str:
    """
    Return what identifies the text of a read: a hash of its path and its parameters, but for those that tell times.

    The order of the parameters, how they are encoded, and whether they stand in the query string or in a form make no difference.
    A body that is no form (a remote read) is taken as it is.
    """
    path, _, query = info.target.partition(b"?")
    form = timeouts.is_form(info)
    parts = query.split(b"&") + (info.body.split(b"&") if form else [])
    named = [tuple(unquote_to_bytes(each.replace(b"+", b" ")) for each in part.partition(b"=")[::2]) for part in parts if part]
    kept = sorted(part for part in named if part[0] not in _TIMES)
    found = hashlib.blake2b(repr((paths.normalized(path), kept)).encode(), digest_size=16)
    if not form:
        found.update(info.body)
    return found.hexdigest()


def healthy(selection: Selection, without: Collection[Backend]) -> int:
    """Return how many backends are viable or busy, not counting some."""
    count = 0
    for backend in selection.ranked:
        observation = selection.observed.get(backend)
        is_well = observation is None or observation.standing < Standing.SUSPECT
        count += is_well and backend not in without
    return count


@implementer(ISuspectQueries)
class SuspectQueries:
    """
    The suspect reads of the last minutes, by their keys.

    :param now: gives the time in seconds, by a monotonic clock.
    :ivar until: until when each is suspect, oldest first. Read it to see whether there are any, which is asked with each request.
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
        """Remember a read for so many seconds from now on; the oldest one is forgotten when there are too many."""
        self.until[key] = self._now() + seconds
        self.until.move_to_end(key)
        self._forget()

    def left(self) -> list[tuple[str, float]]:
        """Return the keys, and for how many seconds each is still remembered."""
        self._forget()
        return [(key, until - self._now()) for key, until in self.until.items()]

    def _forget(self) -> None:
        now = self._now()
        while self.until and (len(self.until) > MEMORY or next(iter(self.until.values())) <= now):
            self.until.popitem(last=False)
