"""
The whole program: its parts are built, connected, started and stopped here.
"""

from __future__ import annotations

import functools
import os
import socket
import time
from collections.abc import Callable
from typing import Any

from prometheus_client import CollectorRegistry
from twisted.application.service import MultiService
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure
from txaio import tx

from mpp._version import __version__
from mpp.admin.gauges import GaugeCollector, gauges_of_process
from mpp.admin.recorder import Recorder
from mpp.admin.resource import AdminPages
from mpp.admin.status.identity import Identity
from mpp.app.backends import Backends
from mpp.app.client_side import ClientSide, InProcess, Role
from mpp.app.components import Components, build
from mpp.app.file_limit import room_for_connections
from mpp.app.listen.listeners import Listeners
from mpp.app.sites import Sites
from mpp.app.status_log import StatusLog
from mpp.app.status_source import StatusSource
from mpp.app.systemd import ServiceManager, SystemdNotifier
from mpp.config.configured import EffectiveConfig
from mpp.config.diff import check_lasting
from mpp.core.errors import ConfigError
from mpp.core.metrics.registry import Metrics
from mpp.core.model import MIB, RequestInfo
from mpp.core.scheduling.periodic import PeriodicCheck
from mpp.core.settings import Settings
from mpp.discovery.kinds.planner import LocatorPlanner
from mpp.proxy.decisions.explain import Explanation, explain
from mpp.proxy.exchanges.explained_cache import with_cache
from mpp.proxy.placing import planned
from mpp.security.web_config.service import WebConfigService
from mpp.security.web_config.values import WebConfig
from mpp.selection.problems import Problems
from mpp.selection.verdict.verdict import ConfigProblem
from mpp.wire.downstream.channels import Channels
from mpp.wire.downstream.connection_limit import AT_ONCE, ConnectionLimit
from mpp.wire.downstream.timeouts import SWEEP_S
from mpp.wire.memory_budget import MemoryBudget
from mpp.wire.tuned.switch import log_state

_log = tx.make_logger()

# Bytes that all buffered requests and responses may have together: a dozen of the largest requests, or 64 full responses.
BUFFER_MEMORY = 128 * MIB


