"""
Puts the parts together, starts them, and stops them in order. The wiring diagram of the program, and nothing else.
"""

from __future__ import annotations

import functools
import os
import time
from collections.abc import Callable
from typing import Any

from prometheus_client import CollectorRegistry
from twisted.application.service import MultiService
from twisted.internet.defer import Deferred, succeed
from twisted.python.failure import Failure
from txaio import tx

from mpp import listening
from mpp.addresses import AddressBook
from mpp.admin import OwnPages, OwnRoot
from mpp.errors import ConfigError
from mpp.forward.explain import explain
from mpp.forwarders import Forwarders
from mpp.front.service import Front
from mpp.housekeeping import Housekeeping
from mpp.locating import Locating
from mpp.locators.merged import MergedLocator
from mpp.metrics import BackendLoad, LocatorState, Metrics, Snapshot
from mpp.model import MIB, Backend, Reloaded, RequestFacts
from mpp.notify import Notices, Supervisor
from mpp.proxy import ProxyRequest, ProxyResource, ProxySite
from mpp.recorder import Recorder
from mpp.selection import SelectionService
from mpp.settings import Settings
from mpp.sockets import Sockets
from mpp.status import LocatorView, StatusView
from mpp.status.explained import Explanation
from mpp.wire.budget import Budget
from mpp.wire.channels import Channels
from mpp.wire.dial import Dialer
from mpp.wire.gate import Gate
from mpp.wire.pool import Pool
from mpp.wire.reader import Limits
from mpp.wire.transports import make_eager
from mpp.wire.tuned import is_tuned, tell
from mpp.wiring import Wiring, wire

_log = tx.make_logger()

