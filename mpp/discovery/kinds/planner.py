"""
The construction of the configured locators, each from the description of its kind.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Iterator, Mapping
from functools import partial
from typing import Any

from attrs import define, field, frozen

from mpp.core.http_config import DiscoverySource
from mpp.core.interfaces import ILocator
from mpp.core.model import DiscoveredBackend
from mpp.core.settings import Settings
from mpp.discovery.kinds.all_kinds import KINDS
from mpp.discovery.kinds.source_kind import SourceContext


@frozen
class LocatorPlan:
    """
    The plan to build one locator.

    :ivar key: the kind and the settings with which the locator is built. If the key is the same after a reload, so is the
        locator.
    :ivar name: the locator's name. It depends on the other sources of the kind, so a locator that is kept may get another one.
    :ivar source: the configured source of its backends, for backends with which the locator itself names no source.
    :ivar build: builds the locator; raises `mpp.core.errors.ConfigError` if its configuration can never work.
    """

    key: tuple[Hashable, ...]
    name: str = field(eq=False)
    source: DiscoverySource = field(eq=False)
    build: Callable[[], ILocator] = field(eq=False)

    def sources(self, located: DiscoveredBackend) -> list[DiscoverySource]:
        """Return the discovery sources that listed this backend."""
        return [DiscoverySource(self.source.locator, source) for source in located.sources] or [self.source]


@define
class LocatorPlanner:
    """
    A planner of the locators that are configured.

    :param environ: mpp's environment: in a pod, Kubernetes sets the API server's address in it.
    :param interval: returns the active selection interval in seconds; without it, locators use the one they are planned with.
    """

    _reactor: Any
    _environ: Mapping[str, str] = field(repr=False)
    _interval: Callable[[], float] | None = None
    _names: Any = None

    def plans(self, settings: Settings) -> tuple[LocatorPlan, ...]:
        """Return how each configured locator is built, without building it, in the order in which their backends are ranked."""
        return tuple(self._plans(settings))

    def _plans(self, settings: Settings) -> Iterator[LocatorPlan]:
        interval = self._interval or (lambda: settings.selection_interval)
        context = SourceContext(settings, self._reactor, self._environ, self._name_servers, interval)
        for kind in KINDS:
            depends_on = [getattr(settings, name) for name in kind.depends_on]
            planned: Counter[Hashable] = Counter()
            for name, source, own in kind.parts(settings.discovery[kind.settings]):
                build = partial(kind.make, name, own, context)
                # A source that is configured twice has two locators, which must not be the same one after a reload.
                key = (kind.name, own, planned[own], *depends_on)
                planned[own] += 1
                yield LocatorPlan(key, name, DiscoverySource(kind.name, source), build)

    def _name_servers(self) -> Any:
        if self._names is None:
            from mpp.discovery.name_servers import NameServers

            self._names = NameServers("/etc/resolv.conf", self._reactor)
        return self._names
