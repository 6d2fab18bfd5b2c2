"""Chooses the fetch of a subrequest: the one of an identical subrequest that is under way, or a new one."""

from __future__ import annotations

from functools import partial

from mpp.core.http import headers
from mpp.core.model import Backend, RequestInfo
from mpp.core.prometheus import data_requests
from mpp.core.prometheus import query_timeout as timeouts
from mpp.proxy.context import ForwardContext
from mpp.proxy.decisions.caching import CacheableRequest
from mpp.proxy.exchanges.fetch import Fetch
from mpp.proxy.exchanges.server_fetch import ServerFetch
from mpp.proxy.exchanges.subrequest import Subrequest

_Key = tuple[object, ...]


class SubrequestFlights:
    """The fetches of subrequests under way that further subrequests can join, as in `mpp.proxy.exchanges.flights.Flights`."""

    def __init__(self) -> None:
        self._under_way: dict[_Key, ServerFetch] = {}

    def join(
        self,
        context: ForwardContext,
        info: RequestInfo,
        request: CacheableRequest,
        subrequest: Subrequest,
        wanted: Backend | None,
        *,
        alone: bool,
        may_read: bool,
    ) -> tuple[ServerFetch, bool]:
        """
        Let a subrequest wait for its response; one for all steps waits alone.

        :param info: the client's request.
        :param request: the client's request, parsed.
        :param wanted: the server that gets the first attempt if it is in service; None: affinity or strategy choose it.
        :param alone: share the response with no other request.
        :param may_read: whether the client accepts cached steps; subrequests that differ in this are not identical.
        :return: the fetch, and whether it is a new one, which the caller must start.
        """
        if subrequest.whole:
            fetch = ServerFetch(context, info, subrequest.began)
            fetch.waiters.append(subrequest)
            return fetch, True
        timeout = timeouts.find(info)
        key = (request.key, subrequest.first, subrequest.last, None if timeout is None else timeout.seconds, may_read)
        shared = None if alone else self._under_way.get(key)
        if shared is not None and shared.may_be_joined(context.cache, info):
            shared.waiters.append(subrequest)
            return shared, False
        buffer = max(context.settings.response_buffer, context.settings.cache_memory // 4)
        landed = None if alone else partial(self._landed, key)
        own = _info_of(subrequest, info, request)
        fetch = ServerFetch(context, own, subrequest.began, landed, wanted=wanted, buffer=buffer)
        if not alone:
            self._under_way[key] = fetch
        fetch.waiters.append(subrequest)
        return fetch, True

    def _landed(self, key: _Key, fetch: Fetch) -> None:
        """Remove a fetch, unless another one has taken its place after a flush of the cache."""
        if self._under_way.get(key) is fetch:
            del self._under_way[key]


def _info_of(subrequest: Subrequest, info: RequestInfo, request: CacheableRequest) -> RequestInfo:
    """Return what a subrequest sends: the client's request with the range of these steps, for a body without a coding."""
    method = b"GET" if info.method == b"HEAD" else info.method
    plain = RequestInfo(method, info.target, headers.without(info.headers, b"accept-encoding"), *info[3:])
    if (subrequest.first, subrequest.last) == (request.first, request.last):
        return plain
    return data_requests.with_range(plain, request.grid.time(subrequest.first), request.grid.time(subrequest.last))
