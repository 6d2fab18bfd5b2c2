"""
The construction of the configured locators. Knows how each kind is built from the settings; `mpp.discovery` implements them.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from attrs import define, field, frozen

from mpp.core.errors import ConfigError, DiscoveryError
from mpp.core.http_config import DiscoverySource
from mpp.core.interfaces import ILocator
from mpp.core.model import DiscoveredBackend
from mpp.core.settings import Settings
from mpp.discovery.file import FileLocator
from mpp.discovery.file_sd import FileSDLocator
from mpp.discovery.static import StaticLocator


@frozen
class LocatorPlan:
    """
    The plan to build one locator.

    :ivar key: locators with equal keys discover the same backends.
    :ivar source: the source of its backends; a locator of several sources names the source with each backend.
    :ivar build: builds the locator; raises `mpp.core.errors.ConfigError` if its configuration can never work.
    """

    key: tuple[Hashable, ...]
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
    """

    _reactor: Any
    _environ: Mapping[str, str] = field(repr=False)
    _names: Any = None

    def plans(self, settings: Settings) -> tuple[LocatorPlan, ...]:
        """Return a plan for each configured locator, in the order in which their backends are ranked."""
        return tuple(self._plans(settings))

    def _plans(self, settings: Settings) -> Iterator[LocatorPlan]:
        path, insecure = settings.endpoints_file, settings.insecure
        if path is not None:
            yield LocatorPlan(("file", path), DiscoverySource("file"), partial(FileLocator, path))
        if settings.endpoints:
            yield LocatorPlan(
                ("endpoint", settings.endpoints), DiscoverySource("endpoint"), partial(StaticLocator, settings.endpoints)
            )
        if settings.file_sd:
            yield LocatorPlan(("file-sd", settings.file_sd), DiscoverySource("file-sd"), partial(FileSDLocator, settings.file_sd))
        for name, url in _named("http-sd", settings.http_sd):
            key = (name, url, insecure, settings.selection_interval)
            yield LocatorPlan(key, DiscoverySource.written("http-sd", url), partial(self._http_sd, name, url, settings))
        for name, spec in _named("dns", settings.dns):
            yield LocatorPlan((name, spec), DiscoverySource.written("dns", spec), partial(self._dns, name, spec))
        if settings.marathon.urls or settings.marathon.apps:
            yield LocatorPlan((settings.marathon, insecure), DiscoverySource("marathon"), partial(self._marathon, settings))
        if settings.kube.service_name or settings.kube.pod_label_selector:
            yield LocatorPlan((settings.kube, insecure), DiscoverySource("kubernetes"), partial(self._kubernetes, settings))

    # Importing these takes longer than the rest of a start, and most installations use one of them or none.

    def _http_sd(self, name: str, url: str, settings: Settings) -> ILocator:
        from mpp.discovery.http_api.json_api import JSONClient
        from mpp.discovery.http_sd import HTTPSDLocator, url_reader
        from mpp.wire.tls import TLSPolicy

        read = url_reader(url)
        try:
            read()
        except DiscoveryError as error:
            raise ConfigError("--http-sd", str(error)) from None
        api = JSONClient.connecting(self._reactor, TLSPolicy(insecure=settings.insecure))
        return HTTPSDLocator(read, api, name, interval=settings.selection_interval)

    def _dns(self, name: str, spec: str) -> ILocator:
        from mpp.discovery.dns import DNSLocator

        names = self._name_servers() if spec.startswith("srv+") else None
        return DNSLocator(spec, self._reactor.nameResolver, names, name)

    def _name_servers(self) -> Any:
        """Return the DNS client: a single one, since it watches its configuration for as long as the program runs."""
        if self._names is None:
            from mpp.discovery.name_servers import NameServers

            self._names = NameServers("/etc/resolv.conf", self._reactor)
        return self._names

    def _marathon(self, settings: Settings) -> ILocator:
        from mpp.discovery.marathon.locator import build

        return build(settings, self._reactor)

    def _kubernetes(self, settings: Settings) -> ILocator:
        from mpp.discovery.kubernetes.locator import build, check

        check(settings, self._environ)
        return build(settings, self._reactor, self._environ)


def _named(kind: str, values: Sequence[str]) -> list[tuple[str, str]]:
    """Return the values with unique locator names: ``dns`` for a single one, otherwise ``dns-1``, ``dns-2``."""
    return [(kind if len(values) == 1 else f"{kind}-{number}", value) for number, value in enumerate(values, start=1)]
