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
from mpp.proxy.decisions.identical import CountedFields, RequestKey
from mpp.proxy.exchanges.cached_fetch import CachedFetch
from mpp.proxy.exchanges.cached_queries import CachedQueries
from mpp.proxy.exchanges.fetch import Fetch, Waiter
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
        self._under_way = _UnderWay()
        self._seen: OrderedDict[RequestKey, CacheableRequest | str] = OrderedDict()

    def __repr__(self) -> str:
        return f"<Flights {self._under_way}>"

    def join(self, context: ForwardContext, waiter: Waiter, info: RequestInfo, *, alone: bool) -> tuple[Fetch, bool]:
        """
        Let a request wait for its response.

        :param alone: share the response with no other request.
        :return: the fetch, and whether it is a new one, which the caller must start.
        """
        key = None if context.cache is None else identical.key_of(info, context.counted)
        is_shared = not (alone or context.settings.no_single_flight) and (context.cache is None or key is not None)
        size = identical.size_of(info) if is_shared else 0
        if is_shared:
            fetch, key = self._under_way.find(size, info, key, context.counted)
            if fetch is not None and fetch.may_be_joined(context.cache, info):
                fetch.waiters.append(waiter)
                return fetch, False
        landed = self._under_way.remove if is_shared else None
        if context.cache is None or key is None:
            fetch = ServerFetch(context, info, waiter.began, landed)
        else:
            fetch = self._of_cache(context, info, waiter.began, key, landed)
        if is_shared:
            self._under_way.add(fetch, size, key)
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


class _UnderWay:
    """
    The fetches under way that further requests may join.

    They are found by the size of their requests: one fetch of each size, or several by their keys. To make a key is a twentieth
    of all work for a small request. So keys are made only where two requests have the same size; then it also turns out which
    responses are never shared. With a cache, which needs the keys itself, they are known before.
    """

    def __init__(self) -> None:
        self._by_size: dict[int, Fetch | dict[RequestKey, Fetch]] = {}

    def __repr__(self) -> str:
        return f"{sum(len(each) if isinstance(each, dict) else 1 for each in self._by_size.values())} under way"

    def find(
        self, size: int, info: RequestInfo, key: RequestKey | None, counted: CountedFields
    ) -> tuple[Fetch | None, RequestKey | None]:
        """
        Return the fetch of an identical request. Fetches of the same size are arranged by their keys for that.

        :param size: the size of the request.
        :param key: the key of the request, if it is known.
        :return: the fetch, None if there is none; and the key, if it is known now.
        """
        found = self._by_size.get(size)
        if found is None:
            return None, key
        key = key or identical.key_of(info, counted)
        if key is None:
            return None, None
        if isinstance(found, Fetch):
            found.key = found.key or identical.key_of(found.info, counted)
            if found.key is None:
                return None, key
            found = self._by_size[size] = {found.key: found}
        return found.get(key), key

    def add(self, fetch: Fetch, size: int, key: RequestKey | None) -> None:
        """Add a new fetch, for whose request `find` has returned this key."""
        fetch.size, fetch.key = size, key
        found = self._by_size.get(size)
        if isinstance(found, dict):
            if key is not None:
                found[key] = fetch
        elif found is None or key is not None:
            # The response of the other fetch is never shared.
            self._by_size[size] = fetch

    def remove(self, fetch: Fetch) -> None:
        """Remove a fetch that has ended, unless another one has taken its place, see `Fetch.may_be_joined`."""
        found = self._by_size.get(fetch.size)
        if found is fetch:
            del self._by_size[fetch.size]
        elif isinstance(found, dict) and fetch.key is not None and found.get(fetch.key) is fetch:
            del found[fetch.key]
            if not found:
                del self._by_size[fetch.size]
