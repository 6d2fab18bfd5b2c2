"""
The objects that are built from the settings and replaced as a whole by a reload.

State that survives a reload (connections, counters, the observations of backends) is not among them, see `mpp.app.program`.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Sequence
from typing import TypeVar

from attrs import field, frozen
from twisted.internet.interfaces import IReactorTime

from mpp.app import extensions
from mpp.core.errors import ConfigError, ConfigErrors
from mpp.core.http.instance import Instance
from mpp.core.http_config import DiscoverySource, DiscoverySources
from mpp.core.interfaces import ILocator, IStrategy, IUpstreams
from mpp.core.model import Backend
from mpp.core.settings import Settings
from mpp.discovery.kinds.planner import LocatorPlan, LocatorPlanner
from mpp.discovery.locator_status import LocatorStatus
from mpp.proxy.decisions.affinity import MEMORY, AffinityChain
from mpp.proxy.decisions.client_address import PRIVATE
from mpp.security.upstream.authorized_upstreams import AuthorizedUpstreams
from mpp.security.upstream.backend_credentials import BackendCredentials
from mpp.selection.probing.prober import Prober

T = TypeVar("T")


@frozen
class Components:
    """
    The objects that are built from one version of the settings.

    :ivar locators: the locators with their plans, in the order in which their backends are ranked.
    :ivar made: the locators that were built for this version, and not taken over from the previous version.
    """

    settings: Settings
    strategy: IStrategy
    affinity: AffinityChain
    credentials: BackendCredentials
    locators: tuple[tuple[LocatorPlan, ILocator], ...]
    made: tuple[ILocator, ...] = field(repr=False)

    def upstreams(self, pool: IUpstreams) -> IUpstreams:
        """Return the connections to backends, with the configured credentials added to requests if there are any."""
        return AuthorizedUpstreams(pool, self.credentials.fields) if self.credentials.adds_fields else pool

    def origins(self, found: Sequence[LocatorStatus]) -> DiscoverySources:
        """
        Return the discovery sources that listed each backend.

        :param found: the status of each locator, in the order of ``locators``.
        """
        sources: dict[Backend, list[DiscoverySource]] = {}
        for (plan, _), source in zip(self.locators, found, strict=True):
            for located in source.discovered:
                sources.setdefault(located.backend, []).extend(plan.sources(located))
        return sources

    def prober(self, pool: IUpstreams, clock: IReactorTime, wall: Callable[[], float], instance: Instance) -> Prober:
        """Return the prober that collects what the strategy needs to know about backends."""
        minimum, params = getattr(self.strategy, "duration", None), self._probe_params
        return Prober(self.upstreams(pool), clock, instance, wall=wall, minimum_history=minimum, params=params)

    def _probe_params(self, backend: Backend) -> str:
        return self.settings.http.probe_params_of(backend, self.settings.probe_params)

    def named_locators(self) -> list[ILocator]:
        """Return the locators of the version that becomes active, with its names: one that is kept may get another number."""
        for plan, locator in self.locators:
            locator.name = plan.name
        return [locator for _, locator in self.locators]

    def discard(self) -> None:
        """Stop the locators that were built for this version, because the version will not become active."""
        for locator in self.made:
            locator.stop()


def build(settings: Settings, locating: LocatorPlanner, last: Components | None = None) -> Components:
    """
    Build the components from the settings, without opening a socket or sending a request.

    :param last: the active components; the parts that would not change are taken over from them with their state.
    :raise ConfigError: a setting can never work; several errors are raised together as `mpp.core.errors.ConfigErrors`.
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
    # With several workers nothing is remembered, because the next request of a client may come to another worker.
    memory = MEMORY if settings.workers == 1 else 0
    return AffinityChain(extensions.build_affinities(settings.affinity_options, trusted, memory=memory))
