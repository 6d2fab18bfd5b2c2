"""
Everything that is made of the settings and may be made anew while the program runs: one value, replaced as a whole.

What lives on when it is replaced (connections, counts, what is known of the backends) is not in it, see `mpp.app.program`.
"""

from __future__ import annotations

import ipaddress
import random
from collections.abc import Callable, Sequence
from typing import TypeVar

from attrs import field, frozen
from twisted.internet.interfaces import IReactorTime

from mpp.app import extensions
from mpp.core.errors import ConfigError, ConfigErrors
from mpp.core.http_config import DiscoverySource, DiscoverySources
from mpp.core.instance import Instance
from mpp.core.interfaces import ILocator, ISelections, IStrategy, IUpstreams
from mpp.core.metrics import Metrics
from mpp.core.model import Backend
from mpp.core.settings import Settings
from mpp.discovery.kinds import LocatorPlan, LocatorPlanner
from mpp.discovery.merged import LocatorStatus
from mpp.proxy.decisions.affinity import MEMORY, AffinityChain
from mpp.proxy.decisions.client_address import PRIVATE
from mpp.proxy.evidence import OwnCredentials
from mpp.proxy.forwarder import Forwarder
from mpp.security.upstream.authorized_upstreams import AuthorizedUpstreams
from mpp.security.upstream.backend_credentials import BackendCredentials
from mpp.selection.probing.prober import Prober

T = TypeVar("T")


@frozen
class Components:
    """
    What the settings make of the program.

    :ivar locators: with their plans, in the order in which their backends are ranked.
    :ivar made: those of the locators that were made for this wiring, and not taken over from the last one.
    """

    settings: Settings
    strategy: IStrategy
    affinity: AffinityChain
    credentials: BackendCredentials
    locators: tuple[tuple[LocatorPlan, ILocator], ...]
    made: tuple[ILocator, ...] = field(repr=False)

    def upstreams(self, pool: IUpstreams) -> IUpstreams:
        """Give what sends requests as it is configured."""
        return AuthorizedUpstreams(pool, self.credentials.fields) if self.credentials.adds_fields else pool

    def origins(self, found: Sequence[LocatorStatus]) -> DiscoverySources:
        """
        Give who is found by whom.

        :param found: what is known of each locator.
        """
        sources: dict[Backend, list[DiscoverySource]] = {}
        for (plan, _), source in zip(self.locators, found, strict=True):
            for located in source.discovered:
                sources.setdefault(located.backend, []).extend(plan.sources(located))
        return sources

    def prober(self, pool: IUpstreams, clock: IReactorTime, wall: Callable[[], float], instance: Instance) -> Prober:
        """Return what observes backends as the strategy needs it."""
        minimum, params = getattr(self.strategy, "duration", None), self._probe_params
        return Prober(self.upstreams(pool), clock, instance, wall=wall, minimum_history=minimum, params=params)

    def _probe_params(self, backend: Backend) -> str:
        return self.settings.http.probe_params_of(backend, self.settings.probe_params)

    def forwarder(
        self,
        pool: IUpstreams,
        selections: ISelections,
        credentials: OwnCredentials,
        metrics: Metrics,
        clock: IReactorTime,
        instance: Instance,
    ) -> Forwarder:
        """
        Return what answers requests.

        :param credentials: knows whether the credentials in force have changed.
        :param instance: this mpp.
        """
        upstreams, rng = self.upstreams(pool), random.Random()
        return Forwarder(
            upstreams, selections, self.affinity, metrics, self.settings, clock, rng, instance, credentials=credentials
        )

    def discard(self) -> None:
        """Leave nothing behind of what was made for it. Only when it is not used after all."""
        for locator in self.made:
            locator.stop()


def build(settings: Settings, locating: LocatorPlanner, last: Components | None = None) -> Components:
    """
    Make what the settings ask for. Nothing is opened, and nobody asked.

    :param last: the wiring in force: what would be made the same way is taken over from it, with all it remembers.
    :raise ConfigError: something can never work as it is configured; all there is of this (`mpp.core.errors.ConfigErrors`).
    """
    errors: list[ConfigError] = []
    strategy = _attempt(errors, lambda: extensions.build_strategy(settings.routing_strategy))
    affinity = _attempt(errors, lambda: _affinity(settings, last))
    credentials = _attempt(errors, lambda: _credentials(settings, last))
    known = dict(last.locators) if last is not None else {}
    found = [(plan, known.get(plan) or _attempt(errors, plan.build)) for plan in locating.plans(settings)]
    locators = tuple((plan, locator) for plan, locator in found if locator is not None)
    made = tuple(locator for plan, locator in locators if plan not in known)
    if errors or strategy is None or affinity is None or credentials is None:
        for locator in made:
            locator.stop()
        raise errors[0] if len(errors) == 1 else ConfigErrors(errors)
    return Components(settings, strategy, affinity, credentials, locators, made)


def _attempt(errors: list[ConfigError], make: Callable[[], T]) -> T | None:
    try:
        return make()
    except ConfigError as error:
        errors += error.all
        return None


def _credentials(settings: Settings, last: Components | None) -> BackendCredentials:
    if last is not None and (last.settings.http, last.settings.insecure) == (settings.http, settings.insecure):
        return last.credentials
    return BackendCredentials(settings.http, insecure=settings.insecure)


def _affinity(settings: Settings, last: Components | None) -> AffinityChain:
    def asked(of: Settings) -> tuple[object, ...]:
        return of.affinity_options, of.trusted_proxies

    if last is not None and asked(last.settings) == asked(settings):
        return last.affinity
    networks = PRIVATE if settings.trusted_proxies is None else settings.trusted_proxies
    trusted = [ipaddress.ip_network(network) for network in networks]
    # What one worker remembers of a client, another one would not know.
    memory = MEMORY if settings.workers == 1 else 0
    return AffinityChain(extensions.build_affinities(settings.affinity_options, trusted, memory=memory))
