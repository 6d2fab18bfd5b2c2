"""
Puts the parts together, starts them, and stops them in order. The wiring diagram of the program, and nothing else.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any

from prometheus_client import CollectorRegistry
from twisted.application.service import MultiService, Service
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IListeningPort
from twisted.internet.task import LoopingCall
from twisted.python.failure import Failure
from txaio import tx

from mpp import listening
from mpp.addresses import AddressBook
from mpp.admin import OwnPages
from mpp.errors import ConfigError
from mpp.forwarders import Forwarders
from mpp.locating import Locating
from mpp.locators.merged import MergedLocator
from mpp.metrics import BackendLoad, LocatorState, Metrics, Snapshot
from mpp.model import MIB, Backend, Reloaded
from mpp.proxy import ProxyResource, ProxySite
from mpp.selection import SelectionService
from mpp.settings import Settings
from mpp.sockets import Sockets
from mpp.status import StatusView
from mpp.wire.budget import Budget
from mpp.wire.channels import Channels
from mpp.wire.dial import Dialer
from mpp.wire.pool import Pool
from mpp.wire.reader import Limits
from mpp.wire.transports import make_eager
from mpp.wiring import Wiring, wire

_log = tx.make_logger()

# What all bodies held in memory may take together: a dozen of the largest requests, or a hundred answers held back in full.
BUFFER_MEMORY = 128 * MIB
# Prometheus' own default (--web.read-timeout), so that clients find the connections they are used to.
CLIENT_IDLE_TIMEOUT_S = 300.0
# How long requests in flight may take when the program is told to stop: less than systemd (90 s) and Kubernetes (30 s) wait.
DRAIN_TIMEOUT_S = 25.0


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
    :ivar ports: what is listened on.
    """

    def __init__(self, settings: Settings, reactor: Any) -> None:
        MultiService.__init__(self)
        self._reactor = reactor
        self._started_at = 0.0
        self._draining = False
        self.ports: list[IListeningPort] = []
        self.budget = Budget(BUFFER_MEMORY)
        self.metrics = Metrics(CollectorRegistry())
        self.channels = Channels(reactor)
        self._locating = Locating(reactor, os.environ)
        self._wiring = wiring = wire(settings, self._locating)
        self._book = book = AddressBook(reactor.nameResolver, reactor)
        self._dialer = Dialer(reactor, book.addresses, tls=wiring.credentials.tls, eager=True)
        self.pool = Pool(self._dialer, reactor, self.budget, max_active=settings.max_concurrency, max_queued=settings.max_queue)
        self.locator = MergedLocator([locator for _, locator in wiring.locators], reactor, failed=self._count_locator_failure)
        self.selections = SelectionService(
            self.locator,
            self,
            wiring.prober(self.pool, reactor, time.time),
            wiring.strategy,
            clock=reactor,
            wall=time.time,
            interval=settings.selection_interval,
            metrics=self.metrics,
            forget=self._forget,
        )
        MultiService.addService(self, self.selections)
        MultiService.addService(self, _Housekeeping(self.channels, reactor))
        self._forwarders = Forwarders(wiring.forwarder(self.pool, self.selections, self.metrics, reactor))
        self._reload: Callable[[], Deferred[Reloaded]] = _not_reloadable
        self.site = self._build_site()
        self._sockets = Sockets(lambda alone: listening.listen(alone, reactor, self.site), _close)
        self.metrics.config_read(applied=True, at=time.time())
        self.metrics.watch(self._snapshot)

    @property
    def settings(self) -> Settings:
        """Those in force."""
        return self._wiring.settings

    def _build_site(self) -> ProxySite:
        settings = self.settings
        own_pages = OwnPages(
            metrics_=self.metrics,
            selection=lambda: self.selections.current,
            draining=lambda: self._draining,
            view=self._view,
            reload=lambda: self._reload(),
            lifecycle=lambda: self.settings.enable_lifecycle,
        )
        self._root = root = ProxyResource(self._forwarders.current, own_pages, allow_unsafe=settings.allow_unsafe_paths)
        return ProxySite(
            root,
            limits=Limits(max_body=settings.max_request_body),
            budget=self.budget,
            channels=self.channels,
            metrics=self.metrics,
        )

    def refresh(self, backends: tuple[Backend, ...]) -> Deferred[None]:
        """Look after what may change from round to round: credentials, and the addresses of host names."""
        if self._wiring.credentials.refresh():
            self._renew_connections()
        return self._book.refresh(backends)

    def _forget(self, backend: Backend) -> None:
        self._forwarders.forget(backend)
        self.pool.discard(backend)

    def _count_locator_failure(self, name: str) -> None:
        self.metrics.discovery_errors.labels(name).inc()

    # Another configuration

    def reload_by(self, reload: Callable[[], Deferred[Reloaded]]) -> None:
        """Have the configuration read again by this when a client asks for it."""
        self._reload = reload

    def prepare(self, settings: Settings) -> Wiring:
        """
        Make what is different in other settings, and change nothing yet.

        :raise ConfigError: something can never work.
        """
        return wire(settings, self._locating, self._wiring)

    def verify(self, wiring: Wiring) -> Deferred[None]:
        """Ask those sources that are new, see `MergedLocator.verify`."""
        return MergedLocator(wiring.made, self._reactor, failed=self._count_locator_failure).verify()

    def apply(self, wiring: Wiring) -> None:
        """
        Put what was prepared in force. Requests under way go on as they began, connections stay open.

        :raise ConfigError: a socket cannot be opened, or it is too late; then nothing has changed.
        """
        if self._draining:
            raise ConfigError("mpp", "is about to stop")
        known, settings, last = set(self.ports), wiring.settings, self._wiring
        close_former = self._sockets.follow(settings)
        self.ports = self._sockets.open
        for port in set(self.ports) - known:
            make_eager(port)
        self._wiring = wiring
        self._forwarders.replace(wiring.forwarder(self.pool, self.selections, self.metrics, self._reactor))
        self._root.reconfigure(self._forwarders.current, allow_unsafe=settings.allow_unsafe_paths)
        self.site.limits = Limits(max_body=settings.max_request_body)
        self.pool.max_active, self.pool.max_queued = settings.max_concurrency, settings.max_queue
        if wiring.credentials is not last.credentials:
            self._dialer.tls = wiring.credentials.tls
            self._renew_connections()
        self.locator.replace([locator for _, locator in wiring.locators])
        prober = wiring.prober(self.pool, self._reactor, time.time)
        self.selections.reconfigure(prober, wiring.strategy, settings.selection_interval)
        close_former()

    def _renew_connections(self) -> None:
        """Use no connection again whose other side was verified in another way."""
        for observation in self.selections.current.observations:
            if observation.backend.scheme == "https":
                self.pool.discard(observation.backend)

    # What the own pages show

    def _locators(self) -> tuple[LocatorState, ...]:
        return tuple(LocatorState(s.name, s.up, len(s.located)) for s in self.locator.sources)

    def _snapshot(self) -> Snapshot:
        pool = self.pool
        backends = [observation.backend for observation in self.selections.current.observations]
        load = tuple(BackendLoad(each.name, pool.active(each), pool.queued(each)) for each in backends)
        return Snapshot(self.selections.current, self._locators(), self.budget.held, load)

    def _view(self) -> StatusView:
        locators = tuple((s.name, s.up, s.backends) for s in self._locators())
        return StatusView(self.selections.current, self.settings, locators, self._started_at, time.time())

    # Life

    def privilegedStartService(self) -> None:
        """
        Open the ports, while privileges last.

        :raise ConfigError: one of them cannot be opened.
        """
        MultiService.privilegedStartService(self)
        self._sockets.follow(self.settings)
        self.ports = self._sockets.open
        for port in self.ports:
            make_eager(port)

    def startService(self) -> None:
        """Begin to look for backends."""
        self._started_at = time.time()
        MultiService.startService(self)
        where = ", ".join(_where(port) for port in self.ports)
        _log.info("mpp serves {where}, strategy {strategy}", where=where, strategy=self.settings.routing_strategy)

    def stopService(self) -> Deferred[None]:
        """
        Stop in order: accept nothing more, finish what is in flight (bounded), stop selecting, close what is kept.

        :return Deferred(None): fires when all is closed.
        """
        self._draining = True
        for port in self.ports:
            port.stopListening()
        drained = self.channels.drain()
        drained.addTimeout(DRAIN_TIMEOUT_S, self._reactor)
        drained.addErrback(self._drain_timed_out)
        drained.addCallback(lambda _: MultiService.stopService(self))
        drained.addCallback(lambda _: self._forwarders.stop())
        drained.addCallback(lambda _: self.pool.close())
        return drained

    def _drain_timed_out(self, failure: Failure) -> None:
        _log.warn("{count} client connections had to be cut after {s:g} s", count=len(self.channels), s=DRAIN_TIMEOUT_S)
        self.channels.abort()


