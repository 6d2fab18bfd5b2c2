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
from mpp.admin.explain_page import Explanation
from mpp.admin.gauges import Present, PresentLoad
from mpp.admin.recorder import Recorder
from mpp.admin.resource import OwnPages
from mpp.admin.status.effective import EffectiveConfig
from mpp.admin.status.identity import Identity
from mpp.app.backends import Backends
from mpp.app.client_side import Alone, Serving
from mpp.app.components import Wiring, wire
from mpp.app.file_limit import room_for_connections
from mpp.app.listen.listeners import Listeners
from mpp.app.sites import Sites
from mpp.app.status_log import StatusLog
from mpp.app.status_source import Views
from mpp.app.systemd import Notices, Supervisor
from mpp.app.workers.remote_selections import RemoteSelections
from mpp.config.diff import check_lasting
from mpp.core.errors import ConfigError
from mpp.core.instance import Instance
from mpp.core.metrics import Metrics
from mpp.core.model import MIB, Reloaded, RequestFacts
from mpp.core.periodic import Housekeeping
from mpp.core.settings import Settings
from mpp.discovery.kinds import Locating
from mpp.proxy.decisions.explain import explain
from mpp.security.web_config.file import Loaded
from mpp.security.web_config.service import Front, Handover
from mpp.security.web_config.values import WebConfig
from mpp.selection.problems import Problems
from mpp.selection.verdict.verdict import ConfigProblem
from mpp.wire.downstream.channels import Channels
from mpp.wire.downstream.connection_limit import AT_ONCE, Gate
from mpp.wire.downstream.timeouts import SWEEP_S
from mpp.wire.memory_budget import Budget
from mpp.wire.tuned.switch import tell

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
    :ivar serving: who has the client connections: this process, or workers.
    :ivar sites: what is served.
    :ivar own_pages: mpp's own pages on them.
    :ivar listeners: where it is served.
    :ivar front: what the web configuration puts in front, if there is one.
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
        self.budget = Budget(BUFFER_MEMORY, reactor.seconds)
        self.metrics = Metrics(CollectorRegistry())
        self.channels = Channels(reactor)
        self.gate = Gate(self.channels, _places(settings), AT_ONCE if settings.workers == 1 else 1)
        self._locating = Locating(reactor, os.environ)
        self._wiring = wire(settings, self._locating)
        self.backends = Backends(
            self._wiring,
            reactor,
            budget=self.budget,
            metrics=self.metrics,
            each_round=self._renew_served,
            instance=self.instance,
            remote=remote,
        )
        self.serving: Serving = Alone(self.channels, self.backends.pool, self.metrics)
        self._views = Views(self, time.time)
        self.config_problem: ConfigProblem | None = None
        self.status_log = StatusLog(
            self._views.situation, lambda: self.serving.local_errors(), reactor, time.time, speaks=remote is None
        )
        self.reload: Callable[[], Deferred[Reloaded]] = _not_reloadable
        self.front = Front(settings, reactor, self.metrics, self.instance, handover) if settings.web_config else None
        if self.front is not None:
            self.front.check(settings)
            self.front.taken_over = self._secured
        self._problems = Problems(self.backends.selections.journal.note, "refused")
        self.own_pages = self._build_pages()
        self.sites = self._build_sites()
        self.listeners = self._build_listeners()
        self._add_services()
        self.config_read(None)
        self.metrics.watch(Present(self._views.snapshot) if remote is None else PresentLoad(self._views.load))

    def _add_services(self) -> None:
        """Have all that lives begin and end with the program, in this order."""
        reactor, selections = self._reactor, self.backends.selections
        self.recorder = Recorder(lambda names: self.serving.collect(names), reactor, lambda: selections.current)
        self._notices = Notices(Supervisor.of(os.environ, os.getpid()), selections, reactor)
        housekeeping = Housekeeping(self._sweep, reactor, SWEEP_S)
        for service in filter(None, (selections, self.recorder, housekeeping, self.status_log, self._notices, self.front)):
            MultiService.addService(self, service)

    @property
    def settings(self) -> Settings:
        """Those in force."""
        return self._wiring.settings

    @property
    def identity(self) -> Identity:
        """Which mpp it is. Asked for anew each time: twistd may become another process between making it and starting it."""
        pid = os.getpid() if self._remote is None else os.getppid()
        return Identity(socket.gethostname(), pid, self.listeners.addresses)

    def _build_pages(self) -> OwnPages:
        return OwnPages(
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
            self.own_pages,
            self.backends.forwarders,
            budget=self.budget,
            channels=self.channels,
            metrics=self.metrics,
            front=self.front,
        )

    def _build_listeners(self) -> Listeners:
        protect: Callable[[Any], Any] = self.front.protect if self.front is not None else lambda site: site
        return Listeners(self._reactor, protect(self.sites.clients), protect(self.sites.admin), self.gate)

    # Another configuration

    def config_read(self, problem: ConfigProblem | None) -> None:
        """Take note that the configuration was read, and why it is not the active one; None if it is."""
        self.config_problem = problem
        self.metrics.config_read(applied=problem is None, at=time.time())

    def prepare(self, settings: Settings) -> Wiring:
        """
        Make what is different in other settings, and change nothing yet.

        :raise ConfigError: something can never work.
        """
        return wire(settings, self._locating, self._wiring)

    def verify(self, wiring: Wiring) -> Deferred[None]:
        """Ask those sources that are new, see `Backends.verify`."""
        return self.backends.verify(wiring)

    def apply(self, wiring: Wiring) -> None:
        """
        Put what was prepared in force. Requests under way go on as they began, connections stay open.

        :raise ConfigError: a socket cannot be opened, or it is too late; then nothing has changed.
        """
        if self._draining:
            raise ConfigError("mpp", "is about to stop")
        check_lasting(self.settings, wiring.settings)
        settings = wiring.settings
        close_former = self.listeners.follow(settings)
        self._wiring = wiring
        self.backends.follow(wiring)
        self.sites.follow(settings)
        if self.front is not None:
            self.front.reconfigure(settings)
        self.gate.limit = _places(settings)
        self.serving.follow(settings)
        close_former()

    def read_web_config(self) -> Loaded | None:
        """
        Read the web configuration for an explicit reload, and put nothing in force yet; None if there is none.

        :raise ConfigError: its files are no good.
        """
        return None if self.front is None else self.front.read()

    def apply_web_config(self, loaded: Loaded | None) -> bool:
        """Put in force what was read, also where it protects less; return whether it differs from what was in force."""
        return self.front is not None and loaded is not None and self.front.take_over(loaded)

    def in_step(self) -> Deferred[None]:
        """Wait until what was put in force is so for all who serve clients, see `mpp.app.client_side.Serving`."""
        return self.serving.in_step()

    def renew_certificates(self) -> list[str]:
        """Read the certificates of ``ssl:`` endpoints again, here and where else clients are served, see `Listeners`."""
        renewed = self.listeners.renew_certificates()
        self.serving.renew_certificates()
        return renewed

    def _secured(self, config: WebConfig) -> None:
        self.backends.selections.journal.note("reload", "another web configuration is in force")
        self.serving.secure(config)

    def _renew_served(self) -> None:
        self.serving.renew()
        if self.front is not None:
            self._problems.look({"the web configuration": self.front.guards.problem})

    def _sweep(self) -> None:
        """Close client connections that take too long, make room for others, and remove counters that are out of date."""
        self.channels.sweep(self.settings.client_idle_timeout)
        self.gate.sweep()
        self.backends.sweep()

    def _explain(self, facts: RequestFacts) -> Explanation:
        forwarder = self.backends.forwarders.current
        selections, now = self.backends.selections, forwarder.clock.seconds()
        return explain(facts, selections.current, forwarder.affinity, self.settings, now, selections.suspects)

    # Life

    def privilegedStartService(self) -> None:
        """
        Open the ports, while privileges last.

        :raise ConfigError: one of them cannot be opened.
        """
        MultiService.privilegedStartService(self)
        self.listeners.follow(self.settings)

    def startService(self) -> None:
        """Begin to look for backends."""
        self.started_at = time.time()
        MultiService.startService(self)
        text, strategy = "mpp serves {where}, strategy {strategy}, version {version}", self.settings.routing_strategy
        _log.info(text, where=str(self.listeners), strategy=strategy, version=__version__)
        # Workers bring a reactor of their own, and the parent's costs no request anything.
        tell(self._reactor if self.settings.workers == 1 else None)

    def stopService(self) -> Deferred[None]:
        """
        Stop in order: accept nothing more, finish what is in flight (bounded), stop selecting, close what is kept.

        :return Deferred(None): fires when all is closed.
        """
        self._draining = True
        self._notices.stopping()
        _log.info("mpp stops: finishes what {count} clients may be waiting for", count=len(self.serving))
        self.listeners.close()
        drained = self._drained = self.serving.drain()
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
        _log.warn("{count} client connections are cut off", count=len(self.serving))
        self.serving.abort()


def _not_reloadable() -> Deferred[Reloaded]:
    return succeed(Reloaded(errors=("there is nothing to read the configuration from",)))


def _places(settings: Settings) -> int:
    return settings.max_connections or room_for_connections()
