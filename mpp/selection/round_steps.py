"""
The interfaces of the steps of a selection round, as `mpp.selection.service` uses them: discovery, refresh of addresses and
credentials, probing.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Protocol

from twisted.internet.defer import Deferred

from mpp.core.model import Backend, DiscoveredBackend, Observation
from mpp.core.prometheus.runtimeinfo import ProbeOutcome


class BackendSource(Protocol):
    """A source of the list of backends; fails only when cancelled: `mpp.discovery.merged.MergedLocator`."""

    def locate(self) -> Deferred[tuple[DiscoveredBackend, ...]]:
        """See `MergedLocator`."""

    def start(self, changed: Callable[[], None]) -> None:
        """See `MergedLocator`."""

    def stop(self) -> None:
        """See `MergedLocator`."""


class BeforeRound(Protocol):
    """A refresher of addresses and credentials before a round; fails only when cancelled: `mpp.app.backends.Backends`."""

    def refresh(self, backends: tuple[Backend, ...], /) -> Deferred[None]:
        """See `Backends`."""

    def refresh_credentials(self) -> None:
        """See `Backends`."""


class BackendProber(Protocol):
    """An observer of backends; fails only when cancelled: `mpp.selection.probing.prober.Prober`."""

    def probe(self, backend: Backend, previous: Observation | None, /) -> Deferred[Observation]:
        """See `Prober`."""

    def ask(self, backend: Backend, path: str, /) -> Deferred[ProbeOutcome]:
        """See `Prober`."""

    def ask_history(self, backend: Backend, path: str, /) -> Deferred[ProbeOutcome]:
        """See `Prober`."""

    def ask_rules(self, backend: Backend, path: str, /) -> Deferred[ProbeOutcome]:
        """See `Prober`."""

    def keep(self, backends: Collection[Backend], /) -> None:
        """See `Prober`."""

    def stop(self) -> None:
        """See `Prober`."""