def _not_reloadable() -> Deferred[Reloaded]:
    return succeed(Reloaded(errors=("there is nothing to read the configuration from",)))


def _close(port: IListeningPort) -> None:
    port.stopListening()


def _where(port: IListeningPort) -> str:
    """Give an open port's address as one would write it."""
    address = port.getHost()
    host, number = getattr(address, "host", None), getattr(address, "port", None)
    if host is None:
        return str(address)
    return f"[{host}]:{number}" if ":" in host else f"{host}:{number}"


class _Housekeeping(Service):
    """Closes client connections that nobody uses, in one sweep for all."""

    def __init__(self, channels: Channels, reactor: Any) -> None:
        self._loop = LoopingCall(lambda: channels.close_idle(reactor.seconds(), CLIENT_IDLE_TIMEOUT_S))
        self._loop.clock = reactor

    def startService(self) -> None:
        """Begin to sweep."""
        Service.startService(self)
        # A LoopingCall stops for ever at its first error; then at least it is told.
        stopped = self._loop.start(CLIENT_IDLE_TIMEOUT_S / 10, now=False)
        stopped.addErrback(lambda failure: _log.failure("housekeeping stopped", failure=failure))

    def stopService(self) -> None:
        """Sweep no more."""
        Service.stopService(self)
        if self._loop.running:
            self._loop.stop()
