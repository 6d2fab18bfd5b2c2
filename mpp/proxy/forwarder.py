"""What all client requests share on their way to a backend."""

from __future__ import annotations

import random
from collections.abc import Callable

from attrs import field, frozen
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from txaio import tx

from mpp.core.instance import Instance
from mpp.core.interfaces import IDownstream, ISelections, IUpstreams
from mpp.core.metrics import Metrics
from mpp.core.model import Backend, RequestInfo, Selection
from mpp.core.settings import Settings
from mpp.proxy.access_log import AccessLog
from mpp.proxy.decisions.affinity import AffinityChain
from mpp.proxy.decisions.client_address import TrustedProxies, client_address_of, routing_proxies
from mpp.proxy.decisions.retry_budget import RetryBudget
from mpp.proxy.decisions.unreadable import UnreadableQueries
from mpp.proxy.evidence import NoCredentials, OwnCredentials
from mpp.proxy.exchange import Exchange
from mpp.proxy.liveness import LivenessChecks
from mpp.proxy.ticker import TICKS, Ticker

_log = tx.make_logger()

# Longer than a slow first round takes (locating 3 s, DNS 2 s, probes 1 s, a large metrics page 3 s), shorter than the
# patience of Grafana (60 s) and of most scripts.
SELECTION_WAIT_S = 10.0


@frozen
class Forwarder:
    """
    What all exchanges share.

    :ivar clock: for durations and waits, monotonic.
    :ivar rng: picks among several selected backends.
    :ivar instance: this mpp, as it recognizes its own requests.
    :ivar credentials: what is known of those that mpp itself sends to backends.
    :ivar budget: how many retries and hedges there may be.
    :ivar ticker: tells exchanges how long they wait.
    :ivar liveness: tells whether a server that is silent is there.
    :ivar unreadable: which servers could not read what was asked for.
    :ivar client_address: gives the address of the client that sent a request.
    :ivar sticky_address: returns the client's address, which decides its server for federation and remote read.
    :ivar proxies: the proxies that an operator named, None if there are none.
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
    instance: Instance
    credentials: OwnCredentials = field(factory=NoCredentials)
    budget: RetryBudget = field(init=False)
    ticker: Ticker = field(init=False)
    liveness: LivenessChecks = field(init=False)
    unreadable: UnreadableQueries = field(init=False)
    client_address: Callable[[RequestInfo], str] = field(init=False)
    sticky_address: Callable[[RequestInfo], str] = field(init=False)
    proxies: TrustedProxies | None = field(init=False)
    access: AccessLog | None = field(init=False)
    stall_ticks: float = field(init=False)

    @budget.default
    def _budget(self) -> RetryBudget:
        return RetryBudget(self.settings.retry_budget, self.clock.seconds())

    @ticker.default
    def _ticker(self) -> Ticker:
        return Ticker(self.clock, self.settings.suspect_after / TICKS)

    @liveness.default
    def _liveness(self) -> LivenessChecks:
        return LivenessChecks(self.upstreams, self.selections, self.metrics, self.clock, self.ticker, self.instance)

    @unreadable.default
    def _unreadable(self) -> UnreadableQueries:
        return UnreadableQueries(self.clock)

    @client_address.default
    def _client_address(self) -> Callable[[RequestInfo], str]:
        return client_address_of(self.settings.trusted_proxies)

    @sticky_address.default
    def _sticky_address(self) -> Callable[[RequestInfo], str]:
        return routing_proxies(self.settings.trusted_proxies).client_address

    @proxies.default
    def _proxies(self) -> TrustedProxies | None:
        trusted = self.settings.trusted_proxies
        return TrustedProxies.of(trusted) if trusted else None

    @access.default
    def _access(self) -> AccessLog | None:
        return AccessLog(self.clock, self.client_address) if self.settings.access_log else None

    @stall_ticks.default
    def _stall_ticks(self) -> float:
        return self.settings.stall_timeout / self.ticker.period

    def forward(self, downstream: IDownstream) -> Exchange:
        """Start answering a request; the Exchange tells when the client goes away."""
        exchange = Exchange(self, downstream)
        exchange.start()
        return exchange

    def bounded(self, selection: Deferred[Selection]) -> Deferred[Selection]:
        """Have the Selection in force come in place of another one that takes too long."""

        def too_late(result: object, timeout: float) -> Selection:
            return self.selections.current

        return selection.addTimeout(SELECTION_WAIT_S, self.clock, onTimeoutCancel=too_late)

    def take_retry_token(self, what: str, info: RequestInfo) -> bool:
        """
        Take a further attempt out of the retry budget, if there is one left in it.

        :param what: ``retry`` or ``hedge``.
        """
        if self.budget.take(self.clock.seconds()):
            return True
        self.metrics.retry_budget_exhausted(what)
        _log.debug("no {what} of {target}: the retry budget is used up", what=what, target=info.target[:200].decode("latin-1"))
        return False

    def forget(self, backend: Backend) -> None:
        """Forget a backend that is not known any more."""
        self.liveness.forget(backend)
        self.unreadable.forget(backend)

    def stop(self) -> None:
        """Leave no timer and no question behind. For when the last exchange has ended."""
        self.ticker.stop()
        self.liveness.stop()
