"""
Puts the parts together, starts them, and stops them in order. The wiring diagram of the program, and nothing else.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable
from typing import Any

from prometheus_client import CollectorRegistry
from twisted.application.service import MultiService
from twisted.internet.defer import Deferred, succeed
from twisted.python.failure import Failure
from txaio import tx

from mpp._version import __version__
from mpp.admin.gauges import GaugeCollector, PresentLoad
from mpp.admin.recorder import Recorder
from mpp.admin.resource import AdminPages
from mpp.admin.status.identity import Identity
from mpp.app.backends import Backends
from mpp.app.client_side import ClientSide, InProcess
from mpp.app.components import Components, build
from mpp.app.file_limit import room_for_connections
from mpp.app.listen.listeners import Listeners
from mpp.app.sites import Sites
from mpp.app.status_log import StatusLog
from mpp.app.status_source import StatusSource
from mpp.app.systemd import ServiceManager, SystemdNotifier
from mpp.app.workers.remote_selections import RemoteSelections
from mpp.config.configured import EffectiveConfig
from mpp.config.diff import check_lasting
from mpp.core.errors import ConfigError
from mpp.core.instance import Instance
from mpp.core.metrics import Metrics
from mpp.core.model import MIB, Reloaded, RequestInfo
from mpp.core.periodic import PeriodicCheck
from mpp.core.settings import Settings
from mpp.discovery.kinds import LocatorPlanner
from mpp.proxy.decisions.explain import explain
from mpp.proxy.decisions.explanation import Explanation
from mpp.security.web_config.file import LoadedConfig
from mpp.security.web_config.service import Handover, WebConfigService
from mpp.security.web_config.values import WebConfig
from mpp.selection.problems import Problems
from mpp.selection.verdict.verdict import ConfigProblem
from mpp.wire.downstream.channels import Channels
from mpp.wire.downstream.connection_limit import AT_ONCE, ConnectionLimit
from mpp.wire.downstream.timeouts import SWEEP_S
from mpp.wire.memory_budget import MemoryBudget
from mpp.wire.tuned.switch import log_state

_log = tx.make_logger()

# What all requests and responses held may take together: a dozen of the largest requests, or 64 responses held back in full.
BUFFER_MEMORY = 128 * MIB


class Program(MultiService):
    """
    The running program. Nothing is opened before it is started.

    :param remote: the Selection when another process makes it; nobody is located nor probed here then.
    :param handover: the web configuration in force when another process reads it.
    :param instance: this mpp, as it recognizes its own requests; None for a new one. The same in all workers.
    :ivar instance: likewise.
    :raise ConfigError: a strategy, an affinity, a locator or what is in front cannot be made of what was configured.
    :ivar backends: all that faces the backends.
    :ivar channels: all open client connections of this process.
    :ivar gate: lets clients in.
    :ivar client_side: who has the client connections: this process, or workers.
    :ivar sites: what is served.
    :ivar admin_pages: mpp's own pages on them.
    :ivar listeners: where it is served.
    :ivar web_config: what the web configuration puts in front, if there is one.
    :ivar reload: has the configuration read again, and gives what came of it; whoever can do that takes its place.
    :ivar effective: the configuration in force, for people; whoever has read it sets it.
    :ivar started_at: seconds since the epoch.
    :ivar status_log: logs how things stand.
    :ivar config_problem: why the configuration on disk is not the active one; None if it is.
    """

    def __init__(
        self,
        settings: Settings,
        reactor: Any,
        remote: RemoteSelections | None = None,
        handover: Handover | None = None,
        instance: Instance | None = None,
    ) -> None:
        MultiService.__init__(self)
        self.instance = instance or Instance.random()
        self._reactor = reactor
        self._remote = remote
        self.started_at = 0.0
        self.effective = EffectiveConfig()
        self._draining = False
        self._drained: Deferred[None] | None = None
        self.budget = MemoryBudget(BUFFER_MEMORY, reactor.seconds)
        self.metrics = Metrics(CollectorRegistry())
        self.channels = Channels(reactor)
        self.gate = ConnectionLimit(self.channels, _places(settings), AT_ONCE if settings.workers == 1 else 1)
        self._locating = LocatorPlanner(reactor, os.environ)
        self._components = build(settings, self._locating)
        self.backends = Backends(
            self._components,
            reactor,
            budget=self.budget,
            metrics=self.metrics,
            each_round=self._renew_served,
            instance=self.instance,
            remote=remote,
        )
        self.client_side: ClientSide = InProcess(self.channels, self.backends.pool, self.metrics)
        self._views = StatusSource(self, time.time)
        self.config_problem: ConfigProblem | None = None
        self.status_log = StatusLog(
            self._views.situation, lambda: self.client_side.local_errors(), reactor, time.time, speaks=remote is None
        )
        self.reload: Callable[[], Deferred[Reloaded]] = _not_reloadable
        self.web_config = (
            WebConfigService(settings, reactor, self.metrics, self.instance, handover) if settings.web_config else None
        )
        if self.web_config is not None:
            self.web_config.check(settings)
            self.web_config.taken_over = self._secured
        self._problems = Problems(self.backends.selections.event_log.record, "refused")
        self.admin_pages = self._build_pages()
        self.sites = self._build_sites()
        self.listeners = self._build_listeners()
        self._add_services()
        self.config_read(None)
        self.metrics.watch(GaugeCollector(self._views.snapshot) if remote is None else PresentLoad(self._views.load))

    def _add_services(self) -> None:
        """Have all that lives begin and end with the program, in this order."""
        reactor, selections = self._reactor, self.backends.selections
        self.recorder = Recorder(lambda names: self.client_side.collect(names), reactor, lambda: selections.current)
        self._notices = SystemdNotifier(ServiceManager.of(os.environ, os.getpid()), selections, reactor)
        housekeeping = PeriodicCheck(self._check, reactor, SWEEP_S)
        for service in filter(None, (selections, self.recorder, housekeeping, self.status_log, self._notices, self.web_config)):
            MultiService.addService(self, service)

    @property
    def settings(self) -> Settings:
        """Those in force."""
        return self._components.settings

    @property
    def identity(self) -> Identity:
        """Which mpp it is. Asked for anew each time: twistd may become another process between making it and starting it."""
        pid = os.getpid() if self._remote is None else os.getppid()
        return Identity(socket.gethostname(), pid, self.listeners.addresses)

    def _build_pages(self) -> AdminPages:
        return AdminPages(
            metrics=self.metrics,
            selection=lambda: self.backends.selections.current,
            draining=lambda: self._draining,
            view=self._views.status,
            explain=self._explain,
            config=lambda: self.effective,
            identity=lambda: self.identity,
            reload=lambda: self.reload(),
            lifecycle=lambda: self.settings.enable_lifecycle,
            trusted_proxies=lambda: self.settings.trusted_proxies,
            seconds=self._reactor.seconds,
        )

    def _build_sites(self) -> Sites:
        return Sites(
            self.settings,
            self.admin_pages,
            self.backends.forwarders,
            budget=self.budget,
            channels=self.channels,
            metrics=self.metrics,
            web_config=self.web_config,
        )

    def _build_listeners(self) -> Listeners:
        protect: Callable[[Any], Any] = self.web_config.protect if self.web_config is not None else lambda site: site
        return Listeners(self._reactor, protect(self.sites.clients), protect(self.sites.admin), self.gate)

    # Another configuration

    def config_read(self, problem: ConfigProblem | None) -> None:
        """Take note that the configuration was read, and why it is not the active one; None if it is."""
        self.config_problem = problem
        self.metrics.config_read(applied=problem is None, at=time.time())

    def prepare(self, settings: Settings) -> Components:
        """
        Make what is different in other settings, and change nothing yet.

        :raise ConfigError: something can never work.
        """
        return build(settings, self._locating, self._components)

    def verify(self, components: Components) -> Deferred[None]:
        """Ask those sources that are new, see `Backends.verify`."""
        return self.backends.verify(components)

    def apply(self, components: Components) -> None:
        """
        Put what was prepared in force. Requests under way go on as they began, connections stay open.

        :raise ConfigError: a socket cannot be opened, or it is too late; then nothing has changed.
        """
        if self._draining:
            raise ConfigError("mpp", "is about to stop")
        check_lasting(self.settings, components.settings)
        settings = components.settings
        close_former = self.listeners.reconfigure(settings)
        self._components = components
        self.backends.reconfigure(components)
        self.sites.reconfigure(settings)
        if self.web_config is not None:
            self.web_config.reconfigure(settings)
        self.gate.limit = _places(settings)
        self.client_side.reconfigure(settings)
        close_former()

    def read_web_config(self) -> LoadedConfig | None:
        """
        Read the web configuration for an explicit reload, and put nothing in force yet; None if there is none.

        :raise ConfigError: its files are no good.
        """
        return None if self.web_config is None else self.web_config.read()

    def apply_web_config(self, loaded: LoadedConfig | None) -> bool:
        """Put in force what was read, also where it protects less; return whether it differs from what was in force."""
        return self.web_config is not None and loaded is not None and self.web_config.take_over(loaded)

    def in_step(self) -> Deferred[None]:
        """Wait until what was put in force is so for all who serve clients, see `mpp.app.client_side.ClientSide`."""
        return self.client_side.in_step()

    def reload_certificates(self) -> list[str]:
        """Read the certificates of ``ssl:`` endpoints again, here and where else clients are served, see `Listeners`."""
        renewed = self.listeners.reload_certificates()
        self.client_side.reload_certificates()
        return renewed

    def _secured(self, config: WebConfig) -> None:
        self.backends.selections.event_log.record("reload", "another web configuration is in force")
        self.client_side.secure(config)

    def _renew_served(self) -> None:
        self.client_side.refresh_credentials()
        if self.web_config is not None:
            self._problems.look({"the web configuration": self.web_config.security.problem})

    def _check(self) -> None:
        """Close client connections that take too long, make room for others, and remove counters that are out of date."""
        self.channels.check_timeouts(self.settings.client_idle_timeout)
        self.gate.check()
        self.backends.check()

    def _explain(self, info: RequestInfo) -> Explanation:
        forwarder = self.backends.forwarders.current
        selections, now = self.backends.selections, forwarder.clock.seconds()
        return explain(info, selections.current, forwarder.affinity, self.settings, now, selections.suspects)

    # Life

    def privilegedStartService(self) -> None:
        """
        Open the ports, while privileges last.

        :raise ConfigError: one of them cannot be opened.
        """
        MultiService.privilegedStartService(self)
        self.listeners.reconfigure(self.settings)

    def startService(self) -> None:
        """Begin to look for backends."""
        self.started_at = time.time()
        MultiService.startService(self)
        text, strategy = "mpp serves {where}, strategy {strategy}, version {version}", self.settings.routing_strategy
        _log.info(text, where=str(self.listeners), strategy=strategy, version=__version__)
        # Workers bring a reactor of their own, and the parent's costs no request anything.
        log_state(self._reactor if self.settings.workers == 1 else None)

    def stopService(self) -> Deferred[None]:
        """
        Stop in order: accept nothing more, finish what is in flight (bounded), stop selecting, close what is kept.

        :return Deferred(None): fires when all is closed.
        """
        self._draining = True
        self._notices.stopping()
        _log.info("mpp stops: finishes what {count} clients may be waiting for", count=len(self.client_side))
        self.listeners.close()
        drained = self._drained = self.client_side.drain()
        drained.addTimeout(self.settings.drain_timeout, self._reactor)
        drained.addErrback(self._cut)
        drained.addCallback(lambda _: MultiService.stopService(self))
        drained.addCallback(lambda _: self.backends.close())
        return drained

    def cut_short(self) -> None:
        """Wait no longer for what is in flight; only while stopping."""
        if self._drained is not None:
            self._drained.cancel()

    def _cut(self, failure: Failure) -> None:
        """End what does not end by itself."""
        _log.warn("{count} client connections are cut off", count=len(self.client_side))
        self.client_side.abort()


def _not_reloadable() -> Deferred[Reloaded]:
    return succeed(Reloaded(errors=("there is nothing to read the configuration from",)))


def _places(settings: Settings) -> int:
    return settings.max_connections or room_for_connections()
