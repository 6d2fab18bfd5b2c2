"""
Puts the parts together, starts them, and stops them in order. The wiring diagram of the program, and nothing else.
"""

from __future__ import annotations

import functools
import ipaddress
import os
import random
import time
from typing import Any

from prometheus_client import CollectorRegistry
from twisted.application.service import MultiService, Service
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IListeningPort
from twisted.internet.task import LoopingCall
from twisted.python.failure import Failure
from txaio import tx

from mpp import extensions, listening
from mpp.addresses import AddressBook
from mpp.admin import OwnPages, OwnRoot
from mpp.affinity import AffinityChain
from mpp.forward.forwarder import Forwarder
from mpp.front.service import Front
from mpp.locators.merged import MergedLocator
from mpp.metrics import BackendLoad, LocatorState, Metrics, Snapshot
from mpp.model import MIB, Backend
from mpp.probe import Prober
from mpp.proxy import ProxyRequest, ProxyResource, ProxySite
from mpp.selection import SelectionService
from mpp.settings import Settings
from mpp.status import StatusView
from mpp.tls import TLSPolicy
from mpp.wire.budget import Budget
from mpp.wire.channels import Channels
from mpp.wire.dial import Dialer
from mpp.wire.gate import Gate
from mpp.wire.patience import SWEEP_S
from mpp.wire.pool import Pool
from mpp.wire.reader import Limits
from mpp.wire.transports import make_eager

_log = tx.make_logger()

# What all bodies held in memory may take together: a dozen of the largest requests, or a hundred answers held back in full.
BUFFER_MEMORY = 128 * MIB
# Verifiers kept, one for each https backend; more than anyone has behind one mpp.
_TLS_NAMES = 256


def build(settings: Settings, reactor: Any) -> Program:
    """
    Build the whole program; nothing is opened before it is started.

    :raise ConfigError: a strategy, an affinity or a locator cannot be made of what was configured.
    """
    return Program(settings, reactor)