class Program(MultiService):
    """
    The service of the whole program. No socket is opened before it is started.

    :param effective: the configuration from which ``settings`` come.
    :raise ConfigError: a strategy, an affinity, a locator or the web configuration cannot be built from the settings.
    :ivar backends: the part of the program that faces the backends.
    :ivar channels: all open client connections of this process.
    :ivar gate: the limit of client connections.
    :ivar role: the role of this process.
    :ivar client_side: the processes that have the client connections: this one, or workers.
    :ivar sites: the HTTP servers for clients and for the admin sockets.
    :ivar admin_pages: the admin pages on both sites.
    :ivar listeners: the listening sockets.
    :ivar web_config: TLS and authentication of clients; None without a web configuration.
    :ivar reload: reloads the configuration.
    :ivar effective: the active configuration as the admin pages show it; a reload replaces it.
    :ivar started_at: the time of the start in seconds since the epoch.
    :ivar status_log: the log of the overall status.
    :ivar config_problem: the reason why the configuration on disk is not the active one; None if it is.
    """

    def __init__(
        self,
        settings: Settings,
        reactor: Any,
        role: Role[Program] | None = None,
        effective: EffectiveConfig | None = None,
    ) -> None:
        MultiService.__init__(self)
        self.role: Role[Program] = role or Role()
        self._reactor = reactor
        self.started_at = 0.0
        self.effective = effective or EffectiveConfig()
        self.config_problem: ConfigProblem | None = None
        self._draining = False
        self._drained: Deferred[None] | None = None
        self.budget = MemoryBudget(BUFFER_MEMORY, reactor.seconds)
        self.metrics = Metrics(CollectorRegistry())
        self.channels = Channels(reactor)
        self.gate = ConnectionLimit(self.channels, _places(settings), AT_ONCE if settings.workers == 1 else 1)
        self._locating = LocatorPlanner(reactor, os.environ, lambda: self.settings.selection_interval)
        self._components = build(settings, self._locating)
        self.backends = Backends(
            self._components, reactor, budget=self.budget, metrics=self.metrics, each_round=self._renew_served, role=self.role
        )
        self._problems = Problems(self.backends.event_log.record, "refused")
        self.web_config = self._build_web_config()
        self._views = views = StatusSource(self, time.time)
        errors, worker = (lambda: self.client_side.local_errors()), self.role.parent is not None
        self.status_log = StatusLog(views.situation, errors, reactor, time.time)
        self.reload = self.role.reload(self)
        self.admin_pages = self._build_pages()
        self.sites = self._build_sites()
        self.listeners = self._build_listeners()
        self._add_services()
        self.client_side: ClientSide = self._build_client_side()
        self.config_read(None)
        self.metrics.watch(GaugeCollector(views.load, gauges_of_process) if worker else GaugeCollector(views.snapshot))

    def _add_services(self) -> None:
        """Add the child services, which are started and stopped with the program, in this order; workers are added last."""
        reactor, selections = self._reactor, self.backends.selections
        self.recorder = Recorder(lambda names: self.client_side.collect(names), reactor, lambda: selections.current)
        self._notices = SystemdNotifier(ServiceManager.of(os.environ, os.getpid()), selections, reactor)
        housekeeping = PeriodicCheck(self._check, reactor, SWEEP_S)
        # A worker leaves the log of the status to its parent.
        status_log = self.status_log if self.role.parent is None else None
        for service in filter(None, (selections, self.recorder, housekeeping, status_log, self._notices, self.web_config)):
            MultiService.addService(self, service)

    @property
    def settings(self) -> Settings:
        """The active settings of the program."""
        return self._components.settings

    @property
    def identity(self) -> Identity:
        """The host, process and addresses of this mpp; not cached, because twistd may fork after building the program."""
        pid = os.getpid() if self.role.parent is None else os.getppid()
        return Identity(socket.gethostname(), pid, self.listeners.addresses)

    def _build_client_side(self) -> ClientSide:
        rounds = self.backends.rounds
        if self.role.client_side is None or rounds is None:
            return InProcess(self.channels, self.backends.pool, self.metrics, lambda: self.backends.cache)
        return self.role.client_side(self, rounds)

    def _build_web_config(self) -> WebConfigService | None:
        if not self.settings.web_config:
            return None
        handover = None if self.role.parent is None else self.role.parent.handover
        service = WebConfigService(self.settings, self._reactor, self.metrics, handover)
        service.check(self.settings)
        service.taken_over = self._secured
        return service

    def _build_pages(self) -> AdminPages:
        return AdminPages(
            metrics=self.metrics,
            selection=lambda: self.backends.selections.current,
            draining=lambda: self._draining,
            view=self._views.status,
            explain=self._explain,
            config=lambda: self.effective,
            identity=lambda: self.identity,
            reload=self.reload,
            flush=(lambda: self.client_side.flush_cache()) if self.role.parent is None else self.role.parent.flush,
            lifecycle=lambda: self.settings.enable_lifecycle,
            trusted_proxies=lambda: self.settings.trusted_proxies,
            seconds=self._reactor.seconds,
            page=None if self.role.parent is None else self.role.parent.page,
        )

    def _build_sites(self) -> Sites:
        return Sites(
            self.settings,
            self.admin_pages,
            self.backends.forwarder,
            budget=self.budget,
            channels=self.channels,
            metrics=self.metrics,
            web_config=self.web_config,
        )

    def _build_listeners(self) -> Listeners:
        protect: Callable[[Any], Any] = self.web_config.protect if self.web_config is not None else lambda site: site
        return Listeners(self.role.opener or self._reactor, protect(self.sites.clients), protect(self.sites.admin), self.gate)

    # Reload

    def config_read(self, problem: ConfigProblem | None) -> None:
        """Record that the configuration was read; the problem is the reason why it did not become active, None if it did."""
        self.config_problem = problem
        self.metrics.config_read(applied=problem is None, at=time.time())

    def prepare(self, settings: Settings) -> Components:
        """
        Build the components for new settings without activating them.

        :raise ConfigError: a setting can never work.
        """
        return build(settings, self._locating, self._components)

    def apply(self, components: Components) -> None:
        """
        Activate prepared components; requests in flight continue with the previous ones, and connections stay open.

        :raise ConfigError: a socket cannot be opened, or mpp is stopping; then nothing has changed.
        """
        if self._draining:
            raise ConfigError("mpp", "is about to stop")
        check_lasting(self.settings, components.settings)
        settings = components.settings
        close_former = self.listeners.reconfigure(settings)
        self._components = components
        self.backends.reconfigure(components)
        self.sites.reconfigure(settings)
        self.gate.limit = _places(settings)
        self.client_side.reconfigure(settings)
        close_former()

    def reload_certificates(self) -> list[str]:
        """Read the certificates of ``ssl:`` endpoints again, here and in the workers; return the addresses of changed ones."""
        renewed = self.listeners.reload_certificates()
        self.client_side.reload_certificates()
        return renewed

    def _secured(self, config: WebConfig) -> None:
        self.backends.event_log.record("reload", "a changed web configuration is active")
        self.client_side.secure(config)

    def _renew_served(self) -> None:
        self.client_side.refresh_credentials()
        if self.web_config is not None:
            self._problems.look({"the web configuration": self.web_config.security.problem})

    def _check(self) -> None:
        """Close client connections that timed out, make room for waiting ones, and remove expired counters."""
        self.channels.check_timeouts(self.settings.client_idle_timeout)
        self.gate.check()
        self.backends.check()

    def _explain(self, info: RequestInfo) -> Explanation:
        context = self.backends.forwarder.context
        selections, now = self.backends.selections, context.clock.seconds()
        plan, unfit = functools.partial(planned, context, info), context.unreadable.backends(info)
        found = explain(info, selections.current, context.affinity, self.settings, now, selections.suspects, plan, unfit)
        return with_cache(found, context, info)

    # Start and stop

    def privilegedStartService(self) -> None:
        """
        Open the listening sockets, before twistd drops its privileges.

        :raise ConfigError: one of them cannot be opened.
        """
        MultiService.privilegedStartService(self)
        self.listeners.reconfigure(self.settings)

    def startService(self) -> None:
        """Start the child services: discovery, probes and selection among them."""
        self.started_at = time.time()
        MultiService.startService(self)
        text, strategy = "mpp serves {where}, strategy {strategy}, version {version}", self.settings.routing_strategy
        _log.info(text, where=str(self.listeners), strategy=strategy, version=__version__)
        # Each worker logs the state of its own reactor; the parent's reactor serves no requests.
        log_state(self._reactor if self.settings.workers == 1 else None)

    def stopService(self) -> Deferred[None]:
        """
        Close the listening sockets, finish the requests in flight, stop the child services, and close the connections.

        :return Deferred(None): fires when all is closed; requests have at most ``--drain-timeout`` seconds to finish.
        """
        self._draining = True
        self._notices.stopping()
        text = "mpp is stopping; open client connections: {count}; the requests under way on them are finished first"
        _log.info(text, count=len(self.client_side))
        self.listeners.close()
        drained = self._drained = self.client_side.drain()
        drained.addTimeout(self.settings.drain_timeout, self._reactor).addErrback(self._cut)
        drained.addCallback(lambda _: MultiService.stopService(self))
        drained.addCallback(lambda _: self.backends.close())
        return drained

    def cut_short(self) -> None:
        """Abort the requests in flight, if the program is stopping."""
        if self._drained is not None:
            self._drained.cancel()

    def _cut(self, failure: Failure) -> None:
        """Abort the client connections that did not end in time."""
        _log.warn("mpp is stopping and aborts all client connections ({count}); their requests fail", count=len(self.client_side))
        self.client_side.abort()


def _places(settings: Settings) -> int:
    return settings.max_connections or room_for_connections()
