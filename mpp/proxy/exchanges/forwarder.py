"""Begins the exchange of each client request, and applies new settings to the requests that follow."""

from __future__ import annotations

from attrs import evolve

from mpp.cache.store import RangeCache
from mpp.core.interfaces import IDownstream, IUpstreams
from mpp.core.model import Backend
from mpp.core.scheduling.background_thread import BackgroundThread
from mpp.core.settings import Settings
from mpp.proxy.context import ForwardContext
from mpp.proxy.decisions.affinity import AffinityChain
from mpp.proxy.exchanges.cached_queries import CachedQueries
from mpp.proxy.exchanges.exchange import Exchange
from mpp.proxy.exchanges.flights import Flights
from mpp.proxy.ticker import TICKS


class Forwarder:
    """
    The forwarder of all client requests.

    :ivar context: the settings and shared objects with which new requests are forwarded.
    :param in_thread: calls functions that take long, in another thread.
    """

    def __init__(self, context: ForwardContext, in_thread: BackgroundThread) -> None:
        self.context = context
        self._in_thread = in_thread
        self._flights = Flights(CachedQueries(in_thread))

    def forward(self, downstream: IDownstream) -> Exchange:
        """Start to forward a request; the caller notifies the returned Exchange when the client disconnects."""
        exchange = Exchange(self.context, downstream, self._flights)
        exchange.start()
        return exchange

    def reconfigure(
        self,
        upstreams: IUpstreams,
        affinity: AffinityChain,
        settings: Settings,
        cache: RangeCache | None = None,
    ) -> None:
        """Apply new settings to the requests that follow. The retry budget keeps its tokens, and liveness checks go on."""
        before = self.context.settings
        if (before.cache_vary, before.cache_neutral) != (settings.cache_vary, settings.cache_neutral):
            # Requests that are alike now may not have been alike when the fetches under way began.
            self._flights = Flights(CachedQueries(self._in_thread))
        context = self.context = evolve(self.context, upstreams=upstreams, affinity=affinity, settings=settings, cache=cache)
        context.budget.share = settings.retry_budget
        context.ticker.reconfigure(settings.suspect_after / TICKS)
        context.liveness.upstreams = upstreams

    def forget(self, backend: Backend) -> None:
        """Delete what is remembered of a backend that was removed."""
        self.context.liveness.forget(backend)
        self.context.unreadable.forget(backend)

    def stop(self) -> None:
        """Cancel timers and liveness checks; called after the last exchange has ended."""
        self.context.ticker.stop()
        self.context.liveness.stop()
