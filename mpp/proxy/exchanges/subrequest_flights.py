"""
Chooses the fetch of a subrequest, the one of an identical subrequest that is under way or a new one, and when a new one starts.

# Note [Newest steps under load]

A query for the newest steps of a panel costs a server a millisecond, however few steps these are. So the more viewers share one,
the better; requests that come while it is under way do. But when many viewers look at the same panels, the queries of all panels
are under way at once: each of them takes long, and few viewers share it. So while a server has three of them, a further one waits
for the end of another, for 20 ms at most, and more viewers join it meanwhile. A query that was last answered more than 20 ms ago
starts at once, because hardly any other viewer would join it. With 20 viewers of 12 panels, 2.6 instead of 1.95 share a query,
and all get their panels earlier (``bench/dashboards.py``).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from twisted.python.failure import Failure

from mpp.core.http import headers
from mpp.core.model import Backend, RequestInfo
from mpp.core.prometheus import data_requests
from mpp.core.prometheus import query_timeout as timeouts
from mpp.core.scheduling.limited_starts import LimitedStarts
from mpp.proxy.context import ForwardContext
from mpp.proxy.decisions.caching import CacheableRequest
from mpp.proxy.exchanges.fetch import Fetch
from mpp.proxy.exchanges.server_fetch import ServerFetch
from mpp.proxy.exchanges.subrequest import Subrequest

_Key = tuple[object, ...]

# Fetches under way at one server from which on another one waits: fewer would leave the server idle at times.
_MOST = 3
_LONGEST_WAIT_S = 0.02
_A_MOMENT_S = 0.02


class SubrequestFlights:
    """The fetches of subrequests under way that further subrequests can join, as in `mpp.proxy.exchanges.flights.Flights`."""

    def __init__(self) -> None:
        self._under_way: dict[_Key, ServerFetch] = {}
        self._starts: LimitedStarts | None = None

    def join(
        self,
        context: ForwardContext,
        info: RequestInfo,
        request: CacheableRequest,
        subrequest: Subrequest,
        wanted: Backend | None,
        answered_at: float | None,
        *,
        alone: bool,
        may_read: bool,
    ) -> None:
        """
        Let a subrequest wait for its response, of a fetch that is under way or of a new one; one for all steps waits alone.

        :param info: the client's request.
        :param request: the client's request, parsed.
        :param wanted: the server that gets the first attempt if it is in service; None: affinity or strategy choose it.
        :param answered_at: when new steps of this query were last joined to cached ones; None if that was never done.
        :param alone: share the response with no other request.
        :param may_read: whether the client accepts cached steps; subrequests that differ in this are not identical.
        """
        alone, timeout = alone or subrequest.whole, timeouts.find(info)
        key = (request.key, subrequest.first, subrequest.last, None if timeout is None else timeout.seconds, may_read)
        fetch = None if alone else self._under_way.get(key)
        if fetch is not None and fetch.may_be_joined(context.cache, info):
            _wait(subrequest, fetch)
            return
        fetch = _new(context, info, request, subrequest, wanted, None if alone else partial(self._landed, key))
        _wait(subrequest, fetch)
        if alone:
            fetch.begin()
        else:
            self._under_way[key] = fetch
            self._start(context, fetch, wanted, answered_at)

    def _landed(self, key: _Key, fetch: Fetch) -> None:
        """Remove a fetch, unless another one has taken its place, see `Fetch.may_be_joined`."""
        if self._under_way.get(key) is fetch:
            del self._under_way[key]
        if self._starts is not None:
            self._starts.ended(fetch)

    def _start(self, context: ForwardContext, fetch: ServerFetch, wanted: Backend | None, answered_at: float | None) -> None:
        """Start a new fetch, or let it wait, see Note [Newest steps under load]."""
        if wanted is None or answered_at is None or context.clock.seconds() - answered_at > _A_MOMENT_S:
            fetch.begin()
            return
        if self._starts is None:
            self._starts = LimitedStarts(context.clock, _MOST, _LONGEST_WAIT_S)
        self._starts.add(fetch, wanted, partial(_begin, fetch))


def _new(
    context: ForwardContext,
    info: RequestInfo,
    request: CacheableRequest,
    subrequest: Subrequest,
    wanted: Backend | None,
    landed: Callable[[Fetch], object] | None,
) -> ServerFetch:
    """Return a new fetch for a subrequest."""
    if subrequest.whole:
        return ServerFetch(context, info, subrequest.began)
    buffer = max(context.settings.response_buffer, context.settings.cache_memory // 4)
    return ServerFetch(context, _info_of(subrequest, info, request), subrequest.began, landed, wanted=wanted, buffer=buffer)


def _wait(subrequest: Subrequest, fetch: ServerFetch) -> None:
    fetch.waiters.append(subrequest)
    subrequest.fetch = fetch


def _begin(fetch: ServerFetch) -> None:
    try:
        fetch.begin()
    except Exception:
        fetch.failed(Failure())


def _info_of(subrequest: Subrequest, info: RequestInfo, request: CacheableRequest) -> RequestInfo:
    """Return what a subrequest sends: the client's request with the range of these steps, for a body without a coding."""
    method = b"GET" if info.method == b"HEAD" else info.method
    plain = RequestInfo(method, info.target, headers.without(info.headers, b"accept-encoding"), *info[3:])
    if (subrequest.first, subrequest.last) == (request.first, request.last):
        return plain
    return data_requests.with_range(plain, request.grid.time(subrequest.first), request.grid.time(subrequest.last))