class Program(MultiService):
    """
    The running program.

    :ivar channels: all open client connections.
    :ivar sockets: what is listened on.
    """

    def __init__(self, settings: Settings, reactor: Any) -> None:
        MultiService.__init__(self)
        self._settings = settings
        self._reactor = reactor
        self._started_at = 0.0
        self._draining = False
        self._drained: Deferred[None] | None = None
        self.sockets: list[listening.Opened] = []
        self.budget = Budget(BUFFER_MEMORY)
        self.metrics = Metrics(CollectorRegistry())
        self.channels = Channels(reactor)
        self._gate = Gate(self.channels, settings.max_connections or listening.room_for_connections())
        book = AddressBook(reactor.nameResolver, reactor)
        # Making one loads the system's certificates, too slow to be done for each connection.
        tls = functools.lru_cache(_TLS_NAMES)(TLSPolicy(insecure=settings.insecure).creator)
        dialer = Dialer(reactor, book.addresses, tls=lambda backend: tls(backend.host), eager=True)
        self.pool = Pool(dialer, reactor, self.budget, max_active=settings.max_concurrency, max_queued=settings.max_queue)
        strategy = extensions.build_strategy(settings.routing_strategy)
        self.locator = MergedLocator(
            extensions.build_locators(settings, reactor, os.environ), reactor, failed=self._count_locator_failure
        )
        self.selections = SelectionService(
            self.locator,
            book,
            Prober(self.pool, reactor, wall=time.time, minimum_history=getattr(strategy, "duration", None)),
            strategy,
            clock=reactor,
            wall=time.time,
            interval=settings.selection_interval,
            metrics=self.metrics,
            forget=self._forget,
        )
        MultiService.addService(self, self.selections)
        MultiService.addService(self, _Housekeeping(self.channels, self._gate, settings.client_idle_timeout, reactor))
        self._front = Front(settings.web_config, reactor, self.metrics) if settings.web_config else None
        if self._front is not None:
            self._front.check(settings)
            MultiService.addService(self, self._front)
        self.site, self.admin_site = self._build_sites()
        self.metrics.watch(self._snapshot)

    def _build_sites(self) -> tuple[ProxySite, ProxySite | None]:
        """Build what answers clients, and what answers those who look after mpp where that is apart."""
        settings = self._settings
        trusted = [ipaddress.ip_network(network) for network in settings.trusted_proxies]
        affinity = AffinityChain(extensions.build_affinities(settings.affinity_options, trusted))
        self._forwarder = forwarder = Forwarder(
            self.pool, self.selections, affinity, self.metrics, settings, self._reactor, random.Random()
        )
        own_pages = OwnPages(
            metrics_=self.metrics,
            selection=lambda: self.selections.current,
            draining=lambda: self._draining,
            view=self._view,
        )
        site = functools.partial(
            ProxySite,
            limits=Limits(max_body=settings.max_request_body),
            budget=self.budget,
            channels=self.channels,
            metrics=self.metrics,
            request=ProxyRequest if self._front is None else self._front.request,
        )
        apart = bool(settings.admin_listen)
        shown = own_pages.probes() if apart else own_pages
        root = ProxyResource(forwarder, shown, allow_unsafe=settings.allow_unsafe_paths)
        return site(root), site(OwnRoot(own_pages, self.metrics)) if apart else None

    def _forget(self, backend: Backend) -> None:
        self._forwarder.forget(backend)
        self.pool.discard(backend)

    def _count_locator_failure(self, name: str) -> None:
        self.metrics.discovery_errors.labels(name).inc()

    # What the own pages show

    def _locators(self) -> tuple[LocatorState, ...]:
        return tuple(LocatorState(s.name, s.up, len(s.located)) for s in self.locator.sources)

    def _snapshot(self) -> Snapshot:
        pool = self.pool
        backends = [observation.backend for observation in self.selections.current.observations]
        load = tuple(BackendLoad(each.name, pool.active(each), pool.queued(each)) for each in backends)
        connections = len(self.channels), self._gate.limit
        return Snapshot(self.selections.current, self._locators(), self.budget.held, load, *connections)

    def _view(self) -> StatusView:
        locators = tuple((s.name, s.up, s.backends) for s in self._locators())
        return StatusView(self.selections.current, self._settings, locators, self._started_at, time.time())

    # Life

    def privilegedStartService(self) -> None:
        """
        Open the ports, while privileges last.

        :raise ConfigError: one of them cannot be opened.
        """
        MultiService.privilegedStartService(self)
        protect = self._front.protect if self._front is not None else lambda site: site
        admin = None if self.admin_site is None else protect(self.admin_site)
        self.sockets = listening.listen(self._settings, self._reactor, protect(self.site), admin)
        for each in self.sockets:
            make_eager(each.port)
            self._gate.guard(each.port)

    def startService(self) -> None:
        """Begin to look for backends."""
        self._started_at = time.time()
        MultiService.startService(self)
        where = ", ".join(_where(each.port) for each in self.sockets)
        _log.info("mpp serves {where}, strategy {strategy}", where=where, strategy=self._settings.routing_strategy)

    def stopService(self) -> Deferred[None]:
        """
        Stop in order: accept nothing more, finish what is in flight (bounded), stop selecting, close what is kept.

        :return Deferred(None): fires when all is closed.
        """
        self._draining = True
        _log.info("mpp stops: finishes what {count} clients may be waiting for", count=len(self.channels))
        self._gate.leave()
        for each in self.sockets:
            each.close()
        drained = self._drained = self.channels.drain()
        drained.addTimeout(self._settings.drain_timeout, self._reactor)
        drained.addErrback(self._cut)
        drained.addCallback(lambda _: MultiService.stopService(self))
        drained.addCallback(lambda _: self._forwarder.stop())
        drained.addCallback(lambda _: self.pool.close())
        return drained

    def cut_short(self) -> None:
        """Wait no longer for what is in flight; only while stopping."""
        if self._drained is not None:
            self._drained.cancel()

    def _cut(self, failure: Failure) -> None:
        """End what does not end by itself."""
        _log.warn("{count} client connections are cut off", count=len(self.channels))
        self.channels.abort()


def _where(port: IListeningPort) -> str:
    """Give an open port's address as one would write it."""
    address = port.getHost()
    host, number = getattr(address, "host", None), getattr(address, "port", None)
    if host is None:
        return str(address)
    return f"[{host}]:{number}" if ":" in host else f"{host}:{number}"


class _Housekeeping(Service):
    """Looks after all client connections, in one sweep: ends what takes too long, makes room where there is none."""

    def __init__(self, channels: Channels, gate: Gate, idle_timeout: float, reactor: Any) -> None:
        self._channels = channels
        self._gate = gate
        self._idle_timeout = idle_timeout
        self._loop = LoopingCall(self._sweep)
        self._loop.clock = reactor

    def startService(self) -> None:
        """Begin to sweep."""
        Service.startService(self)
        # A LoopingCall stops for ever at its first error; then at least it is told.
        stopped = self._loop.start(SWEEP_S, now=False)
        stopped.addErrback(lambda failure: _log.failure("housekeeping stopped", failure=failure))

    def stopService(self) -> None:
        """Sweep no more."""
        Service.stopService(self)
        if self._loop.running:
            self._loop.stop()

    def _sweep(self) -> None:
        self._channels.sweep(self._idle_timeout)
        self._gate.sweep()
