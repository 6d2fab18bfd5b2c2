"""What all client requests share on their way to a backend."""

from __future__ import annotations

import random
from collections.abc import Callable

from attrs import field, frozen
from twisted.internet.interfaces import IReactorTime

from mpp.affinity import AffinityChain
from mpp.forward.accesslog import AccessLog
from mpp.forward.allowance import RetryBudget
from mpp.forward.exchange import Exchange
from mpp.forward.suspicion import Suspicions
from mpp.forward.watch import TICKS, Watch
from mpp.interfaces import IDownstream, ISelections, IUpstreams
from mpp.metrics import Metrics
from mpp.model import Backend, RequestFacts
from mpp.origin import teller
from mpp.settings import Settings


@frozen
class Forwarder:
    """
    What all exchanges share.

    :ivar clock: for durations and waits, monotonic.
    :ivar rng: picks among several selected backends.
    :ivar budget: how many retries and hedges there may be.
    :ivar watch: tells exchanges how long they wait.
    :ivar suspicions: tells whether a server that is silent is there.
    :ivar client_address: gives the address of the client that sent a request.
    :ivar access: the access log, or None when none is wanted.
    :ivar stall_ticks: for how many ticks an answer may pause once it has begun.
    """

    upstreams: IUpstreams
    selections: ISelections
    affinity: AffinityChain
    metrics: Metrics
    settings: Settings
    clock: IReactorTime
    rng: random.Random
    budget: RetryBudget = field(init=False)
    watch: Watch = field(init=False)
    suspicions: Suspicions = field(init=False)
    client_address: Callable[[RequestFacts], str] = field(init=False)
    access: AccessLog | None = field(init=False)
    stall_ticks: float = field(init=False)

    @budget.default
    def _budget(self) -> RetryBudget:
        return RetryBudget(self.settings.retry_budget, self.clock.seconds())

    @watch.default
    def _watch(self) -> Watch:
        return Watch(self.clock, self.settings.suspect_after / TICKS)

    @suspicions.default
    def _suspicions(self) -> Suspicions:
        return Suspicions(self.upstreams, self.selections, self.metrics, self.clock, self.watch)

    @client_address.default
    def _client_address(self) -> Callable[[RequestFacts], str]:
        return teller(self.settings.trusted_proxies)

    @access.default
    def _access(self) -> AccessLog | None:
        return AccessLog(self.clock, self.client_address) if self.settings.access_log else None

    @stall_ticks.default
    def _stall_ticks(self) -> float:
        return self.settings.stall_timeout / self.watch.period

    def forward(self, downstream: IDownstream) -> Exchange:
        """Start answering a request; the Exchange tells when the client goes away."""
        exchange = Exchange(self, downstream)
        exchange.start()
        return exchange

    def forget(self, backend: Backend) -> None:
        """Forget a backend that is not known any more."""
        self.suspicions.forget(backend)

    def stop(self) -> None:
        """Leave no timer and no question behind. For when the last exchange has ended."""
        self.watch.stop()
        self.suspicions.stop()
