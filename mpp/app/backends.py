"""
The part of the program that faces the backends: discovery, probes, selection, connections and credentials. This module knows
nothing about clients.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from typing import Any

from twisted.internet.defer import Deferred
from txaio.tx import make_logger

from mpp.app.client_side import Role
from mpp.app.components import Components
from mpp.app.upkeep import FreeMemory, SeriesExpiry, system_trim
from mpp.cache.store import RangeCache
from mpp.core.interfaces import ILocator, ISelections
from mpp.core.metrics.registry import LOCAL, Metrics
from mpp.core.model import Backend, Standing
from mpp.core.prometheus.own_requests import own_request_head
from mpp.core.scheduling.background_thread import BackgroundThread
from mpp.core.settings import Settings
from mpp.coverage.rules.composing import RuleComposer
from mpp.discovery.merged import MergedLocator
from mpp.promql.rules import RuleDefinition
from mpp.proxy.context import ForwardContext
from mpp.proxy.exchanges.forwarder import Forwarder
from mpp.security.upstream.active_credentials import ActiveCredentials
from mpp.selection.event_log import EventLog
from mpp.selection.problems import Problems
from mpp.selection.service import SelectionService
from mpp.wire.address_book import AddressBook
from mpp.wire.memory_budget import MemoryBudget
from mpp.wire.tuned.switch import is_tuned
from mpp.wire.upstream.dialer import Dialer
from mpp.wire.upstream.pool import Pool

_log = make_logger()


class Backends:
    """
    The objects that find, probe, select and connect to the backends.

    :param each_round: called in each selection round, after discovery.
    :param role: the role of this process; a worker gets the Selection from its parent, and runs no discovery and no probes.
    :ivar locator: the merged locator of all discovery sources.
    :ivar selections: the service that has the current Selection; the caller starts and stops it.
    :ivar rounds: the same object as ``selections`` in a process that runs selection rounds itself; None in a worker.
    :ivar event_log: the latest events of the selection; it remains empty in a worker.
    :ivar addresses: returns the known IP addresses of a backend.
    :ivar credentials: the active credentials, and the discovery sources of each backend.
    :ivar pool: the connections to backends.
    :ivar forwarder: the forwarder of clients' requests.
    """

    _cache: RangeCache | None = None

    def __init__(
        self,
        components: Components,
        reactor: Any,
        *,
        budget: MemoryBudget,
        metrics: Metrics,
        each_round: Callable[[], None],
        role: Role[Any],
    ) -> None:
        self._instance, parent = role.instance, role.parent
        self._components = components
        self._reactor = reactor
        self._metrics = metrics
        self._each_round = each_round
        self._book = AddressBook(reactor.nameResolver, reactor, self._moved)
        self.addresses = self._book.addresses if parent is None else parent.addresses
        self.credentials = ActiveCredentials(components.credentials, self._replace_connections, self._flush_cache, reactor)
        self.pool = self._build_pool(budget)
        self.locator = self._merged([locator for _, locator in components.locators])
        self.rounds: SelectionService | None = None
        if parent is None:
            self.rounds = self._select()
            self.selections: ISelections = self.rounds
        else:
            self.selections = parent.follow(self._forget, self.credentials.set_sources, self.pool.leave, self._ruled)
        self.event_log = EventLog(time.time) if self.rounds is None else self.rounds.event_log
        self._problems = Problems(self.event_log.record, "discovery")
        self._serves = role.client_side is None
        self._free_memory = FreeMemory(reactor.seconds, system_trim())
        self._thread = BackgroundThread(reactor, "mpp-cache")
        self.forwarder = self._build_forwarder()
        self._rules = RuleComposer(self.forwarder.context.planner.forget, reactor)
        if self.rounds is not None:
            survey = self.rounds.rules
            survey.changed.append(lambda: self._ruled(survey.definitions))
        self._upkeep = SeriesExpiry(
            metrics, self._counted_names, lambda: self._components.settings.selection_interval, reactor.seconds
        )
        self._expect_configured()

    def _build_pool(self, budget: MemoryBudget) -> Pool:
        settings = self._components.settings
        dialer = Dialer(self._reactor, self.addresses, tls=self.credentials.tls, eager=is_tuned())
        return Pool(
            dialer,
            self._reactor,
            budget,
            max_active=settings.max_concurrency,
            max_queued=settings.max_queue,
            reset_slow=lambda backend: self._metrics.slow_clients_reset.inc(backend.name),
            question=lambda backend: self.credentials.put_into(backend, own_request_head(backend, "/-/ready", self._instance)),
        )

    def _select(self) -> SelectionService:
        components = self._components
        return SelectionService(
            self.locator,
            self,
            components.prober(self.pool, self._reactor, time.time, self._instance),
            components.strategy,
            clock=self._reactor,
            wall=time.time,
            interval=components.settings.selection_interval,
            metrics=self._metrics,
            forget=self._forget,
            coverage_query=_coverage_query(components.settings),
        )

    def _build_forwarder(self) -> Forwarder:
        components = self._components
        return Forwarder(
            ForwardContext(
                components.upstreams(self.pool),
                self.selections,
                components.affinity,
                self._metrics,
                components.settings,
                self._reactor,
                random.Random(),
                self._instance,
                credentials=self.credentials,
                cache=self._cache_for(components.settings),
            ),
            self._thread,
        )

    def _cache_for(self, settings: Settings) -> RangeCache | None:
        """Return the range cache with the limits of the settings; None if they have none, or other processes serve clients."""
        memory, max_age = settings.cache_memory, settings.cache_max_age
        if self._cache is not None:
            try:
                self._cache.reconfigure(memory, max_age)
            except Exception:
                # A reload is applied as a whole, and requests can do without cached steps.
                _log.failure("bug: the range cache could not be given its new limits, and is replaced by an empty one")
                self._cache = None
        if self._cache is None and memory and self._serves:
            self._cache = RangeCache(memory, max_age, self._reactor, random.Random(), self._metrics)
        return self._cache if memory else None

    @property
    def cache(self) -> RangeCache | None:
        """The range cache of this process; None while it is off."""
        return self.forwarder.context.cache

    def _merged(self, locators: Sequence[ILocator]) -> MergedLocator:
        return MergedLocator(locators, self._reactor, failed=lambda name: self._metrics.discovery_errors.inc(name))

    def refresh(self, backends: tuple[Backend, ...]) -> Deferred[None]:
        """
        Refresh credentials and the addresses of host names, and record problems of locators; called in each selection round.

        :param backends: the backends that the locators list now.
        :return Deferred(None): fires when the addresses of these backends are up to date.
        """
        self._problems.look({f"locator {each.name}": each.problem or each.note for each in self.locator.sources})
        self.credentials.set_sources(self._components.origins(self.locator.sources))
        self.credentials.refresh()
        for observation in self.selections.current.observations:
            if observation.standing is Standing.DOWN:
                self.pool.close_idle(observation.backend)
        self._each_round()
        return self._book.refresh(backends)

    def refresh_credentials(self) -> None:
        """Read changed credential files again; called before the probe of a backend."""
        self.credentials.refresh_soon()

    def verify(self, components: Components) -> Deferred[None]:
        """Ask the new discovery sources whether they accept their configuration, see `MergedLocator.verify`."""
        return self._merged(components.made).verify()

    def reconfigure(self, components: Components) -> None:
        """Replace the components at a reload; requests in flight continue with the previous ones, and connections stay open."""
        before, settings = self._components.settings, components.settings
        self._components = components
        if (before.cache_vary, before.cache_neutral) != (settings.cache_vary, settings.cache_neutral):
            # The keys have only the fields that counted when they were made.
            self._flush_cache()
        self.credentials.replace(components.credentials)
        cache = self._cache_for(settings)
        self.forwarder.reconfigure(components.upstreams(self.pool), components.affinity, settings, cache)
        self.pool.max_active, self.pool.max_queued = settings.max_concurrency, settings.max_queue
        self.locator.replace(components.named_locators())
        if self.rounds is not None:
            prober = components.prober(self.pool, self._reactor, time.time, self._instance)
            self.rounds.reconfigure(prober, components.strategy, settings.selection_interval, _coverage_query(settings))
        self._expect_configured()

    def check(self) -> None:
        """
        Remove the metric series of backends, locators and affinities that no longer exist, after a delay, see
        `mpp.core.metrics.series`. Return free memory to the operating system if there is a cache.
        """
        self._upkeep.remove_expired()
        if self.cache is not None:
            self._free_memory.give_back()

    def _expect_configured(self) -> None:
        names = self._counted_names()
        self._metrics.expect_configured(names["locator"], names["type"])

    def _counted_names(self) -> dict[str, set[str]]:
        """Return the label values in use, by label."""
        return {
            "backend": {LOCAL, *(each.backend.name for each in self.selections.current.observations)},
            "locator": {source.name for source in self.locator.sources},
            "type": set(self._components.affinity.names),
        }

    def close(self) -> Deferred[None]:
        """
        Close the connections to backends; called after the last request has ended and ``selections`` is stopped.

        :return Deferred(None): fires when the last connection is closed.
        """
        self.forwarder.stop()
        self._thread.stop()
        self._rules.stop()
        return self.pool.close()

    def _forget(self, backend: Backend) -> None:
        self.forwarder.forget(backend)
        self.pool.remove(backend)

    def _ruled(self, definitions: Sequence[RuleDefinition]) -> None:
        """Apply the changed recording rules and alerts of the backends to the queries that follow."""
        self._rules.compose(definitions)

    def _moved(self, host: str, addresses: tuple[str, ...]) -> None:
        """Stop using the addresses that a host name no longer has, here and in the workers."""
        self.pool.leave(host, addresses)
        # The address book of a worker remains empty.
        if self.rounds is not None:
            self.rounds.moved(host)

    def _flush_cache(self) -> None:
        """Remove all entries of the range cache, because servers may give other responses to other credentials."""
        if self._cache is not None:
            self._cache.flush()

    def _replace_connections(self) -> None:
        """Discard the TLS connections whose server was verified with the former credentials."""
        for observation in self.selections.current.observations:
            if observation.backend.scheme == "https":
                self.pool.discard(observation.backend)


def _coverage_query(settings: Settings) -> str:
    return "" if settings.no_coverage else settings.coverage_query