# What all bodies held in memory may take together: a dozen of the largest requests, or a hundred answers held back in full.
BUFFER_MEMORY = 128 * MIB


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
        self._reactor = reactor
        self._started_at = 0.0
        self._draining = False
        self._drained: Deferred[None] | None = None
        self.sockets: list[listening.Opened] = []
        self.budget = Budget(BUFFER_MEMORY)
        self.metrics = Metrics(CollectorRegistry())
        self.channels = Channels(reactor)
        self._gate = Gate(self.channels, _places(settings))
        self._locating = Locating(reactor, os.environ)
        self._wiring = wiring = wire(settings, self._locating)
        self._book = book = AddressBook(reactor.nameResolver, reactor)
        self._dialer = Dialer(reactor, book.addresses, tls=wiring.credentials.tls, eager=is_tuned())
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
        self.recorder = Recorder(self.metrics.registry, reactor, lambda: self.selections.current)
        MultiService.addService(self, self.recorder)
        MultiService.addService(self, Housekeeping(self._sweep, reactor))
        self._notices = Notices(Supervisor.of(os.environ, os.getpid()), self.selections, reactor)
        MultiService.addService(self, self._notices)
        self._front = Front(settings.web_config, reactor, self.metrics) if settings.web_config else None
        if self._front is not None:
            self._front.check(settings)
            MultiService.addService(self, self._front)
        self._forwarders = Forwarders(wiring.forwarder(self.pool, self.selections, self.metrics, reactor))
        self._reload: Callable[[], Deferred[Reloaded]] = _not_reloadable
        self.sites = self._build_sites()
        self._sockets = Sockets(self._open_socket, self._close_socket)
        self.metrics.config_read(applied=True, at=time.time())
        self.metrics.watch(self._snapshot)

    @property
    def settings(self) -> Settings:
        """Those in force."""
        return self._wiring.settings

    def _build_sites(self) -> tuple[ProxySite, ProxySite]:
        """Build what answers clients, and what answers those who look after mpp where that is apart."""
        settings = self.settings
        own_pages = OwnPages(
            metrics_=self.metrics,
            selection=lambda: self.selections.current,
            draining=lambda: self._draining,
            view=self._view,
            explain=self._explain,
            reload=lambda: self._reload(),
            lifecycle=lambda: self.settings.enable_lifecycle,
        )
        site = functools.partial(
            ProxySite,
            limits=Limits(max_body=settings.max_request_body),
            budget=self.budget,
            channels=self.channels,
            metrics=self.metrics,
            access=lambda: self._forwarders.current.access,
            request=ProxyRequest if self._front is None else self._front.request,
        )
        shown = own_pages.probes() if settings.admin_listen else own_pages
        self._root = root = ProxyResource(self._forwarders.current, shown, allow_unsafe=settings.allow_unsafe_paths)
        return site(root), site(OwnRoot(own_pages, self.metrics))

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
        _check_lasting(self.settings, wiring.settings)
        settings, last = wiring.settings, self._wiring
        close_former = self._sockets.follow(settings)
        self.sockets = self._sockets.open
        self._wiring = wiring
        self._forwarders.replace(wiring.forwarder(self.pool, self.selections, self.metrics, self._reactor))
        self._root.reconfigure(self._forwarders.current, allow_unsafe=settings.allow_unsafe_paths)
        self._gate.limit = _places(settings)
        for site in self.sites:
            site.limits = Limits(max_body=settings.max_request_body)
        self.pool.max_active, self.pool.max_queued = settings.max_concurrency, settings.max_queue
        if wiring.credentials is not last.credentials:
            self._dialer.tls = wiring.credentials.tls
            self._renew_connections()
        self.locator.replace([locator for _, locator in wiring.locators])
        prober = wiring.prober(self.pool, self._reactor, time.time)
        self.selections.reconfigure(prober, wiring.strategy, settings.selection_interval)
        close_former()

    def _open_socket(self, alone: Settings) -> list[listening.Opened]:
        protect: Callable[[Any], Any] = self._front.protect if self._front is not None else lambda site: site
        opened = listening.listen(alone, self._reactor, *map(protect, self.sites))
        for each in opened:
            if is_tuned():
                make_eager(each.port)
            self._gate.guard(each.port)
        return opened

    def _close_socket(self, socket: listening.Opened) -> None:
        self._gate.release(socket.port)
        socket.close()

    def _sweep(self) -> None:
        """Look after all client connections: end what takes too long, make room where there is none."""
        self.channels.sweep(self.settings.client_idle_timeout)
        self._gate.sweep()

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
        connections = len(self.channels), self._gate.limit
        return Snapshot(self.selections.current, self._locators(), self.budget.held, load, *connections)

    def _view(self) -> StatusView:
        pool, current = self.pool, self.selections.current
        backends = [observation.backend for observation in current.observations]
        return StatusView(
            current,
            self.settings,
            tuple(LocatorView(s.name, s.up, len(s.located), s.problem) for s in self.locator.sources),
            self._started_at,
            time.time(),
            self.recorder.recall(),
            self.selections.journal.events,
            {each.name: (pool.active(each), pool.queued(each)) for each in backends},
        )

    def _explain(self, facts: RequestFacts) -> Explanation:
        forwarder = self._forwarders.current
        return explain(facts, self.selections.current, forwarder.affinity, self.settings, forwarder.clock.seconds())

    # Life

    def privilegedStartService(self) -> None:
        """
        Open the ports, while privileges last.

        :raise ConfigError: one of them cannot be opened.
        """
        MultiService.privilegedStartService(self)
        self._sockets.follow(self.settings)
        self.sockets = self._sockets.open

    def startService(self) -> None:
        """Begin to look for backends."""
        self._started_at = time.time()
        MultiService.startService(self)
        where = ", ".join(listening.where(each.port) for each in self.sockets)
        _log.info("mpp serves {where}, strategy {strategy}", where=where, strategy=self.settings.routing_strategy)
        tell()

    def stopService(self) -> Deferred[None]:
        """
        Stop in order: accept nothing more, finish what is in flight (bounded), stop selecting, close what is kept.

        :return Deferred(None): fires when all is closed.
        """
        self._draining = True
        self._notices.stopping()
        _log.info("mpp stops: finishes what {count} clients may be waiting for", count=len(self.channels))
        self._gate.leave()
        for each in self.sockets:
            each.close()
        drained = self._drained = self.channels.drain()
        drained.addTimeout(self.settings.drain_timeout, self._reactor)
        drained.addErrback(self._cut)
        drained.addCallback(lambda _: MultiService.stopService(self))
        drained.addCallback(lambda _: self._forwarders.stop())
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


def _not_reloadable() -> Deferred[Reloaded]:
    return succeed(Reloaded(errors=("there is nothing to read the configuration from",)))


def _check_lasting(last: Settings, new: Settings) -> None:
    """
    See that what was built once and for all is to stay.

    :raise ConfigError: it is not.
    """
    if new.web_config != last.web_config:
        raise ConfigError("--web-config", "another file needs a restart; what is in it is read again by itself")
    if bool(new.admin_listen) is not bool(last.admin_listen):
        raise ConfigError("--admin-listen", "to put mpp's own pages elsewhere, or back, needs a restart")


def _places(settings: Settings) -> int:
    return settings.max_connections or listening.room_for_connections()
