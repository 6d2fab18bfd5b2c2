"""
Chooses the fetch of a request: the one of an identical read that is under way (single flight), one that uses the range cache, or
one from the servers.

`mpp.proxy.decisions.identical` decides which requests are identical, and `mpp.proxy.exchanges.fetch` gives the response to all of
them.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

from mpp.core.model import RequestInfo
from mpp.proxy.context import ForwardContext
from mpp.proxy.decisions import caching, identical
from mpp.proxy.decisions.caching import CacheableRequest
from mpp.proxy.decisions.identical import RequestKey
from mpp.proxy.exchanges.cached_fetch import CachedFetch
from mpp.proxy.exchanges.cached_queries import CachedQueries
from mpp.proxy.exchanges.fetch import Fetch, FetchesUnderWay, Waiter
from mpp.proxy.exchanges.server_fetch import ServerFetch
from mpp.proxy.exchanges.subrequest_flights import SubrequestFlights

# Requests that are remembered as the cache sees them, and the longest of them in bytes: 2 MB at most.
_MOST_SEEN = 256
_LONGEST = 4096


class Flights:
    """
    The fetches under way that further requests can join.

    :param queries: finds cached steps, and caches new ones.
    """

    def __init__(self, queries: CachedQueries) -> None:
        self._queries = queries
        self._subrequests = SubrequestFlights()
        self._under_way: FetchesUnderWay[RequestKey, Fetch] = FetchesUnderWay()
        self._seen: OrderedDict[RequestKey, CacheableRequest | str] = OrderedDict()

    def __repr__(self) -> str:
        return f"<Flights {len(self._under_way)} under way>"

    def join(self, context: ForwardContext, waiter: Waiter, info: RequestInfo, *, alone: bool) -> tuple[Fetch, bool]:
        """
        Let a request wait for its response.

        :param alone: share the response with no other request.
        :return: the fetch, and whether it is a new one, which the caller must start.
        """
        never = context.settings.no_single_flight
        key = None if never and context.cache is None else identical.key_of(info, context.counted)
        shared = None if alone or never else key
        fetch = None if shared is None else self._under_way.join(context, shared, waiter)
        if fetch is not None:
            return fetch, False
        landed = None if shared is None else self._under_way.landed(shared)
        if context.cache is None or key is None:
            fetch = ServerFetch(context, info, waiter.began, landed)
        else:
            fetch = self._of_cache(context, info, waiter.began, key, landed)
        if shared is not None:
            self._under_way.add(shared, fetch)
        fetch.waiters.append(waiter)
        return fetch, True

    def _of_cache(
        self,
        context: ForwardContext,
        info: RequestInfo,
        began: float,
        key: RequestKey,
        landed: Callable[[Fetch], object] | None,
    ) -> Fetch:
        """Return a new fetch, which uses the cache if it may answer the request."""
        found = caching.unless_forbidden(self._cacheable(context, info, key), info.headers)
        if isinstance(found, str):
            return ServerFetch(context, info, began, landed, note=f"bypass; {found}")
        gzip, may_read = key.accepted.gzip, not key.accepted.new
        return CachedFetch(context, info, began, landed, found, self._queries, self._subrequests, gzip=gzip, may_read=may_read)

    def _cacheable(self, context: ForwardContext, info: RequestInfo, key: RequestKey) -> CacheableRequest | str:
        """Return a request as the cache sees it, or why it is not cached; remembered, because viewers ask for the same."""
        found = self._seen.get(key)
        if found is not None:
            self._seen.move_to_end(key)
        else:
            found = caching.cacheable(info, key, context.wall(), context.planner.reads)
            fields = sum(len(name) + len(value) for name, value in key.fields)
            if len(info.target) + len(info.body) + fields <= _LONGEST:
                self._seen[key] = found
                if len(self._seen) > _MOST_SEEN:
                    self._seen.popitem(last=False)
        return found
