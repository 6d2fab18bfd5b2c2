"""The values and shared objects that a client request is forwarded with. Data only; `mpp.proxy.exchanges.forwarder` uses them."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import Protocol

from attrs import Factory, field, frozen
from twisted.internet.interfaces import IReactorTime

from mpp.cache.store import RangeCache
from mpp.core.http.instance import Instance
from mpp.core.interfaces import ISelections, IUpstreams
from mpp.core.metrics.registry import Metrics
from mpp.core.model import Backend, RequestInfo
from mpp.core.prometheus.cors import AllowedOrigins
from mpp.core.scheduling.turns import Turns
from mpp.core.settings import Settings
from mpp.coverage.planning.planner import Planner
from mpp.promql.memory import QueryMemory
from mpp.proxy.access_log import AccessLog
from mpp.proxy.decisions.affinity import AffinityChain
from mpp.proxy.decisions.client_address import TrustedProxies, client_address_of, routing_proxies
from mpp.proxy.decisions.identical import CountedFields
from mpp.proxy.decisions.retry_budget import RetryBudget
from mpp.proxy.decisions.unreadable import UnreadableQueries
from mpp.proxy.liveness import LivenessChecks
from mpp.proxy.plan_queue import PlanQueue
from mpp.proxy.ticker import TICKS, Ticker


class OwnCredentials(Protocol):
    """The credentials that mpp sends to backends: `mpp.security.upstream.active_credentials.ActiveCredentials`."""

    def authorizes(self, backend: Backend, /) -> bool:
        """Return whether mpp adds an ``Authorization`` field of its own to requests to a backend."""

    def refreshed_since(self, backend: Backend, at: float, /) -> bool:
        """
        Read changed credential files again, unless that was done within the last second.

        :param at: a time by the monotonic clock.
        :return: whether requests to the backend carry other credentials now than at that time.
        """


@frozen
class ForwardContext:
    """
    The context of all requests that began under the same settings. Each request keeps the context that it began with.

    A context for new settings is made by ``attrs.evolve``: it has other settings; what requests share goes on, such as the
    budget, the ticker, the planner and the requests that wait to be planned.

    :ivar clock: the monotonic clock, for durations and waits.
    :ivar rng: picks one of several selected backends.
    :ivar instance: the identity of this mpp, by which it recognizes its own requests.
    :ivar budget: limits the number of retries and hedges.
    :ivar ticker: calls exchanges periodically while they wait.
    :ivar turns: divides the joining of large responses among the turns of the reactor.
    :ivar liveness: finds out whether a silent server still responds.
    :ivar unreadable: the queries whose data servers could not read from their storage.
    :ivar planner: finds the server that lacks least of what a request reads.
    :ivar plan_queue: the requests that wait to be planned, in a pool with many gaps.
    :ivar cache: the range cache; None while ``--cache-memory`` is 0.
    :ivar wall: returns the time of day, in seconds since the epoch.
    :ivar client_address: returns the address of the client that sent a request, as reliable as the access log needs it.
    :ivar sticky_address: returns the address by which a client of federation and remote read stays on one server. Without
        ``--trusted-proxies`` it trusts proxies in private networks, as ``client_address`` does not.
    :ivar proxies: the proxies of ``--trusted-proxies``; None without that option.
    :ivar allowed_origins: the origins whose web pages may read errors that mpp sends itself (CORS).
    :ivar access: the access log; None without ``--access-log``.
    :ivar counted: decides which header fields must be equal for requests to share a response.
    """

    upstreams: IUpstreams
    selections: ISelections
    affinity: AffinityChain
    metrics: Metrics
    settings: Settings
    clock: IReactorTime
    rng: random.Random
    instance: Instance
    credentials: OwnCredentials
    budget: RetryBudget = Factory(lambda self: RetryBudget(self.settings.retry_budget, self.clock.seconds()), takes_self=True)
    ticker: Ticker = Factory(lambda self: Ticker(self.clock, self.settings.suspect_after / TICKS), takes_self=True)
    turns: Turns = Factory(lambda self: Turns(self.clock), takes_self=True)
    liveness: LivenessChecks = Factory(
        lambda self: LivenessChecks(self.upstreams, self.selections, self.metrics, self.clock, self.ticker, self.instance),
        takes_self=True,
    )
    unreadable: UnreadableQueries = Factory(lambda self: UnreadableQueries(self.clock), takes_self=True)
    planner: Planner = field(factory=lambda: Planner(QueryMemory()))
    plan_queue: PlanQueue = Factory(lambda self: PlanQueue(self.clock), takes_self=True)
    cache: RangeCache | None = None
    wall: Callable[[], float] = time.time
    client_address: Callable[[RequestInfo], str] = field(
        init=False, default=Factory(lambda self: client_address_of(self.settings.trusted_proxies), takes_self=True)
    )
    sticky_address: Callable[[RequestInfo], str] = field(
        init=False, default=Factory(lambda self: routing_proxies(self.settings.trusted_proxies).client_address, takes_self=True)
    )
    proxies: TrustedProxies | None = field(init=False)
    allowed_origins: AllowedOrigins = field(
        init=False, default=Factory(lambda self: AllowedOrigins(self.settings.web_cors_origin), takes_self=True)
    )
    access: AccessLog | None = field(init=False)
    counted: CountedFields = field(init=False)

    @proxies.default
    def _proxies(self) -> TrustedProxies | None:
        trusted = self.settings.trusted_proxies
        return TrustedProxies.of(trusted) if trusted else None

    @counted.default
    def _counted(self) -> CountedFields:
        vary, neutral = (
            [name.encode("ascii") for name in names] for names in (self.settings.cache_vary, self.settings.cache_neutral)
        )
        return CountedFields(vary, neutral, self.instance)

    @access.default
    def _access(self) -> AccessLog | None:
        return AccessLog(self.clock, self.client_address) if self.settings.access_log else None
